//! Orders and what became of them, as callers see them.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use sqlx::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::clock::rfc3339_ms;
use crate::http::auth::{Caller, Role};
use crate::http::problem::Problem;
use crate::ids::{AccountId, IntentId, MerchantId, ProductId, PurchaseId, SaleId};
use crate::sales;
use crate::sales::answer::MoneyAnswer;
use crate::sales::stored::StoredSale;
use crate::shop::shipping::Shipping;
use crate::shop::store::orders::{self as store, Item, Order};
use crate::shop::{Shop, money};

/// An order. What was ordered never changes; its state does.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Order)]
pub struct OrderView {
    /// Its id, which is also the order id of its sale.
    #[schema(value_type = String, example = "ord_01hf7yat00e8t8n6hpj7w9m4qk")]
    pub id: PurchaseId,
    /// `PENDING`, `PAID` or `CANCELLED`.
    #[schema(example = "PENDING")]
    pub state: String,
    /// Why it is cancelled, or is about to be: `expired`, `customer`, `merchant`, `payment_canceled` or
    /// `out_of_stock`.
    pub ending: Option<String>,
    /// Who ordered.
    #[schema(value_type = String)]
    pub customer_id: AccountId,
    /// The customer's account address on its sale.
    pub customer_address: Option<String>,
    /// What was ordered.
    pub items: Vec<OrderItemView>,
    /// Of all items, without tax that comes on top.
    pub subtotal: MoneyAnswer,
    /// All tax, in the prices and on top.
    pub tax: MoneyAnswer,
    /// What was taken off.
    pub discount: MoneyAnswer,
    /// What is to be paid, or was.
    pub total: MoneyAnswer,
    /// What was given back, or is about to be.
    pub refunded: MoneyAnswer,
    /// What was said of it at checkout.
    pub metadata: BTreeMap<String, String>,
    /// Where its pieces are to be sent; not to auditors.
    pub shipping: Option<Shipping>,
    /// How it is paid.
    pub payment_intent: OrderIntentView,
    /// The sale that it became, once it is PAID.
    #[schema(value_type = Option<String>)]
    pub sale_id: Option<SaleId>,
    /// Where that sale's receipt is; whoever has this address may read it.
    pub receipt_url: Option<String>,
    /// When it was made.
    pub created_at: String,
    /// Until when it holds its pieces while it is PENDING.
    pub expires_at: String,
    /// When its payment was known of.
    pub paid_at: Option<String>,
    /// When it was cancelled.
    pub cancelled_at: Option<String>,
    /// Why somebody of the shop has to look at it; to staff alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parked: Option<String>,
}

/// What was ordered of a product.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OrderItem)]
pub struct OrderItemView {
    /// The product.
    #[schema(value_type = String)]
    pub product_id: ProductId,
    /// Its number.
    pub sku: String,
    /// Its name.
    pub name: String,
    /// Pieces.
    pub quantity: i64,
    /// Of one piece.
    pub unit_price: MoneyAnswer,
    /// Tax on all of them.
    pub tax: MoneyAnswer,
    /// Whether the price holds the tax.
    pub tax_included: bool,
    /// Of all of them, with tax.
    pub total: MoneyAnswer,
    /// Pieces that money was given back for, or is about to be.
    pub refunded: i64,
}

/// An order's payment intent.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OrderIntent)]
pub struct OrderIntentView {
    /// Its id: see `/v1/payment_intents`.
    #[schema(value_type = String, example = "pi_01hf7yat00e8t8n6hpj7w9m4qk")]
    pub id: IntentId,
    /// `requires_payment_method`, `requires_confirmation`, `requires_action`, `processing`,
    /// `requires_capture`, `canceled` or `succeeded`.
    pub status: String,
}

/// An order as `caller` may see it.
pub(in crate::shop) async fn view(
    db: &mut PgConnection,
    shop: &Shop,
    caller: &Caller,
    order: Order,
) -> Result<OrderView, Problem> {
    let views = views(db, shop, caller, vec![order]).await?;
    views.into_iter().next().ok_or_else(super::missing)
}

