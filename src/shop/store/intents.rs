//! Payment intents, and the events that the provider tells of them.

use sqlx::{PgConnection, PgExecutor, Result};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::http::keys::Mode;
use crate::ids::{AccountId, IntentId, MerchantId, RefundId};

/// A payment intent, with what is asked of its order.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "columns, described in the migration")]
pub struct Intent {
    pub merchant_id: Uuid,
    pub intent_id: Uuid,
    pub order_id: Uuid,
    pub provider_ref: Option<String>,
    pub state: String,
    pub currency: String,
    pub amount_minor: i64,
    pub last_error: Option<String>,
    pub created_at: OffsetDateTime,
    pub asked_at: Option<OffsetDateTime>,
    /// The merchant's.
    pub mode: String,
    /// Whether the order is to be paid still.
    pub is_payable: bool,
    /// Why the order is to end, where it is.
    pub ending: Option<String>,
}

/// What the provider has of an intent.
#[derive(Debug, Clone)]
pub struct Paid<'a> {
    /// The provider's name for it.
    pub provider_ref: &'a str,
    /// Minor units.
    pub amount_minor: i64,
    /// ISO 4217, upper case.
    pub currency: &'a str,
    /// The event that told of it, or how else it is known.
    pub event: &'a str,
    /// The id of the refund, where the money goes back.
    pub refund: RefundId,
}

/// One intent; with an account, where it is that account's.
pub async fn find(
    conn: &mut PgConnection,
    merchant: MerchantId,
    intent: IntentId,
    account: Option<AccountId>,
) -> Result<Option<Intent>> {
    sqlx::query_as!(
        Intent,
        r#"select i.merchant_id, i.intent_id, i.order_id, i.provider_ref, i.state, i.currency, i.amount_minor,
                  i.last_error, i.created_at, i.asked_at, m.mode,
                  o.state = 'PENDING' and o.ending is null as "is_payable!", o.ending
           from payment_intent i
           join shop_order o on o.merchant_id = i.merchant_id and o.order_id = i.order_id
           join merchant m on m.merchant_id = i.merchant_id
           where i.merchant_id = $1 and i.intent_id = $2 and ($3::uuid is null or o.account_id = $3)"#,
        merchant.0,
        intent.0,
        account.map(|account| account.0),
    )
    .fetch_optional(conn)
    .await
}

/// Marks that the provider is about to be asked; false where the order is not to be paid any more.
pub async fn ask(
    db: impl PgExecutor<'_>,
    merchant: MerchantId,
    intent: IntentId,
    now: OffsetDateTime,
) -> Result<bool> {
    sqlx::query_scalar!(
        r#"select ask_for_intent($1, $2, $3) as "may!""#,
        merchant.0,
        intent.0,
        now,
    )
    .fetch_one(db)
    .await
}

/// Notes what the provider says of an intent that is neither paid nor canceled, and when it said so.
pub async fn note(
    db: impl PgExecutor<'_>,
    merchant: MerchantId,
    intent: IntentId,
    said: (&str, &str, Option<&str>),
    at: OffsetDateTime,
    now: OffsetDateTime,
) -> Result<()> {
    let (provider_ref, state, error) = said;
    sqlx::query!(
        "select note_intent($1, $2, $3, $4, $5, $6, $7)",
        merchant.0,
        intent.0,
        provider_ref,
        state,
        error,
        at,
        now,
    )
    .execute(db)
    .await
    .map(drop)
}

/// What became of an order whose intent has ended at the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Settled {
    /// It is PAID; of a payment, just now.
    Paid,
    /// It is CANCELLED.
    Cancelled,
    /// The payment was told of before.
    Already,
    /// It was not to be paid any more, or its pieces are gone: the money goes back.
    Refunding,
    /// Another amount was paid than the order's: somebody has to look.
    Mismatch,
    /// There is no such intent.
    Unknown,
}

/// The provider has canceled an intent: `Cancelled`, `Paid` or `Unknown`.
pub async fn cancel(
    db: impl PgExecutor<'_>,
    merchant: MerchantId,
    intent: IntentId,
    provider_ref: Option<&str>,
    now: OffsetDateTime,
) -> Result<Settled> {
    sqlx::query_scalar!(
        r#"select cancel_intent($1, $2, $3, $4) as "outcome!: Settled""#,
        merchant.0,
        intent.0,
        provider_ref,
        now,
    )
    .fetch_one(db)
    .await
}

/// The provider has the money of an intent: anything but `Cancelled`.
pub async fn settle(
    db: impl PgExecutor<'_>,
    merchant: MerchantId,
    intent: IntentId,
    paid: &Paid<'_>,
    now: OffsetDateTime,
) -> Result<Settled> {
    sqlx::query_scalar!(
        r#"select settle_payment($1, $2, $3, $4, $5, $6, $7, $8) as "outcome!: Settled""#,
        merchant.0,
        intent.0,
        paid.provider_ref,
        paid.amount_minor,
        paid.currency,
        paid.event,
        paid.refund.0,
        now,
    )
    .fetch_one(db)
    .await
}

/// Takes an event in; false where it was told before.
pub async fn receive(
    db: impl PgExecutor<'_>,
    merchant: MerchantId,
    event: (&str, &str),
    intent: Option<IntentId>,
    now: OffsetDateTime,
) -> Result<bool> {
    let (id, kind) = event;
    let done = sqlx::query!(
        "insert into provider_event (merchant_id, event_id, type, intent_id, received_at)
         values ($1, $2, $3, $4, $5) on conflict do nothing",
        merchant.0,
        id,
        kind,
        intent.map(|intent| intent.0),
        now,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Puts an intent behind the others that wait.
pub async fn defer(
    db: impl PgExecutor<'_>,
    merchant: MerchantId,
    intent: IntentId,
    now: OffsetDateTime,
) -> Result<()> {
    sqlx::query!("select defer_intent($1, $2, $3)", merchant.0, intent.0, now,)
        .execute(db)
        .await
        .map(drop)
}

/// Intents of merchants of this mode that the provider was asked about and that were not heard of since `before`, and those of orders
/// that are to end; the longest waiting first. An order that somebody has to look at is not among them.
pub async fn waiting(
    conn: &mut PgConnection,
    mode: Mode,
    before: OffsetDateTime,
    limit: i64,
) -> Result<Vec<(MerchantId, IntentId, bool)>> {
    let rows = sqlx::query!(
        r#"select i.merchant_id, i.intent_id, o.ending is not null as "is_ending!"
           from payment_intent i
           join shop_order o on o.merchant_id = i.merchant_id and o.order_id = i.order_id
           join merchant m on m.merchant_id = i.merchant_id
           where i.state not in ('canceled', 'succeeded') and i.asked_at is not null
             and o.state = 'PENDING' and o.parked is null and m.mode = $3
             and (o.ending is not null or i.updated_at <= $1)
           order by i.updated_at limit $2"#,
        before,
        limit,
        mode.as_str(),
    );
    let rows = rows.fetch_all(conn).await?;
    let ids = rows.into_iter().map(|row| {
        (
            MerchantId(row.merchant_id),
            IntentId(row.intent_id),
            row.is_ending,
        )
    });
    Ok(ids.collect())
}

/// So much, in minor units, went back of a payment; whether its order was parked, as less was asked for here.
pub async fn note_charge(
    db: impl PgExecutor<'_>,
    provider_ref: &str,
    refunded_minor: i64,
) -> Result<bool> {
    sqlx::query_scalar!(
        r#"select note_charge($1, $2) as "parked!""#,
        provider_ref,
        refunded_minor,
    )
    .fetch_one(db)
    .await
}
