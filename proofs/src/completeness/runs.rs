//! The runs of a merchant's sequence numbers that the batches commit to.

use super::Finding;
use crate::{
    Hash,
    leaf::Sale,
    manifest::{BatchFile, next_head},
};

/// One merchant's run in one batch, and the rows found for it.
pub(super) struct Run<'b, 'r> {
    pub(super) batch: u64,
    first: u64,
    head: Hash,
    /// Whether it goes on where the run before ended.
    follows: bool,
    /// All leaves of the batch, of every merchant, ascending.
    leaves: &'b [Hash],
    /// The row of each number, and its leaf.
    rows: Vec<Option<(&'r Sale, Hash)>>,
}

/// All runs of a merchant, ascending.
pub(super) struct Runs<'b, 'r>(Vec<Run<'b, 'r>>);

impl<'b, 'r> Runs<'b, 'r> {
    /// The runs of the merchant's marks; names those that do not go on where the last one ended.
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
        self.0.iter().map(Run::end).max().unwrap_or(1)
    }

    /// Whether a batch commits to this number.
    pub(super) fn covers(&self, seq: u64) -> bool {
        self.0.iter().any(|run| run.place(seq).is_some())
    }

    /// Whether a batch commits to this number and no row was found for it.
    pub(super) fn is_free(&self, seq: u64) -> bool {
        let run = self.0.iter().find_map(|run| Some((run, run.place(seq)?)));
        run.is_some_and(|(run, place)| run.rows[place].is_none())
    }

    /// Puts `row` at `seq` if that place is free and the batch commits to the row's fields with
    /// this number. Returns the batch.
    pub(super) fn place(&mut self, row: &'r Sale, seq: u64) -> Option<u64> {
        let run = self.0.iter_mut().find(|run| run.place(seq).is_some())?;
        let place = run.place(seq)?;
        if run.rows[place].is_some() {
            return None;
        }
        let leaf = if row.seq == seq {
            row.leaf()
        } else {
            Sale { seq, ..row.clone() }.leaf()
        };
        run.leaves.binary_search(&leaf).ok()?;
        run.rows[place] = Some((row, leaf));
        Some(run.batch)
    }

    /// The numbers that have no row yet, ascending, each with its batch.
    pub(super) fn free(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter().flat_map(|run| {
            let rows = run.rows.iter().zip(run.first..);
            rows.filter(|(row, _)| row.is_none())
                .map(|(_, seq)| (seq, run.batch))
        })
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
            let expected = run.head_after(before);
            if let (true, Some(expected)) = (run.follows, expected)
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
}

impl Run<'_, '_> {
    fn end(&self) -> u64 {
        self.first.saturating_add(self.rows.len() as u64)
    }

    fn place(&self, seq: u64) -> Option<usize> {
        let place = usize::try_from(seq.checked_sub(self.first)?).ok()?;
        (place < self.rows.len()).then_some(place)
    }

    /// The running hash after this run, if all its rows are there.
    fn head_after(&self, before: Hash) -> Option<Hash> {
        self.rows.iter().try_fold(before, |head, row| {
            row.map(|(_, leaf)| next_head(&head, &leaf))
        })
    }
}
