//! When anchoring refuses to begin, and when it does not.

use counterfoil::anchor::publish::{self, PublishError};
use counterfoil::anchor::startup::StartupError;
use counterfoil::chain::{At, Chain, Signer};
use counterfoil::database::trust::Doubt;
use counterfoil_proofs::caip::Caip10;
use counterfoil_proofs::hex;
use serde_json::json;

use crate::anchored::{Anchored, LocalChain};

#[tokio::test]
async fn a_chain_passes_in_every_state_that_a_crash_can_leave() {
    let it = Anchored::start().await;
    it.check().await.unwrap();
    it.seal_batches(1).await;
    it.publish().await;
    it.check().await.unwrap();
    it.broadcast().await;
    it.check().await.unwrap();
    it.local.mine(1).await;
    it.check().await.unwrap();
    it.watch().await;
    it.check().await.unwrap();
    it.local.mine(2).await;
    it.watch().await;
    it.check().await.unwrap();
    assert_eq!(it.states().await, ["finalized"]);
}

#[tokio::test]
async fn what_is_configured_must_be_what_is_pinned() {
    let mut it = Anchored::start().await;
    it.publisher.registry = Some(Caip10 {
        chain_id: 31337,
        address: [3; 20],
    });
    assert!(matches!(
        it.check().await,
        Err(StartupError::OtherRegistry { .. })
    ));
    it.publisher.registry = Some(it.registry.registry);
    it.check().await.unwrap();

    it.publisher.signer = Signer::development(2).unwrap();
    assert!(matches!(
        it.check().await,
        Err(StartupError::NotPublisher { .. })
    ));
    it.publisher.signer = Signer::development(1).unwrap();

    it.db
        .execute("update registry set code_hash = sha256(code_hash)")
        .await;
    assert!(matches!(
        it.check().await,
        Err(StartupError::Code { found: Some(_), .. })
    ));
    it.db
        .execute("update registry set address = decode(repeat('03', 20), 'hex')")
        .await;
    it.publisher.registry = None;
    assert!(matches!(
        it.check().await,
        Err(StartupError::Code { found: None, .. })
    ));

    it.db.execute("update registry set chain_id = 1337").await;
    assert!(matches!(
        it.check().await,
        Err(StartupError::NotPinned { chain_id: 31337 })
    ));
    it.publisher.chain_id = 1337;
    assert!(matches!(
        it.check().await,
        Err(StartupError::OtherChain {
            expected: 1337,
            found: 31337
        })
    ));
    it.publisher.chain_id = 1;
    assert!(
        matches!(it.check().await, Err(StartupError::Key(_))),
        "a well-known key"
    );
}

#[tokio::test]
async fn another_account_does_not_go_on_where_the_first_ended() {
    let mut it = Anchored::start().await;
    it.check().await.unwrap();
    let [owner, other] = [0, 2].map(|index| Signer::development(index).unwrap());
    let call = format!("0xcab63661{:0>64}", &hex::encode(&other.account())[2..]);
    let registry = hex::encode(&it.registry.registry.address);
    let tx = json!({ "from": hex::encode(&owner.account()), "to": registry, "data": call });
    it.local.call("eth_sendTransaction", json!([tx])).await;
    it.local.mine(1).await;
    it.publisher.signer = other;
    assert!(matches!(
        it.check().await,
        Err(StartupError::OtherAccount { .. })
    ));
}

#[tokio::test]
async fn a_new_chain_begins_at_the_accounts_nonce_once_nothing_waits() {
    let it = Anchored::start().await;
    let account = hex::encode(&it.publisher.signer.account());
    let tx = json!({ "from": account, "to": account });
    it.local.call("eth_sendTransaction", json!([tx])).await;
    assert!(matches!(
        it.check().await,
        Err(StartupError::Unmined {
            mined: 0,
            pending: 1,
            ..
        })
    ));
    it.local.mine(1).await;
    it.check().await.unwrap();
    assert_eq!(it.db.count("select next_nonce from chain_head").await, 1);
}

