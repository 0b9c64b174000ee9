//! Whatever is done to a merchant's rows, the verdict refuses it and names the sale.

#[path = "../examples/vectors/chain.rs"]
#[expect(
    dead_code,
    reason = "the generator of vectors uses what this test does not"
)]
mod chain;
#[path = "../examples/vectors/details.rs"]
#[expect(
    dead_code,
    reason = "the generator of vectors uses what this test does not"
)]
mod details;
#[path = "../examples/vectors/draw.rs"]
mod draw;
#[path = "../examples/vectors/leaves.rs"]
#[expect(
    dead_code,
    reason = "the generator of vectors uses what this test does not"
)]
mod leaves;

use chain::{Chain, merchant};
use counterfoil_proofs::{
    Hash, U256,
    completeness::{Finding, SaleName, Verdict, verify},
    leaf::{Currency, Kind, OrderId, Sale},
    manifest::BatchFile,
};
use proptest::prelude::*;

struct Sealed {
    rows: Vec<Sale>,
    batches: Vec<BatchFile>,
    roots: Vec<Hash>,
}

impl Sealed {
    fn new(batches: &[&[(u8, u64)]]) -> Sealed {
        let chain = Chain::seal(batches);
        let (rows, roots) = (chain.rows_of(merchant(1)), chain.roots());
        Sealed {
            rows,
            roots,
            batches: chain.batches,
        }
    }

    fn verify(&self, rows: &[Sale]) -> Verdict {
        self.verify_with(rows, &self.batches)
    }

    fn verify_with(&self, rows: &[Sale], batches: &[BatchFile]) -> Verdict {
        let root = |batch: u64| self.roots.get(usize::try_from(batch).ok()? - 1).copied();
        verify(merchant(1), rows, batches, root)
    }
}

/// The row that a finding is of.
fn named(finding: &Finding) -> Option<u64> {
    match finding {
        Finding::Missing { seq, .. } | Finding::Renumbered { seq, .. } => Some(*seq),
        Finding::Changed { row, .. }
        | Finding::Added { row }
        | Finding::Double { row, .. }
        | Finding::Foreign { row, .. } => Some(row.seq),
        _ => None,
    }
}

/// One of many ways to change what a row says.
fn change(row: &mut Sale, way: usize) {
    match way {
        0 => row.sale[15] ^= 1,
        1 => row.order_id = OrderId::parse("another").expect("an order id"),
        2 if row.kind == Kind::Sale => row.kind = Kind::Refund,
        2 => row.kind = Kind::Sale,
        3 => {
            row.refers_to = if row.refers_to.is_some() {
                None
            } else {
                Some([1; 16])
            }
        }
        4 => {
            row.customer = if row.customer.is_some() {
                None
            } else {
                Some([1; 20])
            }
        }
        5 => row.currency = Currency::parse("USD").expect("a currency"),
        6 => row.amount += U256::from(1),
        7 => row.recorded_at -= 1,
        8 => row.details[0] ^= 1,
        _ => row.salt[31] ^= 128,
    }
}

const RUNS: [&[(u8, u64)]; 4] = [&[(1, 4), (2, 2)], &[(2, 3)], &[(1, 1)], &[(1, 7), (3, 1)]];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn one_change_to_the_rows_is_refused_and_named(
        at in 0usize..12,
        other in 0usize..12,
        way in 0usize..10,
        edit in 0usize..6,
    ) {
        let sealed = Sealed::new(&RUNS);
        prop_assert!(sealed.verify(&sealed.rows).is_complete());
        let mut rows = sealed.rows.clone();
        let expected = match edit {
            0 => vec![rows.remove(at).seq],
            1 => {
                change(&mut rows[at], way);
                vec![rows[at].seq]
            }
            2 => {
                rows.push(rows[at].clone());
                vec![rows[at].seq]
            }
            3 => {
                let added = Sale { seq: rows[at].seq, ..leaves::ordinary(merchant(1), 99) };
                let seq = added.seq;
                rows.insert(other, added);
                vec![seq]
            }
            4 if at != other => {
                (rows[at].seq, rows[other].seq) = (rows[other].seq, rows[at].seq);
                vec![rows[at].seq, rows[other].seq]
            }
            _ => {
                rows[at].seq = 1000 + other as u64;
                vec![at as u64 + 1]
            }
        };
        let verdict = sealed.verify(&rows);
        prop_assert!(!verdict.is_complete());
        let found: Vec<u64> = verdict.findings.iter().filter_map(named).collect();
        prop_assert_eq!(found.len(), verdict.findings.len(), "{:?}", verdict);
        for seq in expected {
            prop_assert!(found.contains(&seq), "{} not in {:?}", seq, verdict);
        }
    }
}

#[test]
fn leaving_out_the_last_batch_and_its_rows_is_found() {
    let sealed = Sealed::new(&RUNS);
    let verdict = sealed.verify_with(&sealed.rows[..5], &sealed.batches[..3]);
    assert_eq!(verdict.findings, [Finding::BatchLeftOut { batch: 4 }]);
    assert!(!verdict.is_complete());
}

#[test]
fn a_row_that_is_not_sealed_yet_is_told_apart() {
    let sealed = Sealed::new(&RUNS);
    let next = leaves::ordinary(merchant(1), 13);
    let mut rows = sealed.rows.clone();
    rows.push(next.clone());
    let verdict = sealed.verify(&rows);
    assert_eq!((verdict.findings.len(), verdict.is_complete()), (0, false));
    assert_eq!(verdict.unsealed, [SaleName::from(&next)]);

    // The same order again is double also when it is not sealed.
    rows.push(Sale { seq: 14, ..next });
    rows.push(Sale {
        seq: 15,
        order_id: rows[0].order_id.clone(),
        ..leaves::ordinary(merchant(1), 15)
    });
    let codes: Vec<_> = sealed
        .verify(&rows)
        .findings
        .iter()
        .map(Finding::code)
        .collect();
    assert_eq!(codes, ["double", "double"]);
}

#[test]
fn no_sequence_number_breaks_it() {
    let sealed = Sealed::new(&RUNS);
    for seq in [0, u64::MAX] {
        let mut rows = sealed.rows.clone();
        rows[11].seq = seq;
        let expected = Finding::Renumbered {
            row: (&rows[11]).into(),
            seq: 12,
            batch: 4,
        };
        assert_eq!(sealed.verify(&rows).findings, [expected]);
    }
}

/// Each of some thousand rows is renumbered, and all are found without trying each at each place.
#[test]
fn rows_that_were_all_moved_are_found_where_they_belong() {
    let sealed = Sealed::new(&[&[(1, 1500)], &[(1, 1500), (2, 1)]]);
    let mut rows = sealed.rows.clone();
    rows.iter_mut().for_each(|row| row.seq += 1);
    rows.insert(
        0,
        Sale {
            seq: 1,
            ..leaves::ordinary(merchant(1), 9999)
        },
    );
    let verdict = sealed.verify(&rows);
    let renumbered = |finding: &&Finding| matches!(finding, Finding::Renumbered { .. });
    assert_eq!(verdict.findings.iter().filter(renumbered).count(), 3000);
    assert_eq!(
        verdict.findings.last(),
        Some(&Finding::Added {
            row: (&rows[0]).into()
        })
    );
}
