//! The worked example and the constants of SPEC.md are those of the vectors and of the registry.

use std::{fs, path::Path};

use counterfoil_proofs::{
    Hash, U256, hex, keccak256,
    leaf::{SALE_TYPEHASH, Sale},
    manifest::{BatchFile, MANIFEST_TYPEHASH, MARK_TYPEHASH, Manifest, Mark},
};
use serde_json::Value;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("it is committed")
}

/// A struct's words, each as 32 bytes, encoded here once more without the crate's encoder.
struct Words(Vec<(&'static str, Hash)>);

impl Words {
    fn left(&mut self, name: &'static str, bytes: &[u8]) {
        let mut word = [0; 32];
        word[..bytes.len()].copy_from_slice(bytes);
        self.0.push((name, word));
    }

    fn right(&mut self, name: &'static str, bytes: &[u8]) {
        let mut word = [0; 32];
        word[32 - bytes.len()..].copy_from_slice(bytes);
        self.0.push((name, word));
    }

    fn text(&self, hash_name: &str) -> String {
        let bytes: Vec<u8> = self.0.iter().flat_map(|(_, word)| *word).collect();
        let hash_struct = keccak256(&bytes);
        let mut text = String::new();
        let last = [
            ("hashStruct", hash_struct),
            (hash_name, keccak256(&hash_struct)),
        ];
        for (name, word) in self.0.iter().chain(&last) {
            text += &format!("    {name:<11}{}\n", hex::encode(word));
        }
        text
    }
}

fn sale_words(sale: &Sale) -> Words {
    let mut words = Words(vec![("typeHash", SALE_TYPEHASH)]);
    words.left("merchant", &sale.merchant);
    words.left("sale", &sale.sale);
    words.right("seq", &sale.seq.to_be_bytes());
    words.left("orderId", &keccak256(sale.order_id.as_str().as_bytes()));
    words.right("kind", &[sale.kind as u8]);
    words.left("refersTo", &sale.refers_to.unwrap_or_default());
    words.right("customer", &sale.customer.unwrap_or_default());
    words.left("currency", &keccak256(sale.currency.as_str().as_bytes()));
    words.right("amount", &sale.amount.to_be_bytes::<32>());
    words.right("recordedAt", &sale.recorded_at.to_be_bytes());
    words.left("details", &sale.details);
    words.left("salt", &sale.salt);
    words
}

fn mark_words(mark: &Mark) -> Words {
    let mut words = Words(vec![("typeHash", MARK_TYPEHASH)]);
    words.left("merchant", &mark.merchant);
    words.right("firstSeq", &mark.first_seq.to_be_bytes());
    words.right("lastSeq", &mark.last_seq.to_be_bytes());
    words.left("head", &mark.head);
    words.left("salt", &mark.salt);
    words
}

fn manifest_words(manifest: &Manifest) -> Words {
    let mut words = Words(vec![("typeHash", MANIFEST_TYPEHASH)]);
    words.right("batch", &manifest.batch.to_be_bytes());
    words.left("previous", &manifest.previous);
    words.left("tree", &manifest.tree);
    words.right("leaves", &manifest.leaves.to_be_bytes());
    words.right("sealedAt", &manifest.sealed_at.to_be_bytes());
    words.right("signer", &manifest.signer);
    words.left("marks", &manifest.marks);
    words.left("salt", &manifest.salt);
    words
}

#[test]
fn the_worked_example_is_batch_3_of_the_vectors() {
    let spec = read("SPEC.md");
    let chain: Value = serde_json::from_str(&read("vectors/chain.json")).unwrap();
    let case = &chain["batches"][2];
    let file = BatchFile::parse(case["file"].to_string().as_bytes()).unwrap();
    let sealed = &case["sales"][0];
    let sale = Sale::parse(sealed["sale"].to_string().as_bytes()).unwrap();
    let parts = [
        sale_words(&sale).text("leaf"),
        mark_words(&file.marks[0]).text("hash"),
        manifest_words(&file.manifest).text("M"),
    ];
    for part in parts {
        assert!(spec.contains(&part), "SPEC.md has other words than\n{part}");
    }
    let previous_mark = &chain["batches"][0]["file"]["marks"][1];
    assert_eq!(previous_mark["merchant"], sealed["sale"]["merchant"]);
    for value in [&previous_mark["head"], &case["root"], &sealed["proof"][0]] {
        assert!(
            spec.contains(value.as_str().unwrap()),
            "SPEC.md lacks {value}"
        );
    }
}

#[test]
fn the_worked_tree_is_that_of_three_leaves() {
    let spec = read("SPEC.md");
    let trees: Value = serde_json::from_str(&read("vectors/trees.json")).unwrap();
    let tree = &trees["trees"][2];
    assert_eq!(tree["count"], 3);
    let leaves = tree["leaves"].as_array().unwrap();
    let fields = ["manifestHash", "tree", "root"].map(|field| &tree[field]);
    for value in leaves.iter().chain(fields) {
        assert!(
            spec.contains(value.as_str().unwrap()),
            "SPEC.md lacks {value}"
        );
    }
}

#[test]
fn the_registrys_code_and_storage_are_those_of_the_artifact() {
    let spec = read("SPEC.md");
    let artifact = read("../contracts/artifacts/CounterfoilRegistry.json");
    let artifact: Value = serde_json::from_str(&artifact).unwrap();
    let code = hex::decode_vec(artifact["deployedBytecode"].as_str().unwrap()).unwrap();
    let code_hash = hex::encode(&keccak256(&code));
    assert!(
        spec.contains(&format!("runtime code hash is `{code_hash}`")),
        "{code_hash}"
    );
    let slot = U256::from(artifact["rootOfSlot"].as_u64().unwrap());
    assert!(
        spec.contains(&format!("`rootOf` is at slot {slot}")),
        "{slot}"
    );
}
