//! The intake: has the database record sales, each once.
//!
//! Callers put their sales into their merchant's lane of the [`queue`] and wait. What arrives while one
//! flush of the lane is written goes together in the next, so the cost of a commit is shared by as many
//! as are there, without a timer. A caller that goes away neither stops nor repeats the write.

mod added;
mod flush;
mod in_flight;
mod prepared;
pub mod queue;
mod remembered;
pub mod within;
mod write;

use std::sync::Arc;

use sqlx::PgPool;
use tokio_util::task::TaskTracker;

use super::archive::Archive;
use super::command::SaleCommand;
use super::stored::StoredSale;
use crate::cache::Cache;
use crate::clock::{Clock, Entropy};
use crate::database::{self, trust::Trust};
use crate::ids::MerchantId;
use crate::loyalty::programme::Programmes;
use crate::rates::exchange::Exchange;
use flush::{Flusher, Waiting};
use in_flight::InFlight;
use prepared::Prepared;
use remembered::Remembered;

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
    /// Recorded before, and archived where it cannot be read now.
    Unreadable,
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
    /// `refers_to` names an order of the shop, by the id of its sale.
    RefundOfOrder,
}

/// A refusal that the database decided and remembers.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
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

/// Why a sale was not recorded, or not known to be. It may be sent again.
#[derive(Debug, Clone, thiserror::Error)]
pub enum IntakeError {
    /// A statement failed.
    #[error("recording failed")]
    Database(#[source] Arc<sqlx::Error>),
    /// Too many sales wait already; nothing was written.
    #[error("too many sales wait to be recorded")]
    Full,
    /// It waited for too long; nothing was written.
    #[error("the sale waited for too long to be recorded")]
    Late,
    /// The database may have lost sales; nothing was written.
    #[error("the database is in doubt")]
    InDoubt,
    /// The merchant of a valid key is gone.
    #[error("the merchant is not in the database")]
    MerchantUnknown,
    /// The function answered something that is not in its contract.
    #[error("record_sales_3 answered {0:?}")]
    Contract(String),
    /// The flush broke off, or the database did not answer it in time.
    #[error("the flush ended without an answer")]
    Ended,
}

impl From<sqlx::Error> for IntakeError {
    fn from(error: sqlx::Error) -> Self {
        // a connection that met a database in doubt
        if database::was_read_only(&error) {
            return Self::InDoubt;
        }
        Self::Database(Arc::new(error))
    }
}

/// Records sales.
#[derive(Clone)]
pub struct Intake {
    clock: Clock,
    entropy: Entropy,
    in_flight: InFlight,
    programmes: Programmes,
    exchange: Exchange,
    flusher: Flusher,
}

impl Intake {
    /// An intake into this database; a replay of an archived sale is answered from `archive`. `tasks` is waited for at shutdown, so that nothing is lost.
    pub fn new(
        pool: PgPool,
        archive: Archive,
        clock: Clock,
        entropy: Entropy,
        tasks: TaskTracker,
    ) -> Self {
        let programmes = Programmes::default();
        Self {
            clock,
            entropy,
            in_flight: InFlight::default(),
            flusher: Flusher::new(pool, archive, programmes.clone(), tasks),
            programmes,
            exchange: Exchange::default(),
        }
    }

    /// The same, with answers that Redis remembers.
    #[must_use]
    pub fn remembering(self, cache: Cache) -> Self {
        let remembered = Remembered::new(cache, self.clock.clone(), &self.entropy);
        Self {
            flusher: self.flusher.remembering(remembered),
            ..self
        }
    }

    /// The same, recording nothing while the database is in doubt.
    #[must_use]
    pub fn trusting(self, trust: Trust) -> Self {
        Self {
            flusher: self.flusher.trusting(trust),
            ..self
        }
    }

    /// The same, with the rates that amounts are converted by.
    #[must_use]
    pub fn converting(self, exchange: Exchange) -> Self {
        Self { exchange, ..self }
    }

    /// A draft with what only the server adds.
    fn prepare(&self, merchant: MerchantId, draft: Draft) -> Prepared {
        let programme = self.programmes.of(merchant);
        let (exchange, clock) = (&self.exchange, &self.clock);
        Prepared::new(draft, programme.as_ref(), exchange, clock, &self.entropy)
    }

    /// Records one draft.
    ///
    /// # Errors
    /// [`IntakeError`]; the draft may then be sent again.
    pub async fn record_one(
        &self,
        merchant: MerchantId,
        draft: Draft,
    ) -> Result<Outcome, IntakeError> {
        let mut outcomes = self.record(merchant, vec![draft]).await?;
        outcomes.pop().unwrap_or(Err(IntakeError::Ended))
    }

    /// Records drafts, in the order given, and says what became of each, in the same order. They go with
    /// whatever else of the merchant waits then; a caller that stops waiting changes nothing.
    ///
    /// # Errors
    /// [`IntakeError::Full`] when there is no room for all of them; then none was taken. Each draft has
    /// errors of its own. Whatever has an error may be sent again.
    pub async fn record(
        &self,
        merchant: MerchantId,
        drafts: Vec<Draft>,
    ) -> Result<Vec<Result<Outcome, IntakeError>>, IntakeError> {
        let slots = drafts.iter().map(|draft| draft.slot.clone()).collect();
        let held = Arc::new(self.in_flight.enter(merchant, slots).await);
        let is_alone = drafts.len() == 1;
        let mut rows = Vec::with_capacity(drafts.len());
        let mut answers = Vec::with_capacity(drafts.len());
        for draft in drafts {
            answers.push(held.holds(&draft.slot).then(|| {
                let prepared = self.prepare(merchant, draft);
                let load = prepared.load();
                let (waiting, answer) = Waiting::new(prepared, held.clone(), is_alone);
                rows.push((waiting, load));
                answer
            }));
        }
        // the rows hold the keys now, for as long as they wait and are written
        drop(held);
        self.flusher.push(merchant, rows)?;
        let mut outcomes = Vec::with_capacity(answers.len());
        for answer in answers {
            outcomes.push(match answer {
                Some(answer) => answer.await.unwrap_or(Err(IntakeError::Ended)),
                None => Ok(Outcome::InFlight),
            });
        }
        Ok(outcomes)
    }
}
