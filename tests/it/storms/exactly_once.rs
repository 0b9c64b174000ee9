//! Exactly once, in any weather: the same requests from many clients through several processes, while
//! everything breaks that can.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use counterfoil::ids::MerchantId;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::plan::Plan;
use super::tills::{Storm, Till};
use super::{seed, setting, weather};
use crate::fleet::Fleet;
use crate::harness::Dice;

/// How long the clients of a round may take to have all their answers: this for everything that breaks
/// once, and this for each answer.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(90), Duration::from_millis(20));

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_makes_each_sale_once_and_every_answer_the_same() {
    let seed = seed();
    let rounds = setting("STORM_ROUNDS", 1);
    let fleet = Fleet::start(2).await;
    print_head();
    for round in 0..rounds {
        let seed = seed.wrapping_add(round as u64);
        println!("round {round}: COUNTERFOIL_STORM_SEED={seed}");
        let began = Instant::now();
        let (merchant, storm) = rage(&fleet, seed).await;
        repeat_quietly(&fleet, &storm, merchant.1).await;
        let sales = check(&fleet, merchant.0, &storm).await;
        print_row(round, &storm, sales, began.elapsed());
    }
    assert_eq!(fleet.deadlocks().await, (0, 0), "deadlocks");
    assert_eq!(fleet.panics(), [""; 0]);
}

/// Clients and weather, until all clients have all answers. Gives the merchant, with a key of its own
/// that nobody used yet.
async fn rage(fleet: &Fleet, seed: u64) -> ((MerchantId, String), Arc<Storm>) {
    let clients = setting("STORM_CLIENTS", 16);
    let sales = setting("STORM_SALES", 150);
    let times = setting("STORM_GUSTS", 1);
    let (merchant, mut keys) = fleet.merchant(clients + 1).await;
    let dice = |participant: usize| Dice::new(seed, participant as u64);
    let storm = Arc::new(Storm::new(Plan::new(sales, &dice(0))));
    let urls = fleet.urls();
    let quiet_key = keys.pop().expect("a key");
    let mut tills = JoinSet::new();
    for (number, key) in keys.iter().enumerate() {
        tills.spawn(Till::new(&storm, &urls, key, dice(number + 2)).run());
    }
    let all_answered = async {
        while let Some(till) = tills.join_next().await {
            till.expect("a client");
        }
    };
    let of_weather = dice(1);
    let blowing = weather::blow(fleet, merchant, &storm, times, &of_weather);
    let raging = async { tokio::join!(all_answered, blowing) };
    let [times, all] = [times, clients * storm.plan.requests.len()]
        .map(|count| u32::try_from(count).expect("not so many"));
    let patience = PATIENCE.0 * times + PATIENCE.1 * all;
    if timeout(patience, raging).await.is_err() {
        let keys = unanswered(&storm);
        panic!("without an answer: {keys:?}\n{}", fleet.last_words());
    }
    ((merchant, quiet_key), storm)
}

fn unanswered(storm: &Storm) -> Vec<&str> {
    let requests = storm.plan.requests.iter().zip(storm.answers());
    requests
        .filter(|(_, answer)| answer.is_none())
        .map(|(request, _)| request.key.as_str())
        .collect()
}

/// Every request once more through every process, with nothing broken: first with what Redis has, then
/// without. The storm's own list says whether the answers are the same.
async fn repeat_quietly(fleet: &Fleet, storm: &Arc<Storm>, key: String) {
    let urls = fleet.urls();
    let mut till = Till::new(storm, &urls, &key, Dice::new(0, 0));
    for url in &urls {
        for number in 0..storm.plan.requests.len() {
            till.settle(url, number).await;
        }
        let redis = fleet.redis.lock().await;
        let remembered: usize = redis.ask(&["DBSIZE"]).await;
        assert!(remembered > 0, "Redis has a part in it");
        redis.ask::<()>(&["FLUSHALL"]).await;
    }
}

