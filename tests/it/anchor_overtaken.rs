//! A nonce that is used for good by something else than our anchor: the registry decides what becomes of
//! the range.

use counterfoil::anchor::{publish, watch};
use counterfoil::chain::anchor_call;
use serde_json::json;

use crate::anchor_faults::{halted, send_as, set_publisher};
use crate::anchored::Anchored;

const OVERTAKEN: watch::Outcome = watch::Outcome {
    mined: 0,
    reorganised: 0,
    finalized: 0,
    overtaken: 1,
    halted: false,
};

/// A transaction of our account that is not ours takes the next nonce, with a call of the registry.
async fn use_nonce(it: &Anchored, call: &[u8]) {
    let account = it.publisher.signer.account();
    let to = if call.is_empty() {
        account
    } else {
        it.registry.registry.address
    };
    send_as(it, account, to, call).await;
}

async fn root(it: &Anchored, batch: i64) -> [u8; 32] {
    let root: Vec<u8> = sqlx::query_scalar("select root from batch where batch_id = $1")
        .bind(batch)
        .fetch_one(&it.db.owner)
        .await
        .expect("the database");
    root.try_into().expect("32 bytes")
}

/// Publishes all that waits, until it is final.
async fn finish(it: &Anchored, states: &[&str], nonces: u64) {
    for _ in 0..4 {
        it.publish().await;
        it.broadcast().await;
        it.local.mine(3).await;
        it.watch().await;
    }
    assert_eq!(it.publish().await, publish::Outcome::Nothing);
    assert_eq!(it.states().await, states);
    assert_eq!(it.nonces_used().await, nonces);
    let open = "select count(*) from batch_state where state <> 'finalized'";
    assert_eq!(it.db.count(open).await, 0);
    let (outcome, findings) = crate::audit::audit_all(&it.db).await;
    assert!(findings.is_empty(), "{outcome:?} {findings:?}");
}

#[tokio::test]
async fn a_final_revert_frees_the_range_and_not_before() {
    let it = Anchored::start().await;
    it.seal_batches(1).await;
    it.publish().await;
    it.broadcast().await;
    // pays more, so it comes first in the same block
    set_publisher(&it, [7; 20]).await;
    it.local.mine(1).await;
    assert_eq!(it.watch().await, watch::Outcome::default());
    it.local.mine(2).await;
    assert_eq!(it.watch().await, OVERTAKEN);
    assert_eq!(it.states().await, ["reverted"]);
    // and why it did is found before it is signed for again
    let ready = "update chain_head set halted = null";
    it.db.execute(ready).await;
    assert!(it.check().await.is_err());
    set_publisher(&it, it.publisher.signer.account()).await;
    it.local.mine(1).await;
    finish(&it, &["reverted", "finalized"], 2).await;
}

#[tokio::test]
async fn a_range_whose_nonce_somebody_used_gets_a_new_one() {
    let it = Anchored::start().await;
    it.seal_batches(1).await;
    it.publish().await;
    use_nonce(&it, &[]).await;
    it.local.mine(1).await;
    assert_eq!(
        it.watch().await,
        watch::Outcome::default(),
        "it may be reorganised away"
    );
    assert_eq!(it.publish().await, publish::Outcome::InFlight);
    it.local.mine(2).await;
    assert_eq!(it.watch().await, OVERTAKEN);
    it.seal_batches(1).await;
    assert!(matches!(
        it.publish().await,
        publish::Outcome::Signed {
            first_batch: 1,
            last_batch: 2,
            ..
        }
    ));
    finish(&it, &["reverted", "finalized"], 2).await;
}

#[tokio::test]
async fn our_very_root_by_somebody_else_is_done() {
    let it = Anchored::start().await;
    it.seal_batches(1).await;
    it.publish().await;
    use_nonce(&it, &anchor_call(1, &[root(&it, 1).await])).await;
    it.local.mine(1).await;
    assert_eq!(it.watch().await, watch::Outcome::default());
    it.local.mine(2).await;
    assert_eq!(it.watch().await.finalized, 1);
    let without = "select count(*) from batch_anchor where state = 'finalized' and tx_hash is null";
    assert_eq!(
        it.db.count(without).await,
        1,
        "no transaction of ours is said to have done it"
    );
    it.seal_batches(1).await;
    finish(&it, &["finalized", "finalized"], 2).await;
}

