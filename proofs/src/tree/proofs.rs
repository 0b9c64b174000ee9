//! All proofs of a tree in one buffer.

use std::thread::scope;

use super::parallel::chunk_size;
use crate::Hash;

/// The proofs of all leaves of a tree, in the order of the leaves, back to back in one buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proofs {
    siblings: Vec<Hash>,
    /// Where each proof starts in `siblings`, and where the last one ends.
    starts: Vec<usize>,
}

impl Proofs {
    /// The proof of the leaf at `index`: its siblings back to back, from the leaf up, the
    /// manifest's hash last. This is the form that is stored.
    ///
    /// # Panics
    /// When there is no such leaf.
    pub fn get(&self, index: usize) -> &[u8] {
        self.siblings[self.starts[index]..self.starts[index + 1]].as_flattened()
    }

    /// How many proofs there are, at least one.
    #[expect(clippy::len_without_is_empty, reason = "a tree has at least one leaf")]
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    pub(super) fn of(levels: &[Vec<Hash>], manifest_hash: &Hash) -> Proofs {
        let leaves = levels[0].len();
        let starts = starts(levels);
        let mut siblings = vec![[0; 32]; starts[leaves]];
        let chunk = chunk_size(leaves);
        scope(|threads| {
            let mut rest = siblings.as_mut_slice();
            for first in (0..leaves).step_by(chunk) {
                let last = leaves.min(first + chunk);
                let share;
                (share, rest) = rest.split_at_mut(starts[last] - starts[first]);
                if last == leaves {
                    fill(levels, manifest_hash, first..last, share);
                } else {
                    threads.spawn(move || fill(levels, manifest_hash, first..last, share));
                }
            }
        });
        Proofs { siblings, starts }
    }
}

/// A proof has a sibling a level, but where its node is the lone last one.
fn starts(levels: &[Vec<Hash>]) -> Vec<usize> {
    let mut starts = Vec::with_capacity(levels[0].len() + 1);
    let mut end = 0;
    starts.push(end);
    for index in 0..levels[0].len() {
        let below_root = &levels[..levels.len() - 1];
        let lone = |(height, level): (usize, &Vec<Hash>)| (index >> height ^ 1) >= level.len();
        let without = below_root
            .iter()
            .enumerate()
            .filter(|&level| lone(level))
            .count();
        end += below_root.len() - without + 1;
        starts.push(end);
    }
    starts
}

fn fill(
    levels: &[Vec<Hash>],
    manifest_hash: &Hash,
    leaves: std::ops::Range<usize>,
    out: &mut [Hash],
) {
    let mut out = out.iter_mut();
    let mut push = |sibling: &Hash| {
        if let Some(place) = out.next() {
            *place = *sibling;
        }
    };
    for index in leaves {
        for (height, level) in levels.iter().enumerate() {
            if let Some(sibling) = level.get(index >> height ^ 1) {
                push(sibling);
            }
        }
        push(manifest_hash);
    }
}
