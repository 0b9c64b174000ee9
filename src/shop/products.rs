//! `POST`, `GET` and `PATCH` of `/v1/products`: the catalogue. An administrator changes it; anybody may read
//! what is for sale, and sees whether it is in stock. How much there is, only a cart that wants more is told.

mod draft;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::store::products::{self as store, Listed, Wanted};
use super::{Shop, money};
use crate::clock::rfc3339_ms;
use crate::http::auth::{Action, Authenticated, Caller, Role};
use crate::http::body::JsonBytes;
use crate::http::codes;
use crate::http::object;
use crate::http::paging::{Page, Paging, Params};
use crate::http::problem::{Problem, ProblemDocument};
use crate::http::version;
use crate::ids::{MerchantId, ProductId};
use crate::sales::answer::MoneyAnswer;
use draft::{CHANGE, PRODUCT};

pub use draft::{Change, ProductRequest, percent};

/// A product.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Product)]
pub struct ProductView {
    /// Its id.
    #[schema(value_type = String, example = "prd_01hf7yat00e8t8n6hpj7w9m4qk")]
    pub id: ProductId,
    /// The article's number.
    pub sku: String,
    /// Its name.
    pub name: String,
    /// More of it.
    pub description: String,
    /// Of one piece.
    pub price: MoneyAnswer,
    /// Percent, a decimal string.
    #[schema(example = "18")]
    pub tax_rate: String,
    /// Whether the price holds the tax, or it comes on top.
    pub tax_included: bool,
    /// Whether it can be bought.
    pub active: bool,
    /// Whether a piece of it can be ordered now.
    pub in_stock: bool,
    /// Pieces in the shop; to staff alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_hand: Option<i64>,
    /// Of these, pieces that pending orders hold; to staff alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<i64>,
    /// Counts its edits; the `ETag`.
    pub version: i64,
    /// When it was made.
    pub created_at: String,
    /// When it was last edited.
    pub updated_at: String,
}

