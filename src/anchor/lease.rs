//! Leases: of several workers one does a piece of work at a time.
//!
//! A lease saves work and decides nothing. A worker that was stopped for minutes goes on as if it still
//! held its lease; what keeps that right are the heads' locks and the guarded updates.

use std::time::Duration;

use sqlx::PgPool;
use tokio::time::Instant;
use uuid::Uuid;

use super::store::leases as store;
use crate::clock::Entropy;
use crate::limits;

/// A worker's claim to a piece of work.
#[derive(Debug)]
pub struct Lease {
    work: String,
    holder: Uuid,
    renewed: Option<Instant>,
}

impl Lease {
    /// A claim to sealing. Nothing is held yet.
    pub fn of_sealing(entropy: &Entropy) -> Self {
        Self::of("seal".to_owned(), entropy)
    }

    /// A claim to anchoring on a chain. Nothing is held yet.
    pub fn of_chain(chain_id: i64, entropy: &Entropy) -> Self {
        Self::of(format!("chain {chain_id}"), entropy)
    }

    fn of(work: String, entropy: &Entropy) -> Self {
        Self {
            work,
            holder: Uuid::from_bytes(entropy.bytes()),
            renewed: None,
        }
    }

    /// Takes the lease or keeps it; false while another worker holds it. The database is asked when a
    /// third of its time is over.
    ///
    /// # Errors
    /// When the database fails; who holds it is not known then.
    pub async fn hold(&mut self, pool: &PgPool) -> Result<bool, sqlx::Error> {
        // before the database is asked: its time begins later
        let asked = Instant::now();
        if self
            .renewed
            .is_some_and(|at| asked.duration_since(at) < limits::LEASE_TIME / 3)
        {
            return Ok(true);
        }
        self.renewed = None;
        let mut conn = pool.acquire().await?;
        let held = store::hold(&mut conn, &self.work, self.holder, limits::LEASE_TIME).await?;
        self.renewed = held.then_some(asked);
        Ok(held)
    }

    /// Gives it back, so that another worker need not wait until its time is over.
    ///
    /// # Errors
    /// When the database fails; its time runs out then.
    pub async fn release(&mut self, pool: &PgPool) -> Result<(), sqlx::Error> {
        if self.renewed.take().is_some() {
            store::release(&mut *pool.acquire().await?, &self.work, self.holder).await?;
        }
        Ok(())
    }

    /// How long a worker that does not hold it waits before it asks again.
    pub const PAUSE: Duration = Duration::from_secs(1);
}
