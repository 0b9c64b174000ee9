//! From leaves to a batch that never changes again.

use counterfoil_proofs::Hash;
use counterfoil_proofs::manifest::{Manifest, Mark, anchored_root, marks_hash, next_head};
use counterfoil_proofs::tree::Tree;
use rs_merkle::{Hasher, MerkleTree};
use sha3::{Digest, Keccak256};
use time::OffsetDateTime;
use uuid::Uuid;

use super::SealError;
use super::leaves::MerchantLeaves;
use crate::anchor::store::seal::{Run, SealHead};
use crate::anchor::store::sealed::Seals;
use crate::clock::{Entropy, unix_ms};

/// Everything that a batch is made of. There is at least one merchant.
pub(super) struct Draft {
    /// Where sealing stood when the sales were read.
    pub(super) head: SealHead,
    /// The database's clock after they were read.
    pub(super) now: OffsetDateTime,
    /// The chains to anchor it on.
    pub(super) chains: Vec<i64>,
    /// Ascending.
    pub(super) merchants: Vec<MerchantLeaves>,
}

/// A batch that is ready to be written.
pub(super) struct Frozen {
    pub(super) manifest: Manifest,
    pub(super) marks: Vec<Mark>,
    /// The anchored root.
    pub(super) root: Hash,
    pub(super) tree: Tree,
    /// M, the last sibling of every proof.
    pub(super) manifest_hash: Hash,
    pub(super) rows: Vec<Row>,
    pub(super) chains: Vec<i64>,
    /// When its oldest sale was recorded.
    pub(super) oldest: OffsetDateTime,
}

/// Where a sale stands in the tree.
pub(super) struct Row {
    pub(super) merchant_id: Uuid,
    pub(super) seq: i64,
    pub(super) sale_id: Uuid,
    pub(super) leaf: Hash,
    pub(super) index: usize,
}

impl Draft {
    /// Computes marks, tree and manifest. Takes the time of a few hashes a leaf.
    pub(super) fn freeze(self, entropy: &Entropy) -> Result<Frozen, SealError> {
        let batch = self.head.next_batch;
        let leaves = self.merchants.iter().flat_map(|merchant| &merchant.sales);
        let tree = Tree::build(leaves.map(|sale| sale.leaf).collect())
            .map_err(|source| SealError::Tree { batch, source })?;
        let ours = tree.root();
        // the second root and the running hashes are a core's work each
        let (theirs, marks) = std::thread::scope(|threads| {
            let theirs = threads.spawn(|| independent_root(tree.leaves()));
            let marks: Vec<Mark> = self
                .merchants
                .iter()
                .map(|merchant| mark(merchant, entropy))
                .collect();
            (theirs.join().ok().flatten(), marks)
        });
        if theirs != Some(ours) {
            return Err(SealError::RootsDiffer {
                batch,
                ours,
                theirs,
            });
        }
        let manifest = Manifest {
            batch: batch.cast_unsigned(),
            previous: self.head.last_root,
            tree: ours,
            leaves: tree.leaves().len() as u64,
            sealed_at: unix_ms(self.sealed_at()).cast_unsigned(),
            // nobody signs acceptances yet
            signer: [0; 20],
            marks: marks_hash(&marks).map_err(|source| SealError::Marks { batch, source })?,
            salt: entropy.bytes(),
        };
        let manifest_hash = manifest.hash();
        Ok(Frozen {
            root: anchored_root(&ours, &manifest_hash),
            manifest_hash,
            rows: self.rows(&tree),
            oldest: self.times().min().unwrap_or(self.now),
            manifest,
            marks,
            tree,
            chains: self.chains,
        })
    }

    /// Never before the batch before, nor before a sale of this one.
    fn sealed_at(&self) -> OffsetDateTime {
        self.times()
            .fold(self.now.max(self.head.last_sealed_at), OffsetDateTime::max)
    }

    fn times(&self) -> impl Iterator<Item = OffsetDateTime> {
        self.merchants
            .iter()
            .flat_map(|merchant| &merchant.sales)
            .map(|sale| sale.recorded_at)
    }

