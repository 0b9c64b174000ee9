//! `POST /v1/accounts`, `GET /v1/accounts`, `GET /v1/accounts/{account_id}` and
//! `DELETE /v1/accounts/{account_id}`: an administrator invites staff, looks at accounts, and closes one.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use sqlx::PgPool;
use utoipa::ToSchema;
use uuid::Uuid;

use super::store::accounts as accounts_store;
use super::store::staff::{self as store, Changed, Filter, Invited};
use super::view::AccountView;
use super::{Accounts, check_sound, fields};
use crate::database;
use crate::database::trust::Trust;
use crate::database::violated;
use crate::http::Site;
use crate::http::auth::{Action, Authenticated, Role};
use crate::http::body::JsonBytes;
use crate::http::codes;
use crate::http::object::{self, Field, Read, Shape};
use crate::http::paging::{Page, Paging, Params};
use crate::http::problem::{Fault, Problem, ProblemDocument};
use crate::ids::AccountId;

/// Somebody of the staff to invite.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"role": "pos", "email": "till-2@shop.example", "name": "Till 2"}))]
pub struct InvitationRequest {
    /// `pos`, `auditor` or `admin`.
    pub role: String,
    /// An address that no other account of the shop has, in any case.
    pub email: String,
    /// At most 200 characters.
    pub name: Option<String>,
}

static INVITATION: &[Field] = &[
    Field::required("role", Shape::Text),
    Field::required("email", Shape::Text),
    Field::optional("name", Shape::Text),
];

fn judge(mut read: Read<InvitationRequest>) -> Result<(Role, String, String), Problem> {
    let request = read.body.clone();
    let role = Role::of_key(&request.role);
    if role.is_none() {
        let detail = "the role of staff is pos, auditor or admin";
        read.add(Fault::new("/role", &codes::ROLE_UNKNOWN, detail));
    }
    let email = fields::email(&mut read, &request.email);
    let name = fields::name(&mut read, request.name.as_deref());
    match (role, email) {
        (Some(role), Some(email)) if read.faults.is_empty() => Ok((role, email, name)),
        _ => Err(Problem::of_faults(read.faults)),
    }
}

