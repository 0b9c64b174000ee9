//! The intake: takes a slice of sales of one merchant and has the database record it, once.
//!
//! The write runs in a task of its own: a caller that goes away neither stops nor repeats it.

mod in_flight;
mod turns;
mod write;

use std::sync::Arc;

use sqlx::PgPool;
use tokio_util::task::TaskTracker;

use super::command::SaleCommand;
use super::stored::StoredSale;
use crate::clock::{Clock, Entropy};
use crate::ids::{MerchantId, SaleId};
use in_flight::InFlight;
use turns::Turns;

/// Which answer a key gets, then and on every replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerVersion {
    /// The sale, as `/v1/sales` shows it.
    Sale = 1,
    /// The transaction, as the first version showed it.
    Transaction = 2,
}

/// A key in the space it is used in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    /// 0 for keys that callers chose, 1 for order ids used as keys.
    pub space: i16,
    /// The key.
    pub key: String,
}

/// A sale to record, as a request brought it.
#[derive(Debug, Clone)]
pub struct Draft {
    /// What to record.
    pub command: SaleCommand,
    /// The key it comes under.
    pub slot: Slot,
    /// The answer it is to get.
    pub answer: AnswerVersion,
    /// The request it came with.
    pub request_id: Arc<str>,
}

/// What became of a draft.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// There is a sale: this one, or on a replay the earlier one.
    Sale {
        /// As it is stored.
        sale: Box<StoredSale>,
        /// The answer its key was given.
        answer: AnswerVersion,
        /// Whether it was recorded before.
        replayed: bool,
    },
    /// Refused for ever.
    Refused {
        /// Why.
        refusal: Refusal,
        /// Whether the same key was refused before.
        replayed: bool,
    },
    /// The database raised for this sale alone; nothing was written of it.
    Failed,
    /// The key was used with another body.
    KeyReused,
    /// The first request with this key is still running.
    InFlight,
    /// `refers_to` names no sale.
    RefundUnknown,
    /// `refers_to` names a refund.
    RefundOfRefund,
    /// `refers_to` names a sale in another currency.
    RefundCurrency,
}

/// A refusal that the database decided and remembers.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct Refusal {
    /// `order_exists` or `refund_exceeds`.
    pub code: String,
    /// The request that was refused first.
    pub request_id: String,
    /// The sale that has the order id, or is to be refunded.
    pub sale_id: uuid::Uuid,
    /// What is left of it to refund.
    pub left_minor: Option<i64>,
    /// Its currency.
    pub currency: Option<String>,
}

/// Why a slice was not recorded, or not known to be.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// A statement failed.
    #[error("recording a slice failed")]
    Database(#[from] sqlx::Error),
    /// Too many of the merchant's writes wait already; nothing was written.
    #[error("the merchant's writes wait for too long")]
    Busy,
    /// The merchant of a valid key is gone.
    #[error("the merchant is not in the database")]
    MerchantUnknown,
    /// The function answered something that is not in its contract.
    #[error("record_sales answered {0:?}")]
    Contract(String),
    /// The task that wrote ended without an answer.
    #[error("the write ended without an answer")]
    Ended,
}

/// A draft with what only the server adds.
struct Prepared {
    draft: Draft,
    sale_id: SaleId,
    details: Vec<u8>,
    details_hash: [u8; 32],
    salt: [u8; 32],
}

impl Prepared {
    fn new(draft: Draft, clock: &Clock, entropy: &Entropy) -> Self {
        let details = draft.command.details().clone().canonical(&entropy.bytes());
        Self {
            sale_id: SaleId::new(clock, entropy),
            details_hash: counterfoil_proofs::details::hash(&details),
            details,
            salt: entropy.bytes(),
            draft,
        }
    }
}

/// Records sales.
#[derive(Clone)]
pub struct Intake {
    pool: PgPool,
    clock: Clock,
    entropy: Entropy,
    in_flight: InFlight,
    turns: Turns,
    tasks: TaskTracker,
}

impl Intake {
    /// An intake into this database. `tasks` is waited for at shutdown, so that nothing is lost.
    pub fn new(pool: PgPool, clock: Clock, entropy: Entropy, tasks: TaskTracker) -> Self {
        Self {
            pool,
            clock,
            entropy,
            in_flight: InFlight::default(),
            turns: Turns::default(),
            tasks,
        }
    }

    /// Records a slice, in the order given, and says what became of each draft, in the same order.
    ///
    /// # Errors
    /// [`IntakeError`] when the whole slice has no answer. The same slice may then be sent again.
    pub async fn record(
        &self,
        merchant: MerchantId,
        drafts: Vec<Draft>,
    ) -> Result<Vec<Outcome>, IntakeError> {
        let slots = drafts.iter().map(|draft| draft.slot.clone()).collect();
        let held = self.in_flight.enter(merchant, slots).await;
        let (run, busy): (Vec<_>, Vec<_>) = drafts
            .into_iter()
            .enumerate()
            .partition(|(_, draft)| held.holds(&draft.slot));
        let (places, drafts): (Vec<_>, Vec<_>) = run.into_iter().unzip();
        let prepared: Vec<_> = drafts
            .into_iter()
            .map(|draft| Prepared::new(draft, &self.clock, &self.entropy))
            .collect();
        let (pool, turns) = (self.pool.clone(), self.turns.clone());
        let task = self.tasks.spawn(async move {
            // given back when the write is done, whoever still waits for it
            let _held = held;
            if prepared.is_empty() {
                return Ok(Vec::new());
            }
            let _turn = turns.take(merchant).await?;
            write::slice(&pool, merchant, &prepared).await
        });
        let outcomes = task.await.map_err(|_| IntakeError::Ended)??;
        let mut all: Vec<(usize, Outcome)> = places.into_iter().zip(outcomes).collect();
        all.extend(
            busy.into_iter()
                .map(|(place, _)| (place, Outcome::InFlight)),
        );
        all.sort_by_key(|(place, _)| *place);
        Ok(all.into_iter().map(|(_, outcome)| outcome).collect())
    }
}
