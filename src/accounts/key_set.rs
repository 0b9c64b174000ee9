//! `GET /.well-known/jwks.json`: the keys that verify access tokens.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::Accounts;
use crate::http::paging::Params;
use crate::http::problem::{Problem, ProblemDocument};
use crate::http::tokens::KeySet;

/// How long it may be cached, seconds: a key is listed for longer than that before it signs.
const MAX_AGE: u32 = 300;

/// The keys that verify access tokens
///
/// Tokens are JWTs signed with EdDSA (Ed25519). `iss` is the address of this interface, `sub` the account;
/// whether the session has ended meanwhile only this interface knows.
#[utoipa::path(
    get, path = "/.well-known/jwks.json", tag = "Accounts", security(()),
    responses(
        (status = 200, body = KeySet),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn key_set(
    State(accounts): State<Accounts>,
    params: Params,
) -> Result<Response, Problem> {
    params.finish()?;
    let published = accounts.tokens.published()?;
    let cached = [(header::CACHE_CONTROL, format!("public, max-age={MAX_AGE}"))];
    Ok((cached, Json(published)).into_response())
}
