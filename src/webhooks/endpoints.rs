//! `POST` and `GET /v1/webhook_endpoints`, `GET`, `PATCH` and `DELETE` of one, a new secret for it, and a test: an
//! administrator says who is told of events.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use secrecy::ExposeSecret;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::draft::{self, CHANGE, ENDPOINT};
use super::signature::{Secret, SecretError, public_text};
use super::store::endpoints::{self as store, Changed, Listed, Public};
use super::{Webhooks, disabled, missing};
use crate::clock::rfc3339_ms;
use crate::http::auth::{Action, Authenticated};
use crate::http::body::JsonBytes;
use crate::http::codes;
use crate::http::object;
use crate::http::paging::{Page, Paging, Params};
use crate::http::problem::{Problem, ProblemDocument};
use crate::http::version;
use crate::ids::{EndpointId, EventId, MerchantId};
use crate::limits;

pub use draft::{Change, EndpointRequest};

/// A public key that deliveries are signed with.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookKey)]
pub struct KeyView {
    /// Of Ed25519, for the signatures `v1a`.
    #[schema(example = "whpk_…")]
    pub public_key: String,
    /// Since when.
    pub created_at: String,
    /// Until when; null for the newest. The secret that came with it ends then too.
    pub expires_at: Option<String>,
}

/// An endpoint, without its secret.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookEndpoint)]
pub struct EndpointView {
    /// Its id.
    #[schema(value_type = String, example = "we_01hf7yat00e8t8n6hpj7w9m4qk")]
    pub id: EndpointId,
    /// Where it is told.
    pub url: String,
    /// The types of events that it is told of; `*` is all of them.
    pub types: Vec<String>,
    /// What people call it.
    pub description: String,
    /// `enabled`; `disabled` by an administrator; `failing`: disabled because for five days no delivery succeeded;
    /// `gone`: disabled because it answered 410.
    #[schema(example = "enabled")]
    pub state: String,
    /// Since when every delivery has failed; null after one that succeeded.
    pub failing_since: Option<String>,
    /// What deliveries are signed with, the newest first.
    pub keys: Vec<KeyView>,
    /// Counts its edits; the `ETag`.
    pub version: i64,
    /// When it was registered.
    pub created_at: String,
    /// When it was changed last.
    pub updated_at: String,
}

/// An endpoint with a new secret: the one answer that holds it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookEndpointWithSecret)]
pub struct SecretView {
    /// The endpoint.
    #[serde(flatten)]
    pub view: EndpointView,
    /// For verifying the signatures `v1`. It cannot be shown again.
    #[schema(example = "whsec_…")]
    pub secret: String,
}

/// An event that is on its way.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookPing)]
pub struct PingView {
    /// The event, of type `ping`.
    #[schema(value_type = String, example = "evt_01hf7yat00e8t8n6hpj7w9m4qk")]
    pub event_id: EventId,
}

