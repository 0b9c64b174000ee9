//! Transactions that wait too long: replaced at higher fees, dropped and sent again, bumped, paused.

use std::time::Duration;

use counterfoil::anchor::fees::{GWEI, Policy};
use counterfoil::anchor::{publish, replace, watch};
use counterfoil_proofs::{Hash, hex};
use serde_json::json;

use crate::anchored::Anchored;

const ATTEMPTS: &str = "select count(*) from anchor_attempt";
const MINED: &str =
    "select coalesce(max(attempt), 0)::bigint from anchor_attempt where block_hash is not null";
const BUMP: &str = "update chain_head set bump_requested_at = now()";
const BUMPS: &str = "select count(*) from chain_head where bump_requested_at is not null";

/// A transaction that waits for a block.
async fn waiting() -> (Anchored, Hash) {
    let it = Anchored::start().await;
    it.seal_batches(1).await;
    let publish::Outcome::Signed { tx, .. } = it.publish().await else {
        panic!("not signed")
    };
    assert_eq!(it.broadcast().await, 1);
    (it, tx)
}

async fn set_base_fee(it: &Anchored, wei: u128) {
    it.local
        .call(
            "anvil_setNextBlockBaseFeePerGas",
            json!([format!("0x{wei:x}")]),
        )
        .await;
    it.local.mine(1).await;
}

fn is_replaced(outcome: replace::Outcome) -> Option<Hash> {
    match outcome {
        replace::Outcome::Replaced { nonce: 0, tx } => Some(tx),
        _ => None,
    }
}

/// Mines until all is final: one nonce, one anchor, whatever was sent.
async fn finish(it: &Anchored) {
    it.local.mine(3).await;
    it.watch().await;
    assert_eq!(it.states().await, ["finalized"]);
    assert_eq!(it.nonces_used().await, 1);
    assert_eq!(it.publish().await, publish::Outcome::Nothing);
}

#[tokio::test]
async fn a_transaction_that_a_spike_of_fees_left_behind_is_replaced_and_mined() {
    let (it, first) = waiting().await;
    set_base_fee(&it, 50 * GWEI).await;
    assert_eq!(
        it.watch().await,
        watch::Outcome::default(),
        "it is too cheap for the block"
    );
    assert_eq!(it.replace().await, replace::Outcome::NotDue);
    it.clock.advance(Policy::default().replace_after);
    let second = is_replaced(it.replace().await).expect("a replacement");
    assert_ne!(first, second);
    assert!(
        !it.publisher.chain.knows(second).await.unwrap(),
        "committed before it is sent"
    );
    assert_eq!(
        it.replace().await,
        replace::Outcome::NotDue,
        "its own time begins"
    );
    assert_eq!(it.broadcast().await, 1);
    let raised = "select count(*) from anchor_attempt a join anchor_attempt b using (anchor_id)
                  where a.attempt = 1 and b.attempt = 2 and a.gas_limit = b.gas_limit
                    and b.max_fee_per_gas >= a.max_fee_per_gas * 1.1
                    and b.max_priority_fee_per_gas >= a.max_priority_fee_per_gas * 1.1";
    assert_eq!(it.db.count(raised).await, 1);
    finish(&it).await;
    assert_eq!(it.db.count(MINED).await, 2);
}

#[tokio::test]
async fn the_old_transaction_is_mined_though_it_was_replaced() {
    let (it, first) = waiting().await;
    it.clock.advance(Policy::default().replace_after);
    let second = is_replaced(it.replace().await).expect("a replacement");
    // whoever makes the block never heard of the second
    it.local.mine(1).await;
    assert_eq!(it.watch().await.mined, 1);
    assert_eq!(it.db.count(MINED).await, 1);
    assert_eq!(it.broadcast().await, 0, "the nonce is used");
    assert_eq!(it.replace().await, replace::Outcome::Nothing);
    assert!(it.publisher.chain.knows(first).await.unwrap());
    assert!(!it.publisher.chain.knows(second).await.unwrap());
    finish(&it).await;
    assert_eq!(it.db.count(ATTEMPTS).await, 2);
}

#[tokio::test]
async fn what_the_pool_dropped_is_sent_again_raised_or_not() {
    for policy in [
        Policy::default(),
        Policy {
            max_fee_per_gas: 3 * GWEI,
            ..Policy::default()
        },
        Policy {
            replace: false,
            ..Policy::default()
        },
    ] {
        let (mut it, mut tx) = waiting().await;
        it.publisher.policy = policy.clone();
        it.clock.advance(Policy::default().replace_after);
        let expected = if !policy.replace {
            replace::Outcome::Off
        } else {
            replace::Outcome::CannotBeRaised
        };
        match it.replace().await {
            replace::Outcome::Replaced { tx: later, .. } => {
                assert_eq!(policy, Policy::default());
                it.broadcast().await;
                tx = later;
            }
            other => assert_eq!(other, expected),
        }
        for _ in 0..2 {
            it.local
                .call("anvil_dropTransaction", json!([hex::encode(&tx)]))
                .await;
            assert_eq!(it.broadcast().await, 1);
            assert!(it.publisher.chain.knows(tx).await.unwrap());
        }
        finish(&it).await;
    }
}

