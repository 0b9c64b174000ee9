//! The alarm on moves that are not ours.

use counterfoil::anchor::guard::{self, Outcome};
use counterfoil::anchor::handover;
use counterfoil::anchor::publish::{self, PublishError};
use counterfoil::anchor::startup::{Ready, StartupError};
use counterfoil::chain::{Chain, Finality, Profile, Signer, set_publisher_call};
use counterfoil_proofs::hex;
use serde_json::json;

use crate::anchored::Anchored;
use crate::audit::audit_all;

async fn look(it: &Anchored, ready: &Ready) -> Outcome {
    guard::step(&it.db.worker, &it.publisher, ready)
        .await
        .expect("the step")
}

const HALTED: &str = "select count(*) from chain_head where halted is not null";

#[tokio::test]
async fn what_is_ours_raises_no_alarm_at_any_time() {
    let it = Anchored::start().await;
    let ready = it.check().await.unwrap();
    assert_eq!(look(&it, &ready).await, Outcome::Ours);
    it.seal_batches(1).await;
    it.publish().await;
    assert_eq!(look(&it, &ready).await, Outcome::Ours);
    it.broadcast().await;
    it.local.mine(1).await;
    assert_eq!(look(&it, &ready).await, Outcome::Ours);
    it.watch().await;
    it.local.mine(2).await;
    it.watch().await;
    assert_eq!(look(&it, &ready).await, Outcome::Ours);
    assert_eq!(it.db.count(HALTED).await, 0);
}

#[tokio::test]
async fn a_transaction_of_our_account_that_is_not_ours_stops_the_chain() {
    let it = Anchored::start().await;
    let ready = it.check().await.unwrap();
    it.seal_batches(1).await;
    let account = hex::encode(&it.publisher.signer.account());
    let tx = json!({ "from": account, "to": account });
    it.local.call("eth_sendTransaction", json!([tx])).await;
    assert_eq!(look(&it, &ready).await, Outcome::Ours, "it is in no block");
    it.local.mine(1).await;
    let foreign = look(&it, &ready).await;
    assert!(
        matches!(&foreign, Outcome::Foreign(why) if why.contains("1 nonces, 0 of them")),
        "{foreign:?}"
    );
    let step = publish::step(&it.db.worker, &it.publisher, &ready, &it.clock).await;
    assert_eq!(step.unwrap(), publish::Outcome::Halted);
}

#[tokio::test]
async fn a_batch_that_was_not_sent_from_here_stops_the_chain() {
    let it = Anchored::start().await;
    it.seal_batches(1).await;
    let ready = it.check().await.unwrap();
    it.publish_and_mine().await;
    it.db.execute("delete from anchor_attempt").await;
    it.db.execute("delete from anchor").await;
    it.db
        .execute("update chain_head set next_nonce = 7, next_batch = 1")
        .await;
    let foreign = look(&it, &ready).await;
    assert!(
        matches!(&foreign, Outcome::Foreign(why) if why.contains("batches up to 1, sent from here are 0")),
        "{foreign:?}"
    );
    assert_eq!(it.db.count(HALTED).await, 1);
}

#[tokio::test]
async fn another_publisher_stops_the_chain_unless_it_is_being_handed_over() {
    let it = Anchored::start().await;
    let ready = it.check().await.unwrap();
    let [owner, other] = [0, 2].map(|index| Signer::development(index).unwrap().account());
    let registry = hex::encode(&it.registry.registry.address);
    let call = hex::encode(&set_publisher_call(other));
    let tx = json!({ "from": hex::encode(&owner), "to": registry, "data": call });
    it.local.call("eth_sendTransaction", json!([tx])).await;
    it.local.mine(1).await;
    let mut conn = it.db.owner.acquire().await.unwrap();
    handover::begin_rotation(&mut conn, 31337, other)
        .await
        .unwrap();
    assert_eq!(look(&it, &ready).await, Outcome::HandedOver);
    it.db
        .execute("update chain_head set rotating_to = null")
        .await;
    let foreign = look(&it, &ready).await;
    assert!(
        matches!(&foreign, Outcome::Foreign(why) if why.contains("takes batches from 0x3c44")),
        "{foreign:?}"
    );
}

#[tokio::test]
async fn a_worker_of_another_account_or_registry_signs_nothing() {
    let it = Anchored::start().await;
    let ready = it.check().await.unwrap();
    it.seal_batches(1).await;
    let step = || publish::step(&it.db.worker, &it.publisher, &ready, &it.clock);
    it.db
        .execute("update chain_head set account = decode(repeat('03', 20), 'hex')")
        .await;
    assert!(matches!(
        step().await,
        Err(PublishError::Startup(StartupError::OtherAccount { .. }))
    ));
    assert_eq!(look(&it, &ready).await, Outcome::HandedOver);
    it.db
        .execute("update chain_head set account = (select decode('70997970c51812dc3a010c7d01b50e0d17dc79c8', 'hex'))")
        .await;
    it.db
        .execute("update registry set last_batch = first_batch - 1")
        .await;
    assert!(matches!(
        step().await,
        Err(PublishError::OtherRegistry(31337))
    ));
    assert_eq!(it.db.count("select count(*) from anchor").await, 0);
}

#[tokio::test]
async fn what_was_final_and_is_reorganised_away_is_taken_back_and_sent_again() {
    let mut it = Anchored::start().await;
    let profile = Profile {
        finality: Finality::Confirmations(2),
        ..Profile::of(31337)
    };
    it.publisher.chain = Chain::of(&profile, std::slice::from_ref(&it.local.url)).unwrap();
    let ready = it.check().await.unwrap();
    for _ in 0..2 {
        it.seal_batches(1).await;
        it.publish_and_mine().await;
        it.local.mine(2).await;
        assert_eq!(it.watch().await.finalized, 1);
    }
    assert_eq!(look(&it, &ready).await, Outcome::Ours);

    // the second anchor is in one of these blocks, the first is not
    it.local.call("anvil_reorg", json!([3, []])).await;
    let gone = look(&it, &ready).await;
    assert!(
        matches!(&gone, Outcome::Gone(why) if why.contains("expects batch 2")),
        "{gone:?}"
    );
    assert_eq!(it.states().await, ["finalized", "submitted"]);
    assert_eq!(it.db.count(HALTED).await, 1);
    assert_eq!(it.broadcast().await, 0, "not before somebody has looked");

    it.db.execute("update chain_head set halted = null").await;
    assert_eq!(it.broadcast().await, 1);
    it.local.mine(3).await;
    it.watch().await;
    assert_eq!(it.states().await, ["finalized", "finalized"]);
    assert_eq!(look(&it, &ready).await, Outcome::Ours);
    assert_eq!(it.nonces_used().await, 2);
    let (_, findings) = audit_all(&it.db).await;
    assert!(findings.is_empty(), "{findings:?}");
}