/// Invite somebody of the staff
///
/// The account is there at once. A mail goes to its address, and whoever has it sets the password.
#[utoipa::path(
    post, path = "/v1/accounts", tag = "Accounts", request_body = InvitationRequest, security(("key" = [])),
    responses(
        (status = 201, body = AccountView, headers(("Location" = String))),
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
pub async fn invite(
    State(pool): State<PgPool>,
    State(site): State<Site>,
    State(trust): State<Trust>,
    State(accounts): State<Accounts>,
    Authenticated(caller): Authenticated,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Problem> {
    caller.require(Action::ManageAccounts)?;
    let (role, email, name) = judge(object::read(&bytes, INVITATION)?)?;
    accounts.check_mail()?;
    check_sound(&trust)?;
    let account = AccountId::new(&site.clock, &site.entropy);
    let invited = Invited {
        account,
        role: role.as_str(),
        email: &email,
        name: &name,
        mail: site.entropy.uuid_v7(&site.clock),
    };
    let mut tx = database::begin(&pool).await?;
    let changed = store::invite(&mut tx, &caller, &invited, site.clock.now()).await;
    settle(changed.map_err(refused)?)?;
    let row = accounts_store::find(&mut tx, caller.merchant, account).await?;
    let row = row.ok_or_else(super::vanished)?;
    tx.commit().await?;
    let view = AccountView::of(caller.merchant, row);
    let mut response = (StatusCode::CREATED, Json(view)).into_response();
    // an id is ASCII
    if let Ok(location) = HeaderValue::try_from(format!("/v1/accounts/{account}")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// List the accounts of your merchant, newest first
///
/// Customers and staff, closed ones too.
#[utoipa::path(
    get, path = "/v1/accounts", tag = "Accounts", security(("key" = [])),
    params(
        ("role" = Option<String>, Query, description = "`customer`, `pos`, `auditor` or `admin`"),
        ("email" = Option<String>, Query, description = "the e-mail address, in any case"),
        ("limit" = Option<i64>, Query, description = "25 unless given", minimum = 1, maximum = 100),
        ("starting_after" = Option<String>, Query, description = "`next_cursor` of the page before"),
        ("ending_before" = Option<String>, Query, description = "the page that ends before this account"),
    ),
    responses(
        (status = 200, body = Page<AccountView>),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn list_accounts(
    State(pool): State<PgPool>,
    Authenticated(caller): Authenticated,
    mut params: Params,
) -> Result<Json<Page<AccountView>>, Problem> {
    let paging = Paging::take(&mut params, |text| text.parse::<AccountId>().ok())?;
    let role = params.take_as("role", "customer, pos, auditor or admin", Role::parse)?;
    let email = params.take_text("email")?;
    params.finish()?;
    caller.require(Action::ManageAccounts)?;
    let filter = Filter {
        role: role.map(|role| role.as_str().to_owned()),
        email,
    };
    let mut db = pool.acquire().await?;
    let (merchant, limit) = (caller.merchant, paging.limit + 1);
    let rows = match (paging.starting_after, paging.ending_before) {
        (_, Some(edge)) => store::list_newer(&mut db, merchant, &filter, edge, limit).await?,
        (edge, None) => {
            let edge = edge.unwrap_or(AccountId(Uuid::max()));
            store::list_older(&mut db, merchant, &filter, edge, limit).await?
        }
    };
    let view = |row| AccountView::of(merchant, row);
    let views = rows.into_iter().map(view).collect();
    Ok(Json(paging.page(views, |account: &AccountView| {
        account.id.to_string()
    })))
}

/// Read one account
#[utoipa::path(
    get, path = "/v1/accounts/{account_id}", tag = "Accounts", security(("key" = [])),
    params(("account_id" = String, Path)),
    responses(
        (status = 200, body = AccountView),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn read_account(
    State(pool): State<PgPool>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
    params: Params,
) -> Result<Json<AccountView>, Problem> {
    params.finish()?;
    caller.require(Action::ManageAccounts)?;
    let id = id.parse().map_err(|_| missing())?;
    let mut db = pool.acquire().await?;
    let found = accounts_store::find(&mut db, caller.merchant, id).await?;
    let row = found.ok_or_else(missing)?;
    Ok(Json(AccountView::of(caller.merchant, row)))
}

/// Close an account
///
/// Its sessions end within five seconds, and its address and wallet are free for another account. Closing it
/// again changes nothing. The last administrator who may do all cannot be closed.
#[utoipa::path(
    delete, path = "/v1/accounts/{account_id}", tag = "Accounts", security(("key" = [])),
    params(("account_id" = String, Path)),
    responses(
        (status = 204, description = "It is closed"),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn close_account(
    State(pool): State<PgPool>,
    State(site): State<Site>,
    State(trust): State<Trust>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
    params: Params,
) -> Result<StatusCode, Problem> {
    params.finish()?;
    caller.require(Action::ManageAccounts)?;
    let id = id.parse().map_err(|_| missing())?;
    check_sound(&trust)?;
    let mut db = pool.acquire().await?;
    settle(store::close(&mut db, &caller, id, site.clock.now()).await?)?;
    Ok(StatusCode::NO_CONTENT)
}

fn refused(error: sqlx::Error) -> Problem {
    if violated(&error, "account_email") {
        return fields::taken();
    }
    error.into()
}

/// What a change that was not made is answered with.
fn settle(changed: Changed) -> Result<(), Problem> {
    Err(match changed {
        Changed::Invited | Changed::Closed => return Ok(()),
        Changed::NotAdmin => Problem::new(
            &codes::FORBIDDEN,
            "your key or session has ended, or is no administrator's",
        ),
        Changed::Narrowed => Problem::new(
            &codes::SCOPES_EXCEED,
            "whoever is narrowed to some scopes invites nobody: an account is not narrowed",
        ),
        Changed::Unknown => missing(),
        Changed::LastAdmin => Problem::new(
            &codes::LAST_ADMIN,
            "no other administrator who may do all works; invite one, then close this",
        ),
    })
}

fn missing() -> Problem {
    let detail = "there is no such account, or it is not yours";
    Problem::new(&codes::NOT_FOUND, detail)
}
