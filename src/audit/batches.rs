//! A step over batches: each with its neighbours, its marks and the sales of its runs.

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::batch::{Batch, BatchRow, MarkRow};
use super::filed::{Archives, Found};
use super::finding::{Findings, Part as Of, Subject};
use super::row::{RefundSums, Row};
use super::run::Run;
use super::steps::{Part, earliest};
use super::store::anchors::{self, RegistryRow};
use super::store::batches as store;
use crate::anchor::store::seal;

/// Leaves of a step, unless one batch has more.
const LEAVES: i64 = 32_768;
/// Batches of a step at most.
const BATCHES: i64 = 256;
/// Rows that are read at once. Their details have up to 2 MiB each, so this bounds the memory.
pub(super) const ROWS_A_READ: i64 = 512;

/// The last batch of the next step; none where there is no batch after `after`.
pub(super) async fn next(conn: &mut PgConnection, after: i64) -> Result<Option<i64>, sqlx::Error> {
    let mut leaves = 0;
    let mut last = None;
    for (batch, count) in store::sizes(conn, after, BATCHES).await? {
        leaves += i64::from(count);
        if last.is_some() && leaves > LEAVES {
            break;
        }
        last = Some(batch);
    }
    Ok(last)
}

/// Checks the batches after `after` up to `last`.
pub(super) async fn check(
    conn: &mut PgConnection,
    archives: &Archives,
    sums: &RefundSums,
    after: i64,
    last: i64,
) -> Result<Part, sqlx::Error> {
    let mut part = Part {
        last_batch: last,
        ..Part::default()
    };
    let registries = anchors::registries(conn).await?;
    let mut expected = after + 1;
    for (id, _) in store::sizes(conn, after, last - after).await? {
        if id > last {
            break;
        }
        let lost = store::lost(conn, expected - 1, id).await?;
        name_missing(expected, id, &lost, &mut part.findings);
        expected = id + 1;
        let Some(row) = store::batch(conn, id).await? else {
            continue;
        };
        let marks = store::marks(conn, id).await?;
        part.counts.batches += 1;
        check_chains(&row, &registries, &mut part.findings);
        let Some(batch) = row.check(&marks, &mut part.findings) else {
            continue;
        };
        let sales = Sales {
            batch: &batch,
            marks: &marks,
            archives,
            sums,
        };
        let checked = sales.check(conn, row.leaf_count, &mut part).await?;
        if !batch.marks_hold {
            row.name_marks(&marks, &checked.contradicted, &mut part.findings);
        }
        checked.check_times(&row, &mut part.findings);
    }
    Ok(part)
}

/// Names the batches between two that are there, unless all of them were declared lost.
fn name_missing(expected: i64, found: i64, lost: &[i64], findings: &mut Findings) {
    let unexplained = (expected..found).find(|batch| !lost.contains(batch));
    if let Some(expected) = unexplained {
        let subject = Subject::Batch { batch: expected };
        let what = match found - 1 {
            last if last == expected => "there is no such batch".to_owned(),
            last => format!("there is no such batch, nor any up to {last}"),
        };
        findings.add(&subject, Of::Missing, what);
    }
}

/// A batch is to be anchored on chains that have a registry for it.
fn check_chains(row: &BatchRow, registries: &[RegistryRow], findings: &mut Findings) {
    let subject = Subject::Batch {
        batch: row.batch_id,
    };
    for chain in &row.chains {
        let known = registries.iter().any(|registry| {
            registry.chain_id == *chain
                && registry.first_batch <= row.batch_id
                && registry.last_batch.is_none_or(|last| row.batch_id <= last)
        });
        let what = format!("it is to be anchored on chain {chain}, which has no registry for it");
        findings.check(known, &subject, Of::Chain, &what);
    }
    let some = !row.chains.is_empty() && row.chains.is_sorted_by(|a, b| a < b);
    findings.check(
        some,
        &subject,
        Of::Chain,
        "its chains are not a list of chains",
    );
}

/// What the sales of a batch came to.
struct Checked {
    /// Of each mark, whether the rows contradict it.
    contradicted: Vec<bool>,
    oldest: Option<OffsetDateTime>,
    newest: Option<OffsetDateTime>,
    /// Whether all of its sales were read and are right.
    whole: bool,
}

