//! `completeness.json`: a merchant's rows and the batches, as they are and tampered with.

use counterfoil_proofs::{
    Hash, U256,
    completeness::{SaleName, verify},
    hex,
    leaf::Sale,
    manifest::{BatchFile, Mark, marks_hash},
};
use serde::Serialize;

use super::{
    chain::{Chain, merchant, seal},
    draw,
    leaves::ordinary,
};

#[derive(Serialize)]
pub(crate) struct File {
    merchant: String,
    cases: Vec<Case>,
}

#[derive(Serialize)]
struct Case {
    name: &'static str,
    rows: Vec<Sale>,
    batches: Vec<BatchFile>,
    /// What the chain has, from batch 1.
    anchored: Vec<String>,
    complete: bool,
    findings: Vec<Found>,
    /// Numbers of the rows that are not sealed yet.
    unsealed: Vec<String>,
}

#[derive(Serialize)]
struct Found {
    code: &'static str,
    text: String,
}

/// What a case tampers with.
struct Evidence {
    rows: Vec<Sale>,
    batches: Vec<BatchFile>,
    anchored: Vec<Hash>,
}

type Tamper = fn(&mut Evidence);

pub(crate) fn file() -> File {
    let cases = rows_cases().iter().chain(batch_cases());
    File {
        merchant: hex::encode(&merchant(1)),
        cases: cases.map(|&(name, tamper)| case(name, tamper)).collect(),
    }
}

fn case(name: &'static str, tamper: Tamper) -> Case {
    let chain = Chain::seal(&[&[(1, 3), (2, 1)], &[(2, 2)], &[(1, 2), (2, 1)]]);
    let mut evidence = Evidence {
        rows: chain.rows_of(merchant(1)),
        anchored: chain.roots(),
        batches: chain.batches,
    };
    tamper(&mut evidence);
    let Evidence {
        rows,
        batches,
        anchored,
    } = evidence;
    let root = |batch: u64| {
        anchored
            .get(usize::try_from(batch).ok()?.checked_sub(1)?)
            .copied()
    };
    let verdict = verify(merchant(1), &rows, &batches, root);
    let found = verdict.findings.iter().map(|f| Found {
        code: f.code(),
        text: f.to_string(),
    });
    Case {
        name,
        complete: verdict.is_complete(),
        findings: found.collect(),
        unsealed: verdict
            .unsealed
            .iter()
            .map(|SaleName { seq, .. }| seq.to_string())
            .collect(),
        anchored: anchored.iter().map(|root| hex::encode(root)).collect(),
        rows,
        batches,
    }
}

fn rows_cases() -> &'static [(&'static str, Tamper)] {
    &[
        ("as it is", |_| {}),
        ("rows in another order", |e| e.rows.reverse()),
        ("a row that is not sealed yet", |e| {
            e.rows.push(ordinary(merchant(1), 6))
        }),
        ("a gap before a row that is not sealed yet", |e| {
            e.rows.push(ordinary(merchant(1), 7))
        }),
        ("a sale taken out", |e| drop(e.rows.remove(1))),
        ("the last sale taken out", |e| drop(e.rows.pop())),
        ("all sales taken out", |e| e.rows.clear()),
        ("a sale added at the number of another", |e| {
            e.rows.push(Sale {
                seq: 2,
                ..ordinary(merchant(1), 99)
            });
        }),
        ("a sale put in, all later ones moved up", |e| {
            e.rows.iter_mut().skip(1).for_each(|row| row.seq += 1);
            e.rows.insert(
                1,
                Sale {
                    seq: 2,
                    ..ordinary(merchant(1), 99)
                },
            );
        }),
        ("a sale taken out, all later ones moved down", |e| {
            e.rows.remove(1);
            e.rows.iter_mut().skip(1).for_each(|row| row.seq -= 1);
        }),
        ("a row twice", |e| e.rows.push(e.rows[2].clone())),
        ("a sale again under the next number", |e| {
            e.rows.push(Sale {
                seq: 6,
                ..e.rows[2].clone()
            });
        }),
        ("a sale renumbered to the end", |e| e.rows[1].seq = 6),
        ("two sales with their numbers exchanged", |e| {
            (e.rows[0].seq, e.rows[3].seq) = (e.rows[3].seq, e.rows[0].seq);
        }),
        ("two sales with their amounts exchanged", |e| {
            (e.rows[0].amount, e.rows[3].amount) = (e.rows[3].amount, e.rows[0].amount);
        }),
        ("an amount changed", |e| e.rows[4].amount += U256::from(1)),
        ("a salt changed", |e| e.rows[0].salt[31] ^= 1),
        ("a row of another merchant", |e| {
            e.rows.push(ordinary(merchant(2), 1))
        }),
    ]
}

fn batch_cases() -> &'static [(&'static str, Tamper)] {
    &[
        ("a batch that the chain does not have", |e| {
            e.anchored.truncate(2)
        }),
        ("a batch that the chain has another root for", |e| {
            e.anchored[1][0] ^= 1
        }),
        ("a manifest left out", |e| drop(e.batches.remove(1))),
        ("the last manifest left out", |e| e.batches.truncate(2)),
        ("the first manifest left out", |e| drop(e.batches.remove(0))),
        ("a manifest that skips a number", |e| {
            let last = e.batches.remove(2);
            e.batches
                .push(seal(4, last.manifest.previous, last.marks, last.leaves));
            e.anchored = e.batches.iter().map(root).collect();
            e.anchored.insert(2, [0; 32]);
        }),
        ("a manifest that repeats a number", |e| {
            let last = e.batches[2].clone();
            e.batches
                .push(seal(3, root(&last), last.marks, last.leaves));
        }),
        ("a manifest that follows another root", |e| {
            let last = e.batches.remove(2);
            e.batches.push(seal(
                3,
                draw::hash("another root", 0),
                last.marks,
                last.leaves,
            ));
            e.anchored[2] = root(&e.batches[2]);
        }),
        ("a manifest that forks a head", |e| {
            remark(e, |mark| mark.head = draw::hash("another head", 0));
        }),
        ("a manifest whose run skips a sale", |e| {
            remark(e, |mark| (mark.first_seq, mark.last_seq) = (5, 6));
        }),
        ("a manifest whose run takes a sale again", |e| {
            remark(e, |mark| (mark.first_seq, mark.last_seq) = (3, 4));
        }),
        ("marks that the manifest does not commit to", |e| {
            e.batches[2].marks[0].head[0] ^= 1
        }),
        ("a run that is longer than the batch", |e| {
            e.batches[2].marks[0].last_seq += 1;
            e.batches[2].manifest.marks = marks_hash(&e.batches[2].marks).expect("ascending");
        }),
        ("a leaf changed", |e| e.batches[2].leaves[1][31] ^= 1),
        ("leaves out of order", |e| e.batches[0].leaves.swap(0, 1)),
        ("a leaf left out", |e| e.batches[0].leaves.truncate(3)),
    ]
}

/// Changes the merchant's mark in the last batch, as whoever seals and anchors could.
fn remark(evidence: &mut Evidence, change: fn(&mut Mark)) {
    let mut last = evidence.batches.remove(2);
    change(&mut last.marks[0]);
    evidence
        .batches
        .push(seal(3, last.manifest.previous, last.marks, last.leaves));
    evidence.anchored[2] = root(&evidence.batches[2]);
}

fn root(file: &BatchFile) -> Hash {
    file.check().expect("a batch whose parts agree")
}