#[tokio::test]
async fn another_root_or_a_part_of_ours_stops_the_chain() {
    for part in [false, true] {
        let it = Anchored::start().await;
        it.seal_batches(2).await;
        let ready = it.check().await.unwrap();
        it.publish().await;
        let theirs = if part { root(&it, 1).await } else { [9; 32] };
        use_nonce(&it, &anchor_call(1, &[theirs])).await;
        it.local.mine(3).await;
        assert!(it.watch().await.halted);
        assert!(halted(&it).await.contains("nonce 0"));
        let published = publish::step(&it.db.worker, &it.publisher, &ready, &it.clock);
        assert_eq!(published.await.unwrap(), publish::Outcome::Halted);
        assert_eq!(it.broadcast().await, 0);
        assert_eq!(it.states().await, ["submitted"]);
        it.seal_batches(1).await;
    }
}

/// Anchors that follow the one that was overtaken revert, and are given out again with it.
#[tokio::test]
async fn what_follows_an_overtaken_anchor_is_given_out_again_in_order() {
    let it = Anchored::start().await;
    for _ in 0..2 {
        it.seal_batches(1).await;
        it.publish_and_mine().await;
    }
    it.local.call("anvil_reorg", json!([2, []])).await;
    assert_eq!(it.watch().await.reorganised, 2);
    use_nonce(&it, &[]).await;
    it.local.mine(1).await;
    // the second is sent, though it must revert: its nonce cannot be left out
    assert!(
        it.try_broadcast().await.is_err(),
        "the first has no nonce any more"
    );
    it.local.mine(2).await;
    assert_eq!(it.watch().await, OVERTAKEN);
    it.seal_batches(1).await;
    assert_eq!(
        it.publish().await,
        publish::Outcome::InFlight,
        "the second waits still"
    );
    assert_eq!(it.broadcast().await, 1);
    it.local.mine(3).await;
    assert_eq!(it.watch().await, OVERTAKEN);
    assert!(matches!(
        it.publish().await,
        publish::Outcome::Signed {
            first_batch: 1,
            last_batch: 3,
            ..
        }
    ));
    finish(&it, &["reverted", "reverted", "finalized"], 3).await;
}

/// The dead end: a free range behind a higher one that is reserved and not signed.
#[tokio::test]
async fn a_reservation_behind_a_free_range_is_taken_back() {
    let it = Anchored::start().await;
    it.seal_batches(1).await;
    it.publish_and_mine().await;
    it.seal_batches(1).await;
    // reserving, and then a crash
    it.check().await.unwrap();
    it.db.execute("insert into anchor (chain_id, registry, account, nonce, first_batch, last_batch, state, reserved_at)
                   select a.chain_id, a.registry, a.account, 1, 2, 2, 'reserved', a.reserved_at from anchor a").await;
    it.db
        .execute("update chain_head set next_nonce = 2, next_batch = 3")
        .await;
    it.local.call("anvil_reorg", json!([1, []])).await;
    assert_eq!(it.watch().await.reorganised, 1);
    use_nonce(&it, &[]).await;
    it.local.mine(3).await;
    assert_eq!(it.watch().await, OVERTAKEN);
    assert_eq!(it.states().await, ["reverted"], "it is given out anew");
    let head = "select next_nonce * 10 + next_batch from chain_head";
    assert_eq!(it.db.count(head).await, 11);
    finish(&it, &["reverted", "finalized"], 2).await;
}

/// The dead end: in a block that was reorganised away it had succeeded, and in the one that stays it reverts.
#[tokio::test]
async fn a_mined_anchor_that_reverts_in_another_block_is_given_out_again() {
    let it = Anchored::start().await;
    it.seal_batches(1).await;
    it.publish_and_mine().await;
    let raw: Vec<u8> = sqlx::query_scalar("select raw from anchor_attempt")
        .fetch_one(&it.db.owner)
        .await
        .expect("the database");
    it.local.call("anvil_reorg", json!([1, []])).await;
    set_publisher(&it, [7; 20]).await;
    it.local.mine(1).await;
    // some pool had it still, and it is never seen to be in no block
    it.publisher.chain.send_raw(&raw).await.expect("the chain");
    it.local.mine(1).await;
    assert_eq!(it.watch().await, watch::Outcome::default());
    it.local.mine(2).await;
    assert_eq!(it.watch().await, OVERTAKEN);
    assert_eq!(it.states().await, ["reverted"]);
    set_publisher(&it, it.publisher.signer.account()).await;
    it.local.mine(1).await;
    finish(&it, &["reverted", "finalized"], 2).await;
}
