//! From a sealed batch to a final anchor.

use counterfoil::anchor::gauges::ChainGauges;
use counterfoil::anchor::{costs, gauges, publish, watch};
use counterfoil::chain::At;
use counterfoil::retention::purge;
use counterfoil_proofs::Hash;

use crate::anchored::Anchored;

const NOTHING: watch::Outcome = watch::Outcome {
    mined: 0,
    reorganised: 0,
    finalized: 0,
    overtaken: 0,
    halted: false,
};

#[tokio::test]
async fn a_batch_is_signed_sent_mined_and_finalized_once() {
    let it = Anchored::start().await;
    assert_eq!(it.publish().await, publish::Outcome::Nothing);
    it.seal_batches(1).await;
    assert!(matches!(
        it.publish().await,
        publish::Outcome::Signed {
            first_batch: 1,
            last_batch: 1,
            ..
        }
    ));
    assert_eq!(it.states().await, ["submitted"]);
    assert_eq!(it.publish().await, publish::Outcome::InFlight);
    assert_eq!(it.broadcast().await, 1);
    assert_eq!(it.broadcast().await, 0, "the chain has it already");
    assert_eq!(it.watch().await, NOTHING);

    it.local.mine(1).await;
    assert_eq!(
        it.watch().await,
        watch::Outcome {
            mined: 1,
            ..NOTHING
        }
    );
    assert_eq!(it.watch().await, NOTHING, "mined, and not yet final");
    assert_eq!(it.db.text("select state from batch_state").await, "mined");

    it.local.mine(2).await;
    let (first, second) = tokio::join!(it.watch(), it.watch());
    assert_eq!(
        first.finalized + second.finalized,
        1,
        "by one of two watchers"
    );
    assert_eq!(it.watch().await, NOTHING);
    assert_eq!(
        it.db.text("select state from batch_state").await,
        "finalized"
    );
    assert_eq!(it.nonces_used().await, 1);

    let stored: Vec<u8> = sqlx::query_scalar("select root from batch")
        .fetch_one(&it.db.owner)
        .await
        .unwrap();
    let registry = it.registry.registry.address;
    let root: Option<Hash> = it
        .publisher
        .chain
        .root_of(registry, 1, At::Latest)
        .await
        .unwrap();
    assert_eq!(root.unwrap().as_slice(), stored);
    let mined =
        "select count(*) from anchor_attempt where block_number is not null and gas_used > 0";
    assert_eq!(it.db.count(mined).await, 1);
}

#[tokio::test]
async fn one_call_takes_256_batches_and_the_next_the_rest() {
    let it = Anchored::start().await;
    it.seal_batches(260).await;
    assert!(matches!(
        it.publish().await,
        publish::Outcome::Signed {
            first_batch: 1,
            last_batch: 256,
            ..
        }
    ));
    assert_eq!(it.broadcast().await, 1);
    it.local.mine(1).await;
    assert_eq!(it.watch().await.mined, 1);
    assert!(matches!(
        it.publish().await,
        publish::Outcome::Signed {
            first_batch: 257,
            last_batch: 260,
            ..
        }
    ));
    assert_eq!(it.broadcast().await, 1);
    it.local.mine(3).await;
    assert_eq!(it.watch().await.finalized, 2);
    let left = "select count(*) from batch_state where state <> 'finalized'";
    assert_eq!(it.db.count(left).await, 0);
    let next = it
        .publisher
        .chain
        .next_batch(it.registry.registry.address, At::Latest)
        .await
        .unwrap();
    assert_eq!(next, 261);
}

