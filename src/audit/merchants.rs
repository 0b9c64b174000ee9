//! A step over merchants: their sales that no checked batch has, their queues, their heads, and the sums
//! of their refunds.

use std::collections::HashMap;

use counterfoil_proofs::Hash;
use sqlx::PgConnection;
use uuid::Uuid;

use super::batch::Batch;
use super::batches::ROWS_A_READ;
use super::filed::{Archives, Files};
use super::finding::{Findings, Part as Of, Subject};
use super::row::{RefundSums, Row};
use super::steps::{Part, earliest};
use super::store::archives as archived;
use super::store::batches as sales;
use super::store::merchants::{self as store, MerchantRow, Queued};
use crate::anchor::store::seal;

/// Merchants of a step.
const MERCHANTS: i64 = 64;
/// Rows of `refund_total` that are read at once.
const TOTALS_A_READ: i64 = 10_000;

/// The merchants of the next step; none where no table knows one after `after`.
pub(super) async fn next(
    conn: &mut PgConnection,
    after: Uuid,
) -> Result<Option<Vec<Uuid>>, sqlx::Error> {
    let ids = store::ids(conn, after, MERCHANTS).await?;
    Ok((!ids.is_empty()).then_some(ids))
}

/// What was checked before of some merchants.
pub(super) struct Sealed {
    /// The last batch whose sales were checked.
    pub(super) batch: i64,
    /// The sums of the refunds in them.
    pub(super) refunds: HashMap<Uuid, u128>,
}

/// Checks some merchants, after their sealed sales.
pub(super) async fn check(
    conn: &mut PgConnection,
    archives: &Archives,
    sums: &RefundSums,
    ids: &[Uuid],
    Sealed { batch, refunds }: Sealed,
) -> Result<Part, sqlx::Error> {
    let mut part = Part {
        refunds,
        ..Part::default()
    };
    for merchant in store::rows(conn, ids, batch).await? {
        part.counts.merchants += 1;
        part.counts.gaps += merchant.gaps.len() as u64;
        part.oldest_queued = earliest(part.oldest_queued, merchant.oldest_queued);
        check_heads(&merchant, &mut part.findings);
        check_tail(conn, &merchant, batch, sums, &mut part).await?;
        check_refunds(conn, archives, merchant.merchant_id, sums, &mut part).await?;
    }
    // the sums are complete, and compared
    part.refunds.clear();
    Ok(part)
}

fn check_heads(row: &MerchantRow, findings: &mut Findings) {
    let subject = row.subject();
    findings.check(
        row.next_seq.is_some(),
        &subject,
        Of::Missing,
        "there is no such merchant, and there are rows of it",
    );
    let what = "mark_head is not the end of its last mark";
    findings.check(row.head == row.last_mark, &subject, Of::Copy, what);
    let later = row.last_recorded_at.is_none() || row.last_sale_at <= row.last_recorded_at;
    let what = "last_recorded_at is before its last sale";
    findings.check(later, &subject, Of::Copy, what);
    if let Some((seq, reason)) = &row.hold {
        let what = format!("sale {seq} holds it back from being sealed: {reason}");
        findings.add(&subject, Of::Hold, what);
    }
}

/// What is followed over the sales after the last checked batch.
struct Tail<'a> {
    merchant: &'a MerchantRow,
    /// The last batch whose sales were checked.
    batch: i64,
    next: i64,
    unsealed: i64,
    /// The queue from the first unsealed number on, as far as it was read.
    queue: Vec<Queued>,
}

