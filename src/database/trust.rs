//! Whether this is the database that it was. One that was restored from a backup, or failed over with
//! commits lost, would give numbers out again that are on receipts already, so as long as that is in
//! doubt nothing is recorded, sealed or anchored.
//!
//! Three things are looked at: the cluster and its timeline, against what the installation has accepted;
//! a doubt that somebody has raised in the database, such as a worker whose chain knows more; and the
//! last sale that this process has acknowledged, which must still be there. A copy of a data directory
//! that was started on its own timeline shows in that alone, or on the chain.
//!
//! It is looked each second, and on each new connection: another server is never met on an old one, but for
//! a standby that is promoted. A connection that meets a doubt, or a standby, is read only, so nothing is
//! written on it whatever the caller knows.
//! A restart of the same database changes nothing of what is looked at, and no answer is no doubt.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::{Executor, PgConnection, PgPool};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::was_cut;
use crate::telemetry;

/// How often it is looked.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long the database may take to answer a look.
const ANSWER_TIME: Duration = Duration::from_secs(2);
/// A connection that was made so shortly after a doubt was settled may have looked before.
const SETTLING: Duration = Duration::from_secs(2);

/// A cluster and its timeline: another pair is another database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cluster {
    /// Made once by initdb, shared by all copies.
    pub system_identifier: i64,
    /// Counts promotions and point-in-time recoveries.
    pub timeline: i32,
}

/// Why the database is not trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// It is of another cluster, or on another timeline.
    #[error(
        "this database (system {}, timeline {}) is not the one that the installation is in (system {}, \
         timeline {}): it was restored or failed over",
        .found.system_identifier, .found.timeline, .accepted.system_identifier, .accepted.timeline)]
    OtherCluster {
        /// Which it is.
        found: Cluster,
        /// Which it is to be.
        accepted: Cluster,
    },
    /// Somebody has raised it in the database.
    #[error("{0}")]
    Raised(String),
    /// It does not have what this process has acknowledged.
    // read by anybody at /readyz, so it counts nobody's sales
    #[error(
        "a sale that was acknowledged is not in this database: it was restored, or it has lost commits"
    )]
    SaleLost {
        /// The sale.
        sale: Acknowledged,
        /// The last number that the merchant has given out; 0 for none.
        last: i64,
    },
}

/// A sale that somebody was told is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acknowledged {
    /// Whose.
    pub merchant: Uuid,
    /// Its number.
    pub seq: i64,
}

/// What a process knows of its database. Cheap to clone; all clones know the same.
#[derive(Debug, Clone, Default)]
pub struct Trust(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// How many looks have begun.
    looks: AtomicU64,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// The look that the rest is from.
    look: u64,
    doubt: Option<Doubt>,
    /// Connections that were made until shortly after are not used again.
    stale_at: Option<Instant>,
    acknowledged: Option<Acknowledged>,
}

/// What the database says of itself.
#[derive(Debug)]
struct Seen {
    system_identifier: i64,
    /// None of a standby, which writes no log and takes no write.
    timeline: Option<i32>,
    accepted_system: Option<i64>,
    accepted_timeline: Option<i32>,
    doubt: Option<String>,
    settled: Option<i32>,
    next_seq: Option<i64>,
}

impl Trust {
    /// Why nothing may be written; none as far as is known.
    pub fn doubt(&self) -> Option<Doubt> {
        self.known().doubt.clone()
    }

    /// Whether something may be written, as far as is known.
    pub fn is_sound(&self) -> bool {
        self.known().doubt.is_none()
    }

    /// Remembers a sale that is durable and about to be acknowledged.
    pub fn acknowledge(&self, merchant: Uuid, seq: i64) {
        self.known().acknowledged = Some(Acknowledged { merchant, seq });
    }

    /// Looks again and again, until `stop`.
    pub async fn watch(&self, pool: &PgPool, stop: CancellationToken) {
        let looking = async {
            loop {
                let look = async { self.look(&mut *pool.acquire().await?).await };
                // a database that does not answer is waited for, and answers on a new connection
                if let Ok(Err(error)) = timeout(ANSWER_TIME, look).await
                    && !was_cut(&error)
                {
                    tracing::debug!(error = %error, "whether the database is the same is not known");
                }
                sleep(INTERVAL).await;
            }
        };
        stop.run_until_cancelled(looking).await;
    }

