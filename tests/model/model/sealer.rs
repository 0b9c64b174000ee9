//! The sealer's rules: two workers read what waits, and one transaction each moves the head.

use stateright::{Model, Property};

/// Promise 4, and the runs of promise 10.
pub(super) const ONE_BATCH: &str = "each sale is in one batch, in order";
/// Sales in all, and in a batch at most.
const SALES: u8 = 4;
const LEAVES: u8 = 2;

/// The model, with its guard or without.
pub(super) struct Sealer {
    pub(super) guarded: bool,
}

/// What a worker has read: the next batch, and the sales that it takes.
type Draft = (usize, u8, u8);

/// The rows and the two workers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Rows {
    /// Sales are numbered from 1 to this.
    recorded: u8,
    /// The first and the last sale of each batch, in order of their ids.
    batches: Vec<(u8, u8)>,
    workers: [Option<Draft>; 2],
}

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Record,
    Read(usize),
    Commit(usize),
    Crash(usize),
}

impl Rows {
    fn sealed(&self) -> u8 {
        self.batches.last().map_or(0, |batch| batch.1)
    }
}

impl Model for Sealer {
    type State = Rows;
    type Action = Action;

    fn init_states(&self) -> Vec<Rows> {
        vec![Rows {
            recorded: 0,
            batches: Vec::new(),
            workers: [None, None],
        }]
    }

    fn actions(&self, rows: &Rows, actions: &mut Vec<Action>) {
        if rows.recorded < SALES {
            actions.push(Action::Record);
        }
        for (at, worker) in rows.workers.iter().enumerate() {
            match worker {
                None if rows.sealed() < rows.recorded => actions.push(Action::Read(at)),
                None => {}
                Some(_) => actions.extend([Action::Commit(at), Action::Crash(at)]),
            }
        }
    }

    fn next_state(&self, before: &Rows, action: Action) -> Option<Rows> {
        let mut rows = before.clone();
        match action {
            Action::Record => rows.recorded += 1,
            Action::Read(at) => {
                let first = rows.sealed() + 1;
                let last = rows.recorded.min(first + LEAVES - 1);
                rows.workers[at] = Some((rows.batches.len(), first, last));
            }
            Action::Commit(at) => {
                let (batch, first, last) = rows.workers[at].take()?;
                // the head's row is locked and compared with what was read
                if batch == rows.batches.len() || !self.guarded {
                    rows.batches.push((first, last));
                }
            }
            Action::Crash(at) => rows.workers[at] = None,
        }
        Some(rows)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ONE_BATCH, |_, rows: &Rows| {
                let mut next = 1;
                rows.batches.iter().all(|(first, last)| {
                    let follows = *first == next && last >= first;
                    next = last + 1;
                    follows
                })
            }),
            Property::sometimes("all are sealed", |_, rows: &Rows| rows.sealed() == SALES),
        ]
    }
}
