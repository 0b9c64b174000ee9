//! `negative.json`: proofs that a verifier must refuse, and leaves that have no tree.

use counterfoil_proofs::{
    Hash, hex,
    manifest::anchored_root,
    tree::{Tree, node},
    verify,
};
use serde::Serialize;

use super::{chain::Chain, draw, trees};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct File {
    proofs: Vec<Case>,
    equal_leaves: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    name: &'static str,
    leaf: String,
    proof: Vec<String>,
    root: String,
    /// What hashing the siblings in says, without a bound on their number or a sale behind the
    /// leaf: this is what a bare `MerkleProof.verify` answers.
    leads_to_root: bool,
}

pub(crate) fn file() -> File {
    let mut equal = trees::leaves(&draw::hash("equal leaves", 0), 5);
    equal[4] = equal[1];
    File {
        proofs: cases(),
        equal_leaves: equal.iter().map(|leaf| hex::encode(leaf)).collect(),
    }
}

fn cases() -> Vec<Case> {
    let manifest_hash = draw::hash("manifest", 0);
    let tree = Tree::build(trees::leaves(&draw::hash("negative", 0), 8)).expect("leaves differ");
    let root = anchored_root(&tree.root(), &manifest_hash);
    let leaf = tree.leaves()[3];
    let proof = [tree.proof(3), vec![manifest_hash]].concat();
    let other_leaf = tree.leaves()[4];
    let other_root = Chain::seal(&[&[(1, 2)]]).roots()[0];
    let mut cases = of_wrong_shape(leaf, &proof, tree.root(), root);
    cases.extend(with_one_bit_changed(leaf, &proof, root));
    cases.extend([
        case("another leaf of the batch", other_leaf, &proof, root),
        case("wrong batch", leaf, &proof, other_root),
        case("a batch that was never anchored", leaf, &proof, [0; 32]),
    ]);
    cases
}

fn of_wrong_shape(leaf: Hash, proof: &[Hash], tree: Hash, root: Hash) -> Vec<Case> {
    let inner = node(&leaf, &proof[0]);
    let (long, long_root) = too_long(leaf);
    let twice = [proof, &proof[3..]].concat();
    let swapped = [proof[1], proof[0], proof[2], proof[3]];
    vec![
        case("inner node as leaf", inner, &proof[1..], root),
        case("tree root as leaf", tree, &proof[3..], root),
        case(
            "too short: the root itself, without a sibling",
            root,
            &[],
            root,
        ),
        case(
            "too short: the first sibling left out",
            leaf,
            &proof[1..],
            root,
        ),
        case("too short: the manifest left out", leaf, &proof[..3], root),
        case("too long: 65 siblings", leaf, &long, long_root),
        case("too long: the manifest twice", leaf, &twice, root),
        case("two siblings exchanged", leaf, &swapped, root),
    ]
}

fn with_one_bit_changed(leaf: Hash, proof: &[Hash], root: Hash) -> Vec<Case> {
    let changed = |mut hash: Hash, byte: usize, bit: u8| {
        hash[byte] ^= 1 << bit;
        hash
    };
    let (mut sibling, mut manifest) = (proof.to_vec(), proof.to_vec());
    sibling[1] = changed(proof[1], 31, 0);
    manifest[3] = changed(proof[3], 16, 4);
    let (other_leaf, other_root) = (changed(leaf, 0, 7), changed(root, 31, 0));
    vec![
        case("one bit of the leaf changed", other_leaf, proof, root),
        case("one bit of a sibling changed", leaf, &sibling, root),
        case("one bit of the manifest changed", leaf, &manifest, root),
        case("one bit of the root changed", leaf, proof, other_root),
    ]
}

fn case(name: &'static str, leaf: Hash, proof: &[Hash], root: Hash) -> Case {
    Case {
        name,
        leads_to_root: verify::root_from_proof(&leaf, proof) == root,
        leaf: hex::encode(&leaf),
        proof: proof.iter().map(|sibling| hex::encode(sibling)).collect(),
        root: hex::encode(&root),
    }
}

/// One sibling more than a proof may have, and where they lead.
fn too_long(leaf: Hash) -> (Vec<Hash>, Hash) {
    let siblings: Vec<Hash> = (0..65).map(|i| draw::hash("too long", i)).collect();
    let root = verify::root_from_proof(&leaf, &siblings);
    (siblings, root)
}
