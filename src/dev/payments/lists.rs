//! Lists: newest first, in pages, as Stripe gives them.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::book::{Draft, Table};
use super::form::Fields;
use super::refusal::Refusal;

/// Objects of a page unless asked for, and at most.
const PAGE: i64 = 10;
const PAGE_MAX: i64 = 100;

pub(super) fn intents(draft: &Draft<'_>, fields: &Fields) -> Result<Value, Refusal> {
    fields.only(&["limit", "starting_after", "created"])?;
    let made = times(fields)?;
    let intents = draft.book.intents.iter().rev();
    let intents = intents.filter(|intent| made.contain(intent.created));
    let rows = intents.map(|intent| (intent.id.as_str(), intent));
    page(fields, "/v1/payment_intents", rows, |intent| {
        intent.to_json(draft.base)
    })
}

pub(super) fn refunds(draft: &Draft<'_>, fields: &Fields) -> Result<Value, Refusal> {
    fields.only(&["limit", "starting_after", "created", "payment_intent"])?;
    let made = times(fields)?;
    let of = fields.get("payment_intent");
    let refunds = draft.book.refunds.iter().rev();
    let refunds = refunds.filter(|refund| {
        made.contain(refund.created) && of.is_none_or(|intent| refund.intent == intent)
    });
    let rows = refunds.map(|refund| (refund.id.as_str(), refund));
    page(fields, "/v1/refunds", rows, |refund| refund.to_json())
}

pub(super) fn events(draft: &Draft<'_>, fields: &Fields) -> Result<Value, Refusal> {
    fields.only(&["limit", "starting_after", "created", "type", "types"])?;
    let made = times(fields)?;
    let kind = fields.get("type");
    let kinds = fields.all("types");
    let events = draft.book.events.iter().rev();
    let events = events.filter(|event| {
        made.contain(event.created)
            && kind.is_none_or(|kind| event.kind == kind)
            && (kinds.is_empty() || kinds.contains(&event.kind.as_str()))
    });
    let rows = events.map(|event| (event.id.as_str(), event));
    page(fields, "/v1/events", rows, |event| {
        serde_json::from_str(&event.body).unwrap_or_default()
    })
}

/// An event by its id.
pub(super) fn event(draft: &Draft<'_>, id: &str) -> Result<Value, Refusal> {
    let missing = || Refusal::missing("event", id, "id", StatusCode::NOT_FOUND);
    let event = draft.book.events.get(id).ok_or_else(missing)?;
    Ok(serde_json::from_str(&event.body).unwrap_or_default())
}

struct Times {
    from: i64,
    to: i64,
}

impl Times {
    fn contain(&self, time: i64) -> bool {
        (self.from..=self.to).contains(&time)
    }
}

/// `created[gte]` and `created[lte]`.
fn times(fields: &Fields) -> Result<Times, Refusal> {
    let from = fields.number("created[gte]", 0..=i64::MAX)?;
    let to = fields.number("created[lte]", 0..=i64::MAX)?;
    Ok(Times {
        from: from.unwrap_or(0),
        to: to.unwrap_or(i64::MAX),
    })
}

fn page<'a, T: 'a>(
    fields: &Fields,
    url: &str,
    rows: impl Iterator<Item = (&'a str, T)>,
    to_json: impl Fn(T) -> Value,
) -> Result<Value, Refusal> {
    let limit = fields.number("limit", 1..=PAGE_MAX)?.unwrap_or(PAGE);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut rows = rows.peekable();
    if let Some(after) = fields.get("starting_after")
        && !rows.any(|(id, _)| id == after)
    {
        let status = StatusCode::BAD_REQUEST;
        return Err(Refusal::missing("object", after, "starting_after", status));
    }
    let data: Vec<Value> = rows
        .by_ref()
        .take(limit)
        .map(|(_, row)| to_json(row))
        .collect();
    Ok(json!({
        "object": "list",
        "url": url,
        "has_more": rows.peek().is_some(),
        "data": data,
    }))
}

/// All objects of a table, oldest first.
pub(super) fn all<T>(table: &Table<T>, to_json: impl Fn(&T) -> Value) -> Vec<Value> {
    table.iter().map(to_json).collect()
}
