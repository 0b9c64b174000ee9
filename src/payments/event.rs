//! What a verified delivery says: Stripe's events, as far as an order is concerned.
//!
//! Events come late, twice and out of order. One says what was so when it was made; the object in it is
//! that moment's.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use time::OffsetDateTime;

use super::object::{self, Charge, Intent, Refund};
use crate::http::keys::Mode;

/// The type of the event that says that an intent is paid.
pub const INTENT_SUCCEEDED: &str = "payment_intent.succeeded";

/// Bytes of a delivery: Stripe's are a few thousand.
pub const EVENT_BYTES: usize = 256 * 1024;

/// Why a body is no event. Nothing of its content is told.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// It is too large.
    #[error("an event has at most {EVENT_BYTES} bytes")]
    TooLarge,
    /// It is not JSON, or lacks what every event has.
    #[error("the body is no event")]
    Shape(#[source] serde_json::Error),
    /// Its id or time is none.
    #[error("the event has {0}")]
    Head(String),
    /// Its object is not what its type says.
    #[error("the event is of type {kind}, and its object is not")]
    Object {
        /// The event's type.
        kind: String,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
}

/// An event.
#[derive(Debug, Clone)]
pub struct ProviderEvent {
    /// The provider's id, `evt_…`: the same however often it is delivered.
    pub id: String,
    /// Its type, e.g. `payment_intent.succeeded`.
    pub kind: String,
    /// When it happened, to the second: not enough to order events by.
    pub created_at: OffsetDateTime,
    /// Whether its money is real.
    pub mode: Mode,
    /// What it happened to.
    pub object: EventObject,
}

/// What an event happened to.
#[derive(Debug, Clone)]
pub enum EventObject {
    /// `payment_intent.*`: the intent after it.
    Intent(Box<Intent>),
    /// `refund.*` and `charge.refund.updated`: the refund after it.
    Refund(Box<Refund>),
    /// `charge.refunded`: the charge with all that went back of it.
    Charge(Box<Charge>),
    /// Anything else: nothing that we act on.
    Other,
}

#[derive(Deserialize)]
struct Body<'a> {
    id: String,
    object: String,
    #[serde(rename = "type")]
    kind: String,
    created: i64,
    livemode: bool,
    #[serde(borrow)]
    data: Data<'a>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    object: &'a RawValue,
}

/// Reads an event. An unknown type is kept as [`EventObject::Other`]; of a type that we know the object
/// must be one.
///
/// # Errors
/// [`EventError`].
pub fn read(body: &[u8]) -> Result<ProviderEvent, EventError> {
    if body.len() > EVENT_BYTES {
        return Err(EventError::TooLarge);
    }
    let body: Body<'_> = serde_json::from_slice(body).map_err(EventError::Shape)?;
    if body.object != "event" {
        return Err(EventError::Head("another kind of object".to_owned()));
    }
    let id = object::id(body.id, "evt_").map_err(EventError::Head)?;
    let created_at = object::at(body.created).map_err(EventError::Head)?;
    let object = read_object(&body.kind, body.data.object).map_err(|source| {
        let kind = object::short(&body.kind);
        EventError::Object { kind, source }
    })?;
    Ok(ProviderEvent {
        id,
        kind: body.kind,
        created_at,
        mode: object::mode(body.livemode),
        object,
    })
}

fn read_object(kind: &str, object: &RawValue) -> serde_json::Result<EventObject> {
    let text = object.get();
    Ok(match kind {
        "charge.refunded" => EventObject::Charge(serde_json::from_str(text)?),
        "charge.refund.updated" => EventObject::Refund(serde_json::from_str(text)?),
        _ if kind.starts_with("payment_intent.") => {
            EventObject::Intent(serde_json::from_str(text)?)
        }
        _ if kind.starts_with("refund.") => EventObject::Refund(serde_json::from_str(text)?),
        _ => {
            // an object, whatever is in it
            serde_json::from_str::<BTreeMap<String, IgnoredAny>>(text)?;
            EventObject::Other
        }
    })
}