    fn rows(&self, tree: &Tree) -> Vec<Row> {
        let mut rows = Vec::with_capacity(tree.leaves().len());
        for MerchantLeaves {
            merchant_id,
            first_seq,
            sales,
            ..
        } in &self.merchants
        {
            rows.extend((*first_seq..).zip(sales).filter_map(|(seq, sale)| {
                let index = tree.index_of(&sale.leaf)?;
                Some(Row {
                    merchant_id: *merchant_id,
                    seq,
                    sale_id: sale.sale_id,
                    leaf: sale.leaf,
                    index,
                })
            }));
        }
        rows
    }
}

impl Frozen {
    /// What is written onto some of its rows. Proofs are put together here and not all at once: those of a
    /// large batch are hundreds of megabytes.
    pub(super) fn seals(&self, rows: &[Row]) -> Seals {
        let mut seals = Seals::default();
        for (place, row) in (1..).zip(rows) {
            match (seals.runs.last_mut(), seals.oldest.last_mut()) {
                (Some(run), Some(oldest))
                    if run.merchant_id == row.merchant_id && run.last_seq + 1 == row.seq =>
                {
                    run.last_seq = row.seq;
                    *oldest = row.sale_id.min(*oldest);
                }
                _ => {
                    seals.runs.push(Run {
                        merchant_id: row.merchant_id,
                        first_seq: row.seq,
                        last_seq: row.seq,
                    });
                    seals.shifts.push(place - row.seq);
                    seals.oldest.push(row.sale_id);
                }
            }
            let siblings = self.tree.proof(row.index);
            seals.proof_starts.push(1 + seals.proofs.len() as i32);
            seals.proofs.extend_from_slice(siblings.as_flattened());
            seals.proofs.extend_from_slice(&self.manifest_hash);
            seals.sales.push(row.sale_id);
            seals.leaves.extend_from_slice(&row.leaf);
            seals.indices.push(row.index as i32);
        }
        seals.proof_starts.push(1 + seals.proofs.len() as i32);
        seals
    }
}

fn mark(merchant: &MerchantLeaves, entropy: &Entropy) -> Mark {
    let last_seq = merchant.first_seq + merchant.sales.len() as i64 - 1;
    Mark {
        merchant: merchant.merchant_id.into_bytes(),
        first_seq: merchant.first_seq.cast_unsigned(),
        last_seq: last_seq.cast_unsigned(),
        head: merchant
            .sales
            .iter()
            .fold(merchant.head, |head, sale| next_head(&head, &sale.leaf)),
        salt: entropy.bytes(),
    }
}

/// The root as `rs_merkle`, which shares no code with our tree, computes it.
fn independent_root(leaves: &[Hash]) -> Option<Hash> {
    MerkleTree::<SortedPairs>::from_leaves(leaves).root()
}

#[derive(Clone)]
struct SortedPairs;

impl Hasher for SortedPairs {
    type Hash = Hash;

    fn hash(data: &[u8]) -> Hash {
        Keccak256::digest(data).into()
    }

    fn concat_and_hash(left: &Hash, right: Option<&Hash>) -> Hash {
        // rs_merkle leaves it to the hasher what becomes of a lone node: it moves up as it is
        let Some(right) = right else { return *left };
        Self::hash(
            [left.min(right).as_slice(), left.max(right)]
                .concat()
                .as_slice(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_roots_agree_and_the_second_is_not_blind() {
        for count in [1u8, 2, 3, 5, 8, 13] {
            let leaves: Vec<Hash> = (0..count).map(|i| SortedPairs::hash(&[i])).collect();
            let tree = Tree::build(leaves).unwrap();
            assert_eq!(independent_root(tree.leaves()), Some(tree.root()));
            let mut other = tree.leaves().to_vec();
            other[usize::from(count) - 1][31] ^= 1;
            assert_ne!(independent_root(&other), Some(tree.root()));
        }
    }
}
