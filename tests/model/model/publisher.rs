//! The publisher's rules, and what happens to them in any order.

use stateright::{Model, Property};

use super::world::{Anchor, BATCHES, Seen, State, Tx, Worker, World};

/// Promise 4, in the database.
pub(super) const ONE_ANCHOR: &str = "no batch has two anchors";
/// What is said to be final is so on the chain.
pub(super) const FINAL: &str = "final is final";
/// Promise 4, on the chain.
pub(super) const OURS: &str = "what the registry took is an anchor of ours";
/// The order of promise 10, on the chain.
pub(super) const IN_ORDER: &str = "the registry takes the batches in order, and no others";
/// From every state.
pub(super) const NO_DEAD_END: &str = "left alone, everything becomes final";

/// Rounds in which all must become final once nothing goes wrong any more.
const ROUNDS: usize = 24;

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

/// How much may happen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Signatures of an anchor.
    pub(super) signatures: usize,
    /// Prices of gas.
    pub(super) prices: u8,
    /// Reorganisations of any depth.
    pub(super) reorganisations: u8,
    /// Transactions that run out of gas.
    pub(super) failures: u8,
}

/// The model: these rules, but one.
pub(super) struct Publisher(pub(super) Broken, pub(super) Bounds);

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Seal,
    Look(usize),
    Replace(usize),
    GoOn(usize),
    Watch(usize, u8),
    Crash(usize),
    Send(u8),
    Mine(Tx),
    OutOfGas(Tx),
    Finalize,
    /// The chain is this long, and goes on otherwise.
    Reorganise(usize),
    PriceRises,
}

impl Model for Publisher {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(self.1.reorganisations, self.1.failures)]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.sealed < BATCHES {
            actions.push(Action::Seal);
        }
        for (at, worker) in world.workers.iter().enumerate() {
            if *worker != Worker::Idle {
                actions.extend([Action::GoOn(at), Action::Crash(at)]);
                continue;
            }
            actions.extend([Action::Look(at), Action::Replace(at)]);
            actions.extend(world.anchors.iter().map(|it| Action::Watch(at, it.nonce)));
        }
        actions.extend(world.anchors.iter().map(|it| Action::Send(it.nonce)));
        for tx in world.sent.iter().filter(|tx| world.fits(tx)) {
            actions.push(Action::Mine(*tx));
            if world.failures > 0 {
                actions.push(Action::OutOfGas(*tx));
            }
        }
        if world.finalized < world.chain.len() {
            actions.push(Action::Finalize);
        }
        if world.reorganisations > 0 {
            actions.extend((world.finalized..world.chain.len()).map(Action::Reorganise));
        }
        if world.price + 1 < self.1.prices {
            actions.push(Action::PriceRises);
        }
    }

    fn next_state(&self, before: &World, action: Action) -> Option<World> {
        let mut world = before.clone();
        match action {
            Action::Seal => world.sealed += 1,
            Action::Look(at) => world.workers[at] = self.look(&world),
            Action::Replace(at) => {
                world.workers[at] = self
                    .replace(&mut world, self.1.signatures)
                    .unwrap_or(Worker::Idle);
            }
            Action::GoOn(at) => {
                let worker = std::mem::replace(&mut world.workers[at], Worker::Idle);
                world.workers[at] = self.go_on(&mut world, worker);
            }
            Action::Watch(at, nonce) => world.workers[at] = self.watch(&world, nonce),
            Action::Crash(at) => world.workers[at] = Worker::Idle,
            Action::Send(nonce) => self.send(&mut world, nonce),
            Action::Mine(tx) => world.mine(tx, false),
            Action::OutOfGas(tx) => {
                world.failures -= 1;
                world.mine(tx, true);
            }
            Action::Finalize => world.finalized += 1,
            Action::Reorganise(length) => {
                world.reorganisations -= 1;
                world.chain.truncate(length);
            }
            Action::PriceRises => world.price += 1,
        }
        // which worker it is makes no difference
        world.workers.sort();
        (world != *before).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ONE_ANCHOR, |_, world: &World| {
                let live: Vec<_> = world.anchors.iter().filter(|it| it.is_live()).collect();
                let meet = |a: &Anchor, b: &Anchor| a.first <= b.last && b.first <= a.last;
                live.iter().enumerate().all(|(at, a)| {
                    live[at + 1..]
                        .iter()
                        .all(|b| !meet(a, b) && a.nonce != b.nonce)
                })
            }),
            Property::always(FINAL, |_, world: &World| {
                let finals = world
                    .anchors
                    .iter()
                    .filter(|it| it.state == State::Finalized);
                finals.into_iter().all(|it| {
                    let mined = world.chain[..world.finalized].get(usize::from(it.nonce));
                    mined.is_some_and(|mined| {
                        mined.succeeded && (mined.tx.first, mined.tx.last) == (it.first, it.last)
                    })
                })
            }),
            Property::always(OURS, |_, world: &World| {
                world
                    .chain
                    .iter()
                    .filter(|mined| mined.succeeded)
                    .all(|mined| {
                        let anchor = world.anchor(mined.tx.nonce);
                        anchor.is_some_and(|it| it.is_live() && it.attempts.contains(&mined.tx))
                    })
            }),
            Property::always(IN_ORDER, |_, world: &World| {
                let mut next = 1;
                world
                    .chain
                    .iter()
                    .filter(|mined| mined.succeeded)
                    .all(|mined| {
                        let follows = mined.tx.first == next;
                        next = mined.tx.last + 1;
                        follows && mined.tx.last <= world.sealed
                    })
            }),
            Property::always(NO_DEAD_END, Self::becomes_final),
            Property::sometimes(
                "a replacement is overtaken by what it replaced",
                |_, world: &World| {
                    world.anchors.iter().any(|it| {
                        let mined = world.chain[..world.finalized].get(usize::from(it.nonce));
                        it.state == State::Finalized
                            && it.attempts.len() > 1
                            && mined.map(|mined| mined.tx) == it.attempts.first().copied()
                    })
                },
            ),
            Property::sometimes(
                "a range is anchored after it reverted",
                |_, world: &World| {
                    let reverted = |it: &Anchor| it.state == State::Reverted;
                    world.anchors.iter().any(reverted)
                        && world.anchors.iter().any(|it| it.state == State::Finalized)
                },
            ),
        ]
    }
}

