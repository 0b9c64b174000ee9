//! The leaves of a batch, computed from the stored rows.

use counterfoil_proofs::Hash;
use sqlx::PgConnection;
use time::OffsetDateTime;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::SealError;
use super::share::Share;
use crate::anchor::store::seal::{self as store, Run, UnsealedSale};
use crate::ids::MerchantId;

/// Rows read at a time, some 400 bytes each: enough to forget the statement, and two reads (one is hashed
/// while the next is under way) are a few megabytes.
const ROWS_A_READ: i64 = 4096;

/// The sales of one merchant that go into a batch, in their order and without a gap.
#[derive(Debug)]
pub(super) struct MerchantLeaves {
    pub(super) merchant_id: Uuid,
    pub(super) first_seq: i64,
    /// The running hash before the first of them.
    pub(super) head: Hash,
    /// At least one.
    pub(super) sales: Vec<SaleLeaf>,
}

/// A sale and its leaf.
#[derive(Debug, Clone, Copy)]
pub(super) struct SaleLeaf {
    pub(super) sale_id: Uuid,
    pub(super) leaf: Hash,
    pub(super) recorded_at: OffsetDateTime,
}

/// A sale that cannot be sealed.
#[derive(Debug)]
pub(super) struct Fault {
    seq: i64,
    reason: String,
}

/// Reads the shares and computes their leaves, ascending by merchant. Of a merchant with a sale that
/// cannot be sealed the sales before that one are taken, and the fault is given beside.
///
/// A leaf commits to the details by their stored hash, so their bytes are not read; that they are the
/// bytes of that hash is for the intake, who computed it, and for `audit`.
pub(super) async fn compute(
    conn: &mut PgConnection,
    shares: &[Share],
) -> Result<(Vec<MerchantLeaves>, Vec<(Uuid, Fault)>), SealError> {
    let mut all = Collected::default();
    let mut hashing: Option<JoinHandle<Vec<Part>>> = None;
    for reads in pages(shares) {
        let runs: Vec<Run> = reads.iter().map(|share| share.run).collect();
        let mut rows = store::sales(conn, &runs).await?;
        let queue = store::queued(conn, &runs).await?;
        // the database reads on while a core of ours hashes
        let next = tokio::task::spawn_blocking(move || {
            // nearly so already, but for a run that spans months
            rows.sort_by_key(|row| (row.merchant_id, row.seq));
            leaves_of(&reads, &rows, &queue)
        });
        if let Some(before) = hashing.replace(next) {
            all.add(before.await?);
        }
    }
    if let Some(last) = hashing {
        all.add(last.await?);
    }
    all.merchants.retain(|merchant| !merchant.sales.is_empty());
    Ok((all.merchants, all.faults))
}

/// What stands in the queue: merchant, number and sale, ascending.
type Queue = [(Uuid, i64, Uuid)];

/// What a read gives of one merchant.
type Part = (MerchantLeaves, Option<Fault>);

/// The parts of all reads so far.
#[derive(Default)]
struct Collected {
    merchants: Vec<MerchantLeaves>,
    faults: Vec<(Uuid, Fault)>,
}

impl Collected {
    fn add(&mut self, parts: Vec<Part>) {
        for (part, fault) in parts {
            let merchant = part.merchant_id;
            if self
                .faults
                .last()
                .is_some_and(|(faulty, _)| *faulty == merchant)
            {
                continue;
            }
            match self.merchants.last_mut() {
                Some(last) if last.merchant_id == merchant => last.sales.extend(part.sales),
                _ => self.merchants.push(part),
            }
            self.faults.extend(fault.map(|fault| (merchant, fault)));
        }
    }
}