#[tokio::test]
async fn of_two_publishers_one_reserves_and_signs() {
    let it = Anchored::start().await;
    it.check().await.unwrap();
    for batch in 1..=5 {
        it.seal_batches(1).await;
        let (first, second) = tokio::join!(it.publish(), it.publish());
        let signed =
            [first, second].map(|outcome| matches!(outcome, publish::Outcome::Signed { .. }));
        assert_eq!(
            signed.iter().filter(|signed| **signed).count(),
            1,
            "{first:?} {second:?}"
        );
        // the second may hear that the transaction is there already, which decides nothing
        let (first, second) = tokio::join!(it.try_broadcast(), it.try_broadcast());
        assert!(first.is_ok() || second.is_ok());
        it.local.mine(1).await;
        it.watch().await;
        assert_eq!(it.nonces_used().await, batch);
        assert_eq!(
            it.db.count("select count(*) from anchor_attempt").await as u64,
            batch
        );
    }
    it.local.mine(2).await;
    it.watch().await;
    assert_eq!(it.states().await, ["finalized"; 5]);
}

#[tokio::test]
async fn the_gauges_say_how_old_the_oldest_unanchored_sale_is() {
    let it = Anchored::start().await;
    let read = || async { gauges::step(&it.db.worker).await.unwrap() };
    assert_eq!(read().await.oldest_unanchored_ms, 0);
    let merchant = it.db.merchant("live").await;
    it.db.record(merchant, 3).await;
    assert_eq!(read().await.pending, 3);
    it.db
        .execute("update pending_sale set recorded_at = now() - interval '1 hour' where seq = 1")
        .await;
    assert!((3_600_000..3_700_000).contains(&read().await.oldest_unanchored_ms));
    it.seal().await;
    assert_eq!(
        (read().await.pending, read().await.batches),
        (0, [1, 0, 0, 0])
    );
    it.db
        .execute("update batch set oldest_recorded_at = now() - interval '1 hour'")
        .await;
    assert!((3_600_000..3_700_000).contains(&read().await.oldest_unanchored_ms));
    it.publish_and_mine().await;
    assert_eq!(read().await.batches, [0, 0, 1, 0]);
    let chain = read().await.chains[0];
    assert_eq!((chain.sealed, chain.submitted, chain.mined), (0, 0, 1));
    assert!(
        read().await.oldest_unanchored_ms > 3_600_000,
        "mined is not final"
    );
    it.local.mine(2).await;
    it.watch().await;
    let last = read().await;
    assert_eq!((last.oldest_unanchored_ms, last.batches), (0, [0, 0, 0, 1]));
    let chain = ChainGauges {
        chain_id: 31337,
        halted: false,
        paused: false,
        sealed: 0,
        submitted: 0,
        mined: 0,
    };
    assert_eq!(last.chains, [chain]);
    let costs = costs::step(&it.db.worker, &it.publisher, &it.clock)
        .await
        .unwrap();
    let (anchor, sale) = (costs.wei_an_anchor.unwrap(), costs.wei_a_sale.unwrap());
    assert!(
        anchor > sale * 2.9 && anchor < sale * 3.1,
        "three sales: {costs:?}"
    );
    assert!(costs.balance > 0 && costs.days_left.unwrap() > 1.0);
    assert!(costs.seconds_to_finalized >= costs.seconds_to_mined);
}

#[tokio::test]
async fn only_refusals_older_than_a_day_are_purged() {
    let it = Anchored::start().await;
    let merchant = it.db.merchant("live").await;
    it.db.record(merchant, 1).await;
    it.db.execute(
        "insert into idempotency_key (merchant_id, space, key, fingerprint, answer, refusal, created_at)
         select merchant_id, 0, 'old' || n, ''::bytea, 1, '{}'::jsonb, now() - interval '25 hours'
         from merchant, generate_series(1, 1500) n
         union all
         select merchant_id, 0, 'young', ''::bytea, 1, '{}'::jsonb, now() - interval '23 hours' from merchant",
    )
    .await;
    it.db.execute("update idempotency_key set created_at = now() - interval '1 year' where sale_id is not null").await;
    for expected in [1000, 500, 0] {
        assert_eq!(purge::step(&it.db.worker).await.unwrap(), expected);
    }
    assert_eq!(it.db.count("select count(*) from idempotency_key").await, 2);
}
