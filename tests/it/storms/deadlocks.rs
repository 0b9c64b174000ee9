//! Customers, registers and orders of several merchants in clashing orders, through several processes:
//! nobody waits for somebody who waits for him.

use std::time::Duration;

use counterfoil::clock::Entropy;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{seed, setting};
use crate::fleet::Fleet;
use crate::harness::{Client, Dice};

/// Merchants; few, so that their locks are fought for.
const MERCHANTS: usize = 3;
/// Sales of a merchant that are sent again and again, and as many refunds of them.
const SALES: usize = 60;
/// Clients of each merchant.
const CLIENTS: usize = 8;
/// Items of a batch at most.
const BATCH: usize = 40;

#[tokio::test(flavor = "multi_thread")]
async fn clashing_orders_from_many_processes_never_deadlock() {
    let seed = seed();
    println!("COUNTERFOIL_STORM_SEED={seed}");
    let time = Duration::from_secs(setting("STORM_SECONDS", 8) as u64);
    let fleet = Fleet::start(setting("STORM_PROCESSES", 2)).await;
    let end = Instant::now() + time;
    let mut clients = JoinSet::new();
    for merchant in 0..MERCHANTS {
        let (_, keys) = fleet.merchant(CLIENTS).await;
        for (number, key) in keys.into_iter().enumerate() {
            let dice = Dice::new(seed, (merchant * CLIENTS + number) as u64);
            clients.spawn(clash(fleet.urls(), key, dice, end));
        }
    }
    let mut sent = 0;
    while let Some(items) = clients.join_next().await {
        sent += items.expect("a client");
    }
    println!("{sent} items in {} s", time.as_secs());
    let counted = "select count(*), count(*) filter (where seq <= n)
                   from (select seq, count(*) over (partition by merchant_id) as n from sale) s";
    let (sales, in_sequence): (i64, i64) = sqlx::query_as(counted)
        .fetch_one(&fleet.owner)
        .await
        .expect("the sales");
    assert!(
        sales > 0 && sales == in_sequence,
        "{in_sequence} of {sales}"
    );
    assert_eq!(fleet.deadlocks().await, (0, 0), "deadlocks");
    assert_eq!(fleet.panics(), [""; 0]);
}

/// Sends batches in random orders and single requests until the end; how many items that were.
async fn clash(urls: Vec<String>, key: String, dice: Dice, end: Instant) -> usize {
    let client = Client::new(&urls[0], Some(&key));
    let own = Entropy::system().uuid_v7(&counterfoil::clock::Clock::system());
    let mut sent = 0;
    while Instant::now() < end {
        let client = client.at(&urls[dice.below(urls.len())]);
        let count = 1 + dice.below(BATCH);
        let mut items: Vec<Value> = (0..count).map(|_| item(&dice)).collect();
        // something new among the repeats
        items.push(sale(&format!("{own}-{sent}")));
        dice.shuffle(&mut items);
        let answer = client.record_batch(&items).await;
        match answer.status {
            200 => {
                for item in answer.json()["items"].as_array().expect("items") {
                    let status = item["status"].as_u64().expect("a status");
                    assert!([201, 409, 422].contains(&status), "{item}");
                }
            }
            429 | 503 => drop(answer.any_problem()),
            _ => panic!("{}", answer.text),
        }
        sent += items.len();
    }
    sent
}

/// A sale or a refund that others send too; now and then another one under the same key or order id.
fn item(dice: &Dice) -> Value {
    let n = dice.below(SALES);
    let mut item = if dice.below(2) == 0 {
        let mut sale = sale(&format!("s-{n}"));
        sale["customer_address"] = json!(format!("0x{:040x}", 1 + n % 7));
        sale["register"] = json!(format!("till-{}", n % 5));
        sale
    } else {
        let of = (n * 7) % SALES;
        json!({"idempotency_key": format!("r-{n}"), "order_id": format!("r-{n}"), "kind": "refund",
               "refers_to": format!("s-{of}"), "amount": {"value": "4.00", "currency": "GBP"}})
    };
    match dice.below(20) {
        0 => item["idempotency_key"] = json!(format!("s-{}", dice.below(SALES))),
        1 => item["order_id"] = json!(format!("s-{}", dice.below(SALES))),
        _ => {}
    }
    item
}

fn sale(name: &str) -> Value {
    json!({"idempotency_key": name, "order_id": name, "amount": {"value": "10.00", "currency": "GBP"}})
}
