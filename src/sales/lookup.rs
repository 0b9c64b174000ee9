//! Reads of single sales, together: those that arrive while the database answers others go in the next
//! statement. There is no timer, so a read that comes alone waits for nothing.
//!
//! A reader holds a connection of its own, as a read would otherwise cost a pool's pings beside it, and its
//! statement is planned once. When the connection was cut (Postgres restarted), the same reads are sent once
//! more on a new one.

use std::sync::Arc;

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection, PgPool};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::timeout;

use super::archive::{Archive, ArchiveError};
use super::filed::{Filed, Wanted};
use crate::database;
use crate::http::codes;
use crate::http::problem::Problem;
use crate::ids::MerchantId;
use crate::limits;

type Answer = Result<Option<Filed>, Problem>;
type Found = Vec<Result<Option<Filed>, ArchiveError>>;

struct Ask {
    wanted: (MerchantId, Wanted),
    answer: oneshot::Sender<Answer>,
}

/// Finds sales by their ids. Cheap to clone.
#[derive(Clone)]
pub struct Lookup(mpsc::Sender<Ask>);

impl Lookup {
    /// Readers of the archive and of the database that this pool is of, as the same role. Nothing is connected until the first
    /// read.
    pub fn new(pool: &PgPool, archive: &Archive) -> Self {
        let (asks, waiting) = mpsc::channel(limits::CONCURRENT_REQUESTS);
        let waiting = Arc::new(Mutex::new(waiting));
        // one plan for any number of reads, which uses the indexes whatever the tables held when it was made
        let options = PgConnectOptions::clone(&pool.connect_options()).options([
            ("plan_cache_mode", "force_generic_plan"),
            ("enable_seqscan", "off"),
        ]);
        for _ in 0..limits::READERS {
            let reader = Reader {
                options: options.clone(),
                archive: archive.clone(),
                db: None,
            };
            tokio::spawn(reader.run(waiting.clone()));
        }
        Self(asks)
    }

    /// The sale of a merchant and where it stands; none when there is no such sale.
    ///
    /// # Errors
    /// The database's.
    pub async fn find(&self, merchant: MerchantId, wanted: Wanted) -> Answer {
        let (answer, answered) = oneshot::channel();
        let wanted = (merchant, wanted);
        let asked = self.0.send(Ask { wanted, answer }).await;
        match asked {
            Ok(()) => answered.await.unwrap_or_else(|_| Err(unanswered())),
            Err(_) => Err(unanswered()),
        }
    }
}

fn unanswered() -> Problem {
    Problem::new(
        &codes::DATABASE_UNAVAILABLE,
        "the database does not answer; try again",
    )
}

struct Reader {
    options: PgConnectOptions,
    archive: Archive,
    db: Option<PgConnection>,
}

impl Reader {
    /// Until nobody is left who could ask.
    async fn run(mut self, waiting: Arc<Mutex<mpsc::Receiver<Ask>>>) {
        loop {
            let mut asks = Vec::with_capacity(limits::READS_TOGETHER);
            let taken = waiting
                .lock()
                .await
                .recv_many(&mut asks, limits::READS_TOGETHER)
                .await;
            if taken == 0 {
                return;
            }
            self.answer(asks).await;
        }
    }

    async fn answer(&mut self, mut asks: Vec<Ask>) {
        asks.retain(|ask| !ask.answer.is_closed());
        let (wanted, answers): (Vec<_>, Vec<_>) =
            asks.into_iter().map(|ask| (ask.wanted, ask.answer)).unzip();
        let found: Vec<Answer> = match self.read(&wanted).await {
            Ok(found) => found
                .into_iter()
                .map(|found| found.map_err(ArchiveError::into_problem))
                .collect(),
            Err(problem) => vec![Err(problem); wanted.len()],
        };
        for (answer, found) in answers.into_iter().zip(found) {
            // whoever hung up needs none
            let _ = answer.send(found);
        }
    }

    async fn read(&mut self, wanted: &[(MerchantId, Wanted)]) -> Result<Found, Problem> {
        let held = self.db.is_some();
        let read = match self.try_read(wanted).await {
            Err(Some(error)) if held && database::was_cut(&error) => self.try_read(wanted).await,
            read => read,
        };
        read.map_err(|error| error.map_or_else(unanswered, Problem::from))
    }

    /// The connection is kept when all went well. The error is none when time ran out.
    async fn try_read(
        &mut self,
        wanted: &[(MerchantId, Wanted)],
    ) -> Result<Found, Option<sqlx::Error>> {
        let held = self.db.take();
        let reading = async {
            let mut db = match held {
                Some(db) => db,
                None => PgConnection::connect_with(&self.options).await?,
            };
            let found = self.archive.find(&mut db, wanted).await?;
            Ok((db, found))
        };
        match timeout(limits::READ_TIME, reading).await {
            Ok(Ok((db, found))) => {
                self.db = Some(db);
                Ok(found)
            }
            Ok(Err(error)) => Err(Some(error)),
            Err(_) => Err(None),
        }
    }
}
