//! The flushes: a task a lane, from the push that makes the lane until nothing is left in it. Redis is asked
//! about the next flush while one is written.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use sqlx::PgPool;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinError;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::TaskTracker;

use super::in_flight::Held;
use super::prepared::Prepared;
use super::queue::{self, BOUNDS, Full, Loaded, Pushed, Queue};
use super::remembered::{Lock, Remembered, Standing};
use super::{Draft, IntakeError, Outcome, write};
use crate::database::trust::Trust;
use crate::ids::MerchantId;
use crate::limits;
use crate::loyalty::programme::Programmes;
use crate::sales::archive::Archive;
use crate::telemetry;

type Answer = Result<Outcome, IntakeError>;

/// How long a sale that another process works on is left alone before it is looked at again.
const BUSY_PAUSE: Duration = Duration::from_millis(50);

/// A sale on its way into the database, and who is to be told what became of it.
pub(super) struct Waiting {
    prepared: Prepared,
    caller: Caller,
}

/// Who waits, since when, and for which keys a repeat waits meanwhile.
struct Caller {
    reply: oneshot::Sender<Answer>,
    since: Instant,
    is_alone: bool,
    _held: Arc<Held>,
}

impl Waiting {
    /// A sale that waits from now on, and where its answer comes. `is_alone` where its request has no
    /// other.
    pub(super) fn new(
        prepared: Prepared,
        held: Arc<Held>,
        is_alone: bool,
    ) -> (Self, oneshot::Receiver<Answer>) {
        let (reply, answer) = oneshot::channel();
        let since = Instant::now();
        let caller = Caller {
            reply,
            since,
            is_alone,
            _held: held,
        };
        (Self { prepared, caller }, answer)
    }

    fn tell(self, answer: Answer) {
        self.caller.tell(answer);
    }
}

impl Caller {
    fn tell(self, answer: Answer) {
        // one that went away sends the sale again, with its key
        let _ = self.reply.send(answer);
    }
}

/// A row that nobody has answered, as far as Redis knows.
struct Asked {
    row: Waiting,
    /// Its key's lock, where there is a Redis to hold one.
    lock: Option<Lock>,
}

/// Flushes the lanes into the database.
#[derive(Clone)]
pub(super) struct Flusher {
    pool: PgPool,
    archive: Archive,
    programmes: Programmes,
    queue: Arc<Mutex<Queue<Waiting>>>,
    /// How many flushes, each of another merchant, may be under way: readers need connections too.
    turns: Arc<Semaphore>,
    remembered: Option<Remembered>,
    trust: Trust,
    tasks: TaskTracker,
}

impl Flusher {
    pub(super) fn new(
        pool: PgPool,
        archive: Archive,
        programmes: Programmes,
        tasks: TaskTracker,
    ) -> Self {
        let connections = pool.options().get_max_connections() as usize;
        Self {
            pool,
            archive,
            programmes,
            queue: Arc::new(Mutex::new(Queue::new(BOUNDS))),
            turns: Arc::new(Semaphore::new((connections * 3 / 4).max(1))),
            remembered: None,
            trust: Trust::default(),
            tasks,
        }
    }

    /// Whether the database is the one that it was.
    pub(super) fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Where months are that have left the database.
    pub(super) fn archive(&self) -> &Archive {
        &self.archive
    }

    /// With what Redis remembers, asked about each row.
    pub(super) fn remembering(self, remembered: Remembered) -> Self {
        Self {
            remembered: Some(remembered),
            ..self
        }
    }

    /// With what is known of the database, asked before each flush.
    pub(super) fn trusting(self, trust: Trust) -> Self {
        Self { trust, ..self }
    }

    /// Puts rows into their merchant's lane, all or none.
    ///
    /// # Errors
    /// [`IntakeError::Full`].
    pub(super) fn push(
        &self,
        merchant: MerchantId,
        rows: Loaded<Waiting>,
    ) -> Result<(), IntakeError> {
        let (pushed, waiting) = {
            let mut queue = queue::lock(&self.queue);
            (queue.push(merchant, rows), queue.rows())
        };
        metrics::gauge!(telemetry::INTAKE_ROWS).set(waiting as f64);
        match pushed {
            Ok(Pushed::Waits) => Ok(()),
            Ok(Pushed::Drain) => {
                self.tasks.spawn(self.clone().lane(merchant));
                Ok(())
            }
            Err(Full) => {
                metrics::counter!(telemetry::INTAKE_FULL).increment(1);
                Err(IntakeError::Full)
            }
        }
    }

    /// Flushes a lane until nothing waits in it.
    async fn lane(self, merchant: MerchantId) {
        // in tasks of their own: a panic costs the callers of one flush their answer, never the lane
        let ask = |rows| {
            let asking = tokio::spawn(self.clone().unanswered(merchant, rows));
            async move { unless_broken(merchant, asking.await) }
        };
        let write = |rows| {
            let writing = tokio::spawn(self.clone().write(merchant, rows));
            async move { unless_broken(merchant, writing.await) }
        };
        queue::drain(&self.queue, merchant, ask, write).await;
    }

