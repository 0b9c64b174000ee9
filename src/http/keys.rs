//! API keys: `cf_live_…` or `cf_test_…`, then merchant, key id and secret, 26 characters of base32
//! each. The merchant stands in the key, so that looking it up stays within one merchant.

use std::fmt;
use std::sync::Arc;

use counterfoil_proofs::base32;
use moka::future::Cache;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use sqlx::{PgConnection, PgExecutor, PgPool};
use subtle::ConstantTimeEq;
use time::OffsetDateTime;

use super::auth::{Caller, Role, Who};
use super::problem::Problem;
use super::scopes::Scopes;
use crate::clock::{Clock, Entropy};
use crate::database;
use crate::ids::{KeyId, MerchantId};
use crate::limits;

/// Whether a merchant is a real one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Anchored on every configured chain.
    Live,
    /// For trying things; never anchored on a production chain.
    Test,
}

impl Mode {
    /// The mode that stands in the database.
    pub fn of(name: &str) -> Self {
        if name == "live" {
            Self::Live
        } else {
            Self::Test
        }
    }

    /// As it stands in the database and in a key.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Test => "test",
        }
    }
}

/// The parts of a key's text.
#[derive(Clone)]
struct Parts {
    mode: Mode,
    merchant: [u8; 16],
    key: [u8; 16],
    secret: [u8; 16],
}

impl fmt::Display for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cf_{}_", self.mode.as_str())?;
        [&self.merchant, &self.key, &self.secret]
            .iter()
            .try_for_each(|part| f.write_str(&base32::encode(part)))
    }
}

/// Whether a text is meant to be a key.
pub(super) fn is_key(token: &SecretString) -> bool {
    token.expose_secret().starts_with("cf_")
}

fn parse(token: &str) -> Option<Parts> {
    let (mode, rest) = match (
        token.strip_prefix("cf_live_"),
        token.strip_prefix("cf_test_"),
    ) {
        (Some(rest), _) => (Mode::Live, rest),
        (_, Some(rest)) => (Mode::Test, rest),
        _ => return None,
    };
    if rest.len() != 3 * 26 || !rest.is_ascii() {
        return None;
    }
    let part = |index: usize| base32::decode(&rest[index * 26..(index + 1) * 26]);
    Some(Parts {
        mode,
        merchant: part(0)?,
        key: part(1)?,
        secret: part(2)?,
    })
}

fn hash(secret: &[u8; 16]) -> [u8; 32] {
    Sha256::digest(secret).into()
}

/// A key's text, and what is kept of it.
#[derive(Debug)]
pub struct Secret {
    /// The key's id.
    pub id: KeyId,
    /// SHA-256 of its secret part.
    pub hash: [u8; 32],
    /// The text, which is told once and never stored.
    pub text: SecretString,
}

impl Secret {
    /// A new one of a merchant.
    pub fn new(mode: Mode, merchant: MerchantId, clock: &Clock, entropy: &Entropy) -> Self {
        let id = KeyId::new(clock, entropy);
        let parts = Parts {
            mode,
            merchant: merchant.bytes(),
            key: id.bytes(),
            secret: entropy.bytes(),
        };
        Self {
            id,
            hash: hash(&parts.secret),
            text: SecretString::from(parts.to_string()),
        }
    }
}

/// What a new key is to be.
#[derive(Debug, Clone)]
pub struct NewKey<'a> {
    /// Whose it is.
    pub merchant: MerchantId,
    /// What it may do.
    pub role: Role,
    /// What people call it.
    pub label: &'a str,
    /// When it stops working; never, when none.
    pub expires_at: Option<OffsetDateTime>,
}

/// Makes a key. Its text is returned once and never stored; none when there is no such merchant.
///
/// # Errors
/// The database's.
pub async fn create(
    db: &mut PgConnection,
    clock: &Clock,
    entropy: &Entropy,
    new: &NewKey<'_>,
) -> Result<Option<(KeyId, SecretString)>, sqlx::Error> {
    let mode = sqlx::query_scalar!(
        "select mode from merchant where merchant_id = $1",
        new.merchant.0
    )
    .fetch_optional(&mut *db)
    .await?;
    let Some(mode) = mode else { return Ok(None) };
    let secret = Secret::new(Mode::of(&mode), new.merchant, clock, entropy);
    sqlx::query!(
        "insert into api_key (merchant_id, key_id, role, secret_hash, label, created_at, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7)",
        new.merchant.0,
        secret.id.0,
        new.role.as_str(),
        &secret.hash[..],
        new.label,
        clock.now(),
        new.expires_at,
    )
    .execute(db)
    .await?;
    Ok(Some((secret.id, secret.text)))
}

