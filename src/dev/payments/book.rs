//! What a provider knows: intents, charges, refunds, events, and its answers by idempotency key.

use std::collections::{BTreeMap, HashMap};

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::clock::{Entropy, unix_ms};
use crate::payments::object::{Decline, IntentState, RefundState};
use crate::payments::provider::KEYS_KEPT;

/// The version that events say they are of.
const VERSION: &str = "2024-12-18.acacia";

/// An intent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Intent {
    pub(super) id: String,
    /// The part of the client secret that is one.
    pub(super) secret: String,
    pub(super) status: IntentState,
    pub(super) amount: i64,
    pub(super) received: i64,
    pub(super) currency: String,
    pub(super) created: i64,
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) payment_method: Option<String>,
    pub(super) return_url: Option<String>,
    pub(super) last_error: Option<Decline>,
    pub(super) charge: Option<String>,
    pub(super) canceled_at: Option<i64>,
    pub(super) cancellation_reason: Option<String>,
    /// While it is processing.
    pub(super) settles: Option<Settles>,
}

/// What becomes of something by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Settles {
    /// Milliseconds since 1970.
    pub(super) at: i64,
    /// Whether well.
    pub(super) well: bool,
}

/// A payment that went through.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Charge {
    pub(super) id: String,
    pub(super) intent: String,
    pub(super) amount: i64,
    pub(super) refunded: i64,
    pub(super) currency: String,
    pub(super) created: i64,
    pub(super) payment_method: String,
}

/// A refund.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Refund {
    pub(super) id: String,
    pub(super) status: RefundState,
    pub(super) amount: i64,
    pub(super) currency: String,
    pub(super) created: i64,
    pub(super) intent: String,
    pub(super) charge: String,
    pub(super) reason: Option<String>,
    pub(super) failure_reason: Option<String>,
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) settles: Option<Settles>,
}

/// An event, with the body that is sent: the same bytes each time.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Event {
    pub(super) id: String,
    pub(super) kind: String,
    pub(super) created: i64,
    pub(super) body: String,
}

/// An answer that a repeat with its key gets again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Answer {
    pub(super) key: String,
    /// What was asked, path and fields.
    pub(super) asked: String,
    pub(super) at: i64,
    pub(super) status: u16,
    pub(super) body: String,
}

/// One thing that changed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Row {
    Intent(Intent),
    Charge(Charge),
    Refund(Refund),
    Event(Event),
    Answer(Answer),
    /// An event that was taken.
    Taken(String),
}

/// Objects in the order in which they were made, found by their ids.
#[derive(Debug)]
pub(super) struct Table<T> {
    rows: Vec<T>,
    at: HashMap<String, usize>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            at: HashMap::new(),
        }
    }
}

impl<T> Table<T> {
    fn put(&mut self, id: &str, row: T) {
        match self.at.get(id) {
            Some(&at) => self.rows[at] = row,
            None => {
                self.at.insert(id.to_owned(), self.rows.len());
                self.rows.push(row);
            }
        }
    }

    pub(super) fn get(&self, id: &str) -> Option<&T> {
        self.at.get(id).map(|&at| &self.rows[at])
    }

    /// Oldest first.
    pub(super) fn iter(&self) -> std::slice::Iter<'_, T> {
        self.rows.iter()
    }
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) intents: Table<Intent>,
    pub(super) charges: Table<Charge>,
    pub(super) refunds: Table<Refund>,
    pub(super) events: Table<Event>,
    answers: HashMap<String, Answer>,
    untaken: Vec<String>,
}

impl Book {
    /// Makes a change, now or when the file is read.
    pub(super) fn apply(&mut self, row: Row) {
        match row {
            Row::Intent(row) => self.intents.put(&row.id.clone(), row),
            Row::Charge(row) => self.charges.put(&row.id.clone(), row),
            Row::Refund(row) => self.refunds.put(&row.id.clone(), row),
            Row::Event(row) => {
                self.untaken.push(row.id.clone());
                self.events.put(&row.id.clone(), row);
            }
            Row::Answer(row) => {
                self.answers.insert(row.key.clone(), row);
            }
            Row::Taken(id) => self.untaken.retain(|event| *event != id),
        }
    }

    /// Events that nobody took, oldest first.
    pub(super) fn untaken(&self) -> &[String] {
        &self.untaken
    }

    /// What is under way, with the time when it is settled.
    pub(super) fn unsettled(&self) -> Vec<(String, Settles)> {
        let intents = self
            .intents
            .iter()
            .map(|intent| (&intent.id, intent.settles));
        let refunds = self
            .refunds
            .iter()
            .map(|refund| (&refund.id, refund.settles));
        intents
            .chain(refunds)
            .filter_map(|(id, settles)| Some((id.clone(), settles?)))
            .collect()
    }
}