impl Publisher {
    /// The next anchor to reserve or to sign. What is in flight is waited for.
    fn look(&self, world: &World) -> Worker {
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
    fn go_on(&self, world: &mut World, worker: Worker) -> Worker {
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
    fn replace(&self, world: &mut World, signatures: usize) -> Option<Worker> {
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

    fn send(&self, world: &mut World, nonce: u8) {
        let waiting = world
            .anchor(nonce)
            .filter(|it| it.state == State::Submitted);
        world
            .sent
            .extend(waiting.and_then(|it| it.attempts.last()).copied());
    }

    /// What the chain says of an anchor now.
    fn watch(&self, world: &World, nonce: u8) -> Worker {
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

    /// Whether everything becomes final when nothing breaks any more: both workers begin anew, the pool
    /// is empty, the price stays. A registry that stopped for somebody else's transaction does not count.
    fn becomes_final(&self, world: &World) -> bool {
        let mut world = world.clone();
        world.workers = [Worker::Idle, Worker::Idle];
        let before = std::mem::take(&mut world.sent);
        world.sealed = BATCHES;
        for _ in 0..ROUNDS {
            for nonce in 0..world.next_nonce {
                let saw = self.watch(&world, nonce);
                self.go_on(&mut world, saw);
            }
            let mut worker = self.look(&world);
            while worker != Worker::Idle {
                worker = self.go_on(&mut world, worker);
            }
            let waits = |it: &Anchor| it.attempts.last().is_some_and(|tx| tx.fee < world.price);
            if world.anchors.iter().any(waits)
                && let Some(worker) = self.replace(&mut world, usize::MAX)
            {
                self.go_on(&mut world, worker);
            }
            for nonce in 0..world.next_nonce {
                let newest = world
                    .anchor(nonce)
                    .and_then(|it| it.attempts.last())
                    .copied();
                let again = newest.is_none_or(|tx| !before.contains(&tx));
                if again || self.0 != Broken::SendOnce {
                    self.send(&mut world, nonce);
                }
            }
            while let Some(tx) = world.sent.iter().rfind(|tx| world.fits(tx)).copied() {
                world.mine(tx, false);
            }
            world.finalized = world.chain.len();
        }
        let finals = world
            .anchors
            .iter()
            .filter(|it| it.state == State::Finalized);
        finals.map(|it| it.last - it.first + 1).sum::<u8>() == BATCHES
    }
}
