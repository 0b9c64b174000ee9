//! Passwords: Argon2id (RFC 9106), computed away from the threads that serve, a few at a time.

use std::sync::Arc;
use std::thread;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::clock::Entropy;
use crate::http::codes;
use crate::http::problem::Problem;
use crate::limits;

/// 19 MiB, twice over, one lane: what OWASP's cheat sheet on storing passwords asks for at least. Changed
/// here, every password is hashed anew when its holder next signs in.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// What a password turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is not the one.
    Wrong,
    /// It is.
    Right,
    /// It is, and was hashed with other parameters than are used now: its hash with these.
    Outdated(String),
}

/// Hashes passwords and compares them. Cheap to clone.
#[derive(Clone)]
pub struct Passwords {
    places: Arc<Semaphore>,
    /// The hash of a password that nobody has: what is compared where there is no account, so that it takes
    /// as long.
    decoy: Arc<str>,
}

impl Passwords {
    /// As many at a time as half of this machine's cores: whoever signs in does not hold up the sales.
    pub fn new(entropy: &Entropy) -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let nobodys = hash(&entropy.bytes::<32>(), &entropy.bytes());
        Self {
            places: Arc::new(Semaphore::new((cores / 2).max(1))),
            decoy: nobodys.unwrap_or_default().into(),
        }
    }

    /// The PHC string of a password.
    ///
    /// # Errors
    /// 503 when too many wait.
    pub async fn hash(
        &self,
        password: &SecretString,
        entropy: &Entropy,
    ) -> Result<String, Problem> {
        let (password, salt) = (password.clone(), entropy.bytes());
        self.apart(move || hash(password.expose_secret().as_bytes(), &salt))
            .await?
            .ok_or_else(failed)
    }

    /// Compares a password with a hash; with one that fits no password where there is none.
    ///
    /// # Errors
    /// 503 when too many wait.
    pub async fn verify(
        &self,
        password: &SecretString,
        stored: Option<&str>,
        entropy: &Entropy,
    ) -> Result<Verdict, Problem> {
        let is_decoy = stored.is_none();
        let stored = stored.map_or_else(|| self.decoy.clone(), Arc::from);
        let (password, salt) = (password.clone(), entropy.bytes());
        let verdict = self
            .apart(move || verify(password.expose_secret().as_bytes(), &stored, &salt))
            .await?;
        Ok(if is_decoy { Verdict::Wrong } else { verdict })
    }

    /// Runs what takes long on a thread for that, once there is a place.
    async fn apart<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let place = timeout(limits::PASSWORD_WAIT, self.places.clone().acquire_owned()).await;
        let Ok(Ok(place)) = place else {
            let detail = "too many passwords are being checked; try again";
            return Err(Problem::new(&codes::OVERLOADED, detail));
        };
        let working = spawn_blocking(move || {
            let done = work();
            // held until here even if the caller has gone
            drop(place);
            done
        });
        working.await.map_err(|_| failed())
    }
}

fn failed() -> Problem {
    tracing::error!("a password could not be hashed");
    Problem::new(&codes::INTERNAL, "the request could not be completed")
}

fn argon2() -> Option<Argon2<'static>> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).ok()?;
    Some(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn hash(password: &[u8], salt: &[u8; 16]) -> Option<String> {
    let hash = argon2()?.hash_password_with_salt(password, salt).ok()?;
    Some(hash.to_string())
}

fn verify(password: &[u8], stored: &str, salt: &[u8; 16]) -> Verdict {
    let (Some(argon2), Ok(parsed)) = (argon2(), PasswordHash::new(stored)) else {
        return Verdict::Wrong;
    };
    // with the parameters that stand in the hash
    if argon2.verify_password(password, &parsed).is_err() {
        return Verdict::Wrong;
    }
    let as_now = Params::try_from(&parsed).is_ok_and(|params| {
        (params.m_cost(), params.t_cost(), params.p_cost()) == (MEMORY_KIB, PASSES, LANES)
    });
    if as_now {
        return Verdict::Right;
    }
    hash(password, salt).map_or(Verdict::Right, Verdict::Outdated)
}
