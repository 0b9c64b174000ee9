//! A merchant's rows against the runs that the batches commit to.

use std::collections::BTreeMap;

use super::{Finding, SaleName, runs::Runs};
use crate::{
    leaf::{OrderId, Sale},
    manifest::BatchFile,
};

/// How many leaves are hashed at the most to find out where renumbered rows belong. Beyond it
/// they are still named, as changed or added.
const MAX_TRIES: usize = 1 << 20;

/// Checks the rows; names what is wrong, and returns the rows that are not sealed yet.
pub(super) fn check(
    merchant: [u8; 16],
    rows: &[Sale],
    batches: &[&BatchFile],
    findings: &mut Vec<Finding>,
) -> Vec<SaleName> {
    let mut runs = Runs::of(merchant, batches, findings);
    let mut own: Vec<&Sale> = Vec::with_capacity(rows.len());
    for row in rows {
        if row.merchant == merchant {
            own.push(row);
        } else {
            findings.push(Finding::Foreign {
                row: row.into(),
                merchant: row.merchant,
            });
        }
    }
    own.sort_by_key(|row| row.seq);
    let mut strays: Vec<&Sale> = own
        .into_iter()
        .filter(|row| !runs.place(row, row.seq))
        .collect();
    let mut free = runs.free();
    name_renumbered(&mut runs, &mut free, &mut strays, findings);
    let sealed = name_sealed_twice(&runs, findings);
    // A row in a place of its own that has come by another's order id is rather a changed one.
    let double = |row: &Sale| {
        let of = sealed.same(row)?;
        (of.sale == row.sale || !free.contains_key(&row.seq)).then_some(of)
    };
    strays.retain(|row| match double(row) {
        Some(of) => {
            findings.push(Finding::Double {
                row: (*row).into(),
                of: of.into(),
            });
            false
        }
        None => true,
    });
    let later = name_strays(&runs, free, &strays, findings);
    runs.check_heads(findings);
    name_unsealed(runs.end(), later, sealed, findings)
}

/// Finds out which rows were sealed under another number, and puts them there.
fn name_renumbered<'r>(
    runs: &mut Runs<'_, 'r>,
    free: &mut BTreeMap<u64, u64>,
    strays: &mut Vec<&'r Sale>,
    findings: &mut Vec<Finding>,
) {
    let mut tries_left = MAX_TRIES;
    let mut offset = 0i128;
    strays.retain(|row| {
        // Rows are mostly moved together, so where the last one belonged tells of the next.
        let near = u64::try_from(i128::from(row.seq) + offset).ok();
        let near = near.filter(|seq| *seq != row.seq && free.contains_key(seq));
        let candidates = near
            .into_iter()
            .chain(free.keys().copied())
            .take(tries_left);
        let mut place = candidates.inspect(|_| tries_left -= 1);
        let Some(seq) = place.find(|seq| runs.place(row, *seq)) else {
            return true;
        };
        offset = i128::from(seq) - i128::from(row.seq);
        if let Some(batch) = free.remove(&seq) {
            findings.push(Finding::Renumbered {
                row: (*row).into(),
                seq,
                batch,
            });
        }
        false
    });
}

/// Names what was sealed more than once, and returns what was sealed.
fn name_sealed_twice<'r>(runs: &Runs<'_, 'r>, findings: &mut Vec<Finding>) -> Identities<'r> {
    let mut identities = Identities::default();
    for row in runs.rows() {
        match identities.same(row) {
            Some(of) => findings.push(Finding::Double {
                row: row.into(),
                of: of.into(),
            }),
            None => identities.add(row),
        }
    }
    identities
}

/// Names the rows that are not what was sealed, and the numbers that have no row at all. Returns
/// the rows after the last sealed number.
fn name_strays<'r>(
    runs: &Runs<'_, '_>,
    mut free: BTreeMap<u64, u64>,
    strays: &[&'r Sale],
    findings: &mut Vec<Finding>,
) -> Vec<&'r Sale> {
    let mut later = Vec::new();
    for row in strays {
        if let Some(batch) = free.remove(&row.seq) {
            findings.push(Finding::Changed {
                row: (*row).into(),
                batch,
            });
        } else if runs.covers(row.seq) {
            findings.push(Finding::Added { row: (*row).into() });
        } else if row.seq < runs.end() {
            findings.push(Finding::Uncovered { row: (*row).into() });
        } else {
            later.push(*row);
        }
    }
    findings.extend(
        free.into_iter()
            .map(|(seq, batch)| Finding::Missing { seq, batch }),
    );
    later
}

/// Names what is wrong among the rows that are not sealed yet, which go on from `expected`.
fn name_unsealed<'r>(
    mut expected: u64,
    later: Vec<&'r Sale>,
    mut identities: Identities<'r>,
    findings: &mut Vec<Finding>,
) -> Vec<SaleName> {
    let mut unsealed = Vec::with_capacity(later.len());
    for row in later {
        if let Some(of) = identities.same(row) {
            findings.push(Finding::Double {
                row: row.into(),
                of: of.into(),
            });
        } else if row.seq < expected {
            findings.push(Finding::Added { row: row.into() });
        } else {
            if row.seq > expected {
                findings.push(Finding::UnsealedGap {
                    expected,
                    row: row.into(),
                });
            }
            expected = row.seq.saturating_add(1);
            identities.add(row);
            unsealed.push(row.into());
        }
    }
    unsealed
}

/// Rows by what no two sales of a merchant share.
#[derive(Default)]
struct Identities<'r> {
    by_sale: BTreeMap<[u8; 16], &'r Sale>,
    by_order: BTreeMap<&'r OrderId, &'r Sale>,
}

impl<'r> Identities<'r> {
    fn add(&mut self, row: &'r Sale) {
        self.by_sale.insert(row.sale, row);
        self.by_order.insert(&row.order_id, row);
    }

    /// The row that is the same sale, by its id or its order id.
    fn same(&self, row: &Sale) -> Option<&'r Sale> {
        let same_order = || self.by_order.get(&row.order_id);
        self.by_sale.get(&row.sale).or_else(same_order).copied()
    }
}
