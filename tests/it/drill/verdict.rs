//! What must hold when everything has become final.

use std::collections::BTreeMap;

use counterfoil::chain::{At, Chain};
use counterfoil::ids::MerchantId;
use counterfoil_proofs::hex;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::sales::Told;
use super::site::{Mined, Site, anchored_topic};
use crate::cli::program::run;
use crate::harness::Client;

/// Figures of a seed.
pub(super) struct Tally {
    pub(super) chains: usize,
    pub(super) sales: usize,
    pub(super) batches: i64,
    pub(super) anchors: i64,
    /// Transactions that were signed onto a nonce that had one.
    pub(super) replacements: i64,
    /// Anchors that a process saw reorganised away.
    pub(super) reorganised: usize,
}

/// Holds everything against everything; panics where something is wrong.
pub(super) async fn judge(site: &Site, told: &Told) -> Tally {
    sales(site, told).await;
    let roots = batches(site).await;
    for chain in &site.chains {
        on_chain(chain, &roots).await;
    }
    receipts(site, told).await;
    for process in &site.fleet.processes {
        process.stop().await;
    }
    audit(site).await;
    assert_eq!(site.fleet.deadlocks().await, (0, 0), "deadlocks");
    assert_eq!(site.fleet.panics(), [""; 0]);
    let (anchors, replacements) = sqlx::query_as(
        "select (select count(*) from anchor), (select count(*) from anchor_attempt where attempt > 1)",
    )
    .fetch_one(&site.fleet.owner)
    .await
    .expect("the anchors");
    Tally {
        chains: site.chains.len(),
        sales: told.count(),
        batches: i64::try_from(roots.len()).expect("few"),
        anchors,
        replacements,
        reorganised: site.fleet.lines_with("reorganised away").len(),
    }
}

/// What was told is what is stored, numbered from 1 without gaps, and nothing waits.
async fn sales(site: &Site, told: &Told) {
    let rows: Vec<(uuid::Uuid, String, i64, Option<i64>)> = sqlx::query_as(
        "select merchant_id, order_id, seq, batch_id from sale order by merchant_id, seq",
    )
    .fetch_all(&site.fleet.owner)
    .await
    .expect("the sales");
    let mut next: BTreeMap<uuid::Uuid, i64> = BTreeMap::new();
    for (merchant, _, seq, batch) in &rows {
        let expected = next.entry(*merchant).or_insert(1);
        assert_eq!(seq, expected, "the numbers of {merchant}");
        *expected += 1;
        assert!(batch.is_some(), "sale {seq} of {merchant} is in a batch");
    }
    let stored: BTreeMap<_, _> = rows
        .into_iter()
        .map(|(merchant, order, seq, _)| ((MerchantId(merchant), order), seq))
        .collect();
    assert_eq!(told.orders(), stored, "what was told is what is stored");
    let held: i64 = sqlx::query_scalar(
        "select (select count(*) from seal_hold)
              + (select count(*) from chain_head where halted is not null)",
    )
    .fetch_one(&site.fleet.owner)
    .await
    .expect("the heads");
    assert_eq!(held, 0, "nobody is held and no chain has halted");
}

/// The roots of the batches, whose numbers have no gaps.
async fn batches(site: &Site) -> Vec<[u8; 32]> {
    let rows: Vec<(i64, Vec<u8>)> =
        sqlx::query_as("select batch_id, root from batch order by batch_id")
            .fetch_all(&site.fleet.owner)
            .await
            .expect("the batches");
    let ids: Vec<i64> = rows.iter().map(|row| row.0).collect();
    let expected: Vec<i64> = (1..).take(rows.len()).collect();
    assert_eq!(ids, expected, "batches without gaps");
    rows.into_iter()
        .map(|row| row.1.try_into().expect("32 bytes"))
        .collect()
}

/// The registry holds each root, and said so once; each of the account's transactions was an anchor.
async fn on_chain(chain: &Mined, roots: &[[u8; 32]]) {
    let (local, registry) = (&chain.local, chain.registry);
    let chain = Chain::new(&local.url).expect("the chain");
    let last = roots.len() as u64;
    let theirs = chain
        .roots_of(registry.address, 1..=last, At::Latest)
        .await
        .expect("the roots");
    let ours: Vec<Option<[u8; 32]>> = roots.iter().copied().map(Some).collect();
    assert_eq!(theirs, ours, "the registry has our roots");
    let next = chain.next_batch(registry.address, At::Latest).await;
    assert_eq!(next.expect("the registry"), last + 1, "and no others");
    let filter = json!({ "address": hex::encode(&registry.address), "topics": [anchored_topic()],
                         "fromBlock": "0x0", "toBlock": "latest" });
    let logs = local.call("eth_getLogs", json!([filter])).await;
    let said: Vec<(String, String)> = logs
        .as_array()
        .expect("logs")
        .iter()
        .map(|log| {
            let text = |at: usize| log["topics"][at].as_str().expect("a topic").to_owned();
            (text(1), text(2))
        })
        .collect();
    let once: Vec<(String, String)> = (1..=last)
        .zip(roots)
        .map(|(batch, root)| (format!("0x{batch:064x}"), hex::encode(root)))
        .collect();
    assert_eq!(said, once, "each root is anchored once, in order");
}

/// Every sale's receipt says that it is final.
async fn receipts(site: &Site, told: &Told) {
    let keys: BTreeMap<_, _> = site.keys.iter().cloned().collect();
    let clients: BTreeMap<_, _> = keys
        .iter()
        .map(|(merchant, key)| (*merchant, Client::new(&site.fleet.urls()[0], Some(key))))
        .collect();
    for (merchant, order) in told.orders().keys() {
        let path = format!("/v1/orders/{order}/proof");
        let receipt = clients[merchant].get(&path).await.expect(200).json();
        let anchors = receipt["anchors"].as_array().expect("anchors");
        let is_final = |anchor: &Value| anchor["state"] == json!("finalized");
        assert!(
            anchors.len() == site.chains.len() && anchors.iter().all(is_final),
            "{receipt}"
        );
    }
}

async fn audit(site: &Site) {
    let mut audit = site.fleet.operator(&["audit"]);
    for chain in &site.chains {
        audit.args(["--rpc", chain.local.url.expose_secret()]);
    }
    let ended = run(&mut audit).await;
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
}
