//! The process killed at random moments of an import, again and again: nothing lost, nothing double,
//! everything anchored once.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use counterfoil::chain::At;
use counterfoil::clock::Entropy;
use counterfoil_proofs::{hex, keccak256};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use crate::cli::anchored_day::{Holdings, chain, until_final};
use crate::cli::program::{Dev, Scratch, run, sales};

/// Lines of an import; several requests, so that a kill falls between and into them.
const LINES: usize = 1_100;
/// A kill comes at most this much after the import has begun, milliseconds.
const KILL_WITHIN: u64 = 2_000;
/// How long rounds are begun, unless their number is given by `COUNTERFOIL_KILL_ROUNDS`.
const ROUNDS_TIME: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_moment_loses_and_doubles_nothing() {
    let wanted: Option<usize> = std::env::var("COUNTERFOIL_KILL_ROUNDS")
        .ok()
        .map(|rounds| rounds.parse().expect("a number of rounds"));
    let seed = std::env::var("COUNTERFOIL_KILL_SEED").map_or_else(
        |_| u64::from_le_bytes(Entropy::system().bytes()),
        |seed| seed.parse().expect("a number"),
    );
    println!("COUNTERFOIL_KILL_SEED={seed}");
    let dice = Entropy::seeded(seed);
    let scratch = Scratch::new();
    let mut dev = Dev::start(&scratch, "1s").await;
    let started = Instant::now();
    let mut rounds = 0;
    while wanted.map_or(started.elapsed() < ROUNDS_TIME, |wanted| rounds < wanted) {
        let moment = u64::from_le_bytes(dice.bytes()) % KILL_WITHIN;
        println!("round {rounds}: killed after {moment} ms");
        dev = round(dev, &scratch, rounds, Duration::from_millis(moment)).await;
        rounds += 1;
    }
    println!("{rounds} kills in {} s", started.elapsed().as_secs());
    let count = rounds * LINES;
    until_final(&dev, i64::try_from(count).expect("few")).await;
    check_rows(&dev, rounds).await;
    check_chain(&dev, &scratch).await;
    assert_eq!(dev.stop().await, Some(0));
}

/// An import during which the process is killed and started again. The importer waits for it and ends
/// well by itself; a second import finds everything there.
async fn round(dev: Dev, scratch: &Scratch, number: usize, moment: Duration) -> Dev {
    let file = scratch.file("sales.jsonl", sales(&format!("R{number}"), LINES));
    let mut import = dev.program(&["import", "--give-up-after", "60s"]);
    import.arg(&file);
    let importing = tokio::spawn(async move { run(&mut import).await });
    tokio::time::sleep(moment).await;
    dev.kill().await;
    let dev = Dev::start(scratch, "1s").await;
    importing.await.expect("the import ends").expect(0);
    let again = dev.import(&file).await.expect(0);
    let expected = format!("0 recorded, {LINES} already there, 0 refused, 0 unreadable\n");
    assert_eq!(again.stdout, expected);
    dev
}

/// Every order once, sequence numbers and batches without gaps, every sale sealed.
async fn check_rows(dev: &Dev, rounds: usize) {
    let mut db = PgConnection::connect(&dev.ready.database_url)
        .await
        .expect("the database");
    let rows: Vec<(i64, String, Option<i64>)> =
        sqlx::query_as("select seq, order_id, batch_id from sale order by seq")
            .fetch_all(&mut db)
            .await
            .expect("the sales");
    let mut orders: Vec<&str> = rows.iter().map(|(_, order, _)| order.as_str()).collect();
    let mut expected: Vec<String> = (0..rounds)
        .flat_map(|round| (0..LINES).map(move |n| format!("R{round}/{n}")))
        .collect();
    assert_eq!(orders, expected, "in the order of the files");
    orders.sort_unstable();
    orders.dedup();
    expected.sort_unstable();
    assert_eq!(orders.len(), expected.len());
    for (index, (seq, order, batch)) in rows.iter().enumerate() {
        assert_eq!(*seq, index as i64 + 1, "{order}");
        assert!(batch.is_some(), "{order} is in no batch");
    }
    let waiting: i64 = sqlx::query_scalar("select count(*) from pending_sale")
        .fetch_one(&mut db)
        .await
        .expect("the queue");
    assert_eq!(waiting, 0);
    let ranges: Vec<(i64, i64, String)> =
        sqlx::query_as("select first_batch, last_batch, state from anchor order by first_batch")
            .fetch_all(&mut db)
            .await
            .expect("the anchors");
    let mut next = 1;
    for (first, last, state) in ranges {
        assert_eq!((first, state.as_str()), (next, "finalized"));
        next = last + 1;
    }
    let batches: i64 = sqlx::query_scalar("select count(*) from batch")
        .fetch_one(&mut db)
        .await
        .expect("the batches");
    assert_eq!(next, batches + 1, "each batch in one anchor");
}

/// The registry anchored each batch once, with the root that its file gives; and the rows are complete.
async fn check_chain(dev: &Dev, scratch: &Scratch) {
    let holdings = Holdings::collect(dev, scratch).await;
    let (chain, registry) = chain(dev);
    let next = chain.next_batch(registry.address, At::Latest).await;
    assert_eq!(next.expect("the chain"), holdings.batches.len() as u64 + 1);
    let mut events = BTreeMap::new();
    for event in anchored_events(dev).await {
        let topic = |index: usize| event["topics"][index].as_str().expect("a topic").to_owned();
        let batch = u64::from_str_radix(&topic(1)[2..], 16).expect("a number");
        let earlier = events.insert(batch, topic(2));
        assert_eq!(earlier, None, "batch {batch} was anchored twice");
    }
    let roots: BTreeMap<u64, String> = holdings
        .batches
        .iter()
        .map(|file| {
            let root = file.check().expect("a batch that holds together");
            (file.manifest.batch, hex::encode(&root))
        })
        .collect();
    assert_eq!(events, roots);
    let verdict = holdings.judge(&holdings.rows());
    assert!(verdict.is_complete(), "{:?}", verdict.findings);
}

/// All `Anchored` events of the registry, from the chain itself.
async fn anchored_events(dev: &Dev) -> Vec<Value> {
    let (_, registry) = chain(dev);
    let topic = hex::encode(&keccak256(b"Anchored(uint64,bytes32)"));
    let filter = json!({
        "fromBlock": "0x0", "toBlock": "latest",
        "address": hex::encode(&registry.address), "topics": [topic],
    });
    let request = json!({"jsonrpc": "2.0", "id": 1, "method": "eth_getLogs", "params": [filter]});
    let response = reqwest::Client::new()
        .post(&dev.ready.chains[0].rpc_url)
        .json(&request)
        .send()
        .await
        .expect("the chain answers");
    let answer: Value = response.json().await.expect("JSON");
    answer["result"].as_array().expect("events").clone()
}
