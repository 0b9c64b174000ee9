//! `POST /v1/products/{product_id}/stock` and `GET /v1/products/{product_id}/movements`: what is on hand,
//! as people count it, and why it is what it is.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Shop;
use super::products::missing;
use super::store::products;
use super::store::stock::{self as store, Count, Short};
use crate::clock::rfc3339_ms;
use crate::http::auth::{Action, Authenticated};
use crate::http::body::JsonBytes;
use crate::http::codes;
use crate::http::commands::{self, Command, Kept};
use crate::http::idempotency::IdempotencyKey;
use crate::http::object::{self, Field, Quantity, Read, Shape};
use crate::http::paging::{Page, Paging, Params};
use crate::http::problem::{Fault, Problem, ProblemDocument};
use crate::ids::{ProductId, PurchaseId};
use crate::limits;

/// Pieces that came in or are gone.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = StockChange, example = json!({"quantity": 24, "reason": "delivery 4711"}))]
pub struct ChangeRequest {
    /// An integer, negative for pieces that are gone.
    #[schema(value_type = i64)]
    pub quantity: Quantity,
    /// Why, 1 to 200 characters: delivery, damaged, counted anew.
    pub reason: String,
}

static CHANGE: &[Field] = &[
    Field::required("quantity", Shape::Quantity),
    Field::required("reason", Shape::Text),
];

/// What is there of a product.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Stock)]
pub struct StockView {
    /// The product.
    #[schema(value_type = String)]
    pub product_id: ProductId,
    /// Pieces in the shop.
    pub on_hand: i64,
    /// Of these, pieces that pending orders hold.
    pub held: i64,
    /// Pieces that can be ordered.
    pub available: i64,
}

/// A movement of a product's stock. All of them sum to what is on hand and held.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StockMovement)]
pub struct MovementView {
    /// Its number; later ones have higher numbers.
    #[schema(example = "17")]
    pub id: String,
    /// `HOLD`, `RELEASE`, `SALE`, `RETURN` or `ADJUST`.
    pub kind: String,
    /// By how much what is on hand changed.
    pub on_hand: i64,
    /// By how much what is held changed.
    pub held: i64,
    /// The order, of all but `ADJUST`.
    #[schema(value_type = Option<String>)]
    pub order_id: Option<PurchaseId>,
    /// Why.
    pub reason: String,
    /// When.
    pub created_at: String,
}

/// Count pieces in, or out
///
/// All or nothing: pieces that pending orders hold cannot be counted out.
#[utoipa::path(
    post, path = "/v1/products/{product_id}/stock", tag = "Catalogue", request_body = ChangeRequest,
    security(("key" = []), ("token" = [])),
    params(("product_id" = String, Path), ("Idempotency-Key" = String, Header)),
    responses(
        (status = 200, body = StockView, headers(("Idempotent-Replayed" = String))),
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
pub async fn change_stock(
    State(shop): State<Shop>,
    Authenticated(caller): Authenticated,
    key: IdempotencyKey,
    Path(id): Path<String>,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Problem> {
    caller.require(Action::ManageCatalogue)?;
    let id: ProductId = id.parse().map_err(|_| missing())?;
    let (quantity, reason) = judge(object::read(&bytes, CHANGE)?)?;
    shop.check_sound()?;
    let command = Command::new(&caller, &key, "stock/1", &(id, quantity, &reason));
    let now = shop.site.clock.now();
    commands::once(&shop.pool, &command, now, async |db| {
        let found = products::find(db, caller.merchant, id).await?;
        found.ok_or_else(missing)?;
        if let Some(short) = store::adjust(db, &caller, id, quantity, &reason, now).await? {
            return Err(too_little(&short));
        }
        let count = store::count(db, caller.merchant, id).await?;
        Ok(Kept::ok(&view(id, &count)))
    })
    .await
}

/// List a product's movements, newest first
#[utoipa::path(
    get, path = "/v1/products/{product_id}/movements", tag = "Catalogue", security(("key" = []), ("token" = [])),
    params(
        ("product_id" = String, Path),
        ("limit" = Option<i64>, Query, description = "25 unless given", minimum = 1, maximum = 100),
        ("starting_after" = Option<String>, Query, description = "`next_cursor` of the page before"),
        ("ending_before" = Option<String>, Query, description = "the page that ends before this movement"),
    ),
    responses(
        (status = 200, body = Page<MovementView>),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn list_movements(
    State(shop): State<Shop>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
    mut params: Params,
) -> Result<Json<Page<MovementView>>, Problem> {
    let paging = Paging::take(&mut params, |text| text.parse::<i64>().ok())?;
    params.finish()?;
    caller.require(Action::ReadAll)?;
    let id: ProductId = id.parse().map_err(|_| missing())?;
    let mut db = shop.pool.acquire().await?;
    products::find(&mut db, caller.merchant, id)
        .await?
        .ok_or_else(missing)?;
    let rows = store::movements(&mut db, caller.merchant, id, &paging).await?;
    let views = rows
        .into_iter()
        .map(|row| MovementView {
            id: row.movement_no.to_string(),
            kind: row.kind,
            on_hand: row.on_hand,
            held: row.held,
            order_id: row.order_id.map(PurchaseId),
            reason: row.reason,
            created_at: rfc3339_ms(row.created_at),
        })
        .collect();
    Ok(Json(
        paging.page(views, |row: &MovementView| row.id.clone()),
    ))
}

/// What a body asks for, or all that is wrong with it.
fn judge(mut read: Read<ChangeRequest>) -> Result<(i64, String), Problem> {
    let ChangeRequest { quantity, reason } = read.body.clone();
    let pieces = quantity.0.parse::<i64>().ok();
    let pieces =
        pieces.filter(|n| *n != 0 && n.unsigned_abs() <= limits::STOCK_PIECES.unsigned_abs());
    if pieces.is_none() {
        let detail = format!(
            "a whole number up to {} either way, not 0",
            limits::STOCK_PIECES
        );
        read.add(Fault::new("/quantity", &codes::QUANTITY_INVALID, detail));
    }
    if reason.trim().is_empty() {
        read.add(Fault::new("/reason", &codes::TEXT_EMPTY, "say why"));
    }
    if let Some(fault) = Fault::of_text("/reason", &reason, limits::REASON_CHARS) {
        read.add(fault);
    }
    match pieces {
        Some(pieces) if read.faults.is_empty() => Ok((pieces, reason)),
        _ => Err(Problem::of_faults(read.faults)),
    }
}

fn too_little(short: &Short) -> Problem {
    let detail = format!(
        "{} pieces cannot go: {} are there that no order holds",
        short.wanted, short.available
    );
    Problem::new(&codes::INSUFFICIENT_STOCK, detail)
        .with("wanted", short.wanted)
        .with("available", short.available)
}

fn view(id: ProductId, count: &Count) -> StockView {
    StockView {
        product_id: id,
        on_hand: count.on_hand,
        held: count.held,
        available: count.on_hand - count.held,
    }
}
