//! The runs of a merchant's sequence numbers that the batches commit to.

use std::collections::BTreeMap;

use super::Finding;
use crate::{
    Hash,
    leaf::Sale,
    manifest::{BatchFile, next_head},
};

/// All runs of a merchant: ascending, and none overlaps another.
pub(super) struct Runs<'b, 'r>(Vec<Run<'b, 'r>>);

/// One merchant's run in one batch, and the rows found for it.
struct Run<'b, 'r> {
    batch: u64,
    first: u64,
    head: Hash,
    /// Whether it goes on where the run before ended.
    follows: bool,
    /// All leaves of the batch, of every merchant, ascending.
    leaves: &'b [Hash],
    /// The row of each number, and its leaf.
    rows: Vec<Option<(&'r Sale, Hash)>>,
}

impl<'b, 'r> Runs<'b, 'r> {
    /// The runs of the merchant's marks. Those that do not go on where the last one ended are
    /// named; those that go back are not used any further.
    pub(super) fn of(
        merchant: [u8; 16],
        batches: &[&'b BatchFile],
        findings: &mut Vec<Finding>,
    ) -> Runs<'b, 'r> {
        let mut runs = Vec::new();
        let mut expected = 1;
        for file in batches {
            let Ok(at) = file
                .marks
                .binary_search_by_key(&merchant, |mark| mark.merchant)
            else {
                continue;
            };
            let (batch, mark) = (file.manifest.batch, &file.marks[at]);
            let (first, follows) = (mark.first_seq, mark.first_seq == expected);
            if !follows {
                findings.push(Finding::RunBroken {
                    batch,
                    expected,
                    found: first,
                });
            }
            if first < expected {
                continue;
            }
            expected = mark.last_seq.saturating_add(1);
            // No longer than the batch has leaves, or its own check would have refused it.
            let length = (mark.last_seq - first + 1) as usize;
            let rows = vec![None; length];
            runs.push(Run {
                batch,
                first,
                head: mark.head,
                follows,
                leaves: &file.leaves,
                rows,
            });
        }
        Runs(runs)
    }

    /// The number after the last one that is sealed.
    pub(super) fn end(&self) -> u64 {
        self.0
            .last()
            .map_or(1, |run| run.first.saturating_add(run.rows.len() as u64))
    }

    /// Whether a batch commits to this number.
    pub(super) fn covers(&self, seq: u64) -> bool {
        self.find(seq).is_some()
    }

    /// Puts `row` at `seq` if that place is free and the batch commits to the row's fields with
    /// this number. Returns whether it does.
    pub(super) fn place(&mut self, row: &'r Sale, seq: u64) -> bool {
        let Some((run, place)) = self.find(seq) else {
            return false;
        };
        let run = &mut self.0[run];
        if run.rows[place].is_some() {
            return false;
        }
        let leaf = if row.seq == seq {
            row.leaf()
        } else {
            Sale { seq, ..row.clone() }.leaf()
        };
        let sealed = run.leaves.binary_search(&leaf).is_ok();
        if sealed {
            run.rows[place] = Some((row, leaf));
        }
        sealed
    }

    /// The numbers that have no row yet, each with its batch.
    pub(super) fn free(&self) -> BTreeMap<u64, u64> {
        let free = |run: &Run<'_, '_>| {
            let batch = run.batch;
            let numbered = (run.first..)
                .zip(&run.rows)
                .filter(|(_, row)| row.is_none());
            numbered
                .map(move |(seq, _)| (seq, batch))
                .collect::<Vec<_>>()
        };
        self.0.iter().flat_map(free).collect()
    }

    /// The rows that stand at the number they were sealed with, or were found to belong there.
    pub(super) fn rows(&self) -> impl Iterator<Item = &'r Sale> {
        self.0
            .iter()
            .flat_map(|run| run.rows.iter().flatten().map(|(row, _)| *row))
    }

    /// Names the runs whose head is not the running hash over the merchant's leaves. Where a row
    /// is missing there is nothing to compute, and the run's own head is gone on from.
    pub(super) fn check_heads(&self, findings: &mut Vec<Finding>) {
        let mut before = [0; 32];
        for run in &self.0 {
            let found = run.head;
            if let (true, Some(expected)) = (run.follows, run.head_after(before))
                && expected != found
            {
                findings.push(Finding::HeadForked {
                    batch: run.batch,
                    expected,
                    found,
                });
            }
            before = found;
        }
    }

    /// The run and the place in it of a number.
    fn find(&self, seq: u64) -> Option<(usize, usize)> {
        let run = self
            .0
            .partition_point(|run| run.first <= seq)
            .checked_sub(1)?;
        let place = usize::try_from(seq - self.0[run].first).ok()?;
        (place < self.0[run].rows.len()).then_some((run, place))
    }
}

impl Run<'_, '_> {
    /// The running hash after this run, if all its rows are there.
    fn head_after(&self, before: Hash) -> Option<Hash> {
        self.rows.iter().try_fold(before, |head, row| {
            row.map(|(_, leaf)| next_head(&head, &leaf))
        })
    }
}
