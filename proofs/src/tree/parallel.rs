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
    let chunk = chunk_size(leaves.len());
    sort_in_chunks(leaves, chunk);
}

/// Splits at the median until a part is a thread's share: then the parts are independent, and
/// nothing is to be merged.
fn sort_in_chunks(leaves: &mut [Hash], chunk: usize) {
    // Comparing a number first is twice as fast as comparing 32 bytes; hashes seldom tie.
    let order = |a: &Hash, b: &Hash| prefix(a).cmp(&prefix(b)).then_with(|| a.cmp(b));
    if leaves.len() <= chunk {
        leaves.sort_unstable_by(order);
        return;
    }
    let middle = leaves.len() / 2;
    let (left, _, right) = leaves.select_nth_unstable_by(middle, order);
    scope(|threads| {
        threads.spawn(|| sort_in_chunks(left, chunk));
        sort_in_chunks(right, chunk);
    });
}

/// The first eight bytes, as the number that orders as they do.
fn prefix(hash: &Hash) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *hash;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// How many of `items` one thread takes.
pub(super) fn chunk_size(items: usize) -> usize {
    // Asking for the number of cores reads files, so a small tree does not ask.
    if items <= NODES_PER_THREAD {
        return NODES_PER_THREAD;
    }
    let threads = available_parallelism().map_or(1, usize::from);
    items.div_ceil(threads).max(NODES_PER_THREAD)
}
