//! The rows of accounts.

use sqlx::{PgConnection, Result};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::ids::{AccountId, MerchantId, SessionId};

/// An account, without what it signs in with.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "columns, described in the migration")]
pub struct Account {
    pub account_id: Uuid,
    pub role: String,
    pub email: Option<String>,
    pub name: String,
    pub wallet: Option<Vec<u8>>,
    pub has_password: bool,
    pub created_at: OffsetDateTime,
    pub closed_at: Option<OffsetDateTime>,
}

/// What an account signs in with.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "columns, described in the migration")]
pub struct Credentials {
    pub account_id: Uuid,
    pub email: Option<String>,
    pub password_hash: Option<String>,
}

/// A customer who is to be there.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "columns, described in the migration")]
pub struct New<'a> {
    pub email: Option<&'a str>,
    pub name: &'a str,
    pub password_hash: Option<&'a str>,
    pub wallet: Option<&'a [u8]>,
}

/// Puts a customer's account there. The constraints `account_merchant`, `account_email` and
/// `account_wallet` say why not.
pub async fn register(
    conn: &mut PgConnection,
    merchant: MerchantId,
    account: AccountId,
    new: &New<'_>,
    now: OffsetDateTime,
) -> Result<()> {
    sqlx::query!(
        "select register_customer($1, $2, $3, $4, $5, $6, $7)",
        merchant.0,
        account.0,
        new.email,
        new.name,
        new.password_hash,
        new.wallet,
        now,
    )
    .execute(conn)
    .await
    .map(drop)
}

/// What the account with this e-mail address signs in with.
pub async fn credentials_of_email(
    conn: &mut PgConnection,
    merchant: MerchantId,
    email: &str,
) -> Result<Option<Credentials>> {
    sqlx::query_as!(
        Credentials,
        "select account_id, email, password_hash from account
         where merchant_id = $1 and lower(email) = lower($2) and closed_at is null",
        merchant.0,
        email,
    )
    .fetch_optional(conn)
    .await
}

/// What an account signs in with, while it is not closed.
pub async fn credentials(
    conn: &mut PgConnection,
    merchant: MerchantId,
    account: AccountId,
) -> Result<Option<Credentials>> {
    sqlx::query_as!(
        Credentials,
        "select account_id, email, password_hash from account
         where merchant_id = $1 and account_id = $2 and closed_at is null",
        merchant.0,
        account.0,
    )
    .fetch_optional(conn)
    .await
}

/// One account that is not closed, or is.
pub async fn find(
    conn: &mut PgConnection,
    merchant: MerchantId,
    account: AccountId,
) -> Result<Option<Account>> {
    sqlx::query_as!(
        Account,
        r#"select account_id, role, email, name, wallet, password_hash is not null as "has_password!",
                  created_at, closed_at
           from account where merchant_id = $1 and account_id = $2"#,
        merchant.0,
        account.0,
    )
    .fetch_optional(conn)
    .await
}

/// Replaces a password that is still the same, by its hash. Whether it was.
pub async fn replace_password(
    conn: &mut PgConnection,
    merchant: MerchantId,
    account: AccountId,
    from: Option<&str>,
    to: &str,
) -> Result<bool> {
    let done = sqlx::query!(
        "update account set password_hash = $4
         where merchant_id = $1 and account_id = $2 and closed_at is null
           and password_hash is not distinct from $3",
        merchant.0,
        account.0,
        from,
        to,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// A password that is to be another.
#[derive(Debug)]
#[expect(
    missing_docs,
    reason = "arguments of the function, described in the migration"
)]
pub struct Change<'a> {
    pub merchant: MerchantId,
    pub account: AccountId,
    pub from: &'a str,
    pub to: &'a str,
    pub but: SessionId,
}

/// Changes a password that is still the same, by its hash, and ends every other session. Whether it was.
pub async fn change_password(
    conn: &mut PgConnection,
    change: &Change<'_>,
    now: OffsetDateTime,
) -> Result<bool> {
    sqlx::query_scalar!(
        r#"select change_account_password($1, $2, $3, $4, $5, $6) as "changed!""#,
        change.merchant.0,
        change.account.0,
        change.from,
        change.to,
        change.but.0,
        now,
    )
    .fetch_one(conn)
    .await
}
