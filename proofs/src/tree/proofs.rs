//! All proofs of a tree in one buffer.

use std::thread::scope;

use super::parallel::chunk_size;
use crate::Hash;

/// The proofs of all leaves of a tree, in the order of the leaves, back to back in one buffer.
/// Whoever seals batch after batch keeps one and has it filled again ([`super::Tree::fill_proofs`]).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Proofs {
    siblings: Vec<Hash>,
    shape: Shape,
}

impl Proofs {
    /// The proof of the leaf at `index`: its siblings back to back, from the leaf up, the
    /// manifest's hash last. This is the form that is stored.
    ///
    /// # Panics
    /// When there is no such leaf.
    pub fn get(&self, index: usize) -> &[u8] {
        assert!(index < self.len(), "no leaf {index}");
        self.siblings[self.shape.start(index)..self.shape.start(index + 1)].as_flattened()
    }

    /// How many proofs there are.
    pub fn len(&self) -> usize {
        self.shape.leaves
    }

    /// Whether no tree's proofs were put in yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn fill(&mut self, levels: &[Vec<Hash>], manifest_hash: &Hash) {
        self.shape = Shape::of(levels);
        let Shape { leaves, .. } = self.shape;
        let start = |index| self.shape.start(index);
        let siblings = start(leaves);
        if self.siblings.capacity() < siblings {
            // Zeroed memory straight from the system is first touched by the threads below.
            self.siblings = vec![[0; 32]; siblings];
        } else {
            self.siblings.resize(siblings, [0; 32]);
        }
        let chunk = chunk_size(leaves);
        scope(|threads| {
            let mut rest = self.siblings.as_mut_slice();
            for first in (0..leaves).step_by(chunk) {
                let last = leaves.min(first + chunk);
                let share;
                (share, rest) = rest.split_at_mut(start(last) - start(first));
                if last == leaves {
                    write(levels, manifest_hash, first, share);
                } else {
                    threads.spawn(move || write(levels, manifest_hash, first, share));
                }
            }
        });
    }
}

/// How long the proofs of a tree are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Shape {
    leaves: usize,
    /// Siblings of a proof that has one on every level, and the manifest's hash.
    longest: usize,
    /// The first leaf under the lone last node of each level that has one. From there on proofs
    /// are one sibling shorter.
    lone_from: Vec<usize>,
}

impl Shape {
    fn of(levels: &[Vec<Hash>]) -> Shape {
        let below_root = levels[..levels.len() - 1].iter().map(Vec::len).enumerate();
        let lone = below_root.filter(|(_, nodes)| nodes % 2 == 1);
        Shape {
            leaves: levels[0].len(),
            longest: levels.len(),
            lone_from: lone.map(|(height, nodes)| (nodes - 1) << height).collect(),
        }
    }

    /// Where the proof of a leaf starts, in siblings.
    fn start(&self, index: usize) -> usize {
        let shorter = self
            .lone_from
            .iter()
            .map(|first| index.saturating_sub(*first));
        index * self.longest - shorter.sum::<usize>()
    }
}

/// Writes proofs from the leaf at `index` on until `out` is full.
fn write(levels: &[Vec<Hash>], manifest_hash: &Hash, mut index: usize, mut out: &mut [Hash]) {
    while !out.is_empty() {
        let mut length = 0;
        for (height, level) in levels.iter().enumerate() {
            if let Some(sibling) = level.get(index >> height ^ 1) {
                out[length] = *sibling;
                length += 1;
            }
        }
        out[length] = *manifest_hash;
        out = &mut out[length + 1..];
        index += 1;
    }
}
