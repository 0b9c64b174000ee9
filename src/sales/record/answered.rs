//! What a caller is told of an outcome, alone or in a batch.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::value::RawValue;

use crate::http::codes::{self, Code};
use crate::http::idempotency::REPLAYED;
use crate::http::problem::{Fault, Problem, is_unavailable};
use crate::ids::SaleId;
use crate::money::{Currency, format_minor};
use crate::sales::intake::{IntakeError, Outcome, Refusal};
use crate::sales::stored::StoredSaleError;
use crate::sales::{Sales, answer};
use crate::telemetry;

/// An outcome on its way to the caller, alone or in a batch.
pub(in crate::sales) enum Answered {
    /// A sale: its id, the body, whether it was answered before.
    Sale(SaleId, Box<RawValue>, bool),
    /// A problem; the request it belongs to where that is an earlier one.
    Problem(Problem, Option<String>),
}

impl Answered {
    /// A problem of this request.
    pub(super) fn problem(problem: Problem) -> Self {
        Self::Problem(problem, None)
    }

    /// What the caller is told of an outcome.
    pub(in crate::sales) fn new(outcome: Outcome, sales: &Sales) -> Result<Self, Problem> {
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
            Outcome::RefundOfOrder => (
                "refused",
                refund(&codes::REFUND_OF_ORDER, "that sale is an order of the shop"),
            ),
            Outcome::Unreadable => (
                "failed",
                Self::problem(Problem::new(
                    &codes::ARCHIVE_UNAVAILABLE,
                    "the sale was recorded before, and its archive cannot be read here",
                )),
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
}

fn refund(code: &'static Code, detail: &str) -> Answered {
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
pub(in crate::sales) fn respond(answered: Answered) -> Response {
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
            IntakeError::Full | IntakeError::Late => Problem::new(
                &codes::OVERLOADED,
                "too many sales wait to be recorded; nothing was written, try again",
            ),
            IntakeError::InDoubt => Problem::in_doubt(
                "nothing was recorded; keep the sale and send it again with its key",
            ),
            IntakeError::Ended => Problem::new(
                &codes::DATABASE_UNAVAILABLE,
                "send the same request with the same key again",
            ),
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
