//! What is on hand, and its movements.

use sqlx::{PgConnection, Result};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::http::auth::Caller;
use crate::http::paging::Paging;
use crate::ids::{MerchantId, ProductId};

/// What is there of a product.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Count {
    /// Pieces in the shop.
    pub on_hand: i64,
    /// Of these, pieces that pending orders hold.
    pub held: i64,
}

/// Why pieces did not move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Short {
    /// So many were to go.
    pub wanted: i64,
    /// So many could have.
    pub available: i64,
}

/// A movement.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "columns, described in the migration")]
pub struct Movement {
    pub movement_no: i64,
    pub kind: String,
    pub on_hand: i64,
    pub held: i64,
    pub order_id: Option<Uuid>,
    pub reason: String,
    pub created_at: OffsetDateTime,
}

/// Counts pieces in or out; what is short where too little is there.
pub async fn adjust(
    conn: &mut PgConnection,
    caller: &Caller,
    product: ProductId,
    quantity: i64,
    reason: &str,
    now: OffsetDateTime,
) -> Result<Option<Short>> {
    sqlx::query_as!(
        Short,
        r#"select wanted as "wanted!", available as "available!" from adjust_stock($1, $2, $3, $4, $5, $6)"#,
        caller.merchant.0,
        product.0,
        quantity,
        reason,
        caller.who.id(),
        now,
    )
    .fetch_optional(conn)
    .await
}

/// What is there of a product; nothing of one that never had any.
pub async fn count(
    conn: &mut PgConnection,
    merchant: MerchantId,
    product: ProductId,
) -> Result<Count> {
    let row = sqlx::query_as!(
        Count,
        "select on_hand, held from stock where merchant_id = $1 and product_id = $2",
        merchant.0,
        product.0,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.unwrap_or_default())
}

/// A page of movements before or after an edge.
macro_rules! page {
    ($db:expr, $merchant:expr, $product:expr, $edge:expr, $rows:expr, $beyond:literal, $order:literal) => {
        sqlx::query_as!(
            Movement,
            "select movement_no, kind, on_hand, held, order_id, reason, created_at
             from stock_movement
             where merchant_id = $1 and product_id = $2 and movement_no "
                + $beyond
                + " $3 order by movement_no "
                + $order
                + " limit $4",
            $merchant.0,
            $product.0,
            $edge,
            $rows,
        )
        .fetch_all($db)
        .await
    };
}

/// A page of a product's movements and one more, from the edge that is asked for: the newest first, or of
/// an `ending_before` the oldest first.
pub async fn movements(
    conn: &mut PgConnection,
    merchant: MerchantId,
    product: ProductId,
    paging: &Paging<i64>,
) -> Result<Vec<Movement>> {
    let rows = paging.limit + 1;
    match paging.ending_before {
        Some(edge) => page!(conn, merchant, product, edge, rows, ">", "asc"),
        None => {
            let edge = paging.starting_after.unwrap_or(i64::MAX);
            page!(conn, merchant, product, edge, rows, "<", "desc")
        }
    }
}
