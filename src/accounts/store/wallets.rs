//! The nonces of sign-in messages, and the wallets of accounts.

use sqlx::{PgConnection, Result};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::ids::{AccountId, MerchantId};

/// Gives a nonce out.
pub async fn give_nonce(
    conn: &mut PgConnection,
    merchant: MerchantId,
    nonce: &str,
    now: OffsetDateTime,
    expires_at: OffsetDateTime,
) -> Result<()> {
    sqlx::query!(
        "insert into wallet_nonce (merchant_id, nonce, created_at, expires_at) values ($1, $2, $3, $4)",
        merchant.0,
        nonce,
        now,
        expires_at,
    )
    .execute(conn)
    .await
    .map(drop)
}

/// Whether a nonce is still to be used.
pub async fn is_nonce_good(
    conn: &mut PgConnection,
    merchant: MerchantId,
    nonce: &str,
    now: OffsetDateTime,
) -> Result<bool> {
    let found = sqlx::query_scalar!(
        r#"select exists (select from wallet_nonce
           where merchant_id = $1 and nonce = $2 and used_at is null and expires_at > $3) as "good!""#,
        merchant.0,
        nonce,
        now,
    );
    found.fetch_one(conn).await
}

/// Uses a nonce, once. Whether it was good.
pub async fn use_nonce(
    conn: &mut PgConnection,
    merchant: MerchantId,
    nonce: &str,
    now: OffsetDateTime,
) -> Result<bool> {
    let done = sqlx::query!(
        "update wallet_nonce set used_at = $3
         where merchant_id = $1 and nonce = $2 and used_at is null and expires_at > $3",
        merchant.0,
        nonce,
        now,
    );
    Ok(done.execute(conn).await?.rows_affected() == 1)
}

/// The account of a wallet.
pub async fn account_of(
    conn: &mut PgConnection,
    merchant: MerchantId,
    wallet: &[u8],
) -> Result<Option<Uuid>> {
    sqlx::query_scalar!(
        "select account_id from account where merchant_id = $1 and wallet = $2 and closed_at is null",
        merchant.0,
        wallet,
    )
    .fetch_optional(conn)
    .await
}

/// Gives an account another wallet, while its password is still the same, by its hash. Whether it was. The
/// constraint `account_wallet` says when another account has it.
pub async fn link(
    conn: &mut PgConnection,
    (merchant, account): (MerchantId, AccountId),
    password_hash: Option<&str>,
    wallet: &[u8],
) -> Result<bool> {
    let done = sqlx::query!(
        "update account set wallet = $4
         where merchant_id = $1 and account_id = $2 and closed_at is null
           and password_hash is not distinct from $3",
        merchant.0,
        account.0,
        password_hash,
        wallet,
    );
    Ok(done.execute(conn).await?.rows_affected() == 1)
}

/// Takes an account its wallet, where it has a password to sign in with. Whether it has.
pub async fn unlink(
    conn: &mut PgConnection,
    merchant: MerchantId,
    account: AccountId,
) -> Result<bool> {
    let done = sqlx::query!(
        "update account set wallet = null
         where merchant_id = $1 and account_id = $2 and closed_at is null
           and password_hash is not null",
        merchant.0,
        account.0,
    );
    Ok(done.execute(conn).await?.rows_affected() == 1)
}
