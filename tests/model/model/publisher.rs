//! What may happen to the publisher, in any order, and what must hold.

use stateright::{Model, Property};

use super::rules::Broken;
use super::world::{Anchor, BATCHES, State, Tx, Worker, World};

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
