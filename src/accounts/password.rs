//! `POST /v1/me/password`: another password, by whoever knows the old one.

use axum::extract::State;
use axum::http::StatusCode;
use secrecy::SecretString;
use serde::Deserialize;
use sqlx::PgPool;
use utoipa::ToSchema;

use super::passwords::Verdict;
use super::store::accounts as store;
use super::throttle::{self, Subject};
use super::{Accounts, check_sound, fields};
use crate::database;
use crate::database::trust::Trust;
use crate::http::Site;
use crate::http::auth::Authenticated;
use crate::http::body::JsonBytes;
use crate::http::codes;
use crate::http::object::{self, Field, Read, Shape};
use crate::http::problem::{Problem, ProblemDocument};

/// A password to change.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"current_password": "a long sentence is best", "new_password": "a longer sentence is better"}))]
pub struct PasswordRequest {
    /// The one that is good now.
    #[schema(value_type = String, format = Password)]
    pub current_password: SecretString,
    /// 10 to 256 characters.
    #[schema(value_type = String, format = Password)]
    pub new_password: SecretString,
}

static PASSWORD: &[Field] = &[
    Field::required("current_password", Shape::Text),
    Field::required("new_password", Shape::Text),
];

/// Change the password of the account that has signed in
///
/// Every other session of it ends; this one goes on. An account without a password gets one by
/// `POST /v1/auth/password/forgotten`, if it has an e-mail address.
#[utoipa::path(
    post, path = "/v1/me/password", tag = "Accounts", request_body = PasswordRequest, security(("token" = [])),
    responses(
        (status = 204, description = "It is changed"),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 413, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 415, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn change_password(
    State(pool): State<PgPool>,
    State(site): State<Site>,
    State(trust): State<Trust>,
    State(accounts): State<Accounts>,
    Authenticated(caller): Authenticated,
    JsonBytes(bytes): JsonBytes,
) -> Result<StatusCode, Problem> {
    let (account, session) = caller.account()?;
    let mut read: Read<PasswordRequest> = object::read(&bytes, PASSWORD)?;
    let request = read.body.clone();
    let mut db = pool.acquire().await?;
    let found = store::credentials(&mut db, caller.merchant, account).await?;
    let found = found.ok_or_else(super::vanished)?;
    let email = found.email.as_deref();
    fields::given_password(&mut read, "/current_password", &request.current_password);
    fields::password(&mut read, "/new_password", &request.new_password, email);
    if !read.faults.is_empty() {
        return Err(Problem::of_faults(read.faults));
    }
    check_sound(&trust)?;
    // whoever has found an access token is not to find the password by it
    let name = account.to_string();
    let subjects = [Subject::Email(email.unwrap_or(&name))];
    throttle::take(&mut db, caller.merchant, &subjects, site.clock.now()).await?;
    drop(db);
    let passwords = &accounts.passwords;
    let old = found.password_hash.as_deref();
    let verdict = passwords
        .verify(&request.current_password, old, &site.entropy)
        .await?;
    let (Some(old), true) = (old, verdict != Verdict::Wrong) else {
        return Err(wrong());
    };
    let new = passwords.hash(&request.new_password, &site.entropy).await?;
    let change = store::Change {
        merchant: caller.merchant,
        account,
        from: old,
        to: &new,
        but: session,
    };
    let mut tx = database::begin(&pool).await?;
    if !store::change_password(&mut tx, &change, site.clock.now()).await? {
        return Err(wrong());
    }
    throttle::give_back(&mut tx, caller.merchant, &subjects).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

fn wrong() -> Problem {
    let detail = "the current password is wrong, or was changed a moment ago";
    Problem::new(&codes::CREDENTIALS_WRONG, detail)
}
