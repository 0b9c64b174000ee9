//! The audit of a database in steps: each checks a range of keys, in a snapshot of its own, so that what
//! goes on beside it is neither held up nor taken for a fault.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::PoisonError;

use sqlx::{Connection, PgConnection, PgPool};
use time::OffsetDateTime;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::filed::Archives;
use super::finding::Findings;
use super::row::RefundSums;
use super::store::archives::SaleKey;
use super::store::pointers::{OrderKey, RequestKey};
use super::{Finding, anchors, archives, batches, merchants, pointers};
use crate::clock::Entropy;

/// What is checked one after the other; the steps of a phase may go on at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Batches and the sales in them.
    Batches,
    /// Sales that are not sealed yet, queues, heads and sums of merchants.
    Merchants,
    /// Order ids.
    Orders,
    /// Idempotency keys.
    Keys,
    /// Archives, their runs of numbers and their files.
    Archives,
    /// Archived sales: that they are where they belong.
    ArchivedSales,
    /// Anchors and their transactions.
    Anchors,
}

const PHASES: [Phase; 7] = [
    Phase::Batches,
    Phase::Merchants,
    Phase::Orders,
    Phase::Keys,
    Phase::Archives,
    Phase::ArchivedSales,
    Phase::Anchors,
];

/// How far a phase has been given out.
enum Cursor {
    Batches(i64),
    Merchants(Uuid),
    Orders(OrderKey),
    Keys(RequestKey),
    Archives(i32),
    ArchivedSales(SaleKey),
    Anchors(i64),
}

/// A range of keys.
enum Range {
    /// After the first, up to the last.
    Batches(i64, i64),
    Merchants(Vec<Uuid>),
    Orders(OrderKey, OrderKey),
    Keys(RequestKey, RequestKey),
    /// The one after this one.
    Archive(i32),
    ArchivedSales(SaleKey, SaleKey),
    /// A page after this one.
    Anchors(i64),
}

/// What was looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Batches.
    pub batches: u64,
    /// Sales, sealed and not, in the table and archived.
    pub sales: u64,
    /// Of them, those that no batch has yet.
    pub unsealed: u64,
    /// Of them, those whose rows have left for an archive.
    pub archived: u64,
    /// Batches that were declared lost: a registry has them, and no row of theirs is here.
    pub lost_batches: u64,
    /// Runs of numbers that were declared lost.
    pub gaps: u64,
    /// Of these, those whose receipts were not read: the leaves of their batches stand for them.
    pub unread: u64,
    /// Archives.
    pub archives: u64,
    /// Merchants.
    pub merchants: u64,
    /// Anchors.
    pub anchors: u64,
    /// What is wrong.
    pub findings: u64,
}

/// What one step found.
#[derive(Default)]
pub(super) struct Part {
    pub(super) findings: Findings,
    pub(super) counts: Counts,
    /// Terms of the sums of refunds, by merchant.
    pub(super) refunds: HashMap<Uuid, u128>,
    pub(super) oldest_queued: Option<OffsetDateTime>,
    /// The last batch that was checked with its sales.
    pub(super) last_batch: i64,
}

/// One audit of a database.
pub struct Audit<'a> {
    pub(super) sums: RefundSums,
    archives: Archives,
    /// Percent of the time that a connection works.
    pace: u32,
    progress: &'a (dyn Progress + Sync),
    state: Mutex<State>,
}

/// Whom an audit tells how it goes.
pub trait Progress {
    /// Something is wrong.
    fn found(&self, finding: &Finding);
    /// So much was looked at so far.
    fn reached(&self, phase: Phase, counts: &Counts);
}

#[derive(Default)]
struct State {
    counts: Counts,
    refunds: HashMap<Uuid, u128>,
    oldest_queued: Option<OffsetDateTime>,
    /// The last batch that was checked with its sales.
    last_batch: i64,
}

/// What an audit of a database came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// What was looked at.
    pub counts: Counts,
    /// When the sale was recorded that has waited longest for its batch.
    pub oldest_queued: Option<OffsetDateTime>,
}

impl<'a> Audit<'a> {
    /// An audit that has not begun.
    pub fn new(entropy: &Entropy, progress: &'a (dyn Progress + Sync)) -> Self {
        Self {
            sums: RefundSums::new(entropy.bytes()),
            archives: Archives::default(),
            pace: 100,
            progress,
            state: Mutex::default(),
        }
    }

    /// The same, which also reads the files of archives in this directory.
    #[must_use]
    pub fn with_archives(mut self, directory: Option<PathBuf>) -> Self {
        self.archives = Archives(directory);
        self
    }

    /// The same, whose connections work so many percent of the time and rest between two ranges, so that
    /// whoever sells beside it hardly feels it. What waits for a busy core counts as work: the busier the
    /// database, the more of it is left to others.
    #[must_use]
    pub fn at_pace(mut self, percent: u8) -> Self {
        self.pace = u32::from(percent.clamp(1, 100));
        self
    }

