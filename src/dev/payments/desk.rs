//! A change and its answer: decided under one lock, in the file, and then told.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use subtle::ConstantTimeEq;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Options;
use super::book::{Answer, Book, Draft, Row, Settles};
use super::control::Plan;
use super::form::Fields;
use super::journal::{Journal, NotWritten};
use super::refusal::Refusal;
use super::webhooks::Courier;
use super::{intents, lists, refunds};
use crate::clock::{Clock, Entropy, unix_ms};
use crate::dev::DevError;
use crate::dev::data_dir::make_private;

/// The provider's state in its directory.
const FILE: &str = "provider.jsonl";

/// Everything that a provider is.
#[derive(Debug)]
pub(super) struct Desk {
    book: Mutex<Book>,
    journal: Journal,
    plan: Mutex<Plan>,
    pub(super) courier: Courier,
    key: SecretString,
    base: String,
    pub(super) clock: Clock,
    entropy: Entropy,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Desk {
    pub(super) async fn open(
        options: Options,
        base: String,
        stop: CancellationToken,
    ) -> Result<Arc<Self>, DevError> {
        make_private(&options.directory)?;
        let (journal, changes) = Journal::open(&options.directory.join(FILE)).await?;
        let mut book = Book::default();
        for row in changes.into_iter().flatten() {
            book.apply(row);
        }
        let courier = Courier::new(options.webhook)
            .map_err(std::io::Error::other)
            .map_err(DevError::io("send webhooks from", Path::new(&base)))?;
        Ok(Arc::new(Self {
            book: Mutex::new(book),
            journal,
            plan: Mutex::default(),
            courier,
            key: options.key,
            base,
            clock: options.clock,
            entropy: options.entropy,
            tasks: TaskTracker::new(),
            stop,
        }))
    }

    /// Takes up what an earlier start left under way.
    pub(super) fn resume(self: &Arc<Self>) {
        let (unsettled, untaken) = {
            let book = self.book();
            (book.unsettled(), book.untaken().to_vec())
        };
        for (id, settles) in unsettled {
            self.settle_later(id, settles);
        }
        for event in untaken {
            self.dispatch(event);
        }
    }

    pub(super) fn base(&self) -> &str {
        &self.base
    }

    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn plan(&self) -> Plan {
        self.with_plan(|plan| plan.clone())
    }

    pub(super) fn set_plan(&self, plan: Plan) {
        self.with_plan(|now| *now = plan);
    }

    pub(super) fn with_plan<R>(&self, change: impl FnOnce(&mut Plan) -> R) -> R {
        change(&mut self.plan.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn intents(&self) -> Vec<Value> {
        lists::all(&self.book().intents, |intent| intent.to_json(&self.base))
    }

    pub(super) fn refunds(&self) -> Vec<Value> {
        lists::all(&self.book().refunds, |refund| refund.to_json())
    }

    pub(super) fn events(&self) -> Vec<Value> {
        lists::all(&self.book().events, |event| {
            serde_json::from_str(&event.body).unwrap_or_default()
        })
    }

    /// Whether a request has the secret key.
    pub(super) fn is_ours(&self, headers: &HeaderMap) -> bool {
        let given = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        given.is_some_and(|given| given.ct_eq(self.key.expose_secret().as_bytes()).into())
    }

    /// Runs something beside the requests until the provider stops.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            stop.run_until_cancelled(task).await;
        });
    }

