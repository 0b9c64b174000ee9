//! What anchoring may cost: the budget of a day, and patience while gas is dear.

use std::time::Duration;

use counterfoil::anchor::fees::GWEI;
use counterfoil::anchor::{publish, replace};
use serde_json::json;

use crate::anchored::Anchored;

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