/// Checks keys against the database and remembers the verdict for a few seconds, wrong ones too.
#[derive(Clone)]
pub struct Keys {
    pool: PgPool,
    clock: Clock,
    seen: Cache<[u8; 32], Option<Arc<Caller>>>,
}

impl Keys {
    /// Keys of this database.
    pub fn new(pool: PgPool, clock: Clock) -> Self {
        let seen = Cache::builder()
            .max_capacity(10_000)
            .time_to_live(limits::KEY_CACHE_TIME)
            .build();
        Self { pool, clock, seen }
    }

    /// Whom a key belongs to; none for one that is not valid now. `may_look_up` is asked before the
    /// database is.
    ///
    /// # Errors
    /// What `may_look_up` says; the database's.
    pub async fn check(
        &self,
        token: &SecretString,
        may_look_up: impl FnOnce() -> Result<(), Problem>,
    ) -> Result<Option<Arc<Caller>>, Problem> {
        let Some(parts) = parse(token.expose_secret()) else {
            return Ok(None);
        };
        let slot = Sha256::digest(token.expose_secret().as_bytes()).into();
        let look_up = async {
            may_look_up()?;
            let caller = self.look_up(parts).await;
            caller.map_err(Problem::from)
        };
        let caller = self.seen.try_get_with(slot, look_up).await;
        caller.map_err(|problem| Problem::clone(&problem))
    }

    /// Once more when the connection was cut: nobody's key is wrong because Postgres restarted.
    async fn look_up(&self, parts: Parts) -> Result<Option<Arc<Caller>>, sqlx::Error> {
        match self.read(&self.pool, &parts).await {
            Err(error) if database::was_cut(&error) => {
                let mut db = database::acquire_tested(&self.pool).await?;
                self.read(&mut *db, &parts).await
            }
            read => read,
        }
    }

    async fn read(
        &self,
        db: impl PgExecutor<'_>,
        parts: &Parts,
    ) -> Result<Option<Arc<Caller>>, sqlx::Error> {
        let merchant = MerchantId(uuid::Uuid::from_bytes(parts.merchant));
        let id = KeyId(uuid::Uuid::from_bytes(parts.key));
        let row = sqlx::query!(
            "select k.role, k.scopes, k.secret_hash, k.expires_at, k.revoked_at, m.mode
             from api_key k join merchant m using (merchant_id)
             where k.merchant_id = $1 and k.key_id = $2",
            merchant.0,
            id.0,
        )
        .fetch_optional(db)
        .await?;
        Ok(row.and_then(|row| {
            let right = bool::from(row.secret_hash.as_slice().ct_eq(&hash(&parts.secret)));
            let alive =
                row.revoked_at.is_none() && row.expires_at.is_none_or(|at| at > self.clock.now());
            let role = Role::of_key(&row.role)?;
            (right && alive && row.mode == parts.mode.as_str()).then(|| {
                Arc::new(Caller {
                    merchant,
                    who: Who::Key(id),
                    role,
                    scopes: Scopes::stored(row.scopes.as_deref()),
                    session: None,
                })
            })
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keys_text_parses_back_and_nothing_else_does() {
        let parts = Parts {
            mode: Mode::Test,
            merchant: [1; 16],
            key: [2; 16],
            secret: [3; 16],
        };
        let text = parts.to_string();
        let back = parse(&text).unwrap();
        assert_eq!(
            (back.merchant, back.key, back.secret),
            ([1; 16], [2; 16], [3; 16])
        );
        for bad in [
            "",
            "cf_test_",
            &text[1..],
            &text[..text.len() - 1],
            &text.to_uppercase(),
            &format!("{text}0"),
        ] {
            assert!(parse(bad).is_none(), "{bad}");
        }
    }
}
