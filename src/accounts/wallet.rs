//! Signing in with an Ethereum account (EIP-4361): `POST /v1/auth/wallet/nonce`, `POST /v1/auth/wallet/login`,
//! `POST /v1/me/wallet` and `DELETE /v1/me/wallet`.
//!
//! A key's signature is checked here. A contract's (ERC-1271) only its chain can check: these are the only
//! handlers that ask one, for two seconds at the most.
//!
//! - [`link`]: another way into an account that there is
//! - [`message`]: the message that is signed
//! - [`checks`]: whether it is for here and now, and whose signature it is

pub mod checks;
pub mod link;
pub mod message;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use counterfoil_proofs::base32;
use data_encoding::HEXLOWER_PERMISSIVE;
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use utoipa::ToSchema;

use super::sessions::{self, Opening};
use super::store::accounts::{self as accounts_store, New};
use super::store::sessions::Shown;
use super::store::wallets as store;
use super::throttle::{self, Subject};
use super::view::{AccountView, SignedInView};
use super::{Accounts, check_sound, fields};
use crate::clock::rfc3339_ms;
use crate::database;
use crate::database::trust::Trust;
use crate::database::violated;
use crate::http::Site;
use crate::http::address::ClientAddress;
use crate::http::auth::Role;
use crate::http::body::JsonBytes;
use crate::http::codes;
use crate::http::object::{self, Field, Read, Shape};
use crate::http::problem::{Fault, Problem, ProblemDocument};
use crate::ids::{AccountId, MerchantId};
use crate::limits;
use message::SignInMessage;

/// A nonce to be given out.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"merchant_id": "mer_01JQ8Z6Y5W4V3U2T1S0R9Q8P7N"}))]
pub struct NonceRequest {
    /// The shop.
    pub merchant_id: String,
}

static NONCE: &[Field] = &[Field::required("merchant_id", Shape::Text)];

/// What goes into a sign-in message.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WalletNonce)]
pub struct NonceView {
    /// Good once, for five minutes.
    pub nonce: String,
    /// Until when.
    pub expires_at: String,
    /// The domains that a message may be for.
    pub domains: Vec<String>,
    /// The chain ids that it may have; none: any.
    pub chain_ids: Vec<u64>,
}

/// A signed message (EIP-4361).
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WalletLoginRequest {
    /// The shop.
    #[schema(example = "mer_01JQ8Z6Y5W4V3U2T1S0R9Q8P7N")]
    pub merchant_id: String,
    /// The text that was signed, to the last byte.
    #[schema(example = "shop.example wants you to sign in with your Ethereum account:\n…")]
    pub message: String,
    /// 0x and hexadecimal digits: 65 bytes of a key, or what a contract takes.
    #[schema(example = "0x…")]
    pub signature: String,
    /// What the session is narrowed to, separated by spaces; all that the role may unless given.
    #[schema(example = "shop:buy")]
    pub scope: Option<String>,
}

static LOGIN: &[Field] = &[
    Field::required("merchant_id", Shape::Text),
    Field::required("message", Shape::Text),
    Field::required("signature", Shape::Text),
    Field::optional("scope", Shape::Text),
];

/// A message with its signature, of the right form.
struct Signed {
    text: String,
    message: SignInMessage,
    signature: Vec<u8>,
}

fn judge_signed<T>(read: &mut Read<T>, text: &str, signature: &str) -> Option<Signed> {
    let message = if text.len() > limits::WALLET_MESSAGE_BYTES {
        let detail = format!("at most {} bytes", limits::WALLET_MESSAGE_BYTES);
        read.add(Fault::new("/message", &codes::TEXT_TOO_LONG, detail));
        None
    } else {
        let parsed = SignInMessage::parse(text);
        let fault = |detail: String| Fault::new("/message", &codes::WALLET_MESSAGE_INVALID, detail);
        parsed
            .map_err(|error| read.add(fault(error.to_string())))
            .ok()
    };
    let bytes = signature
        .strip_prefix("0x")
        .filter(|hex| (2..=2 * limits::WALLET_SIGNATURE_BYTES).contains(&hex.len()))
        .and_then(|hex| HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).ok());
    if bytes.is_none() {
        let most = limits::WALLET_SIGNATURE_BYTES;
        let detail = format!("0x and hexadecimal digits, 1 to {most} bytes");
        read.add(Fault::new(
            "/signature",
            &codes::WALLET_SIGNATURE_MALFORMED,
            detail,
        ));
    }
    Some(Signed {
        text: text.to_owned(),
        message: message?,
        signature: bytes?,
    })
}

