//! What Redis is asked: the only part that talks to it. It makes answers fast and never right, so every
//! call may come back with nothing, and none has an error.
//!
//! A call waits at most [`crate::limits::CACHE_TIME`] and never for a connection: that is made in the
//! background ([`link`]). Nothing is read or written while it is not known which database answers
//! ([`epoch`]), because an entry is only worth what the database that it was made from still holds.

mod address;
mod epoch;
mod link;

use std::sync::Arc;
use std::time::Duration;

use redis::{FromRedisValue, Pipeline};
use secrecy::SecretString;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

pub use epoch::Epoch;

use crate::clock::Clock;
use crate::ids::MerchantId;
use crate::telemetry;
use epoch::Known;
use link::{Link, Reply};

/// Why Redis cannot be used. The address is not repeated: it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CacheError {
    /// The address is none.
    #[error(
        "REDIS_URL is not an address such as redis://:password@host:6379/0, \
         redis+sentinel://:password@host:26379,host/service or redis+cluster://:password@host,host \
         (rediss for TLS)"
    )]
    Address,
}

/// The name of an entry of a merchant, in the database that was current when it was made. It is made
/// before the database is read, so that what was read in one never stands under the name of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    epoch: Epoch,
    text: String,
}

impl Key {
    /// `cf:{<merchant>}:<database>:<kind>:<name>`. In a Cluster what stands in braces alone decides
    /// where an entry lies, so that one pipeline can name many of a merchant.
    pub(crate) fn new(epoch: Epoch, merchant: MerchantId, kind: &'static str, name: &str) -> Self {
        Self {
            epoch,
            text: format!("cf:{{{merchant}}}:{epoch}:{kind}:{name}"),
        }
    }

    /// As Redis is told it.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }
}

/// Redis, or as much of it as there is at the moment.
#[derive(Debug, Clone)]
pub struct Cache {
    link: Link,
    known: Arc<Known>,
}

impl Cache {
    /// The cache at an address: `redis://` for one server, `redis+sentinel://` for the master that
    /// Sentinels name, `redis+cluster://` for a Cluster; `rediss` in place of `redis` for TLS, whose
    /// cryptography [`crate::chain::install_tls`] chooses. Nothing is connected until it is used.
    ///
    /// # Errors
    /// [`CacheError::Address`].
    pub fn open(url: &SecretString, clock: Clock) -> Result<Self, CacheError> {
        Ok(Self {
            link: Link::new(address::parse(url)?),
            known: Arc::new(Known::new(clock)),
        })
    }

    /// Keeps asking which database answers, until `stop`. Without it nothing is read or written.
    pub async fn watch(&self, pool: &PgPool, stop: CancellationToken) {
        // the first caller is not to find it unconnected
        self.link.wake();
        self.known.watch(pool, stop).await;
    }

    /// The database that answers now; none while that is not known.
    pub fn epoch(&self) -> Option<Epoch> {
        self.known.current()
    }

    /// Names an entry of a merchant; none while it is not known which database answers. `kind` keeps
    /// the names of different uses apart.
    pub fn key(&self, merchant: MerchantId, kind: &'static str, name: &str) -> Option<Key> {
        let key = |epoch| Key::new(epoch, merchant, kind, name);
        self.epoch().map(key)
    }

    /// The value; none on a miss, a failure, when it takes too long, and when another database answers
    /// than did when the key was made.
    pub async fn get(&self, key: &Key) -> Option<Vec<u8>> {
        let mut pipe = Pipeline::with_capacity(1);
        pipe.get(&key.text);
        let (value,) = self.run::<(Option<Vec<u8>>,)>(key.epoch, &pipe).await?;
        value
    }

    /// Keeps a value for a time, if it can be done.
    pub async fn put(&self, key: &Key, value: &[u8], ttl: Duration) {
        let mut pipe = Pipeline::with_capacity(1);
        set(&mut pipe, key, value, ttl);
        let _: Option<()> = self.run(key.epoch, &pipe).await;
    }

    /// Sends commands together, under the same rules. All keys in them are of `epoch` and one merchant.
    pub(crate) async fn run<T: FromRedisValue>(&self, epoch: Epoch, pipe: &Pipeline) -> Option<T> {
        let (value, outcome) = if self.epoch() != Some(epoch) {
            (None, "database_unknown")
        } else {
            match self.link.run(pipe).await {
                Reply::Value(value) => (Some(value), "answered"),
                Reply::Refused => (None, "refused"),
                Reply::Failed => (None, "failed"),
                Reply::TimedOut => (None, "timed_out"),
                Reply::Down => (None, "down"),
            }
        };
        metrics::counter!(telemetry::CACHE_CALLS, "outcome" => outcome).increment(1);
        value
    }
}

/// Adds the command that keeps a value for a time.
pub(crate) fn set(pipe: &mut Pipeline, key: &Key, value: &[u8], ttl: Duration) {
    let ttl = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
    pipe.cmd("SET")
        .arg(&key.text)
        .arg(value)
        .arg("PX")
        .arg(ttl)
        .ignore();
}
