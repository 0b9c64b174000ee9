//! Refunds of orders.

use std::time::Duration;

use sqlx::postgres::types::PgInterval;
use sqlx::{PgConnection, PgExecutor, Result};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::http::auth::Caller;
use crate::http::paging::Paging;
use crate::ids::{MerchantId, ProductId, PurchaseId, RefundId};

/// A refund.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "columns, described in the migration")]
pub struct Refund {
    pub refund_id: Uuid,
    pub order_id: Uuid,
    pub account_id: Uuid,
    pub state: String,
    pub currency: String,
    pub amount_minor: i64,
    pub cause: String,
    pub reason: String,
    pub restock: bool,
    pub last_error: Option<String>,
    pub created_at: OffsetDateTime,
    pub settled_at: Option<OffsetDateTime>,
    pub recorded: bool,
    pub parked: Option<String>,
    pub customer: Option<Vec<u8>>,
}

/// A refund to begin.
#[derive(Debug, Clone)]
pub struct Begin<'a> {
    /// Its id.
    pub refund: RefundId,
    /// Of which order.
    pub order: PurchaseId,
    /// How much, minor units; what the pieces come to where none is said.
    pub amount: Option<i64>,
    /// The currency of that.
    pub currency: Option<&'a str>,
    /// Pieces that it is for; with neither, all that is left.
    pub pieces: Option<&'a [(ProductId, i64)]>,
    /// Whether they go back into the stock.
    pub restock: bool,
    /// Why.
    pub reason: &'a str,
}

/// A refund that this process is to ask the provider for.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "columns, described in the migration")]
pub struct Claimed {
    pub merchant_id: Uuid,
    pub refund_id: Uuid,
    pub order_id: Uuid,
    pub amount_minor: i64,
    pub currency: String,
    pub cause: String,
    pub provider_ref: Option<String>,
    pub intent_ref: Option<String>,
    pub tries: i32,
    /// The merchant's.
    pub mode: String,
}

/// What became of beginning a refund.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Begun {
    /// It is reserved, and the provider is to be asked.
    Refunding,
    /// There is no such order.
    Unknown,
    /// It is not PAID.
    NotPaid,
    /// Somebody has to look at it first.
    Parked,
    /// Nothing is left to give back.
    Nothing,
    /// The order is in another currency.
    Currency,
    /// So much is not left.
    Exceeds,
    /// So many pieces of a product are not left, or it is none of the order's.
    Pieces,
}

/// What became of a refund that the provider has told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Settled {
    /// It has succeeded or failed, now.
    Settled,
    /// It has succeeded, and is to be recorded as the last statement of the transaction.
    Record,
    /// It had before.
    Already,
    /// It had succeeded before, and failed in the end, or the other way round: somebody has to look.
    Reversed,
    /// There is no such refund.
    Unknown,
}

/// Reserves a refund.
pub async fn begin(
    conn: &mut PgConnection,
    caller: &Caller,
    begin: &Begin<'_>,
    now: OffsetDateTime,
) -> Result<Begun> {
    let ids = begin
        .pieces
        .map(|all| all.iter().map(|(id, _)| id.0).collect::<Vec<_>>());
    let counts = begin
        .pieces
        .map(|all| all.iter().map(|(_, n)| *n).collect::<Vec<_>>());
    sqlx::query_scalar!(
        r#"select begin_refund($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) as "outcome!: Begun""#,
        caller.merchant.0,
        begin.order.0,
        begin.refund.0,
        begin.amount,
        begin.currency,
        ids.as_deref(),
        counts.as_deref(),
        begin.restock,
        begin.reason,
        caller.who.id(),
        now,
    )
    .fetch_one(conn)
    .await
}

/// Takes the refund whose time has come first, or the named one if its has, for `hold`.
pub async fn claim(
    db: impl PgExecutor<'_>,
    named: Option<(MerchantId, RefundId)>,
    hold: Duration,
    now: OffsetDateTime,
) -> Result<Option<Claimed>> {
    let hold = PgInterval {
        months: 0,
        days: 0,
        microseconds: i64::try_from(hold.as_micros()).unwrap_or(i64::MAX),
    };
    sqlx::query_as!(
        Claimed,
        r#"select merchant_id as "merchant_id!", refund_id as "refund_id!", order_id as "order_id!",
                  amount_minor as "amount_minor!", currency as "currency!", cause as "cause!", provider_ref,
                  intent_ref, tries as "tries!", mode as "mode!"
           from claim_refund($1, $2, $3, $4)"#,
        named.map(|(merchant, _)| merchant.0),
        named.map(|(_, refund)| refund.0),
        hold,
        now,
    )
    .fetch_optional(db)
    .await
}

/// Notes that the provider works on a refund, or could not be asked, and when it is asked again.
pub async fn note(
    db: impl PgExecutor<'_>,
    (merchant, refund): (MerchantId, RefundId),
    provider_ref: Option<&str>,
    error: Option<&str>,
    next_at: OffsetDateTime,
) -> Result<()> {
    sqlx::query!(
        "select note_refund($1, $2, $3, $4, $5)",
        merchant.0,
        refund.0,
        provider_ref,
        error,
        next_at,
    )
    .execute(db)
    .await
    .map(drop)
}

