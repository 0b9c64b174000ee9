//! `/v1/cart`: what a customer is about to order. Its prices are those that the customer saw; what has
//! changed since, or is not there, stands in `problems`.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::products::missing;
use super::store::carts::{self as store, CartProblem, ItemPut, Line, Put};
use super::{Shop, money};
use crate::clock::rfc3339_ms;
use crate::http::auth::{Authenticated, Caller};
use crate::http::body::JsonBytes;
use crate::http::codes;
use crate::http::object::{self, Field, Quantity, Read, Shape};
use crate::http::paging::Params;
use crate::http::problem::{Fault, Problem, ProblemDocument};
use crate::ids::{AccountId, CartId, ProductId};
use crate::limits;
use crate::sales::answer::MoneyAnswer;

/// How many pieces are wanted.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CartPieces, example = json!({"quantity": 2}))]
pub struct PiecesRequest {
    /// 1 to 10,000.
    #[schema(value_type = i64)]
    pub quantity: Quantity,
}

static PIECES: &[Field] = &[Field::required("quantity", Shape::Quantity)];

/// A cart.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Cart)]
pub struct CartView {
    /// Its id; null while nothing was put into it.
    #[schema(value_type = Option<String>)]
    pub id: Option<CartId>,
    /// What is in it, in the order in which it was put there.
    pub items: Vec<CartItemView>,
    /// Of all items, without tax that comes on top; null while it is empty.
    pub subtotal: Option<MoneyAnswer>,
    /// All tax, in the prices and on top.
    pub tax: Option<MoneyAnswer>,
    /// What would have to be paid.
    pub total: Option<MoneyAnswer>,
    /// What is in the way of ordering it.
    pub problems: Vec<ProblemView>,
}

/// An item of a cart.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CartItem)]
pub struct CartItemView {
    /// The product.
    #[schema(value_type = String)]
    pub product_id: ProductId,
    /// Its number.
    pub sku: String,
    /// Its name.
    pub name: String,
    /// Pieces.
    pub quantity: i64,
    /// Of one piece, when it was put in.
    pub unit_price: MoneyAnswer,
    /// Of all pieces.
    pub total: MoneyAnswer,
    /// When it was put in.
    pub put_at: String,
}

/// What is in the way of an order.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = CartProblem)]
pub struct ProblemView {
    /// `price_changed`, `tax_changed`, `insufficient_stock` or `product_inactive`.
    pub code: String,
    /// The product.
    #[schema(value_type = String)]
    pub product_id: ProductId,
    /// The price that was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<MoneyAnswer>,
    /// The price now: put the product into the cart again to take it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<MoneyAnswer>,
    /// Pieces in the cart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wanted: Option<i64>,
    /// Pieces that can be ordered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub available: Option<i64>,
}

impl From<CartProblem> for ProblemView {
    fn from(row: CartProblem) -> Self {
        let price = |minor: Option<i64>, currency: Option<String>| Some(money(minor?, &currency?));
        Self {
            code: row.code,
            product_id: ProductId(row.product_id),
            old: price(row.old_minor, row.old_currency),
            new: price(row.new_minor, row.new_currency),
            wanted: row.wanted,
            available: row.available,
        }
    }
}

