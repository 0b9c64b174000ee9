//! Properties that hold for every input, over generated ones.

mod sorted_pairs;

use counterfoil_proofs::{
    Hash, U256,
    caip::Caip10,
    details, keccak256,
    leaf::{Currency, Kind, OrderId, Sale},
    manifest::{BatchFile, Manifest, Mark},
    receipt::{Anchor, AnchorState, BatchRef, Block, Receipt, Version},
    timestamp::Timestamp,
    tree::{Tree, TreeError, node},
    verify,
};
use proptest::{collection, option, prelude::*};
use sorted_pairs::reference_tree;

fn leaves(max: usize) -> impl Strategy<Value = Vec<Hash>> {
    collection::btree_set(any::<Hash>(), 1..=max)
        .prop_map(|leaves| leaves.into_iter().collect::<Vec<_>>())
        .prop_shuffle()
}

prop_compose! {
    fn sale()(
        merchant in any::<[u8; 16]>(),
        sale in any::<[u8; 16]>(),
        (seq, recorded_at) in any::<(u64, u64)>(),
        order_id in "[!#-\\[\\]-~]{1,64}".prop_filter_map("not a path", |s| OrderId::parse(&s).ok()),
        refund in any::<bool>(),
        refers_to in option::of(any::<[u8; 16]>().prop_filter("none", |id| *id != [0; 16])),
        customer in option::of(any::<[u8; 20]>().prop_filter("none", |id| *id != [0; 20])),
        currency in "[A-Z]{3}",
        amount in any::<[u64; 4]>().prop_map(U256::from_limbs),
        (details, salt) in any::<(Hash, Hash)>(),
    ) -> Sale {
        Sale {
            merchant,
            sale,
            seq,
            order_id,
            kind: if refund { Kind::Refund } else { Kind::Sale },
            refers_to,
            customer,
            currency: Currency::parse(&currency).expect("a currency"),
            amount,
            recorded_at,
            details,
            salt,
        }
    }
}

fn timestamp() -> impl Strategy<Value = Timestamp> {
    (0..=Timestamp::MAX.millis())
        .prop_map(|millis| Timestamp::from_millis(millis).expect("in bounds"))
}

prop_compose! {
    fn anchor()(
        (chain_id, address) in (1u64.., any::<[u8; 20]>()),
        tx in any::<Option<Hash>>(),
        block in option::of((any::<u64>(), any::<Hash>(), timestamp())),
        state in prop::sample::select(vec![
            AnchorState::Sealed,
            AnchorState::Submitted,
            AnchorState::Mined,
            AnchorState::Finalized,
        ]),
        explorer_url in option::of("https://[!-~]{0,40}"),
    ) -> Anchor {
        let block = block.map(|(number, hash, time)| Block { number, hash, time });
        Anchor { registry: Caip10 { chain_id, address }, tx, block, state, explorer_url }
    }
}

prop_compose! {
    fn receipt()(
        sale in sale(),
        details in any::<Option<String>>(),
        proof in collection::vec(any::<Hash>(), 1..=64),
        batch in option::of((any::<u64>(), any::<Hash>(), timestamp())),
        anchors in collection::vec(anchor(), 0..4),
    ) -> Receipt {
        let version = Version::V1;
        match batch {
            Some((id, root, sealed_at)) => {
                let batch = Some(BatchRef { id, root, sealed_at });
                Receipt { version, sale, details, proof, batch, anchors }
            }
            None => Receipt { version, sale, details, proof: vec![], batch: None, anchors: vec![] },
        }
    }
}