/// Orders as `caller` may see them, in the order given: as many queries for a page as for one.
pub(in crate::shop) async fn views(
    db: &mut PgConnection,
    shop: &Shop,
    caller: &Caller,
    orders: Vec<Order>,
) -> Result<Vec<OrderView>, Problem> {
    let ids: Vec<Uuid> = orders.iter().map(|order| order.order_id).collect();
    let mut items: HashMap<Uuid, Vec<Item>> = HashMap::new();
    for item in store::items(db, caller.merchant, &ids).await? {
        items.entry(item.order_id).or_default().push(item);
    }
    let recorded = orders.iter().filter(|order| order.recorded);
    let recorded = recorded.map(|order| PurchaseId(order.order_id).to_string());
    let mut sold = Sold::find(db, caller.merchant, &recorded.collect::<Vec<_>>()).await?;
    let views = orders.into_iter().map(|order| {
        let items = items.remove(&order.order_id).unwrap_or_default();
        let sold = sold.remove(&PurchaseId(order.order_id).to_string());
        of(shop, caller, order, items, sold)
    });
    Ok(views.collect())
}

fn of(
    shop: &Shop,
    caller: &Caller,
    order: Order,
    items: Vec<Item>,
    sold: Option<Sold>,
) -> OrderView {
    let amount = |minor| money(minor, &order.currency);
    OrderView {
        id: PurchaseId(order.order_id),
        items: items
            .into_iter()
            .map(|row| item(row, &order.currency))
            .collect(),
        subtotal: amount(order.subtotal_minor),
        tax: amount(order.tax_minor),
        discount: amount(order.discount_minor),
        total: amount(order.total_minor),
        refunded: amount(order.refunded_minor),
        state: order.state,
        ending: order.ending,
        customer_id: AccountId(order.account_id),
        customer_address: order
            .customer
            .as_deref()
            .map(counterfoil_proofs::hex::encode),
        metadata: order.metadata.0,
        shipping: order
            .shipping
            .filter(|_| caller.role != Role::Auditor)
            .map(|shipping| shipping.0),
        payment_intent: OrderIntentView {
            id: IntentId(order.intent_id),
            status: order.intent_state,
        },
        sale_id: sold.as_ref().map(|sold| sold.id),
        receipt_url: sold.and_then(|sold| sold.receipt_url(shop)),
        created_at: rfc3339_ms(order.created_at),
        expires_at: rfc3339_ms(order.expires_at),
        paid_at: order.paid_at.map(rfc3339_ms),
        cancelled_at: order.cancelled_at.map(rfc3339_ms),
        parked: order.parked.filter(|_| caller.role != Role::Customer),
    }
}

/// What of an order or a refund is in the record of sales.
pub(in crate::shop) struct Sold {
    /// Its id there.
    pub(in crate::shop) id: SaleId,
    sale: Option<StoredSale>,
}

impl Sold {
    /// The sales with these order ids, by them.
    pub(in crate::shop) async fn find(
        db: &mut PgConnection,
        merchant: MerchantId,
        order_ids: &[String],
    ) -> Result<HashMap<String, Self>, sqlx::Error> {
        if order_ids.is_empty() {
            return Ok(HashMap::new());
        }
        let ids = sales::store::ids_of_orders(db, merchant, order_ids).await?;
        let sale_ids: Vec<Uuid> = ids.iter().map(|(_, id)| *id).collect();
        // the row of one may be in an archive
        let rows = sales::store::by_ids(db, merchant, &sale_ids).await?;
        let mut rows: HashMap<Uuid, StoredSale> =
            rows.into_iter().map(|row| (row.sale_id, row)).collect();
        let sold = ids.into_iter().map(|(order_id, id)| {
            let sale = rows.remove(&id);
            (
                order_id,
                Self {
                    id: SaleId(id),
                    sale,
                },
            )
        });
        Ok(sold.collect())
    }

    /// Where its receipt is; none of one that is archived.
    fn receipt_url(&self, shop: &Shop) -> Option<String> {
        let sale = self.sale.as_ref()?;
        Some(sales::answer::receipt_url(sale, &shop.site.public_url))
    }
}

fn item(row: Item, currency: &str) -> OrderItemView {
    OrderItemView {
        product_id: ProductId(row.product_id),
        sku: row.sku,
        name: row.name,
        quantity: row.quantity,
        unit_price: money(row.price_minor, currency),
        tax: money(row.tax_minor, currency),
        tax_included: row.tax_included,
        total: money(row.total_minor, currency),
        refunded: row.refunded,
    }
}
