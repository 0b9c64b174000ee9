//! The rules, each of which may be left out.

use super::publisher::Publisher;
use super::world::{Anchor, Seen, State, Tx, Worker, World};

/// A rule that is left out, to see that it is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    Nothing,
    /// A head is not compared with what was read before it is moved.
    HeadUnguarded,
    /// Bytes are sent before they are kept.
    SendBeforeKeep,
    /// A signature is kept whatever became of the anchor meanwhile.
    KeepUnguarded,
    /// A signature is kept by its nonce alone.
    KeepByNonce,
    /// A replacement takes what was sealed meanwhile too.
    ReplacementWidens,
    /// What waits at too low a price is not replaced.
    NoReplacement,
    /// What was sent once is not sent again.
    SendOnce,
    /// Mined is final.
    MinedIsFinal,
    /// A transaction that reverted frees its range before its block is final.
    RevertedEarly,
    /// No receipt means that there is no transaction.
    NullIsAbsent,
    /// Reservations behind a freed range keep their nonces.
    ReservationsStay,
    /// They are taken back, and their batches are not given out again.
    BatchesStay,
}

impl Publisher {
    /// The next anchor to reserve or to sign. What is in flight is waited for.
    pub(super) fn look(&self, world: &World) -> Worker {
        let in_flight = world.anchors.iter().any(|it| it.state == State::Submitted);
        if world.halted || in_flight {
            return Worker::Idle;
        }
        let reserved = world
            .anchors
            .iter()
            .filter(|it| it.state == State::Reserved);
        if let Some(anchor) = reserved.min_by_key(|it| it.nonce) {
            let nonce = anchor.nonce;
            return Worker::Signing { nonce };
        }
        if world.next_batch > world.sealed {
            return Worker::Idle;
        }
        Worker::Reserving {
            nonce: world.next_nonce,
            batch: world.next_batch,
        }
    }

    /// Each of these is one transaction of the database, or one signature.
    pub(super) fn go_on(&self, world: &mut World, worker: Worker) -> Worker {
        match worker {
            Worker::Idle => Worker::Idle,
            Worker::Reserving { nonce, batch } => self.reserve(world, nonce, batch),
            Worker::Signing { nonce } => self.sign(world, nonce),
            Worker::Signed { tx, attempts } => {
                self.keep(world, tx, attempts);
                Worker::Idle
            }
            Worker::Saw { nonce, what } => {
                self.write_down(world, nonce, what);
                Worker::Idle
            }
        }
    }

    fn reserve(&self, world: &mut World, nonce: u8, first: u8) -> Worker {
        let same = (world.next_nonce, world.next_batch) == (nonce, first);
        if !same && self.0 != Broken::HeadUnguarded {
            return Worker::Idle;
        }
        let last = world.last_from(first);
        world.anchors.push(Anchor {
            nonce,
            first,
            last,
            state: State::Reserved,
            attempts: Vec::new(),
        });
        world.next_nonce = nonce + 1;
        world.next_batch = world.uncovered_from(first);
        Worker::Signing { nonce }
    }

    /// Signs what the registry takes next; what it does not take yet waits.
    fn sign(&self, world: &mut World, nonce: u8) -> Worker {
        let (next, price, known) = (world.registry_next(), world.price, world.sent_with(nonce));
        let Some(anchor) = world.anchor_mut(nonce) else {
            return Worker::Idle;
        };
        if anchor.first != next {
            return Worker::Idle;
        }
        let tx = Tx {
            nonce,
            first: anchor.first,
            last: anchor.last,
            number: known,
            fee: price,
        };
        if self.0 == Broken::SendBeforeKeep {
            world.sent.insert(tx);
        }
        Worker::Signed { tx, attempts: 0 }
    }

    /// Signs the lowest nonce that waits once more, at a higher fee and otherwise the same.
    pub(super) fn replace(&self, world: &mut World, signatures: usize) -> Option<Worker> {
        if world.halted || self.0 == Broken::NoReplacement {
            return None;
        }
        let wide = self.0 == Broken::ReplacementWidens;
        let waiting = world
            .anchors
            .iter()
            .filter(|it| it.state == State::Submitted);
        let nonce = waiting.map(|it| it.nonce).min()?;
        let first = world.anchor(nonce)?.first;
        let widest = world.last_from(first);
        let anchor = world.anchor_mut(nonce)?;
        let newest = *anchor.attempts.last()?;
        if anchor.attempts.len() >= signatures {
            return None;
        }
        let last = if wide { widest } else { newest.last };
        let tx = Tx {
            last,
            number: newest.number + 1,
            fee: newest.fee + 1,
            ..newest
        };
        Some(Worker::Signed {
            tx,
            attempts: anchor.attempts.len(),
        })
    }

