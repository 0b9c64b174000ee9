//! What was paid is given back: money, pieces and the record.

use counterfoil::dev::payments::Plan;
use serde_json::{Value, json};

use super::{Store, ordered, pay, put, read, until};
use crate::catalogue::stocked;
use crate::harness::{Answer, Client, eventually};
use crate::openapi::check_told;

async fn paid(store: &Store, customer: &Client, product: &str, pieces: i64, card: &str) -> Value {
    let order = ordered(customer, product, pieces).await;
    pay(customer, &order, card, "pay").await.expect(200);
    let order = until(customer, &order, "PAID").await;
    assert!(order["sale_id"].is_string(), "{order}");
    let _ = store;
    order
}

async fn refund(store: &Store, order: &Value, key: &str, body: Value) -> Answer {
    let path = format!(
        "/v1/orders/{}/refunds",
        order["id"].as_str().expect("an id")
    );
    store.admin.post(&path, key, body.to_string()).await
}

async fn settled(store: &Store, refund: &Value, state: &str) -> Value {
    let path = format!(
        "/v1/orders/{}/refunds/{}",
        refund["order_id"].as_str().expect("an id"),
        refund["id"].as_str().expect("an id")
    );
    eventually(state, async || {
        let refund = store.admin.get(&path).await.expect(200).json();
        (refund["status"] == state).then_some(refund)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_refunded_in_parts_that_add_up() {
    let store = Store::open().await;
    let lamp = stocked(&store.admin, "LAMP", "33.33", 10).await;
    let customer = store.customer().await;
    let order = paid(&store, &customer, &lamp, 3, "pm_card_visa").await;
    let one = json!({"items": [{"product_id": lamp, "quantity": 1}], "reason": "broken", "restock": false});
    let made = refund(&store, &order, "r1", one.clone()).await.expect(201);
    let first = made.json();
    assert_eq!(
        (&first["amount"]["value"], &first["cause"]),
        (&json!("33.33"), &json!("requested"))
    );
    assert_eq!(
        refund(&store, &order, "r1", one).await.expect(201).text,
        made.text
    );
    let first = settled(&store, &first, "succeeded").await;
    assert_eq!(
        store.stock(&lamp).await,
        (7, 0),
        "broken pieces do not come back"
    );
    let recorded = first["sale_id"].as_str().expect("in the record");
    let recorded = store
        .admin
        .get(&format!("/v1/sales/{recorded}"))
        .await
        .expect(200)
        .json();
    assert_eq!(
        (&recorded["kind"], &recorded["refers_to"]),
        (&json!("refund"), &order["sale_id"])
    );
    assert_eq!(recorded["order_id"], first["id"]);

    check_bounds(&store, &order, &lamp).await;
    let part = json!({"amount": {"value": "0.66", "currency": "INR"}});
    let part = refund(&store, &order, "r2", part).await.expect(201).json();
    settled(&store, &part, "succeeded").await;
    // the rest: pieces and money
    let rest = refund(&store, &order, "r3", json!({}))
        .await
        .expect(201)
        .json();
    assert_eq!(rest["amount"]["value"], "66.00");
    settled(&store, &rest, "succeeded").await;
    assert_eq!(store.stock(&lamp).await, (9, 0));
    refund(&store, &order, "r4", json!({}))
        .await
        .problem("nothing_to_refund");
    let whole = read(&customer, &order).await;
    assert_eq!(whole["refunded"], whole["total"]);
    let list = customer
        .get(&format!(
            "/v1/orders/{}/refunds",
            order["id"].as_str().unwrap()
        ))
        .await;
    assert_eq!(
        list.expect(200).json()["data"].as_array().map(Vec::len),
        Some(3)
    );
    store.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_refunds_of_everything_one_is_made() {
    let store = Store::open().await;
    let lamp = stocked(&store.admin, "LAMP", "10.00", 10).await;
    let customer = store.customer().await;
    let order = paid(&store, &customer, &lamp, 2, "pm_card_visa").await;
    let all = (0..8).map(|n| {
        let (store, order) = (&store, &order);
        async move { refund(store, order, &format!("r{n}"), json!({})).await }
    });
    let answers = futures_util::future::join_all(all).await;
    let made: Vec<_> = answers
        .iter()
        .filter(|answer| answer.status == 201)
        .collect();
    assert_eq!(made.len(), 1);
    settled(&store, &made[0].json(), "succeeded").await;
    assert_eq!(store.provider.refunds().len(), 1);
    assert_eq!(store.stock(&lamp).await, (10, 0));
    store.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_waits_for_its_provider_and_is_made_once() {
    let store = Store::open().await;
    let lamp = stocked(&store.admin, "LAMP", "10.00", 10).await;
    let customer = store.customer().await;
    let order = paid(&store, &customer, &lamp, 2, "pm_card_visa").await;
    // made there, and we are not told; then it is away
    store.provider.set_plan(Plan {
        cut: 1,
        refuse: 0,
        webhook_hold: true,
        ..Plan::default()
    });
    let made = refund(&store, &order, "r1", json!({}))
        .await
        .expect(201)
        .json();
    settled(&store, &made, "succeeded").await;
    assert_eq!(store.provider.refunds().len(), 1);
    put(&customer, &lamp, 1).await.expect(200);
    store.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_the_provider_is_no_word_that_no_money_went() {
    let store = Store::open().await;
    let lamp = stocked(&store.admin, "LAMP", "10.00", 10).await;
    // our key is not taken, as while it is replaced; the provider is away
    for (n, status) in [401, 503].into_iter().enumerate() {
        let customer = store.customer().await;
        let order = paid(&store, &customer, &lamp, 1, "pm_card_visa").await;
        store.provider.set_plan(Plan {
            refuse: 1,
            refuse_status: status,
            ..Plan::default()
        });
        let made = refund(&store, &order, &format!("r{n}"), json!({})).await;
        let made = made.expect(201).json();
        assert_eq!(made["status"], "pending", "{made}");
        let settled = settled(&store, &made, "succeeded").await;
        assert!(settled["sale_id"].is_string(), "{settled}");
        assert_eq!(store.provider.refunds().len(), n + 1);
    }
    assert_eq!(store.stock(&lamp).await, (10, 0));
    store.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_that_comes_back_has_failed_and_somebody_is_told() {
    let store = Store::open().await;
    let lamp = stocked(&store.admin, "LAMP", "10.00", 3).await;
    let customer = store.customer().await;
    let order = paid(&store, &customer, &lamp, 1, "pm_card_refundFail").await;
    store.provider.set_plan(Plan {
        settle_ms: 200,
        ..Plan::default()
    });
    let made = refund(&store, &order, "r1", json!({})).await;
    let failed = settled(&store, &made.expect(201).json(), "failed").await;
    assert_eq!(
        failed["parked"],
        "the provider could not give it back after all"
    );
    assert!(failed["last_error"].is_string(), "{failed}");
    // the record of sales keeps what it was told
    assert!(failed["sale_id"].is_string(), "{failed}");
    let events = store.admin.get("/v1/events?type=refund.failed").await;
    let events = events.expect(200).json();
    assert_eq!(events["data"].as_array().map(Vec::len), Some(1), "{events}");
    let told = &events["data"][0]["data"];
    check_told("refund.failed", told);
    assert_eq!(told["status"], "failed");
    assert_eq!(told["last_error"], failed["last_error"]);
    // with the order, its refunds are dealt with
    let path = format!("/v1/orders/{}/unpark", order["id"].as_str().unwrap());
    let done = r#"{"reason": "paid back by bank transfer"}"#;
    store.admin.post(&path, "u", done).await.expect(200);
    let failed = settled(&store, &failed, "failed").await;
    assert!(failed.get("parked").is_none(), "{failed}");
    let events = store.admin.get("/v1/events?type=order.unparked").await;
    let told = events.expect(200).json()["data"][0]["data"].clone();
    assert_eq!(
        told["was"],
        json!(["the provider could not give it back after all"])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_that_fails_leaves_all_as_it_was() {
    let store = Store::open().await;
    let lamp = stocked(&store.admin, "LAMP", "10.00", 10).await;
    let customer = store.customer().await;
    let order = ordered(&customer, &lamp, 1).await;
    let id = order["id"].as_str().unwrap();
    refund(&store, &order, "r0", json!({}))
        .await
        .problem("order_not_paid");
    customer
        .post(&format!("/v1/orders/{id}/refunds"), "r0", "{}")
        .await
        .problem("forbidden");
    pay(&customer, &order, "pm_card_visa", "pay")
        .await
        .expect(200);
    let order = until(&customer, &order, "PAID").await;
    // somebody has given it back at the provider already
    store
        .run("update payment_intent set provider_ref = 'pi_gone'")
        .await;
    let made = refund(&store, &order, "r1", json!({}))
        .await
        .expect(201)
        .json();
    let failed = settled(&store, &made, "failed").await;
    assert!(
        failed["last_error"].is_string() && failed["sale_id"].is_null(),
        "{failed}"
    );
    let order = read(&customer, &order).await;
    assert_eq!(
        (&order["refunded"]["minor"], &order["items"][0]["refunded"]),
        (&json!(0), &json!(0))
    );
    assert_eq!(store.stock(&lamp).await, (9, 0));
}

/// Of three pieces for 99.99 one is given back: what more than the rest is refused.
async fn check_bounds(store: &Store, order: &Value, lamp: &str) {
    for (body, code) in [
        (
            json!({"amount": {"value": "1.00", "currency": "EUR"}}),
            "refund_currency",
        ),
        (
            json!({"items": [{"product_id": lamp, "quantity": 3}]}),
            "pieces_invalid",
        ),
        (json!({"items": []}), "pieces_invalid"),
    ] {
        refund(store, order, "r2", body).await.problem(code);
    }
    for (product, quantity, detail) in [
        (
            lamp,
            3,
            format!("2 of {lamp} can still be given back, not 3"),
        ),
        (
            "prd_01hf7yat00e8t8n6hpj7w9m4qk",
            1,
            "prd_01hf7yat00e8t8n6hpj7w9m4qk is not in this order".to_owned(),
        ),
    ] {
        let body = json!({"items": [{"product_id": product, "quantity": quantity}]});
        let refused = refund(store, order, "r2", body).await;
        assert_eq!(refused.problem("pieces_invalid")["detail"], detail);
    }
    let body = json!({"amount": {"value": "66.67", "currency": "INR"}});
    let refused = refund(store, order, "r2", body).await;
    let refused = refused.problem("refund_exceeds");
    assert_eq!(refused["errors"][0]["meta"]["left"], "66.66");
}
