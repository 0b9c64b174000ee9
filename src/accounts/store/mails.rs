//! The rows of mails to send, and of the tokens that they carry.

use sqlx::{PgConnection, Result};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::ids::{AccountId, MerchantId};

/// What a mail is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Kind {
    /// A forgotten password.
    Reset,
    /// An invitation to the staff.
    Invitation,
}

/// A mail whose time has come.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "columns, described in the migration")]
pub struct Due {
    pub merchant_id: Uuid,
    pub mail_id: Uuid,
    pub kind: Kind,
    pub email: String,
    pub created_at: OffsetDateTime,
    pub tries: i32,
    pub account_id: Option<Uuid>,
    pub name: Option<String>,
    pub legal_name: String,
}

/// Writes down that somebody forgot the password of an address.
pub async fn ask_for_reset(
    conn: &mut PgConnection,
    merchant: MerchantId,
    mail: Uuid,
    email: &str,
    now: OffsetDateTime,
) -> Result<()> {
    sqlx::query!(
        "insert into account_mail (merchant_id, mail_id, kind, email, created_at, next_try_at)
         values ($1, $2, 'reset', $3, $4, $4)",
        merchant.0,
        mail,
        email,
        now,
    )
    .execute(conn)
    .await
    .map(drop)
}

/// Takes the next mail, which is tried again at `again` unless it is done with before.
pub async fn take(
    conn: &mut PgConnection,
    now: OffsetDateTime,
    again: OffsetDateTime,
) -> Result<Option<Due>> {
    sqlx::query_as!(
        Due,
        r#"select merchant_id as "merchant_id!", mail_id as "mail_id!", kind as "kind!: Kind",
                  email as "email!", created_at as "created_at!", tries as "tries!", account_id, name,
                  legal_name as "legal_name!"
           from take_account_mail($1, $2)"#,
        now,
        again,
    )
    .fetch_optional(conn)
    .await
}

/// Is done with a mail.
pub async fn forget(conn: &mut PgConnection, due: &Due) -> Result<()> {
    sqlx::query!(
        "delete from account_mail where merchant_id = $1 and mail_id = $2",
        due.merchant_id,
        due.mail_id,
    )
    .execute(conn)
    .await
    .map(drop)
}

/// A token that a mail is to carry.
#[derive(Debug)]
#[expect(missing_docs, reason = "columns, described in the migration")]
pub struct NewToken<'a> {
    pub merchant: MerchantId,
    pub account: AccountId,
    pub token: Uuid,
    pub secret_hash: &'a [u8; 32],
    pub expires_at: OffsetDateTime,
}

/// Keeps a token.
pub async fn keep_token(
    conn: &mut PgConnection,
    new: &NewToken<'_>,
    now: OffsetDateTime,
) -> Result<()> {
    sqlx::query!(
        "select keep_account_token($1, $2, $3, $4, $5, $6)",
        new.merchant.0,
        new.account.0,
        new.token,
        &new.secret_hash[..],
        now,
        new.expires_at,
    )
    .execute(conn)
    .await
    .map(drop)
}

/// The e-mail address of the account that a token may set the password of, while it may.
pub async fn email_of_token(
    conn: &mut PgConnection,
    (merchant, token): (MerchantId, Uuid),
    secret_hash: &[u8; 32],
    now: OffsetDateTime,
) -> Result<Option<String>> {
    let found = sqlx::query_scalar!(
        "select a.email from account_token t join account a using (merchant_id, account_id)
         where t.merchant_id = $1 and t.token_id = $2 and t.secret_hash = $3 and t.used_at is null
           and t.expires_at > $4 and a.closed_at is null",
        merchant.0,
        token,
        &secret_hash[..],
        now,
    );
    Ok(found.fetch_optional(conn).await?.flatten())
}

/// Sets the password of a token's account, once. Whether it was good.
pub async fn redeem_token(
    conn: &mut PgConnection,
    (merchant, token): (MerchantId, Uuid),
    secret_hash: &[u8; 32],
    password_hash: &str,
    now: OffsetDateTime,
) -> Result<bool> {
    let account = sqlx::query_scalar!(
        "select redeem_account_token($1, $2, $3, $4, $5)",
        merchant.0,
        token,
        &secret_hash[..],
        password_hash,
        now,
    );
    Ok(account.fetch_one(conn).await?.is_some())
}

/// Has a mail wait for its next try.
pub async fn put_off(conn: &mut PgConnection, due: &Due, until: OffsetDateTime) -> Result<()> {
    sqlx::query!(
        "update account_mail set next_try_at = $3 where merchant_id = $1 and mail_id = $2",
        due.merchant_id,
        due.mail_id,
        until,
    )
    .execute(conn)
    .await
    .map(drop)
}