/// Get a nonce for a sign-in message
#[utoipa::path(
    post, path = "/v1/auth/wallet/nonce", tag = "Accounts", request_body = NonceRequest, security(()),
    responses(
        (status = 201, body = NonceView),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 413, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 415, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn give_nonce(
    State(pool): State<PgPool>,
    State(site): State<Site>,
    State(trust): State<Trust>,
    State(accounts): State<Accounts>,
    ClientAddress(address): ClientAddress,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Problem> {
    accounts.tokens.check_configured()?;
    let mut read: Read<NonceRequest> = object::read(&bytes, NONCE)?;
    let text = read.body.merchant_id.clone();
    let merchant = fields::merchant(&mut read, &text);
    let Some(merchant) = merchant.filter(|_| read.faults.is_empty()) else {
        return Err(Problem::of_faults(read.faults));
    };
    check_sound(&trust)?;
    let (now, nonce) = (site.clock.now(), base32::encode(&site.entropy.bytes()));
    let expires_at = now + limits::WALLET_NONCE_TIME;
    let mut db = pool.acquire().await?;
    throttle::take(&mut db, merchant, &[Subject::Address(address)], now).await?;
    store::give_nonce(&mut db, merchant, &nonce, now, expires_at).await?;
    let view = NonceView {
        nonce,
        expires_at: rfc3339_ms(expires_at),
        domains: accounts.wallets.domains().to_vec(),
        chain_ids: accounts.wallets.chain_ids(),
    };
    Ok((StatusCode::CREATED, no_store(), Json(view)).into_response())
}

fn no_store() -> [(header::HeaderName, HeaderValue); 1] {
    [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))]
}

/// Sign in with a wallet
///
/// The message is one of EIP-4361, with a nonce of this merchant. A wallet that no account has makes one: a
/// customer's. A contract's signature is checked on the chain that the message names.
#[utoipa::path(
    post, path = "/v1/auth/wallet/login", tag = "Accounts", request_body = WalletLoginRequest, security(()),
    responses(
        (status = 200, body = SignedInView),
        (status = 201, body = SignedInView, description = "The account was made"),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 410, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 413, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 415, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn sign_in(
    State(pool): State<PgPool>,
    State(site): State<Site>,
    State(trust): State<Trust>,
    State(accounts): State<Accounts>,
    ClientAddress(address): ClientAddress,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Problem> {
    accounts.tokens.check_configured()?;
    let mut read: Read<WalletLoginRequest> = object::read(&bytes, LOGIN)?;
    let body = read.body.clone();
    let merchant = fields::merchant(&mut read, &body.merchant_id);
    let signed = judge_signed(&mut read, &body.message, &body.signature);
    let scopes = fields::scope(&mut read, body.scope.as_deref());
    let (Some(merchant), Some(signed), true) = (merchant, signed, read.faults.is_empty()) else {
        return Err(Problem::of_faults(read.faults));
    };
    check_sound(&trust)?;
    check(&pool, &site, &accounts, merchant, &signed, address).await?;
    let (is_new, view) = enter(
        &pool,
        &site,
        &accounts,
        merchant,
        &signed,
        scopes.as_deref(),
    )
    .await?;
    let status = if is_new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, no_store(), Json(view)).into_response())
}

/// Checks all of a signed message; its nonce is still to be used.
async fn check(
    pool: &PgPool,
    site: &Site,
    accounts: &Accounts,
    merchant: MerchantId,
    signed: &Signed,
    address: std::net::IpAddr,
) -> Result<(), Problem> {
    let now = site.clock.now();
    accounts.wallets.check(&signed.message, now)?;
    let mut db = pool.acquire().await?;
    throttle::take(&mut db, merchant, &[Subject::Address(address)], now).await?;
    if !store::is_nonce_good(&mut db, merchant, &signed.message.nonce, now).await? {
        return Err(nonce_over());
    }
    // no connection is held while a chain is asked
    drop(db);
    let Signed {
        text,
        message,
        signature,
    } = signed;
    accounts
        .wallets
        .check_signature(message, text, signature)
        .await
}

/// Uses the nonce and opens a session, of a new account where no one has the wallet.
async fn enter(
    pool: &PgPool,
    site: &Site,
    accounts: &Accounts,
    merchant: MerchantId,
    signed: &Signed,
    scopes: Option<&[String]>,
) -> Result<(bool, SignedInView), Problem> {
    let (now, wallet) = (site.clock.now(), &signed.message.account[..]);
    let mut tx = database::begin(pool).await?;
    if !store::use_nonce(&mut tx, merchant, &signed.message.nonce, now).await? {
        return Err(nonce_over());
    }
    let known = store::account_of(&mut tx, merchant, wallet).await?;
    let account = known.map_or_else(|| AccountId::new(&site.clock, &site.entropy), AccountId);
    if known.is_none() {
        let new = New {
            wallet: Some(wallet),
            ..New::default()
        };
        let made = accounts_store::register(&mut tx, merchant, account, &new, now).await;
        made.map_err(refused)?;
    }
    let row = accounts_store::find(&mut tx, merchant, account).await?;
    let row = row.ok_or_else(super::vanished)?;
    let opening = Opening {
        merchant,
        account,
        role: Role::parse(&row.role).ok_or_else(super::vanished)?,
        scopes,
        shown: Shown::Wallet(wallet),
    };
    let opened = sessions::open(&mut tx, &accounts.tokens, site, &opening).await?;
    // unlinked or closed a moment ago: the next try makes an account of its own
    let tokens = opened.ok_or_else(taken)?;
    tx.commit().await?;
    let view = SignedInView {
        account: AccountView::of(merchant, row),
        tokens,
    };
    Ok((known.is_none(), view))
}

fn refused(error: sqlx::Error) -> Problem {
    if violated(&error, "account_wallet") {
        return taken();
    }
    error.into()
}

fn taken() -> Problem {
    Problem::new(&codes::WALLET_TAKEN, "another account has this wallet")
}

fn nonce_over() -> Problem {
    let detail = "the nonce was used, has expired, or is none of this merchant's";
    Problem::new(&codes::WALLET_NONCE_OVER, detail)
}
