//! Failures of anchoring. A broadcast fails twice: "did not happen" and "happened but was reported as
//! failed". After each failure the same steps find out where things stand.

use counterfoil::anchor::store::anchors::{self, Anchor, State};
use counterfoil::anchor::store::chains;
use counterfoil::anchor::{broadcast, publish, seal, watch};
use counterfoil::chain::{Account, Chain, Fees, Transaction, anchor_call};
use counterfoil_proofs::hex;
use secrecy::SecretString;
use serde_json::json;

use crate::anchored::{Anchored, seal_up_to};
use crate::anchored_wire::{Cut, Proxy};

const NOTHING: watch::Outcome = watch::Outcome {
    mined: 0,
    reorganised: 0,
    finalized: 0,
    overtaken: 0,
    halted: false,
};

/// What anybody with the publisher's key could do: send a transaction of its account.
pub(crate) async fn send_as(it: &Anchored, from: Account, to: Account, data: &[u8]) {
    let tx = json!({
        "from": hex::encode(&from), "to": hex::encode(&to), "data": hex::encode(data),
        "maxPriorityFeePerGas": "0x2540be400", "maxFeePerGas": "0x4a817c800", "gas": "0x30000",
    });
    it.local.call("eth_sendTransaction", json!([tx])).await;
}

pub(crate) async fn set_publisher(it: &Anchored, to: Account) {
    let owner = counterfoil::chain::Signer::development(0)
        .expect("a development account")
        .account();
    let call = [
        hex::decode_vec("0xcab63661").expect("hex"),
        vec![0; 12],
        to.to_vec(),
    ]
    .concat();
    send_as(it, owner, it.registry.registry.address, &call).await;
}

pub(crate) async fn halted(it: &Anchored) -> String {
    it.db.text("select halted from chain_head").await
}

/// Mines until all is final, and sees that it happened once.
async fn finish(it: &Anchored, anchors: u64) {
    it.local.mine(1).await;
    it.watch().await;
    it.local.mine(2).await;
    it.watch().await;
    assert_eq!(it.states().await, vec!["finalized"; anchors as usize]);
    assert_eq!(it.nonces_used().await, anchors);
    assert_eq!(
        it.db.count("select count(*) from anchor_attempt").await as u64,
        anchors
    );
    assert_eq!(it.publish().await, publish::Outcome::Nothing);
}

#[tokio::test]
async fn a_reservation_that_was_not_signed_is_signed_by_the_next_step() {
    let it = Anchored::start().await;
    it.seal_batches(2).await;
    let ready = it.check().await.unwrap();
    // what reserving commits, and then a crash
    let mut tx = it.db.worker.begin().await.unwrap();
    let head = chains::lock_head(&mut tx, 31337).await.unwrap().unwrap();
    let reserved = Anchor {
        anchor_id: 0,
        registry: ready.registry().address,
        account: head.account,
        nonce: 0,
        first_batch: 1,
        last_batch: 1,
        state: State::Reserved,
    };
    anchors::reserve(&mut tx, 31337, &reserved, it.clock.now())
        .await
        .unwrap();
    assert_eq!(
        chains::move_head(&mut tx, 31337, &head, 2).await.unwrap(),
        1
    );
    tx.commit().await.unwrap();

    assert!(matches!(
        it.publish().await,
        publish::Outcome::Signed {
            first_batch: 1,
            last_batch: 1,
            ..
        }
    ));
    assert_eq!(it.broadcast().await, 1);
    it.local.mine(1).await;
    it.watch().await;
    assert!(matches!(
        it.publish().await,
        publish::Outcome::Signed {
            first_batch: 2,
            last_batch: 2,
            ..
        }
    ));
    assert_eq!(it.broadcast().await, 1);
    finish(&it, 2).await;
}

#[tokio::test]
async fn a_broadcast_that_failed_is_decided_by_the_chain() {
    for cut in [Cut::BeforeTheChain, Cut::AfterTheChain] {
        let mut it = Anchored::start().await;
        let proxy = Proxy::before(&it.local.url).await;
        it.publisher.chain = Chain::new(&proxy.url).unwrap();
        it.seal_batches(1).await;
        let publish::Outcome::Signed { tx, .. } = it.publish().await else {
            panic!("not signed")
        };
        proxy.cut(cut);
        let error = it.try_broadcast().await.unwrap_err();
        assert!(matches!(error, broadcast::BroadcastError::NotTaken { tx: of, .. } if of == tx));
        assert_eq!(it.states().await, ["submitted"], "an error decides nothing");
        let there = it.publisher.chain.knows(tx).await.unwrap();
        assert_eq!(there, cut == Cut::AfterTheChain);

        proxy.cut(Cut::Nowhere);
        assert_eq!(
            it.publish().await,
            publish::Outcome::InFlight,
            "nothing is signed anew"
        );
        assert_eq!(
            it.broadcast().await,
            usize::from(!there),
            "the same bytes, where they are missing"
        );
        assert!(it.publisher.chain.knows(tx).await.unwrap());
        assert_eq!(
            it.db
                .count("select count(*) from anchor_attempt where sent_at is not null")
                .await,
            1
        );
        finish(&it, 1).await;
    }
}