/// Read your cart
#[utoipa::path(
    get, path = "/v1/cart", tag = "Cart", security(("token" = [])),
    responses(
        (status = 200, body = CartView),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn read_cart(
    State(shop): State<Shop>,
    Authenticated(caller): Authenticated,
    params: Params,
) -> Result<Json<CartView>, Problem> {
    params.finish()?;
    let account = caller.customer()?;
    let mut db = shop.pool.acquire().await?;
    Ok(Json(view(&mut db, &caller, account).await?))
}

/// Put a product into your cart
///
/// So many pieces, whatever number was there before, at the product's price now.
#[utoipa::path(
    put, path = "/v1/cart/items/{product_id}", tag = "Cart", request_body = PiecesRequest, security(("token" = [])),
    params(("product_id" = String, Path)),
    responses(
        (status = 200, body = CartView),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 413, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 415, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn put_item(
    State(shop): State<Shop>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Problem> {
    let account = caller.customer()?;
    let product: ProductId = id.parse().map_err(|_| missing())?;
    let pieces = judge(object::read(&bytes, PIECES)?)?;
    shop.check_sound()?;
    let (clock, entropy) = (&shop.site.clock, &shop.site.entropy);
    let put = Put {
        cart: CartId::new(clock, entropy),
        product,
        pieces,
    };
    let mut db = shop.pool.acquire().await?;
    let outcome = store::put(&mut db, caller.merchant, account, &put, clock.now()).await?;
    match outcome {
        ItemPut::Put => Ok(Json(view(&mut db, &caller, account).await?).into_response()),
        ItemPut::CurrencyDiffers => Err(Problem::new(
            &codes::CART_CURRENCY,
            "the cart holds products in another currency; order those first, or empty it",
        )),
        ItemPut::TooMany => {
            let detail = format!("at most {} products", limits::CART_PRODUCTS);
            Err(Problem::new(&codes::CART_FULL, detail))
        }
        ItemPut::ProductUnknown => Err(missing()),
    }
}

/// Take a product out of your cart
#[utoipa::path(
    delete, path = "/v1/cart/items/{product_id}", tag = "Cart", security(("token" = [])),
    params(("product_id" = String, Path)),
    responses(
        (status = 200, body = CartView, description = "The cart without it, whether it was in it or not"),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn take_item(
    State(shop): State<Shop>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
    params: Params,
) -> Result<Json<CartView>, Problem> {
    params.finish()?;
    caller.customer()?;
    let product: ProductId = id.parse().map_err(|_| missing())?;
    take(&shop, &caller, Some(product)).await
}

/// Empty your cart
#[utoipa::path(
    delete, path = "/v1/cart", tag = "Cart", security(("token" = [])),
    responses(
        (status = 200, body = CartView),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn empty_cart(
    State(shop): State<Shop>,
    Authenticated(caller): Authenticated,
    params: Params,
) -> Result<Json<CartView>, Problem> {
    params.finish()?;
    take(&shop, &caller, None).await
}

async fn take(
    shop: &Shop,
    caller: &Caller,
    product: Option<ProductId>,
) -> Result<Json<CartView>, Problem> {
    let account = caller.customer()?;
    shop.check_sound()?;
    let mut db = shop.pool.acquire().await?;
    let now = shop.site.clock.now();
    store::take(&mut db, caller.merchant, account, product, now).await?;
    Ok(Json(view(&mut db, caller, account).await?))
}

fn judge(mut read: Read<PiecesRequest>) -> Result<i64, Problem> {
    let pieces = read.body.quantity.0.parse::<i64>().ok();
    let pieces = pieces.filter(|pieces| (1..=limits::CART_PIECES).contains(pieces));
    if pieces.is_none() {
        let detail = format!("a whole number from 1 to {}", limits::CART_PIECES);
        read.add(Fault::new("/quantity", &codes::QUANTITY_INVALID, detail));
    }
    match pieces {
        Some(pieces) if read.faults.is_empty() => Ok(pieces),
        _ => Err(Problem::of_faults(read.faults)),
    }
}

async fn view(
    db: &mut PgConnection,
    caller: &Caller,
    account: AccountId,
) -> Result<CartView, Problem> {
    let lines = store::lines(db, caller.merchant, account).await?;
    let Some(id) = lines.first().map(|line| CartId(line.cart_id)) else {
        return Ok(CartView {
            id: None,
            items: Vec::new(),
            subtotal: None,
            tax: None,
            total: None,
            problems: Vec::new(),
        });
    };
    let problems = store::problems(db, caller.merchant, account).await?;
    let currency = lines[0].currency.clone();
    let sum = |part: fn(&Line) -> i64| Some(money(lines.iter().map(part).sum(), &currency));
    Ok(CartView {
        id: Some(id),
        subtotal: sum(|line| line.line_minor),
        tax: sum(|line| line.tax_minor),
        total: sum(|line| line.total_minor),
        problems: problems.into_iter().map(ProblemView::from).collect(),
        items: lines.into_iter().map(item).collect(),
    })
}

fn item(line: Line) -> CartItemView {
    CartItemView {
        product_id: ProductId(line.product_id),
        sku: line.sku,
        name: line.name,
        quantity: line.quantity,
        unit_price: money(line.price_minor, &line.currency),
        total: money(line.total_minor, &line.currency),
        put_at: rfc3339_ms(line.put_at),
    }
}
