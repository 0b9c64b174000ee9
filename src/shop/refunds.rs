//! `/v1/orders/{order_id}/refunds`: what was paid is given back, whole or in part. The provider is asked
//! after the refund is reserved; once it has given the money back, the pieces return, and the refund is
//! recorded beside the sale.

mod view;

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::orders::{missing, owner};
use super::store::orders as order_store;
use super::store::refunds::{self as store, Begin, Begun};
use super::{Shop, intents, money, upkeep};
use crate::http::auth::{Action, Authenticated, Caller};
use crate::http::body::JsonBytes;
use crate::http::codes;
use crate::http::commands::{self, Command, Kept};
use crate::http::idempotency::IdempotencyKey;
use crate::http::object::{self, Field, Object, Quantity, Read, Shape};
use crate::http::paging::{Page, Paging, Params};
use crate::http::problem::{Fault, Problem, ProblemDocument};
use crate::ids::{ProductId, PurchaseId, RefundId};
use crate::limits;
use crate::money::{Currency, parse_minor};
use crate::sales::request::{MONEY, Money};

pub use self::view::RefundView;
use self::view::{view, views};

/// What is to be given back. With neither amount nor items: all that is left.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RefundRequest, example = json!({"reason": "arrived broken"}))]
pub struct RefundRequest {
    /// So much; where items are named too, this instead of what they come to.
    #[schema(value_type = Option<Money>)]
    pub amount: Option<Object<Money>>,
    /// Pieces that come back.
    #[schema(value_type = Option<Vec<RefundItem>>)]
    pub items: Option<Vec<Object<RefundItem>>>,
    /// Whether the pieces go back into the stock; true unless given.
    pub restock: Option<bool>,
    /// Why, at most 200 characters.
    pub reason: Option<String>,
}

/// Pieces of a product.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RefundItem {
    /// The product.
    pub product_id: String,
    /// Pieces.
    #[schema(value_type = i64)]
    pub quantity: Quantity,
}

static ITEM: &[Field] = &[
    Field::required("product_id", Shape::Text),
    Field::required("quantity", Shape::Quantity),
];

static REFUND: &[Field] = &[
    Field::optional("amount", Shape::Money(MONEY)),
    Field::optional("items", Shape::List(ITEM)),
    Field::optional("restock", Shape::Flag),
    Field::optional("reason", Shape::Text),
];

