//! Orders.

use std::collections::BTreeMap;

use sqlx::types::Json;
use sqlx::{PgConnection, PgExecutor, Result};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::http::auth::Caller;
use crate::http::object::TextMap;
use crate::http::paging::{Paging, Period};
use crate::ids::{AccountId, IntentId, MerchantId, PurchaseId};
use crate::limits;
use crate::shop::shipping::Shipping;

/// An order, with what is known of its payment.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "columns, described in the migration")]
pub struct Order {
    pub order_id: Uuid,
    pub account_id: Uuid,
    pub state: String,
    pub currency: String,
    pub subtotal_minor: i64,
    pub tax_minor: i64,
    pub discount_minor: i64,
    pub total_minor: i64,
    pub refunded_minor: i64,
    pub customer: Option<Vec<u8>>,
    pub created_at: OffsetDateTime,
    pub expires_at: OffsetDateTime,
    pub ending: Option<String>,
    pub paid_at: Option<OffsetDateTime>,
    pub cancelled_at: Option<OffsetDateTime>,
    pub recorded: bool,
    pub parked: Option<String>,
    pub metadata: Json<BTreeMap<String, String>>,
    pub shipping: Option<Json<Shipping>>,
    pub intent_id: Uuid,
    pub intent_state: String,
}

/// What was ordered of a product.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "columns, described in the migration")]
pub struct Item {
    pub order_id: Uuid,
    pub product_id: Uuid,
    pub sku: String,
    pub name: String,
    pub quantity: i64,
    pub price_minor: i64,
    pub tax_minor: i64,
    pub tax_included: bool,
    pub total_minor: i64,
    pub refunded: i64,
}

/// An order to place.
#[derive(Debug, Clone)]
pub struct Place {
    /// Its id.
    pub order: PurchaseId,
    /// That of its payment intent.
    pub intent: IntentId,
    /// The customer's account address on its sale.
    pub customer: Option<[u8; 20]>,
    /// Until when it holds its pieces.
    pub expires_at: OffsetDateTime,
}

/// Which orders of a list are wanted.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Whose shop's.
    pub merchant: MerchantId,
    /// Those of one account alone.
    pub account: Option<AccountId>,
    /// Those in one state alone.
    pub state: Option<String>,
    /// Those made within.
    pub created: Period,
}

/// What became of ordering a cart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Placed {
    /// The order holds its pieces.
    Placed,
    /// There is nothing in the cart.
    Empty,
    /// Something has changed since it was filled, or too little is there.
    Problems,
    /// It comes to more than any sale.
    TooLarge,
    /// It comes to nothing.
    Zero,
    /// The account has as many orders that wait for their payment as it may.
    Pending,
}

/// What became of ending an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Ended {
    /// It is CANCELLED, now or before.
    Cancelled,
    /// The provider has to cancel its intent first.
    Ending,
    /// It is PAID.
    Paid,
    /// There is no such order, or it is another account's.
    Unknown,
}

/// What became of unparking an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Unparked {
    /// Nobody has to look at it any more.
    Unparked,
    /// There is no such order.
    Unknown,
    /// Nothing was sold: it is to be cancelled.
    Pending,
    /// Nobody had to.
    NotParked,
}

/// Makes an order of the account's active cart.
pub async fn place(
    conn: &mut PgConnection,
    merchant: MerchantId,
    account: AccountId,
    place: &Place,
    now: OffsetDateTime,
) -> Result<Placed> {
    sqlx::query_scalar!(
        r#"select place_order($1, $2, $3, $4, $5, $6, $7, $8, $9) as "outcome!: Placed""#,
        merchant.0,
        account.0,
        place.order.0,
        place.intent.0,
        place.customer.as_ref().map(<[u8; 20]>::as_slice),
        limits::AMOUNT_MINOR,
        limits::PENDING_ORDERS,
        place.expires_at,
        now,
    )
    .fetch_one(conn)
    .await
}

/// Takes off an order that was placed in this transaction what points are worth; false where nothing would be
/// left to pay.
pub async fn discount(
    conn: &mut PgConnection,
    merchant: MerchantId,
    order: PurchaseId,
    minor: i64,
) -> Result<bool> {
    sqlx::query_scalar!(
        r#"select discount_order($1, $2, $3) as "done!""#,
        merchant.0,
        order.0,
        minor,
    )
    .fetch_one(conn)
    .await
}