prop_compose! {
    fn batch_file()(
        (batch, previous, tree, leaves_count) in any::<(u64, Hash, Hash, u64)>(),
        (sealed_at, signer, marks_hash, salt) in any::<(u64, [u8; 20], Hash, Hash)>(),
        marks in collection::vec(any::<([u8; 16], u64, u64, Hash, Hash)>(), 0..4),
        leaves in collection::vec(any::<Hash>(), 0..8),
    ) -> BatchFile {
        let mark = |(merchant, first_seq, last_seq, head, salt)| {
            Mark { merchant, first_seq, last_seq, head, salt }
        };
        BatchFile {
            manifest: Manifest {
                batch, previous, tree, leaves: leaves_count, sealed_at, signer, marks: marks_hash, salt,
            },
            marks: marks.into_iter().map(mark).collect(),
            leaves,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn tree_and_proofs_are_those_of_rs_merkle(leaves in leaves(300), manifest_hash: Hash) {
        let mut sorted = leaves.clone();
        sorted.sort_unstable();
        let tree = Tree::build(leaves).unwrap();
        let reference = reference_tree(&sorted);
        prop_assert_eq!(Some(tree.root()), reference.root());
        let proofs = tree.proofs(&manifest_hash);
        prop_assert_eq!(proofs.len(), sorted.len());
        let root = node(&tree.root(), &manifest_hash);
        for (index, leaf) in sorted.iter().enumerate() {
            let proof = tree.proof(index);
            prop_assert_eq!(&proof, &reference.proof(&[index]).proof_hashes().to_vec());
            let whole = [proof, vec![manifest_hash]].concat();
            prop_assert_eq!(proofs.get(index), whole.as_flattened());
            let siblings = verify::siblings(proofs.get(index)).unwrap();
            prop_assert_eq!(verify::inclusion(leaf, &siblings, &root), Ok(()));
            prop_assert_eq!(tree.index_of(leaf), Some(index));
        }
    }

    #[test]
    fn equal_leaves_have_no_tree(mut leaves in leaves(50), twin: prop::sample::Index) {
        let twin = *twin.get(&leaves);
        leaves.push(twin);
        prop_assert_eq!(Tree::build(leaves), Err(TreeError::EqualLeaves(twin)));
    }

    #[test]
    fn a_proof_with_one_bit_changed_leads_elsewhere(
        leaves in leaves(40),
        at: prop::sample::Index,
        bit: prop::sample::Index,
    ) {
        let tree = Tree::build(leaves).unwrap();
        let index = at.index(tree.leaves().len());
        let mut proof = tree.proofs(&[1; 32]).get(index).to_vec();
        let bit = bit.index(8 * proof.len());
        proof[bit / 8] ^= 1 << (bit % 8);
        let root = node(&tree.root(), &[1; 32]);
        let siblings = verify::siblings(&proof).unwrap();
        prop_assert!(verify::inclusion(&tree.leaves()[index], &siblings, &root).is_err());
    }

    #[test]
    fn sales_are_read_as_they_were_written(sale in sale()) {
        let json = serde_json::to_string(&sale).unwrap();
        let read = Sale::parse(json.as_bytes()).unwrap();
        prop_assert_eq!(read.leaf(), sale.leaf());
        prop_assert_eq!(read, sale);
    }

    #[test]
    fn different_sales_have_different_leaves(a in sale(), b in sale()) {
        prop_assert_eq!(a.leaf() == b.leaf(), a == b);
    }

    #[test]
    fn receipts_are_read_as_they_were_written(receipt in receipt()) {
        let json = receipt.to_json();
        let read = Receipt::parse(json.as_bytes()).unwrap();
        prop_assert_eq!(read.to_json(), json);
        prop_assert_eq!(read, receipt);
    }

    #[test]
    fn batch_files_are_read_as_they_were_written(file in batch_file()) {
        prop_assert_eq!(BatchFile::parse(file.to_json().as_bytes()).unwrap(), file);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in collection::vec(any::<u8>(), 0..200)) {
        let _ = details::check_canonical(&bytes);
        if let Ok(receipt) = Receipt::parse(&bytes) {
            receipt.check();
        }
    }

    #[test]
    fn mutated_receipts_are_read_or_refused(
        receipt in receipt(),
        cuts in collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3), 1..4),
    ) {
        let mut bytes = receipt.to_json().into_bytes();
        for (at, byte, edit) in cuts {
            let at = at.index(bytes.len());
            match edit {
                0 => bytes[at] = byte,
                1 => drop(bytes.splice(at..at, [byte])),
                _ => drop(bytes.splice(at..bytes.len().min(at + usize::from(byte)), [])),
            }
        }
        if let Ok(read) = Receipt::parse(&bytes) {
            // Whatever is read has one meaning: written again it is read as the same.
            prop_assert_eq!(Receipt::parse(read.to_json().as_bytes()), Ok(read.clone()));
            read.check();
        }
    }
}

/// A receipt that passes every check.
fn sealed_receipt() -> Receipt {
    let details = format!(
        r#"{{"register":"till","salt":"0x{}","v":1}}"#,
        "5a".repeat(32)
    );
    let sale = Sale {
        merchant: [0x1f; 16],
        sale: [0x2e; 16],
        seq: 47,
        order_id: OrderId::parse("A-1001").expect("it is valid"),
        kind: Kind::Refund,
        refers_to: Some([0x3d; 16]),
        customer: Some([0x4c; 20]),
        currency: Currency::parse("INR").expect("it is valid"),
        amount: U256::from(150_075),
        recorded_at: 1_767_323_045_678,
        details: keccak256(details.as_bytes()),
        salt: [0x5b; 32],
    };
    let tree =
        Tree::build(vec![sale.leaf(), [1; 32], [2; 32], [3; 32], [4; 32]]).expect("it is valid");
    let index = tree.index_of(&sale.leaf()).expect("it is valid");
    let proof = verify::siblings(tree.proofs(&[9; 32]).get(index)).expect("it is valid");
    let sealed_at = Timestamp::from_millis(1_767_323_100_000).expect("it is valid");
    let batch = Some(BatchRef {
        id: 7,
        root: node(&tree.root(), &[9; 32]),
        sealed_at,
    });
    Receipt {
        version: Version::V1,
        sale,
        details: Some(details),
        proof,
        batch,
        anchors: vec![],
    }
}

#[test]
fn no_byte_of_what_a_receipt_proves_can_be_another() {
    let receipt = sealed_receipt();
    assert!(receipt.check().is_valid());
    let json = receipt.to_json().into_bytes();
    let text = String::from_utf8(json.clone()).unwrap();
    // Times and anchors are hints; the batch's number is for the chain to confirm.
    let id = text.find(r#""id":"7""#).unwrap() + 6;
    let hints = text.find(r#","sealed_at":"#).unwrap();
    for at in (0..hints).filter(|at| *at != id) {
        for byte in [json[at] ^ 1, json[at] ^ 0x20, b'0', b'a', b'"', b' ', 0xff] {
            let mut changed = json.clone();
            changed[at] = byte;
            if byte == json[at] {
                continue;
            }
            if let Ok(read) = Receipt::parse(&changed) {
                assert!(!read.check().is_valid(), "byte {at} can be {byte:#x}");
            }
        }
    }
}
