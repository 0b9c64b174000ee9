//! `receipts.json`: receipts that are valid, that a parser must refuse, and that fail a check.

use counterfoil_proofs::{
    caip::Caip10,
    hex,
    receipt::{Anchor, AnchorState, BatchRef, Block, Outcome, Receipt, Step, Version},
    timestamp::Timestamp,
    tree::Tree,
    verify,
};
use serde::Serialize;

use super::{
    chain::{Chain, merchant},
    details, draw,
    refused::{self, replace},
};

#[derive(Serialize)]
pub(crate) struct File {
    valid: Vec<Valid>,
    refused: Vec<Refused>,
    failing: Vec<Failing>,
}

#[derive(Serialize)]
struct Valid {
    name: &'static str,
    text: String,
    leaf: String,
    /// The root that the chain must have; left out while the sale is not sealed.
    #[serde(skip_serializing_if = "Option::is_none")]
    root: Option<String>,
    skipped: Vec<&'static str>,
}

#[derive(Serialize)]
struct Refused {
    name: &'static str,
    text: String,
    pointer: String,
    fault: String,
}

#[derive(Serialize)]
struct Failing {
    name: &'static str,
    text: String,
    failed: Vec<&'static str>,
}

pub(crate) fn file() -> File {
    File {
        valid: valid().into_iter().map(checked).collect(),
        refused: refused::cases(&finalized())
            .into_iter()
            .map(parsed)
            .collect(),
        failing: failing().into_iter().map(failed).collect(),
    }
}

/// The name of a step in the vectors.
fn step_name(step: Step) -> &'static str {
    match step {
        Step::DetailsForm => "details form",
        Step::DetailsHash => "details hash",
        Step::Leaf => "leaf",
        Step::Proof => "proof",
    }
}

fn checked((name, receipt): (&'static str, Receipt)) -> Valid {
    let checked = receipt.check();
    assert!(checked.is_valid(), "{name}: {:?}", checked.first_failure());
    let skipped = checked
        .steps
        .iter()
        .filter(|(_, o)| matches!(o, Outcome::Skipped(_)));
    Valid {
        name,
        text: receipt.to_json(),
        leaf: hex::encode(&checked.leaf),
        root: checked.root.map(|root| hex::encode(&root)),
        skipped: skipped.map(|&(step, _)| step_name(step)).collect(),
    }
}

fn parsed((name, text): (&'static str, String)) -> Refused {
    let Err(error) = Receipt::parse(text.as_bytes()) else {
        panic!("{name} is read")
    };
    Refused {
        name,
        text,
        pointer: error.pointer,
        fault: error.fault.to_string(),
    }
}

fn failed((name, text): (&'static str, String)) -> Failing {
    let receipt = Receipt::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{name}: {error}"));
    let checked = receipt.check();
    let failed = checked
        .steps
        .iter()
        .filter(|(_, o)| matches!(o, Outcome::Failed(_)));
    let failed: Vec<_> = failed.map(|&(step, _)| step_name(step)).collect();
    assert!(!failed.is_empty(), "{name} passes");
    Failing { name, text, failed }
}

/// A receipt with everything that one can have.
fn finalized() -> Receipt {
    let chain = Chain::seal(&[&[(1, 3), (2, 4), (3, 1)]]);
    let (file, sale) = (&chain.batches[0], &chain.rows_of(merchant(1))[2]);
    let tree = Tree::build(file.leaves.clone()).expect("a batch of ours");
    let index = tree.index_of(&sale.leaf()).expect("a sale of the batch");
    let proofs = tree.proofs(&file.manifest.hash());
    Receipt {
        version: Version::V1,
        sale: sale.clone(),
        details: Some(details::of_sale(sale.seq)),
        proof: verify::siblings(proofs.get(index)).expect("a proof of ours"),
        batch: Some(BatchRef {
            id: file.manifest.batch,
            root: chain.roots()[0],
            sealed_at: time(file.manifest.sealed_at),
        }),
        anchors: vec![
            Anchor {
                registry: Caip10 {
                    chain_id: 1,
                    address: draw::bytes("registry", 1),
                },
                tx: Some(draw::hash("transaction", 1)),
                block: Some(Block {
                    number: 21_000_000,
                    hash: draw::hash("block", 1),
                    time: time(1_767_323_123_000),
                }),
                state: AnchorState::Finalized,
                explorer_url: Some("https://explorer.example/tx/0x01".to_owned()),
            },
            Anchor {
                registry: Caip10 {
                    chain_id: 8453,
                    address: draw::bytes("registry", 2),
                },
                tx: None,
                block: None,
                state: AnchorState::Sealed,
                explorer_url: None,
            },
        ],
    }
}

fn time(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis).expect("before the year 10000")
}

fn valid() -> Vec<(&'static str, Receipt)> {
    let finalized = finalized();
    let unsealed = Receipt {
        proof: vec![],
        batch: None,
        anchors: vec![],
        ..finalized.clone()
    };
    let lone = Chain::seal(&[&[(1, 1)]]);
    let one = Receipt {
        sale: lone.rows[0].clone(),
        details: None,
        proof: vec![lone.batches[0].manifest.hash()],
        batch: finalized.batch.map(|batch| BatchRef {
            root: lone.roots()[0],
            ..batch
        }),
        anchors: vec![],
        ..finalized.clone()
    };
    vec![
        ("anchored on two chains", finalized.clone()),
        (
            "without details",
            Receipt {
                details: None,
                ..finalized
            },
        ),
        ("not sealed yet", unsealed),
        ("a batch of one sale, no chains", one),
    ]
}

fn failing() -> Vec<(&'static str, String)> {
    let receipt = finalized();
    let text = receipt.to_json();
    let change = |from: &str, to: &str| replace(&text, from, to);
    let changed = |change: &dyn Fn(&mut Receipt)| {
        let mut receipt = receipt.clone();
        change(&mut receipt);
        receipt.to_json()
    };
    vec![
        (
            "another amount",
            change(r#""amount":"150375""#, r#""amount":"150376""#),
        ),
        ("another order id", change("2026-000003", "2026-000004")),
        ("another number", change(r#""seq":"3""#, r#""seq":"4""#)),
        ("a refund", change(r#""kind":1,"#, r#""kind":2,"#)),
        ("another currency", change(r#""INR""#, r#""EUR""#)),
        (
            "no customer",
            changed(&|receipt| receipt.sale.customer = None),
        ),
        (
            "another salt",
            changed(&|receipt| receipt.sale.salt[0] ^= 1),
        ),
        ("another basket", change("Masala dosa", "Plain dosa")),
        (
            "a basket with a space more",
            change(r#""details":"{\"#, r#""details":"{ \"#),
        ),
        (
            "no basket",
            changed(&|receipt| receipt.details = Some(String::new())),
        ),
        (
            "another sibling",
            changed(&|receipt| receipt.proof[1][31] ^= 1),
        ),
        (
            "the manifest left out",
            changed(&|receipt| receipt.proof.truncate(3)),
        ),
        (
            "another root",
            changed(&|receipt| {
                receipt.batch = receipt.batch.map(|batch| BatchRef {
                    root: [0; 32],
                    ..batch
                });
            }),
        ),
    ]
}
