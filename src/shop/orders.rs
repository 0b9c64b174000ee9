//! `/v1/orders`: what was ordered, for the customer who did and for the shop.

mod view;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;

use super::store::orders::{self as store, Ended, Wanted};
use super::{Shop, points, upkeep};
use crate::http::auth::{Action, Authenticated, Caller, Role};
use crate::http::codes;
use crate::http::commands::{self, Command, Kept};
use crate::http::idempotency::IdempotencyKey;
use crate::http::paging::{Page, Paging, Params, Period};
use crate::http::problem::{Problem, ProblemDocument};
use crate::ids::{AccountId, IntentId, PurchaseId};

pub use self::view::OrderView;
use self::view::views;
pub(super) use self::view::{Sold, view};

/// List orders, newest first
///
/// A customer's own; for those who may list, all of the shop's.
#[utoipa::path(
    get, path = "/v1/orders", tag = "Orders", security(("token" = []), ("key" = [])),
    params(
        ("state" = Option<String>, Query, description = "`PENDING`, `PAID` or `CANCELLED`"),
        ("customer" = Option<String>, Query, description = "for staff: those of one account"),
        ("created_at[gte]" = Option<String>, Query, description = "RFC 3339; likewise `created_at[gt]`, `created_at[lte]`, `created_at[lt]`"),
        ("created_at[gt]" = Option<String>, Query),
        ("created_at[lte]" = Option<String>, Query),
        ("created_at[lt]" = Option<String>, Query),
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
    let created = Period::take(&mut params, "created_at")?;
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
        created,
    };
    let mut db = shop.pool.acquire().await?;
    let orders = store::list(&mut db, &wanted, &paging).await?;
    let views = views(&mut db, &shop, &caller, orders).await?;
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
    let reason = if account.is_some() {
        "customer"
    } else {
        "merchant"
    };
    let merchant = caller.merchant;
    let mut ending = None;
    let answer = commands::once(&shop.pool, &command, now, async |db| {
        let by: Option<&Caller> = Some(&caller);
        let ended = store::end(&mut *db, merchant, id, account, reason, by, now).await?;
        match ended {
            Ended::Unknown => return Err(missing()),
            Ended::Paid => {
                let detail = "it is paid; ask for a refund instead";
                return Err(Problem::new(&codes::ORDER_PAID, detail));
            }
            Ended::Cancelled => points::give_back(db, merchant, id, now).await?,
            Ended::Ending => {}
        }
        let order = store::find(db, merchant, id, account).await?;
        let order = order.ok_or_else(missing)?;
        ending = (ended == Ended::Ending).then_some(IntentId(order.intent_id));
        Ok(Kept::ok(&view(db, &shop, &caller, order).await?))
    })
    .await?;
    if let Some(intent) = ending {
        // what it does not come to here, upkeep does
        tokio::spawn(async move { upkeep::cancel_at_provider(&shop, merchant, intent).await });
    }
    Ok(answer)
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
