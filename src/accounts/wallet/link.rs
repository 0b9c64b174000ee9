//! `POST /v1/me/wallet` and `DELETE /v1/me/wallet`: the wallet of an account that has signed in.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use secrecy::SecretString;
use serde::Deserialize;
use sqlx::PgPool;
use utoipa::ToSchema;

use super::{Signed, check, judge_signed, nonce_over, refused};
use crate::accounts::passwords::Verdict;
use crate::accounts::store::accounts as accounts_store;
use crate::accounts::store::{sessions, wallets as store};
use crate::accounts::throttle::{self, Subject};
use crate::accounts::view::AccountView;
use crate::accounts::{Accounts, check_sound, fields, vanished};
use crate::database;
use crate::database::trust::Trust;
use crate::http::Site;
use crate::http::address::ClientAddress;
use crate::http::auth::{Authenticated, Caller};
use crate::http::body::JsonBytes;
use crate::http::codes;
use crate::http::object::{self, Field, Read, Shape};
use crate::http::paging::Params;
use crate::http::problem::{Fault, Problem, ProblemDocument};
use crate::limits;

/// A wallet to link to the account that has signed in.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WalletRequest {
    /// The text that was signed, to the last byte.
    #[schema(example = "shop.example wants you to sign in with your Ethereum account:\n…")]
    pub message: String,
    /// 0x and hexadecimal digits.
    #[schema(example = "0x…")]
    pub signature: String,
    /// The account's password, where it has one: a wallet is another way in.
    #[schema(value_type = Option<String>, format = Password, example = "a long sentence is best")]
    pub password: Option<SecretString>,
}

static LINK: &[Field] = &[
    Field::required("message", Shape::Text),
    Field::required("signature", Shape::Text),
    Field::optional("password", Shape::Text),
];

/// Link a wallet to the account that has signed in
///
/// It signs in with either from then on. The account's password is asked for; where it has none, it must have signed
/// in with its wallet within the last five minutes. A password that is reset by mail takes the wallet away: whoever
/// knew the old one may have linked it.
#[utoipa::path(
    post, path = "/v1/me/wallet", tag = "Accounts", request_body = WalletRequest, security(("token" = [])),
    responses(
        (status = 200, body = AccountView),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 410, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 413, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 415, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn link(
    State(pool): State<PgPool>,
    State(site): State<Site>,
    State(trust): State<Trust>,
    State(accounts): State<Accounts>,
    ClientAddress(address): ClientAddress,
    Authenticated(caller): Authenticated,
    JsonBytes(bytes): JsonBytes,
) -> Result<Json<AccountView>, Problem> {
    let (account, _) = caller.account()?;
    let mut read: Read<WalletRequest> = object::read(&bytes, LINK)?;
    let body = read.body.clone();
    let signed = judge_signed(&mut read, &body.message, &body.signature);
    if let Some(password) = &body.password {
        fields::given_password(&mut read, "/password", password);
    }
    let (Some(signed), true) = (signed, read.faults.is_empty()) else {
        return Err(Problem::of_faults(read.faults));
    };
    check_sound(&trust)?;
    let password = confirm(&pool, &site, &accounts, &caller, body.password.as_ref()).await?;
    check(&pool, &site, &accounts, caller.merchant, &signed, address).await?;
    let Signed { message, .. } = &signed;
    let at = (caller.merchant, account);
    let mut tx = database::begin(&pool).await?;
    if !store::use_nonce(&mut tx, caller.merchant, &message.nonce, site.clock.now()).await? {
        return Err(nonce_over());
    }
    let linked = store::link(&mut tx, at, password.as_deref(), &message.account).await;
    if !linked.map_err(refused)? {
        return Err(wrong_password());
    }
    let row = accounts_store::find(&mut tx, caller.merchant, account).await?;
    let row = row.ok_or_else(vanished)?;
    tx.commit().await?;
    Ok(Json(AccountView::of(caller.merchant, row)))
}

/// The hash of the account's password, once that was shown; none where it has none and has signed in with its wallet
/// a moment ago: a token that was stolen is not enough to put another wallet in its place.
async fn confirm(
    pool: &PgPool,
    site: &Site,
    accounts: &Accounts,
    caller: &Caller,
    shown: Option<&SecretString>,
) -> Result<Option<String>, Problem> {
    let (account, session) = caller.account()?;
    let mut db = pool.acquire().await?;
    let found = accounts_store::credentials(&mut db, caller.merchant, account).await?;
    let found = found.ok_or_else(vanished)?;
    let Some(hash) = found.password_hash else {
        let begun_at = sessions::begun_at(&mut db, caller.merchant, session).await?;
        let recent = site.clock.now() - limits::WALLET_LINK_TIME;
        if begun_at.is_some_and(|begun_at| begun_at >= recent) {
            return Ok(None);
        }
        let detail =
            "the account has no password: sign in with its wallet again, then link the other";
        return Err(Problem::new(&codes::SIGN_IN_AGAIN, detail));
    };
    let Some(shown) = shown else {
        let detail = "the account has a password: show it";
        let fault = Fault::new("/password", &codes::MISSING_FIELD, detail);
        return Err(Problem::of_faults(vec![fault]));
    };
    let name = account.to_string();
    let subjects = [Subject::Email(found.email.as_deref().unwrap_or(&name))];
    throttle::take(&mut db, caller.merchant, &subjects, site.clock.now()).await?;
    drop(db);
    let verdict = accounts
        .passwords
        .verify(shown, Some(&hash), &site.entropy)
        .await?;
    if verdict == Verdict::Wrong {
        return Err(wrong_password());
    }
    let mut db = pool.acquire().await?;
    throttle::give_back(&mut db, caller.merchant, &subjects).await?;
    Ok(Some(hash))
}

/// Unlink the wallet of the account that has signed in
///
/// An account that has no password keeps it: nobody could sign in any more.
#[utoipa::path(
    delete, path = "/v1/me/wallet", tag = "Accounts", security(("token" = [])),
    responses(
        (status = 204, description = "It has none"),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn unlink(
    State(pool): State<PgPool>,
    State(trust): State<Trust>,
    Authenticated(caller): Authenticated,
    params: Params,
) -> Result<StatusCode, Problem> {
    params.finish()?;
    let (account, _) = caller.account()?;
    check_sound(&trust)?;
    let mut db = pool.acquire().await?;
    if !store::unlink(&mut db, caller.merchant, account).await? {
        let detail = "the account has no password to sign in with instead";
        return Err(Problem::new(&codes::WALLET_NEEDED, detail));
    }
    Ok(StatusCode::NO_CONTENT)
}

fn wrong_password() -> Problem {
    let detail = "the password is wrong, or was changed a moment ago";
    Problem::new(&codes::CREDENTIALS_WRONG, detail)
}
