//! Answers that Redis remembers, and the locks that keep processes from working on one key at once. It
//! saves the database a question and never decides: whatever Redis does not know, or is not there to
//! say, `record_sales` knows.
//!
//! A key has one entry: a lock, then the answer in its place. A flush takes the locks of all its keys in
//! one call, in which it learns of the answers too, and writes the answers over them in another, after
//! the commit. A lock ends by itself after [`LOCK_TIME`]: as long as a repeat waits. So a process that
//! was killed holds nobody up for longer than one that is at work, and a flush that takes longer loses
//! its locks and nothing else, because then the merchant's lock in the database does the same.

mod entry;

use std::time::Duration;

use redis::Pipeline;

use super::{Draft, IntakeError, Outcome, Slot};
use crate::cache::{self, Cache, Epoch, Key};
use crate::clock::{Clock, Entropy};
use crate::ids::MerchantId;
use crate::limits;
use crate::telemetry;
use entry::{Entry, Token};

/// How long a key is locked unless it is answered before.
const LOCK_TIME: Duration = limits::IN_FLIGHT_WAIT;

/// Gives of each key what it holds, and locks those that hold nothing. What is no string is nothing,
/// and a server that has no room for locks still gives the answers that it has.
const BEGIN: &str = "
local found = {}
for i, key in ipairs(KEYS) do
  local value = redis.pcall('GET', key)
  if not value then redis.pcall('SET', key, ARGV[1], 'PX', ARGV[2]) end
  found[i] = type(value) == 'string' and value
end
return found";

/// Deletes those keys that still hold this lock.
const RELEASE: &str = "
for _, key in ipairs(KEYS) do
  if redis.pcall('GET', key) == ARGV[1] then redis.call('DEL', key) end
end";

/// Where a draft stands, as far as Redis knows.
pub(super) enum Standing {
    /// Nobody has answered it: go on. The lock, where there is a Redis to hold one, is given to
    /// [`Remembered::finish`] with what came of it.
    Free(Option<Lock>),
    /// It was answered before.
    Answered(Outcome),
    /// Another process works on it now.
    Busy,
}

/// A key that this process has locked.
pub(super) struct Lock {
    epoch: Epoch,
    key: Key,
}

/// A lock, and the entry that is to stand in its place; none where nothing is to be remembered.
pub(super) type Settled = (Lock, Option<Vec<u8>>);

/// What is remembered of keys.
#[derive(Clone)]
pub(super) struct Remembered {
    cache: Cache,
    clock: Clock,
    /// Of this process: within it two flushes never have the same key, so a lock that carries it is a
    /// leftover of one that has ended.
    token: Token,
}

impl Remembered {
    pub(super) fn new(cache: Cache, clock: Clock, entropy: &Entropy) -> Self {
        Self {
            cache,
            clock,
            token: entropy.bytes(),
        }
    }

    /// Where drafts of a merchant stand, in their order. Those that are free are locked.
    pub(super) async fn begin(&self, merchant: MerchantId, drafts: &[&Draft]) -> Vec<Standing> {
        let Some(epoch) = self.cache.epoch() else {
            return drafts.iter().map(|_| Standing::Free(None)).collect();
        };
        let keys: Vec<Key> = drafts
            .iter()
            .map(|draft| key(epoch, merchant, &draft.slot))
            .collect();
        let mut pipe = Pipeline::with_capacity(1);
        let begin = pipe.cmd("EVAL").arg(BEGIN).arg(keys.len());
        for key in &keys {
            begin.arg(key.as_str());
        }
        let ttl = u64::try_from(LOCK_TIME.as_millis()).unwrap_or(u64::MAX);
        begin.arg(entry::lock(&self.token).as_slice()).arg(ttl);
        let found = self
            .cache
            .run::<(Vec<Option<Vec<u8>>>,)>(epoch, &pipe)
            .await;
        let Some((found,)) = found.filter(|(found,)| found.len() == keys.len()) else {
            return drafts.iter().map(|_| Standing::Free(None)).collect();
        };
        let locks = keys.into_iter().map(|key| Lock { epoch, key });
        let asked = locks.zip(found).zip(drafts);
        asked
            .map(|((lock, found), draft)| self.standing(lock, found, draft, merchant))
            .collect()
    }

    fn standing(
        &self,
        lock: Lock,
        found: Option<Vec<u8>>,
        draft: &Draft,
        merchant: MerchantId,
    ) -> Standing {
        match found.as_deref().and_then(Entry::read) {
            Some(Entry::Lock(token)) if token != self.token => Standing::Busy,
            Some(Entry::Answer(answer)) => {
                match answer.outcome(&draft.command, merchant, self.clock.now()) {
                    Some(outcome) => {
                        metrics::counter!(telemetry::CACHE_REPLAYS).increment(1);
                        Standing::Answered(outcome)
                    }
                    None => Standing::Free(Some(lock)),
                }
            }
            // our own, nothing, or nothing that we wrote
            _ => Standing::Free(Some(lock)),
        }
    }

    /// What is to be remembered of a draft that was written, or not.
    pub(super) fn settle(
        &self,
        lock: Lock,
        draft: &Draft,
        answer: Option<&Result<Outcome, IntakeError>>,
    ) -> Settled {
        let entry = match answer {
            Some(Ok(outcome)) => {
                entry::of_outcome(draft.command.fingerprint(), outcome, self.clock.now())
            }
            _ => None,
        };
        (lock, entry)
    }

    /// Has what was settled after the commit remembered, and gives the other locks back. All are of one
    /// merchant and flush.
    pub(super) async fn finish(&self, settled: Vec<Settled>) {
        let Some(epoch) = settled.first().map(|(lock, _)| lock.epoch) else {
            return;
        };
        let mut pipe = Pipeline::with_capacity(settled.len() + 1);
        let (answered, unanswered): (Vec<_>, Vec<_>) =
            settled.into_iter().partition(|(_, entry)| entry.is_some());
        for (lock, entry) in &answered {
            let entry = entry.as_deref().unwrap_or_default();
            cache::set(&mut pipe, &lock.key, entry, limits::ANSWER_KEPT);
        }
        if !unanswered.is_empty() {
            let release = pipe.cmd("EVAL").arg(RELEASE).arg(unanswered.len());
            for (lock, _) in &unanswered {
                release.arg(lock.key.as_str());
            }
            release.arg(entry::lock(&self.token).as_slice()).ignore();
        }
        let _: Option<()> = self.cache.run(epoch, &pipe).await;
    }
}

fn key(epoch: Epoch, merchant: MerchantId, slot: &Slot) -> Key {
    let kind = if slot.space == 0 { "key" } else { "order" };
    Key::new(epoch, merchant, kind, &slot.key)
}