async fn check_tail(
    conn: &mut PgConnection,
    merchant: &MerchantRow,
    batch: i64,
    sums: &RefundSums,
    part: &mut Part,
) -> Result<(), sqlx::Error> {
    let mut tail = Tail {
        merchant,
        batch,
        next: merchant.past_gap(merchant.covered.saturating_add(1)),
        unsealed: 0,
        queue: Vec::new(),
    };
    loop {
        let run = seal::Run {
            merchant_id: merchant.merchant_id,
            first_seq: tail.next,
            last_seq: tail.next.saturating_add(ROWS_A_READ - 1),
        };
        let mut rows = sales::sales(conn, &[run]).await?;
        if rows.is_empty() {
            // a gap may be longer than a read
            let Some(seq) = store::next_sale(conn, merchant.merchant_id, tail.next).await? else {
                break;
            };
            let run = seal::Run {
                first_seq: seq,
                last_seq: seq,
                ..run
            };
            rows = sales::sales(conn, &[run]).await?;
        }
        let first = tail.next - 1;
        tail.queue = store::queue(conn, merchant.merchant_id, first, 2 * ROWS_A_READ).await?;
        let ids: Vec<i64> = rows.iter().filter_map(|row| row.batch_id).collect();
        let roots = store::roots(conn, &ids).await?;
        for row in &rows {
            tail.add(row, &roots, &mut part.findings);
            part.add_refund(row, sums);
            part.counts.sales += 1;
        }
    }
    part.counts.unsealed += tail.unsealed.cast_unsigned();
    tail.check_end(&mut part.findings);
    if tail.unsealed != merchant.queued {
        name_strays(conn, &tail, part).await?;
    }
    Ok(())
}

impl Tail<'_> {
    fn add(&mut self, row: &Row, roots: &[(i64, Vec<u8>)], findings: &mut Findings) {
        let subject = row.subject();
        let seq = row.sale.seq;
        if seq < self.next {
            let what = format!("number {seq} is there already");
            findings.add(&subject, Of::Double, what);
        } else {
            self.miss(seq, findings);
            self.next = self.merchant.past_gap(seq.saturating_add(1));
        }
        let read = row.read(findings);
        if let Some(read) = &read {
            let what = "their bytes do not have the stored hash";
            findings.check(read.leaf_of_bytes.is_none(), &subject, Of::Details, what);
            row.check_derived(read, findings);
        }
        match row.batch_id {
            None => self.check_queued(row, findings),
            // sealed since the batches were checked
            Some(id) if id > self.batch => {
                let root = roots.iter().find(|(batch, _)| *batch == id);
                let root = root.and_then(|(_, root)| <Hash>::try_from(root.as_slice()).ok());
                match (read, root) {
                    (Some(read), Some(root)) => {
                        let batch = Batch {
                            id,
                            root,
                            sealed_at_ms: 0,
                            tree: None,
                            marks_hold: true,
                        };
                        batch.check_by_proof(row, &read, findings);
                    }
                    (None, _) => {}
                    (_, None) => findings.add(&subject, Of::Batch, "its batch is not there"),
                }
            }
            Some(id) => {
                let what = format!("batch {id} does not cover it");
                findings.add(&subject, Of::Batch, what);
                let same =
                    read.is_none_or(|read| row.leaf.as_deref() == Some(read.leaf.as_slice()));
                let what = "they do not give the leaf that it was sealed with";
                findings.check(same, &subject, Of::Fields, what);
            }
        }
    }

    /// A sale without a batch must wait in the queue.
    fn check_queued(&mut self, row: &Row, findings: &mut Findings) {
        let whole = row.leaf.is_none() && row.proof.is_none() && row.leaf_index.is_none();
        let subject = row.subject();
        findings.check(whole, &subject, Of::Batch, "it is sealed in part");
        let expected = Queued {
            seq: row.sale.seq,
            sale_id: row.sale.sale_id,
            recorded_at: row.sale.recorded_at,
        };
        if self.queue.contains(&expected) {
            self.unsealed += 1;
            return;
        }
        let what = if self.queue.iter().any(|queued| queued.seq == row.sale.seq) {
            self.unsealed += 1;
            "the queue has another sale or time for its number"
        } else {
            "it is in no batch and not in the queue"
        };
        findings.add(&subject, Of::Queue, what);
    }

    fn miss(&self, found: i64, findings: &mut Findings) {
        if self.next < found {
            let subject = Subject::Sale {
                merchant: self.merchant.merchant_id,
                seq: self.next,
                sale: None,
            };
            let what = match found - 1 {
                last if last == self.next => "there is no sale with this number".to_owned(),
                last => format!("there is no sale with this number, nor any up to {last}"),
            };
            findings.add(&subject, Of::Missing, what);
        }
    }

    fn check_end(&self, findings: &mut Findings) {
        let Some(next_seq) = self.merchant.next_seq else {
            return;
        };
        self.miss(next_seq, findings);
        let subject = self.merchant.subject();
        let behind = self.merchant.gaps.iter().all(|(_, last)| *last < next_seq);
        let what = "next_seq is within a gap that was declared";
        findings.check(behind, &subject, Of::Copy, what);
        if let Some(first) = self.merchant.gap_with_sales {
            let what = format!("the gap that was declared from {first} on has numbers of sales");
            findings.add(&subject, Of::Copy, what);
        }
        let what = format!(
            "next_seq is {next_seq}, and there are sales up to {}",
            self.next - 1
        );
        findings.check(self.next <= next_seq, &subject, Of::Copy, &what);
    }
}