#[tokio::test]
async fn an_unreachable_chain_stops_nothing_but_anchoring() {
    let mut it = Anchored::start().await;
    it.check().await.unwrap();
    let (chain, nobody) = (
        it.publisher.chain.clone(),
        SecretString::from("http://127.0.0.1:1"),
    );
    it.publisher.chain = Chain::new(&nobody).unwrap();
    assert!(it.check().await.is_err());
    it.seal_batches(2).await;
    assert_eq!(it.states().await, [""; 0]);
    it.publisher.chain = chain;
    assert!(matches!(
        it.publish().await,
        publish::Outcome::Signed {
            first_batch: 1,
            last_batch: 2,
            ..
        }
    ));
    it.broadcast().await;
    finish(&it, 1).await;
}

#[tokio::test]
async fn a_dropped_transaction_is_sent_again() {
    let it = Anchored::start().await;
    it.seal_batches(1).await;
    let publish::Outcome::Signed { tx, .. } = it.publish().await else {
        panic!("not signed")
    };
    assert_eq!(it.broadcast().await, 1);
    it.local
        .call("anvil_dropTransaction", json!([hex::encode(&tx)]))
        .await;
    assert_eq!(it.watch().await, NOTHING, "no receipt says nothing");
    assert_eq!(it.broadcast().await, 1);
    assert!(it.publisher.chain.knows(tx).await.unwrap());
    finish(&it, 1).await;
}

#[tokio::test]
async fn a_reorganisation_takes_anchors_back_and_they_are_mined_again() {
    let it = Anchored::start().await;
    it.seal_batches(1).await;
    it.publish_and_mine().await;
    it.seal_batches(1).await;
    it.publish_and_mine().await;
    it.local.call("anvil_reorg", json!([2, []])).await;
    assert_eq!(
        it.watch().await,
        watch::Outcome {
            reorganised: 2,
            ..NOTHING
        }
    );
    assert_eq!(it.states().await, ["submitted", "submitted"]);
    let blocks = "select count(*) from anchor_attempt where num_nonnulls(block_number, block_hash, block_time, gas_used) > 0";
    assert_eq!(it.db.count(blocks).await, 0);

    it.seal_batches(1).await;
    assert_eq!(
        it.publish().await,
        publish::Outcome::InFlight,
        "nothing new before all are mined"
    );
    it.broadcast().await;
    it.local.mine(1).await;
    assert_eq!(it.watch().await.mined, 2);
    assert!(matches!(
        it.publish().await,
        publish::Outcome::Signed { first_batch: 3, .. }
    ));
    it.broadcast().await;
    finish(&it, 3).await;
}

#[tokio::test]
async fn an_anchor_that_moved_to_another_block_is_said_to_be_there() {
    let it = Anchored::start().await;
    it.seal_batches(1).await;
    it.publish_and_mine().await;
    let block = "select encode(block_hash, 'hex') from anchor_attempt";
    let (before, raw) = (
        it.db.text(block).await,
        it.db
            .text("select encode(raw, 'hex') from anchor_attempt")
            .await,
    );
    it.local
        .call("anvil_reorg", json!([1, [[format!("0x{raw}"), 0]]]))
        .await;
    assert_eq!(it.watch().await, NOTHING, "it is mined, as it was");
    assert_ne!(it.db.text(block).await, before);
    finish(&it, 1).await;
}

#[tokio::test]
async fn the_transaction_that_is_mined_may_be_the_oldest_of_its_nonce() {
    let it = Anchored::start().await;
    it.seal_batches(1).await;
    it.publish().await;
    assert_eq!(it.broadcast().await, 1);
    // a later one for the same nonce, which never arrives
    let later = Transaction {
        chain_id: 31337,
        nonce: 0,
        to: None,
        input: Vec::new(),
        gas_limit: 1,
        fees: Fees {
            max_fee_per_gas: 1,
            max_priority_fee_per_gas: 1,
        },
    };
    let signed = it.publisher.signer.sign(&later).await.unwrap();
    let mut conn = it.db.worker.acquire().await.unwrap();
    anchors::insert_attempt(&mut conn, 1, 2, &later, &signed, it.clock.now())
        .await
        .unwrap();
    it.local.mine(3).await;
    assert_eq!(it.watch().await.finalized, 1);
    let mined = "select attempt::bigint from anchor_attempt where block_hash is not null";
    assert_eq!(it.db.count(mined).await, 1);
}

