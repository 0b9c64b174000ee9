//! `GET /v1/events`, `GET /v1/events/{event_id}` and `POST /v1/events/{event_id}/replay`: the log of what
//! happened, and telling it again.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::deliveries::{DeliveryView, view as delivery};
use super::event_type::EventType;
use super::store::deliveries;
use super::store::events::{self as store, Listed, Replayed};
use super::{Webhooks, disabled, missing};
use crate::clock::rfc3339_ms;
use crate::http::auth::{Action, Authenticated};
use crate::http::body::JsonBytes;
use crate::http::codes;
use crate::http::object::{self, Field, Shape};
use crate::http::paging::{Page, Paging, Params};
use crate::http::problem::{Problem, ProblemDocument};
use crate::ids::EventId;

/// Something that happened.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Event)]
pub struct EventView {
    /// Its id; the `webhook-id` of its deliveries.
    #[schema(value_type = String, example = "evt_01hf7yat00e8t8n6hpj7w9m4qk")]
    pub id: EventId,
    /// What it tells of.
    #[schema(example = "order.paid")]
    pub r#type: String,
    /// When it happened; the `timestamp` of its deliveries.
    #[schema(format = "date-time")]
    pub created_at: String,
    /// The resource as it was then.
    #[schema(value_type = Object)]
    pub data: Box<RawValue>,
}

/// An event with what became of it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EventWithDeliveries)]
pub struct ToldView {
    /// The event.
    #[serde(flatten)]
    pub event: EventView,
    /// Whom it was told to, each without its tries.
    pub deliveries: Vec<DeliveryView>,
}

/// Whom an event is to be told to again.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = EventReplay)]
pub struct ReplayRequest {
    /// The endpoint.
    #[schema(example = "we_01hf7yat00e8t8n6hpj7w9m4qk")]
    pub endpoint_id: String,
}

static REPLAY: &[Field] = &[Field::required("endpoint_id", Shape::Text)];

/// List what happened, newest first
///
/// Of the last 30 days. What happens with every sale or batch (`sale.recorded`, `batch.sealed`, `anchor.finalized` and
/// all of `points.…`) is among it only if an endpoint wanted it then.
#[utoipa::path(
    get, path = "/v1/events", tag = "Webhooks", security(("key" = [])),
    params(
        ("type" = Option<String>, Query, description = "events of this type alone"),
        ("limit" = Option<i64>, Query, description = "25 unless given", minimum = 1, maximum = 100),
        ("starting_after" = Option<String>, Query, description = "`next_cursor` of the page before"),
        ("ending_before" = Option<String>, Query, description = "the page that ends before this event"),
    ),
    responses(
        (status = 200, body = Page<EventView>),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn list_events(
    State(webhooks): State<Webhooks>,
    Authenticated(caller): Authenticated,
    mut params: Params,
) -> Result<Json<Page<EventView>>, Problem> {
    let paging = Paging::take(&mut params, |text| text.parse::<EventId>().ok())?;
    let of_type = params.take_as("type", "a type of event", EventType::parse)?;
    params.finish()?;
    caller.require(Action::ManageWebhooks)?;
    let mut db = webhooks.pool.acquire().await?;
    let of_type = of_type.map(EventType::as_str);
    let rows = store::list(&mut db, caller.merchant, of_type, &paging).await?;
    let views = rows.into_iter().map(view).collect::<Result<_, _>>()?;
    Ok(Json(
        paging.page(views, |one: &EventView| one.id.to_string()),
    ))
}

/// Read an event, with whom it was told to
#[utoipa::path(
    get, path = "/v1/events/{event_id}", tag = "Webhooks", security(("key" = [])),
    params(("event_id" = String, Path)),
    responses(
        (status = 200, body = ToldView),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn read_event(
    State(webhooks): State<Webhooks>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
    params: Params,
) -> Result<Json<ToldView>, Problem> {
    params.finish()?;
    caller.require(Action::ManageWebhooks)?;
    let id = id.parse().map_err(|_| missing("event"))?;
    let mut db = webhooks.pool.acquire().await?;
    let found = store::find(&mut db, caller.merchant, id).await?;
    let event = view(found.ok_or_else(|| missing("event"))?)?;
    let told = deliveries::of_event(&mut db, caller.merchant, id).await?;
    let deliveries = told.into_iter().map(|row| delivery(row, &[])).collect();
    Ok(Json(ToldView { event, deliveries }))
}

/// Tell an endpoint of an event again
///
/// Or for the first time: it need not want the event's type. It is the same event with the same `webhook-id`, so
/// an endpoint that has it already takes no notice.
#[utoipa::path(
    post, path = "/v1/events/{event_id}/replay", tag = "Webhooks", request_body = ReplayRequest, security(("key" = [])),
    params(("event_id" = String, Path)),
    responses(
        (status = 202, description = "It is due now"),
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
pub async fn replay_event(
    State(webhooks): State<Webhooks>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Problem> {
    caller.require(Action::ManageWebhooks)?;
    let id = id.parse().map_err(|_| missing("event"))?;
    let read = object::read::<ReplayRequest>(&bytes, REPLAY)?;
    if !read.faults.is_empty() {
        return Err(Problem::of_faults(read.faults));
    }
    let endpoint = read.body.endpoint_id.parse();
    let endpoint = endpoint.map_err(|_| missing("endpoint"))?;
    webhooks.check_sound()?;
    let mut db = webhooks.pool.acquire().await?;
    let now = webhooks.site.clock.now();
    match store::replay(&mut db, caller.merchant, id, endpoint, now).await? {
        Replayed::Replayed => Ok(StatusCode::ACCEPTED.into_response()),
        Replayed::NoEvent => Err(missing("event")),
        Replayed::NoEndpoint => Err(missing("endpoint")),
        Replayed::NotEnabled => Err(disabled()),
    }
}

fn view(row: Listed) -> Result<EventView, Problem> {
    let data = RawValue::from_string(row.data).map_err(|error| {
        tracing::error!(error = %error, "a stored event is no JSON");
        Problem::new(&codes::INTERNAL, "the request could not be completed")
    })?;
    Ok(EventView {
        id: EventId(row.event_id),
        r#type: row.r#type,
        created_at: rfc3339_ms(row.created_at),
        data,
    })
}
