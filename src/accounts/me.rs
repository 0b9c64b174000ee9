//! `GET /v1/me`: the account that has signed in.

use axum::Json;
use axum::extract::State;
use sqlx::PgPool;

use super::store::accounts as store;
use super::view::AccountView;
use crate::http::auth::Authenticated;
use crate::http::paging::Params;
use crate::http::problem::{Problem, ProblemDocument};

/// Read the account that has signed in
#[utoipa::path(
    get, path = "/v1/me", tag = "Accounts", security(("token" = [])),
    responses(
        (status = 200, body = AccountView),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn read_me(
    State(pool): State<PgPool>,
    Authenticated(caller): Authenticated,
    params: Params,
) -> Result<Json<AccountView>, Problem> {
    params.finish()?;
    let (account, _) = caller.account()?;
    let mut db = pool.acquire().await?;
    let row = store::find(&mut db, caller.merchant, account).await?;
    let row = row.ok_or_else(super::vanished)?;
    Ok(Json(AccountView::of(caller.merchant, row)))
}
