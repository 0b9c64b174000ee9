//! Once: the table of idempotency of the conventions, row by row.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, App, sale};

/// Checks that `again` is the answer `first` was, byte for byte, and says so.
#[track_caller]
fn assert_replay(first: &Answer, again: &Answer) {
    assert_eq!(again.status, first.status, "{}", again.text);
    assert_eq!(again.text, first.text);
    assert_eq!(again.header("location"), first.header("location"));
    assert_eq!(again.header("content-type"), first.header("content-type"));
    assert_eq!(first.header("idempotent-replayed"), "");
    assert_eq!(again.header("idempotent-replayed"), "true");
}

async fn stored(app: &App) -> i64 {
    sqlx::query_scalar("select count(*) from sale")
        .fetch_one(&app.db.owner)
        .await
        .expect("a count")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_is_answered_the_same_at_any_age() {
    let app = App::start().await;
    let body = sale("A-1");
    let first = app.admin.record("k-1", &body).await.expect(201);
    // the order of fields, nulls and the written form of a number change nothing
    let spelled = r#"{"amount": {"currency": "GBP", "value": "10"}, "kind": "sale", "order_id": "\u0041-1", "lines": [], "cashier": null}"#;
    assert_replay(&first, &app.admin.record("k-1", &body).await);
    assert_replay(&first, &app.admin.record("\"k-1\"", &body).await);
    assert_replay(&first, &app.admin.post("/v1/sales", "k-1", spelled).await);
    sqlx::query("update idempotency_key set created_at = created_at - interval '10 years'")
        .execute(&app.db.owner)
        .await
        .unwrap();
    assert_replay(&first, &app.admin.record("k-1", &body).await);
    // the same order id under another key, and that key from then on
    assert_replay(&first, &app.admin.record("k-2", &body).await);
    assert_replay(&first, &app.admin.record("k-2", &body).await);
    assert_eq!(stored(&app).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_belongs_to_one_body() {
    let app = App::start().await;
    app.admin.record("k-1", &sale("A-1")).await.expect(201);
    let other = json!({"order_id": "A-1", "amount": {"value": "10.01", "currency": "GBP"}});
    for changed in [sale("A-2"), other] {
        let answer = app.admin.record("k-1", &changed).await.expect(422);
        answer.problem("idempotency_key_reused");
        assert_eq!(answer.header("idempotent-replayed"), "");
    }
    // and what was refused so is not remembered: the first body is still answered
    let again = app.admin.record("k-1", &sale("A-1")).await.expect(201);
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(stored(&app).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_orders_of_merchants_do_not_meet() {
    let app = App::start().await;
    let (_, stranger) = app.stranger().await;
    let ours = app
        .admin
        .record("k-1", &sale("A-1"))
        .await
        .expect(201)
        .json();
    let theirs = stranger.record("k-1", &sale("A-1")).await.expect(201);
    assert_eq!(theirs.header("idempotent-replayed"), "");
    assert_eq!(
        (&ours["seq"], &theirs.json()["seq"]),
        (&json!(1), &json!(1))
    );
    assert_ne!(ours["sale_id"], theirs.json()["sale_id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_kept_for_a_day() {
    let app = App::start().await;
    let first_sale = app
        .admin
        .record("k-1", &sale("A-1"))
        .await
        .expect(201)
        .json();
    let taken = json!({"order_id": "A-1", "amount": {"value": "99.00", "currency": "GBP"}});
    let too_much = json!({
        "order_id": "R-1", "kind": "refund", "refers_to": "A-1", "amount": {"value": "10.01", "currency": "GBP"},
    });
    let mut refused = Vec::new();
    for (key, body, status, code) in [
        ("k-2", &taken, 409, "order_exists"),
        ("k-3", &too_much, 422, "refund_exceeds"),
    ] {
        let first = app.admin.record(key, body).await.expect(status);
        let problem = first.problem(code);
        assert_eq!(
            problem["errors"][0]["meta"]["sale_id"],
            first_sale["sale_id"]
        );
        let again = app.admin.record(key, body).await;
        assert_replay(&first, &again);
        // the request it names is the first one
        assert_ne!(again.header("x-request-id"), first.header("x-request-id"));
        // also from a batch
        let mut item = body.clone();
        item["idempotency_key"] = json!(key);
        let batch = app.admin.record_batch(&[item]).await.expect(200).json();
        assert_eq!(batch["items"][0]["body"].to_string(), first.text);
        assert_eq!(batch["items"][0]["replayed"], true);
        refused.push(first);
    }
    assert_eq!(refused[1].json()["errors"][0]["meta"]["left"], "10.00");

    sqlx::query(
        "update idempotency_key set created_at = created_at - interval '24 hours 1 second'",
    )
    .execute(&app.db.owner)
    .await
    .unwrap();
    // forgotten: refused anew, and the key may even be given to another body
    let anew = app.admin.record("k-2", &taken).await.expect(409);
    assert_eq!(anew.header("idempotent-replayed"), "");
    anew.problem("order_exists");
    let corrected = app.admin.record("k-3", &sale("A-3")).await.expect(201);
    assert_replay(&corrected, &app.admin.record("k-3", &sale("A-3")).await);
    assert_eq!(stored(&app).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_did_nothing_is_not_kept() {
    let app = App::start().await;
    let refund = |of: &str, currency: &str| json!({"order_id": "R-1", "kind": "refund", "refers_to": of, "amount": {"value": "1", "currency": currency}});
    let malformed = json!({"order_id": "R-1", "amount": 5});
    let keyless = app.admin.with_key(None);
    keyless
        .record("k-1", &refund("A-1", "GBP"))
        .await
        .expect(401);
    app.admin.record("k-1", &malformed).await.expect(400);
    app.admin
        .record("k-1", &refund("a b", "GBP"))
        .await
        .expect(422);
    app.admin
        .record("k-1", &refund("A-1", "GBP"))
        .await
        .problem("refund_sale_unknown");
    app.admin.record("k-2", &sale("A-1")).await.expect(201);
    app.admin
        .record("k-1", &refund("A-1", "EUR"))
        .await
        .problem("refund_currency");
    let done = app
        .admin
        .record("k-1", &refund("A-1", "GBP"))
        .await
        .expect(201);
    assert_eq!(done.header("idempotent-replayed"), "");
    assert_eq!(done.json()["seq"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_has_one_fingerprint_by_every_route() {
    let app = App::start().await;
    let address = "0x70997970c51812dc3a010c7d01b50e0d17dc79c8";
    let new = json!({"order_id": "A-1", "amount": {"value": "1500.75", "currency": "INR"}, "customer_address": address});
    let old =
        json!({"orderid": "A-1", "customeraddress": address, "amountINR": 1500.75}).to_string();
    let first = app.admin.record("k-1", &new).await.expect(201);

    // the same key by the first version's route: the answer that the key was given
    assert_replay(
        &first,
        &app.admin
            .post("/transactions/record", "k-1", old.clone())
            .await,
    );
    // another key there: the answer of that route, for the same sale
    let transaction = app
        .admin
        .post("/transactions/record", "k-2", old.clone())
        .await
        .expect(201);
    assert_eq!(transaction.header("idempotent-replayed"), "true");
    assert_eq!(
        transaction.json()["transaction_id"],
        first.json()["sale_id"]
    );
    // and that key keeps it, by the new route as well
    let again = app.admin.record("k-2", &new).await.expect(201);
    assert_eq!(again.text, transaction.text);
    // in a batch
    let mut item = new.clone();
    item["idempotency_key"] = json!("k-1");
    let batch = app.admin.record_batch(&[item]).await.expect(200).json();
    assert_eq!(batch["items"][0]["body"].to_string(), first.text);
    // the order id is a key in a space of its own: "k-1" there is another key
    let keyless =
        json!({"orderid": "k-1", "customeraddress": address, "amountINR": "3"}).to_string();
    let headers = [("content-type", "application/json")];
    let own = app
        .admin
        .send(
            Method::POST,
            "/transactions/record",
            &headers,
            keyless.clone(),
        )
        .await
        .expect(201);
    assert_eq!(own.json()["orderid"], "k-1");
    assert_replay(
        &own,
        &app.admin
            .send(Method::POST, "/transactions/record", &headers, keyless)
            .await,
    );
    assert_eq!(stored(&app).await, 2);
}

/// The statuses of a batch, each with an r where it was answered before.
fn outcomes(answer: &Value) -> String {
    let items = answer["items"].as_array().expect("items");
    let shown = items.iter().map(|item| {
        let replayed = if item["replayed"] == true { "r" } else { "" };
        format!("{}{replayed}", item["status"])
    });
    shown.collect::<Vec<_>>().join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_twice_in_a_batch_is_one_sale() {
    let app = App::start().await;
    let item = |key: &str, mut body: Value| {
        body["idempotency_key"] = json!(key);
        body
    };
    let other = json!({"order_id": "A-1", "amount": {"value": "11", "currency": "GBP"}});
    let items = [
        item("k-1", sale("A-1")),
        item("k-1", sale("A-1")),   // the same again
        item("k-1", sale("A-2")),   // the key with another body
        item("k-2", sale("A-1")),   // the order with the same body
        item("k-3", other.clone()), // the order with another body
        item("k-3", other),         // that refusal again
        item("k-2", sale("A-1")),
        item("k-4", sale("A-4")),
    ];
    let first = app.admin.record_batch(&items).await.expect(200).json();
    assert_eq!(outcomes(&first), "201 201r 422 201r 409 409r 201r 201");
    for same in [1, 3, 6] {
        assert_eq!(first["items"][same]["body"], first["items"][0]["body"]);
    }
    assert_eq!(first["items"][4]["body"], first["items"][5]["body"]);
    assert_eq!(
        (
            &first["items"][0]["body"]["seq"],
            &first["items"][7]["body"]["seq"]
        ),
        (&json!(1), &json!(2))
    );
    // and the whole batch again
    let again = app.admin.record_batch(&items).await.expect(200).json();
    assert_eq!(outcomes(&again), "201r 201r 422 201r 409r 409r 201r 201r");
    for (a, b) in first["items"]
        .as_array()
        .unwrap()
        .iter()
        .zip(again["items"].as_array().unwrap())
    {
        if a["status"] != 422 {
            assert_eq!(a["body"].to_string(), b["body"].to_string());
        }
    }
    assert_eq!(stored(&app).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_waits_for_the_first_and_not_for_ever() {
    let app = App::start().await;
    let mut lock = app.db.owner.begin().await.unwrap();
    let hold = "select 1 from merchant where merchant_id = $1 for update";
    sqlx::query(hold)
        .bind(app.merchant.0)
        .execute(&mut *lock)
        .await
        .unwrap();

    let body = sale("A-1");
    let first = {
        let (till, body) = (app.admin.clone(), body.clone());
        tokio::spawn(async move { till.record("k-1", &body).await })
    };
    tokio::time::sleep(Duration::from_millis(200)).await;
    // nobody can have the answer yet
    let begun = std::time::Instant::now();
    let impatient = app.admin.record("k-1", &body).await.expect(409);
    impatient.problem("idempotency_in_flight");
    assert_eq!(impatient.header("retry-after"), "1");
    let waited = begun.elapsed();
    assert!(
        waited > Duration::from_millis(1800) && waited < Duration::from_secs(4),
        "{waited:?}"
    );
    // who comes while the first still runs, and is let in sooner, gets its answer
    let waiter = {
        let (till, body) = (app.admin.clone(), body.clone());
        tokio::spawn(async move { till.record("k-1", &body).await })
    };
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!first.is_finished() && !waiter.is_finished());
    lock.rollback().await.unwrap();
    let (first, waiter) = (first.await.unwrap().expect(201), waiter.await.unwrap());
    assert_replay(&first, &waiter);
    assert_eq!(stored(&app).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_is_held_for_long_is_a_503_and_nothing_was_done() {
    let app = App::start().await;
    let mut lock = app.db.owner.begin().await.unwrap();
    let hold = "select 1 from merchant where merchant_id = $1 for update";
    sqlx::query(hold)
        .bind(app.merchant.0)
        .execute(&mut *lock)
        .await
        .unwrap();
    let begun = std::time::Instant::now();
    app.admin
        .record("k-1", &sale("A-1"))
        .await
        .problem("database_unavailable");
    let waited = begun.elapsed();
    let bound = counterfoil::limits::MERCHANT_LOCK_WAIT;
    assert!(
        waited >= bound && waited < bound + Duration::from_secs(5),
        "{waited:?}"
    );
    // meanwhile another merchant sells
    let (_, stranger) = app.stranger().await;
    stranger.record("k-1", &sale("A-1")).await.expect(201);
    lock.rollback().await.unwrap();
    let written = "select (select count(*) from sale where merchant_id = $1)
                        + (select count(*) from idempotency_key where merchant_id = $1)";
    let written: i64 = sqlx::query_scalar(written)
        .bind(app.merchant.0)
        .fetch_one(&app.db.owner)
        .await
        .unwrap();
    assert_eq!(written, 0);
    app.admin.record("k-1", &sale("A-1")).await.expect(201);
}
