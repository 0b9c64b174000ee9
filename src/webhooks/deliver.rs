//! The worker's step: takes deliveries that are due and tells their endpoints of them, many at a time.
//!
//! What a worker takes is committed before it tells anybody, and what came of it after. If it is killed between
//! the two, the delivery is due again once its claim has run out, and is told a second time with the same
//! `webhook-id`. No transaction is open while an endpoint is waited for.

use std::collections::HashMap;
use std::time::Duration;

use sqlx::PgPool;
use tokio::task::{Id, JoinError, JoinSet};
use uuid::Uuid;

use super::schedule;
use super::send::{Sender, Tried};
use super::store::deliveries::{self, Claimed, Outcome, Settled};
use crate::clock::{Clock, Entropy};
use crate::ids::{EndpointId, EventId};
use crate::limits;
use crate::telemetry;

/// Tells endpoints of events.
pub struct Deliverer {
    pool: PgPool,
    sender: Sender,
    clock: Clock,
    entropy: Entropy,
    in_hand: JoinSet<Result<Option<String>, sqlx::Error>>,
    /// The endpoint of each task.
    busy: HashMap<Id, Uuid>,
}

impl Deliverer {
    /// One that takes deliveries from this database, which is connected to with the worker's role.
    pub fn new(pool: PgPool, sender: Sender, clock: Clock, entropy: Entropy) -> Self {
        Self {
            pool,
            sender,
            clock,
            entropy,
            in_hand: JoinSet::new(),
            busy: HashMap::new(),
        }
    }

    /// Takes what is due, as far as there is room for it, and begins to tell of it: how many deliveries.
    ///
    /// # Errors
    /// The database's.
    pub async fn step(&mut self) -> Result<usize, sqlx::Error> {
        while let Some(ended) = self.in_hand.try_join_next_with_id() {
            self.ended(ended);
        }
        let room = limits::WEBHOOK_DELIVERIES.saturating_sub(self.busy.len());
        if room == 0 {
            return Ok(0);
        }
        let busy: Vec<Uuid> = self.busy.values().copied().collect();
        let claimed = {
            let mut db = self.pool.acquire().await?;
            deliveries::claim(&mut db, room, &busy, self.clock.now()).await?
        };
        let taken = claimed.len();
        for delivery in claimed {
            let endpoint = delivery.endpoint_id;
            let telling = tell(
                self.pool.clone(),
                self.sender.clone(),
                self.clock.clone(),
                self.entropy.clone(),
                delivery,
            );
            let task = self.in_hand.spawn(telling);
            self.busy.insert(task.id(), endpoint);
        }
        Ok(taken)
    }

    /// Waits until something in hand has ended, at most so long.
    pub async fn wait(&mut self, most: Duration) {
        if self.in_hand.is_empty() {
            tokio::time::sleep(most).await;
        } else if let Ok(Some(ended)) =
            tokio::time::timeout(most, self.in_hand.join_next_with_id()).await
        {
            self.ended(ended);
        }
    }

    /// Waits until everything in hand has ended.
    pub async fn finish(&mut self) {
        while let Some(ended) = self.in_hand.join_next_with_id().await {
            self.ended(ended);
        }
    }

    fn ended(&mut self, ended: Result<(Id, Result<Option<String>, sqlx::Error>), JoinError>) {
        let id = match &ended {
            Ok((id, _)) => *id,
            Err(error) => error.id(),
        };
        self.busy.remove(&id);
        match ended {
            // not settled: it is due again when its claim has run out
            Ok((_, Err(error))) => {
                tracing::warn!(error = %error, "what became of a webhook could not be written");
            }
            Err(error) => tracing::error!(error = %error, "a webhook was broken off"),
            Ok((_, Ok(_))) => {}
        }
    }
}

/// Tells an endpoint of an event, and writes down what came of it: the delivery's new state; none where it was
/// not ours any more.
async fn tell(
    pool: PgPool,
    sender: Sender,
    clock: Clock,
    entropy: Entropy,
    delivery: Claimed,
) -> Result<Option<String>, sqlx::Error> {
    let tried = sender.send(&delivery).await;
    let outcome = outcome(&tried);
    metrics::counter!(telemetry::WEBHOOK_TRIES, "outcome" => outcome.as_str()).increment(1);
    let now = clock.now();
    let pause = match outcome {
        Outcome::Failed => schedule::pause(delivery.tried, tried.retry_after, &entropy),
        Outcome::Succeeded | Outcome::Gone => None,
    };
    let settled = Settled {
        outcome,
        next_at: pause.map(|pause| now + pause),
        status: tried.status.map(u16::cast_signed),
        error: tried.error.as_deref(),
        response: &tried.response,
        took_ms: i32::try_from(tried.took.as_millis()).unwrap_or(i32::MAX),
    };
    let mut db = pool.acquire().await?;
    let state = deliveries::settle(&mut db, &delivery, &settled, now).await?;
    if outcome != Outcome::Succeeded {
        let (event, endpoint) = (EventId(delivery.event_id), EndpointId(delivery.endpoint_id));
        let (status, error) = (tried.status, tried.error);
        tracing::info!(%event, %endpoint, status, error, state, "a webhook was not taken");
    }
    Ok(state)
}

fn outcome(tried: &Tried) -> Outcome {
    match tried {
        tried if tried.is_success() => Outcome::Succeeded,
        tried if tried.is_gone() => Outcome::Gone,
        _ => Outcome::Failed,
    }
}
