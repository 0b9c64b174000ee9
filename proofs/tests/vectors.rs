//! The committed golden vectors are what the generator writes.

#[path = "../examples/vectors/chain.rs"]
mod chain;
#[path = "../examples/vectors/completeness.rs"]
mod completeness;
#[path = "../examples/vectors/details.rs"]
mod details;
#[path = "../examples/vectors/draw.rs"]
mod draw;
#[path = "../examples/vectors/files.rs"]
mod files;
#[path = "../examples/vectors/leaves.rs"]
mod leaves;
#[path = "../examples/vectors/negative.rs"]
mod negative;
#[path = "../examples/vectors/receipts.rs"]
mod receipts;
#[path = "../examples/vectors/refused.rs"]
mod refused;
#[path = "../examples/vectors/trees.rs"]
mod trees;

use std::{collections::BTreeSet, fs, path::Path};

#[test]
fn writing_the_vectors_again_changes_no_byte() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors");
    let mut expected = BTreeSet::from(["README.md".to_owned()]);
    for (name, text) in files::all() {
        let committed = fs::read_to_string(folder.join(name)).unwrap();
        assert!(
            committed == text,
            "{name} differs; write the vectors again if that is meant"
        );
        expected.insert(name.to_owned());
    }
    let names = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let found: BTreeSet<String> = names.map(|name| name.into_string().unwrap()).collect();
    assert_eq!(found, expected);
}