/// Keeps what was said of an order that was placed in this transaction; false where it is not there as it was placed.
pub async fn describe(
    conn: &mut PgConnection,
    merchant: MerchantId,
    order: PurchaseId,
    metadata: &TextMap,
    shipping: Option<&Shipping>,
) -> Result<bool> {
    sqlx::query_scalar!(
        r#"select describe_order($1, $2, $3, $4) as "done!""#,
        merchant.0,
        order.0,
        Json(metadata) as _,
        shipping.map(Json) as _,
    )
    .fetch_one(conn)
    .await
}

/// An order is not wanted any more, or its time is over. With an account, where it is that account's.
pub async fn end(
    db: impl PgExecutor<'_>,
    merchant: MerchantId,
    order: PurchaseId,
    account: Option<AccountId>,
    reason: &str,
    by: Option<&Caller>,
    now: OffsetDateTime,
) -> Result<Ended> {
    sqlx::query_scalar!(
        r#"select end_order($1, $2, $3, $4, $5, $6) as "outcome!: Ended""#,
        merchant.0,
        order.0,
        account.map(|account| account.0),
        reason,
        by.map(|caller| caller.who.id()),
        now,
    )
    .fetch_one(db)
    .await
}

/// Somebody has dealt with what an order or its refunds were parked for.
pub async fn unpark(
    conn: &mut PgConnection,
    caller: &Caller,
    order: PurchaseId,
    reason: &str,
) -> Result<Unparked> {
    sqlx::query_scalar!(
        r#"select unpark_order($1, $2, $3, $4) as "outcome!: Unparked""#,
        caller.merchant.0,
        order.0,
        reason,
        caller.who.to_string(),
    )
    .fetch_one(conn)
    .await
}

/// One order; with an account, where it is that account's.
pub async fn find(
    conn: &mut PgConnection,
    merchant: MerchantId,
    order: PurchaseId,
    account: Option<AccountId>,
) -> Result<Option<Order>> {
    sqlx::query_as!(
        Order,
        r#"select o.order_id, o.account_id, o.state, o.currency, o.subtotal_minor, o.tax_minor, o.discount_minor,
                o.total_minor, o.refunded_minor, o.customer, o.created_at, o.expires_at, o.ending, o.paid_at,
                o.cancelled_at, o.recorded, o.parked, i.intent_id, i.state as intent_state,
                o.metadata as "metadata: Json<BTreeMap<String, String>>", o.shipping as "shipping: Json<Shipping>"
         from shop_order o join payment_intent i on i.merchant_id = o.merchant_id and i.order_id = o.order_id
         where o.merchant_id = $1 and o.order_id = $2 and ($3::uuid is null or o.account_id = $3)"#,
        merchant.0,
        order.0,
        account.map(|account| account.0),
    )
    .fetch_optional(conn)
    .await
}

/// A page of orders, of one account or of all, before or after an edge: each has its index.
macro_rules! page {
    ($db:expr, $wanted:expr, $edge:expr, $rows:expr, $whose:literal, $beyond:literal, $order:literal) => {
        sqlx::query_as!(
            Order,
            r#"select o.order_id, o.account_id, o.state, o.currency, o.subtotal_minor, o.tax_minor, o.discount_minor,
                    o.total_minor, o.refunded_minor, o.customer, o.created_at, o.expires_at, o.ending, o.paid_at,
                    o.cancelled_at, o.recorded, o.parked, i.intent_id, i.state as intent_state,
                    o.metadata as "metadata: Json<BTreeMap<String, String>>", o.shipping as "shipping: Json<Shipping>"
             from shop_order o join payment_intent i on i.merchant_id = o.merchant_id and i.order_id = o.order_id
             where o.merchant_id = $1 and ($3::text is null or o.state = $3)
               and ($6::timestamptz is null or o.created_at >= $6) and ($7::timestamptz is null or o.created_at > $7)
               and ($8::timestamptz is null or o.created_at <= $8) and ($9::timestamptz is null or o.created_at < $9)
               and o.order_id between $10 and $11
               and "#
                + $whose
                + " and o.order_id "
                + $beyond
                + " $4 order by o.order_id "
                + $order
                + " limit $5",
            $wanted.merchant.0,
            $wanted.account.map(|account| account.0),
            $wanted.state,
            $edge.0,
            $rows,
            $wanted.created.from,
            $wanted.created.after,
            $wanted.created.to,
            $wanted.created.before,
            $wanted.created.ids().0,
            $wanted.created.ids().1,
        )
        .fetch_all($db)
        .await
    };
}

