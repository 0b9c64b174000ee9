//! Refunds, as callers see them.

use std::collections::HashMap;

use serde::Serialize;
use sqlx::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::clock::rfc3339_ms;
use crate::http::auth::{Caller, Role};
use crate::http::problem::Problem;
use crate::ids::{ProductId, PurchaseId, RefundId, SaleId};
use crate::sales::answer::MoneyAnswer;
use crate::shop::money;
use crate::shop::orders::{self, Sold};
use crate::shop::store::refunds::{self as store, Refund};

/// A refund of an order.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Refund)]
pub struct RefundView {
    /// Its id, which is also the order id of the refund in the record of sales.
    #[schema(value_type = String, example = "re_01hf7yat00e8t8n6hpj7w9m4qk")]
    pub id: RefundId,
    /// Of which order.
    #[schema(value_type = String)]
    pub order_id: PurchaseId,
    /// `pending`, `succeeded` or `failed`.
    #[schema(example = "pending")]
    pub status: String,
    /// How much.
    pub amount: MoneyAnswer,
    /// `requested`; `out_of_stock` or `order_cancelled`: the payment came too late, and goes back by itself.
    pub cause: String,
    /// Why.
    pub reason: String,
    /// Pieces that it is for.
    pub items: Vec<RefundPieces>,
    /// Whether they go back into the stock.
    pub restock: bool,
    /// The refund in the record of sales.
    #[schema(value_type = Option<String>)]
    pub sale_id: Option<SaleId>,
    /// Why it failed, or has to be asked for again; to staff alone.
    pub last_error: Option<String>,
    /// When it was asked for.
    pub created_at: String,
    /// When it succeeded or failed.
    pub settled_at: Option<String>,
    /// Why somebody of the shop has to look at it; to staff alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parked: Option<String>,
}

/// Pieces of a refund.
#[derive(Debug, Serialize, ToSchema)]
pub struct RefundPieces {
    /// The product.
    #[schema(value_type = String)]
    pub product_id: ProductId,
    /// Pieces.
    pub quantity: i64,
}

/// A refund as `caller` may see it.
pub(super) async fn view(
    db: &mut PgConnection,
    caller: &Caller,
    row: Refund,
) -> Result<RefundView, Problem> {
    let views = views(db, caller, vec![row]).await?;
    views.into_iter().next().ok_or_else(orders::missing)
}

/// Refunds as `caller` may see them, in the order given: as many queries for a page as for one.
pub(super) async fn views(
    db: &mut PgConnection,
    caller: &Caller,
    rows: Vec<Refund>,
) -> Result<Vec<RefundView>, Problem> {
    let ids: Vec<Uuid> = rows.iter().map(|row| row.refund_id).collect();
    let mut items: HashMap<Uuid, Vec<RefundPieces>> = HashMap::new();
    for (refund, product_id, quantity) in store::pieces(db, caller.merchant, &ids).await? {
        let pieces = RefundPieces {
            product_id,
            quantity,
        };
        items.entry(refund).or_default().push(pieces);
    }
    let recorded = rows.iter().filter(|row| row.recorded);
    let recorded = recorded.map(|row| RefundId(row.refund_id).to_string());
    let sold = Sold::find(db, caller.merchant, &recorded.collect::<Vec<_>>()).await?;
    let is_staff = caller.role != Role::Customer;
    let views = rows.into_iter().map(|row| RefundView {
        id: RefundId(row.refund_id),
        order_id: PurchaseId(row.order_id),
        amount: money(row.amount_minor, &row.currency),
        status: row.state,
        cause: row.cause,
        reason: row.reason,
        items: items.remove(&row.refund_id).unwrap_or_default(),
        restock: row.restock,
        sale_id: sold
            .get(&RefundId(row.refund_id).to_string())
            .map(|sold| sold.id),
        last_error: row.last_error.filter(|_| is_staff),
        created_at: rfc3339_ms(row.created_at),
        settled_at: row.settled_at.map(rfc3339_ms),
        parked: row.parked.filter(|_| is_staff),
    });
    Ok(views.collect())
}
