//! `POST /v1/keys`, `GET /v1/keys`, `GET /v1/keys/{key_id}` and `DELETE /v1/keys/{key_id}`: a merchant's
//! administrator gives each till, auditor and program a key of its own, and takes it back.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use utoipa::ToSchema;
use uuid::Uuid;

use super::store::keys::{self as store, Changed, Listed, New};
use super::{check_sound, fields};
use crate::clock::{from_unix_ms, rfc3339_ms, unix_ms};
use crate::database::trust::Trust;
use crate::http::Site;
use crate::http::auth::{Action, Authenticated, Role};
use crate::http::body::JsonBytes;
use crate::http::codes;
use crate::http::keys::Secret;
use crate::http::object::{self, Field, Read, Shape};
use crate::http::paging::{Page, Paging, Params};
use crate::http::problem::{Fault, Problem, ProblemDocument};
use crate::ids::KeyId;
use crate::limits;

/// A key to issue.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"role": "pos", "label": "till-2", "expires_at": "2099-12-31T00:00:00Z"}))]
pub struct KeyRequest {
    /// `pos` records, and reads what it names; `auditor` reads; `admin` does all of its merchant.
    #[schema(example = "pos")]
    pub role: String,
    /// What people call it, at most 64 characters.
    pub label: Option<String>,
    /// Scopes that it is narrowed to, separated by spaces; all that its role may unless given.
    #[schema(example = "sales:record sales:read")]
    pub scope: Option<String>,
    /// When it stops working, RFC 3339; never unless given.
    #[schema(format = "date-time")]
    pub expires_at: Option<String>,
}

static KEY: &[Field] = &[
    Field::required("role", Shape::Text),
    Field::optional("label", Shape::Text),
    Field::optional("scope", Shape::Text),
    Field::optional("expires_at", Shape::Text),
];

/// A key, without its secret.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Key)]
pub struct KeyView {
    /// Its id.
    #[schema(value_type = String, example = "key_01JQ8Z6Y5W4V3U2T1S0R9Q8P7N")]
    pub id: KeyId,
    /// `pos`, `auditor` or `admin`.
    pub role: String,
    /// What people call it.
    pub label: String,
    /// Scopes that it is narrowed to, separated by spaces; null: all that its role may.
    pub scope: Option<String>,
    /// When it was issued.
    pub created_at: String,
    /// When it stops working; null where it does not by itself.
    pub expires_at: Option<String>,
    /// When it was revoked; null where it was not.
    pub revoked_at: Option<String>,
}

/// A key that was issued: the one answer that holds it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = IssuedKey)]
pub struct IssuedView {
    /// What is kept of it.
    #[serde(flatten)]
    pub view: KeyView,
    /// The key. It is not stored and cannot be shown again.
    #[schema(example = "cf_live_…")]
    pub key: String,
}

