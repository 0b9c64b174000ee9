//! `/v1/orders`: what was ordered, for the customer who did and for the shop.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::store::orders::{self as store, Item, Order, Wanted};
use super::{Shop, money, points, upkeep};
use crate::clock::rfc3339_ms;
use crate::database;
use crate::http::auth::{Action, Authenticated, Caller, Role};
use crate::http::codes;
use crate::http::commands::{self, Command, Kept};
use crate::http::idempotency::IdempotencyKey;
use crate::http::paging::{Page, Paging, Params};
use crate::http::problem::{Problem, ProblemDocument};
use crate::ids::{AccountId, IntentId, MerchantId, ProductId, PurchaseId, SaleId};
use crate::sales;
use crate::sales::answer::MoneyAnswer;
use crate::sales::stored::StoredSale;

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

/// List orders, newest first
///
/// A customer's own; for those who may list, all of the shop's.
#[utoipa::path(
    get, path = "/v1/orders", tag = "Orders", security(("token" = []), ("key" = [])),
    params(
        ("state" = Option<String>, Query, description = "`PENDING`, `PAID` or `CANCELLED`"),
        ("customer" = Option<String>, Query, description = "for staff: those of one account"),
        ("limit" = Option<i64>, Query, description = "25 unless given", minimum = 1, maximum = 100),
        ("starting_after" = Option<String>, Query, description = "`next_cursor` of the page before"),
        ("ending_before" = Option<String>, Query, description = "the page that ends before this order"),
    ),
    responses(
        (status = 200, body = Page<OrderView>),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn list_orders(
    State(shop): State<Shop>,
    Authenticated(caller): Authenticated,
    mut params: Params,
) -> Result<Json<Page<OrderView>>, Problem> {
    let states = ["PENDING", "PAID", "CANCELLED"];
    let state = params.take_as("state", "PENDING, PAID or CANCELLED", |text| {
        states.contains(&text).then(|| text.to_owned())
    })?;
    let account = params.take_as("customer", "an account's id", |text| text.parse().ok())?;
    let paging = Paging::take(&mut params, |text| text.parse::<PurchaseId>().ok())?;
    params.finish()?;
    let account = match owner(&caller, Action::ReadAll)? {
        Some(own) if account.is_none_or(|account| account == own) => Some(own),
        Some(_) => {
            let detail = "customer is for staff: your own orders are listed without it";
            return Err(Problem::new(&codes::INVALID_PARAMETER, detail));
        }
        None => account,
    };
    let wanted = Wanted {
        merchant: caller.merchant,
        account,
        state,
    };
    let mut db = shop.pool.acquire().await?;
    let mut views = Vec::new();
    for order in store::list(&mut db, &wanted, &paging).await? {
        views.push(view(&mut db, &shop, &caller, order).await?);
    }
    Ok(Json(
        paging.page(views, |order: &OrderView| order.id.to_string()),
    ))
}

/// Read an order
#[utoipa::path(
    get, path = "/v1/orders/{order_id}", tag = "Orders", security(("token" = []), ("key" = [])),
    params(("order_id" = String, Path)),
    responses(
        (status = 200, body = OrderView),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn read_order(
    State(shop): State<Shop>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
    params: Params,
) -> Result<Json<OrderView>, Problem> {
    params.finish()?;
    let account = owner(&caller, Action::ReadNamed)?;
    let id = id.parse().map_err(|_| missing())?;
    let mut db = shop.pool.acquire().await?;
    let order = store::find(&mut db, caller.merchant, id, account).await?;
    Ok(Json(
        view(&mut db, &shop, &caller, order.ok_or_else(missing)?).await?,
    ))
}

/// Cancel an order that is not paid
///
/// Its pieces go back to the shop at once. Where the payment provider knows of it already, it stays PENDING,
/// with `ending`, until the provider has canceled its intent; what is paid in between is given back.
#[utoipa::path(
    post, path = "/v1/orders/{order_id}/cancel", tag = "Orders", security(("token" = []), ("key" = [])),
    params(("order_id" = String, Path), ("Idempotency-Key" = String, Header)),
    responses(
        (status = 200, body = OrderView, headers(("Idempotent-Replayed" = String))),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn cancel_order(
    State(shop): State<Shop>,
    Authenticated(caller): Authenticated,
    key: IdempotencyKey,
    Path(id): Path<String>,
    params: Params,
) -> Result<Response, Problem> {
    params.finish()?;
    let account = owner(&caller, Action::ManageOrders)?;
    let id: PurchaseId = id.parse().map_err(|_| missing())?;
    shop.check_sound()?;
    let command = Command::new(&caller, &key, "cancel/1", &id);
    let now = shop.site.clock.now();
    let mut tx = database::begin(&shop.pool).await?;
    if let Some(kept) = commands::claim(&mut tx, &command).await? {
        return Ok(kept.replayed());
    }
    let reason = if account.is_some() {
        "customer"
    } else {
        "merchant"
    };
    let merchant = caller.merchant;
    let ended = store::end(&mut *tx, merchant, id, account, reason, Some(&caller), now).await?;
    match ended.as_str() {
        "unknown" => return Err(missing()),
        "paid" => {
            let detail = "it is paid; ask for a refund instead";
            return Err(Problem::new(&codes::ORDER_PAID, detail));
        }
        _ => {}
    }
    if ended == "cancelled" {
        points::give_back(&mut tx, merchant, id, now).await?;
    }
    let order = store::find(&mut tx, merchant, id, account).await?;
    let intent = order.as_ref().map(|order| IntentId(order.intent_id));
    let answer = Kept::ok(&view(&mut tx, &shop, &caller, order.ok_or_else(missing)?).await?);
    commands::keep(&mut tx, &command, &answer, now).await?;
    tx.commit().await?;
    if let (true, Some(intent)) = (ended == "ending", intent) {
        // what it does not come to here, upkeep does
        tokio::spawn(async move { upkeep::cancel_at_provider(&shop, merchant, intent).await });
    }
    Ok(answer.into_response())
}

/// Whose orders a caller may see or change alone: its own, of a customer; all, of who may do `action`.
pub(super) fn owner(caller: &Caller, action: Action) -> Result<Option<AccountId>, Problem> {
    if caller.role == Role::Customer {
        return caller.customer().map(Some);
    }
    caller.require(action).map(|()| None)
}

pub(super) fn missing() -> Problem {
    let detail = "there is no such order, or it is not yours";
    Problem::new(&codes::NOT_FOUND, detail)
}

/// An order as `caller` may see it.
pub(super) async fn view(
    db: &mut PgConnection,
    shop: &Shop,
    caller: &Caller,
    order: Order,
) -> Result<OrderView, Problem> {
    let id = PurchaseId(order.order_id);
    let items = store::items(db, caller.merchant, id).await?;
    let sold = match order.recorded {
        true => Sold::find(db, caller.merchant, &id.to_string()).await?,
        false => Sold::default(),
    };
    let amount = |minor| money(minor, &order.currency);
    Ok(OrderView {
        id,
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
        payment_intent: OrderIntentView {
            id: IntentId(order.intent_id),
            status: order.intent_state,
        },
        sale_id: sold.id,
        receipt_url: sold.receipt_url(shop),
        created_at: rfc3339_ms(order.created_at),
        expires_at: rfc3339_ms(order.expires_at),
        paid_at: order.paid_at.map(rfc3339_ms),
        cancelled_at: order.cancelled_at.map(rfc3339_ms),
        parked: order.parked.filter(|_| caller.role != Role::Customer),
    })
}

/// What of an order or a refund is in the record of sales.
#[derive(Default)]
pub(super) struct Sold {
    /// Its id there.
    pub(super) id: Option<SaleId>,
    sale: Option<StoredSale>,
}

impl Sold {
    /// The sale with this order id.
    pub(super) async fn find(
        db: &mut PgConnection,
        merchant: MerchantId,
        order_id: &str,
    ) -> Result<Self, sqlx::Error> {
        let Some(id) = sales::store::id_of_order(db, merchant, order_id).await? else {
            return Ok(Self::default());
        };
        // its row may be in an archive
        let sale = sales::store::by_ids(db, merchant, &[id]).await?.pop();
        Ok(Self {
            id: Some(SaleId(id)),
            sale,
        })
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
