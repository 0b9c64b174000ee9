//! What a shop's own program says of an order at checkout, and what becomes of it.

use counterfoil::http::auth::Role;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Store, checkout, pay, put, until};
use crate::catalogue::stocked;
use crate::harness::{Answer, Client, eventually, key};

async fn checkout_with(customer: &Client, key: &str, body: &Value) -> Answer {
    customer.post("/v1/checkout", key, body.to_string()).await
}

fn shipping() -> Value {
    json!({
        "name": "Ada Byron",
        "phone": "+44 20 7946 0000",
        "address": {"line1": "12 St James's Square", "city": "London", "postal_code": "SW1Y 4JH", "country": "GB"},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_of_an_order_stays_with_it() {
    let store = Store::open().await;
    let lamp = stocked(&store.admin, "LAMP", "10.00", 9).await;
    let customer = store.customer().await;
    put(&customer, &lamp, 1).await.expect(200);
    let metadata = json!({"gift": "yes", "campaign": "Diwali / \"lights\""});
    let body = json!({"metadata": metadata, "shipping": shipping()});
    let made = checkout_with(&customer, "k", &body).await.expect(201);
    let order = made.json();
    assert_eq!(
        (&order["metadata"], &order["shipping"]),
        (&metadata, &shipping())
    );
    let again = checkout_with(&customer, "k", &body).await.expect(201);
    assert_eq!(again.text, made.text);
    let other = json!({"metadata": metadata});
    checkout_with(&customer, "k", &other)
        .await
        .problem("idempotency_key_reused");

    check_who_reads_the_address(&store, &order).await;

    pay(&customer, &order, "pm_card_visa", "p")
        .await
        .expect(200);
    let paid = until(&customer, &order, "PAID").await;
    assert_eq!(
        (&paid["metadata"], &paid["shipping"]),
        (&metadata, &shipping())
    );
    let sale = format!("/v1/sales/{}", paid["sale_id"].as_str().expect("a sale"));
    let sale = store.admin.get(&sale).await.expect(200);
    assert_eq!(sale.json()["details"]["metadata"], metadata);
    assert!(!sale.text.contains("Byron"), "{}", sale.text);

    let told = eventually("the payment is told of", async || {
        let page = store.admin.get("/v1/events").await.expect(200).json();
        let rows = page["data"].as_array().expect("events");
        rows.iter().find(|row| row["type"] == "order.paid").cloned()
    })
    .await;
    assert_eq!(told["data"]["metadata"], metadata);
    assert_eq!(told["data"]["sale_id"], paid["sale_id"]);
    assert!(!told.to_string().contains("Byron"), "{told}");
}

/// Those who sell send the pieces; who audits need not know where people live.
async fn check_who_reads_the_address(store: &Store, order: &Value) {
    let path = format!("/v1/orders/{}", order["id"].as_str().expect("an id"));
    for (role, sees) in [
        (Role::Admin, true),
        (Role::Pos, true),
        (Role::Auditor, false),
    ] {
        let key = key(&store.db, store.merchant, role, None).await;
        let seen = store.admin.with_key(Some(&key)).get(&path).await;
        let seen = seen.expect(200).json();
        assert_eq!(seen["shipping"].is_object(), sees, "{role:?}: {seen}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_of_an_order_has_bounds() {
    let store = Store::open().await;
    let customer = store.customer().await;
    let mut wrong = shipping();
    wrong["name"] = json!(" ");
    wrong["phone"] = json!("1".repeat(65));
    wrong["address"] = json!({"line1": "x\u{0}", "city": "y".repeat(201), "country": "gb"});
    let metadata = json!({"": "x", "long/key": "v".repeat(501)});
    let body = json!({"metadata": metadata, "shipping": wrong});
    let refused = checkout_with(&customer, "k", &body).await;
    let mut faults = refused.faults();
    faults.sort();
    let expected = [
        ("/metadata/", "text_empty"),
        ("/metadata/long~1key", "text_too_long"),
        ("/shipping/address/city", "text_too_long"),
        ("/shipping/address/country", "country_invalid"),
        ("/shipping/address/line1", "text_has_nul"),
        ("/shipping/name", "text_empty"),
        ("/shipping/phone", "text_too_long"),
    ];
    let expected = expected.map(|(at, code)| (at.to_owned(), code.to_owned()));
    assert_eq!(faults, expected, "{}", refused.text);
    let keys: serde_json::Map<_, _> = (0..51).map(|n| (format!("k{n}"), json!("v"))).collect();
    checkout_with(&customer, "k", &json!({"metadata": keys}))
        .await
        .problem("too_many_keys");
    checkout_with(&customer, "k", &json!({"shipping": {"name": "Ada"}}))
        .await
        .problem("missing_field");
    checkout_with(&customer, "k", &json!({"metadata": {"a": 1}}))
        .await
        .problem("wrong_type");
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_listed_by_when_they_were_made() {
    let store = Store::open().await;
    let lamp = stocked(&store.admin, "LAMP", "10.00", 9).await;
    let customer = store.customer().await;
    let mut made = Vec::new();
    for key in ["a", "b", "c"] {
        put(&customer, &lamp, 1).await.expect(200);
        made.push(checkout(&customer, key).await.expect(201).json());
        // times are of milliseconds
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    let at = |n: usize| made[n]["created_at"].as_str().expect("a time");
    for (query, expected) in [
        (format!("created_at[gte]={}", at(1)), vec![2, 1]),
        (format!("created_at[gt]={}", at(1)), vec![2]),
        (format!("created_at[lte]={}", at(1)), vec![1, 0]),
        (format!("created_at[lt]={}", at(1)), vec![0]),
        (
            format!("created_at[gt]={}&created_at[lt]={}", at(0), at(2)),
            vec![1],
        ),
    ] {
        for caller in [&customer, &store.admin] {
            let page = caller.get(&format!("/v1/orders?{query}")).await;
            let page = page.expect(200).json();
            let rows = page["data"].as_array().expect("orders");
            let ids: Vec<_> = rows.iter().map(|row| &row["id"]).collect();
            let expected: Vec<_> = expected.iter().map(|n| &made[*n]["id"]).collect();
            assert_eq!(ids, expected, "{query}");
        }
    }
    customer
        .get("/v1/orders?created_at[gte]=yesterday")
        .await
        .problem("invalid_parameter");
}

/// A repeat is known by the fingerprint that is kept for ever, so that of a checkout which says no more than the
/// first version of it could has to stay as it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_bare_checkout_has_the_fingerprint_that_it_always_had() {
    let store = Store::open().await;
    let lamp = stocked(&store.admin, "LAMP", "10.00", 9).await;
    let customer = store.customer().await;
    put(&customer, &lamp, 1).await.expect(200);
    checkout_with(&customer, "k", &json!({"metadata": {}}))
        .await
        .expect(201);
    let kept: Vec<u8> = sqlx::query_scalar("select fingerprint from command_key where key = 'k'")
        .fetch_one(&store.db.owner)
        .await
        .expect("the key");
    assert_eq!(
        kept,
        Sha256::digest(br#"["checkout/1",[null,null]]"#).to_vec()
    );
}