#[tokio::test]
async fn a_batch_that_does_not_give_its_root_is_not_published() {
    for damage in [
        "update batch set root = sha256(root) where batch_id = 1",
        "update batch set leaves = sha256(leaves) where batch_id = 1",
        "update batch set salt = sha256(salt) where batch_id = 1",
        "update batch set sealed_at = sealed_at + interval '1 ms' where batch_id = 1",
        "update batch_mark set head = sha256(head) where batch_id = 1",
        "update batch set previous = sha256(previous) where batch_id = 1",
        "update batch_mark set last_seq = 2 where batch_id = 1",
    ] {
        let it = Anchored::start().await;
        it.seal_batches(2).await;
        it.check().await.unwrap();
        assert_eq!(it.db.execute(damage).await, 1);
        assert_eq!(it.publish().await, publish::Outcome::Halted, "{damage}");
        assert!(halted(&it).await.starts_with("batch "), "{damage}");
        assert_eq!(
            (it.publish().await, it.broadcast().await),
            (publish::Outcome::Halted, 0)
        );
        assert_eq!(it.db.count("select count(*) from anchor_attempt").await, 0);
        it.seal_batches(1).await;
    }
}

#[tokio::test]
async fn a_registry_that_is_ahead_or_has_another_publisher_is_not_signed_for() {
    for ahead in [true, false] {
        let it = Anchored::start().await;
        it.local.mine(2).await;
        it.seal_batches(1).await;
        let ready = it.check().await.unwrap();
        if ahead {
            let call = anchor_call(1, &[[9; 32]]);
            send_as(
                &it,
                it.publisher.signer.account(),
                it.registry.registry.address,
                &call,
            )
            .await;
        } else {
            set_publisher(&it, [7; 20]).await;
        }
        it.local.mine(1).await;
        let outcome = publish::step(&it.db.worker, &it.publisher, &ready, &it.clock);
        let not_final = "the newest block may be reorganised away";
        assert_eq!(
            outcome.await.unwrap(),
            publish::Outcome::Unsettled,
            "{not_final}"
        );
        it.local.mine(2).await;
        let outcome = publish::step(&it.db.worker, &it.publisher, &ready, &it.clock)
            .await
            .unwrap();
        assert_eq!(outcome, publish::Outcome::Halted);
        let reason = halted(&it).await;
        assert!(
            reason.contains(if ahead {
                "expects batch 2"
            } else {
                "takes batches from"
            }),
            "{reason}"
        );
        assert_eq!(it.states().await, ["reserved"]);
    }
}

#[tokio::test]
async fn another_root_on_the_chain_is_never_called_final() {
    let it = Anchored::start().await;
    it.seal_batches(1).await;
    it.publish_and_mine().await;
    it.db.execute("update batch set root = sha256(root)").await;
    it.local.mine(2).await;
    assert_eq!(
        it.watch().await,
        watch::Outcome {
            halted: true,
            ..NOTHING
        }
    );
    assert_eq!(it.states().await, ["mined"]);
}

#[tokio::test]
async fn a_seal_that_is_cut_off_is_done_by_the_next_step() {
    let it = Anchored::start().await;
    let merchant = it.db.merchant("live").await;
    it.db.record(merchant, 5).await;
    let mut block = it.db.owner.begin().await.unwrap();
    sqlx::query("select from seal_head for update")
        .execute(&mut *block)
        .await
        .unwrap();
    let pool = it.db.worker.clone();
    let cut_off =
        tokio::spawn(
            async move { seal::step(&pool, &counterfoil::clock::Entropy::system(), 10).await },
        );
    let cut = "select count(*) from (select pg_terminate_backend(pid) from pg_stat_activity
               where datname = current_database() and wait_event_type = 'Lock') cut";
    while it.db.count(cut).await == 0 {}
    assert!(matches!(
        cut_off.await.unwrap(),
        Err(seal::SealError::Database(_))
    ));
    block.rollback().await.unwrap();
    assert_eq!(
        it.db
            .count("select count(*) from sale where batch_id is not null")
            .await,
        0
    );
    assert!(matches!(
        seal_up_to(&it.db.worker, 10).await,
        seal::Outcome::Sealed {
            batch: 1,
            leaves: 5,
            ..
        }
    ));
}
