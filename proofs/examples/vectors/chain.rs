//! `chain.json`: batches of several merchants that follow each other.

use std::collections::BTreeMap;

use counterfoil_proofs::{
    Hash, hex,
    leaf::{Kind, Sale},
    manifest::{
        BatchFile, MANIFEST_TYPE, MANIFEST_TYPEHASH, MARK_TYPE, MARK_TYPEHASH, Manifest, Mark,
        marks_hash, next_head,
    },
    tree::Tree,
    verify,
};
use serde::Serialize;

use super::{draw, leaves::ordinary};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct File {
    manifest_type: &'static str,
    manifest_typehash: String,
    mark_type: &'static str,
    mark_typehash: String,
    batches: Vec<Batch>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Batch {
    file: BatchFile,
    mark_hashes: Vec<String>,
    manifest_hash: String,
    root: String,
    sales: Vec<SealedSale>,
}

#[derive(Serialize)]
struct SealedSale {
    sale: Sale,
    leaf: String,
    index: usize,
    proof: Vec<String>,
}

/// Three merchants and four batches: one batch that a merchant is not in, one of a single leaf.
pub(crate) fn file() -> File {
    let chain = Chain::seal(&[
        &[(1, 3), (2, 4), (3, 1)],
        &[(1, 2), (3, 5)],
        &[(2, 1)],
        &[(1, 1), (2, 2), (3, 3)],
    ]);
    File {
        manifest_type: MANIFEST_TYPE,
        manifest_typehash: hex::encode(&MANIFEST_TYPEHASH),
        mark_type: MARK_TYPE,
        mark_typehash: hex::encode(&MARK_TYPEHASH),
        batches: chain
            .batches
            .iter()
            .map(|file| batch(file, &chain.rows))
            .collect(),
    }
}

fn batch(file: &BatchFile, rows: &[Sale]) -> Batch {
    let tree = Tree::build(file.leaves.clone()).expect("a batch of ours");
    let manifest_hash = file.manifest.hash();
    let proofs = tree.proofs(&manifest_hash);
    let sealed = |sale: &Sale| {
        let leaf = sale.leaf();
        let index = tree.index_of(&leaf)?;
        let proof = verify::siblings(proofs.get(index)).expect("a proof of ours");
        Some(SealedSale {
            sale: sale.clone(),
            leaf: hex::encode(&leaf),
            index,
            proof: proof.iter().map(|sibling| hex::encode(sibling)).collect(),
        })
    };
    Batch {
        mark_hashes: file
            .marks
            .iter()
            .map(|mark| hex::encode(&mark.hash()))
            .collect(),
        manifest_hash: hex::encode(&manifest_hash),
        root: hex::encode(&file.check().expect("a batch of ours")),
        sales: rows.iter().filter_map(sealed).collect(),
        file: file.clone(),
    }
}

/// Batches and every merchant's rows.
#[derive(Clone)]
pub(crate) struct Chain {
    pub(crate) batches: Vec<BatchFile>,
    pub(crate) rows: Vec<Sale>,
}

/// The id of the merchant with this number; ids ascend with the numbers.
pub(crate) fn merchant(number: u8) -> [u8; 16] {
    let mut id = draw::bytes("merchant", u64::from(number));
    id[0] = number;
    id
}

impl Chain {
    /// Seals one batch after the other; for each of them how many sales of which merchants.
    pub(crate) fn seal(batches: &[&[(u8, u64)]]) -> Chain {
        let mut chain = Chain {
            batches: Vec::new(),
            rows: Vec::new(),
        };
        let mut ends: BTreeMap<u8, (u64, Hash)> = BTreeMap::new();
        for counts in batches {
            let (mut marks, mut leaves) = (Vec::new(), Vec::new());
            for &(number, count) in *counts {
                let (last, head) = ends.entry(number).or_default();
                let first_seq = *last + 1;
                for seq in first_seq..first_seq + count {
                    let row = row(number, seq, &chain.rows);
                    let leaf = row.leaf();
                    *head = next_head(head, &leaf);
                    *last = seq;
                    leaves.push(leaf);
                    chain.rows.push(row);
                }
                let salt = draw::hash("mark: salt", first_seq * 256 + u64::from(number));
                let merchant = merchant(number);
                marks.push(Mark {
                    merchant,
                    first_seq,
                    last_seq: *last,
                    head: *head,
                    salt,
                });
            }
            let previous = chain
                .batches
                .last()
                .map_or([0; 32], |file| file.check().expect("ours"));
            chain.batches.push(seal(
                chain.batches.len() as u64 + 1,
                previous,
                marks,
                leaves,
            ));
        }
        chain
    }

    /// The root of each batch.
    pub(crate) fn roots(&self) -> Vec<Hash> {
        self.batches
            .iter()
            .map(|file| file.check().expect("a batch of ours"))
            .collect()
    }

    /// The rows of one merchant.
    pub(crate) fn rows_of(&self, merchant: [u8; 16]) -> Vec<Sale> {
        self.rows
            .iter()
            .filter(|row| row.merchant == merchant)
            .cloned()
            .collect()
    }
}

/// A batch whose parts agree.
pub(crate) fn seal(batch: u64, previous: Hash, marks: Vec<Mark>, leaves: Vec<Hash>) -> BatchFile {
    let tree = Tree::build(leaves).expect("leaves differ");
    let manifest = Manifest {
        batch,
        previous,
        tree: tree.root(),
        leaves: tree.leaves().len() as u64,
        sealed_at: 1_767_323_100_000 + 10_000 * batch,
        signer: [0; 20],
        marks: marks_hash(&marks).expect("merchants ascend"),
        salt: draw::hash("manifest: salt", batch),
    };
    BatchFile {
        manifest,
        marks,
        leaves: tree.leaves().to_vec(),
    }
}

/// Every fifth row of a merchant is a refund of its first sale; every third has a customer.
fn row(number: u8, seq: u64, rows: &[Sale]) -> Sale {
    let mut row = ordinary(merchant(number), seq);
    if seq.is_multiple_of(5) {
        row.kind = Kind::Refund;
        row.refers_to = rows
            .iter()
            .find(|row| row.merchant == merchant(number))
            .map(|r| r.sale);
    }
    if seq.is_multiple_of(3) {
        row.customer = Some(draw::bytes("customer", seq));
    }
    row
}