/// Rows of the queue that are of no sale that waits.
async fn name_strays(
    conn: &mut PgConnection,
    tail: &Tail<'_>,
    part: &mut Part,
) -> Result<(), sqlx::Error> {
    let merchant = tail.merchant.merchant_id;
    for seq in store::strays(conn, merchant).await? {
        let subject = Subject::Pending { merchant, seq };
        part.findings
            .add(&subject, Of::Queue, "no sale of this number waits");
    }
    Ok(())
}

/// What is noted as refunded, against the refunds.
async fn check_refunds(
    conn: &mut PgConnection,
    archives: &Archives,
    merchant: Uuid,
    sums: &RefundSums,
    part: &mut Part,
) -> Result<(), sqlx::Error> {
    let mut after = Uuid::nil();
    let mut noted: u128 = 0;
    loop {
        let totals = store::refund_totals(conn, merchant, after, TOTALS_A_READ).await?;
        let Some(last) = totals.last() else { break };
        after = last.sale_id;
        for total in &totals {
            let sale = total.sale_id;
            noted = noted.wrapping_add(sums.term(sale, total.refunded_minor));
            let same = total.amount_minor == Some(total.sale_minor);
            let subject = Subject::Refunds { merchant, sale };
            let what = "sale_minor is not the amount of the sale";
            part.findings.check(same, &subject, Of::Copy, what);
        }
    }
    // which sale an archived refund is of stands in the archive alone
    let mut files = archives.files();
    let known = files.is_some() || !store::has_archive(conn, merchant).await?;
    if known && part.refunds.get(&merchant).copied().unwrap_or(0) != noted {
        let archived = archived_refunds(conn, files.as_mut(), merchant).await?;
        for sale in store::refund_differences(conn, merchant, &archived).await? {
            let subject = Subject::Refunds { merchant, sale };
            let what = "refunded_minor is not the sum of its refunds";
            part.findings.add(&subject, Of::Copy, what);
        }
    }
    Ok(())
}

/// The sales that a merchant's archived refunds are of, and their amounts.
async fn archived_refunds(
    conn: &mut PgConnection,
    files: Option<&mut Files<'_>>,
    merchant: Uuid,
) -> Result<Vec<(Uuid, i64)>, sqlx::Error> {
    let mut refunds = Vec::new();
    let Some(files) = files else {
        return Ok(refunds);
    };
    let mut after = Uuid::nil();
    loop {
        let rows = archived::refunds(conn, merchant, after, TOTALS_A_READ).await?;
        let Some(last) = rows.last() else {
            return Ok(refunds);
        };
        after = last.sale_id;
        for row in &rows {
            let receipt = files.receipt(row).ok();
            let target = receipt.and_then(|receipt| receipt.sale.refers_to);
            refunds.extend(target.map(|target| (Uuid::from_bytes(target), row.amount_minor)));
        }
    }
}

impl MerchantRow {
    /// The number, or where a declared gap begins with it the first one behind that.
    fn past_gap(&self, seq: i64) -> i64 {
        let gap = self.gaps.iter().find(|(first, _)| *first == seq);
        gap.map_or(seq, |(_, last)| last.saturating_add(1))
    }

    fn subject(&self) -> Subject {
        Subject::Merchant {
            merchant: self.merchant_id,
        }
    }
}