/// A change being made: what it writes is in the book at once, and in the file before anybody is told.
pub(super) struct Draft<'a> {
    pub(super) book: &'a mut Book,
    pub(super) rows: Vec<Row>,
    pub(super) now: OffsetDateTime,
    pub(super) entropy: &'a Entropy,
    /// The provider's address, for pages of its own.
    pub(super) base: &'a str,
    /// How long what takes its time takes, milliseconds.
    pub(super) settle_ms: u64,
    pub(super) key: Option<&'a str>,
}

impl Draft<'_> {
    pub(super) fn write(&mut self, row: Row) {
        self.book.apply(row.clone());
        self.rows.push(row);
    }

    /// A new id.
    pub(super) fn id(&self, prefix: &str) -> String {
        let bytes: [u8; 12] = self.entropy.bytes();
        format!("{prefix}{}", data_encoding::HEXLOWER.encode(&bytes))
    }

    pub(super) fn seconds(&self) -> i64 {
        self.now.unix_timestamp()
    }

    /// What is settled once that takes its time.
    pub(super) fn settles(&self, well: bool) -> Settles {
        let after = i64::try_from(self.settle_ms).unwrap_or(i64::MAX);
        let at = unix_ms(self.now).saturating_add(after);
        Settles { at, well }
    }

    /// The answer that was given under a key, while keys are kept.
    pub(super) fn answer(&self, key: &str) -> Option<&Answer> {
        let answer = self.book.answers.get(key)?;
        let age = self.seconds() - answer.at;
        (age < i64::try_from(KEYS_KEPT.as_secs()).unwrap_or(i64::MAX)).then_some(answer)
    }

    /// Writes an intent, and an event that says so.
    pub(super) fn tell_intent(&mut self, kind: &str, intent: Intent) {
        let object = intent.to_json(self.base);
        self.write(Row::Intent(intent));
        self.tell(kind, &object);
    }

    /// Writes an event.
    pub(super) fn tell(&mut self, kind: &str, object: &Value) {
        let id = self.id("evt_");
        let body = json!({
            "id": id,
            "object": "event",
            "api_version": VERSION,
            "created": self.seconds(),
            "livemode": false,
            "pending_webhooks": 1,
            "request": { "id": null, "idempotency_key": self.key },
            "type": kind,
            "data": { "object": object },
        });
        self.write(Row::Event(Event {
            id,
            kind: kind.to_owned(),
            created: self.seconds(),
            body: body.to_string(),
        }));
    }
}

impl Intent {
    pub(super) fn client_secret(&self) -> String {
        format!("{}_secret_{}", self.id, self.secret)
    }

    /// Whether somebody holds its client secret.
    pub(super) fn is_of(&self, client_secret: &SecretString) -> bool {
        use secrecy::ExposeSecret;
        client_secret.expose_secret() == self.client_secret()
    }

    /// The provider's own page where the customer authenticates.
    pub(super) fn authenticate_url(&self, base: &str) -> String {
        format!(
            "{base}/authenticate/{}?secret={}",
            self.id,
            self.client_secret()
        )
    }

    pub(super) fn to_json(&self, base: &str) -> Value {
        let next_action = (self.status == IntentState::RequiresAction).then(|| {
            let url = self.authenticate_url(base);
            json!({
                "type": "redirect_to_url",
                "redirect_to_url": { "url": url, "return_url": self.return_url },
            })
        });
        let last_error = self.last_error.as_ref().map(|decline| {
            json!({
                "type": "card_error",
                "code": decline.code,
                "decline_code": decline.decline_code,
                "message": decline.message,
            })
        });
        json!({
            "id": self.id,
            "object": "payment_intent",
            "amount": self.amount,
            "amount_capturable": 0,
            "amount_received": self.received,
            "canceled_at": self.canceled_at,
            "cancellation_reason": self.cancellation_reason,
            "capture_method": "automatic",
            "client_secret": self.client_secret(),
            "confirmation_method": "automatic",
            "created": self.created,
            "currency": self.currency,
            "customer": null,
            "description": null,
            "last_payment_error": last_error,
            "latest_charge": self.charge,
            "livemode": false,
            "metadata": self.metadata,
            "next_action": next_action,
            "payment_method": self.payment_method,
            "payment_method_types": ["card"],
            "status": self.status,
        })
    }
}

impl Charge {
    pub(super) fn to_json(&self) -> Value {
        json!({
            "id": self.id,
            "object": "charge",
            "amount": self.amount,
            "amount_captured": self.amount,
            "amount_refunded": self.refunded,
            "captured": true,
            "created": self.created,
            "currency": self.currency,
            "livemode": false,
            "paid": true,
            "payment_intent": self.intent,
            "payment_method": self.payment_method,
            "refunded": self.refunded == self.amount,
            "status": "succeeded",
        })
    }
}

impl Refund {
    pub(super) fn to_json(&self) -> Value {
        json!({
            "id": self.id,
            "object": "refund",
            "amount": self.amount,
            "charge": self.charge,
            "created": self.created,
            "currency": self.currency,
            "failure_reason": self.failure_reason,
            "metadata": self.metadata,
            "payment_intent": self.intent,
            "reason": self.reason,
            "status": self.status,
        })
    }
}