    /// Looks once, and says what is known then.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn look(&self, db: &mut PgConnection) -> sqlx::Result<Option<Doubt>> {
        self.look_closely(db).await.map(|(doubt, _)| doubt)
    }

    /// Looks once; what is known then, and whether it was a standby that answered.
    async fn look_closely(&self, db: &mut PgConnection) -> sqlx::Result<(Option<Doubt>, bool)> {
        // before the question: whatever was acknowledged by now must be in the answer
        let number = self.0.looks.fetch_add(1, Ordering::SeqCst) + 1;
        let acknowledged = self.known().acknowledged;
        let seen = see(db, acknowledged.map(|sale| sale.merchant)).await?;
        let doubt = seen.doubt(acknowledged);
        if let (Some(lost @ Doubt::SaleLost { .. }), Some(settled)) = (&doubt, seen.settled) {
            // the others cannot know; on a connection that is read only it is raised already
            if let Err(error) = raise(db, &lost.to_string(), settled).await {
                tracing::debug!(error = %error, "a doubt was not raised");
            }
        }
        self.learn(number, doubt);
        Ok((self.doubt(), seen.timeline.is_none()))
    }

    /// Looks on a new connection, which is read only from then on where there is a doubt. One to a standby
    /// is too, and is used once: promoted, it would take writes that nobody has looked at.
    pub(super) async fn meet(&self, db: &mut PgConnection) -> sqlx::Result<()> {
        let (doubt, is_standby) = self.look_closely(db).await?;
        if is_standby {
            self.known().stale_at = Some(Instant::now());
        }
        if is_standby || doubt.is_some() {
            db.execute("set default_transaction_read_only = on").await?;
        }
        Ok(())
    }

    /// Whether a connection of this age may be one that is read only for a doubt that is settled, or was
    /// made to a standby.
    pub(super) fn is_outlived_by(&self, age: Duration) -> bool {
        let stale_at = self.known().stale_at;
        stale_at.is_some_and(|at| age + SETTLING > at.elapsed())
    }

    /// Takes the answer of a look, unless one that began later has answered already.
    fn learn(&self, look: u64, doubt: Option<Doubt>) {
        let mut known = self.known();
        if look <= known.look {
            return;
        }
        known.look = look;
        match (&known.doubt, &doubt) {
            (None, Some(reason)) => tracing::error!(
                reason = %reason,
                detail = ?reason,
                "the database is in doubt: nothing is recorded, sealed or anchored until `counterfoil recover` was run"
            ),
            (Some(_), None) => {
                known.stale_at = Some(Instant::now());
                tracing::info!("the database is trusted again");
            }
            _ => {}
        }
        let gauge = if doubt.is_some() { 1.0 } else { 0.0 };
        metrics::gauge!(telemetry::DATABASE_IN_DOUBT).set(gauge);
        known.doubt = doubt;
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn doubt(&self, acknowledged: Option<Acknowledged>) -> Option<Doubt> {
        let found = Cluster {
            system_identifier: self.system_identifier,
            timeline: self.timeline?,
        };
        let accepted = Cluster {
            system_identifier: self.accepted_system?,
            timeline: self.accepted_timeline?,
        };
        if found != accepted {
            return Some(Doubt::OtherCluster { found, accepted });
        }
        if let Some(raised) = &self.doubt {
            return Some(Doubt::Raised(raised.clone()));
        }
        let last = self.next_seq.map_or(0, |next| next - 1);
        acknowledged
            .filter(|sale| last < sale.seq)
            .map(|sale| Doubt::SaleLost { sale, last })
    }
}

async fn see(db: &mut PgConnection, merchant: Option<Uuid>) -> sqlx::Result<Seen> {
    sqlx::query_as!(
        Seen,
        // of the log that is written now: the control file tells of a promotion only after a checkpoint
        r#"select s.system_identifier as "system_identifier!",
                  case when not pg_is_in_recovery() then
                      ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::integer
                  end as timeline,
                  i.system_identifier as "accepted_system?", i.timeline as "accepted_timeline?",
                  i.doubt as "doubt?", i.settled as "settled?",
                  (select m.next_seq from merchant m where m.merchant_id = $1) as next_seq
           from pg_control_system() s left join installation i on true"#,
        merchant
    )
    .fetch_one(db)
    .await
}

