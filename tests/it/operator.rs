//! What an operator asks of the workers: the command lines of docs/OPERATIONS.md.

use std::time::Duration;

use counterfoil::anchor::{handover, publish};
use counterfoil::clock::Entropy;
use counterfoil::worker::{self, Worker};
use secrecy::ExposeSecret;
use tokio_util::sync::CancellationToken;

use crate::anchored::Anchored;
use crate::cli::program::{Ended, program, run};
use crate::harness::eventually;

/// Runs a command line on the installation's database.
async fn command(it: &Anchored, line: &str) -> Ended {
    let words: Vec<&str> = line.split(' ').collect();
    let mut command = program(&words);
    run(command.env("DATABASE_URL", it.db.db.url.expose_secret())).await
}

#[tokio::test]
async fn a_paused_chain_signs_nothing_new_until_it_is_resumed() {
    let it = Anchored::start().await;
    let none = command(&it, "pause").await.expect(1);
    assert!(none.stderr.contains("nothing was anchored"), "{none:?}");
    it.seal_batches(1).await;
    it.publish_and_mine().await;
    it.seal_batches(1).await;

    let paused = command(&it, "pause --chain 31337").await.expect(0);
    assert!(
        paused.stdout.contains("chain 31337 is paused: "),
        "{paused:?}"
    );
    let again = command(&it, "pause").await.expect(0);
    assert!(again.stdout.contains("is paused since 20"), "{again:?}");
    assert_eq!(it.publish().await, publish::Outcome::Paused);
    // what is signed is followed to its end
    it.local.mine(3).await;
    assert_eq!(it.watch().await.finalized, 1);

    command(&it, "pause --chain 1").await.expect(1);
    command(&it, "resume --chain 31337").await.expect(0);
    let again = command(&it, "resume").await.expect(0);
    assert!(again.stdout.contains("was not paused"), "{again:?}");
    it.publish_and_mine().await;
}

#[tokio::test]
async fn a_chain_that_has_stopped_goes_on_once_somebody_has_said_why() {
    let it = Anchored::start().await;
    it.check().await.unwrap();
    it.db
        .execute("update chain_head set halted = 'nonce 7 is used'")
        .await;
    let shown = command(&it, "resume --chain 31337").await.expect(1);
    assert!(
        shown.stdout.contains("has stopped: nonce 7 is used"),
        "{shown:?}"
    );
    command(&it, "resume --chain 31337 --halted no")
        .await
        .expect(1);
    command(&it, "resume --halted yes").await.expect(64);
    let halted = "select count(*) from chain_head where halted is not null";
    assert_eq!(it.db.count(halted).await, 1);
    command(&it, "resume --chain 31337 --halted yes")
        .await
        .expect(0);
    assert_eq!(it.db.count(halted).await, 0);
    command(&it, "resume --chain 31337").await.expect(0);
}

#[tokio::test]
async fn what_waits_is_sealed_when_it_is_asked_for() {
    let it = Anchored::start().await;
    let shutdown = CancellationToken::new();
    let worker = Worker {
        pool: it.db.worker.clone(),
        clock: it.clock.clone(),
        entropy: Entropy::system(),
        trust: it.db.trust.clone(),
        batch_interval: Duration::from_secs(3600),
        seal_at: 1000,
        batch_leaves: 1000,
        publishers: vec![it.publisher.clone()],
        mailer: None,
        sender: crate::harness::sender(counterfoil::webhooks::address::Reach::Anywhere, &it.clock),
    };
    let running = tokio::spawn(worker::run(worker, shutdown.clone()));
    let none = command(&it, "seal-now").await.expect(0);
    assert!(none.stdout.contains("no sale waits"), "{none:?}");
    // the worker's first look comes before the first sale, and the next an hour later
    eventually("the worker runs", || async {
        (it.db.count("select count(*) from chain_head").await > 0).then_some(())
    })
    .await;
    let merchant = it.db.merchant("live").await;
    for batch in 1..=2 {
        it.db.record(merchant, 3).await;
        command(&it, "seal-now").await.expect(0);
        eventually("it is sealed", || async {
            (it.db.count("select count(*) from batch").await >= batch).then_some(())
        })
        .await;
    }
    shutdown.cancel();
    running.await.unwrap();
    let asked = "select count(*) from seal_head where seal_requested_at is not null";
    assert_eq!(it.db.count(asked).await, 0);
}

#[tokio::test]
async fn a_waiting_transaction_can_be_hurried() {
    let it = Anchored::start().await;
    it.check().await.unwrap();
    let none = command(&it, "bump").await.expect(0);
    assert!(none.stdout.contains("no transaction waits"), "{none:?}");
    it.seal_batches(1).await;
    it.publish().await;
    it.broadcast().await;
    let bumped = command(&it, "bump --chain 31337").await.expect(0);
    assert!(bumped.stdout.contains("replaces the waiting"), "{bumped:?}");
    let asked = "select count(*) from chain_head where bump_requested_at is not null";
    assert_eq!(it.db.count(asked).await, 1);
}

#[tokio::test]
async fn a_pause_during_a_signature_keeps_what_was_signed_from_being_kept() {
    let it = Anchored::start().await;
    it.seal_batches(1).await;
    it.publish().await;
    // as it is when the process died before it signed
    it.db.execute("delete from anchor_attempt").await;
    it.db.execute("update anchor set state = 'reserved'").await;
    let mut pause = it.db.owner.begin().await.expect("a transaction");
    let now = it.clock.now();
    let is_new = handover::pause(&mut pause, 31337, now).await;
    assert!(is_new.expect("the pause"));
    let waits = "select count(*) from pg_stat_activity
                 where datname = current_database() and wait_event_type = 'Lock'";
    let paused = async {
        eventually("the publisher has signed", || async {
            (it.db.count(waits).await > 0).then_some(())
        })
        .await;
        pause.commit().await.expect("the pause");
    };
    let (outcome, ()) = tokio::join!(it.publish(), paused);
    assert_eq!(outcome, publish::Outcome::Paused);
    // nothing is left reserved: what waits goes together once it is resumed, with the same nonce
    assert_eq!(it.states().await, [""; 0]);
    it.seal_batches(1).await;
    command(&it, "resume --chain 31337").await.expect(0);
    it.publish_and_mine().await;
    let together =
        "select count(*) from anchor where nonce = 0 and first_batch = 1 and last_batch = 2";
    assert_eq!(it.db.count(together).await, 1);
}
