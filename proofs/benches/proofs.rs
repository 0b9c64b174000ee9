//! What hashing, building, proving and verifying cost, with `rs_merkle` beside ours for what both
//! can do: the same tree of the same leaves, and the same proofs, in the form in which they are
//! stored.
//!
//!     cargo bench -p counterfoil-proofs

use std::{hint::black_box, time::Duration};

use counterfoil_proofs::{
    Hash, U256, keccak256,
    leaf::{Currency, Kind, OrderId, Sale},
    tree::{Proofs, Tree, node},
    verify,
};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rs_merkle::{Hasher, MerkleTree};

const SIZES: [usize; 3] = [1_000, 131_072, 1_000_000];
const MANIFEST_HASH: Hash = [7; 32];

criterion_group!(benches, leaf_hash, build, build_and_prove, single);
criterion_main!(benches);

/// The pair hash of our tree.
#[derive(Clone)]
struct SortedPairs;

impl Hasher for SortedPairs {
    type Hash = Hash;

    fn hash(data: &[u8]) -> Hash {
        keccak256(data)
    }

    fn concat_and_hash(left: &Hash, right: Option<&Hash>) -> Hash {
        right.map_or(*left, |right| node(left, right))
    }
}

fn leaves(count: usize) -> Vec<Hash> {
    (0..count as u64)
        .map(|i| keccak256(&i.to_be_bytes()))
        .collect()
}

fn sale() -> Sale {
    Sale {
        merchant: [1; 16],
        sale: [2; 16],
        seq: 3,
        order_id: OrderId::parse("2026-000003").expect("an order id"),
        kind: Kind::Sale,
        refers_to: None,
        customer: Some([4; 20]),
        currency: Currency::parse("INR").expect("a currency"),
        amount: U256::from(150_075),
        recorded_at: 1_767_323_045_678,
        details: [5; 32],
        salt: [6; 32],
    }
}

fn leaf_hash(criterion: &mut Criterion) {
    let sale = sale();
    criterion.bench_function("leaf hash", |bench| bench.iter(|| black_box(&sale).leaf()));
}

/// Sorting and hashing, without proofs.
fn build(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("root");
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(5));
    for size in SIZES {
        let leaves = leaves(size);
        group.throughput(Throughput::Elements(size as u64));
        group.bench_function(BenchmarkId::new("ours", size), |bench| {
            bench.iter_batched(|| leaves.clone(), our_root, BatchSize::PerIteration);
        });
        group.bench_function(BenchmarkId::new("rs_merkle", size), |bench| {
            bench.iter_batched(|| leaves.clone(), their_root, BatchSize::PerIteration);
        });
    }
}

/// The root and every proof, in one buffer: what sealing a batch needs. Both sides have a buffer
/// from the batch before, as whoever seals one after the other has; "new buffer" is ours without.
fn build_and_prove(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("root and all proofs");
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(5));
    for size in SIZES {
        let leaves = leaves(size);
        group.throughput(Throughput::Elements(size as u64));
        group.bench_function(BenchmarkId::new("ours", size), |bench| {
            let mut proofs = Proofs::default();
            bench.iter_batched(
                || leaves.clone(),
                |leaves| our_root_and_proofs(leaves, &mut proofs),
                BatchSize::PerIteration,
            );
        });
        group.bench_function(BenchmarkId::new("ours, new buffer", size), |bench| {
            bench.iter_batched(
                || leaves.clone(),
                |leaves| {
                    let mut proofs = Proofs::default();
                    (our_root_and_proofs(leaves, &mut proofs), proofs)
                },
                BatchSize::PerIteration,
            );
        });
        group.bench_function(BenchmarkId::new("rs_merkle", size), |bench| {
            let mut proofs = Vec::new();
            bench.iter_batched(
                || leaves.clone(),
                |leaves| their_root_and_proofs(leaves, &mut proofs),
                BatchSize::PerIteration,
            );
        });
    }
}

fn single(criterion: &mut Criterion) {
    let tree = Tree::build(leaves(131_072)).expect("leaves differ");
    let (leaf, proof) = (tree.leaves()[77_777], tree.proof(77_777));
    let root = tree.root();
    let mut group = criterion.benchmark_group("one of 131,072");
    group.bench_function("proof", |bench| {
        bench.iter(|| tree.proof(black_box(77_777)))
    });
    group.bench_function("verification", |bench| {
        bench.iter(|| verify::inclusion(black_box(&leaf), &proof, &root).expect("it holds"));
    });
}

fn our_root(leaves: Vec<Hash>) -> Hash {
    Tree::build(leaves).expect("leaves differ").root()
}

fn their_tree(mut leaves: Vec<Hash>) -> MerkleTree<SortedPairs> {
    leaves.sort_unstable();
    MerkleTree::from_leaves(&leaves)
}

fn their_root(leaves: Vec<Hash>) -> Hash {
    their_tree(leaves).root().expect("there are leaves")
}

fn our_root_and_proofs(leaves: Vec<Hash>, proofs: &mut Proofs) -> Hash {
    let tree = Tree::build(leaves).expect("leaves differ");
    tree.fill_proofs(&MANIFEST_HASH, proofs);
    tree.root()
}

fn their_root_and_proofs(leaves: Vec<Hash>, proofs: &mut Vec<u8>) -> Hash {
    let count = leaves.len();
    let tree = their_tree(leaves);
    proofs.clear();
    for index in 0..count {
        proofs.extend_from_slice(tree.proof(&[index]).proof_hashes().as_flattened());
        proofs.extend_from_slice(&MANIFEST_HASH);
    }
    tree.root().expect("there are leaves")
}
