//! `GET /v1/sales` and `GET /v1/sales/{id}`.

use axum::extract::{Path, State};
use counterfoil_proofs::leaf::OrderId;
use serde_json::Value;

use super::Sales;
use super::answer::{SaleAnswer, SaleView};
use super::filed::Wanted;
use super::store::{self, Filter, Listed};
use crate::clock::rfc3339_ms;
use crate::http::auth::{Action, Authenticated};
use crate::http::codes;
use crate::http::paging::{Page, Paging, Params, Period};
use crate::http::problem::{Problem, ProblemDocument};
use crate::ids::SaleId;

/// The states a sale goes through.
pub const STATES: [&str; 5] = ["pending", "sealed", "submitted", "mined", "finalized"];

/// List sales and refunds, newest first
///
/// A key of the role `pos` may list by `order_id` only.
#[utoipa::path(
    get, path = "/v1/sales", tag = "Sales", security(("key" = [])),
    params(
        ("limit" = Option<i64>, Query, description = "25 unless given", minimum = 1, maximum = 100),
        ("starting_after" = Option<String>, Query, description = "`next_cursor` of the page before"),
        ("ending_before" = Option<String>, Query, description = "the page that ends before this sale"),
        ("order_id" = Option<String>, Query, description = "the sale with this order id"),
        ("kind" = Option<String>, Query, description = "`sale` or `refund`"),
        ("state" = Option<String>, Query, description = "`pending`, `sealed`, `submitted`, `mined` or `finalized`"),
        ("sold_at[gte]" = Option<String>, Query, description = "RFC 3339; likewise `sold_at[gt]`, `sold_at[lte]`, `sold_at[lt]`"),
        ("sold_at[gt]" = Option<String>, Query),
        ("sold_at[lte]" = Option<String>, Query),
        ("sold_at[lt]" = Option<String>, Query),
    ),
    responses(
        (status = 200, body = Page<SaleView>),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn list_sales(
    State(sales): State<Sales>,
    Authenticated(caller): Authenticated,
    mut params: Params,
) -> Result<axum::Json<Page<SaleView>>, Problem> {
    let paging = Paging::take(&mut params, |text| text.parse::<SaleId>().ok())?;
    let filter = filter(&mut params)?;
    params.finish()?;
    caller.require(if filter.order_id.is_some() {
        Action::ReadNamed
    } else {
        Action::ReadAll
    })?;

    let mut db = sales.pool.acquire().await?;
    let edge = match paging.starting_after.or(paging.ending_before) {
        None => i64::MAX,
        Some(id) => store::seq_of(&mut db, caller.merchant, id)
            .await?
            .ok_or_else(|| {
                Problem::new(
                    &codes::INVALID_PARAMETER,
                    "the page's edge is no sale of yours",
                )
            })?,
    };
    let rows = if paging.ending_before.is_some() {
        store::list_newer(&mut db, caller.merchant, &filter, edge, paging.limit + 1).await?
    } else {
        store::list_older(&mut db, caller.merchant, &filter, edge, paging.limit + 1).await?
    };
    let views: Result<Vec<_>, _> = rows.iter().map(|row| view(row, &sales)).collect();
    Ok(axum::Json(
        paging.page(views?, |view| view.sale.sale_id.to_string()),
    ))
}

fn filter(params: &mut Params) -> Result<Filter, Problem> {
    Ok(Filter {
        order_id: params.take_as("order_id", "an order id", |text| {
            OrderId::parse(text).ok().map(|id| id.as_str().to_owned())
        })?,
        kind: params.take_as("kind", "sale or refund", |text| match text {
            "sale" => Some(1),
            "refund" => Some(2),
            _ => None,
        })?,
        state: params.take_as(
            "state",
            "pending, sealed, submitted, mined or finalized",
            |text| STATES.contains(&text).then(|| text.to_owned()),
        )?,
        sold: Period::take(params, "sold_at")?,
    })
}

/// Read one sale
#[utoipa::path(
    get, path = "/v1/sales/{sale_id}", tag = "Sales", security(("key" = [])),
    params(("sale_id" = String, Path)),
    responses(
        (status = 200, body = SaleView),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn read_sale(
    State(sales): State<Sales>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
) -> Result<axum::Json<SaleView>, Problem> {
    caller.require(Action::ReadNamed)?;
    let missing = || {
        Problem::new(
            &codes::NOT_FOUND,
            "there is no such sale, or it is not yours",
        )
    };
    let id: SaleId = id.parse().map_err(|_| missing())?;
    let filed = sales.lookup.find(caller.merchant, Wanted::Sale(id)).await?;
    let filed = filed.ok_or_else(missing)?;
    let row = Listed {
        state: filed.state().to_owned(),
        batch_id: filed.seal.as_ref().map(|seal| seal.batch_id),
        sealed_at: filed.seal.as_ref().map(|seal| seal.sealed_at),
        sale: filed.sale,
    };
    view(&row, &sales).map(axum::Json)
}

fn view(row: &Listed, sales: &Sales) -> Result<SaleView, Problem> {
    // the details are shown, so they have to be those of the hash
    row.sale.to_sale()?;
    Ok(SaleView {
        sale: SaleAnswer::new(&row.sale, &sales.site.public_url)?,
        state: row.state.clone(),
        batch_id: row.batch_id,
        sealed_at: row.sealed_at.map(rfc3339_ms),
        details: shown_details(&row.sale.details),
    })
}

/// The details without what only a proof needs.
fn shown_details(bytes: &[u8]) -> Value {
    let mut details: Value = serde_json::from_slice(bytes).unwrap_or_default();
    if let Some(fields) = details.as_object_mut() {
        fields.retain(|name, _| name != "salt" && name != "v");
    }
    details
}
