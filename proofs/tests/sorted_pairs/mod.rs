//! `rs_merkle` with the pair hash of our trees, as an independent reference.

use counterfoil_proofs::{Hash, keccak256};
use rs_merkle::{Hasher, MerkleTree};

/// Hashes the smaller of a pair first; a lone node moves up as it is.
#[derive(Clone)]
pub(crate) struct SortedPairs;

impl Hasher for SortedPairs {
    type Hash = Hash;

    fn hash(data: &[u8]) -> Hash {
        keccak256(data)
    }

    fn concat_and_hash(left: &Hash, right: Option<&Hash>) -> Hash {
        let Some(right) = right else { return *left };
        keccak256(
            [left.min(right).as_slice(), left.max(right)]
                .concat()
                .as_slice(),
        )
    }
}

/// The reference tree over leaves that are sorted already.
pub(crate) fn reference_tree(sorted: &[Hash]) -> MerkleTree<SortedPairs> {
    MerkleTree::from_leaves(sorted)
}
