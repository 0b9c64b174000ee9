//! The golden vectors, read as any other implementation would read them: from the committed files,
//! by the public interface, and with `rs_merkle` for every tree.

mod sorted_pairs;

use std::{fs, path::Path};

use counterfoil_proofs::{
    Hash, completeness, details, hex, keccak256,
    leaf::Sale,
    link::link,
    manifest::{BatchFile, anchored_root, next_head},
    receipt::{Outcome, Receipt, Step},
    tree::{Tree, TreeError, node},
    verify::{self, ProofError},
};
use serde_json::Value;
use sorted_pairs::reference_tree;

fn file(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("vectors")
        .join(name);
    serde_json::from_str(&fs::read_to_string(path).expect("vectors are well-formed"))
        .expect("vectors are well-formed")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("vectors are well-formed")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("vectors are well-formed")
}

fn hash(value: &Value) -> Hash {
    hex::decode(text(value)).expect("vectors are well-formed")
}

fn hashes(value: &Value) -> Vec<Hash> {
    list(value).iter().map(hash).collect()
}

fn sale(value: &Value) -> Sale {
    Sale::parse(value.to_string().as_bytes()).expect("vectors are well-formed")
}

fn batch(value: &Value) -> BatchFile {
    BatchFile::parse(value.to_string().as_bytes()).expect("vectors are well-formed")
}

#[test]
fn leaves_are_computed_from_their_fields() {
    let file = file("leaves.json");
    assert_eq!(
        keccak256(text(&file["saleType"]).as_bytes()),
        hash(&file["saleTypehash"])
    );
    for case in list(&file["cases"]) {
        let sale = sale(&case["sale"]);
        assert_eq!(
            sale.hash_struct(),
            hash(&case["hashStruct"]),
            "{}",
            case["name"]
        );
        assert_eq!(sale.leaf(), hash(&case["leaf"]), "{}", case["name"]);
        assert_eq!(
            sale.leaf(),
            keccak256(&sale.hash_struct()),
            "{}",
            case["name"]
        );
        assert_eq!(link(&sale.salt), text(&case["link"]), "{}", case["name"]);
    }
}

#[test]
fn details_are_told_from_what_they_are_not() {
    let file = file("details.json");
    for case in list(&file["valid"]) {
        let bytes = text(&case["text"]).as_bytes();
        details::check_canonical(bytes).unwrap_or_else(|e| panic!("{}: {e}", case["name"]));
        assert_eq!(
            details::hash(bytes),
            hash(&case["hash"]),
            "{}",
            case["name"]
        );
    }
    for case in list(&file["invalid"]) {
        let refused = details::check_canonical(text(&case["text"]).as_bytes());
        assert!(refused.is_err(), "{}", case["name"]);
    }
}

#[test]
fn trees_are_those_of_rs_merkle_and_every_proof_leads_to_the_root() {
    let (small, large) = (file("trees.json"), file("tree-1000.json"));
    for case in list(&small["trees"]).iter().chain(list(&large["trees"])) {
        let leaves = hashes(&case["leaves"]);
        check_tree(case, &leaves);
        let (root, manifest_hash) = (hash(&case["root"]), hash(&case["manifestHash"]));
        let reference = reference_tree(&leaves);
        for (index, (leaf, proof)) in leaves.iter().zip(list(&case["proofs"])).enumerate() {
            let proof = hashes(proof);
            verify::inclusion(leaf, &proof, &root).unwrap();
            let siblings = reference.proof(&[index]).proof_hashes().to_vec();
            assert_eq!(proof, [siblings, vec![manifest_hash]].concat());
        }
    }
}

#[test]
fn sampled_proofs_of_a_large_tree_lead_to_its_root() {
    let case = file("tree-65537.json");
    let mut leaves = leaves_of(&case);
    leaves.sort_unstable();
    check_tree(&case, &leaves);
    assert_eq!(list(&case["samples"]).len(), 64);
    for sample in list(&case["samples"]) {
        let index = usize::try_from(sample["index"].as_u64().unwrap()).unwrap();
        assert_eq!(leaves[index], hash(&sample["leaf"]));
        verify::inclusion(
            &leaves[index],
            &hashes(&sample["proof"]),
            &hash(&case["root"]),
        )
        .unwrap();
    }
}

fn leaves_of(case: &Value) -> Vec<Hash> {
    let (seed, count) = (
        hash(&case["seed"]),
        case["count"].as_u64().expect("vectors are well-formed"),
    );
    (0..count)
        .map(|i| keccak256(&[seed.as_slice(), &i.to_be_bytes()].concat()))
        .collect()
}

fn check_tree(case: &Value, sorted: &[Hash]) {
    let tree = Tree::build(leaves_of(case)).expect("vectors are well-formed");
    assert_eq!(tree.leaves(), sorted);
    assert_eq!(tree.root(), hash(&case["tree"]));
    assert_eq!(reference_tree(sorted).root(), Some(hash(&case["tree"])));
    assert_eq!(
        node(&tree.root(), &hash(&case["manifestHash"])),
        hash(&case["root"])
    );
}