    fn keep(&self, world: &mut World, tx: Tx, attempts: usize) {
        let unguarded = self.0 == Broken::KeepUnguarded;
        let by_nonce = [
            Broken::KeepByNonce,
            Broken::KeepUnguarded,
            Broken::ReplacementWidens,
        ];
        let Some(anchor) = world.anchor_mut(tx.nonce) else {
            return;
        };
        // one that was taken back may have been reserved again, with another range
        if !by_nonce.contains(&self.0) && (anchor.first, anchor.last) != (tx.first, tx.last) {
            return;
        }
        let expected = match attempts {
            0 => State::Reserved,
            _ => State::Submitted,
        };
        let same = anchor.state == expected && anchor.attempts.len() == attempts;
        if same || unguarded {
            anchor.attempts.push(tx);
            anchor.last = tx.last;
            anchor.state = State::Submitted;
        }
    }

    pub(super) fn send(&self, world: &mut World, nonce: u8) {
        let waiting = world
            .anchor(nonce)
            .filter(|it| it.state == State::Submitted);
        world
            .sent
            .extend(waiting.and_then(|it| it.attempts.last()).copied());
    }

    /// What the chain says of an anchor now.
    pub(super) fn watch(&self, world: &World, nonce: u8) -> Worker {
        let Some(anchor) = world.anchor(nonce) else {
            return Worker::Idle;
        };
        if ![State::Submitted, State::Mined].contains(&anchor.state) {
            return Worker::Idle;
        }
        let mined = world.chain.get(usize::from(nonce));
        let is_final = usize::from(nonce) < world.finalized;
        let ours = |tx: &Tx| anchor.attempts.contains(tx);
        let what = match mined {
            Some(mined) if ours(&mined.tx) && mined.succeeded => {
                if is_final || self.0 == Broken::MinedIsFinal {
                    Seen::Final
                } else {
                    Seen::Mined
                }
            }
            Some(mined) if ours(&mined.tx) => {
                if !is_final && self.0 != Broken::RevertedEarly {
                    return Worker::Idle;
                }
                Seen::Reverted
            }
            Some(_) if is_final => Seen::Stolen,
            None if self.0 == Broken::NullIsAbsent => Seen::Reverted,
            None if anchor.state == State::Mined => Seen::Gone,
            _ => return Worker::Idle,
        };
        Worker::Saw { nonce, what }
    }

    fn write_down(&self, world: &mut World, nonce: u8, what: Seen) {
        let Some(anchor) = world.anchor_mut(nonce) else {
            return;
        };
        let first = anchor.first;
        match (what, anchor.state) {
            (Seen::Mined, State::Submitted) => anchor.state = State::Mined,
            (Seen::Gone, State::Mined) => anchor.state = State::Submitted,
            (Seen::Final, State::Submitted | State::Mined) => anchor.state = State::Finalized,
            (Seen::Reverted, State::Submitted | State::Mined) => {
                anchor.state = State::Reverted;
                self.free(world, first);
            }
            (Seen::Stolen, _) => world.halted = true,
            _ => {}
        }
    }

    /// The range is given out again. What is reserved and not signed is taken back: it would have to
    /// wait for this range, which would wait for its nonce.
    fn free(&self, world: &mut World, first: u8) {
        world.next_batch = world.next_batch.min(first);
        if self.0 == Broken::ReservationsStay {
            return;
        }
        let (back, rest): (Vec<Anchor>, Vec<Anchor>) = std::mem::take(&mut world.anchors)
            .into_iter()
            .partition(|it| it.state == State::Reserved);
        world.anchors = rest;
        for anchor in back {
            world.next_nonce = world.next_nonce.min(anchor.nonce);
            if self.0 != Broken::BatchesStay {
                world.next_batch = world.next_batch.min(anchor.first);
            }
        }
    }
}
