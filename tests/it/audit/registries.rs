//! Which registry an exported directory is held against, where a reader names several.

use counterfoil::anchor::registry::{self, Deployed, Terms};
use counterfoil::chain::{Chain, Signer, anchor_call};
use counterfoil_proofs::{Hash, hex};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::anchored::{Anchored, LocalChain};
use crate::cli::program::{Ended, Scratch, program, run};

/// Writes everything as files.
async fn export(it: &Anchored, directory: &Scratch) {
    let path = directory.join("files");
    let path = path.to_str().expect("UTF-8");
    let mut export = program(&["export", "--all", path]);
    export.env("DATABASE_URL", it.db.db.url.expose_secret());
    run(&mut export).await.expect(0);
}

/// Audits the files against some registries.
async fn audit(directory: &Scratch, rpcs: &[&LocalChain], registries: &[&Deployed]) -> Ended {
    let path = directory.join("files");
    let path = path.to_str().expect("UTF-8");
    let mut audit = program(&["audit", "--dir", path]);
    for rpc in rpcs {
        audit.args(["--rpc", rpc.url.expose_secret()]);
    }
    for one in registries {
        audit.args(["--registry", &one.registry.to_string()]);
    }
    run(&mut audit).await
}

/// A registry from a batch on, with these roots.
async fn deployed(local: &LocalChain, first_batch: u64, roots: &[Hash]) -> Deployed {
    let chain = Chain::new(&local.url).expect("the chain");
    let [owner, publisher] =
        [0, 2].map(|index| Signer::development(index).expect("a development account"));
    let terms = Terms {
        owner: owner.account(),
        publisher: publisher.account(),
        first_batch,
    };
    local.mine_by_itself(true).await;
    let deployed = registry::deploy(&chain, &owner, &terms).await;
    let deployed = deployed.expect("the chain");
    local.mine_by_itself(false).await;
    anchor(local, &deployed, publisher.account(), first_batch, roots).await;
    deployed
}

async fn anchor(local: &LocalChain, to: &Deployed, from: [u8; 20], first: u64, roots: &[Hash]) {
    let call = hex::encode(&anchor_call(first, roots));
    let to = hex::encode(&to.registry.address);
    let tx: Value = json!({ "from": hex::encode(&from), "to": to, "data": call });
    local.call("eth_sendTransaction", json!([tx])).await;
    local.mine(4).await;
}

async fn roots(it: &Anchored) -> Vec<Hash> {
    let roots = sqlx::query_scalar::<_, Vec<u8>>("select root from batch order by batch_id");
    let roots = roots.fetch_all(&it.db.owner).await.expect("the database");
    roots
        .into_iter()
        .map(|root| root.try_into().expect("a root"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_registry_that_begins_last_says_which_root_is_right() {
    let it = Anchored::start().await;
    let directory = Scratch::new();
    it.seal_batches(2).await;
    it.publish_and_mine().await;
    it.local.mine(3).await;
    assert_eq!(it.watch().await.finalized, 1);
    export(&it, &directory).await;
    let ours = roots(&it).await;
    let old = &it.registry;
    audit(&directory, &[&it.local], &[old]).await.expect(0);

    // the files are a thief's, whose root the old registry has
    let of_another = deployed(&it.local, 2, &ours[..1]).await;
    let ended = audit(&directory, &[&it.local], &[old, &of_another]).await;
    let said = ended.expect(1).stdout;
    assert!(
        said.contains("batch 2") && said.contains("the registry has the root"),
        "{said}"
    );

    let successor = deployed(&it.local, 2, &ours[1..]).await;
    let both = [&successor, old];
    audit(&directory, &[&it.local], &both).await.expect(0);
    // what comes in the old one afterwards is nobody's
    let thief = it.publisher.signer.account();
    anchor(&it.local, old, thief, 3, &[[7; 32]]).await;
    audit(&directory, &[&it.local], &both).await.expect(0);
    let publisher = Signer::development(2).expect("a development account");
    anchor(&it.local, &successor, publisher.account(), 3, &[[7; 32]]).await;
    let said = audit(&directory, &[&it.local], &both)
        .await
        .expect(1)
        .stdout;
    assert!(said.contains("the registry has batches up to 3"), "{said}");

    let all = [old, &of_another, &successor];
    let said = audit(&directory, &[&it.local], &all).await.expect(2).stdout;
    assert!(said.contains("both begin with batch 2"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_joined_later_is_held_to_what_it_has() {
    let it = Anchored::start().await;
    let directory = Scratch::new();
    it.seal_batches(3).await;
    it.publish_and_mine().await;
    it.local.mine(3).await;
    assert_eq!(it.watch().await.finalized, 1);
    export(&it, &directory).await;
    let ours = roots(&it).await;
    let other = LocalChain::start_with(&["--slots-in-an-epoch", "1", "--chain-id", "1337"]).await;
    let joined = deployed(&other, 2, &ours[1..2]).await;

    let said = audit(&directory, &[&it.local, &other], &[&it.registry, &joined]).await;
    let said = said.expect(0).stdout;
    assert!(
        said.contains("4 roots are final on chain, 1 are not yet"),
        "{said}"
    );
    let said = audit(&directory, &[&other], &[&joined])
        .await
        .expect(2)
        .stdout;
    assert!(said.contains("1 batches are of none"), "{said}");
    let said = audit(&directory, &[&it.local], &[&it.registry, &joined]).await;
    let said = said.expect(2).stdout;
    assert!(said.contains(&joined.registry.to_string()), "{said}");
    anchor_wrong(&other, &joined).await;
    let said = audit(&directory, &[&it.local, &other], &[&it.registry, &joined]).await;
    let said = said.expect(1).stdout;
    assert!(said.contains("the registry has the root 0x0707"), "{said}");
}

async fn anchor_wrong(local: &LocalChain, registry: &Deployed) {
    let publisher = Signer::development(2).expect("a development account");
    anchor(local, registry, publisher.account(), 3, &[[7; 32]]).await;
}
