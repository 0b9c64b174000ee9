//! Many at once: every sale once, numbered without gaps, whatever is retried, raced, cut off or killed.

mod deadlocks;
mod exactly_once;
mod plan;
mod tills;
mod weather;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use counterfoil::clock::{Clock, Entropy};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::harness::{App, Client, Running, eventually, sale};

/// What a storm's dice begin with: given, to see one again, or else new.
fn seed() -> u64 {
    std::env::var("COUNTERFOIL_STORM_SEED").map_or_else(
        // short enough to be typed
        |_| u64::from(u32::from_le_bytes(Entropy::system().bytes())),
        |seed| seed.parse().expect("a number"),
    )
}

/// How large a storm is: as the environment says, or small.
fn setting(name: &str, small: usize) -> usize {
    std::env::var(name).map_or(small, |text| text.parse().expect("a number"))
}

/// The sequence numbers that are stored, in order.
async fn seqs(app: &App) -> Vec<i64> {
    sqlx::query_scalar("select seq from sale where merchant_id = $1 order by seq")
        .bind(app.merchant.0)
        .fetch_all(&app.db.owner)
        .await
        .expect("the sales")
}

/// Sends until it is answered, as a till does.
async fn until_answered(till: &Client, key: &str, body: &Value) -> String {
    for _ in 0..100 {
        match till
            .try_send(
                reqwest::Method::POST,
                "/v1/sales",
                &[
                    ("content-type", "application/json"),
                    ("idempotency-key", key),
                ],
                body.to_string(),
            )
            .await
        {
            Ok(answer) if answer.status == 201 => return answer.text,
            Ok(answer) => assert!([409, 503].contains(&answer.status), "{}", answer.text),
            Err(_) => {}
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{key} was not answered");
}

/// Sends the sales with these numbers, one by one or in batches, until each is answered.
async fn send_all(till: &Client, numbers: &[usize], batch: usize) -> BTreeMap<usize, String> {
    let mut answers = BTreeMap::new();
    for slice in numbers.chunks(batch) {
        let items = slice
            .iter()
            .map(|n| (format!("k-{n}"), sale(&format!("A-{n}"))));
        if batch == 1 {
            for (n, (key, body)) in slice.iter().zip(items) {
                answers.insert(*n, until_answered(till, &key, &body).await);
            }
            continue;
        }
        let items: Vec<Value> = items
            .map(|(key, mut body)| {
                body["idempotency_key"] = json!(key);
                body
            })
            .collect();
        while slice.iter().any(|n| !answers.contains_key(n)) {
            let answer = till.record_batch(&items).await.expect(200).json();
            for (n, item) in slice.iter().zip(answer["items"].as_array().expect("items")) {
                if item["status"] == 201 {
                    answers.insert(*n, item["body"].to_string());
                } else {
                    assert_eq!(item["body"]["code"], "idempotency_in_flight", "{item}");
                }
            }
        }
    }
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_send_the_same_sales_through_two_servers_make_each_once() {
    const CLIENTS: usize = 32;
    const SALES: usize = 200;
    let app = App::start().await;
    let second = Running::start(&app.db, Clock::system()).await;
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let till = if client % 2 == 0 {
                app.admin.clone()
            } else {
                app.admin.at(&second.url)
            };
            tokio::spawn(async move {
                // each begins elsewhere, and every other one runs backwards, so that slices overlap
                // in every order
                let mut numbers: Vec<_> = (0..SALES).map(|n| (n + client * 7) % SALES).collect();
                if client % 4 >= 2 {
                    numbers.reverse();
                }
                let batch = if client % 5 == 0 { 1 } else { 10 + client };
                send_all(&till, &numbers, batch).await
            })
        })
        .collect();
    let mut all = Vec::new();
    for client in clients {
        all.push(client.await.expect("a client"));
    }
    assert!(
        all.iter().all(|answers| answers == &all[0]),
        "every client has the same bytes"
    );
    let acknowledged: BTreeSet<i64> = all[0]
        .values()
        .map(|text| {
            serde_json::from_str::<Value>(text).expect("JSON")["seq"]
                .as_i64()
                .expect("a number")
        })
        .collect();
    assert_eq!(acknowledged, (1..=200).collect());
    assert_eq!(seqs(&app).await, (1..=200).collect::<Vec<_>>());
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_have_no_gaps_with_refusals_among_the_sales() {
    let app = App::start().await;
    app.admin.record("first", &sale("taken")).await.expect(201);
    let tills: Vec<_> = (0..8)
        .map(|till| {
            let client = app.admin.clone();
            tokio::spawn(async move {
                let mut accepted = Vec::new();
                for n in 0..12 {
                    let good = sale(&format!("A-{till}-{n}"));
                    let taken = json!({"order_id": "taken", "amount": {"value": "99.00", "currency": "GBP"}});
                    let unknown = json!({"order_id": "R", "kind": "refund", "refers_to": "none", "amount": {"value": "1", "currency": "GBP"}});
                    let key = |part: &str| format!("{part}-{till}-{n}");
                    client.record(&key("t"), &taken).await.expect(409);
                    let answer = client.record(&key("g"), &good).await.expect(201).json();
                    accepted.push(answer["seq"].as_i64().expect("a number"));
                    let items: Vec<Value> = [(key("u"), unknown), (key("b"), sale(&key("B"))), (key("t2"), taken)]
                        .into_iter()
                        .map(|(key, mut body)| {
                            body["idempotency_key"] = json!(key);
                            body
                        })
                        .collect();
                    let batch = client.record_batch(&items).await.expect(200).json();
                    accepted.push(batch["items"][1]["body"]["seq"].as_i64().expect("a number"));
                }
                accepted
            })
        })
        .collect();
    let mut acknowledged = vec![1];
    for till in tills {
        let accepted = till.await.expect("a till");
        assert!(
            accepted.is_sorted(),
            "a till's own sales are in its order: {accepted:?}"
        );
        acknowledged.extend(accepted);
    }
    acknowledged.sort_unstable();
    let expected: Vec<i64> = (1..=1 + 8 * 12 * 2).collect();
    assert_eq!(acknowledged, expected);
    assert_eq!(seqs(&app).await, expected);
    let pending: i64 = sqlx::query_scalar("select count(*) from pending_sale")
        .fetch_one(&app.db.owner)
        .await
        .unwrap();
    assert_eq!(
        usize::try_from(pending).unwrap(),
        expected.len(),
        "each waits for its batch once"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_neither_stops_nor_repeats_its_sale() {
    let app = App::start().await;
    let mut lock = app.db.owner.begin().await.unwrap();
    let hold = "select 1 from merchant where merchant_id = $1 for update";
    sqlx::query(hold)
        .bind(app.merchant.0)
        .execute(&mut *lock)
        .await
        .unwrap();

    let body = sale("A-1").to_string();
    let address = app.server.url.trim_start_matches("http://");
    let mut gone = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "POST /v1/sales HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nIdempotency-Key: k-1\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        app.admin.key(),
        body.len()
    );
    gone.write_all(request.as_bytes()).await.unwrap();
    let waiting = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    eventually("the write waits for the lock", || async {
        let count: i64 = sqlx::query_scalar(waiting)
            .fetch_one(&app.db.owner)
            .await
            .expect("the activity");
        (count == 1).then_some(())
    })
    .await;
    drop(gone);
    tokio::time::sleep(Duration::from_millis(100)).await;
    lock.rollback().await.unwrap();
    eventually("the sale is there", || async {
        (seqs(&app).await == [1]).then_some(())
    })
    .await;
    let again = app.admin.record("k-1", &sale("A-1")).await.expect(201);
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(seqs(&app).await, [1]);
}

/// Ends every connection of the API that is in `state`, and says how many there were.
async fn cut(app: &App, state: &str) -> i64 {
    let statement = "select count(pg_terminate_backend(pid)) from pg_stat_activity
                     where datname = current_database() and application_name = 'counterfoil' and state like $1";
    sqlx::query_scalar(statement)
        .bind(state)
        .fetch_one(&app.db.owner)
        .await
        .expect("the connections")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut_before_the_commit_is_tried_once_more() {
    let app = App::start().await;
    let mut lock = app.db.owner.begin().await.unwrap();
    let hold = "select 1 from merchant where merchant_id = $1 for update";
    sqlx::query(hold)
        .bind(app.merchant.0)
        .execute(&mut *lock)
        .await
        .unwrap();
    let till = app.admin.clone();
    let request = tokio::spawn(async move { till.record("k-1", &sale("A-1")).await });
    let killed = eventually("the write is under way", || async {
        Some(cut(&app, "active").await).filter(|n| *n > 0)
    })
    .await;
    assert_eq!(killed, 1);
    lock.rollback().await.unwrap();
    let answer = request.await.unwrap().expect(201);
    assert_eq!(answer.header("idempotent-replayed"), "");
    assert_eq!(seqs(&app).await, [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_cut_at_any_moment_lose_and_double_nothing() {
    let app = App::start().await;
    let tills: Vec<_> = (0..4)
        .map(|till| {
            let client = app.admin.clone();
            tokio::spawn(async move {
                for n in 0..15 {
                    let name = format!("{till}-{n}");
                    until_answered(&client, &name, &sale(&name)).await;
                }
            })
        })
        .collect();
    let mut cuts = 0;
    while tills.iter().any(|till| !till.is_finished()) {
        cuts += cut(&app, "%").await;
        tokio::time::sleep(Duration::from_millis(37)).await;
    }
    for till in tills {
        till.await.expect("a till");
    }
    assert!(cuts > 5, "{cuts} connections were cut");
    assert_eq!(seqs(&app).await, (1..=60).collect::<Vec<_>>());
}
