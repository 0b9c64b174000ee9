//! Sessions: what a sign-in opens. A session gives access tokens of ten minutes, and refresh tokens that are
//! good once.

use std::fmt;

use counterfoil_proofs::base32;
use ring::hmac;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::store::sessions::{self as store, Shown};
use crate::clock::{Entropy, rfc3339_ms};
use crate::http::Site;
use crate::http::auth::Role;
use crate::http::problem::Problem;
use crate::http::scopes::Scopes;
use crate::http::tokens::{Bearer, Tokens};
use crate::ids::{AccountId, MerchantId, SessionId};
use crate::limits;

/// What whoever has signed in goes on with.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Tokens)]
pub struct TokensView {
    /// Goes as `Authorization: Bearer`, for ten minutes.
    #[schema(example = "eyJ…")]
    pub access_token: String,
    /// `Bearer`.
    pub token_type: String,
    /// Seconds that the access token works.
    pub expires_in: u64,
    /// Gives the next two tokens by `POST /v1/auth/refresh`, once.
    #[schema(example = "cf_refresh_…")]
    pub refresh_token: String,
    /// When the session ends unless it is refreshed before.
    pub refresh_expires_at: String,
    /// What the access token may do: scopes, separated by spaces.
    #[schema(example = "shop:buy")]
    pub scope: String,
    /// The session.
    #[schema(value_type = String, example = "ses_01JQ8Z6Y5W4V3U2T1S0R9Q8P7N")]
    pub session_id: SessionId,
}

/// A session to open.
#[derive(Debug)]
pub(super) struct Opening<'a> {
    pub(super) merchant: MerchantId,
    pub(super) account: AccountId,
    pub(super) role: Role,
    /// Names of scopes that it is narrowed to.
    pub(super) scopes: Option<&'a [String]>,
    pub(super) shown: Shown<'a>,
}

/// Opens a session. None when the account is closed, or no longer has what was shown.
///
/// # Errors
/// 503 where no token keys are configured; the database's.
pub(super) async fn open(
    conn: &mut PgConnection,
    tokens: &Tokens,
    site: &Site,
    opening: &Opening<'_>,
) -> Result<Option<TokensView>, Problem> {
    let now = site.clock.now();
    let session = SessionId::new(&site.clock, &site.entropy);
    let refresh = RefreshToken::first(opening.merchant, session, &site.entropy);
    let new = store::New {
        merchant: opening.merchant,
        session,
        account: opening.account,
        scopes: opening.scopes,
        hashes: &refresh.hashes(),
        expires_at: now + limits::SESSION_IDLE,
        shown: opening.shown,
    };
    if !store::begin(conn, &new, now).await? {
        return Ok(None);
    }
    let bearer = Bearer {
        merchant: opening.merchant,
        account: opening.account,
        role: opening.role,
        scopes: Scopes::stored(opening.scopes),
        session,
    };
    view(tokens, site, &bearer, &refresh, new.expires_at).map(Some)
}

/// What is told of a session.
pub(super) fn view(
    tokens: &Tokens,
    site: &Site,
    bearer: &Bearer,
    refresh: &RefreshToken,
    expires_at: OffsetDateTime,
) -> Result<TokensView, Problem> {
    let access = tokens.issue(bearer, &site.entropy)?;
    Ok(TokensView {
        access_token: access.expose_secret().to_owned(),
        token_type: "Bearer".to_owned(),
        expires_in: limits::ACCESS_TOKEN_TIME.as_secs(),
        refresh_token: refresh.text().expose_secret().to_owned(),
        refresh_expires_at: rfc3339_ms(expires_at),
        scope: bearer.scopes.within(bearer.role),
        session_id: bearer.session,
    })
}

/// A refresh token: `cf_refresh_`, then merchant, session, the session's own secret and the token's, 26
/// characters of base32 each. All tokens of a session share the first secret, so one that is not good any
/// more is told from one that somebody made up.
#[derive(Clone, PartialEq, Eq)]
pub struct RefreshToken {
    /// Whose session it is.
    pub merchant: MerchantId,
    /// The session.
    pub session: SessionId,
    family: [u8; 16],
    secret: [u8; 16],
}

/// What is kept of a refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefreshHashes {
    /// SHA-256 of the session's secret.
    pub family: [u8; 32],
    /// SHA-256 of the token's own.
    pub secret: [u8; 32],
}

impl RefreshToken {
    const PREFIX: &'static str = "cf_refresh_";

    fn first(merchant: MerchantId, session: SessionId, entropy: &Entropy) -> Self {
        Self {
            merchant,
            session,
            family: entropy.bytes(),
            secret: entropy.bytes(),
        }
    }

    /// Reads a token's text.
    pub fn parse(text: &SecretString) -> Option<Self> {
        let rest = text.expose_secret().strip_prefix(Self::PREFIX)?;
        if rest.len() != 4 * 26 || !rest.is_ascii() {
            return None;
        }
        let part = |index: usize| base32::decode(&rest[index * 26..(index + 1) * 26]);
        let id = |bytes| uuid::Uuid::from_bytes(bytes);
        Some(Self {
            merchant: MerchantId(id(part(0)?)),
            session: SessionId(id(part(1)?)),
            family: part(2)?,
            secret: part(3)?,
        })
    }

    /// The one that comes after it: what its holder and the session's row make of it together. The row
    /// alone does not tell it, and whoever shows this one again gets the same.
    pub(super) fn successor(&self, nonce: &[u8; 32]) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.secret);
        let tag = hmac::sign(&key, nonce);
        let mut secret = [0; 16];
        secret
            .iter_mut()
            .zip(tag.as_ref())
            .for_each(|(to, from)| *to = *from);
        Self {
            secret,
            ..self.clone()
        }
    }

    /// Its text.
    pub fn text(&self) -> SecretString {
        let parts = [
            &self.merchant.bytes(),
            &self.session.bytes(),
            &self.family,
            &self.secret,
        ];
        let parts = parts.map(base32::encode);
        SecretString::from(format!("{}{}", Self::PREFIX, parts.concat()))
    }

    /// What is kept of it.
    pub fn hashes(&self) -> RefreshHashes {
        RefreshHashes {
            family: Sha256::digest(self.family).into(),
            secret: Sha256::digest(self.secret).into(),
        }
    }
}

impl fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a refresh token of {}", self.session)
    }
}
