//! What administrators do to accounts, and lists of them.

use sqlx::{PgConnection, Result};
use time::OffsetDateTime;
use uuid::Uuid;

use super::accounts::Account;
use crate::http::auth::Caller;
use crate::ids::{AccountId, MerchantId};

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Changed {
    /// The account is there, and a mail is to be sent.
    Invited,
    /// It is closed, since now or before.
    Closed,
    /// Whoever asks is no administrator, or none any more.
    NotAdmin,
    /// Whoever asks is narrowed to some scopes.
    Narrowed,
    /// The merchant has no such account.
    Unknown,
    /// Nobody could invite or issue anything any more.
    LastAdmin,
}

/// An account to be invited.
#[derive(Debug)]
#[expect(missing_docs, reason = "columns, described in the migration")]
pub struct Invited<'a> {
    pub account: AccountId,
    pub role: &'a str,
    pub email: &'a str,
    pub name: &'a str,
    pub mail: Uuid,
}

/// Makes an account and has its mail sent, if the caller may now. The constraint `account_email` says when
/// another has the address.
pub async fn invite(
    conn: &mut PgConnection,
    caller: &Caller,
    invited: &Invited<'_>,
    now: OffsetDateTime,
) -> Result<Changed> {
    sqlx::query_scalar!(
        r#"select invite_account($1, $2, $3, $4, $5, $6, $7, $8, $9) as "changed!: Changed""#,
        caller.merchant.0,
        caller.who.id(),
        caller.session.map(|session| session.0),
        invited.account.0,
        invited.role,
        invited.email,
        invited.name,
        invited.mail,
        now,
    )
    .fetch_one(conn)
    .await
}

/// Closes an account, if the caller may now.
pub async fn close(
    conn: &mut PgConnection,
    caller: &Caller,
    account: AccountId,
    now: OffsetDateTime,
) -> Result<Changed> {
    sqlx::query_scalar!(
        r#"select close_account($1, $2, $3, $4, $5) as "changed!: Changed""#,
        caller.merchant.0,
        caller.who.id(),
        caller.session.map(|session| session.0),
        account.0,
        now,
    )
    .fetch_one(conn)
    .await
}

/// Which accounts are wanted.
#[derive(Debug, Default)]
#[expect(missing_docs, reason = "columns, described in the migration")]
pub struct Filter {
    pub role: Option<String>,
    pub email: Option<String>,
}

/// Accounts that were made before `edge`, the newest first.
pub async fn list_older(
    conn: &mut PgConnection,
    merchant: MerchantId,
    filter: &Filter,
    edge: AccountId,
    limit: i64,
) -> Result<Vec<Account>> {
    sqlx::query_as!(
        Account,
        r#"select account_id, role, email, name, wallet, password_hash is not null as "has_password!",
                  created_at, closed_at
           from account
           where merchant_id = $1 and account_id < $2 and ($4::text is null or role = $4)
             and ($5::text is null or lower(email) = lower($5))
           order by account_id desc limit $3"#,
        merchant.0,
        edge.0,
        limit,
        filter.role,
        filter.email,
    )
    .fetch_all(conn)
    .await
}

/// Accounts that were made after `edge`, the oldest first.
pub async fn list_newer(
    conn: &mut PgConnection,
    merchant: MerchantId,
    filter: &Filter,
    edge: AccountId,
    limit: i64,
) -> Result<Vec<Account>> {
    sqlx::query_as!(
        Account,
        r#"select account_id, role, email, name, wallet, password_hash is not null as "has_password!",
                  created_at, closed_at
           from account
           where merchant_id = $1 and account_id > $2 and ($4::text is null or role = $4)
             and ($5::text is null or lower(email) = lower($5))
           order by account_id limit $3"#,
        merchant.0,
        edge.0,
        limit,
        filter.role,
        filter.email,
    )
    .fetch_all(conn)
    .await
}

/// Throws away what is over, `rows` of each kind at most; the most that there were of one.
pub async fn purge(conn: &mut PgConnection, now: OffsetDateTime, rows: i64) -> Result<i64> {
    sqlx::query_scalar!(r#"select purge_accounts($1, $2) as "rows!""#, now, rows)
        .fetch_one(conn)
        .await
}