impl Checked {
    fn check_times(&self, row: &BatchRow, findings: &mut Findings) {
        let subject = Subject::Batch {
            batch: row.batch_id,
        };
        // rows that are wrong have wrong times
        if self.whole {
            let same = self.oldest == Some(row.oldest_recorded_at);
            let what = "oldest_recorded_at is not the time of its oldest sale";
            findings.check(same, &subject, Of::Copy, what);
            let in_order = self.newest.is_none_or(|newest| newest <= row.sealed_at);
            let what = "it is dated before one of its sales";
            findings.check(in_order, &subject, Of::Times, what);
        }
    }
}

/// The sales of a batch, and what they are checked with.
struct Sales<'a> {
    batch: &'a Batch,
    marks: &'a [MarkRow],
    archives: &'a Archives,
    sums: &'a RefundSums,
}

impl Sales<'_> {
    async fn check(
        &self,
        conn: &mut PgConnection,
        leaves: i32,
        part: &mut Part,
    ) -> Result<Checked, sqlx::Error> {
        let (findings_before, unread_before) = (part.findings.0.len(), part.counts.unread);
        let mut checked = Checked {
            contradicted: Vec::with_capacity(self.marks.len()),
            oldest: None,
            newest: None,
            whole: false,
        };
        let mut rest = self.marks.iter();
        let mut run: Option<Run<'_>> = None;
        for page in pages(self.marks, i64::from(leaves)) {
            let rows = store::sales(&mut *conn, &page).await?;
            let findings = &mut part.findings;
            let found = self.archives.join(conn, &page, rows, self.batch, findings);
            let mut found = found.await?.into_iter().peekable();
            for read in &page {
                let starts = |mark: &MarkRow| mark.merchant_id == read.merchant_id;
                if run.as_ref().is_none_or(|run| !starts(run.mark())) {
                    checked.finish(run.take(), &mut part.findings);
                    let mark = rest.find(|mark| starts(mark));
                    run = mark.map(|mark| Run::new(mark, self.batch, &mut part.findings));
                }
                let of_read = |sale: &Found| {
                    sale.merchant() == read.merchant_id && sale.seq() <= read.last_seq
                };
                while let (Some(sale), Some(run)) = (found.next_if(of_read), run.as_mut()) {
                    self.add(&sale, run, &mut checked, part);
                }
            }
        }
        checked.finish(run, &mut part.findings);
        checked.whole =
            part.counts.unread == unread_before && part.findings.0.len() == findings_before;
        Ok(checked)
    }

    fn add(&self, sale: &Found, run: &mut Run<'_>, checked: &mut Checked, part: &mut Part) {
        part.counts.sales += 1;
        match sale {
            Found::Row(row) => {
                run.add(row, self.batch, &mut part.findings);
                checked.oldest = earliest(checked.oldest, Some(row.sale.recorded_at));
                checked.newest = checked.newest.max(Some(row.sale.recorded_at));
                part.add_refund(row, self.sums);
                part.counts.archived += u64::from(row.archived);
            }
            Found::Unread(row) => {
                run.pass(row, &mut part.findings);
                part.counts.archived += 1;
                part.counts.unread += 1;
            }
        }
    }
}

impl Checked {
    fn finish(&mut self, run: Option<Run<'_>>, findings: &mut Findings) {
        self.contradicted
            .extend(run.map(|run| run.finish(findings)));
    }
}

/// Cuts runs into reads of at most [`ROWS_A_READ`] numbers. A run is never followed further than the
/// batch has leaves: its mark may be wrong.
fn pages(marks: &[MarkRow], leaves: i64) -> Vec<Vec<seal::Run>> {
    let mut pages = Vec::new();
    let mut page = Vec::new();
    let mut room = ROWS_A_READ;
    let mut numbers_left = 2 * leaves;
    for mark in marks {
        let mut first_seq = mark.first_seq;
        let most = first_seq.saturating_add(leaves.min(numbers_left) - 1);
        let end = mark.last_seq.min(most);
        numbers_left -= (end - first_seq + 1).max(0);
        while first_seq <= end {
            let last_seq = end.min(first_seq + room - 1);
            page.push(seal::Run {
                merchant_id: mark.merchant_id,
                first_seq,
                last_seq,
            });
            room -= last_seq - first_seq + 1;
            first_seq = last_seq + 1;
            if room == 0 {
                pages.push(std::mem::take(&mut page));
                room = ROWS_A_READ;
            }
        }
    }
    pages.push(page);
    pages
}

impl Part {
    pub(super) fn add_refund(&mut self, row: &Row, sums: &RefundSums) {
        if let Some((sale, minor)) = row.refund() {
            let sum = self.refunds.entry(row.sale.merchant_id).or_default();
            *sum = sum.wrapping_add(sums.term(sale, minor));
        }
    }
}
