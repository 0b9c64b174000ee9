//! What arrives while a flush is written goes together in the next.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::harness::{Answer, App, Client, Database, eventually, sale};

/// Holds every merchant's row, so that flushes wait.
struct Hold<'a>(sqlx::Transaction<'a, sqlx::Postgres>);

impl Hold<'_> {
    async fn on(db: &Database) -> Hold<'_> {
        let mut tx = db.owner.begin().await.expect("a transaction");
        sqlx::query("select 1 from merchant for update")
            .execute(&mut *tx)
            .await
            .expect("the lock");
        Hold(tx)
    }

    async fn let_go(self) {
        self.0.rollback().await.expect("the end of the transaction");
    }
}

/// Waits until a flush waits for its merchant.
async fn flush_waits(db: &Database) {
    eventually("a flush waits for its merchant", || async {
        let waiting: i64 = sqlx::query_scalar(
            "select count(*) from pg_stat_activity
             where datname = current_database() and wait_event_type = 'Lock'",
        )
        .fetch_one(&db.owner)
        .await
        .expect("the activity");
        (waiting > 0).then_some(())
    })
    .await;
}

fn send(till: &Client, key: &str, body: Value) -> JoinHandle<Answer> {
    let (till, key) = (till.clone(), key.to_owned());
    tokio::spawn(async move { till.record(&key, &body).await })
}

/// Time for what was sent to reach its lane. Should it be too short the test holds nothing, but does
/// not fail.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}

async fn orders(app: &App) -> Vec<String> {
    sqlx::query_scalar("select order_id from sale where merchant_id = $1 order by seq")
        .bind(app.merchant.0)
        .fetch_all(&app.db.owner)
        .await
        .expect("the sales")
}

#[tokio::test(flavor = "multi_thread")]
async fn sales_that_wait_go_together_in_the_order_of_their_arrival() {
    let app = App::start().await;
    let hold = Hold::on(&app.db).await;
    let mut sent = vec![send(&app.admin, "k-0", sale("A-0"))];
    flush_waits(&app.db).await;
    for n in 1..20 {
        sent.push(send(&app.admin, &format!("k-{n}"), sale(&format!("A-{n}"))));
        settle().await;
    }
    hold.let_go().await;
    for answer in sent {
        answer.await.unwrap().expect(201);
    }
    let expected: Vec<String> = (0..20).map(|n| format!("A-{n}")).collect();
    assert_eq!(orders(&app).await, expected);
    let flushes: i64 = sqlx::query_scalar("select count(distinct xmin::text) from sale")
        .fetch_one(&app.db.owner)
        .await
        .unwrap();
    assert_eq!(flushes, 2, "the first alone, then all that waited");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_sale_among_those_that_wait_fails_alone() {
    let app = App::start().await;
    sqlx::query("alter table sale add constraint no_poison check (order_id <> 'POISON')")
        .execute(&app.db.owner)
        .await
        .unwrap();
    app.admin
        .record("k-used", &sale("A-used"))
        .await
        .expect(201);
    let hold = Hold::on(&app.db).await;
    let mut sent = vec![send(&app.admin, "k-first", sale("A-first"))];
    flush_waits(&app.db).await;
    let poison = send(&app.admin, "k-poison", sale("POISON"));
    let reused = send(&app.admin, "k-used", sale("A-other"));
    let mut refund = sale("R-1");
    refund["kind"] = json!("refund");
    refund["refers_to"] = json!("nothing");
    let refund = send(&app.admin, "k-refund", refund);
    for n in 0..10 {
        sent.push(send(&app.admin, &format!("k-{n}"), sale(&format!("A-{n}"))));
    }
    settle().await;
    hold.let_go().await;
    for answer in sent {
        answer.await.unwrap().expect(201);
    }
    poison.await.unwrap().problem("internal");
    reused.await.unwrap().problem("idempotency_key_reused");
    let refund = refund.await.unwrap();
    assert_eq!(refund.status, 422, "{}", refund.text);
    let stored = orders(&app).await;
    let expected: BTreeSet<String> = (0..10)
        .map(|n| format!("A-{n}"))
        .chain(["A-used".to_owned(), "A-first".to_owned()])
        .collect();
    assert_eq!(stored.into_iter().collect::<BTreeSet<_>>(), expected);
    let seqs: Vec<i64> = sqlx::query_scalar("select seq from sale order by seq")
        .fetch_all(&app.db.owner)
        .await
        .unwrap();
    assert_eq!(seqs, (1..=12).collect::<Vec<i64>>(), "without a gap");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_neither_loses_nor_doubles_its_sale() {
    let app = App::start().await;
    let hold = Hold::on(&app.db).await;
    let first = send(&app.admin, "k-0", sale("A-0"));
    flush_waits(&app.db).await;
    for n in 1..10 {
        let body = sale(&format!("A-{n}")).to_string();
        let request = format!(
            "POST /v1/sales HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\nidempotency-key: k-{n}\r\ncontent-length: {}\r\n\r\n{body}",
            app.admin.key(),
            body.len()
        );
        let address = app.server.url.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        settle().await;
    }
    hold.let_go().await;
    first.await.unwrap().expect(201);
    for n in 0..10 {
        send(&app.admin, &format!("k-{n}"), sale(&format!("A-{n}")))
            .await
            .unwrap()
            .expect(201);
    }
    let stored = orders(&app).await;
    assert_eq!(stored.len(), 10, "{stored:?}");
    assert_eq!(stored.iter().collect::<BTreeSet<_>>().len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_lane_is_full_the_rest_is_refused_at_once_and_never_written() {
    let app = App::start().await;
    let (_, other) = app.stranger().await;
    let hold = Hold::on(&app.db).await;
    let batches: Vec<_> = (0..20)
        .map(|batch| {
            let till = app.admin.clone();
            tokio::spawn(async move {
                let items: Vec<Value> = (0..500)
                    .map(|n| {
                        let mut item = sale(&format!("A-{batch}-{n}"));
                        item["idempotency_key"] = json!(format!("k-{batch}-{n}"));
                        item
                    })
                    .collect();
                (batch, till.record_batch(&items).await)
            })
        })
        .collect();
    // 8,192 rows are the lane's bound: 16 batches wait, 4 are told so while the others still wait
    eventually("the lane is full", || async {
        (batches.iter().filter(|batch| batch.is_finished()).count() == 4).then_some(())
    })
    .await;
    let waiting = send(&other, "k", sale("A"));
    settle().await;
    assert!(!waiting.is_finished(), "another merchant has room");
    hold.let_go().await;
    let mut expected = BTreeSet::new();
    for batch in batches {
        let (batch, answer) = batch.await.unwrap();
        match answer.status {
            200 => expected.extend((0..500).map(|n| format!("A-{batch}-{n}"))),
            _ => {
                assert_eq!(answer.header("retry-after"), "1");
                answer.problem("overloaded");
            }
        }
    }
    waiting.await.unwrap().expect(201);
    assert_eq!(expected.len(), 16 * 500);
    let stored: BTreeSet<String> = orders(&app).await.into_iter().collect();
    assert_eq!(stored, expected);
}
