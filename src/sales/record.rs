//! `POST /v1/sales`; and what it shares with the batch and the first version.

mod answered;
pub mod batch;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;

use super::Sales;
use super::answer::SaleAnswer;
use super::command::SaleCommand;
use super::intake::{AnswerVersion, Draft, Slot};
use super::request::{SALE, SaleRequest};
use crate::http::auth::{Action, Authenticated};
use crate::http::body::JsonBytes;
use crate::http::codes;
use crate::http::idempotency::IdempotencyKey;
use crate::http::layers::RequestId;
use crate::http::object::{self, Read};
use crate::http::problem::{Fault, Problem, ProblemDocument};
pub(super) use answered::{Answered, respond};

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
    let mut read = object::read::<SaleRequest>(&bytes, SALE)?;
    let inner = read.body.idempotency_key.as_ref();
    if inner.is_some_and(|inner| *inner != key.0) {
        read.add(Fault::new(
            "/idempotency_key",
            &codes::IDEMPOTENCY_KEY_DIFFERS,
            "it is not the header's value",
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
    let outcome = sales.intake.record_one(caller.merchant, draft).await?;
    Ok(respond(Answered::new(outcome, &sales)?))
}

/// The command that a body means, or all that is wrong with it. What is wrong in shape is not judged
/// again for its meaning.
pub(super) fn judge(read: Read<SaleRequest>, sales: &Sales) -> Result<SaleCommand, Problem> {
    let Read { body, faults } = read;
    match SaleCommand::parse(body, sales.site.clock.now()) {
        Ok(command) if faults.is_empty() => Ok(command),
        judged => {
            let mut all = Read { body: (), faults };
            judged
                .err()
                .into_iter()
                .flatten()
                .for_each(|fault| all.add(fault));
            Err(Problem::of_faults(all.faults))
        }
    }
}
