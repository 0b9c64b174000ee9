//! `POST /v1/auth/refresh`, `POST /v1/auth/logout` and `DELETE /v1/me/sessions`: going on with a session, and
//! ending it.
//!
//! A refresh token is good once. If it comes a second time, somebody else has it too, and nobody knows who
//! of the two is the thief: the session ends for both (RFC 9700, 4.14.2). Within [`limits::REFRESH_GRACE`]
//! of its use it gives the same tokens again instead, because an answer may be lost on its way. A thief
//! gains nothing by that: whoever of the two refreshes next ends it for the other.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use secrecy::SecretString;
use serde::Deserialize;
use sqlx::PgPool;
use subtle::ConstantTimeEq;
use utoipa::ToSchema;

use super::sessions::{self, RefreshToken, TokensView};
use super::store::sessions::{self as store, End, Held, Next};
use super::{Accounts, check_sound};
use crate::database;
use crate::database::trust::Trust;
use crate::http::Site;
use crate::http::auth::{Authenticated, Role};
use crate::http::body::JsonBytes;
use crate::http::codes;
use crate::http::object::{self, Field, Shape};
use crate::http::paging::Params;
use crate::http::problem::{Problem, ProblemDocument};
use crate::http::scopes::Scopes;
use crate::http::tokens::Bearer;
use crate::ids::AccountId;
use crate::limits;

/// A session to go on with, or to end.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"refresh_token": "cf_refresh_…"}))]
pub struct RefreshRequest {
    /// The one that was told last.
    #[schema(value_type = String)]
    pub refresh_token: SecretString,
}

static REFRESH: &[Field] = &[Field::required("refresh_token", Shape::Text)];

/// The token of a body; none for what is no token.
fn read(bytes: &[u8]) -> Result<Option<RefreshToken>, Problem> {
    let read = object::read::<RefreshRequest>(bytes, REFRESH)?;
    if !read.faults.is_empty() {
        return Err(Problem::of_faults(read.faults));
    }
    Ok(RefreshToken::parse(&read.body.refresh_token))
}

/// What becomes of a session whose refresh token was shown.
enum Shown {
    /// It is the good one: this comes next.
    Good(RefreshToken, [u8; 32]),
    /// It was a moment ago, and gave this.
    Again(RefreshToken),
    /// It was before.
    Reused,
}

fn judge(site: &Site, held: &Held, token: &RefreshToken) -> Shown {
    let is = |hash: &[u8]| bool::from(token.hashes().secret.as_slice().ct_eq(hash));
    if is(&held.refresh_hash) {
        let nonce = site.entropy.bytes();
        return Shown::Good(token.successor(&nonce), nonce);
    }
    let (Some(previous), Some(nonce), Some(at)) =
        (&held.previous_hash, &held.refresh_nonce, held.refreshed_at)
    else {
        return Shown::Reused;
    };
    let in_time = site.clock.since(at) <= limits::REFRESH_GRACE;
    match <&[u8; 32]>::try_from(nonce.as_slice()) {
        Ok(nonce) if is(previous) && in_time => Shown::Again(token.successor(nonce)),
        _ => Shown::Reused,
    }
}

/// Go on with a session
///
/// Gives another access token and another refresh token. Keep the new one: the old one is good for 30
/// seconds more, in case this answer is lost, and gives the same answer again. Later it ends the session.
#[utoipa::path(
    post, path = "/v1/auth/refresh", tag = "Accounts", request_body = RefreshRequest, security(()),
    responses(
        (status = 200, body = TokensView),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 413, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 415, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn refresh(
    State(pool): State<PgPool>,
    State(site): State<Site>,
    State(trust): State<Trust>,
    State(accounts): State<Accounts>,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Problem> {
    accounts.tokens.check_configured()?;
    let token = read(&bytes)?.ok_or_else(invalid)?;
    check_sound(&trust)?;
    let now = site.clock.now();
    let (at, family) = ((token.merchant, token.session), token.hashes().family);
    let mut tx = database::begin(&pool).await?;
    let held = store::hold(&mut tx, at, &family, now).await?;
    let held = held.ok_or_else(invalid)?;
    let lasts = (held.created_at + limits::SESSION_TIME).min(now + limits::SESSION_IDLE);
    let (next, expires_at) = match judge(&site, &held, &token) {
        Shown::Good(next, nonce) => {
            let moved = Next {
                from: &token.hashes().secret,
                to: &next.hashes().secret,
                nonce: &nonce,
                expires_at: lasts,
            };
            if !store::refresh(&mut tx, at, &moved, now).await? {
                return Err(super::vanished());
            }
            (next, lasts)
        }
        Shown::Again(next) if next.hashes().secret[..] == held.refresh_hash => {
            (next, held.expires_at)
        }
        Shown::Again(_) | Shown::Reused => {
            store::end(&mut tx, at, &family, End::Reused, now).await?;
            tx.commit().await?;
            tracing::warn!(session = %token.session, "a refresh token came twice; its session is ended");
            let detail = "it was used before, so its session was ended";
            return Err(Problem::new(&codes::REFRESH_TOKEN_REUSED, detail));
        }
    };
    let bearer = Bearer {
        merchant: token.merchant,
        account: AccountId(held.account_id),
        role: Role::parse(&held.role).ok_or_else(super::vanished)?,
        scopes: Scopes::stored(held.scopes.as_deref()),
        session: token.session,
    };
    let view = sessions::view(&accounts.tokens, &site, &bearer, &next, expires_at)?;
    tx.commit().await?;
    let no_store = HeaderValue::from_static("no-store");
    Ok(([(header::CACHE_CONTROL, no_store)], Json(view)).into_response())
}

fn invalid() -> Problem {
    let detail = "its session has ended or expired, or it is mistyped";
    Problem::new(&codes::REFRESH_TOKEN_INVALID, detail)
}

/// End a session
///
/// Its refresh token gives nothing any more, and its access token stops working within five seconds. A
/// session that has ended is as good as one that ends now.
#[utoipa::path(
    post, path = "/v1/auth/logout", tag = "Accounts", request_body = RefreshRequest, security(()),
    responses(
        (status = 204, description = "It has ended"),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 413, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 415, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn log_out(
    State(pool): State<PgPool>,
    State(site): State<Site>,
    State(trust): State<Trust>,
    JsonBytes(bytes): JsonBytes,
) -> Result<StatusCode, Problem> {
    let token = read(&bytes)?;
    check_sound(&trust)?;
    if let Some(token) = token {
        let mut db = pool.acquire().await?;
        let (at, family) = ((token.merchant, token.session), token.hashes().family);
        // whether it had ended makes no difference to whoever leaves
        store::end(&mut db, at, &family, End::LoggedOut, site.clock.now()).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// End all sessions of the account that has signed in, this one too
#[utoipa::path(
    delete, path = "/v1/me/sessions", tag = "Accounts", security(("token" = [])),
    responses(
        (status = 204, description = "They have ended"),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn end_sessions(
    State(pool): State<PgPool>,
    State(site): State<Site>,
    State(trust): State<Trust>,
    Authenticated(caller): Authenticated,
    params: Params,
) -> Result<StatusCode, Problem> {
    params.finish()?;
    let (account, _) = caller.account()?;
    check_sound(&trust)?;
    let mut db = pool.acquire().await?;
    store::end_all(&mut db, caller.merchant, account, site.clock.now()).await?;
    Ok(StatusCode::NO_CONTENT)
}
