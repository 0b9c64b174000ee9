//! The Merkle tree of a batch: leaves sorted ascending as bytes, neighbours hashed in pairs, the
//! smaller of a pair first; a lone last node moves up as it is.

mod parallel;
mod proofs;

pub use proofs::Proofs;

use crate::{Hash, hex, keccak256};

/// A batch has at most this many leaves.
pub const MAX_LEAVES: usize = 1 << 20;

/// All nodes of a tree, one flat allocation a level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// The sorted leaves first, the root alone last.
    levels: Vec<Vec<Hash>>,
}

impl Tree {
    /// Sorts the leaves and hashes the tree over them. Big levels are hashed by all cores; the
    /// result does not depend on how many there are.
    ///
    /// # Errors
    /// [`TreeError`] when there is no leaf, more than [`MAX_LEAVES`], or one twice: the tree of
    /// such leaves would say less than its proofs.
    pub fn build(mut leaves: Vec<Hash>) -> Result<Tree, TreeError> {
        match leaves.len() {
            0 => return Err(TreeError::Empty),
            1..=MAX_LEAVES => {}
            leaves => return Err(TreeError::TooMany { leaves }),
        }
        parallel::sort(&mut leaves);
        if let Some(twins) = leaves.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(TreeError::EqualLeaves(twins[0]));
        }
        let mut levels = vec![leaves];
        while let Some(level) = levels.last()
            && level.len() > 1
        {
            let above = parallel::level_above(level);
            levels.push(above);
        }
        Ok(Tree { levels })
    }

    /// The root over the leaves alone (S); the anchored root also covers the manifest.
    pub fn root(&self) -> Hash {
        self.levels[self.levels.len() - 1][0]
    }

    /// The leaves, ascending.
    pub fn leaves(&self) -> &[Hash] {
        &self.levels[0]
    }

    /// Where a leaf stands among [`leaves`](Tree::leaves).
    pub fn index_of(&self, leaf: &Hash) -> Option<usize> {
        self.leaves().binary_search(leaf).ok()
    }

    /// The siblings from the leaf at `index` up to [`root`](Tree::root), without the manifest's.
    ///
    /// # Panics
    /// When there is no such leaf.
    pub fn proof(&self, index: usize) -> Vec<Hash> {
        assert!(index < self.leaves().len(), "no leaf {index}");
        let sibling =
            |(height, level): (usize, &Vec<Hash>)| level.get(index >> height ^ 1).copied();
        self.levels.iter().enumerate().filter_map(sibling).collect()
    }

    /// All proofs, each ending in the hash of the manifest, so that they lead to the anchored
    /// root.
    pub fn proofs(&self, manifest_hash: &Hash) -> Proofs {
        let mut proofs = Proofs::default();
        self.fill_proofs(manifest_hash, &mut proofs);
        proofs
    }

    /// Puts all [`proofs`](Tree::proofs) into a buffer that was used before. Of a large batch they
    /// are hundreds of megabytes, and getting new memory takes longer than filling it.
    pub fn fill_proofs(&self, manifest_hash: &Hash, proofs: &mut Proofs) {
        proofs.fill(&self.levels, manifest_hash);
    }
}

/// The node over `a` and `b`, in whichever order they come: the smaller is hashed first.
pub fn node(a: &Hash, b: &Hash) -> Hash {
    let (first, second) = if a <= b { (a, b) } else { (b, a) };
    let mut pair = [0; 64];
    pair[..32].copy_from_slice(first);
    pair[32..].copy_from_slice(second);
    keccak256(&pair)
}

/// Why there is no tree over some leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// There is no leaf.
    #[error("a tree needs at least one leaf")]
    Empty,
    /// There are more than [`MAX_LEAVES`].
    #[error("{leaves} leaves are more than the {MAX_LEAVES} of the largest tree")]
    TooMany {
        /// How many there are.
        leaves: usize,
    },
    /// One leaf is there twice.
    #[error("two leaves are equal: {}", hex::encode(.0))]
    EqualLeaves(Hash),
}
