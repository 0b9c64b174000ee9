//! The rows of API keys, as their merchant sees them: without their secrets.

use sqlx::{PgConnection, Result};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::http::auth::Caller;
use crate::http::keys::{Mode, Secret};
use crate::ids::{KeyId, MerchantId};
use crate::limits;

/// A key.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "columns, described in the migration")]
pub struct Listed {
    pub key_id: Uuid,
    pub role: String,
    pub label: String,
    pub scopes: Option<Vec<String>>,
    pub created_at: OffsetDateTime,
    pub expires_at: Option<OffsetDateTime>,
    pub revoked_at: Option<OffsetDateTime>,
}

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Changed {
    /// The key is there.
    Issued,
    /// It works no more, since now or before.
    Revoked,
    /// Whoever asks is no administrator, or none any more.
    NotAdmin,
    /// So many keys work already.
    TooMany,
    /// It would have scopes that whoever asks has not.
    ScopesExceed,
    /// The merchant has no such key.
    Unknown,
    /// Nobody could issue a key any more.
    LastAdmin,
}

/// A key that is to be there.
#[derive(Debug)]
#[expect(missing_docs, reason = "columns, described in the migration")]
pub struct New<'a> {
    pub secret: &'a Secret,
    pub role: &'a str,
    pub label: &'a str,
    pub scopes: Option<&'a [String]>,
    pub expires_at: Option<OffsetDateTime>,
}

/// Puts a key there, if the caller may now.
pub async fn issue(
    conn: &mut PgConnection,
    caller: &Caller,
    new: &New<'_>,
    now: OffsetDateTime,
) -> Result<Changed> {
    sqlx::query_scalar!(
        r#"select issue_api_key_2($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) as "changed!: Changed""#,
        caller.merchant.0,
        caller.who.id(),
        caller.session.map(|session| session.0),
        new.secret.id.0,
        new.role,
        new.scopes,
        &new.secret.hash[..],
        new.label,
        new.expires_at,
        now,
        limits::KEYS,
    )
    .fetch_one(conn)
    .await
}

/// Ends a key, if the caller may now.
pub async fn revoke(
    conn: &mut PgConnection,
    caller: &Caller,
    key: KeyId,
    now: OffsetDateTime,
) -> Result<Changed> {
    sqlx::query_scalar!(
        r#"select revoke_api_key_2($1, $2, $3, $4, $5) as "changed!: Changed""#,
        caller.merchant.0,
        caller.who.id(),
        caller.session.map(|session| session.0),
        key.0,
        now,
    )
    .fetch_one(conn)
    .await
}

/// Whether a merchant is a real one.
pub async fn mode(conn: &mut PgConnection, merchant: MerchantId) -> Result<Mode> {
    let mode = sqlx::query_scalar!(
        "select mode from merchant where merchant_id = $1",
        merchant.0
    );
    Ok(Mode::of(&mode.fetch_one(conn).await?))
}

/// One key of a merchant.
pub async fn find(
    conn: &mut PgConnection,
    merchant: MerchantId,
    key: KeyId,
) -> Result<Option<Listed>> {
    sqlx::query_as!(
        Listed,
        "select key_id, role, label, scopes, created_at, expires_at, revoked_at
         from api_key where merchant_id = $1 and key_id = $2",
        merchant.0,
        key.0,
    )
    .fetch_optional(conn)
    .await
}

/// Keys that were issued before `edge`, the newest first.
pub async fn list_older(
    conn: &mut PgConnection,
    merchant: MerchantId,
    edge: KeyId,
    limit: i64,
) -> Result<Vec<Listed>> {
    sqlx::query_as!(
        Listed,
        "select key_id, role, label, scopes, created_at, expires_at, revoked_at
         from api_key where merchant_id = $1 and key_id < $2 order by key_id desc limit $3",
        merchant.0,
        edge.0,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// Keys that were issued after `edge`, the oldest first.
pub async fn list_newer(
    conn: &mut PgConnection,
    merchant: MerchantId,
    edge: KeyId,
    limit: i64,
) -> Result<Vec<Listed>> {
    sqlx::query_as!(
        Listed,
        "select key_id, role, label, scopes, created_at, expires_at, revoked_at
         from api_key where merchant_id = $1 and key_id > $2 order by key_id limit $3",
        merchant.0,
        edge.0,
        limit,
    )
    .fetch_all(conn)
    .await
}
