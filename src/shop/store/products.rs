//! The catalogue.

use sqlx::{PgConnection, Result};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::http::paging::Paging;
use crate::ids::{MerchantId, ProductId};

/// A product, with what of it is on hand.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "columns, described in the migration")]
pub struct Listed {
    pub product_id: Uuid,
    pub sku: String,
    pub name: String,
    pub description: String,
    pub currency: String,
    pub price_minor: i64,
    pub tax_ppm: i32,
    pub tax_included: bool,
    pub active: bool,
    pub version: i64,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
    pub on_hand: i64,
    pub held: i64,
}

/// What an editor says of a product.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "columns, described in the migration")]
pub struct Draft {
    pub sku: String,
    pub name: String,
    pub description: String,
    pub currency: String,
    pub price_minor: i64,
    pub tax_ppm: i32,
    pub tax_included: bool,
    pub active: bool,
}

/// Which products of a list are wanted.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// Whose.
    pub merchant: MerchantId,
    /// Those alone that can be bought, or that cannot.
    pub active: Option<bool>,
    /// The one with this number.
    pub sku: Option<&'a str>,
}

/// Whether a write failed because another product has the number.
pub fn is_sku_taken(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(e) if e.constraint() == Some("product_sku"))
}

/// Puts a product there.
///
/// # Errors
/// The database's; see [`is_sku_taken`].
pub async fn insert(
    conn: &mut PgConnection,
    merchant: MerchantId,
    id: ProductId,
    draft: &Draft,
    now: OffsetDateTime,
) -> Result<()> {
    sqlx::query!(
        "insert into product (merchant_id, product_id, sku, name, description, currency, price_minor, tax_ppm,
                              tax_included, active, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11)",
        merchant.0,
        id.0,
        draft.sku,
        draft.name,
        draft.description,
        draft.currency,
        draft.price_minor,
        draft.tax_ppm,
        draft.tax_included,
        draft.active,
        now,
    )
    .execute(conn)
    .await
    .map(drop)
}

/// Changes a product that is still at version `expected`; whether it was.
///
/// # Errors
/// The database's; see [`is_sku_taken`].
pub async fn update(
    conn: &mut PgConnection,
    merchant: MerchantId,
    id: ProductId,
    expected: i64,
    draft: &Draft,
    now: OffsetDateTime,
) -> Result<bool> {
    let done = sqlx::query!(
        "update product
         set sku = $4, name = $5, description = $6, currency = $7, price_minor = $8, tax_ppm = $9,
             tax_included = $10, active = $11, version = version + 1, updated_at = $12
         where merchant_id = $1 and product_id = $2 and version = $3",
        merchant.0,
        id.0,
        expected,
        draft.sku,
        draft.name,
        draft.description,
        draft.currency,
        draft.price_minor,
        draft.tax_ppm,
        draft.tax_included,
        draft.active,
        now,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// One product of a merchant.
pub async fn find(
    conn: &mut PgConnection,
    merchant: MerchantId,
    id: ProductId,
) -> Result<Option<Listed>> {
    sqlx::query_as!(
        Listed,
        r#"select p.product_id, sku, name, description, currency, price_minor, tax_ppm, tax_included, active,
                  version, created_at, updated_at, coalesce(s.on_hand, 0) as "on_hand!", coalesce(s.held, 0) as "held!"
           from product p left join stock s on s.merchant_id = p.merchant_id and s.product_id = p.product_id
           where p.merchant_id = $1 and p.product_id = $2"#,
        merchant.0,
        id.0,
    )
    .fetch_optional(conn)
    .await
}

/// The product with a number.
pub async fn by_sku(
    conn: &mut PgConnection,
    merchant: MerchantId,
    sku: &str,
) -> Result<Option<ProductId>> {
    let id = sqlx::query_scalar!(
        "select product_id from product where merchant_id = $1 and sku = $2",
        merchant.0,
        sku,
    );
    Ok(id.fetch_optional(conn).await?.map(ProductId))
}

/// A page of products before or after an edge.
macro_rules! page {
    ($db:expr, $wanted:expr, $edge:expr, $rows:expr, $beyond:literal, $order:literal) => {
        sqlx::query_as!(
            Listed,
            r#"select p.product_id, sku, name, description, currency, price_minor, tax_ppm, tax_included, active,
                      version, created_at, updated_at, coalesce(s.on_hand, 0) as "on_hand!",
                      coalesce(s.held, 0) as "held!"
               from product p left join stock s on s.merchant_id = p.merchant_id and s.product_id = p.product_id
               where p.merchant_id = $1 and ($2::boolean is null or active = $2)
                 and ($3::text is null or sku = $3) and p.product_id "#
                + $beyond
                + " $4 order by p.product_id "
                + $order
                + " limit $5",
            $wanted.merchant.0,
            $wanted.active,
            $wanted.sku,
            $edge.0,
            $rows,
        )
        .fetch_all($db)
        .await
    };
}

/// A page of products and one more, from the edge that is asked for: the newest first, or of an
/// `ending_before` the oldest first.
pub async fn list(
    conn: &mut PgConnection,
    wanted: &Wanted<'_>,
    paging: &Paging<ProductId>,
) -> Result<Vec<Listed>> {
    let rows = paging.limit + 1;
    match paging.ending_before {
        Some(edge) => page!(conn, wanted, edge, rows, ">", "asc"),
        None => {
            let edge = paging.starting_after.unwrap_or(ProductId(Uuid::max()));
            page!(conn, wanted, edge, rows, "<", "desc")
        }
    }
}
