//! Events on their way to whoever wants them: signed when they are sent, again and again until they are
//! taken, and each way that a network has of making that hard.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::redirect;
use secrecy::SecretString;
use serde::Serialize;

use super::book::Row;
use super::control::Release;
use super::desk::Desk;
use crate::chain::install_tls;
use crate::clock::unix_ms;
use crate::payments::signature;

/// How often an event is sent before it is given up; then only [`super::LocalProvider::resend`] does it.
const ATTEMPTS: u32 = 60;
/// The longest pause between two attempts.
const PAUSE_MAX: Duration = Duration::from_secs(15);
/// How long one attempt may take.
const ATTEMPT_TIME: Duration = Duration::from_secs(10);
/// Attempts that are remembered.
const REMEMBERED: usize = 20_000;

/// Where events go.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// The address that takes them.
    pub url: String,
    /// What they are signed with; two while one replaces the other.
    pub secrets: Vec<SecretString>,
}

/// An attempt to deliver an event.
#[derive(Debug, Clone, Serialize)]
pub struct Delivery {
    /// The event's id.
    pub event: String,
    /// Its type.
    pub kind: String,
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// What it was answered with; none where it was not sent, or nobody answered.
    pub status: Option<u16>,
}

/// The way out.
#[derive(Debug)]
pub(super) struct Courier {
    http: reqwest::Client,
    webhook: Mutex<Option<Webhook>>,
    held: Mutex<Vec<String>>,
    log: Mutex<VecDeque<Delivery>>,
}

impl Courier {
    pub(super) fn new(webhook: Option<Webhook>) -> Result<Self, reqwest::Error> {
        install_tls();
        let http = reqwest::Client::builder()
            .timeout(ATTEMPT_TIME)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .build()?;
        Ok(Self {
            http,
            webhook: Mutex::new(webhook),
            held: Mutex::default(),
            log: Mutex::default(),
        })
    }

    fn webhook(&self) -> Option<Webhook> {
        locked(&self.webhook).clone()
    }

    fn remember(&self, delivery: Delivery) {
        let mut log = locked(&self.log);
        if log.len() == REMEMBERED {
            log.pop_front();
        }
        log.push_back(delivery);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Desk {
    pub(super) fn deliver_to(self: &Arc<Self>, webhook: Webhook) {
        let had_none = locked(&self.courier.webhook).replace(webhook).is_none();
        if had_none {
            let untaken = self.book().untaken().to_vec();
            for event in untaken {
                self.dispatch(event);
            }
        }
    }

    pub(super) fn deliveries(&self) -> Vec<Delivery> {
        locked(&self.courier.log).iter().cloned().collect()
    }

    /// Sends an event on its way, as the plan of the moment has it.
    pub(super) fn dispatch(self: &Arc<Self>, event: String) {
        if self.courier.webhook().is_none() {
            return;
        }
        let plan = self.plan();
        if plan.webhook_hold {
            locked(&self.courier.held).push(event);
            return;
        }
        for _ in 0..=plan.webhook_copies {
            let (desk, event) = (self.clone(), event.clone());
            self.spawn(async move {
                tokio::time::sleep(Duration::from_millis(plan.webhook_delay_ms)).await;
                desk.deliver(&event).await;
            });
        }
    }

    /// Tries until the event is taken.
    async fn deliver(self: &Arc<Self>, event: &str) {
        for attempt in 0..ATTEMPTS {
            if self.attempt(event).await {
                return;
            }
            let first = Duration::from_millis(self.plan().retry_ms);
            tokio::time::sleep(first.saturating_mul(1 << attempt.min(10)).min(PAUSE_MAX)).await;
        }
        tracing::warn!(event, "an event was not taken and is given up");
    }

    /// Sends an event once. Whether it was taken.
    pub(super) async fn attempt(self: &Arc<Self>, event: &str) -> bool {
        let found = self.book().events.get(event).cloned();
        let (Some(found), Some(webhook)) = (found, self.courier.webhook()) else {
            return false;
        };
        let is_dropped = self.with_plan(|plan| {
            let is_dropped = plan.webhook_drop > 0;
            plan.webhook_drop = plan.webhook_drop.saturating_sub(1);
            is_dropped
        });
        let now = self.clock.now();
        let status = if is_dropped {
            None
        } else {
            let body = found.body;
            let signed = signature::sign(&webhook.secrets, body.as_bytes(), now);
            let request = self
                .courier
                .http
                .post(&webhook.url)
                .header(signature::HEADER, signed)
                .header(CONTENT_TYPE, "application/json; charset=utf-8")
                .body(body);
            let answer = request.send().await;
            answer.ok().map(|answer| answer.status().as_u16())
        };
        self.courier.remember(Delivery {
            event: found.id,
            kind: found.kind,
            at: unix_ms(now),
            status,
        });
        let is_taken = status.is_some_and(|status| (200..300).contains(&status));
        if is_taken {
            let taken = Row::Taken(event.to_owned());
            let kept = self.change(None, |draft| draft.write(taken)).await;
            // then it is sent once more after the next start
            if kept.is_err() {
                tracing::error!(event, "it cannot be kept that an event was taken");
            }
        }
        is_taken
    }

    pub(super) async fn release(self: &Arc<Self>, order: Release) -> usize {
        self.with_plan(|plan| plan.webhook_hold = false);
        let mut held = std::mem::take(&mut *locked(&self.courier.held));
        if order == Release::Reversed {
            held.reverse();
        }
        let count = held.len();
        for event in held {
            if !self.attempt(&event).await {
                let desk = self.clone();
                self.spawn(async move { desk.deliver(&event).await });
            }
        }
        count
    }
}
