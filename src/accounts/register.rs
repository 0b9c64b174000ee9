//! `POST /v1/auth/register`: a customer makes an account.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use secrecy::SecretString;
use serde::Deserialize;
use sqlx::PgPool;
use utoipa::ToSchema;

use super::sessions::{self, Opening};
use super::store::accounts::{self as store, New};
use super::store::sessions::Shown;
use super::throttle::{self, Subject};
use super::view::{AccountView, SignedInView};
use super::{Accounts, check_sound, fields};
use crate::database;
use crate::database::trust::Trust;
use crate::database::violated;
use crate::http::Site;
use crate::http::address::ClientAddress;
use crate::http::auth::Role;
use crate::http::body::JsonBytes;
use crate::http::object::{self, Field, Read, Shape};
use crate::http::problem::{Problem, ProblemDocument};
use crate::ids::{AccountId, MerchantId};

/// A customer's account to make.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"merchant_id": "mer_01JQ8Z6Y5W4V3U2T1S0R9Q8P7N", "email": "grace@shop.example",
    "password": "a long sentence is best", "name": "Grace"}))]
pub struct RegisterRequest {
    /// The shop.
    pub merchant_id: String,
    /// An address that no other account of the shop has, in any case.
    pub email: String,
    /// 10 to 256 characters.
    #[schema(value_type = String, format = Password)]
    pub password: SecretString,
    /// At most 200 characters.
    pub name: Option<String>,
}

static REGISTER: &[Field] = &[
    Field::required("merchant_id", Shape::Text),
    Field::required("email", Shape::Text),
    Field::required("password", Shape::Text),
    Field::optional("name", Shape::Text),
];

/// A request that makes sense.
struct Wanted {
    merchant: MerchantId,
    email: String,
    password: SecretString,
    name: String,
}

fn judge(mut read: Read<RegisterRequest>) -> Result<Wanted, Problem> {
    let request = read.body.clone();
    let merchant = fields::merchant(&mut read, &request.merchant_id);
    let email = fields::email(&mut read, &request.email);
    fields::password(&mut read, "/password", &request.password, email.as_deref());
    let name = fields::name(&mut read, request.name.as_deref());
    match (merchant, email) {
        (Some(merchant), Some(email)) if read.faults.is_empty() => Ok(Wanted {
            merchant,
            email,
            password: request.password,
            name,
        }),
        _ => Err(Problem::of_faults(read.faults)),
    }
}

/// Make a customer's account
///
/// It has signed in then. Staff do not register: an administrator invites them.
#[utoipa::path(
    post, path = "/v1/auth/register", tag = "Accounts", request_body = RegisterRequest, security(()),
    responses(
        (status = 201, body = SignedInView, headers(("Location" = String))),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 413, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 415, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn register(
    State(pool): State<PgPool>,
    State(site): State<Site>,
    State(trust): State<Trust>,
    State(accounts): State<Accounts>,
    ClientAddress(address): ClientAddress,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Problem> {
    accounts.tokens.check_configured()?;
    let wanted = judge(object::read(&bytes, REGISTER)?)?;
    check_sound(&trust)?;
    let mut db = pool.acquire().await?;
    let subjects = [Subject::Address(address)];
    throttle::take(&mut db, wanted.merchant, &subjects, site.clock.now()).await?;
    // hashing takes long, and others want the connection
    drop(db);
    let hash = accounts
        .passwords
        .hash(&wanted.password, &site.entropy)
        .await?;
    let view = make(&pool, &site, &accounts, &wanted, &hash).await?;
    let mut response = (StatusCode::CREATED, Json(view)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::LOCATION, HeaderValue::from_static("/v1/me"));
    Ok(response)
}

async fn make(
    pool: &PgPool,
    site: &Site,
    accounts: &Accounts,
    wanted: &Wanted,
    hash: &str,
) -> Result<SignedInView, Problem> {
    let account = AccountId::new(&site.clock, &site.entropy);
    let mut tx = database::begin(pool).await?;
    let new = New {
        email: Some(&wanted.email),
        name: &wanted.name,
        password_hash: Some(hash),
        wallet: None,
    };
    store::register(&mut tx, wanted.merchant, account, &new, site.clock.now())
        .await
        .map_err(refused)?;
    let opening = Opening {
        merchant: wanted.merchant,
        account,
        role: Role::Customer,
        scopes: None,
        shown: Shown::Password(hash),
    };
    let tokens = sessions::open(&mut tx, &accounts.tokens, site, &opening).await?;
    let row = store::find(&mut tx, wanted.merchant, account).await?;
    tx.commit().await?;
    match (row, tokens) {
        (Some(row), Some(tokens)) => Ok(SignedInView {
            account: AccountView::of(wanted.merchant, row),
            tokens,
        }),
        _ => Err(super::vanished()),
    }
}

/// Why an account was not made.
fn refused(error: sqlx::Error) -> Problem {
    if violated(&error, "account_email") {
        return fields::taken();
    }
    if violated(&error, "account_merchant") {
        return fields::unknown_merchant();
    }
    error.into()
}
