//! Access tokens: what accounts carry in the place of a key. A token is signed, so it is known without the
//! database whose it is; whether its session is alive the database says, and that is remembered for as long
//! as it is of a key. So a log-out or a new password ends access as fast as a key is revoked.

mod signing;

use std::sync::Arc;

use counterfoil_proofs::base32;
use moka::future::Cache;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sqlx::{PgExecutor, PgPool};
use time::OffsetDateTime;

use super::auth::{Caller, Role, Who};
use super::codes;
use super::problem::Problem;
use super::scopes::Scopes;
use crate::clock::{Clock, Entropy};
use crate::database;
use crate::ids::{AccountId, MerchantId, SessionId};
use crate::limits;

pub use signing::{KeySet, PublicKey, SigningKeys, SigningKeysError};

/// Who a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bearer {
    /// Whose account it is.
    pub merchant: MerchantId,
    /// The account.
    pub account: AccountId,
    /// What it may do.
    pub role: Role,
    /// What its session is narrowed to.
    pub scopes: Scopes,
    /// The session.
    pub session: SessionId,
}

/// What a token says.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    merchant: String,
    role: String,
    scope: String,
    sid: String,
    iat: i64,
    exp: i64,
    jti: String,
}

/// Issues access tokens and checks them. Cheap to clone.
#[derive(Clone)]
pub struct Tokens(Arc<Inner>);

struct Inner {
    keys: Option<SigningKeys>,
    issuer: Arc<str>,
    pool: PgPool,
    clock: Clock,
    alive: Cache<[u8; 32], Option<Arc<Caller>>>,
}

impl Tokens {
    /// Tokens that say `issuer` has issued them. Without keys there are none.
    pub fn new(pool: PgPool, clock: Clock, issuer: Arc<str>, keys: Option<SigningKeys>) -> Self {
        let alive = Cache::builder()
            .max_capacity(10_000)
            .time_to_live(limits::KEY_CACHE_TIME)
            .build();
        Self(Arc::new(Inner {
            keys,
            issuer,
            pool,
            clock,
            alive,
        }))
    }

    /// A new token.
    ///
    /// # Errors
    /// 503 where no keys are configured.
    pub fn issue(&self, bearer: &Bearer, entropy: &Entropy) -> Result<SecretString, Problem> {
        let Inner { issuer, clock, .. } = &*self.0;
        let now = clock.now().unix_timestamp();
        let lasts = i64::try_from(limits::ACCESS_TOKEN_TIME.as_secs()).unwrap_or(0);
        let claims = Claims {
            iss: issuer.to_string(),
            sub: bearer.account.to_string(),
            merchant: bearer.merchant.to_string(),
            role: bearer.role.as_str().to_owned(),
            scope: bearer.scopes.within(bearer.role),
            sid: bearer.session.to_string(),
            iat: now,
            exp: now + lasts,
            jti: base32::encode(&entropy.bytes()),
        };
        Ok(SecretString::from(self.keys()?.sign(&claims)))
    }

    /// The public keys.
    ///
    /// # Errors
    /// 503 where none are configured.
    pub fn published(&self) -> Result<KeySet, Problem> {
        self.keys().map(SigningKeys::published)
    }

    /// That tokens can be issued.
    ///
    /// # Errors
    /// 503 where no keys are configured.
    pub fn check_configured(&self) -> Result<(), Problem> {
        self.keys().map(drop)
    }

    fn keys(&self) -> Result<&SigningKeys, Problem> {
        self.0.keys.as_ref().ok_or_else(|| {
            let detail = "accounts need token keys: start the server with --token-keys";
            Problem::new(&codes::ACCOUNTS_NOT_CONFIGURED, detail).retry_after(60)
        })
    }

    /// Whom a token belongs to; none for one that is not valid now. `may_look_up` is asked before the
    /// database is.
    ///
    /// # Errors
    /// What `may_look_up` says; the database's.
    pub(super) async fn check(
        &self,
        token: &SecretString,
        may_look_up: impl FnOnce() -> Result<(), Problem>,
    ) -> Result<Option<Arc<Caller>>, Problem> {
        let text = token.expose_secret();
        let Some(bearer) = self.read(text) else {
            return Ok(None);
        };
        let slot = Sha256::digest(text.as_bytes()).into();
        let look_up = async {
            may_look_up()?;
            self.look_up(bearer).await.map_err(Problem::from)
        };
        let caller = self.0.alive.try_get_with(slot, look_up).await;
        caller.map_err(|problem| Problem::clone(&problem))
    }

    /// What a token of ours says, while it has not expired.
    fn read(&self, token: &str) -> Option<(MerchantId, AccountId, SessionId)> {
        let Inner {
            keys,
            issuer,
            clock,
            ..
        } = &*self.0;
        let claims: Claims = keys.as_ref()?.verify(token)?;
        let good = claims.iss == **issuer && claims.exp > clock.now().unix_timestamp();
        let ids = (
            claims.merchant.parse().ok()?,
            claims.sub.parse().ok()?,
            claims.sid.parse().ok()?,
        );
        good.then_some(ids)
    }

    /// Once more when the connection was cut, as of keys.
    async fn look_up(
        &self,
        ids: (MerchantId, AccountId, SessionId),
    ) -> Result<Option<Arc<Caller>>, sqlx::Error> {
        let Inner { pool, clock, .. } = &*self.0;
        let found = match find_alive(pool, ids, clock.now()).await {
            Err(error) if database::was_cut(&error) => {
                let mut db = database::acquire_tested(pool).await?;
                find_alive(&mut *db, ids, clock.now()).await
            }
            found => found,
        };
        Ok(found?.map(Arc::new))
    }
}

/// The holder of a session that has not ended. Role and scopes are what they are now, whatever a token says.
async fn find_alive(
    db: impl PgExecutor<'_>,
    (merchant, account, session): (MerchantId, AccountId, SessionId),
    now: OffsetDateTime,
) -> Result<Option<Caller>, sqlx::Error> {
    let row = sqlx::query!(
        "select a.role, s.scopes
         from session s join account a using (merchant_id, account_id)
         where s.merchant_id = $1 and s.session_id = $2 and s.account_id = $3
           and s.ended_at is null and s.expires_at > $4 and a.closed_at is null",
        merchant.0,
        session.0,
        account.0,
        now,
    )
    .fetch_optional(db)
    .await?;
    Ok(row.and_then(|row| {
        Some(Caller {
            merchant,
            who: Who::Account(account),
            role: Role::parse(&row.role)?,
            scopes: Scopes::stored(row.scopes.as_deref()),
            session: Some(session),
        })
    }))
}
