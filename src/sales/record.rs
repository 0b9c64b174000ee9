//! `POST /v1/sales` and `POST /v1/sales:batch`.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::Sales;
use super::answer::{self, SaleAnswer};
use super::command::SaleCommand;
use super::intake::{AnswerVersion, Draft, IntakeError, Outcome, Refusal, Slot};
use super::request::{SALE, SaleRequest};
use super::stored::StoredSaleError;
use crate::http::auth::{Action, Authenticated};
use crate::http::body::JsonBytes;
use crate::http::codes;
use crate::http::idempotency::{IdempotencyKey, REPLAYED};
use crate::http::layers::RequestId;
use crate::http::object::{self, Object, Read, invalid_json};
use crate::http::problem::{Fault, Problem, ProblemDocument, is_unavailable};
use crate::ids::SaleId;
use crate::limits;
use crate::money::{Currency, format_minor};
use crate::telemetry;

/// Record a sale or a refund
///
/// Committed when answered. The same key, or the same order id, with the same body gives the same
/// answer again, at any age, and records nothing twice.
#[utoipa::path(
    post, path = "/v1/sales", tag = "Sales", request_body = SaleRequest, security(("key" = [])),
    params(("Idempotency-Key" = String, Header, description = "1 to 255 visible ASCII characters, best a UUID v4; the same for every retry")),
    responses(
        (status = 201, body = SaleAnswer, headers(("Location" = String), ("Idempotent-Replayed" = String))),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 413, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 415, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn record_sale(
    State(sales): State<Sales>,
    Authenticated(caller): Authenticated,
    Extension(RequestId(request_id)): Extension<RequestId>,
    key: IdempotencyKey,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Problem> {
    caller.require(Action::Record)?;
    let read = object::read::<SaleRequest>(&bytes, SALE)?;
    if read
        .body
        .idempotency_key
        .as_ref()
        .is_some_and(|inner| *inner != key.0)
        && read.faults.is_empty()
    {
        return Err(Problem::new(
            &codes::IDEMPOTENCY_KEY_DIFFERS,
            "idempotency_key is not the header's",
        ));
    }
    let command = judge(read, &sales)?;
    let draft = Draft {
        command,
        slot: Slot {
            space: 0,
            key: key.0,
        },
        answer: AnswerVersion::Sale,
        request_id,
    };
    let mut outcomes = sales.intake.record(caller.merchant, vec![draft]).await?;
    let outcome = outcomes
        .pop()
        .ok_or(Problem::new(&codes::INTERNAL, "the sale got no answer"))?;
    Ok(respond(Answered::new(outcome, &sales)?))
}

/// A list of sales and refunds, each with an `idempotency_key`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchRequest {
    /// 1 to 500.
    #[schema(value_type = Vec<SaleRequest>)]
    pub items: Vec<Box<RawValue>>,
}

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
    pub body: Value,
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
    JsonBytes(bytes): JsonBytes,
) -> Result<axum::Json<BatchAnswer>, Problem> {
    caller.require(Action::Record)?;
    let Object(batch): Object<BatchRequest> =
        serde_json::from_slice(&bytes).map_err(|error| batch_fault(&error))?;
    if !(1..=limits::BATCH_ITEMS).contains(&batch.items.len()) {
        let detail = format!(
            "1 to {} items, not {}",
            limits::BATCH_ITEMS,
            batch.items.len()
        );
        return Err(Problem::of_faults(vec![Fault::new(
            "/items",
            &codes::TOO_MANY_ITEMS,
            detail,
        )]));
    }
    let mut answers: Vec<Option<Answered>> = Vec::with_capacity(batch.items.len());
    let mut drafts = Vec::with_capacity(batch.items.len());
    for item in &batch.items {
        match draft(item, &sales, &request_id) {
            Ok(draft) => {
                drafts.push(draft);
                answers.push(None);
            }
            Err(problem) => answers.push(Some(Answered::problem(problem))),
        }
    }
    let mut outcomes = sales
        .intake
        .record(caller.merchant, drafts)
        .await?
        .into_iter();
    let mut items = Vec::with_capacity(answers.len());
    for answer in answers {
        let answered = match (answer, outcomes.len()) {
            (Some(answered), _) => answered,
            (None, 0) => {
                Answered::problem(Problem::new(&codes::INTERNAL, "the sale got no answer"))
            }
            (None, _) => match outcomes
                .next()
                .map(|outcome| Answered::new(outcome, &sales))
            {
                Some(Ok(answered)) => answered,
                Some(Err(problem)) => Answered::problem(problem),
                None => continue,
            },
        };
        items.push(answered.item(&request_id));
    }
    Ok(axum::Json(BatchAnswer { items }))
}

