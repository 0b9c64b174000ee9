//! What anchoring may cost: the budget of a day, and patience while gas is dear.

use std::sync::Arc;
use std::time::Duration;

use counterfoil::anchor::fees::GWEI;
use counterfoil::anchor::{costs, publish, replace};
use counterfoil::chain::Chain;
use serde_json::{Value, json};

use crate::anchored::Anchored;
use crate::anchored_wire::{Call, Proxy};

#[tokio::test]
async fn the_budget_of_a_day_stops_what_it_has_no_room_for() {
    let mut it = Anchored::start().await;
    it.seal_batches(1).await;
    it.publisher.policy.budget_a_day = Some(1);
    assert_eq!(it.publish().await, publish::Outcome::OverBudget);
    it.seal_batches(1).await;
    assert_eq!(it.publish().await, publish::Outcome::OverBudget);
    assert_eq!(it.states().await, [""; 0], "what waits goes together later");

    it.publisher.policy.budget_a_day = None;
    assert!(matches!(
        it.publish().await,
        publish::Outcome::Signed {
            first_batch: 1,
            last_batch: 2,
            ..
        }
    ));
    it.broadcast().await;
    // a replacement counts in place of what it replaces, and may still be too much
    it.publisher.policy.budget_a_day = Some(1);
    it.clock.advance(it.publisher.policy.replace_after);
    assert_eq!(it.replace().await, replace::Outcome::OverBudget);
    it.local.mine(1).await;
    assert_eq!(it.watch().await.mined, 1);

    // what was paid is known now, and leaves room for one more, once a day
    let paid: String =
        sqlx::query_scalar("select (gas_used * gas_price)::text from anchor_attempt")
            .fetch_one(&it.db.owner)
            .await
            .expect("the database");
    let paid: u128 = paid.parse().expect("a number");
    it.publisher.policy.budget_a_day = Some(paid);
    it.seal_batches(1).await;
    assert_eq!(it.publish().await, publish::Outcome::OverBudget);
    it.publisher.policy.budget_a_day = Some(paid + 10_000_000 * GWEI);
    assert!(matches!(
        it.publish().await,
        publish::Outcome::Signed { first_batch: 3, .. }
    ));
}

#[tokio::test]
async fn dear_gas_is_waited_out_and_what_piles_up_goes_in_one_call() {
    let mut it = Anchored::start().await;
    it.publisher.policy.patience = Duration::from_secs(3600);
    it.local.mine(5).await;
    it.local
        .call("anvil_setNextBlockBaseFeePerGas", json!(["0xba43b7400"]))
        .await;
    it.local.mine(1).await;
    for _ in 0..3 {
        it.seal_batches(1).await;
        assert_eq!(it.publish().await, publish::Outcome::WaitsForCheaper);
    }
    assert_eq!(it.states().await, [""; 0]);
    // the oldest sale has waited long enough for any price
    it.publisher.policy.patience = Duration::ZERO;
    assert!(matches!(
        it.publish().await,
        publish::Outcome::Signed {
            first_batch: 1,
            last_batch: 3,
            ..
        }
    ));
}

/// What waited yesterday and is mined today is spent today.
#[tokio::test]
async fn what_was_signed_yesterday_counts_on_the_day_it_is_mined() {
    let mut it = Anchored::start().await;
    it.seal_batches(1).await;
    it.publish().await;
    it.broadcast().await;
    it.clock.advance(Duration::from_secs(25 * 3600));
    it.local.mine(3).await;
    assert_eq!(it.watch().await.finalized, 1);
    it.seal_batches(1).await;
    let cost = "select (65250 * max_fee_per_gas)::bigint from anchor_attempt";
    it.publisher.policy.budget_a_day = Some(it.db.count(cost).await as u128);
    assert_eq!(it.publish().await, publish::Outcome::OverBudget);
    it.clock.advance(Duration::from_secs(25 * 3600));
    assert!(matches!(
        it.publish().await,
        publish::Outcome::Signed { first_batch: 2, .. }
    ));
}

/// A chain may ask for more gas than the call itself takes, and an RPC for more than any block has.
#[tokio::test]
async fn the_gas_that_is_signed_for_is_within_the_budget_and_any_block() {
    let mut it = Anchored::start().await;
    let wire = Proxy::before(&it.local.url).await;
    it.publisher.chain = Chain::new(&wire.url).expect("the chain");
    it.seal_batches(1).await;
    let ready = it.check().await.expect("a chain that passes");
    let estimate = |gas: &'static str| {
        let lie = move |call: &Call, result: &mut Value| {
            if call.method == "eth_estimateGas" {
                *result = json!(gas);
            }
        };
        wire.set(|wire| wire.rewrite = Some(std::sync::Arc::new(lie)));
    };
    for gas in ["0x2000000", "0xffffffffffffffff"] {
        estimate(gas);
        let signed = publish::step(&it.db.worker, &it.publisher, &ready, &it.clock).await;
        assert!(
            matches!(signed, Err(publish::PublishError::Gas { .. })),
            "{signed:?}"
        );
    }
    it.publisher.policy.budget_a_day = Some(1_000_000 * GWEI);
    estimate("0x400000");
    assert_eq!(it.publish().await, publish::Outcome::OverBudget);
    assert_eq!(it.states().await, ["reserved"], "nothing is signed");
    wire.set(|wire| wire.rewrite = None);
    assert!(matches!(
        it.publish().await,
        publish::Outcome::Signed { .. }
    ));
}

#[tokio::test]
async fn what_a_rollup_asks_for_beside_the_gas_is_paid_from_the_budget() {
    let mut it = Anchored::start().await;
    let wire = Proxy::before(&it.local.url).await;
    wire.set(|wire| {
        wire.rewrite = Some(Arc::new(|call, result| {
            if call.method == "eth_getTransactionReceipt" && result.is_object() {
                result["l1Fee"] = json!("0x38d7ea4c68000");
            }
        }));
    });
    it.publisher.chain = Chain::new(&wire.url).unwrap();
    it.seal_batches(1).await;
    it.publish_and_mine().await;
    let costs = costs::step(&it.db.worker, &it.publisher, &it.clock).await;
    let (fee, wei) = (1e15, costs.unwrap().wei_an_anchor.unwrap());
    assert!(wei > fee && wei < 1.2 * fee, "{wei}");
    it.seal_batches(1).await;
    it.publisher.policy.budget_a_day = Some(1_000_000 * GWEI);
    assert_eq!(it.publish().await, publish::Outcome::OverBudget);
    it.publisher.policy.budget_a_day = Some(2_000_000 * GWEI);
    assert!(matches!(
        it.publish().await,
        publish::Outcome::Signed { .. }
    ));
}