    /// One call of the database for all of `rows`, and everybody's answer.
    async fn write(self, merchant: MerchantId, rows: Vec<Asked>) {
        // never closed
        let _turn = self.turns.acquire().await.ok();
        if !self.trust.is_sound() {
            self.refuse(rows, &IntakeError::InDoubt);
            return;
        }
        let (rows, late) = rows
            .into_iter()
            .partition(|asked| asked.row.caller.since.elapsed() < limits::MERCHANT_LOCK_WAIT);
        self.refuse(late, &IntakeError::Late);
        let rows: Vec<Asked> = rows;
        if rows.is_empty() {
            return;
        }
        metrics::histogram!(telemetry::FLUSH_ROWS).record(rows.len() as f64);
        let (mut prepared, mut callers, mut locks) = (Vec::new(), Vec::new(), Vec::new());
        for Asked { row, lock } in rows {
            prepared.push(row.prepared);
            callers.push(row.caller);
            locks.push(lock);
        }
        // a database that does not even refuse must not hold the lane for ever
        let target = write::Target {
            pool: &self.pool,
            archive: &self.archive,
            programmes: &self.programmes,
        };
        let written = timeout(limits::FLUSH_TIME, target.slice(merchant, &mut prepared));
        let written = written.await.unwrap_or(Err(IntakeError::Ended));
        self.remember(locks, &prepared, written.as_deref().ok());
        self.acknowledge(merchant, written.as_deref().unwrap_or_default());
        match written {
            Ok(answers) => callers
                .into_iter()
                .zip(answers)
                .for_each(|(caller, answer)| caller.tell(answer)),
            Err(error) => callers
                .into_iter()
                .for_each(|caller| caller.tell(Err(error.clone()))),
        }
    }

    /// Keeps the last number that callers are about to be told: a database without it has lost commits.
    fn acknowledge(&self, merchant: MerchantId, answers: &[Answer]) {
        let numbers = answers.iter().filter_map(|answer| match answer {
            Ok(Outcome::Sale {
                sale,
                replayed: false,
                ..
            }) => Some(sale.seq),
            _ => None,
        });
        if let Some(last) = numbers.max() {
            self.trust.acknowledge(merchant.0, last);
        }
    }

    /// Tells the callers of rows that are not written why, and gives their locks back.
    fn refuse(&self, rows: Vec<Asked>, why: &IntakeError) {
        for Asked { row, lock } in rows {
            self.remember(vec![lock], std::slice::from_ref(&row.prepared), None);
            row.tell(Err(why.clone()));
        }
    }

    /// The rows that nobody has answered, as far as Redis knows. Those that it has an answer for are told
    /// it; single ones that another process works on wait a little, and not in the lane.
    async fn unanswered(self, merchant: MerchantId, rows: Loaded<Waiting>) -> Loaded<Asked> {
        // Redis may remember a sale that the database has lost
        if !self.trust.is_sound() {
            rows.into_iter()
                .for_each(|(row, _)| row.tell(Err(IntakeError::InDoubt)));
            return Vec::new();
        }
        let standings = match &self.remembered {
            Some(remembered) => {
                let drafts: Vec<&Draft> = rows.iter().map(|(row, _)| &row.prepared.draft).collect();
                remembered.begin(merchant, &drafts).await
            }
            None => rows.iter().map(|_| Standing::Free(None)).collect(),
        };
        let mut free = Vec::with_capacity(rows.len());
        for ((row, load), standing) in rows.into_iter().zip(standings) {
            match standing {
                Standing::Free(lock) => free.push((Asked { row, lock }, load)),
                Standing::Answered(outcome) => row.tell(Ok(outcome)),
                Standing::Busy if row.caller.is_alone => {
                    self.tasks.spawn(self.clone().later(merchant, row));
                }
                // those behind it in its request may refund it, so it keeps its place: the database
                // lets one process at a time at a merchant too
                Standing::Busy => free.push((Asked { row, lock: None }, load)),
            }
        }
        free
    }

    /// Puts a row that another process works on into its lane again, for as long as a repeat waits.
    async fn later(self, merchant: MerchantId, row: Waiting) {
        sleep(BUSY_PAUSE).await;
        if row.caller.since.elapsed() >= limits::IN_FLIGHT_WAIT {
            row.tell(Ok(Outcome::InFlight));
            return;
        }
        let load = row.prepared.load();
        // a caller whose row finds no place any more learns that there is no answer
        if let Err(error) = self.push(merchant, vec![(row, load)]) {
            tracing::debug!(error = %error, "a row that waited for another process");
        }
    }

    /// Has what was written remembered, after the commit, and without the callers waiting for it.
    fn remember(
        &self,
        locks: Vec<Option<Lock>>,
        prepared: &[Prepared],
        answers: Option<&[Answer]>,
    ) {
        let Some(remembered) = &self.remembered else {
            return;
        };
        let answer = |row: usize| answers.and_then(|answers| answers.get(row));
        let settled: Vec<_> = locks
            .into_iter()
            .zip(prepared)
            .enumerate()
            .filter_map(|(row, (lock, own))| {
                Some(remembered.settle(lock?, &own.draft, answer(row)))
            })
            .collect();
        if settled.is_empty() {
            return;
        }
        let remembered = remembered.clone();
        self.tasks
            .spawn(async move { remembered.finish(settled).await });
    }
}

/// What a task came to; nothing where it broke off, and its callers learn that there is no answer.
fn unless_broken<T: Default>(merchant: MerchantId, ended: Result<T, JoinError>) -> T {
    ended.unwrap_or_else(|error| {
        tracing::error!(error = %error, merchant = %merchant, "a flush broke off");
        T::default()
    })
}
