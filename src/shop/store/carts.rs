//! Carts.

use sqlx::{PgConnection, Result};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::ids::{AccountId, CartId, MerchantId, ProductId};
use crate::limits;

/// A product to put into a cart.
#[derive(Debug, Clone)]
pub struct Put {
    /// The cart's id, where one is made.
    pub cart: CartId,
    /// The product.
    pub product: ProductId,
    /// Pieces.
    pub pieces: i64,
}

/// An item, at the price that it was put in at.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "columns, described in the migration")]
pub struct Line {
    pub cart_id: Uuid,
    pub product_id: Uuid,
    pub sku: String,
    pub name: String,
    pub quantity: i64,
    pub currency: String,
    pub price_minor: i64,
    pub line_minor: i64,
    pub tax_minor: i64,
    pub total_minor: i64,
    pub put_at: OffsetDateTime,
}

/// What is in the way of an order.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "columns, described in the migration")]
pub struct CartProblem {
    pub code: String,
    pub product_id: Uuid,
    pub old_minor: Option<i64>,
    pub old_currency: Option<String>,
    pub new_minor: Option<i64>,
    pub new_currency: Option<String>,
    pub wanted: Option<i64>,
    pub available: Option<i64>,
}

/// What became of putting a product into a cart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum ItemPut {
    /// It is in the cart.
    Put,
    /// There is no such product, or it is not for sale.
    ProductUnknown,
    /// The cart's others are in another currency.
    CurrencyDiffers,
    /// The cart has as many as it holds.
    TooMany,
}

/// Puts a product into the account's cart.
pub async fn put(
    conn: &mut PgConnection,
    merchant: MerchantId,
    account: AccountId,
    put: &Put,
    now: OffsetDateTime,
) -> Result<ItemPut> {
    sqlx::query_scalar!(
        r#"select put_cart_item($1, $2, $3, $4, $5, $6, $7) as "outcome!: ItemPut""#,
        merchant.0,
        account.0,
        put.cart.0,
        put.product.0,
        put.pieces,
        limits::CART_PRODUCTS,
        now,
    )
    .fetch_one(conn)
    .await
}

/// Takes a product out of the account's cart, or all of them.
pub async fn take(
    conn: &mut PgConnection,
    merchant: MerchantId,
    account: AccountId,
    product: Option<ProductId>,
    now: OffsetDateTime,
) -> Result<()> {
    sqlx::query!(
        "select take_cart_items($1, $2, $3, $4)",
        merchant.0,
        account.0,
        product.map(|product| product.0),
        now,
    )
    .execute(conn)
    .await
    .map(drop)
}

/// The items of the account's active cart.
pub async fn lines(
    conn: &mut PgConnection,
    merchant: MerchantId,
    account: AccountId,
) -> Result<Vec<Line>> {
    sqlx::query_as!(
        Line,
        r#"select cart_id as "cart_id!", product_id as "product_id!", sku as "sku!", name as "name!",
                  quantity as "quantity!", old_currency as "currency!", old_price_minor as "price_minor!",
                  line_minor as "line_minor!", tax_minor as "tax_minor!", total_minor as "total_minor!",
                  put_at as "put_at!"
           from cart_line where merchant_id = $1 and account_id = $2 order by put_at, product_id"#,
        merchant.0,
        account.0,
    )
    .fetch_all(conn)
    .await
}

/// What is in the way of ordering the account's active cart.
pub async fn problems(
    conn: &mut PgConnection,
    merchant: MerchantId,
    account: AccountId,
) -> Result<Vec<CartProblem>> {
    sqlx::query_as!(
        CartProblem,
        r#"select p.code as "code!", p.product_id as "product_id!", old_minor, old_currency, new_minor,
                  new_currency, wanted, available
           from cart c, lateral cart_problems(c.merchant_id, c.cart_id) p
           where c.merchant_id = $1 and c.account_id = $2 and c.state = 'active'
           order by p.product_id, p.code"#,
        merchant.0,
        account.0,
    )
    .fetch_all(conn)
    .await
}
