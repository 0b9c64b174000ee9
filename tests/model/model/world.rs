//! What the publisher's rules play on: rows, two workers, a chain that is reorganised and a price of gas.

use std::collections::BTreeSet;

/// Batches in all, and in one anchor at most.
pub(super) const BATCHES: u8 = 2;
pub(super) const RANGE: u8 = 2;

/// A signed transaction. Two signatures are two transactions, also onto one nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Tx {
    pub(super) nonce: u8,
    pub(super) first: u8,
    pub(super) last: u8,
    /// Which signature of its anchor.
    pub(super) number: u8,
    /// Not mined while gas costs more.
    pub(super) fee: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum State {
    Reserved,
    Submitted,
    Mined,
    Finalized,
    Reverted,
}

/// A row of `anchor` with its attempts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Anchor {
    pub(super) nonce: u8,
    pub(super) first: u8,
    pub(super) last: u8,
    pub(super) state: State,
    pub(super) attempts: Vec<Tx>,
}

impl Anchor {
    pub(super) fn is_live(&self) -> bool {
        self.state != State::Reverted
    }
}

/// What a worker is in the middle of; a crash forgets it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Worker {
    Idle,
    /// It has read the head and goes on to reserve.
    Reserving {
        nonce: u8,
        batch: u8,
    },
    /// It has read a reserved anchor and goes on to sign.
    Signing {
        nonce: u8,
    },
    /// It has a signature that nobody else knows of. As many attempts were kept when it began.
    Signed {
        tx: Tx,
        attempts: usize,
    },
    /// It has read the chain and goes on to write down what it saw.
    Saw {
        nonce: u8,
        what: Seen,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Seen {
    Mined,
    Gone,
    Final,
    /// It did nothing, for good.
    Reverted,
    /// Its nonce has another's transaction, for good.
    Stolen,
}

/// A transaction in a block. Its place is its nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Mined {
    pub(super) tx: Tx,
    pub(super) succeeded: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct World {
    // the database
    pub(super) sealed: u8,
    pub(super) next_nonce: u8,
    pub(super) next_batch: u8,
    pub(super) halted: bool,
    pub(super) anchors: Vec<Anchor>,
    // the processes
    pub(super) workers: [Worker; 2],
    // the chain, and everything that was ever sent to it: it may be mined at any time
    pub(super) chain: Vec<Mined>,
    pub(super) finalized: usize,
    pub(super) sent: BTreeSet<Tx>,
    pub(super) price: u8,
    // how often the chain may still do what it should not
    pub(super) reorganisations: u8,
    pub(super) failures: u8,
}

impl World {
    pub(super) fn new(reorganisations: u8, failures: u8) -> Self {
        Self {
            sealed: 1,
            next_nonce: 0,
            next_batch: 1,
            halted: false,
            anchors: Vec::new(),
            workers: [Worker::Idle, Worker::Idle],
            chain: Vec::new(),
            finalized: 0,
            sent: BTreeSet::new(),
            price: 0,
            reorganisations,
            failures,
        }
    }

    /// The batch that the registry takes next.
    pub(super) fn registry_next(&self) -> u8 {
        let mut done = self.chain.iter().filter(|mined| mined.succeeded);
        done.next_back().map_or(1, |mined| mined.tx.last + 1)
    }

    pub(super) fn anchor(&self, nonce: u8) -> Option<&Anchor> {
        self.anchors.iter().find(|anchor| anchor.nonce == nonce)
    }

    pub(super) fn anchor_mut(&mut self, nonce: u8) -> Option<&mut Anchor> {
        self.anchors.iter_mut().find(|anchor| anchor.nonce == nonce)
    }

    /// How many transactions with this nonce were ever sent.
    pub(super) fn sent_with(&self, nonce: u8) -> u8 {
        self.sent.iter().filter(|tx| tx.nonce == nonce).count() as u8
    }

    /// Whether a transaction can be the next in a block.
    pub(super) fn fits(&self, tx: &Tx) -> bool {
        usize::from(tx.nonce) == self.chain.len() && tx.fee >= self.price
    }

    pub(super) fn mine(&mut self, tx: Tx, out_of_gas: bool) {
        let succeeded = !out_of_gas && tx.first == self.registry_next();
        self.chain.push(Mined { tx, succeeded });
    }

    /// The last batch of a range that begins here and meets no live one.
    pub(super) fn last_from(&self, first: u8) -> u8 {
        let live = self.anchors.iter().filter(|anchor| anchor.is_live());
        let next = live.map(|anchor| anchor.first).filter(|at| *at > first);
        let free = next.min().map_or(self.sealed, |at| at - 1);
        free.min(self.sealed).min(first + RANGE - 1)
    }

    /// The first batch from this one on that is in no live range.
    pub(super) fn uncovered_from(&self, batch: u8) -> u8 {
        let live = || self.anchors.iter().filter(|anchor| anchor.is_live());
        (batch..)
            .find(|at| !live().any(|anchor| (anchor.first..=anchor.last).contains(at)))
            .unwrap_or(batch)
    }
}