/// Put a product into the catalogue
///
/// It has no stock yet. A repeat finds its `sku` taken, and by which product.
#[utoipa::path(
    post, path = "/v1/products", tag = "Catalogue", request_body = ProductRequest, security(("key" = []), ("token" = [])),
    responses(
        (status = 201, body = ProductView, headers(("Location" = String), ("ETag" = String))),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 413, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 415, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn create_product(
    State(shop): State<Shop>,
    Authenticated(caller): Authenticated,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Problem> {
    caller.require(Action::ManageCatalogue)?;
    let draft = draft::judge(object::read(&bytes, PRODUCT)?)?;
    shop.check_sound()?;
    let id = ProductId::new(&shop.site.clock, &shop.site.entropy);
    let mut db = shop.pool.acquire().await?;
    let now = shop.site.clock.now();
    let made = store::insert(&mut db, caller.merchant, id, &draft, now).await;
    if made.as_ref().is_err_and(store::is_sku_taken) {
        return Err(taken(&mut db, caller.merchant, &draft.sku).await?);
    }
    made?;
    let row = store::find(&mut db, caller.merchant, id).await?;
    let row = row.ok_or_else(missing)?;
    let location = format!("/v1/products/{id}");
    let mut response = answer(StatusCode::CREATED, row, true);
    // an id is ASCII
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// List products, newest first
///
/// With a key or token: those of its merchant. Without: those of the one that `merchant` names, as far as
/// they are for sale.
#[utoipa::path(
    get, path = "/v1/products", tag = "Catalogue", security((), ("key" = []), ("token" = [])),
    params(
        ("merchant" = Option<String>, Query, description = "whose, where no key or token says so"),
        ("active" = Option<bool>, Query, description = "for staff: those alone that can be bought, or that cannot"),
        ("sku" = Option<String>, Query, description = "the one with this number"),
        ("limit" = Option<i64>, Query, description = "25 unless given", minimum = 1, maximum = 100),
        ("starting_after" = Option<String>, Query, description = "`next_cursor` of the page before"),
        ("ending_before" = Option<String>, Query, description = "the page that ends before this product"),
    ),
    responses(
        (status = 200, body = Page<ProductView>),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn list_products(
    State(shop): State<Shop>,
    caller: Option<Authenticated>,
    mut params: Params,
) -> Result<Json<Page<ProductView>>, Problem> {
    let reader = Reader::of(caller, &mut params)?;
    let active = params.take_as("active", "true or false", |text| text.parse().ok())?;
    let sku = params.take_text("sku")?;
    let paging = Paging::take(&mut params, |text| text.parse::<ProductId>().ok())?;
    params.finish()?;
    let mut db = shop.pool.acquire().await?;
    let wanted = Wanted {
        merchant: reader.merchant,
        active: if reader.is_staff { active } else { Some(true) },
        sku: sku.as_deref(),
    };
    let rows = store::list(&mut db, &wanted, &paging).await?;
    let views = rows
        .into_iter()
        .map(|row| view(row, reader.is_staff))
        .collect();
    Ok(Json(paging.page(views, |product: &ProductView| {
        product.id.to_string()
    })))
}

/// Read one product
#[utoipa::path(
    get, path = "/v1/products/{product_id}", tag = "Catalogue", security((), ("key" = []), ("token" = [])),
    params(
        ("product_id" = String, Path),
        ("merchant" = Option<String>, Query, description = "whose, where no key or token says so"),
    ),
    responses(
        (status = 200, body = ProductView, headers(("ETag" = String))),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn read_product(
    State(shop): State<Shop>,
    caller: Option<Authenticated>,
    Path(id): Path<String>,
    mut params: Params,
) -> Result<Response, Problem> {
    let reader = Reader::of(caller, &mut params)?;
    params.finish()?;
    let id = id.parse().map_err(|_| missing())?;
    let mut db = shop.pool.acquire().await?;
    let row = store::find(&mut db, reader.merchant, id).await?;
    let row = row.filter(|row| row.active || reader.is_staff);
    Ok(answer(
        StatusCode::OK,
        row.ok_or_else(missing)?,
        reader.is_staff,
    ))
}

/// Change a product
///
/// `If-Match` names the version that the change was made from. Orders keep what they were made with; carts
/// tell of a changed price.
#[utoipa::path(
    patch, path = "/v1/products/{product_id}", tag = "Catalogue", request_body = Change, security(("key" = []), ("token" = [])),
    params(("product_id" = String, Path), ("If-Match" = String, Header, description = "the ETag it was read with")),
    responses(
        (status = 200, body = ProductView, headers(("ETag" = String))),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 412, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 413, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 415, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 428, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn change_product(
    State(shop): State<Shop>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
    headers: HeaderMap,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Problem> {
    caller.require(Action::ManageCatalogue)?;
    let id = id.parse().map_err(|_| missing())?;
    let expected = version::expected_version(&headers)?;
    let read = object::read(&bytes, CHANGE)?;
    shop.check_sound()?;
    let mut db = shop.pool.acquire().await?;
    let row = store::find(&mut db, caller.merchant, id).await?;
    let row = row.ok_or_else(missing)?;
    if row.version != expected {
        return Err(version::differs(row.version));
    }
    let draft = draft::changed(&row, read)?;
    let now = shop.site.clock.now();
    let changed = store::update(&mut db, caller.merchant, id, expected, &draft, now).await;
    if changed.as_ref().is_err_and(store::is_sku_taken) {
        return Err(taken(&mut db, caller.merchant, &draft.sku).await?);
    }
    if !changed? {
        return Err(version::differs(row.version + 1));
    }
    let row = store::find(&mut db, caller.merchant, id).await?;
    Ok(answer(StatusCode::OK, row.ok_or_else(missing)?, true))
}

/// Who reads the catalogue of which merchant.
struct Reader {
    merchant: MerchantId,
    is_staff: bool,
}

impl Reader {
    fn of(caller: Option<Authenticated>, params: &mut Params) -> Result<Self, Problem> {
        let named = params.take_as("merchant", "a merchant's id", |text| text.parse().ok())?;
        match (
            caller.as_ref().map(|Authenticated(caller)| &**caller),
            named,
        ) {
            (Some(Caller { merchant, .. }), Some(named)) if *merchant != named => {
                let detail = "the key or token is of another merchant";
                Err(Problem::new(&codes::INVALID_PARAMETER, detail))
            }
            // a key that is narrowed to something else sees what everybody sees
            (Some(caller), _) => Ok(Self {
                merchant: caller.merchant,
                is_staff: caller.role != Role::Customer
                    && caller.require(Action::ReadNamed).is_ok(),
            }),
            (None, Some(merchant)) => Ok(Self {
                merchant,
                is_staff: false,
            }),
            (None, None) => Err(Problem::new(
                &codes::UNAUTHENTICATED,
                "send a key or token, or name the shop with ?merchant=mer_…",
            )),
        }
    }
}

async fn taken(
    db: &mut sqlx::PgConnection,
    merchant: MerchantId,
    sku: &str,
) -> Result<Problem, Problem> {
    let problem = Problem::new(&codes::SKU_EXISTS, "another product has this number");
    Ok(match store::by_sku(db, merchant, sku).await? {
        Some(id) => problem.with("product_id", id.to_string()),
        None => problem,
    })
}

pub(super) fn missing() -> Problem {
    let detail = "there is no such product, or it is not yours";
    Problem::new(&codes::NOT_FOUND, detail)
}

fn answer(status: StatusCode, row: Listed, is_staff: bool) -> Response {
    let version = row.version;
    version::tagged((status, Json(view(row, is_staff))).into_response(), version)
}

fn view(row: Listed, is_staff: bool) -> ProductView {
    ProductView {
        id: ProductId(row.product_id),
        price: money(row.price_minor, &row.currency),
        sku: row.sku,
        name: row.name,
        description: row.description,
        tax_rate: percent(row.tax_ppm),
        tax_included: row.tax_included,
        active: row.active,
        in_stock: row.on_hand > row.held,
        on_hand: is_staff.then_some(row.on_hand),
        held: is_staff.then_some(row.held),
        version: row.version,
        created_at: rfc3339_ms(row.created_at),
        updated_at: rfc3339_ms(row.updated_at),
    }
}
