//! Several workers: a lease keeps them from the same work, and what keeps them right without one.

use std::time::Duration;

use counterfoil::anchor::lease::Lease;
use counterfoil::anchor::{publish, replace};
use counterfoil::clock::Entropy;

use crate::anchored::{Anchored, Ledger};

const RUN_OUT: &str = "update lease set held_until = clock_timestamp() - interval '1 second'";

#[tokio::test]
async fn one_worker_at_a_time_holds_a_lease() {
    let db = Ledger::create().await;
    let new = || Lease::of_chain(1, &Entropy::system());
    let (mut first, mut second) = (new(), new());
    assert!(first.hold(&db.worker).await.unwrap());
    assert!(first.hold(&db.worker).await.unwrap(), "kept");
    assert!(!second.hold(&db.worker).await.unwrap());
    let mut other = Lease::of_chain(2, &Entropy::system());
    assert!(other.hold(&db.worker).await.unwrap(), "of other work");
    let mut sealing = Lease::of_sealing(&Entropy::system());
    assert!(sealing.hold(&db.worker).await.unwrap());

    first.release(&db.worker).await.unwrap();
    assert!(second.hold(&db.worker).await.unwrap(), "given back");
    assert!(!first.hold(&db.worker).await.unwrap());

    // its holder died, or is stopped
    db.execute(RUN_OUT).await;
    assert!(first.hold(&db.worker).await.unwrap());
    // whoever comes back late does not give away what is another's now
    second.release(&db.worker).await.unwrap();
    let mut third = new();
    assert!(!third.hold(&db.worker).await.unwrap());
    assert_eq!(db.count("select count(*) from lease").await, 3);
}

#[tokio::test]
async fn many_that_come_at_once_are_one_holder() {
    let db = Ledger::create().await;
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let pool = db.worker.clone();
        asking.spawn(async move { Lease::of_sealing(&Entropy::system()).hold(&pool).await });
    }
    let held = asking.join_all().await;
    assert_eq!(
        held.into_iter()
            .filter(|held| *held.as_ref().unwrap())
            .count(),
        1
    );
}

/// Workers that all believe that they hold the lease, as after a pause of minutes.
#[tokio::test]
async fn without_a_lease_each_anchor_is_still_signed_once() {
    let mut it = Anchored::start().await;
    it.publisher.policy.replace_after = Duration::from_secs(60);
    it.seal_batches(2).await;
    it.check().await.unwrap();
    for nonce in 0..2 {
        let signed = tokio::join!(it.publish(), it.publish(), it.publish());
        let signed = [signed.0, signed.1, signed.2];
        let count = |it: &publish::Outcome| matches!(it, publish::Outcome::Signed { .. });
        assert_eq!(
            signed.iter().filter(|it| count(it)).count(),
            1,
            "{signed:?}"
        );
        it.clock.advance(Duration::from_secs(61));
        let replaced = tokio::join!(it.replace(), it.replace(), it.replace());
        let replaced = [replaced.0, replaced.1, replaced.2];
        let count = |it: &replace::Outcome| matches!(it, replace::Outcome::Replaced { .. });
        assert_eq!(
            replaced.iter().filter(|it| count(it)).count(),
            1,
            "{replaced:?}"
        );
        it.broadcast().await;
        it.local.mine(1).await;
        let watched = tokio::join!(it.watch(), it.watch());
        assert_eq!(watched.0.mined + watched.1.mined, 1);
        assert_eq!(it.nonces_used().await, nonce + 1);
        it.seal_batches(1).await;
    }
    assert_eq!(it.db.count("select count(*) from anchor").await, 2);
    assert_eq!(it.db.count("select count(*) from anchor_attempt").await, 4);
}
