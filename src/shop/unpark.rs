//! `POST /v1/orders/{order_id}/unpark`: somebody has dealt with what an order, or a refund of it, was parked for.

use axum::extract::{Path, State};
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;

use super::Shop;
use super::orders::{OrderView, missing, view};
use super::store::orders::{self as store, Unparked};
use crate::http::auth::{Action, Authenticated};
use crate::http::body::JsonBytes;
use crate::http::codes;
use crate::http::commands::{self, Command, Kept};
use crate::http::idempotency::IdempotencyKey;
use crate::http::object::{self, Field, Read, Shape};
use crate::http::problem::{Fault, Problem, ProblemDocument};
use crate::ids::PurchaseId;
use crate::limits;

/// What was done about a parked order.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Unparking, example = json!({"reason": "paid back by bank transfer"}))]
pub struct UnparkRequest {
    /// What was done, at most 200 characters.
    pub reason: String,
}

static UNPARK: &[Field] = &[Field::required("reason", Shape::Text)];

/// Say that a parked order is dealt with
///
/// It and its refunds are parked no more, and the alarm is silent. What they were parked for, what was done and by
/// whom is told by the event `order.unparked`. One that is PENDING is cancelled instead. What could not be recorded as a
/// sale is tried again every minute, and parked again where it still cannot be.
#[utoipa::path(
    post, path = "/v1/orders/{order_id}/unpark", tag = "Orders", request_body = UnparkRequest,
    security(("key" = []), ("token" = [])),
    params(("order_id" = String, Path), ("Idempotency-Key" = String, Header)),
    responses(
        (status = 200, body = OrderView, headers(("Idempotent-Replayed" = String))),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 413, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 415, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn unpark_order(
    State(shop): State<Shop>,
    Authenticated(caller): Authenticated,
    key: IdempotencyKey,
    Path(id): Path<String>,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Problem> {
    caller.require(Action::ManageOrders)?;
    let id: PurchaseId = id.parse().map_err(|_| missing())?;
    let reason = judge(object::read(&bytes, UNPARK)?)?;
    shop.check_sound()?;
    let command = Command::new(&caller, &key, "unpark/1", &(id, &reason));
    commands::once(&shop.pool, &command, shop.site.clock.now(), async |db| {
        let unparked = store::unpark(db, &caller, id, &reason).await?;
        check(unparked)?;
        tracing::info!(order = %id, by = %caller.who, reason, "an order is parked no more");
        let order = store::find(db, caller.merchant, id, None).await?;
        let view = view(db, &shop, &caller, order.ok_or_else(missing)?).await?;
        Ok(Kept::ok(&view))
    })
    .await
}

fn check(unparked: Unparked) -> Result<(), Problem> {
    Err(match unparked {
        Unparked::Unparked => return Ok(()),
        Unparked::Pending => {
            let detail =
                "nothing was sold: give back at the provider what was paid, then cancel the order";
            Problem::new(&codes::ORDER_NOT_PAID, detail)
        }
        Unparked::NotParked => {
            let detail = "neither it nor one of its refunds is parked";
            Problem::new(&codes::ORDER_NOT_PARKED, detail)
        }
        Unparked::Unknown => missing(),
    })
}

fn judge(mut read: Read<UnparkRequest>) -> Result<String, Problem> {
    let reason = read.body.reason.clone();
    if let Some(fault) = Fault::of_text("/reason", &reason, limits::REASON_CHARS) {
        read.add(fault);
    } else if reason.trim().is_empty() {
        let detail = "say what was done";
        read.add(Fault::new("/reason", &codes::TEXT_EMPTY, detail));
    }
    if read.faults.is_empty() {
        Ok(reason)
    } else {
        Err(Problem::of_faults(read.faults))
    }
}