fn batch_fault(error: &serde_json::Error) -> Problem {
    match error.classify() {
        serde_json::error::Category::Data => {
            let detail = "a batch is an object with a list \"items\" and nothing else";
            Problem::of_faults(vec![Fault::new("/items", &codes::WRONG_TYPE, detail)])
        }
        _ => invalid_json(error),
    }
}

/// An item of a batch, with its key.
fn draft(item: &RawValue, sales: &Sales, request_id: &Arc<str>) -> Result<Draft, Problem> {
    let mut read = object::read::<SaleRequest>(item.get().as_bytes(), SALE)?;
    let at = "/idempotency_key";
    let fault = match read
        .body
        .idempotency_key
        .as_deref()
        .map(IdempotencyKey::parse)
    {
        None => Some(Fault::new(
            at,
            &codes::IDEMPOTENCY_KEY_MISSING,
            "each item needs its idempotency_key",
        )),
        Some(Err(_)) => Some(Fault::new(
            at,
            &codes::IDEMPOTENCY_KEY_INVALID,
            "1 to 255 visible ASCII characters",
        )),
        Some(Ok(_)) => None,
    };
    if !read.faults.iter().any(|known| known.pointer == at) {
        read.faults.extend(fault);
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

/// The command that a body means, or all that is wrong with it. What is wrong in shape is not judged
/// again for its meaning.
pub(super) fn judge(read: Read<SaleRequest>, sales: &Sales) -> Result<SaleCommand, Problem> {
    let mut faults = read.faults;
    match SaleCommand::parse(read.body, sales.site.clock.now()) {
        Ok(command) if faults.is_empty() => Ok(command),
        judged => {
            let known: Vec<String> = faults.iter().map(|fault| fault.pointer.clone()).collect();
            let covered = |fault: &Fault| known.iter().any(|at| within(&fault.pointer, at));
            faults.extend(
                judged
                    .err()
                    .unwrap_or_default()
                    .into_iter()
                    .filter(|fault| !covered(fault)),
            );
            Err(Problem::of_faults(faults))
        }
    }
}

/// Whether `pointer` is `at` or lies below it.
fn within(pointer: &str, at: &str) -> bool {
    pointer
        .strip_prefix(at)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// An outcome on its way to the caller, alone or in a batch.
pub(super) enum Answered {
    /// A sale: its id, the body, whether it was answered before.
    Sale(SaleId, Value, bool),
    /// A problem; the request it belongs to where that is an earlier one.
    Problem(Problem, Option<String>),
}

impl Answered {
    fn problem(problem: Problem) -> Self {
        Self::Problem(problem, None)
    }

    /// What the caller is told of an outcome.
    pub(super) fn new(outcome: Outcome, sales: &Sales) -> Result<Self, Problem> {
        let (label, answered) = match outcome {
            Outcome::Sale {
                sale,
                answer,
                replayed,
            } => {
                let body = answer::body(&sale, answer, &sales.site.public_url)?;
                let label = if replayed {
                    "replayed"
                } else {
                    answer::kind_name(sale.kind)
                };
                (label, Self::Sale(SaleId(sale.sale_id), body, replayed))
            }
            Outcome::Refused { refusal, replayed } => {
                let first = replayed.then(|| refusal.request_id.clone());
                ("refused", Self::Problem(refused(&refusal), first))
            }
            Outcome::KeyReused => (
                "key_reused",
                Self::problem(Problem::new(
                    &codes::IDEMPOTENCY_KEY_REUSED,
                    "the key belongs to another body",
                )),
            ),
            Outcome::InFlight => (
                "in_flight",
                Self::problem(Problem::new(
                    &codes::IDEMPOTENCY_IN_FLIGHT,
                    "the first request with this key is still running",
                )),
            ),
            Outcome::RefundUnknown => (
                "refused",
                refund(&codes::REFUND_SALE_UNKNOWN, "no sale of yours has that id"),
            ),
            Outcome::RefundOfRefund => (
                "refused",
                refund(&codes::REFUND_OF_REFUND, "that is a refund itself"),
            ),
            Outcome::RefundCurrency => (
                "refused",
                refund(&codes::REFUND_CURRENCY, "the sale is in another currency"),
            ),
            Outcome::Failed => (
                "failed",
                Self::problem(Problem::new(
                    &codes::INTERNAL,
                    "the sale could not be recorded",
                )),
            ),
        };
        metrics::counter!(telemetry::SALES_RECORDED, "outcome" => label).increment(1);
        Ok(answered)
    }

    fn item(self, request_id: &str) -> ItemAnswer {
        match self {
            Self::Sale(_, body, replayed) => ItemAnswer {
                status: 201,
                replayed,
                body,
            },
            Self::Problem(problem, first) => ItemAnswer {
                status: problem.code.status.as_u16(),
                replayed: first.is_some(),
                body: problem.document(first.as_deref().unwrap_or(request_id)),
            },
        }
    }
}

fn refund(code: &'static codes::Code, detail: &str) -> Answered {
    Answered::problem(Problem::of_faults(vec![Fault::new(
        "/refers_to",
        code,
        detail,
    )]))
}

/// The problem of a remembered refusal: a pure function of what is remembered.
fn refused(refusal: &Refusal) -> Problem {
    let sale = SaleId(refusal.sale_id).to_string();
    let currency = refusal.currency.as_deref().and_then(Currency::from_code);
    match (refusal.code.as_str(), refusal.left_minor, currency) {
        ("refund_exceeds", Some(left), Some(currency)) => {
            let left = format_minor(left, currency);
            Problem::new(
                &codes::REFUND_EXCEEDS,
                format!("{left} {} are left of the sale", currency.code()),
            )
            .with("left", left)
            .with("sale_id", sale)
        }
        _ => Problem::new(
            &codes::ORDER_EXISTS,
            format!("the order id belongs to {sale}"),
        )
        .with("sale_id", sale),
    }
}

/// The answer to a single request.
pub(super) fn respond(answered: Answered) -> Response {
    let (mut response, replayed) = match answered {
        Answered::Sale(id, body, replayed) => {
            let mut response = (StatusCode::CREATED, axum::Json(body)).into_response();
            if let Ok(location) = HeaderValue::from_str(&format!("/v1/sales/{id}")) {
                response.headers_mut().insert(header::LOCATION, location);
            }
            (response, replayed)
        }
        Answered::Problem(problem, None) => (problem.into_response(), false),
        Answered::Problem(problem, Some(first)) => (problem.render(&first), true),
    };
    if replayed {
        response
            .headers_mut()
            .insert(REPLAYED, HeaderValue::from_static("true"));
    }
    response
}

impl From<IntakeError> for Problem {
    fn from(error: IntakeError) -> Self {
        match error {
            IntakeError::Database(error) if is_unavailable(&error) => {
                tracing::warn!(error = %error, "a slice was not recorded, or not known to be");
                Problem::new(
                    &codes::DATABASE_UNAVAILABLE,
                    "send the same request with the same key again",
                )
            }
            error => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "a slice was not recorded"
                );
                Problem::new(
                    &codes::INTERNAL,
                    "the sale could not be recorded; it may be sent again",
                )
            }
        }
    }
}

impl From<StoredSaleError> for Problem {
    fn from(error: StoredSaleError) -> Self {
        tracing::error!(error = %error, "a stored sale is damaged");
        Problem::new(
            &codes::INTERNAL,
            "the stored sale is damaged; the operator was told",
        )
    }
}