#[tokio::test]
async fn a_chain_that_is_ahead_of_the_database_is_refused() {
    let it = Anchored::start().await;
    it.seal_batches(1).await;
    it.publish_and_mine().await;
    // an older copy of the database, in which nothing was anchored yet
    it.db.execute("delete from anchor_attempt").await;
    it.db.execute("delete from anchor").await;
    it.db.execute("update chain_head set next_nonce = 0").await;
    assert!(matches!(
        it.check().await,
        Err(StartupError::NonceAhead { nonce: 1, known: 0 })
    ));
    // also where the account is ahead too: of the two only the registry says that batches were lost
    it.db.execute("update chain_head set next_batch = 1").await;
    assert!(matches!(
        it.check().await,
        Err(StartupError::RegistryAhead {
            next_batch: 2,
            sent: 0
        })
    ));
    it.db.execute("delete from chain_head").await;
    assert!(matches!(
        it.check().await,
        Err(StartupError::RegistryAhead {
            next_batch: 2,
            sent: 0
        })
    ));
}

#[tokio::test]
async fn roots_on_the_chain_must_be_ours() {
    let mut it = Anchored::start().await;
    it.seal_batches(2).await;
    it.publish_and_mine().await;
    it.db
        .execute("update batch set root = sha256(root) where batch_id = 2")
        .await;
    let other = |found| {
        matches!(
            found,
            Err(StartupError::OtherRoot {
                batch: 2,
                chain: Some(_),
                ours: Some(_)
            })
        )
    };
    assert!(other(it.check().await.map(|_| ())));
    it.db
        .execute("update batch set root = (select last_root from seal_head) where batch_id = 2")
        .await;
    it.local.mine(2).await;
    assert_eq!(it.watch().await.finalized, 1);
    it.check().await.unwrap();

    // the same registry at the same address, on a chain that began anew
    let fresh = LocalChain::start().await;
    let chain = Chain::new(&fresh.url).unwrap();
    let [deployer, publisher] = [0, 1].map(|index| Signer::development(index).unwrap());
    let terms = counterfoil::anchor::registry::Terms {
        owner: deployer.account(),
        publisher: publisher.account(),
        first_batch: 1,
    };
    let again = counterfoil::anchor::registry::deploy(&chain, &deployer, &terms)
        .await
        .unwrap();
    assert_eq!(again.registry, it.registry.registry);
    it.publisher.chain = chain;
    assert!(matches!(
        it.check().await,
        Err(StartupError::OtherRoot {
            batch: 2,
            chain: None,
            ..
        })
    ));
}

#[tokio::test]
async fn a_database_that_is_another_is_not_anchored_from() {
    for change in [
        "update installation set timeline = timeline + 1",
        "update installation set system_identifier = system_identifier + 1",
    ] {
        let it = Anchored::start().await;
        it.seal_batches(1).await;
        let ready = it.check().await.unwrap();
        it.db.execute(change).await;
        assert!(matches!(
            it.check().await,
            Err(StartupError::Doubt(Doubt::OtherCluster { .. }))
        ));
        // also one that changes under a worker that has begun
        let step = publish::step(&it.db.worker, &it.publisher, &ready, &it.clock).await;
        assert!(matches!(
            step,
            Err(PublishError::Startup(StartupError::Doubt(
                Doubt::OtherCluster { .. }
            )))
        ));
        assert_eq!(it.db.count("select count(*) from anchor").await, 0);
    }
}

#[tokio::test]
async fn a_deployed_registry_is_owned_and_published_to_as_asked() {
    let it = Anchored::start().await;
    let (chain, registry) = (&it.publisher.chain, it.registry.registry.address);
    assert_eq!(
        chain.owner(registry, At::Latest).await.unwrap(),
        Signer::development(0).unwrap().account()
    );
    assert_eq!(
        chain.publisher(registry, At::Latest).await.unwrap(),
        it.publisher.signer.account()
    );
    let mut conn = it.db.owner.acquire().await.unwrap();
    let again = counterfoil::anchor::registry::pin(&mut conn, &it.registry, &it.clock).await;
    assert!(matches!(
        again,
        Err(counterfoil::anchor::registry::RegistryError::Pinned { .. })
    ));
    let later = counterfoil::anchor::registry::check_free(&mut conn, 1337, 2).await;
    assert!(matches!(
        later,
        Err(counterfoil::anchor::registry::RegistryError::BeginsLater { .. })
    ));
}