/// A page of orders and one more, from the edge that is asked for: the newest first, or of an
/// `ending_before` the oldest first.
pub async fn list(
    conn: &mut PgConnection,
    wanted: &Wanted,
    paging: &Paging<PurchaseId>,
) -> Result<Vec<Order>> {
    let rows = paging.limit + 1;
    let newest = PurchaseId(Uuid::max());
    match (wanted.account, paging.ending_before) {
        (Some(_), Some(edge)) => {
            page!(conn, wanted, edge, rows, "o.account_id = $2", ">", "asc")
        }
        (Some(_), None) => {
            let edge = paging.starting_after.unwrap_or(newest);
            page!(conn, wanted, edge, rows, "o.account_id = $2", "<", "desc")
        }
        (None, Some(edge)) => {
            page!(conn, wanted, edge, rows, "$2::uuid is null", ">", "asc")
        }
        (None, None) => {
            let edge = paging.starting_after.unwrap_or(newest);
            page!(conn, wanted, edge, rows, "$2::uuid is null", "<", "desc")
        }
    }
}

/// What was ordered with these orders.
pub async fn items(
    conn: &mut PgConnection,
    merchant: MerchantId,
    orders: &[Uuid],
) -> Result<Vec<Item>> {
    sqlx::query_as!(
        Item,
        "select order_id, product_id, sku, name, quantity, price_minor, tax_minor, tax_included, total_minor, refunded
         from shop_order_item where merchant_id = $1 and order_id = any($2) order by order_id, product_id",
        merchant.0,
        orders,
    )
    .fetch_all(conn)
    .await
}

/// Notes that a PAID order is about to be recorded as a sale, or why it was not; false where that is so already.
pub async fn note_sale(
    db: impl PgExecutor<'_>,
    merchant: MerchantId,
    order: PurchaseId,
    parked: Option<&str>,
) -> Result<bool> {
    sqlx::query_scalar!(
        r#"select note_order_sale($1, $2, $3) as "done!""#,
        merchant.0,
        order.0,
        parked,
    )
    .fetch_one(db)
    .await
}

/// Orders that wait for their payment although their time is over.
pub async fn expired(
    conn: &mut PgConnection,
    now: OffsetDateTime,
    limit: i64,
) -> Result<Vec<(MerchantId, PurchaseId)>> {
    let rows = sqlx::query!(
        "select merchant_id, order_id from shop_order
         where state = 'PENDING' and ending is null and parked is null and expires_at <= $1
         order by expires_at limit $2",
        now,
        limit,
    );
    let rows = rows.fetch_all(conn).await?;
    let ids = rows.into_iter();
    Ok(ids
        .map(|row| (MerchantId(row.merchant_id), PurchaseId(row.order_id)))
        .collect())
}

/// PAID orders that are no sale yet and are to be tried again by `now`, the oldest first.
pub async fn unrecorded(
    conn: &mut PgConnection,
    now: OffsetDateTime,
    limit: i64,
) -> Result<Vec<(MerchantId, PurchaseId)>> {
    let rows = sqlx::query!(
        "select merchant_id, order_id from shop_order
         where state = 'PAID' and not recorded and (record_at is null or record_at <= $1)
         order by paid_at limit $2",
        now,
        limit,
    );
    let rows = rows.fetch_all(conn).await?;
    let ids = rows.into_iter();
    Ok(ids
        .map(|row| (MerchantId(row.merchant_id), PurchaseId(row.order_id)))
        .collect())
}

/// Orders and refunds that somebody has to look at.
pub async fn parked(conn: &mut PgConnection) -> Result<i64> {
    sqlx::query_scalar!(
        r#"select (select count(*) from shop_order where parked is not null)
                + (select count(*) from shop_refund where parked is not null) as "count!""#
    )
    .fetch_one(conn)
    .await
}