/// Register an endpoint
///
/// It is told of events by a POST of `{"type", "timestamp", "data"}`, signed as Standard Webhooks 1.0 has it. The
/// answer shows its secret, this once; if that is lost, have another made by `rotate_secret`.
#[utoipa::path(
    post, path = "/v1/webhook_endpoints", tag = "Webhooks", request_body = EndpointRequest, security(("key" = [])),
    responses(
        (status = 201, body = SecretView, headers(("Location" = String), ("ETag" = String))),
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
pub async fn create_webhook_endpoint(
    State(webhooks): State<Webhooks>,
    Authenticated(caller): Authenticated,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Problem> {
    caller.require(Action::ManageWebhooks)?;
    let read = object::read(&bytes, ENDPOINT)?;
    webhooks.check_sound()?;
    let draft = draft::judge(read, &webhooks.addresses).await?;
    let (clock, entropy) = (&webhooks.site.clock, &webhooks.site.entropy);
    let id = EndpointId::new(clock, entropy);
    let secret = Secret::new(entropy).map_err(|error| broken(&error))?;
    let mut db = webhooks.pool.acquire().await?;
    let now = clock.now();
    if store::create(&mut db, caller.merchant, id, &draft, &secret, now).await? != Changed::Created
    {
        let most = limits::WEBHOOK_ENDPOINTS;
        let detail = format!("{most} endpoints are there; delete one that nobody listens on");
        return Err(Problem::new(&codes::TOO_MANY_WEBHOOK_ENDPOINTS, detail));
    }
    let view = load(&webhooks, &mut db, caller.merchant, id).await?;
    let mut response = with_secret(StatusCode::CREATED, view, &secret);
    // an id is ASCII
    if let Ok(location) = HeaderValue::try_from(format!("/v1/webhook_endpoints/{id}")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// List the endpoints of your merchant, newest first
#[utoipa::path(
    get, path = "/v1/webhook_endpoints", tag = "Webhooks", security(("key" = [])),
    params(
        ("limit" = Option<i64>, Query, description = "25 unless given", minimum = 1, maximum = 100),
        ("starting_after" = Option<String>, Query, description = "`next_cursor` of the page before"),
        ("ending_before" = Option<String>, Query, description = "the page that ends before this endpoint"),
    ),
    responses(
        (status = 200, body = Page<EndpointView>),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn list_webhook_endpoints(
    State(webhooks): State<Webhooks>,
    Authenticated(caller): Authenticated,
    mut params: Params,
) -> Result<Json<Page<EndpointView>>, Problem> {
    let paging = Paging::take(&mut params, |text| text.parse::<EndpointId>().ok())?;
    params.finish()?;
    caller.require(Action::ManageWebhooks)?;
    let mut db = webhooks.pool.acquire().await?;
    let rows = store::list(&mut db, caller.merchant, &paging).await?;
    let keys = store::public_keys(&mut db, caller.merchant, webhooks.site.clock.now()).await?;
    let views = rows.into_iter().map(|row| view(row, &keys)).collect();
    Ok(Json(
        paging.page(views, |one: &EndpointView| one.id.to_string()),
    ))
}

/// Read one endpoint, without its secret
#[utoipa::path(
    get, path = "/v1/webhook_endpoints/{endpoint_id}", tag = "Webhooks", security(("key" = [])),
    params(("endpoint_id" = String, Path)),
    responses(
        (status = 200, body = EndpointView, headers(("ETag" = String))),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn read_webhook_endpoint(
    State(webhooks): State<Webhooks>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
    params: Params,
) -> Result<Response, Problem> {
    params.finish()?;
    caller.require(Action::ManageWebhooks)?;
    let id = id.parse().map_err(|_| missing("endpoint"))?;
    let mut db = webhooks.pool.acquire().await?;
    let view = load(&webhooks, &mut db, caller.merchant, id).await?;
    let version = view.version;
    Ok(version::tagged(Json(view).into_response(), version))
}

/// Change an endpoint
///
/// `If-Match` names the version that the change was made from. One that was disabled is told again once it is
/// enabled, of what happens from then on; have it told of what it missed by `replay`.
#[utoipa::path(
    patch, path = "/v1/webhook_endpoints/{endpoint_id}", tag = "Webhooks", request_body = Change, security(("key" = [])),
    params(("endpoint_id" = String, Path), ("If-Match" = String, Header, description = "the ETag it was read with")),
    responses(
        (status = 200, body = EndpointView, headers(("ETag" = String))),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 412, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 413, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 415, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 428, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn change_webhook_endpoint(
    State(webhooks): State<Webhooks>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
    headers: HeaderMap,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Problem> {
    caller.require(Action::ManageWebhooks)?;
    let id: EndpointId = id.parse().map_err(|_| missing("endpoint"))?;
    let expected = version::expected_version(&headers)?;
    let read = object::read(&bytes, CHANGE)?;
    webhooks.check_sound()?;
    let stored = {
        let mut db = webhooks.pool.acquire().await?;
        let found = store::find(&mut db, caller.merchant, id).await?;
        found.ok_or_else(|| missing("endpoint"))?
    };
    if stored.version != expected {
        return Err(version::differs(stored.version));
    }
    // names are resolved without a connection in hand
    let draft = draft::change(stored, read, &webhooks.addresses).await?;
    let mut db = webhooks.pool.acquire().await?;
    let now = webhooks.site.clock.now();
    if !store::update(&mut db, caller.merchant, id, expected, &draft, now).await? {
        return Err(version::differs(expected + 1));
    }
    let view = load(&webhooks, &mut db, caller.merchant, id).await?;
    let version = view.version;
    Ok(version::tagged(Json(view).into_response(), version))
}

/// Delete an endpoint
///
/// What waits for it is dropped. The log of its deliveries cannot be read any more.
#[utoipa::path(
    delete, path = "/v1/webhook_endpoints/{endpoint_id}", tag = "Webhooks", security(("key" = [])),
    params(("endpoint_id" = String, Path)),
    responses(
        (status = 204, description = "It is deleted"),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn delete_webhook_endpoint(
    State(webhooks): State<Webhooks>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
    params: Params,
) -> Result<StatusCode, Problem> {
    params.finish()?;
    caller.require(Action::ManageWebhooks)?;
    let id = id.parse().map_err(|_| missing("endpoint"))?;
    webhooks.check_sound()?;
    let mut db = webhooks.pool.acquire().await?;
    if !store::delete(&mut db, caller.merchant, id, webhooks.site.clock.now()).await? {
        return Err(missing("endpoint"));
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Give an endpoint a new secret
///
/// The answer shows it, this once. For 24 hours deliveries are signed with the one before too.
#[utoipa::path(
    post, path = "/v1/webhook_endpoints/{endpoint_id}/rotate_secret", tag = "Webhooks", security(("key" = [])),
    params(("endpoint_id" = String, Path)),
    responses(
        (status = 200, body = SecretView, headers(("ETag" = String))),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn rotate_webhook_secret(
    State(webhooks): State<Webhooks>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
    params: Params,
) -> Result<Response, Problem> {
    params.finish()?;
    caller.require(Action::ManageWebhooks)?;
    let id = id.parse().map_err(|_| missing("endpoint"))?;
    webhooks.check_sound()?;
    let secret = Secret::new(&webhooks.site.entropy).map_err(|error| broken(&error))?;
    let mut db = webhooks.pool.acquire().await?;
    let now = webhooks.site.clock.now();
    let until = now + limits::WEBHOOK_ROTATION;
    match store::rotate(&mut db, caller.merchant, id, &secret, until, now).await? {
        Changed::TooMany => {
            let detail = "wait until one that was replaced has ended";
            return Err(Problem::new(&codes::TOO_MANY_WEBHOOK_SECRETS, detail));
        }
        Changed::Unknown => return Err(missing("endpoint")),
        Changed::Created | Changed::Rotated => {}
    }
    let view = load(&webhooks, &mut db, caller.merchant, id).await?;
    Ok(with_secret(StatusCode::OK, view, &secret))
}

/// Send an endpoint a test
///
/// An event of type `ping`, whatever types the endpoint wants. What came of it is among its deliveries.
#[utoipa::path(
    post, path = "/v1/webhook_endpoints/{endpoint_id}/test", tag = "Webhooks", security(("key" = [])),
    params(("endpoint_id" = String, Path)),
    responses(
        (status = 202, body = PingView),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn test_webhook_endpoint(
    State(webhooks): State<Webhooks>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
    params: Params,
) -> Result<Response, Problem> {
    params.finish()?;
    caller.require(Action::ManageWebhooks)?;
    let id = id.parse().map_err(|_| missing("endpoint"))?;
    webhooks.check_sound()?;
    let mut db = webhooks.pool.acquire().await?;
    let now = webhooks.site.clock.now();
    let Some(event) = store::ping(&mut db, caller.merchant, id, now).await? else {
        let found = store::find(&mut db, caller.merchant, id).await?;
        return Err(found.map_or_else(|| missing("endpoint"), |_| disabled()));
    };
    let view = PingView {
        event_id: EventId(event),
    };
    Ok((StatusCode::ACCEPTED, Json(view)).into_response())
}

fn broken(error: &SecretError) -> Problem {
    tracing::error!(error = %error, "no secret can be made");
    Problem::new(&codes::INTERNAL, "the request could not be completed")
}

async fn load(
    webhooks: &Webhooks,
    db: &mut sqlx::PgConnection,
    merchant: MerchantId,
    id: EndpointId,
) -> Result<EndpointView, Problem> {
    let found = store::find(db, merchant, id).await?;
    let row = found.ok_or_else(|| missing("endpoint"))?;
    let keys = store::public_keys(db, merchant, webhooks.site.clock.now()).await?;
    Ok(view(row, &keys))
}

fn with_secret(status: StatusCode, view: EndpointView, secret: &Secret) -> Response {
    let version = view.version;
    let secret = secret.text().expose_secret().to_owned();
    let answer = (status, Json(SecretView { view, secret })).into_response();
    let mut response = version::tagged(answer, version);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn view(row: Listed, keys: &[Public]) -> EndpointView {
    let of: Uuid = row.endpoint_id;
    let keys = keys.iter().filter(|key| key.endpoint_id == of);
    EndpointView {
        id: EndpointId(of),
        url: row.url,
        types: row.types,
        description: row.description,
        state: row.state,
        failing_since: row.failing_since.map(rfc3339_ms),
        keys: keys
            .map(|key| KeyView {
                public_key: public_text(&key.public_key),
                created_at: rfc3339_ms(key.created_at),
                expires_at: key.expires_at.map(rfc3339_ms),
            })
            .collect(),
        version: row.version,
        created_at: rfc3339_ms(row.created_at),
        updated_at: rfc3339_ms(row.updated_at),
    }
}