    /// Checks a whole database with `workers` connections at a time. It only reads.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn database(&self, pool: &PgPool, workers: usize) -> Result<Outcome, sqlx::Error> {
        for phase in PHASES {
            let cursor = tokio::sync::Mutex::new(self.begin(phase));
            let mut results = Vec::with_capacity(workers);
            let work = || self.work(pool, phase, &cursor);
            match workers {
                0 | 1 => results.push(work().await),
                _ => {
                    let (a, b) = tokio::join!(work(), work());
                    results.extend([a, b]);
                }
            }
            results.into_iter().collect::<Result<(), _>>()?;
        }
        Ok(self.outcome())
    }

    /// Checks what one connection sees, within its transaction.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn within(&self, conn: &mut PgConnection) -> Result<Outcome, sqlx::Error> {
        for phase in PHASES {
            let mut cursor = self.begin(phase);
            while let Some(range) = cursor.next(conn).await? {
                let part = self.check(conn, &range).await?;
                self.take(phase, part);
            }
        }
        Ok(self.outcome())
    }

    async fn work(
        &self,
        pool: &PgPool,
        phase: Phase,
        cursor: &tokio::sync::Mutex<Cursor>,
    ) -> Result<(), sqlx::Error> {
        let mut conn = pool.acquire().await?;
        loop {
            let begun = Instant::now();
            let mut snapshot = conn
                .begin_with("begin isolation level repeatable read read only")
                .await?;
            let Some(range) = cursor.lock().await.next(&mut snapshot).await? else {
                return Ok(());
            };
            let part = self.check(&mut snapshot, &range).await?;
            snapshot.commit().await?;
            self.take(phase, part);
            if self.pace < 100 {
                sleep(begun.elapsed() * (100 - self.pace) / self.pace).await;
            }
        }
    }

    fn begin(&self, phase: Phase) -> Cursor {
        match phase {
            Phase::Batches => Cursor::Batches(0),
            Phase::Merchants => Cursor::Merchants(Uuid::nil()),
            Phase::Orders => Cursor::Orders((Uuid::nil(), String::new())),
            Phase::Keys => Cursor::Keys((Uuid::nil(), i16::MIN, String::new())),
            Phase::Archives => Cursor::Archives(archives::BEFORE_FIRST),
            Phase::ArchivedSales => Cursor::ArchivedSales((Uuid::nil(), Uuid::nil())),
            Phase::Anchors => Cursor::Anchors(anchors::BEFORE_FIRST),
        }
    }

    async fn check(&self, conn: &mut PgConnection, range: &Range) -> Result<Part, sqlx::Error> {
        match range {
            Range::Batches(after, last) => {
                batches::check(conn, &self.archives, &self.sums, *after, *last).await
            }
            Range::Merchants(ids) => {
                let (batch, sums) = self.sealed(ids);
                let sealed = merchants::Sealed {
                    batch,
                    refunds: sums,
                };
                merchants::check(conn, &self.archives, &self.sums, ids, sealed).await
            }
            Range::Orders(after, to) => {
                pointers::check_orders(conn, &self.archives, after, to).await
            }
            Range::Keys(after, to) => pointers::check_keys(conn, after, to).await,
            Range::Archive(after) => archives::check(conn, &self.archives, *after).await,
            Range::ArchivedSales(after, to) => archives::check_sales(conn, *after, *to).await,
            Range::Anchors(after) => anchors::check(conn, *after).await,
        }
    }

    /// Up to which batch sales were checked, and the sums of refunds in them.
    fn sealed(&self, ids: &[Uuid]) -> (i64, HashMap<Uuid, u128>) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = |id: &Uuid| (*id, state.refunds.get(id).copied().unwrap_or(0));
        (state.last_batch, ids.iter().map(sum).collect())
    }

    pub(super) fn take(&self, phase: Phase, part: Part) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (sum, new) = (&mut state.counts, part.counts);
        sum.batches += new.batches;
        sum.sales += new.sales;
        sum.unsealed += new.unsealed;
        sum.archived += new.archived;
        sum.lost_batches += new.lost_batches;
        sum.gaps += new.gaps;
        sum.unread += new.unread;
        sum.archives += new.archives;
        sum.merchants += new.merchants;
        sum.anchors += new.anchors;
        for (merchant, term) in part.refunds {
            let sum = state.refunds.entry(merchant).or_default();
            *sum = sum.wrapping_add(term);
        }
        state.oldest_queued = earliest(state.oldest_queued, part.oldest_queued);
        state.last_batch = state.last_batch.max(part.last_batch);
        let counts = state.counts;
        drop(state);
        self.tell(&part.findings.0);
        self.progress.reached(phase, &counts);
    }

    /// Counts findings and passes them on.
    pub(super) fn tell(&self, findings: &[Finding]) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.counts.findings += findings.len() as u64;
        drop(state);
        for finding in findings {
            self.progress.found(finding);
        }
    }

    /// What was looked at so far.
    pub fn outcome(&self) -> Outcome {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        Outcome {
            counts: state.counts,
            oldest_queued: state.oldest_queued,
        }
    }
}

impl Cursor {
    /// Gives out the next range; none at the end.
    async fn next(&mut self, conn: &mut PgConnection) -> Result<Option<Range>, sqlx::Error> {
        Ok(match self {
            Self::Batches(after) => batches::next(conn, *after)
                .await?
                .map(|last| Range::Batches(std::mem::replace(after, last), last)),
            Self::Merchants(after) => merchants::next(conn, *after).await?.map(|ids| {
                *after = ids.last().copied().unwrap_or(*after);
                Range::Merchants(ids)
            }),
            Self::Orders(after) => pointers::next_orders(conn, after)
                .await?
                .map(|to| Range::Orders(std::mem::replace(after, to.clone()), to)),
            Self::Keys(after) => pointers::next_keys(conn, after)
                .await?
                .map(|to| Range::Keys(std::mem::replace(after, to.clone()), to)),
            Self::Archives(after) => archives::next(conn, *after)
                .await?
                .map(|last| Range::Archive(std::mem::replace(after, last))),
            Self::ArchivedSales(after) => archives::next_sales(conn, *after)
                .await?
                .map(|to| Range::ArchivedSales(std::mem::replace(after, to), to)),
            Self::Anchors(after) => anchors::next(conn, *after)
                .await?
                .map(|last| Range::Anchors(std::mem::replace(after, last))),
        })
    }
}

pub(super) fn earliest<T: Ord>(a: Option<T>, b: Option<T>) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
