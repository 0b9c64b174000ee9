//! Commands that are done once: those that move money, points or stock and are no sale. What a command did
//! and the answer to its `Idempotency-Key` commit together, so a repeat at any age is given the same bytes.
//!
//! [`once`] begins a transaction, claims the key, has the handler do its work, keeps the answer and commits. What the
//! handler refuses is rolled back, and a corrected retry runs.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use sha2::{Digest, Sha256};
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;
use uuid::Uuid;

use super::auth::{Caller, Who};
use super::codes;
use super::idempotency::{IdempotencyKey, REPLAYED};
use super::problem::Problem;
use crate::database;

/// A command as its caller sent it.
#[derive(Debug, Clone)]
pub struct Command<'a> {
    /// Who sent it.
    pub caller: &'a Caller,
    /// Its key.
    pub key: &'a IdempotencyKey,
    /// SHA-256 of what is to be done.
    pub fingerprint: [u8; 32],
}

impl<'a> Command<'a> {
    /// The command `name` with what it is about, in canonical form: every field, money as its decimal string.
    pub fn new(
        caller: &'a Caller,
        key: &'a IdempotencyKey,
        name: &str,
        what: &impl Serialize,
    ) -> Self {
        // strings, numbers and lists of them: nothing here can fail to be written
        let bytes = serde_json::to_vec(&(name, what)).unwrap_or_default();
        Self {
            caller,
            key,
            fingerprint: Sha256::digest(&bytes).into(),
        }
    }
}

impl Command<'_> {
    /// Whose the key is: an account's own; of API keys their merchant's, as one may replace another.
    fn owner(&self) -> Uuid {
        match self.caller.who {
            Who::Account(account) => account.0,
            Who::Key(_) => self.caller.merchant.0,
        }
    }
}

/// An answer that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// 200 to 499.
    pub status: StatusCode,
    /// The `Location`, of a 201.
    pub location: Option<String>,
    /// JSON text.
    pub body: String,
}

impl Kept {
    /// 201 with what was made and where it is.
    pub fn created(location: String, body: &impl Serialize) -> Self {
        Self::of(StatusCode::CREATED, Some(location), body)
    }

    /// 200 with what is now.
    pub fn ok(body: &impl Serialize) -> Self {
        Self::of(StatusCode::OK, None, body)
    }

    fn of(status: StatusCode, location: Option<String>, body: &impl Serialize) -> Self {
        Self {
            status,
            location,
            // as above
            body: serde_json::to_string(body).unwrap_or_default(),
        }
    }

    /// The same answer to a repeat.
    pub fn replayed(self) -> Response {
        let mut response = self.into_response();
        response
            .headers_mut()
            .insert(REPLAYED, HeaderValue::from_static("true"));
        response
    }
}

impl IntoResponse for Kept {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        // an address of ours is ASCII
        if let Some(Ok(location)) = self.location.map(HeaderValue::try_from) {
            headers.insert(header::LOCATION, location);
        }
        response
    }
}

/// Does a command once, in one transaction with the answer to its key; the answer that it was given before, if it was.
///
/// # Errors
/// What `work` refuses: then nothing of it is kept. 422 when the key was used with another command, 409 when the first
/// request with it is still running; the database's.
pub async fn once(
    pool: &PgPool,
    command: &Command<'_>,
    now: OffsetDateTime,
    work: impl AsyncFnOnce(&mut PgConnection) -> Result<Kept, Problem>,
) -> Result<Response, Problem> {
    let mut tx = database::begin(pool).await?;
    if let Some(kept) = claim(&mut tx, command).await? {
        return Ok(kept.replayed());
    }
    let answer = work(&mut tx).await?;
    keep(&mut tx, command, &answer, now).await?;
    tx.commit().await?;
    Ok(answer.into_response())
}

/// Holds a command's key until the transaction ends. The answer that it was given, if it was.
async fn claim(conn: &mut PgConnection, command: &Command<'_>) -> Result<Option<Kept>, Problem> {
    let claimed = sqlx::query!(
        r#"select fingerprint as "fingerprint!", status as "status!", location, body as "body!"
           from claim_command($1, $2, $3)"#,
        command.caller.merchant.0,
        command.owner(),
        command.key.0,
    )
    .fetch_optional(conn)
    .await;
    let found = match claimed {
        Err(error) if is_held(&error) => {
            let detail = "the first request with this key has not ended";
            return Err(Problem::new(&codes::IDEMPOTENCY_IN_FLIGHT, detail));
        }
        found => found?,
    };
    let Some(found) = found else { return Ok(None) };
    if found.fingerprint != command.fingerprint {
        return Err(Problem::new(
            &codes::IDEMPOTENCY_KEY_REUSED,
            "the key was used with another request",
        ));
    }
    let status = u16::try_from(found.status).ok();
    Ok(Some(Kept {
        status: status
            .and_then(|status| StatusCode::from_u16(status).ok())
            .unwrap_or(StatusCode::OK),
        location: found.location,
        body: found.body,
    }))
}

/// Keeps the answer to a command, in the transaction of what it did.
async fn keep(
    conn: &mut PgConnection,
    command: &Command<'_>,
    answer: &Kept,
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into command_key (merchant_id, owner_id, key, fingerprint, status, location, body, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
        command.caller.merchant.0,
        command.owner(),
        command.key.0,
        &command.fingerprint[..],
        answer.status.as_u16().cast_signed(),
        answer.location,
        answer.body,
        now,
    )
    .execute(conn)
    .await
    .map(drop)
}

/// Whether a lock was not to be had in time.
fn is_held(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(e) if e.code().as_deref() == Some("55P03"))
}