/// Issue a key
///
/// The answer shows the key, this once. If it is lost on the way, list the keys, revoke the one that
/// nobody has, and issue another.
#[utoipa::path(
    post, path = "/v1/keys", tag = "Keys", request_body = KeyRequest, security(("key" = [])),
    responses(
        (status = 201, body = IssuedView, headers(("Location" = String))),
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
pub async fn issue_key(
    State(pool): State<PgPool>,
    State(site): State<Site>,
    State(trust): State<Trust>,
    Authenticated(caller): Authenticated,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Problem> {
    caller.require(Action::ManageKeys)?;
    let now = site.clock.now();
    let wanted = judge(object::read(&bytes, KEY)?, now)?;
    check_sound(&trust)?;
    let mut db = pool.acquire().await?;
    let mode = store::mode(&mut db, caller.merchant).await?;
    let secret = Secret::new(mode, caller.merchant, &site.clock, &site.entropy);
    let new = New {
        secret: &secret,
        role: wanted.role.as_str(),
        label: &wanted.label,
        scopes: wanted.scopes.as_deref(),
        expires_at: wanted.expires_at,
    };
    settle(store::issue(&mut db, &caller, &new, now).await?)?;
    let id = secret.id;
    let view = KeyView {
        id,
        role: wanted.role.as_str().to_owned(),
        label: wanted.label,
        scope: wanted.scopes.map(|names| names.join(" ")),
        created_at: rfc3339_ms(now),
        expires_at: wanted.expires_at.map(rfc3339_ms),
        revoked_at: None,
    };
    let key = secret.text.expose_secret().to_owned();
    let mut response = (StatusCode::CREATED, Json(IssuedView { view, key })).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // an id is ASCII
    if let Ok(location) = HeaderValue::try_from(format!("/v1/keys/{id}")) {
        headers.insert(header::LOCATION, location);
    }
    Ok(response)
}

/// List the keys of your merchant, newest first
///
/// Those that are expired or revoked too.
#[utoipa::path(
    get, path = "/v1/keys", tag = "Keys", security(("key" = [])),
    params(
        ("limit" = Option<i64>, Query, description = "25 unless given", minimum = 1, maximum = 100),
        ("starting_after" = Option<String>, Query, description = "`next_cursor` of the page before"),
        ("ending_before" = Option<String>, Query, description = "the page that ends before this key"),
    ),
    responses(
        (status = 200, body = Page<KeyView>),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn list_keys(
    State(pool): State<PgPool>,
    Authenticated(caller): Authenticated,
    mut params: Params,
) -> Result<Json<Page<KeyView>>, Problem> {
    let paging = Paging::take(&mut params, |text| text.parse::<KeyId>().ok())?;
    params.finish()?;
    caller.require(Action::ManageKeys)?;
    let mut db = pool.acquire().await?;
    let (merchant, limit) = (caller.merchant, paging.limit + 1);
    let rows = match (paging.starting_after, paging.ending_before) {
        (_, Some(edge)) => store::list_newer(&mut db, merchant, edge, limit).await?,
        (edge, None) => {
            let edge = edge.unwrap_or(KeyId(Uuid::max()));
            store::list_older(&mut db, merchant, edge, limit).await?
        }
    };
    let views = rows.into_iter().map(view).collect();
    Ok(Json(paging.page(views, |key: &KeyView| key.id.to_string())))
}

/// Read one key, without its secret
#[utoipa::path(
    get, path = "/v1/keys/{key_id}", tag = "Keys", security(("key" = [])),
    params(("key_id" = String, Path)),
    responses(
        (status = 200, body = KeyView),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn read_key(
    State(pool): State<PgPool>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
    params: Params,
) -> Result<Json<KeyView>, Problem> {
    params.finish()?;
    caller.require(Action::ManageKeys)?;
    let id = id.parse().map_err(|_| missing())?;
    let mut db = pool.acquire().await?;
    let found = store::find(&mut db, caller.merchant, id).await?;
    found.map(view).map(Json).ok_or_else(missing)
}

/// Revoke a key
///
/// It stops working within five seconds, on every server. Revoking it again changes nothing. The last
/// administrator's key cannot be revoked: issue another one first.
#[utoipa::path(
    delete, path = "/v1/keys/{key_id}", tag = "Keys", security(("key" = [])),
    params(("key_id" = String, Path)),
    responses(
        (status = 204, description = "It is revoked"),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn revoke_key(
    State(pool): State<PgPool>,
    State(site): State<Site>,
    State(trust): State<Trust>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
    params: Params,
) -> Result<StatusCode, Problem> {
    params.finish()?;
    caller.require(Action::ManageKeys)?;
    let id = id.parse().map_err(|_| missing())?;
    check_sound(&trust)?;
    let mut db = pool.acquire().await?;
    settle(store::revoke(&mut db, &caller, id, site.clock.now()).await?)?;
    Ok(StatusCode::NO_CONTENT)
}

/// A request that makes sense.
struct Wanted {
    role: Role,
    label: String,
    scopes: Option<Vec<String>>,
    expires_at: Option<OffsetDateTime>,
}

/// What a body asks for, or all that is wrong with it.
fn judge(mut read: Read<KeyRequest>, now: OffsetDateTime) -> Result<Wanted, Problem> {
    let KeyRequest {
        role,
        label,
        scope,
        expires_at,
    } = read.body.clone();
    let known = Role::of_key(&role);
    if known.is_none() {
        let detail = "a role is pos, auditor or admin";
        read.add(Fault::new("/role", &codes::ROLE_UNKNOWN, detail));
    }
    let label = label.unwrap_or_default();
    if let Some(fault) = Fault::of_text("/label", &label, limits::SHORT_TEXT_CHARS) {
        read.add(fault);
    }
    let scopes = fields::scope(&mut read, scope.as_deref());
    let other = known.map_or_else(String::new, |role| {
        beyond(role, scopes.as_deref().unwrap_or_default()).join(", ")
    });
    if !other.is_empty() {
        let detail = format!("the role {role} has no {other}");
        read.add(Fault::new("/scope", &codes::SCOPE_OF_OTHER_ROLE, detail));
    }
    let expires_at = match expires_at.as_deref().map(milliseconds) {
        None => None,
        Some(None) => {
            let detail = "RFC 3339 with an offset";
            read.add(Fault::new("/expires_at", &codes::TIME_INVALID, detail));
            None
        }
        Some(Some(at)) if at <= now => {
            let detail = "it would never work: the time is over";
            read.add(Fault::new("/expires_at", &codes::TIME_OVER, detail));
            None
        }
        Some(at) => at,
    };
    match known {
        Some(role) if read.faults.is_empty() => Ok(Wanted {
            role,
            label,
            scopes,
            expires_at,
        }),
        _ => Err(Problem::of_faults(read.faults)),
    }
}

/// Those of the scopes that stand for what a role may not do.
fn beyond(role: Role, scopes: &[String]) -> Vec<&'static str> {
    let others = Action::ALL.into_iter().filter(|action| !role.may(*action));
    let names = others.map(Action::name);
    names
        .filter(|name| scopes.iter().any(|scope| scope == name))
        .collect()
}

/// A time as the database keeps it: in milliseconds, the rest cut off.
fn milliseconds(text: &str) -> Option<OffsetDateTime> {
    let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    Some(from_unix_ms(unix_ms(at)))
}

/// What a change that was not made is answered with.
fn settle(changed: Changed) -> Result<(), Problem> {
    let most = limits::KEYS;
    Err(match changed {
        Changed::Issued | Changed::Revoked => return Ok(()),
        Changed::NotAdmin => Problem::new(
            &codes::FORBIDDEN,
            "your key or session has ended, or is no administrator's",
        ),
        Changed::ScopesExceed => Problem::new(
            &codes::SCOPES_EXCEED,
            "your own key or session is narrowed; name scopes that it has",
        ),
        Changed::TooMany => Problem::new(
            &codes::TOO_MANY_API_KEYS,
            format!("{most} keys of yours work; revoke those that nobody uses"),
        ),
        Changed::Unknown => missing(),
        Changed::LastAdmin => Problem::new(
            &codes::LAST_ADMIN_KEY,
            "no other administrator who may do all works; issue a key, then revoke this",
        ),
    })
}

fn missing() -> Problem {
    let detail = "there is no such key, or it is not yours";
    Problem::new(&codes::NOT_FOUND, detail)
}

fn view(row: Listed) -> KeyView {
    KeyView {
        id: KeyId(row.key_id),
        role: row.role,
        label: row.label,
        scope: row.scopes.map(|names| names.join(" ")),
        created_at: rfc3339_ms(row.created_at),
        expires_at: row.expires_at.map(rfc3339_ms),
        revoked_at: row.revoked_at.map(rfc3339_ms),
    }
}