/// What a database says of itself, and why it is not to be trusted, to a process that has acknowledged
/// nothing.
///
/// # Errors
/// When the database cannot be asked.
pub async fn examine(db: &mut PgConnection) -> sqlx::Result<Option<Doubt>> {
    Ok(see(db, None).await?.doubt(None))
}

/// Which database answers; none where it is a standby.
///
/// # Errors
/// When it cannot be asked.
pub async fn cluster(db: &mut PgConnection) -> sqlx::Result<Option<Cluster>> {
    let seen = see(db, None).await?;
    Ok(seen.timeline.map(|timeline| Cluster {
        system_identifier: seen.system_identifier,
        timeline,
    }))
}

/// How many doubts were settled: a doubt is raised under the number that was read before what it rests
/// on.
///
/// # Errors
/// When the database fails.
pub async fn settled(db: &mut PgConnection) -> sqlx::Result<i32> {
    sqlx::query_scalar!("select settled from installation")
        .fetch_one(db)
        .await
}

/// Raises a doubt for every process; false where one stands already, or one was settled meanwhile.
///
/// # Errors
/// When the database fails.
pub async fn raise(db: &mut PgConnection, doubt: &str, settled: i32) -> sqlx::Result<bool> {
    sqlx::query_scalar!(r#"select raise_doubt($1, $2) as "raised!""#, doubt, settled)
        .fetch_one(db)
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(timeline: i32, next_seq: Option<i64>, doubt: Option<&str>) -> Seen {
        Seen {
            system_identifier: 7,
            timeline: Some(timeline),
            accepted_system: Some(7),
            accepted_timeline: Some(1),
            doubt: doubt.map(str::to_owned),
            settled: Some(0),
            next_seq,
        }
    }

    #[test]
    fn a_database_that_went_back_is_told_from_one_that_did_not() {
        let sale = Some(Acknowledged {
            merchant: Uuid::nil(),
            seq: 5,
        });
        assert_eq!(seen(1, Some(6), None).doubt(sale), None);
        assert_eq!(seen(1, Some(9), None).doubt(sale), None);
        assert_eq!(seen(1, None, None).doubt(None), None);
        for (seen, last) in [(seen(1, Some(5), None), 4), (seen(1, None, None), 0)] {
            let doubt = seen.doubt(sale);
            assert!(
                matches!(doubt, Some(Doubt::SaleLost { last: found, .. }) if found == last),
                "{doubt:?}"
            );
        }
        assert!(matches!(
            seen(2, Some(6), None).doubt(sale),
            Some(Doubt::OtherCluster { .. })
        ));
        assert_eq!(
            seen(1, Some(6), Some("why")).doubt(None),
            Some(Doubt::Raised("why".to_owned()))
        );
        let standby = Seen {
            timeline: None,
            ..seen(1, Some(2), None)
        };
        assert_eq!(standby.doubt(sale), None, "it takes no write anyway");
    }

    #[test]
    fn an_answer_that_comes_late_changes_nothing() {
        let trust = Trust::default();
        let doubt = || Some(Doubt::Raised("why".to_owned()));
        trust.learn(2, doubt());
        assert!(!trust.is_sound());
        trust.learn(1, None);
        assert!(!trust.is_sound(), "an old look does not settle a doubt");
        assert!(!trust.is_outlived_by(Duration::from_secs(1)));
        trust.learn(4, None);
        trust.learn(3, doubt());
        assert!(trust.is_sound(), "an old look does not raise one again");
        // made just when it was settled, and long before and after
        assert!(trust.is_outlived_by(Duration::ZERO));
        trust.known().stale_at = Instant::now().checked_sub(Duration::from_secs(60));
        assert!(trust.is_outlived_by(Duration::from_secs(61)));
        assert!(!trust.is_outlived_by(Duration::from_secs(50)));
    }
}
