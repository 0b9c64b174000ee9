//! `trees.json`, `tree-1000.json` and `tree-65537.json`.

use counterfoil_proofs::{Hash, hex, keccak256, manifest::anchored_root, tree::Tree, verify};
use serde::Serialize;

use super::draw;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Whole {
    trees: Vec<WholeTree>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WholeTree {
    count: usize,
    seed: String,
    manifest_hash: String,
    tree: String,
    root: String,
    leaves: Vec<String>,
    proofs: Vec<Vec<String>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Sampled {
    count: usize,
    seed: String,
    manifest_hash: String,
    tree: String,
    root: String,
    samples: Vec<Sample>,
}

#[derive(Serialize)]
struct Sample {
    index: usize,
    leaf: String,
    proof: Vec<String>,
}

pub(crate) fn file(counts: &[usize]) -> Whole {
    let whole = |&count: &usize| {
        let (seed, tree, manifest_hash) = build(count);
        let proofs = tree.proofs(&manifest_hash);
        WholeTree {
            count,
            seed: hex::encode(&seed),
            manifest_hash: hex::encode(&manifest_hash),
            tree: hex::encode(&tree.root()),
            root: hex::encode(&anchored_root(&tree.root(), &manifest_hash)),
            leaves: tree.leaves().iter().map(|leaf| hex::encode(leaf)).collect(),
            proofs: (0..count).map(|index| texts(proofs.get(index))).collect(),
        }
    };
    Whole {
        trees: counts.iter().map(whole).collect(),
    }
}

pub(crate) fn sampled(count: usize) -> Sampled {
    let (seed, tree, manifest_hash) = build(count);
    let proofs = tree.proofs(&manifest_hash);
    // Both ends, and between them wherever the draw falls.
    let ends = [0, 1, count / 2, count - 3, count - 2, count - 1];
    let drawn = (0..58).map(|i| {
        let [a, b, c, d]: [u8; 4] = draw::bytes("sample", i);
        u32::from_be_bytes([a, b, c, d]) as usize % count
    });
    let sample = |index| Sample {
        index,
        leaf: hex::encode(&tree.leaves()[index]),
        proof: texts(proofs.get(index)),
    };
    Sampled {
        count,
        seed: hex::encode(&seed),
        manifest_hash: hex::encode(&manifest_hash),
        tree: hex::encode(&tree.root()),
        root: hex::encode(&anchored_root(&tree.root(), &manifest_hash)),
        samples: ends.into_iter().chain(drawn).map(sample).collect(),
    }
}

/// The seed of a tree's leaves, the tree, and the hash that stands for its manifest.
fn build(count: usize) -> (Hash, Tree, Hash) {
    let seed = draw::hash("tree", count as u64);
    let tree = Tree::build(leaves(&seed, count)).expect("drawn leaves differ");
    (seed, tree, draw::hash("manifest of tree", count as u64))
}

/// `leaf_i = keccak256(seed ‖ uint64 i)`, for i from 0, before sorting.
pub(crate) fn leaves(seed: &Hash, count: usize) -> Vec<Hash> {
    (0..count as u64)
        .map(|i| keccak256(&[seed.as_slice(), &i.to_be_bytes()].concat()))
        .collect()
}

fn texts(proof: &[u8]) -> Vec<String> {
    let siblings = verify::siblings(proof).expect("a proof of ours");
    siblings
        .iter()
        .map(|sibling| hex::encode(sibling))
        .collect()
}
