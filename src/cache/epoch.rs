//! Which database answers. An entry was true of the database that it was made from; a restore or a
//! failover may have lost what that one had, so its entries are never looked at again.
//!
//! The identity is asked each second, and holds for [`limits::EPOCH_TIME`] from when the question was
//! *sent*: then at the latest nothing is read from Redis or written to it, until the database answers
//! again. What is left is a database that is replaced by another within that time of its last answer.
//! No failover is that quick: a standby is promoted after several missed answers, and a restore stops
//! the database for longer.
//!
//! System identifier and timeline alone would not tell two restores apart: a copied data directory or
//! a volume's snapshot starts on the timeline it was taken from, and two recoveries without an archive
//! may both choose the next. All of them start a server, so when it was started is part of the identity.
//! A mere restart of Postgres so costs the entries too, and nothing else.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sqlx::PgPool;
use time::OffsetDateTime;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, unix_ms};
use crate::database::{self, Identity};
use crate::limits;

/// How often the database is asked.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long it may take to answer.
const ANSWER_TIME: Duration = Duration::from_secs(2);

/// One start of one database cluster on one timeline, as keys are marked with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Epoch(Identity);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Identity {
            system_identifier,
            timeline,
            started_at,
        } = self.0;
        let started_ms = unix_ms(started_at);
        write!(f, "{system_identifier:x}:{timeline:x}:{started_ms:x}")
    }
}

/// What the database said last, and when it was asked.
#[derive(Debug)]
pub(super) struct Known {
    clock: Clock,
    last: Mutex<Option<(Epoch, OffsetDateTime)>>,
}

impl Known {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            last: Mutex::new(None),
        }
    }

    /// The database that answers now, as far as that is known.
    pub(super) fn current(&self) -> Option<Epoch> {
        let (epoch, asked_at) = (*self.last.lock().unwrap_or_else(PoisonError::into_inner))?;
        let age = self.clock.now() - asked_at;
        // a clock that was set back makes no old answer young
        (!age.is_negative() && age < limits::EPOCH_TIME).then_some(epoch)
    }

    /// Asks again and again.
    pub(super) async fn watch(&self, pool: &PgPool, stop: CancellationToken) {
        let asking = async {
            loop {
                self.ask(pool).await;
                sleep(INTERVAL).await;
            }
        };
        stop.run_until_cancelled(asking).await;
        self.learn(None);
    }

    async fn ask(&self, pool: &PgPool) {
        let asked_at = self.clock.now();
        let question = async { database::identity(&mut *pool.acquire().await?).await };
        // no answer, or that of a standby, is doubt, and doubt costs speed alone
        let answer = match timeout(ANSWER_TIME, question).await {
            Ok(Ok(identity)) => Some((Epoch(identity), asked_at)),
            Ok(Err(error)) => {
                tracing::debug!(error = %error, "which database answers is not known");
                None
            }
            Err(_) => None,
        };
        self.learn(answer);
    }

    fn learn(&self, answer: Option<(Epoch, OffsetDateTime)>) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = answer;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::from_unix_ms;

    #[test]
    fn an_answer_holds_for_a_while_after_the_question() {
        let start = from_unix_ms(1_700_000_000_000);
        let clock = Clock::manual(start);
        let known = Known::new(clock.clone());
        assert_eq!(known.current(), None);
        let epoch = Epoch(Identity {
            system_identifier: -1,
            timeline: 1,
            started_at: start,
        });
        known.learn(Some((epoch, start)));
        assert_eq!(known.current(), Some(epoch));
        clock.advance(limits::EPOCH_TIME - Duration::from_millis(1));
        assert_eq!(known.current(), Some(epoch));
        clock.advance(Duration::from_millis(1));
        assert_eq!(known.current(), None);
        // asked by a clock that was ahead
        known.learn(Some((epoch, clock.now() + Duration::from_secs(1))));
        assert_eq!(known.current(), None);
    }

    #[test]
    fn each_part_of_the_identity_makes_another_epoch() {
        let identity = |system_identifier, timeline, ms| {
            Epoch(Identity {
                system_identifier,
                timeline,
                started_at: from_unix_ms(ms),
            })
            .to_string()
        };
        let texts = [
            identity(1, 1, 1),
            identity(2, 1, 1),
            identity(1, 2, 1),
            identity(1, 1, 2),
            identity(0x11, 1, 1),
            identity(1, 0x11, 1),
        ];
        let distinct: std::collections::BTreeSet<_> = texts.iter().collect();
        assert_eq!(distinct.len(), texts.len(), "{texts:?}");
    }
}