    /// Waits for what runs beside the requests.
    pub(super) async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Makes a change, or only reads. What comes back may be told: it is in the file, and so is all that it
    /// was made from.
    pub(super) async fn change<R>(
        self: &Arc<Self>,
        key: Option<&str>,
        make: impl FnOnce(&mut Draft<'_>) -> R,
    ) -> Result<R, NotWritten> {
        let settle_ms = self.with_plan(|plan| plan.settle_ms);
        let (made, rows, written) = {
            let mut book = self.book();
            let mut draft = Draft {
                book: &mut book,
                rows: Vec::new(),
                now: self.clock.now(),
                entropy: &self.entropy,
                base: &self.base,
                settle_ms,
                key,
            };
            let made = make(&mut draft);
            let rows = draft.rows;
            // under the lock: the file has the order of the book
            let written = self.journal.append(&rows);
            (made, rows, written)
        };
        let desk = self.clone();
        // to its end, whether the caller waits for it or not
        let followed = tokio::spawn(async move {
            written.await?;
            desk.follow(rows);
            Ok(())
        });
        followed.await.unwrap_or(Err(NotWritten))?;
        Ok(made)
    }

    /// Starts what follows from rows that are in the file.
    fn follow(self: &Arc<Self>, rows: Vec<Row>) {
        for row in rows {
            let (id, settles) = match row {
                Row::Event(event) => {
                    self.dispatch(event.id);
                    continue;
                }
                Row::Intent(intent) => (intent.id, intent.settles),
                Row::Refund(refund) => (refund.id, refund.settles),
                Row::Charge(_) | Row::Answer(_) | Row::Taken(_) => continue,
            };
            if let Some(settles) = settles {
                self.settle_later(id, settles);
            }
        }
    }

    fn settle_later(self: &Arc<Self>, id: String, settles: Settles) {
        let desk = self.clone();
        self.spawn(async move {
            let left = settles.at - unix_ms(desk.clock.now());
            tokio::time::sleep(Duration::from_millis(u64::try_from(left).unwrap_or(0))).await;
            let settled = desk.change(None, |draft| {
                if draft.book.refunds.get(&id).is_some() {
                    refunds::settle(draft, &id);
                } else {
                    intents::settle(draft, &id);
                }
            });
            if settled.await.is_err() {
                tracing::error!("a payment under way was not settled");
            }
        });
    }

    /// A read.
    pub(super) async fn get(
        self: &Arc<Self>,
        query: Option<&str>,
        read: impl FnOnce(&Draft<'_>, &Fields) -> Result<Value, Refusal>,
    ) -> Response {
        let read = self.change(None, |draft| {
            let fields = Fields::read(query.unwrap_or_default().as_bytes())?;
            read(draft, &fields)
        });
        match read.await {
            Ok(Ok(value)) => axum::Json(value).into_response(),
            Ok(Err(refusal)) => refusal.into_response(),
            Err(NotWritten) => Refusal::own(StatusCode::INTERNAL_SERVER_ERROR).into_response(),
        }
    }

    /// A call that changes something, once for each idempotency key.
    pub(super) async fn post(
        self: &Arc<Self>,
        headers: &HeaderMap,
        path: &str,
        body: &[u8],
        work: impl FnOnce(&mut Draft<'_>, &Fields) -> Result<Value, Refusal>,
    ) -> Response {
        let fields = match Fields::read(body) {
            Ok(fields) => fields,
            Err(refusal) => return refusal.into_response(),
        };
        let key = headers
            .get("idempotency-key")
            .and_then(|key| key.to_str().ok());
        let asked = format!("{path}?{}", fields.canonical());
        let answered = self.change(key, |draft| once(draft, key, asked, &fields, work));
        match answered.await {
            Ok(answered) => answered.into_response(),
            Err(NotWritten) => Refusal::own(StatusCode::INTERNAL_SERVER_ERROR).into_response(),
        }
    }
}

/// An answer, and whether it was given before.
struct Answered {
    status: u16,
    body: String,
    is_repeat: bool,
}

fn once(
    draft: &mut Draft<'_>,
    key: Option<&str>,
    asked: String,
    fields: &Fields,
    work: impl FnOnce(&mut Draft<'_>, &Fields) -> Result<Value, Refusal>,
) -> Answered {
    if let Some(answer) = key.and_then(|key| draft.answer(key)) {
        if answer.asked == asked {
            return Answered {
                status: answer.status,
                body: answer.body.clone(),
                is_repeat: true,
            };
        }
        let Refusal { status, body, .. } = Refusal::key_reused();
        return Answered {
            status: status.as_u16(),
            body: body.to_string(),
            is_repeat: false,
        };
    }
    let (status, body, is_kept) = match work(draft, fields) {
        Ok(value) => (StatusCode::OK, value, true),
        Err(refusal) => (refusal.status, refusal.body, refusal.is_kept),
    };
    let (status, body) = (status.as_u16(), body.to_string());
    if let Some(key) = key.filter(|_| is_kept) {
        draft.write(Row::Answer(Answer {
            key: key.to_owned(),
            asked,
            at: draft.seconds(),
            status,
            body: body.clone(),
        }));
    }
    Answered {
        status,
        body,
        is_repeat: false,
    }
}

impl IntoResponse for Answered {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::OK);
        let kind = [(header::CONTENT_TYPE, "application/json")];
        let mut response = (status, kind, self.body).into_response();
        if self.is_repeat {
            let yes = HeaderValue::from_static("true");
            response.headers_mut().insert("idempotent-replayed", yes);
        }
        response
    }
}
