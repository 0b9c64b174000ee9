//! A registry that follows another one after a garbage root, step by step.

use counterfoil::anchor::handover::{HandoverError, Successor};
use counterfoil::anchor::registry::{self, Deployed, Terms};
use counterfoil::anchor::store::chains;
use counterfoil::chain::{Signer, anchor_call};
use counterfoil_proofs::hex;
use secrecy::ExposeSecret;
use serde_json::json;

use crate::anchored::Anchored;
use crate::cli::program::{program, run};

/// A final batch, one that is signed, and a thief who takes its nonce and its place.
async fn burnt() -> Anchored {
    let it = Anchored::start().await;
    it.seal_batches(1).await;
    it.publish_and_mine().await;
    it.local.mine(3).await;
    assert_eq!(it.watch().await.finalized, 1);
    it.seal_batches(1).await;
    it.publish().await;
    let garbage = anchor_call(2, &[[7; 32]]);
    let account = hex::encode(&it.publisher.signer.account());
    let registry = hex::encode(&it.registry.registry.address);
    let tx = json!({ "from": account, "to": registry, "data": hex::encode(&garbage) });
    it.local.call("eth_sendTransaction", json!([tx])).await;
    it.local.mine(4).await;
    assert!(it.watch().await.halted);
    // it was seen in a block that was reorganised away
    let (mined, block) = (
        "update anchor set state = 'mined', mined_at = reserved_at where first_batch = 2",
        "update anchor_attempt t set block_number = o.block_number, block_hash = o.block_hash,
                block_time = o.block_time, gas_used = 1, gas_price = 1
         from anchor_attempt o join anchor a using (anchor_id)
         where a.first_batch = 1 and t.anchor_id <> o.anchor_id",
    );
    assert_eq!(it.db.execute(mined).await, 1);
    assert_eq!(it.db.execute(block).await, 1);
    it
}

#[tokio::test]
async fn what_was_signed_for_a_burnt_batch_is_free_for_the_successor() {
    let mut it = burnt().await;
    let [owner, new] = [0, 2].map(|index| Signer::development(index).unwrap());
    let mut conn = it.db.owner.acquire().await.unwrap();
    let chain = it.publisher.chain.clone();
    let current = chains::registry(&mut conn, 31337).await.unwrap().unwrap();
    let successor = |first_batch, publisher: &Signer| Successor {
        chain: &chain,
        current,
        first_batch,
        publisher: publisher.account(),
    };
    for (first_batch, publisher, why) in [
        (1, &new, "batch 1 is final in the current one"),
        (3, &new, "`counterfoil registry stop` it first"),
        (4, &new, "batch 3 is sealed next"),
        (2, &it.publisher.signer, "name another"),
    ] {
        match successor(first_batch, publisher).check(&mut conn).await {
            Err(HandoverError::Unfit(said)) => assert!(said.contains(why), "{said}"),
            other => panic!("{why}: {other:?}"),
        }
    }
    let second = successor(2, &new);
    assert_eq!(second.check(&mut conn).await.unwrap(), 0);

    it.local.mine_by_itself(true).await;
    let terms = Terms {
        owner: owner.account(),
        publisher: new.account(),
        first_batch: 2,
    };
    let deployed = registry::deploy(&chain, &owner, &terms).await.unwrap();
    second.pin(&mut conn, &deployed, &it.clock).await.unwrap();
    assert!(matches!(
        second.pin(&mut conn, &deployed, &it.clock).await,
        Err(HandoverError::Moved(31337))
    ));
    drop(conn);
    it.local.mine_by_itself(false).await;
    it.publisher.signer = new;
    it.publish_and_mine().await;
    it.local.mine(3).await;
    assert_eq!(it.watch().await.finalized, 1);
    assert_eq!(it.states().await, ["finalized", "finalized", "reverted"]);

    let rpc = it.local.url.expose_secret();
    let mut audit = program(&["audit", "--rpc", rpc]);
    audit.env("DATABASE_URL", it.db.db.url.expose_secret());
    run(&mut audit).await.expect(0);
    files_name_both_registries(&it, &deployed).await;
}

/// Files are held against the registries that a reader names, where there is no database.
async fn files_name_both_registries(it: &Anchored, successor: &Deployed) {
    let rpc = it.local.url.expose_secret();
    let directory = std::env::temp_dir().join(format!("counterfoil-files-{}", std::process::id()));
    let path = directory.to_str().expect("UTF-8");
    let mut export = program(&["export", "--all", path]);
    export.env("DATABASE_URL", it.db.db.url.expose_secret());
    run(&mut export).await.expect(0);
    let [old, new] = [it.registry.registry, successor.registry].map(|it| it.to_string());
    let audit = ["audit", "--dir", path, "--rpc", rpc, "--registry", &new];
    let part = run(&mut program(&audit)).await.expect(2);
    assert!(part.stdout.contains("1 batches are of none"), "{part:?}");
    let both = [&audit[..], &["--registry", &old]].concat();
    let all = run(&mut program(&both)).await.expect(0);
    assert!(all.stdout.contains("2 roots are final"), "{all:?}");
    let list = directory.join("counterfoil.json");
    for (of_old, code) in [(1, 0), (2, 0), (0, 2)] {
        let registries = json!([
            { "registry": old, "first_batch": 1, "last_batch": of_old },
            { "registry": new, "first_batch": 2, "last_batch": null },
        ]);
        let trust = json!({ "registries": registries, "merchants": [] });
        std::fs::write(&list, trust.to_string()).expect("the list");
        let list = list.to_str().expect("UTF-8");
        let audit = [&audit[..5], &["--trust", list]].concat();
        run(&mut program(&audit)).await.expect(code);
    }
    std::fs::remove_dir_all(directory).expect("the directory");
}