/// Cuts shares into reads of at most [`ROWS_A_READ`] rows, in the same order.
fn pages(shares: &[Share]) -> Vec<Vec<Share>> {
    let mut pages = Vec::new();
    let mut page = Vec::new();
    let mut room = ROWS_A_READ;
    for share in shares {
        let mut first_seq = share.run.first_seq;
        while first_seq <= share.run.last_seq {
            let last_seq = share.run.last_seq.min(first_seq + room - 1);
            page.push(Share {
                run: Run {
                    first_seq,
                    last_seq,
                    ..share.run
                },
                ..*share
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

/// The leaves of each read, up to its first row that cannot be sealed. `rows` are in the order of
/// merchant and number, as the reads are.
fn leaves_of(reads: &[Share], rows: &[UnsealedSale], queue: &Queue) -> Vec<Part> {
    let mut rest = rows;
    let mut parts = Vec::with_capacity(reads.len());
    for Share { run, head } in reads {
        let in_run =
            |row: &UnsealedSale| row.merchant_id == run.merchant_id && row.seq <= run.last_seq;
        let end = rest
            .iter()
            .position(|row| !in_run(row))
            .unwrap_or(rest.len());
        let (own, others) = rest.split_at(end);
        rest = others;
        let (sales, fault) = leaves_of_run(run, own, queue);
        let (merchant_id, first_seq) = (run.merchant_id, run.first_seq);
        parts.push((
            MerchantLeaves {
                merchant_id,
                first_seq,
                head: *head,
                sales,
            },
            fault,
        ));
    }
    parts
}

fn leaves_of_run(
    run: &Run,
    rows: &[UnsealedSale],
    queue: &Queue,
) -> (Vec<SaleLeaf>, Option<Fault>) {
    let mut sales = Vec::with_capacity(rows.len());
    for (seq, row) in (run.first_seq..).zip(rows) {
        if row.seq < seq {
            // which of the two is the sale is for somebody to find out
            sales.pop();
            let reason = "two sales have this number".to_owned();
            return (
                sales,
                Some(Fault {
                    seq: row.seq,
                    reason,
                }),
            );
        }
        match leaf(seq, row, queue) {
            Ok(leaf) => sales.push(leaf),
            Err(reason) => return (sales, Some(Fault { seq, reason })),
        }
    }
    let next = run.first_seq + sales.len() as i64;
    let missing = (next <= run.last_seq).then(|| Fault {
        seq: next,
        reason: "there is no sale with this number".to_owned(),
    });
    (sales, missing)
}

fn leaf(seq: i64, row: &UnsealedSale, queue: &Queue) -> Result<SaleLeaf, String> {
    if row.seq > seq {
        return Err("there is no sale with this number".to_owned());
    }
    if row.sealed {
        return Err("the sale is in a batch already".to_owned());
    }
    let entry = (row.merchant_id, row.seq, row.sale_id);
    if queue.binary_search(&entry).is_err() {
        return Err("the sale is not in the queue".to_owned());
    }
    let sale = row
        .committed()
        .to_sale()
        .map_err(|error| error.to_string())?;
    Ok(SaleLeaf {
        sale_id: row.sale_id,
        leaf: sale.leaf(),
        recorded_at: row.recorded_at,
    })
}

/// Puts a merchant on hold and says so, once.
pub(super) async fn hold(
    conn: &mut PgConnection,
    merchant: Uuid,
    fault: &Fault,
) -> Result<(), sqlx::Error> {
    let Fault { seq, reason } = fault;
    let now = store::now(conn).await?;
    if store::hold(conn, merchant, *seq, reason, now).await? {
        let merchant = MerchantId(merchant).to_string();
        tracing::error!(
            merchant,
            seq,
            reason,
            "a sale cannot be sealed; its merchant waits"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read_in_pages_without_a_gap() {
        let share = |merchant, first_seq, last_seq| Share {
            run: Run {
                merchant_id: Uuid::from_u128(merchant),
                first_seq,
                last_seq,
            },
            head: [0; 32],
        };
        let shares = [
            share(1, 1, 10),
            share(2, 5, 2 * ROWS_A_READ),
            share(3, 7, 7),
        ];
        let pages = pages(&shares);
        assert_eq!(pages.len(), 3);
        let mut joined: Vec<Run> = Vec::new();
        for page in &pages {
            let rows: i64 = page
                .iter()
                .map(|read| read.run.last_seq - read.run.first_seq + 1)
                .sum();
            assert!(rows <= ROWS_A_READ);
            for read in page {
                match joined.last_mut() {
                    Some(last) if last.merchant_id == read.run.merchant_id => {
                        assert_eq!(last.last_seq + 1, read.run.first_seq);
                        last.last_seq = read.run.last_seq;
                    }
                    _ => joined.push(read.run),
                }
            }
        }
        assert_eq!(joined, shares.map(|share| share.run));
    }
}
