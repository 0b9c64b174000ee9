//! What is refused so that nobody is charged for what cannot be had, and nothing stands still for one.

use counterfoil::dev::payments::Plan;
use counterfoil::http::auth::Role;
use counterfoil::money::Currency;
use counterfoil::payments::amount::Amount;
use counterfoil::payments::provider::NewRefund;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Store, checkout, ordered, pay, put, read, until};
use crate::catalogue::{send, stocked};
use crate::harness::{eventually, key, sale};
use crate::openapi::check_told;

#[tokio::test(flavor = "multi_thread")]
async fn what_the_provider_cannot_charge_is_not_ordered() {
    let store = Store::open().await;
    let customer = store.customer().await;
    for (sku, currency, price) in [("IQ", "IQD", "5.000"), ("KW", "KWD", "9.999")] {
        let body =
            json!({"sku": sku, "name": sku, "price": {"value": price, "currency": currency}});
        let made = send(&store.admin, Method::POST, "/v1/products", &body).await;
        let id = made.expect(201).json()["id"]
            .as_str()
            .expect("an id")
            .to_owned();
        let counted = json!({"quantity": 3, "reason": "delivery"}).to_string();
        let path = format!("/v1/products/{id}/stock");
        store.admin.post(&path, sku, counted).await.expect(200);
        put(&customer, &id, 1).await.expect(200);
        checkout(&customer, sku)
            .await
            .problem("amount_not_chargeable");
        assert_eq!(store.stock(&id).await, (3, 0), "nothing is held");
        customer
            .send(Method::DELETE, "/v1/cart", &[], "")
            .await
            .expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_account_does_not_hold_a_whole_shop() {
    let store = Store::open().await;
    let lamp = stocked(&store.admin, "LAMP", "10.00", 30).await;
    let customer = store.customer().await;
    for n in 0..20 {
        put(&customer, &lamp, 1).await.expect(200);
        checkout(&customer, &format!("k{n}")).await.expect(201);
    }
    put(&customer, &lamp, 1).await.expect(200);
    checkout(&customer, "more")
        .await
        .problem("too_many_pending");
    assert_eq!(store.stock(&lamp).await, (30, 20));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tax_that_changed_is_told_before_it_is_charged() {
    let store = Store::open().await;
    let lamp = stocked(&store.admin, "LAMP", "100.00", 3).await;
    let customer = store.customer().await;
    put(&customer, &lamp, 1).await.expect(200);
    let headers = [("content-type", "application/json"), ("if-match", "\"1\"")];
    let path = format!("/v1/products/{lamp}");
    let more = json!({"tax_rate": "28", "tax_included": false}).to_string();
    store
        .admin
        .send(Method::PATCH, &path, &headers, more)
        .await
        .expect(200);
    let refused = checkout(&customer, "k").await.problem("price_changed");
    assert_eq!(
        refused["errors"][0]["meta"]["problems"][0]["code"],
        "tax_changed"
    );
    let cart = put(&customer, &lamp, 1).await.expect(200).json();
    assert_eq!(cart["total"]["value"], "128.00");
    let order = checkout(&customer, "k").await.expect(201).json();
    assert_eq!(order["total"], cart["total"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_about_to_end_charges_nobody() {
    let store = Store::open().await;
    let lamp = stocked(&store.admin, "LAMP", "10.00", 3).await;
    let customer = store.customer().await;
    let order = ordered(&customer, &lamp, 1).await;
    pay(&customer, &order, "pm_card_visa_chargeDeclined", "no")
        .await
        .problem("payment_declined");
    // it ends, and the provider was not yet asked to cancel
    store
        .run("update shop_order set ending = 'customer', ending_at = now(), hold = 'released', parked = 'a test'")
        .await;
    pay(&customer, &order, "pm_card_visa", "late")
        .await
        .problem("order_not_payable");
    let intent = order["payment_intent"]["id"].as_str().expect("an id");
    let told = customer.get(&format!("/v1/payment_intents/{intent}")).await;
    assert!(told.expect(200).json()["client_secret"].is_null());
    assert_eq!(store.provider.intents()[0]["amount_received"], 0);
    // and whoever is not the customer never has the secret
    let other = ordered(&store.customer().await, &lamp, 1).await;
    let intent = other["payment_intent"]["id"].as_str().expect("an id");
    let told = store
        .admin
        .get(&format!("/v1/payment_intents/{intent}"))
        .await;
    assert!(told.expect(200).json()["client_secret"].is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_hangs_keeps_no_pieces_from_others() {
    let store = Store::open().await;
    let lamp = stocked(&store.admin, "LAMP", "10.00", 3).await;
    let customer = store.customer().await;
    let order = ordered(&customer, &lamp, 3).await;
    pay(&customer, &order, "pm_card_visa_chargeDeclined", "no")
        .await
        .problem("payment_declined");
    store.provider.set_plan(Plan {
        slow: 1000,
        slow_ms: 8_000,
        ..Plan::default()
    });
    store.let_orders_expire().await;
    eventually("the pieces are free", async || {
        (store.stock(&lamp).await == (3, 0)).then_some(())
    })
    .await;
    assert_eq!(
        read(&customer, &order).await["state"],
        "PENDING",
        "the provider has not answered"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn money_that_went_back_elsewhere_is_seen() {
    let store = Store::open().await;
    let lamp = stocked(&store.admin, "LAMP", "10.00", 3).await;
    let customer = store.customer().await;
    let order = ordered(&customer, &lamp, 1).await;
    pay(&customer, &order, "pm_card_visa", "pay")
        .await
        .expect(200);
    let order = until(&customer, &order, "PAID").await;
    let id = order["id"].as_str().expect("an id");
    let intents = store.provider.intents();
    let inr = Currency::from_code("INR").expect("a currency");
    let elsewhere = NewRefund {
        paid: intents[0]["id"].as_str().expect("an id"),
        amount: Amount {
            minor: 400,
            currency: inr,
        },
        merchant: "somebody",
        order: "by hand",
        refund: "none of ours",
    };
    let made = store
        .provider
        .provider()
        .create_refund(&elsewhere, "by-hand")
        .await;
    made.expect("a refund");
    eventually("it is parked", async || {
        let order = store
            .admin
            .get(&format!("/v1/orders/{id}"))
            .await
            .expect(200)
            .json();
        order["parked"].is_string().then_some(())
    })
    .await;
    let path = format!("/v1/orders/{id}/refunds");
    store
        .admin
        .post(&path, "r", "{}")
        .await
        .problem("order_parked");
    check_unparking(&store, id).await;
    // what somebody has looked at is not told again, though the provider names it with all that follows
    for (back, parks) in [(400, false), (500, true)] {
        let note = format!("select note_charge(provider_ref, {back}) from payment_intent");
        store.run(&note).await;
        let path = format!("/v1/orders/{id}");
        let order = store.admin.get(&path).await.expect(200).json();
        assert_eq!(order["parked"].is_string(), parks, "{order}");
    }
}

/// An administrator says what was done about it, once.
async fn check_unparking(store: &Store, id: &str) {
    let path = format!("/v1/orders/{id}/unpark");
    let done = r#"{"reason": "the lamp was counted in"}"#;
    let unparked = store.admin.post(&path, "u", done).await.expect(200);
    assert!(unparked.json().get("parked").is_none(), "{}", unparked.text);
    let again = store.admin.post(&path, "u", done).await.expect(200);
    assert_eq!(again.text, unparked.text);
    store
        .admin
        .post(&path, "u2", done)
        .await
        .problem("order_not_parked");
    store
        .admin
        .post(&path, "u3", r#"{"reason": " "}"#)
        .await
        .problem("text_empty");
    let events = store.admin.get("/v1/events").await.expect(200).json();
    let told = &events["data"][0];
    assert_eq!(told["type"], "order.unparked");
    check_told("order.unparked", &told["data"]);
    assert_eq!(told["data"]["reason"], "the lamp was counted in");
    assert!(
        told["data"]["was"][0]
            .as_str()
            .is_some_and(|was| was.contains("gave back")),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_of_which_nothing_was_sold_is_cancelled_instead() {
    let store = Store::open().await;
    let lamp = stocked(&store.admin, "LAMP", "10.00", 3).await;
    let order = ordered(&store.customer().await, &lamp, 1).await;
    let path = format!("/v1/orders/{}", order["id"].as_str().expect("an id"));
    let unpark = async || {
        let done = r#"{"reason": "given back"}"#;
        store.admin.post(&format!("{path}/unpark"), "u", done).await
    };
    unpark().await.problem("order_not_parked");
    // as where another amount was paid
    store
        .run("update shop_order set parked = 'paid too little'")
        .await;
    unpark().await.problem("order_not_paid");
    let cancelled = store.admin.post(&format!("{path}/cancel"), "c", "").await;
    let cancelled = cancelled.expect(200).json();
    assert_eq!(cancelled["state"], "CANCELLED");
    assert!(cancelled.get("parked").is_none(), "{cancelled}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_till_refunds_no_order_and_a_new_key_repeats_no_refund() {
    let store = Store::open().await;
    let lamp = stocked(&store.admin, "LAMP", "10.00", 3).await;
    let customer = store.customer().await;
    let order = ordered(&customer, &lamp, 2).await;
    pay(&customer, &order, "pm_card_visa", "pay")
        .await
        .expect(200);
    let order = until(&customer, &order, "PAID").await;
    let mut back: Value = sale("R-1");
    back["kind"] = "refund".into();
    back["amount"] = json!({"value": "1.00", "currency": "INR"});
    for name in [&order["id"], &order["sale_id"]] {
        back["refers_to"] = name.clone();
        let refused = store.admin.record("R-1", &back).await;
        refused.problem("refund_of_order");
    }

    // the administrator's key is replaced between a request and its repeat
    let path = format!(
        "/v1/orders/{}/refunds",
        order["id"].as_str().expect("an id")
    );
    let body = json!({"items": [{"product_id": lamp, "quantity": 1}]}).to_string();
    let first = store
        .admin
        .post(&path, "same", body.clone())
        .await
        .expect(201);
    let text = key(&store.db, store.merchant, Role::Admin, None).await;
    let again = store
        .admin
        .with_key(Some(&text))
        .post(&path, "same", body)
        .await;
    assert_eq!(again.expect(201).text, first.text);
    eventually("one refund", async || {
        (store.provider.refunds().len() == 1).then_some(())
    })
    .await;
}