/// What the database holds is what was answered; how many sales there are.
async fn check(fleet: &Fleet, merchant: MerchantId, storm: &Storm) -> usize {
    let answers = storm.answers();
    let recorded = |number: usize| answers[number].as_ref().is_some_and(|a| a.status == 201);
    let faults = storm.plan.faults(recorded);
    assert_eq!(faults, [""; 0], "{}", fleet.last_words());

    let rows: Vec<(i64, String, i64)> = sqlx::query_as(
        "select seq, order_id, amount_minor from sale where merchant_id = $1 order by seq",
    )
    .bind(merchant.0)
    .fetch_all(&fleet.owner)
    .await
    .expect("the sales");
    let seqs: Vec<i64> = rows.iter().map(|row| row.0).collect();
    let expected: Vec<i64> = (1..).take(storm.plan.sales()).collect();
    assert_eq!(seqs, expected, "each sale once, numbered without gaps");

    let mut answered: BTreeMap<i64, (String, i64)> = BTreeMap::new();
    for answer in answers.iter().flatten().filter(|a| a.status == 201) {
        let sale: Value = serde_json::from_str(&answer.text).expect("JSON");
        let order = sale["order_id"].as_str().expect("an order id").to_owned();
        let minor = sale["amount"]["minor"].as_i64().or_else(|| {
            let minor = sale["amount"]["minor"].as_str()?;
            minor.parse().ok()
        });
        answered.insert(
            sale["seq"].as_i64().expect("a number"),
            (order, minor.expect("minor units")),
        );
    }
    let stored = rows
        .into_iter()
        .map(|(seq, order, minor)| (seq, (order, minor)))
        .collect();
    assert_eq!(answered, stored, "what was answered is what is stored");
    check_traces(fleet, merchant, storm.plan.sales()).await;
    storm.plan.sales()
}

/// Every other table knows of these sales, each once.
async fn check_traces(fleet: &Fleet, merchant: MerchantId, sales: usize) {
    let sales = i64::try_from(sales).expect("few");
    for (what, count) in [
        ("orders", "select count(distinct sale_id) from sale_order where merchant_id = $1"),
        ("keys", "select count(distinct sale_id) from idempotency_key where merchant_id = $1 and refusal is null"),
        // sealed, or waiting for it
        ("batches", "select count(*) from sale s where s.merchant_id = $1 and (s.batch_id is null)
                     = exists (select from pending_sale p where p.merchant_id = s.merchant_id and p.seq = s.seq)"),
    ] {
        let found: i64 = sqlx::query_scalar(count)
            .bind(merchant.0)
            .fetch_one(&fleet.owner)
            .await
            .expect("a count");
        assert_eq!(found, sales, "{what}");
    }
    let exceeded: i64 = sqlx::query_scalar(
        "select count(*) from (
             select sum(r.amount_minor) as refunded, s.amount_minor as sold
             from sale r join sale s on s.merchant_id = r.merchant_id and s.sale_id = r.refers_to
             where r.merchant_id = $1 group by s.sale_id, s.amount_minor) refunds
         where refunded > sold",
    )
    .bind(merchant.0)
    .fetch_one(&fleet.owner)
    .await
    .expect("the refunds");
    assert_eq!(exceeded, 0, "no more refunded than was sold");
}

fn print_head() {
    println!(
        "round requests sales | 201 refused | in-flight 503 429 too-early | hung-up broken | seconds"
    );
}

fn print_row(round: usize, storm: &Storm, sales: usize, time: Duration) {
    let tally = &storm.tally;
    let n = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
    println!(
        "{round:5} {:8} {sales:5} | {:5} {:5} | {:6} {:5} {:4} {:8} | {:6} {:6} | {:5}",
        storm.plan.requests.len(),
        n(&tally.sales),
        n(&tally.refusals),
        n(&tally.in_flight),
        n(&tally.unavailable),
        n(&tally.limited),
        n(&tally.too_early),
        n(&tally.hung_up),
        n(&tally.broken),
        time.as_secs(),
    );
}