/// The provider has given the money back, or will not.
pub async fn settle(
    db: impl PgExecutor<'_>,
    (merchant, refund): (MerchantId, RefundId),
    provider_ref: Option<&str>,
    result: std::result::Result<(), &str>,
    now: OffsetDateTime,
) -> Result<Settled> {
    sqlx::query_scalar!(
        r#"select settle_refund($1, $2, $3, $4, $5, $6) as "outcome!: Settled""#,
        merchant.0,
        refund.0,
        provider_ref,
        result.is_ok(),
        result.err(),
        now,
    )
    .fetch_one(db)
    .await
}

/// Notes that a refund is about to be recorded, or why it was not; false where that is so already.
pub async fn note_sale(
    db: impl PgExecutor<'_>,
    (merchant, refund): (MerchantId, RefundId),
    parked: Option<&str>,
) -> Result<bool> {
    sqlx::query_scalar!(
        r#"select note_refund_sale($1, $2, $3) as "done!""#,
        merchant.0,
        refund.0,
        parked,
    )
    .fetch_one(db)
    .await
}

/// One refund.
pub async fn find(
    conn: &mut PgConnection,
    merchant: MerchantId,
    refund: RefundId,
) -> Result<Option<Refund>> {
    sqlx::query_as!(
        Refund,
        "select r.refund_id, r.order_id, o.account_id, r.state, r.currency, r.amount_minor, r.cause, r.reason,
                r.restock, r.last_error, r.created_at, r.settled_at, r.recorded, r.parked, o.customer
         from shop_refund r join shop_order o on o.merchant_id = r.merchant_id and o.order_id = r.order_id
         where r.merchant_id = $1 and r.refund_id = $2",
        merchant.0,
        refund.0,
    )
    .fetch_optional(conn)
    .await
}

/// A page of an order's refunds and one more, from the edge that is asked for: the newest first, or of an
/// `ending_before` the oldest first.
pub async fn list(
    conn: &mut PgConnection,
    merchant: MerchantId,
    order: PurchaseId,
    paging: &Paging<RefundId>,
) -> Result<Vec<Refund>> {
    sqlx::query_as!(
        Refund,
        "select r.refund_id, r.order_id, o.account_id, r.state, r.currency, r.amount_minor, r.cause, r.reason,
                r.restock, r.last_error, r.created_at, r.settled_at, r.recorded, r.parked, o.customer
         from shop_refund r join shop_order o on o.merchant_id = r.merchant_id and o.order_id = r.order_id
         where r.merchant_id = $1 and r.order_id = $2
           and ($3::uuid is null or r.refund_id < $3) and ($4::uuid is null or r.refund_id > $4)
         order by case when $4::uuid is null then r.refund_id end desc, r.refund_id
         limit $5",
        merchant.0,
        order.0,
        paging.starting_after.map(|id| id.0),
        paging.ending_before.map(|id| id.0),
        paging.limit + 1,
    )
    .fetch_all(conn)
    .await
}

/// What the provider has given back of an order, minor units.
pub async fn given(
    conn: &mut PgConnection,
    merchant: MerchantId,
    order: PurchaseId,
) -> Result<i64> {
    sqlx::query_scalar!(
        r#"select coalesce(sum(amount_minor), 0)::bigint as "given!" from shop_refund
           where merchant_id = $1 and order_id = $2 and state = 'succeeded'"#,
        merchant.0,
        order.0,
    )
    .fetch_one(conn)
    .await
}

/// Pieces that these refunds are for, each beside its refund.
pub async fn pieces(
    conn: &mut PgConnection,
    merchant: MerchantId,
    refunds: &[Uuid],
) -> Result<Vec<(Uuid, ProductId, i64)>> {
    let rows = sqlx::query!(
        "select refund_id, product_id, quantity from shop_refund_item
         where merchant_id = $1 and refund_id = any($2) order by refund_id, product_id",
        merchant.0,
        refunds,
    );
    let rows = rows.fetch_all(conn).await?;
    let pieces = rows.into_iter();
    Ok(pieces
        .map(|row| (row.refund_id, ProductId(row.product_id), row.quantity))
        .collect())
}

/// Refunds that were given and are not in the record of sales yet, though their orders are.
pub async fn unrecorded(
    conn: &mut PgConnection,
    now: OffsetDateTime,
    limit: i64,
) -> Result<Vec<(MerchantId, RefundId)>> {
    let rows = sqlx::query!(
        "select r.merchant_id, r.refund_id
         from shop_refund r join shop_order o on o.merchant_id = r.merchant_id and o.order_id = r.order_id
         where r.state = 'succeeded' and r.cause = 'requested' and not r.recorded and o.recorded
           and (r.record_at is null or r.record_at <= $1)
         order by r.settled_at limit $2",
        now,
        limit,
    );
    let rows = rows.fetch_all(conn).await?;
    let ids = rows.into_iter();
    Ok(ids
        .map(|row| (MerchantId(row.merchant_id), RefundId(row.refund_id)))
        .collect())
}