#[test]
fn a_chain_of_batches_follows_from_its_leaves() {
    let mut previous = [0; 32];
    let mut heads = std::collections::BTreeMap::<[u8; 16], Hash>::new();
    for case in list(&file("chain.json")["batches"]) {
        let file = batch(&case["file"]);
        let root = file.check().unwrap();
        assert_eq!(root, hash(&case["root"]));
        assert_eq!(file.manifest.previous, previous);
        assert_eq!(file.manifest.hash(), hash(&case["manifestHash"]));
        assert_eq!(
            root,
            anchored_root(&file.manifest.tree, &hash(&case["manifestHash"]))
        );
        let marks: Vec<Hash> = file.marks.iter().map(|mark| mark.hash()).collect();
        assert_eq!(marks, hashes(&case["markHashes"]));
        for sealed in list(&case["sales"]) {
            let (sale, proof) = (sale(&sealed["sale"]), hashes(&sealed["proof"]));
            assert_eq!(sale.leaf(), hash(&sealed["leaf"]));
            verify::inclusion(&sale.leaf(), &proof, &root).unwrap();
            let head = heads.entry(sale.merchant).or_default();
            *head = next_head(head, &sale.leaf());
        }
        for mark in &file.marks {
            assert_eq!(heads[&mark.merchant], mark.head);
        }
        previous = root;
    }
}

#[test]
fn tampering_with_rows_or_batches_is_named() {
    let file = file("completeness.json");
    let merchant = hex::decode(text(&file["merchant"])).unwrap();
    for case in list(&file["cases"]) {
        let rows: Vec<Sale> = list(&case["rows"]).iter().map(sale).collect();
        let batches: Vec<BatchFile> = list(&case["batches"]).iter().map(batch).collect();
        let anchored = hashes(&case["anchored"]);
        let root = |batch: u64| anchored.get(usize::try_from(batch).unwrap() - 1).copied();
        let verdict = completeness::verify(merchant, &rows, &batches, root);
        let codes: Vec<_> = verdict
            .findings
            .iter()
            .map(|finding| finding.code())
            .collect();
        let expected: Vec<_> = list(&case["findings"])
            .iter()
            .map(|f| text(&f["code"]))
            .collect();
        assert_eq!(codes, expected, "{}", case["name"]);
        assert_eq!(
            verdict.is_complete(),
            case["complete"].as_bool().unwrap(),
            "{}",
            case["name"]
        );
    }
}

#[test]
fn negative_proofs_are_refused() {
    let file = file("negative.json");
    for case in list(&file["proofs"]) {
        let (leaf, proof, root) = (
            hash(&case["leaf"]),
            hashes(&case["proof"]),
            hash(&case["root"]),
        );
        let leads_to_root = case["leadsToRoot"].as_bool().unwrap();
        assert_eq!(
            verify::root_from_proof(&leaf, &proof) == root,
            leads_to_root
        );
        let name = text(&case["name"]);
        match verify::inclusion(&leaf, &proof, &root) {
            // The reason why a verifier computes the leaf itself.
            Ok(()) => assert!(name.ends_with("as leaf"), "{name}"),
            Err(ProofError::Length { .. }) => assert!(proof.is_empty() || proof.len() > 64),
            Err(error) => assert!(matches!(error, ProofError::Root { .. }), "{name}: {error}"),
        }
    }
    let equal = Tree::build(hashes(&file["equalLeaves"]));
    assert!(matches!(equal, Err(TreeError::EqualLeaves(_))));
}

#[test]
fn receipts_pass_fail_or_are_refused_as_they_should() {
    let file = file("receipts.json");
    for case in list(&file["valid"]) {
        let receipt = Receipt::parse(text(&case["text"]).as_bytes()).unwrap();
        assert_eq!(receipt.to_json(), text(&case["text"]));
        let checked = receipt.check();
        assert!(checked.is_valid(), "{}", case["name"]);
        assert_eq!(checked.leaf, hash(&case["leaf"]));
        assert_eq!(checked.root, case.get("root").map(hash));
        let skipped = steps(&receipt, |outcome| matches!(outcome, Outcome::Skipped(_)));
        assert_eq!(
            skipped.len(),
            list(&case["skipped"]).len(),
            "{}",
            case["name"]
        );
    }
    for case in list(&file["refused"]) {
        let error = Receipt::parse(text(&case["text"]).as_bytes()).unwrap_err();
        assert_eq!(error.pointer, text(&case["pointer"]), "{}", case["name"]);
    }
    for case in list(&file["failing"]) {
        let receipt = Receipt::parse(text(&case["text"]).as_bytes()).unwrap();
        let failed = steps(&receipt, |outcome| matches!(outcome, Outcome::Failed(_)));
        let names = failed.iter().map(|step| match step {
            Step::DetailsForm => "details form",
            Step::DetailsHash => "details hash",
            Step::Leaf => "leaf",
            Step::Proof => "proof",
        });
        let expected: Vec<_> = list(&case["failed"]).iter().map(text).collect();
        assert_eq!(names.collect::<Vec<_>>(), expected, "{}", case["name"]);
    }
}

fn steps(receipt: &Receipt, ended: impl Fn(&Outcome) -> bool) -> Vec<Step> {
    let steps = receipt.check().steps;
    steps
        .iter()
        .filter(|(_, outcome)| ended(outcome))
        .map(|(step, _)| *step)
        .collect()
}