#[tokio::test]
async fn nothing_is_offered_above_the_ceiling() {
    let mut it = Anchored::start().await;
    it.publisher.policy.max_fee_per_gas = 10 * GWEI;
    it.seal_batches(1).await;
    set_base_fee(&it, 50 * GWEI).await;
    assert_eq!(it.publish().await, publish::Outcome::TooDear);
    assert_eq!(it.states().await, [""; 0], "what waits goes together later");
    it.seal_batches(1).await;
    set_base_fee(&it, 8 * GWEI).await;
    assert!(matches!(
        it.publish().await,
        publish::Outcome::Signed {
            first_batch: 1,
            last_batch: 2,
            ..
        }
    ));
    let cap = "select max(max_fee_per_gas)::bigint from anchor_attempt";
    assert_eq!(it.db.count(cap).await as u128, 10 * GWEI);
    it.broadcast().await;
    it.clock.advance(Duration::from_secs(100_000));
    assert_eq!(it.replace().await, replace::Outcome::CannotBeRaised);
    assert_eq!(it.db.count(ATTEMPTS).await, 1);
    finish(&it).await;
}

#[tokio::test]
async fn an_operators_request_replaces_at_once() {
    let (it, _) = waiting().await;
    assert_eq!(it.replace().await, replace::Outcome::NotDue);
    it.db.execute(BUMP).await;
    is_replaced(it.replace().await).expect("a replacement");
    assert_eq!(it.db.count(BUMPS).await, 0, "answered");
    assert_eq!(it.replace().await, replace::Outcome::NotDue, "once");
    it.broadcast().await;
    finish(&it).await;
    // with nothing that waits it means nothing, now and later
    it.db.execute(BUMP).await;
    assert_eq!(it.replace().await, replace::Outcome::Nothing);
    assert_eq!(it.db.count(BUMPS).await, 0);
}

#[tokio::test]
async fn while_paused_nothing_new_is_signed_and_what_is_signed_goes_on() {
    let (it, _) = waiting().await;
    it.db
        .execute("update chain_head set paused_at = now()")
        .await;
    it.seal_batches(1).await;
    assert_eq!(it.publish().await, publish::Outcome::Paused);
    it.clock.advance(Policy::default().replace_after);
    is_replaced(it.replace().await).expect("a replacement");
    assert_eq!(it.broadcast().await, 1);
    it.local.mine(3).await;
    assert_eq!(it.watch().await.finalized, 1);
    assert_eq!(it.publish().await, publish::Outcome::Paused);
    assert_eq!(it.states().await, ["finalized"]);
    it.db
        .execute("update chain_head set paused_at = null")
        .await;
    assert!(matches!(
        it.publish().await,
        publish::Outcome::Signed { first_batch: 2, .. }
    ));
}

#[tokio::test]
async fn of_several_in_flight_only_the_lowest_is_raised() {
    let it = Anchored::start().await;
    for _ in 0..2 {
        it.seal_batches(1).await;
        it.publish_and_mine().await;
    }
    it.local.call("anvil_reorg", json!([2, []])).await;
    assert_eq!(it.watch().await.reorganised, 2);
    it.seal_batches(1).await;
    it.clock.advance(Duration::from_secs(100_000));
    is_replaced(it.replace().await).expect("a replacement of the lowest");
    assert_eq!(it.replace().await, replace::Outcome::NotDue);
    assert_eq!(
        it.db
            .count("select max(anchor_id) from anchor_attempt where attempt = 2")
            .await,
        1
    );
    assert_eq!(it.publish().await, publish::Outcome::InFlight);
    it.broadcast().await;
    it.local.mine(1).await;
    assert_eq!(it.watch().await.mined, 2);
    assert!(matches!(
        it.publish().await,
        publish::Outcome::Signed { first_batch: 3, .. }
    ));
    it.broadcast().await;
    it.local.mine(3).await;
    it.watch().await;
    assert_eq!(it.states().await, ["finalized"; 3]);
    assert_eq!(it.nonces_used().await, 3);
}

#[tokio::test]
async fn no_offer_rises_while_the_chain_makes_no_blocks() {
    let it = Anchored::start().await;
    it.seal_batches(1).await;
    it.check().await.unwrap();
    // later than the chain's newest block
    it.clock.advance(Duration::from_secs(200_000_000));
    assert!(matches!(
        it.publish().await,
        publish::Outcome::Signed { .. }
    ));
    it.broadcast().await;
    for _ in 0..3 {
        it.clock.advance(Policy::default().replace_after);
        assert_eq!(it.replace().await, replace::Outcome::StandsStill);
    }
    it.db.execute(BUMP).await;
    assert!(is_replaced(it.replace().await).is_some(), "asked for");
    it.clock.advance(Policy::default().replace_after);
    assert_eq!(it.replace().await, replace::Outcome::StandsStill);
    let now = counterfoil::clock::unix_ms(it.clock.now()) / 1000;
    it.local
        .call("evm_setNextBlockTimestamp", json!([now]))
        .await;
    // a block that has no room for it
    set_base_fee(&it, 50 * GWEI).await;
    assert!(is_replaced(it.replace().await).is_some());
    it.broadcast().await;
    finish(&it).await;
}
