//! `POST /v1/auth/password/forgotten` and `POST /v1/auth/password/reset`: a new password, by mail.
//!
//! The first only writes down that an address was given; whether anybody has it is looked up when the mail
//! is sent. So the answer and its time are the same for every address.

use std::fmt;

use axum::extract::State;
use axum::http::StatusCode;
use counterfoil_proofs::base32;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use utoipa::ToSchema;
use uuid::Uuid;

use super::store::mails as store;
use super::throttle::{self, Subject};
use super::{Accounts, check_sound, fields};
use crate::clock::{Clock, Entropy};
use crate::database::trust::Trust;
use crate::http::Site;
use crate::http::address::ClientAddress;
use crate::http::body::JsonBytes;
use crate::http::codes;
use crate::http::object::{self, Field, Read, Shape};
use crate::http::problem::{Problem, ProblemDocument};
use crate::ids::MerchantId;

/// Whose password was forgotten.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"merchant_id": "mer_01JQ8Z6Y5W4V3U2T1S0R9Q8P7N", "email": "ada@shop.example"}))]
pub struct ForgottenRequest {
    /// The shop.
    pub merchant_id: String,
    /// The account's address, in any case.
    pub email: String,
}

static FORGOTTEN: &[Field] = &[
    Field::required("merchant_id", Shape::Text),
    Field::required("email", Shape::Text),
];

/// A new password, with the token of a mail.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"token": "cf_reset_…", "password": "a longer sentence is better"}))]
pub struct ResetRequest {
    /// As the mail has it.
    #[schema(value_type = String)]
    pub token: SecretString,
    /// 10 to 256 characters.
    #[schema(value_type = String, format = Password)]
    pub password: SecretString,
}

static RESET: &[Field] = &[
    Field::required("token", Shape::Text),
    Field::required("password", Shape::Text),
];

/// A token that sets a password: `cf_reset_`, then merchant, id and secret, 26 characters of base32 each.
#[derive(Clone)]
pub struct ResetToken {
    /// Whose account it is.
    pub merchant: MerchantId,
    /// Its id.
    pub id: Uuid,
    secret: [u8; 16],
}

impl ResetToken {
    const PREFIX: &'static str = "cf_reset_";

    /// A new one.
    pub fn new(merchant: MerchantId, clock: &Clock, entropy: &Entropy) -> Self {
        Self {
            merchant,
            id: entropy.uuid_v7(clock),
            secret: entropy.bytes(),
        }
    }

    /// Reads a token's text.
    pub fn parse(text: &SecretString) -> Option<Self> {
        let rest = text.expose_secret().trim().strip_prefix(Self::PREFIX)?;
        if rest.len() != 3 * 26 || !rest.is_ascii() {
            return None;
        }
        let part = |index: usize| base32::decode(&rest[index * 26..(index + 1) * 26]);
        Some(Self {
            merchant: MerchantId(Uuid::from_bytes(part(0)?)),
            id: Uuid::from_bytes(part(1)?),
            secret: part(2)?,
        })
    }

    /// Its text.
    pub fn text(&self) -> SecretString {
        let parts = [&self.merchant.bytes(), self.id.as_bytes(), &self.secret];
        let parts = parts.map(base32::encode);
        SecretString::from(format!("{}{}", Self::PREFIX, parts.concat()))
    }

    /// What is kept of it.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.secret).into()
    }
}

impl fmt::Debug for ResetToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a reset token with the id {}", self.id)
    }
}

fn judge_forgotten(mut read: Read<ForgottenRequest>) -> Result<(MerchantId, String), Problem> {
    let request = read.body.clone();
    let merchant = fields::merchant(&mut read, &request.merchant_id);
    let email = fields::email(&mut read, &request.email);
    match (merchant, email) {
        (Some(merchant), Some(email)) if read.faults.is_empty() => Ok((merchant, email)),
        _ => Err(Problem::of_faults(read.faults)),
    }
}

/// Have a mail sent that lets a new password be set
///
/// The same answer whether an account has the address or not. What the mail carries is good for 20 minutes,
/// once.
#[utoipa::path(
    post, path = "/v1/auth/password/forgotten", tag = "Accounts", request_body = ForgottenRequest, security(()),
    responses(
        (status = 202, description = "If an account has the address, a mail is on its way"),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 413, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 415, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn forgotten(
    State(pool): State<PgPool>,
    State(site): State<Site>,
    State(trust): State<Trust>,
    State(accounts): State<Accounts>,
    ClientAddress(address): ClientAddress,
    JsonBytes(bytes): JsonBytes,
) -> Result<StatusCode, Problem> {
    accounts.check_mail()?;
    let (merchant, email) = judge_forgotten(object::read(&bytes, FORGOTTEN)?)?;
    check_sound(&trust)?;
    let now = site.clock.now();
    let subjects = [Subject::Address(address), Subject::Mail(&email)];
    let mut db = pool.acquire().await?;
    throttle::take(&mut db, merchant, &subjects, now).await?;
    let mail = site.entropy.uuid_v7(&site.clock);
    store::ask_for_reset(&mut db, merchant, mail, &email, now).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Set a new password with the token of a mail
///
/// It works once, for a forgotten password and for an invitation. Every session of the account ends; sign in
/// with the new password.
#[utoipa::path(
    post, path = "/v1/auth/password/reset", tag = "Accounts", request_body = ResetRequest, security(()),
    responses(
        (status = 204, description = "The password is set"),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 410, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 413, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 415, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn reset(
    State(pool): State<PgPool>,
    State(site): State<Site>,
    State(trust): State<Trust>,
    State(accounts): State<Accounts>,
    JsonBytes(bytes): JsonBytes,
) -> Result<StatusCode, Problem> {
    let mut read: Read<ResetRequest> = object::read(&bytes, RESET)?;
    let ResetRequest { token, password } = read.body.clone();
    let token = ResetToken::parse(&token);
    check_sound(&trust)?;
    let mut db = pool.acquire().await?;
    // a token that is not good costs no hashing
    let email = match &token {
        Some(token) => {
            let at = (token.merchant, token.id);
            store::email_of_token(&mut db, at, &token.hash(), site.clock.now()).await?
        }
        None => None,
    };
    drop(db);
    fields::password(&mut read, "/password", &password, email.as_deref());
    if !read.faults.is_empty() {
        return Err(Problem::of_faults(read.faults));
    }
    let (Some(token), Some(_)) = (token, email) else {
        return Err(over());
    };
    let hash = accounts.passwords.hash(&password, &site.entropy).await?;
    let mut db = pool.acquire().await?;
    let (at, now) = ((token.merchant, token.id), site.clock.now());
    if !store::redeem_token(&mut db, at, &token.hash(), &hash, now).await? {
        return Err(over());
    }
    Ok(StatusCode::NO_CONTENT)
}

fn over() -> Problem {
    let detail = "it was used, has expired, or is mistyped";
    Problem::new(&codes::RESET_TOKEN_OVER, detail)
}
