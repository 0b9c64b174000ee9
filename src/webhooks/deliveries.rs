//! `GET /v1/webhook_endpoints/{endpoint_id}/deliveries`: what became of each telling.

use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::store::deliveries::{self as store, Attempt, Listed};
use super::store::endpoints;
use super::{Webhooks, missing};
use crate::clock::rfc3339_ms;
use crate::http::auth::{Action, Authenticated};
use crate::http::paging::{Page, Paging, Params};
use crate::http::problem::{Problem, ProblemDocument};
use crate::ids::{EndpointId, EventId};

/// The states that a delivery may have.
const STATES: [&str; 4] = ["pending", "succeeded", "exhausted", "dropped"];

/// A try of a delivery.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookAttempt)]
pub struct AttemptView {
    /// Counts the tries, from 1.
    pub attempt: i32,
    /// When.
    pub at: String,
    /// How long it took, milliseconds.
    pub took_ms: i32,
    /// The status that was answered; null where nothing was.
    pub status: Option<i16>,
    /// Why there was no answer, or none that counts.
    pub error: Option<String>,
    /// The first 500 characters of the answer.
    pub response: String,
}

/// An event on its way to an endpoint.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookDelivery)]
pub struct DeliveryView {
    /// The event; the `webhook-id` of every try.
    #[schema(value_type = String, example = "evt_01hf7yat00e8t8n6hpj7w9m4qk")]
    pub event_id: EventId,
    /// The endpoint.
    #[schema(value_type = String, example = "we_01hf7yat00e8t8n6hpj7w9m4qk")]
    pub endpoint_id: EndpointId,
    /// The event's type.
    #[schema(example = "sale.recorded")]
    pub r#type: String,
    /// `pending`, `succeeded`, `exhausted` (it was tried for 75 hours, or the endpoint answered 410) or `dropped` (the endpoint was disabled).
    #[schema(example = "succeeded")]
    pub state: String,
    /// Tries so far.
    pub attempts: i32,
    /// When it is tried next; null where it is not.
    pub next_at: Option<String>,
    /// Since when it is to be told.
    pub created_at: String,
    /// When it succeeded, or was given up.
    pub ended_at: Option<String>,
    /// The last ten tries, the newest first.
    pub tries: Vec<AttemptView>,
}

/// List what was told to an endpoint, of the newest event first
#[utoipa::path(
    get, path = "/v1/webhook_endpoints/{endpoint_id}/deliveries", tag = "Webhooks", security(("key" = [])),
    params(
        ("endpoint_id" = String, Path),
        ("state" = Option<String>, Query, description = "`pending`, `succeeded`, `exhausted` or `dropped`"),
        ("limit" = Option<i64>, Query, description = "25 unless given", minimum = 1, maximum = 100),
        ("starting_after" = Option<String>, Query, description = "`next_cursor` of the page before"),
        ("ending_before" = Option<String>, Query, description = "the page that ends before this event"),
    ),
    responses(
        (status = 200, body = Page<DeliveryView>),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn list_webhook_deliveries(
    State(webhooks): State<Webhooks>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
    mut params: Params,
) -> Result<Json<Page<DeliveryView>>, Problem> {
    let paging = Paging::take(&mut params, |text| text.parse::<EventId>().ok())?;
    let state = params.take_as("state", "a state of a delivery", |text| {
        STATES.into_iter().find(|state| *state == text)
    })?;
    params.finish()?;
    caller.require(Action::ManageWebhooks)?;
    let id: EndpointId = id.parse().map_err(|_| missing("endpoint"))?;
    let merchant = caller.merchant;
    let mut db = webhooks.pool.acquire().await?;
    if endpoints::find(&mut db, merchant, id).await?.is_none() {
        return Err(missing("endpoint"));
    }
    let rows = store::list(&mut db, merchant, id, state, &paging).await?;
    let events: Vec<Uuid> = rows.iter().map(|row| row.event_id).collect();
    let tries = store::attempts(&mut db, merchant, id, &events).await?;
    let views = rows.into_iter().map(|row| view(row, &tries)).collect();
    Ok(Json(paging.page(views, |one: &DeliveryView| {
        one.event_id.to_string()
    })))
}

/// A delivery, with those of `tries` that are its own.
pub(super) fn view(row: Listed, tries: &[Attempt]) -> DeliveryView {
    let own = tries.iter().filter(|it| it.event_id == row.event_id);
    DeliveryView {
        event_id: EventId(row.event_id),
        endpoint_id: EndpointId(row.endpoint_id),
        r#type: row.r#type,
        next_at: (row.state == "pending").then(|| rfc3339_ms(row.next_at)),
        state: row.state,
        attempts: row.attempts,
        created_at: rfc3339_ms(row.created_at),
        ended_at: row.ended_at.map(rfc3339_ms),
        tries: own
            .map(|it| AttemptView {
                attempt: it.attempt,
                at: rfc3339_ms(it.at),
                took_ms: it.took_ms,
                status: it.status,
                error: it.error.clone(),
                response: it.response.clone(),
            })
            .collect(),
    }
}
