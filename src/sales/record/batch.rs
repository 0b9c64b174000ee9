//! `POST /v1/sales:batch`.

use std::fmt;
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use utoipa::ToSchema;

use super::{Answered, judge};
use crate::http::auth::{Action, Authenticated};
use crate::http::body::JsonBytes;
use crate::http::codes;
use crate::http::idempotency::IdempotencyKey;
use crate::http::layers::RequestId;
use crate::http::object::{self, Field, Read, Shape};
use crate::http::problem::{Fault, Problem, ProblemDocument};
use crate::limits;
use crate::sales::Sales;
use crate::sales::intake::{AnswerVersion, Draft, IntakeError, Slot};
use crate::sales::request::{SALE, SaleRequest};

/// A list of sales and refunds, each with an `idempotency_key`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"items": [
    {"idempotency_key": "5f0c5ac7-0a83-4d0e-9a0b-0d6f8a3c1b57", "order_id": "A-1002",
     "amount": {"value": "99.00", "currency": "INR"}},
    {"idempotency_key": "0a4c2b5e-57c8-4f0a-8a31-1f0e6d9c7b21", "order_id": "R-1002", "kind": "refund",
     "refers_to": "A-1002", "amount": {"value": "9.00", "currency": "INR"}}
]}))]
pub struct BatchRequest {
    /// 1 to 500.
    #[schema(value_type = Vec<SaleRequest>)]
    pub items: Items,
}

static BATCH: &[Field] = &[Field {
    name: "items",
    shape: Shape::Items,
    required: true,
}];

/// What became of each item, in the order of the request.
#[derive(Serialize, ToSchema)]
pub struct BatchAnswer {
    /// One a sale.
    pub items: Vec<ItemAnswer>,
}

/// What became of one item.
#[derive(Serialize, ToSchema)]
pub struct ItemAnswer {
    /// The status it would have had alone.
    pub status: u16,
    /// Whether it was answered before.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub replayed: bool,
    /// The sale, or the problem.
    #[schema(value_type = Object)]
    pub body: Box<RawValue>,
}

impl ItemAnswer {
    fn new(answered: Answered, request_id: &str) -> Self {
        match answered {
            Answered::Sale(_, body, replayed) => Self {
                status: 201,
                replayed,
                body,
            },
            Answered::Problem(problem, first) => Self {
                status: problem.code.status.as_u16(),
                replayed: first.is_some(),
                body: to_raw_value(&problem.document(first.as_deref().unwrap_or(request_id)))
                    .unwrap_or_default(),
            },
        }
    }
}

/// Record up to 500 sales and refunds
///
/// Each item carries its own `idempotency_key` and gets its own result; one bad item does not touch the
/// others. Items are recorded in their order.
#[utoipa::path(
    post, path = "/v1/sales:batch", tag = "Sales", request_body = BatchRequest, security(("key" = [])),
    responses(
        (status = 200, body = BatchAnswer),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 413, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 415, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn record_batch(
    State(sales): State<Sales>,
    Authenticated(caller): Authenticated,
    Extension(RequestId(request_id)): Extension<RequestId>,
    JsonBytes(bytes): JsonBytes<{ limits::BATCH_BODY_BYTES }>,
) -> Result<axum::Json<BatchAnswer>, Problem> {
    caller.require(Action::Record)?;
    let items = items(&bytes)?;
    let mut drafts = Vec::with_capacity(items.len());
    let mut answers = Vec::with_capacity(items.len());
    for item in &items {
        answers.push(match draft(item, &sales, &request_id) {
            Ok(draft) => {
                drafts.push(draft);
                None
            }
            Err(problem) => Some(problem),
        });
    }
    let outcomes = sales.intake.record(caller.merchant, drafts).await?;
    // when nothing of it went through, the caller is told so as for a single sale
    let nothing = outcomes.iter().all(Result::is_err);
    let mut outcomes = outcomes.into_iter();
    if nothing && let Some(Err(error)) = outcomes.next() {
        return Err(error.into());
    }
    let items = answers.into_iter().map(|refused| {
        let answered = match refused {
            Some(problem) => Err(problem),
            // one outcome a draft, in their order
            None => outcomes
                .next()
                .unwrap_or(Err(IntakeError::Ended))
                .map_err(Problem::from)
                .and_then(|outcome| Answered::new(outcome, &sales)),
        };
        ItemAnswer::new(answered.unwrap_or_else(Answered::problem), &request_id)
    });
    Ok(axum::Json(BatchAnswer {
        items: items.collect(),
    }))
}

/// The items of a batch, not read yet.
fn items(json: &[u8]) -> Result<Vec<Box<RawValue>>, Problem> {
    let Read { body, faults } = object::read::<BatchRequest>(json, BATCH)?;
    if !faults.is_empty() {
        return Err(Problem::of_faults(faults));
    }
    let Items { first, count } = body.items;
    if (1..=limits::BATCH_ITEMS).contains(&count) {
        return Ok(first);
    }
    let detail = format!("1 to {} items, not {count}", limits::BATCH_ITEMS);
    Err(Problem::of_faults(vec![Fault::new(
        "/items",
        &codes::TOO_MANY_ITEMS,
        detail,
    )]))
}

/// The items that a batch may have, and how many there are: what is beyond is counted, not kept.
pub struct Items {
    first: Vec<Box<RawValue>>,
    count: usize,
}

impl<'de> Deserialize<'de> for Items {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ItemsVisitor;
        impl<'de> Visitor<'de> for ItemsVisitor {
            type Value = Items;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Items, A::Error> {
                let mut first = Vec::new();
                while first.len() < limits::BATCH_ITEMS {
                    let Some(item) = list.next_element()? else {
                        break;
                    };
                    first.push(item);
                }
                let mut count = first.len();
                while list.next_element::<IgnoredAny>()?.is_some() {
                    count += 1;
                }
                Ok(Items { first, count })
            }
        }
        deserializer.deserialize_seq(ItemsVisitor)
    }
}

/// An item of a batch, with its key.
fn draft(item: &RawValue, sales: &Sales, request_id: &Arc<str>) -> Result<Draft, Problem> {
    let mut read = object::read::<SaleRequest>(item.get().as_bytes(), SALE)?;
    let fault = match read.body.idempotency_key.as_deref() {
        None => Some((
            &codes::IDEMPOTENCY_KEY_MISSING,
            "each item needs its idempotency_key",
        )),
        Some(key) if IdempotencyKey::parse(key).is_err() => Some((
            &codes::IDEMPOTENCY_KEY_INVALID,
            "1 to 255 visible ASCII characters",
        )),
        Some(_) => None,
    };
    if let Some((code, detail)) = fault {
        read.add(Fault::new("/idempotency_key", code, detail));
    }
    let key = read.body.idempotency_key.clone().unwrap_or_default();
    let command = judge(read, sales)?;
    Ok(Draft {
        command,
        slot: Slot { space: 0, key },
        answer: AnswerVersion::Sale,
        request_id: request_id.clone(),
    })
}