/// Refund an order, whole or in part
///
/// It is `pending` until the payment provider has given the money back, which takes a moment as a rule: read
/// it again, or be told by a webhook.
#[utoipa::path(
    post, path = "/v1/orders/{order_id}/refunds", tag = "Orders", request_body = RefundRequest,
    security(("key" = []), ("token" = [])),
    params(("order_id" = String, Path), ("Idempotency-Key" = String, Header)),
    responses(
        (status = 201, body = RefundView, headers(("Location" = String), ("Idempotent-Replayed" = String))),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 413, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 415, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn refund_order(
    State(shop): State<Shop>,
    Authenticated(caller): Authenticated,
    key: IdempotencyKey,
    Path(id): Path<String>,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Problem> {
    caller.require(Action::ManageOrders)?;
    let order: PurchaseId = id.parse().map_err(|_| missing())?;
    let wanted = judge(object::read(&bytes, REFUND)?)?;
    shop.payments()?;
    shop.check_sound()?;
    let command = Command::new(&caller, &key, "refund/1", &(order, &wanted));
    let now = shop.site.clock.now();
    let refund = RefundId::new(&shop.site.clock, &shop.site.entropy);
    let mut is_begun = false;
    let answer = commands::once(&shop.pool, &command, now, async |db| {
        let view = begin(db, &caller, (order, refund), &wanted, now).await?;
        is_begun = true;
        let location = format!("/v1/orders/{order}/refunds/{refund}");
        Ok(Kept::created(location, &view))
    })
    .await?;
    if is_begun {
        let merchant = caller.merchant;
        // what it does not come to here, upkeep does
        tokio::spawn(async move { upkeep::refund_now(&shop, merchant, refund).await });
    }
    Ok(answer)
}

/// Reserves the refund.
async fn begin(
    db: &mut PgConnection,
    caller: &Caller,
    (order, refund): (PurchaseId, RefundId),
    wanted: &Wanted,
    now: OffsetDateTime,
) -> Result<RefundView, Problem> {
    let begin = Begin {
        refund,
        order,
        amount: wanted.amount.as_ref().map(|(minor, _)| *minor),
        currency: wanted.amount.as_ref().map(|(_, currency)| *currency),
        pieces: wanted.pieces.as_deref(),
        restock: wanted.restock,
        reason: &wanted.reason,
    };
    let outcome = store::begin(db, caller, &begin, now).await?;
    if outcome != Begun::Refunding {
        return Err(refused(db, caller, order, wanted, outcome).await?);
    }
    let row = store::find(db, caller.merchant, refund).await?;
    let row = row.ok_or_else(missing)?;
    // shares of pieces may be finer than the provider counts
    intents::amount(row.amount_minor, &row.currency)
        .and_then(|amount| Ok(amount.for_provider()?))
        .map_err(intents::refused)?;
    view(db, caller, row).await
}

/// List an order's refunds, newest first
#[utoipa::path(
    get, path = "/v1/orders/{order_id}/refunds", tag = "Orders", security(("token" = []), ("key" = [])),
    params(
        ("order_id" = String, Path),
        ("limit" = Option<i64>, Query, description = "25 unless given", minimum = 1, maximum = 100),
        ("starting_after" = Option<String>, Query, description = "`next_cursor` of the page before"),
        ("ending_before" = Option<String>, Query, description = "the page that ends before this refund"),
    ),
    responses(
        (status = 200, body = Page<RefundView>),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn list_refunds(
    State(shop): State<Shop>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
    mut params: Params,
) -> Result<Json<Page<RefundView>>, Problem> {
    let paging = Paging::take(&mut params, |text| text.parse::<RefundId>().ok())?;
    params.finish()?;
    let account = owner(&caller, Action::ReadNamed)?;
    let order: PurchaseId = id.parse().map_err(|_| missing())?;
    let mut db = shop.pool.acquire().await?;
    order_store::find(&mut db, caller.merchant, order, account)
        .await?
        .ok_or_else(missing)?;
    let rows = store::list(&mut db, caller.merchant, order, &paging).await?;
    let views = views(&mut db, &caller, rows).await?;
    Ok(Json(
        paging.page(views, |row: &RefundView| row.id.to_string()),
    ))
}

/// Read a refund
#[utoipa::path(
    get, path = "/v1/orders/{order_id}/refunds/{refund_id}", tag = "Orders", security(("token" = []), ("key" = [])),
    params(("order_id" = String, Path), ("refund_id" = String, Path)),
    responses(
        (status = 200, body = RefundView),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn read_refund(
    State(shop): State<Shop>,
    Authenticated(caller): Authenticated,
    Path((order, refund)): Path<(String, String)>,
    params: Params,
) -> Result<Json<RefundView>, Problem> {
    params.finish()?;
    let account = owner(&caller, Action::ReadNamed)?;
    let order: PurchaseId = order.parse().map_err(|_| missing())?;
    let refund: RefundId = refund.parse().map_err(|_| missing())?;
    let mut db = shop.pool.acquire().await?;
    let row = store::find(&mut db, caller.merchant, refund).await?;
    let row = row.filter(|row| {
        row.order_id == order.0 && account.is_none_or(|account| row.account_id == account.0)
    });
    Ok(Json(
        view(&mut db, &caller, row.ok_or_else(missing)?).await?,
    ))
}

/// A request that makes sense.
#[derive(Serialize)]
struct Wanted {
    amount: Option<(i64, &'static str)>,
    pieces: Option<Vec<(ProductId, i64)>>,
    restock: bool,
    reason: String,
}

fn judge(mut read: Read<RefundRequest>) -> Result<Wanted, Problem> {
    let RefundRequest {
        amount,
        items,
        restock,
        reason,
    } = read.body.clone();
    let amount = amount.and_then(
        |Object(amount)| match Currency::from_code(&amount.currency) {
            None => {
                let detail = "three letters of ISO 4217";
                read.add(Fault::new(
                    "/amount/currency",
                    &codes::CURRENCY_UNKNOWN,
                    detail,
                ));
                None
            }
            Some(currency) => match parse_minor(&amount.value, currency) {
                Ok(minor) => Some((minor, currency.code())),
                Err(error) => {
                    read.add(Fault::of_amount("/amount/value", error));
                    None
                }
            },
        },
    );
    let pieces = items.map(|items| judge_items(&mut read, items));
    let reason = reason.unwrap_or_default();
    if let Some(fault) = Fault::of_text("/reason", &reason, limits::REASON_CHARS) {
        read.add(fault);
    }
    if read.faults.is_empty() {
        Ok(Wanted {
            amount,
            pieces,
            restock: restock.unwrap_or(true),
            reason,
        })
    } else {
        Err(Problem::of_faults(read.faults))
    }
}

fn judge_items(
    read: &mut Read<RefundRequest>,
    items: Vec<Object<RefundItem>>,
) -> Vec<(ProductId, i64)> {
    let mut pieces = BTreeMap::new();
    if items.is_empty() {
        let detail = "name a product, or leave items out to give all of them back";
        read.add(Fault::new("/items", &codes::PIECES_INVALID, detail));
    }
    for (index, Object(item)) in items.into_iter().enumerate() {
        let quantity = item.quantity.0.parse::<i64>().ok();
        let quantity = quantity.filter(|n| (1..=limits::CART_PIECES).contains(n));
        if quantity.is_none() {
            let at = format!("/items/{index}/quantity");
            let detail = format!("a whole number from 1 to {}", limits::CART_PIECES);
            read.add(Fault::new(at, &codes::QUANTITY_INVALID, detail));
        }
        let at = format!("/items/{index}/product_id");
        match item.product_id.parse::<ProductId>() {
            Err(_) => {
                let detail = "a product's id";
                read.add(Fault::new(at, &codes::PIECES_INVALID, detail));
            }
            Ok(id) => {
                if pieces.insert(id, quantity.unwrap_or(1)).is_some() {
                    let detail = "the product stands twice";
                    read.add(Fault::new(at, &codes::PIECES_INVALID, detail));
                }
            }
        }
    }
    pieces.into_iter().collect()
}

/// Why nothing is given back.
async fn refused(
    db: &mut PgConnection,
    caller: &Caller,
    order: PurchaseId,
    wanted: &Wanted,
    outcome: Begun,
) -> Result<Problem, Problem> {
    Ok(match outcome {
        Begun::Refunding | Begun::Unknown => missing(),
        Begun::NotPaid => Problem::new(&codes::ORDER_NOT_PAID, "cancel it instead"),
        Begun::Parked => Problem::new(&codes::ORDER_PARKED, "read the order to see why"),
        Begun::Nothing => Problem::new(&codes::NOTHING_TO_REFUND, "nothing is left to give back"),
        Begun::Currency => {
            Problem::new(&codes::REFUND_CURRENCY, "the order is in another currency")
        }
        Begun::Exceeds => exceeds(db, caller, order).await?,
        Begun::Pieces => too_many(db, caller, order, wanted).await?,
    })
}

/// What a refund of more than is left is answered with.
async fn exceeds(
    db: &mut PgConnection,
    caller: &Caller,
    order: PurchaseId,
) -> Result<Problem, Problem> {
    let order = order_store::find(db, caller.merchant, order, None).await?;
    let order = order.ok_or_else(missing)?;
    let left = money(order.total_minor - order.refunded_minor, &order.currency);
    let detail = format!("{} {} is left of the order", left.value, left.currency);
    Ok(Problem::new(&codes::REFUND_EXCEEDS, detail).with("left", left.value))
}

/// What a refund of pieces that are not the order's, or not any more, is answered with: the first of them is named.
async fn too_many(
    db: &mut PgConnection,
    caller: &Caller,
    order: PurchaseId,
    wanted: &Wanted,
) -> Result<Problem, Problem> {
    let items = order_store::items(db, caller.merchant, &[order.0]).await?;
    let left = |product: ProductId| {
        let item = items.iter().find(|item| item.product_id == product.0);
        item.map(|item| item.quantity - item.refunded)
    };
    let pieces = wanted.pieces.iter().flatten();
    let wrong = pieces
        .map(|(product, count)| (product, count, left(*product)))
        .find(|(_, count, left)| left.is_none_or(|left| left < **count));
    let detail = match wrong {
        Some((product, count, Some(left))) => {
            format!("{left} of {product} can still be given back, not {count}")
        }
        Some((product, _, None)) => format!("{product} is not in this order"),
        None => "more pieces than are left of a product".to_owned(),
    };
    Ok(Problem::new(&codes::PIECES_INVALID, detail))
}
