//! The rows of sessions.

use sqlx::{PgConnection, Result};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::accounts::sessions::RefreshHashes;
use crate::ids::{AccountId, MerchantId, SessionId};

/// A session that begins.
#[derive(Debug)]
#[expect(missing_docs, reason = "columns, described in the migration")]
pub struct New<'a> {
    pub merchant: MerchantId,
    pub session: SessionId,
    pub account: AccountId,
    pub scopes: Option<&'a [String]>,
    pub hashes: &'a RefreshHashes,
    pub expires_at: OffsetDateTime,
    /// What was shown: the account must still have it.
    pub shown: Shown<'a>,
}

/// What the account that begins a session has shown.
#[derive(Debug, Clone, Copy)]
pub enum Shown<'a> {
    /// The password with this hash.
    Password(&'a str),
    /// That it holds this wallet.
    Wallet(&'a [u8]),
}

/// When a session began; none where it has ended.
pub async fn begun_at(
    conn: &mut PgConnection,
    merchant: MerchantId,
    session: SessionId,
) -> Result<Option<OffsetDateTime>> {
    sqlx::query_scalar!(
        "select created_at from session where merchant_id = $1 and session_id = $2 and ended_at is null",
        merchant.0,
        session.0,
    )
    .fetch_optional(conn)
    .await
}

/// Begins a session of an account that is not closed and has what was shown. Whether it does: its row is
/// held, so a password that is changed meanwhile either ends this session too or keeps it from beginning.
pub async fn begin(conn: &mut PgConnection, new: &New<'_>, now: OffsetDateTime) -> Result<bool> {
    let (password, wallet) = match new.shown {
        Shown::Password(hash) => (Some(hash), None),
        Shown::Wallet(wallet) => (None, Some(wallet)),
    };
    let done = sqlx::query!(
        "insert into session (merchant_id, session_id, account_id, scopes, family_hash, refresh_hash,
                              created_at, expires_at)
         select a.merchant_id, $3, a.account_id, $4, $5, $6, $7, $8 from account a
         where a.merchant_id = $1 and a.account_id = $2 and a.closed_at is null
           and (a.password_hash = $9 or a.wallet = $10)
         for share",
        new.merchant.0,
        new.account.0,
        new.session.0,
        new.scopes,
        &new.hashes.family[..],
        &new.hashes.secret[..],
        now,
        new.expires_at,
        password,
        wallet,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// A session whose refresh token was shown, held until the transaction ends.
#[derive(Debug)]
#[expect(missing_docs, reason = "columns, described in the migration")]
pub struct Held {
    pub account_id: Uuid,
    pub role: String,
    pub scopes: Option<Vec<String>>,
    pub refresh_hash: Vec<u8>,
    pub previous_hash: Option<Vec<u8>>,
    pub refresh_nonce: Option<Vec<u8>>,
    pub refreshed_at: Option<OffsetDateTime>,
    pub created_at: OffsetDateTime,
    pub expires_at: OffsetDateTime,
}

/// Holds the session that refresh tokens of this family belong to, while it has not ended.
pub async fn hold(
    conn: &mut PgConnection,
    (merchant, session): (MerchantId, SessionId),
    family: &[u8; 32],
    now: OffsetDateTime,
) -> Result<Option<Held>> {
    sqlx::query_as!(
        Held,
        "select s.account_id, a.role, s.scopes, s.refresh_hash, s.previous_hash, s.refresh_nonce,
                s.refreshed_at, s.created_at, s.expires_at
         from session s join account a using (merchant_id, account_id)
         where s.merchant_id = $1 and s.session_id = $2 and s.family_hash = $3
           and s.ended_at is null and s.expires_at > $4 and a.closed_at is null
         for update of s",
        merchant.0,
        session.0,
        &family[..],
        now,
    )
    .fetch_optional(conn)
    .await
}

/// What a session's next refresh token is.
#[derive(Debug)]
#[expect(missing_docs, reason = "columns, described in the migration")]
pub struct Next<'a> {
    pub from: &'a [u8; 32],
    pub to: &'a [u8; 32],
    pub nonce: &'a [u8; 32],
    pub expires_at: OffsetDateTime,
}

/// Moves a session on to its next refresh token. Whether the one before was good still.
pub async fn refresh(
    conn: &mut PgConnection,
    (merchant, session): (MerchantId, SessionId),
    next: &Next<'_>,
    now: OffsetDateTime,
) -> Result<bool> {
    let done = sqlx::query!(
        "update session set refresh_hash = $4, previous_hash = $3, refresh_nonce = $5, refreshed_at = $6,
                expires_at = $7
         where merchant_id = $1 and session_id = $2 and refresh_hash = $3 and ended_at is null",
        merchant.0,
        session.0,
        &next.from[..],
        &next.to[..],
        &next.nonce[..],
        now,
        next.expires_at,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Why a session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Its holder logged out.
    LoggedOut,
    /// A refresh token of it came a second time.
    Reused,
}

impl End {
    fn as_str(self) -> &'static str {
        match self {
            Self::LoggedOut => "logged_out",
            Self::Reused => "reused",
        }
    }
}

/// Ends the session that refresh tokens of this family belong to. Whether it had not ended.
pub async fn end(
    conn: &mut PgConnection,
    (merchant, session): (MerchantId, SessionId),
    family: &[u8; 32],
    why: End,
    now: OffsetDateTime,
) -> Result<bool> {
    let done = sqlx::query!(
        "update session set ended_at = $4, ended_by = $5
         where merchant_id = $1 and session_id = $2 and family_hash = $3 and ended_at is null",
        merchant.0,
        session.0,
        &family[..],
        now,
        why.as_str(),
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Ends all sessions of an account.
pub async fn end_all(
    conn: &mut PgConnection,
    merchant: MerchantId,
    account: AccountId,
    now: OffsetDateTime,
) -> Result<u64> {
    let done = sqlx::query!(
        "update session set ended_at = $3, ended_by = 'logged_out'
         where merchant_id = $1 and account_id = $2 and ended_at is null",
        merchant.0,
        account.0,
        now,
    );
    Ok(done.execute(conn).await?.rows_affected())
}
