//! Several chains: each batch is anchored on all of them, on each at its own pace.

use std::time::Duration;

use counterfoil::anchor::startup::Publisher;
use counterfoil::chain::Chain;
use counterfoil::clock::Clock;
use counterfoil::http::auth::Role;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::anchor_rpcs::other_root;
use crate::anchor_verify::assert_exit;
use crate::anchor_worker::Running;
use crate::anchored::{Anchored, LocalChain, publish_on};
use crate::anchored_wire::Proxy;
use crate::harness::{self, Client, sale};

/// Sales, each a batch of its own.
const BATCHES: u64 = 210;

/// Mines on chains that count until a statement counts something.
async fn until(it: &Anchored, chains: &[&LocalChain], what: &str, sql: &'static str) {
    let limit = Instant::now() + Duration::from_secs(120);
    while it.db.count(sql).await == 0 {
        assert!(Instant::now() < limit, "did not happen: {what}");
        for chain in chains {
            chain.mine(1).await;
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// What the receipt of an order says of each chain.
async fn states(client: &Client, order: &str) -> Vec<(String, Value)> {
    let path = format!("/v1/orders/{order}/proof");
    let receipt = client.get(&path).await.expect(200).json();
    let anchors = receipt["anchors"].as_array().expect("anchors");
    let anchors = anchors.iter().map(|anchor| {
        let registry = anchor["registry"].as_str().expect("a registry");
        let chain = registry.split(':').nth(1).expect("a chain").to_owned();
        (chain, anchor["state"].clone())
    });
    anchors.collect()
}

#[tokio::test]
async fn a_chain_that_was_away_for_an_hour_catches_up_in_few_calls() {
    let it = Anchored::start().await;
    let away = LocalChain::start_with(&["--slots-in-an-epoch", "1", "--chain-id", "1337"]).await;
    let (second, _) = publish_on(&it.db, &away, &it.clock).await;
    let wire = Proxy::before(&away.url).await;
    let second = Publisher {
        chain: Chain::new(&wire.url).unwrap(),
        ..second
    };
    let publishers = vec![it.publisher.clone(), second];
    let worker = Running::start(&it, publishers, 1, Duration::from_secs(3600));
    let begun =
        "select count(*) from (select count(*) from chain_head having count(*) = 2) both_are";
    until(&it, &[], "both chains are begun", begun).await;

    wire.refuse().await;
    let merchant = it.db.merchant("live").await;
    it.db.record(merchant, BATCHES).await;
    let first_is_done = "select count(*) from (select) one
        where (select count(*) from batch) = 210 and 210 = (
            select sum(last_batch - first_batch + 1) from anchor
            where chain_id = 31337 and state = 'finalized')";
    until(&it, &[&it.local], "the first goes on", first_is_done).await;
    // an hour of blocks, in which nobody hears of the second
    it.local.call("anvil_mine", json!(["0x12c", "0xc"])).await;
    let final_on_second =
        "select count(*) from anchor where chain_id = 1337 and state <> 'reserved'";
    assert_eq!(it.db.count(final_on_second).await, 0);
    let sealed = "select count(*) from batch_state where state = 'sealed'";
    assert_eq!(
        it.db.count(sealed).await.cast_unsigned(),
        BATCHES,
        "a batch is as far as its least advanced anchor"
    );

    let server = harness::Running::start(&it.db.db, Clock::system()).await;
    let key = harness::key(&it.db.db, merchant, Role::Admin, None).await;
    let client = Client::new(&server.url, Some(&key));
    let anchors = states(&client, "A-200").await;
    assert!(
        anchors.contains(&("31337".to_owned(), json!("finalized"))),
        "{anchors:?}"
    );

    wire.listen().await;
    let all = "select count(*) from (select) one where not exists (
        select from batch_state where state <> 'finalized')";
    until(&it, &[&it.local, &away], "the second catches up", all).await;
    let anchors = states(&client, "A-200").await;
    assert_eq!(anchors.len(), 2);
    assert!(anchors.iter().all(|(_, state)| state == "finalized"));
    let calls = "select count(*) from anchor where chain_id = 1337";
    assert!(it.db.count(calls).await <= 3, "few calls");
    assert_eq!(
        it.db
            .count("select count(*) from chain_head where halted is not null")
            .await,
        0
    );
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_is_proved_on_as_many_chains_as_the_reader_asks() {
    let mut it = Anchored::start().await;
    let mut other =
        LocalChain::start_with(&["--slots-in-an-epoch", "1", "--chain-id", "1337"]).await;
    let (mut second, registry) = publish_on(&it.db, &other, &it.clock).await;
    let server = harness::Running::start(&it.db.db, Clock::system()).await;
    let merchant = harness::merchant(&it.db.db, "live").await;
    let key = harness::key(&it.db.db, merchant, Role::Admin, None).await;
    let client = Client::new(&server.url, Some(&key));
    let recorded = client.record("A-1", &sale("A-1")).await.expect(201).json();
    let sale_id = recorded["sale_id"].as_str().expect("a text").to_owned();
    it.seal().await;
    it.publish_and_mine().await;
    it.local.mine(2).await;
    it.watch().await;

    let [one, two] = [&it.local, &other].map(|chain| chain.url.expose_secret().to_owned());
    let registries = [it.registry.registry, registry.registry].map(|it| it.to_string());
    let merchant = merchant.to_string();
    let check = async |rpcs: &[&str], policy: &str, expected: u8| {
        let path = format!("/v1/receipts/{sale_id}");
        let receipt = client.get(&path).await.expect(200).text;
        let mut flags = vec!["--merchant", &merchant, "--policy", policy];
        for registry in &registries {
            flags.extend(["--registry", registry]);
        }
        for rpc in rpcs {
            flags.extend(["--rpc", rpc]);
        }
        assert_exit(&receipt, &flags, expected).await;
    };
    // final on one chain, and on the other not anchored yet
    check(&[&one], "any", 0).await;
    check(&[&one, &two], "any", 0).await;
    check(&[&two], "any", 2).await;
    check(&[&one, "http://127.0.0.1:1"], "any", 0).await;
    check(&[&one, &two], "all", 2).await;
    check(&[&one], "all", 2).await;
    check(&[&one, &two], "2", 2).await;

    std::mem::swap(&mut it.local, &mut other);
    std::mem::swap(&mut it.publisher, &mut second);
    it.publish_and_mine().await;
    check(&[&one, &two], "all", 2).await;
    it.local.mine(2).await;
    it.watch().await;
    check(&[&one, &two], "all", 0).await;
    check(&[&one, &two], "2", 0).await;
    check(&[&one, &two], "3", 2).await;
    check(&[&one], "all", 2).await;

    let wire = Proxy::before(&it.local.url).await;
    let again = wire.url.expose_secret();
    check(&[&two, again], "any", 0).await;
    wire.set(|wire| wire.rewrite = Some(other_root()));
    check(&[&two, again], "any", 2).await;
    check(&[&one, &two, again], "any", 0).await;
    check(&[&one, again], "any", 1).await;
}
