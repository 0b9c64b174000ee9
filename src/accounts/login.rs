//! `POST /v1/auth/login`: signing in with a password.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use secrecy::SecretString;
use serde::Deserialize;
use sqlx::PgPool;
use utoipa::ToSchema;

use super::passwords::Verdict;
use super::sessions::{self, Opening};
use super::store::accounts::{self as store, Credentials};
use super::store::sessions::Shown;
use super::throttle::{self, Subject};
use super::view::{AccountView, SignedInView};
use super::{Accounts, check_sound, fields};
use crate::database;
use crate::database::trust::Trust;
use crate::http::Site;
use crate::http::address::ClientAddress;
use crate::http::auth::Role;
use crate::http::body::JsonBytes;
use crate::http::codes;
use crate::http::object::{self, Field, Read, Shape};
use crate::http::problem::{Problem, ProblemDocument};
use crate::ids::{AccountId, MerchantId};

/// Who signs in.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"merchant_id": "mer_01JQ8Z6Y5W4V3U2T1S0R9Q8P7N", "email": "ada@shop.example",
    "password": "a long sentence is best"}))]
pub struct LoginRequest {
    /// The shop.
    pub merchant_id: String,
    /// The account's address, in any case.
    pub email: String,
    /// Its password.
    #[schema(value_type = String, format = Password)]
    pub password: SecretString,
    /// What the session is narrowed to, separated by spaces; all that the role may unless given. What the role may
    /// not is left out: the answer has what the session got.
    pub scope: Option<String>,
}

static LOGIN: &[Field] = &[
    Field::required("merchant_id", Shape::Text),
    Field::required("email", Shape::Text),
    Field::required("password", Shape::Text),
    Field::optional("scope", Shape::Text),
];

struct Wanted {
    merchant: MerchantId,
    email: String,
    password: SecretString,
    scopes: Option<Vec<String>>,
}

fn judge(mut read: Read<LoginRequest>) -> Result<Wanted, Problem> {
    let request = read.body.clone();
    let merchant = fields::merchant(&mut read, &request.merchant_id);
    let email = fields::email(&mut read, &request.email);
    fields::given_password(&mut read, "/password", &request.password);
    let scopes = fields::scope(&mut read, request.scope.as_deref());
    match (merchant, email) {
        (Some(merchant), Some(email)) if read.faults.is_empty() => Ok(Wanted {
            merchant,
            email,
            password: request.password,
            scopes,
        }),
        _ => Err(Problem::of_faults(read.faults)),
    }
}

/// Sign in with a password
///
/// A wrong address and a wrong password are answered alike. Ten tries with one address may come at once, and
/// one more each minute; after a right one all are there again.
#[utoipa::path(
    post, path = "/v1/auth/login", tag = "Accounts", request_body = LoginRequest, security(()),
    responses(
        (status = 200, body = SignedInView),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 413, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 415, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn log_in(
    State(pool): State<PgPool>,
    State(site): State<Site>,
    State(trust): State<Trust>,
    State(accounts): State<Accounts>,
    ClientAddress(address): ClientAddress,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Problem> {
    accounts.tokens.check_configured()?;
    let wanted = judge(object::read(&bytes, LOGIN)?)?;
    check_sound(&trust)?;
    let subjects = [Subject::Address(address), Subject::Email(&wanted.email)];
    let mut db = pool.acquire().await?;
    throttle::take(&mut db, wanted.merchant, &subjects, site.clock.now()).await?;
    let found = store::credentials_of_email(&mut db, wanted.merchant, &wanted.email).await?;
    // hashing takes long, and others want the connection
    drop(db);
    let stored = found.as_ref().and_then(|it| it.password_hash.as_deref());
    let verdict = accounts
        .passwords
        .verify(&wanted.password, stored, &site.entropy)
        .await?;
    let (Some(found), true) = (found, verdict != Verdict::Wrong) else {
        return Err(wrong());
    };
    let view = enter(
        &pool,
        &site,
        &accounts,
        &wanted,
        (&found, &verdict),
        &subjects,
    )
    .await?;
    let mut response = Json(view).into_response();
    let no_store = HeaderValue::from_static("no-store");
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, no_store);
    Ok(response)
}

/// Opens the session of an account whose password was right.
async fn enter(
    pool: &PgPool,
    site: &Site,
    accounts: &Accounts,
    wanted: &Wanted,
    (found, verdict): (&Credentials, &Verdict),
    subjects: &[Subject<'_>],
) -> Result<SignedInView, Problem> {
    let (merchant, account) = (wanted.merchant, AccountId(found.account_id));
    let mut tx = database::begin(pool).await?;
    let mut hash = found.password_hash.as_deref();
    if let Verdict::Outdated(anew) = verdict
        && store::replace_password(&mut tx, merchant, account, hash, anew).await?
    {
        hash = Some(anew);
    }
    let row = store::find(&mut tx, merchant, account).await?;
    let (Some(row), Some(hash)) = (row, hash) else {
        return Err(wrong());
    };
    let opening = Opening {
        merchant,
        account,
        role: Role::parse(&row.role).ok_or_else(super::vanished)?,
        scopes: wanted.scopes.as_deref(),
        shown: Shown::Password(hash),
    };
    let opened = sessions::open(&mut tx, &accounts.tokens, site, &opening).await?;
    // changed or closed a moment ago
    let tokens = opened.ok_or_else(wrong)?;
    throttle::give_back(&mut tx, merchant, subjects).await?;
    tx.commit().await?;
    Ok(SignedInView {
        account: AccountView::of(merchant, row),
        tokens,
    })
}

fn wrong() -> Problem {
    let detail = "the e-mail address or the password is wrong";
    Problem::new(&codes::CREDENTIALS_WRONG, detail)
}
