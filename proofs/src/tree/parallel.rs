//! Sorting and hashing by all cores, where there is enough of it to pay for the threads.

use std::thread::{available_parallelism, scope};

use super::node;
use crate::Hash;

/// Nodes a thread should have at the least: starting one costs as much as some dozens of hashes.
const NODES_PER_THREAD: usize = 4096;

/// The nodes over a level's neighbours; a lone last one moves up as it is.
pub(super) fn level_above(level: &[Hash]) -> Vec<Hash> {
    let mut above = vec![[0; 32]; level.len().div_ceil(2)];
    let chunk = chunk_size(above.len());
    scope(|threads| {
        let mut shares = above.chunks_mut(chunk).zip(level.chunks(2 * chunk));
        let own = shares.next();
        for (above, below) in shares {
            threads.spawn(|| hash_pairs(above, below));
        }
        if let Some((above, below)) = own {
            hash_pairs(above, below);
        }
    });
    above
}

fn hash_pairs(above: &mut [Hash], below: &[Hash]) {
    for (parent, children) in above.iter_mut().zip(below.chunks(2)) {
        *parent = match children {
            [left, right] => node(left, right),
            lone => lone[0],
        };
    }
}

/// Sorts ascending as bytes.
pub(super) fn sort(leaves: &mut [Hash]) {
    leaves.sort_unstable();
}

/// How many of `items` one thread takes.
pub(super) fn chunk_size(items: usize) -> usize {
    let threads = available_parallelism().map_or(1, usize::from);
    items.div_ceil(threads).max(NODES_PER_THREAD)
}
