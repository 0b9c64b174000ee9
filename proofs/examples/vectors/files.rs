//! Every file of vectors, by name.

use serde::Serialize;

use super::{chain, completeness, details, leaves, negative, receipts, trees};

/// Name and text of each file.
pub(crate) fn all() -> Vec<(&'static str, String)> {
    vec![
        ("leaves.json", text(&leaves::file())),
        ("details.json", text(&details::file())),
        (
            "trees.json",
            text(&trees::file(&[1, 2, 3, 4, 5, 7, 8, 9, 100])),
        ),
        ("tree-1000.json", text(&trees::file(&[1000]))),
        ("tree-65537.json", text(&trees::sampled(65_537))),
        ("chain.json", text(&chain::file())),
        ("completeness.json", text(&completeness::file())),
        ("negative.json", text(&negative::file())),
        ("receipts.json", text(&receipts::file())),
    ]
}

fn text(file: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(file).expect("vectors are strings and lists");
    text.push('\n');
    text
}
