//! Points: earned by what is bought, a part of the price, and back when it is given back.

use serde_json::{Value, json};

use super::{Store, checkout, pay, put, read, until};
use crate::catalogue::stocked;
use crate::harness::{Client, eventually};
use crate::loyalty::put_programme;

/// A point for each rupee, worth 10 paise.
pub(super) async fn programme(store: &Store) {
    let terms = json!({
        "earn": [{"currency": "INR", "rate": "1"}],
        "redeem": {"value": [{"currency": "INR", "value": "0.10"}]}
    });
    put_programme(&store.admin, 0, &terms).await.expect(200);
}

async fn available(customer: &Client) -> String {
    let own = customer.get("/v1/loyalty/me").await.expect(200).json();
    own["available"].as_str().expect("points").to_owned()
}

/// A paid order of so many lamps for 100.00 each.
async fn bought(customer: &Client, lamp: &str, pieces: i64, body: Value, key: &str) -> Value {
    put(customer, lamp, pieces).await.expect(200);
    let order = customer.post("/v1/checkout", key, body.to_string()).await;
    let order = order.expect(201).json();
    pay(customer, &order, "pm_card_visa", key).await.expect(200);
    until(customer, &order, "PAID").await
}

#[tokio::test(flavor = "multi_thread")]
async fn points_are_earned_spent_and_given_back_with_the_money() {
    let store = Store::open().await;
    programme(&store).await;
    let lamp = stocked(&store.admin, "LAMP", "100.00", 9).await;
    let customer = store.customer().await;
    bought(&customer, &lamp, 2, json!({}), "one").await;
    assert_eq!(available(&customer).await, "200");

    let order = bought(&customer, &lamp, 1, json!({"redeem_points": "150"}), "two").await;
    assert_eq!(
        (&order["discount"]["value"], &order["total"]["value"]),
        (&json!("15.00"), &json!("85.00"))
    );
    // 200 - 150 + 85
    assert_eq!(available(&customer).await, "135");
    let path = format!("/v1/orders/{}/refunds", order["id"].as_str().unwrap());
    let half = r#"{"amount":{"value":"40.00","currency":"INR"}}"#;
    for (key, body) in [("half", half), ("rest", "{}")] {
        let made = store.admin.post(&path, key, body).await.expect(201).json();
        let at = format!("{path}/{}", made["id"].as_str().unwrap());
        eventually("it is given back", async || {
            let refund = store.admin.get(&at).await.expect(200).json();
            (refund["status"] == "succeeded").then_some(())
        })
        .await;
    }
    assert_eq!(available(&customer).await, "200", "as if it had not been");
    assert_eq!(read(&customer, &order).await["refunded"], order["total"]);
    store.check_books().await;
}

/// Points paid a part of each piece: with one of two goes half of the money, and half of the points.
#[tokio::test(flavor = "multi_thread")]
async fn pieces_that_points_paid_for_in_part_give_back_their_share_of_both() {
    let store = Store::open().await;
    programme(&store).await;
    let lamp = stocked(&store.admin, "LAMP", "100.00", 9).await;
    let customer = store.customer().await;
    bought(&customer, &lamp, 5, json!({}), "one").await;
    let order = bought(&customer, &lamp, 2, json!({"redeem_points": "500"}), "two").await;
    assert_eq!(order["total"]["value"], "150.00");
    // 500 - 500 + 150
    assert_eq!(available(&customer).await, "150");
    let id = order["id"].as_str().unwrap();
    // a till gives nothing of it back by itself
    let redemption = format!(
        "/v1/loyalty/redemptions/{}/give_back",
        id.replacen("ord_", "rdm_", 1)
    );
    let all = r#"{"points":"500"}"#;
    let refused = store.admin.post(&redemption, "k", all).await;
    refused.problem("refund_of_order");

    let path = format!("/v1/orders/{id}/refunds");
    let one = json!({"items": [{"product_id": lamp, "quantity": 1}]}).to_string();
    // 150 + 250 - 75, and as before the order
    for (key, body, left) in [("one", one, "325"), ("rest", "{}".to_owned(), "500")] {
        let made = store.admin.post(&path, key, body).await.expect(201).json();
        assert_eq!(made["amount"]["value"], "75.00");
        let at = format!("{path}/{}", made["id"].as_str().unwrap());
        eventually("it is given back", async || {
            let refund = store.admin.get(&at).await.expect(200).json();
            (refund["status"] == "succeeded").then_some(())
        })
        .await;
        assert_eq!(available(&customer).await, left);
    }
    store.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn points_of_an_order_that_ends_are_there_again() {
    let store = Store::open().await;
    programme(&store).await;
    let lamp = stocked(&store.admin, "LAMP", "10.00", 9).await;
    let customer = store.customer().await;
    bought(&customer, &lamp, 5, json!({}), "one").await;
    put(&customer, &lamp, 1).await.expect(200);
    for (points, code) in [
        ("51", "points_insufficient"),
        ("101", "points_out_of_bounds"),
        ("-1", "money_negative"),
        ("x", "money_malformed"),
    ] {
        let body = json!({ "redeem_points": points }).to_string();
        customer
            .post("/v1/checkout", "two", body)
            .await
            .problem(code);
    }
    assert_eq!(store.stock(&lamp).await, (4, 0), "a refusal holds nothing");
    let buyer = store.customer().await;
    bought(&buyer, &lamp, 1, json!({}), "one").await;
    let cord = stocked(&store.admin, "CORD", "1.00", 1).await;
    put(&buyer, &cord, 1).await.expect(200);
    let all = json!({"redeem_points": "10"}).to_string();
    let refused = buyer.post("/v1/checkout", "two", all).await;
    refused.problem("order_free");
    let body = json!({"redeem_points": "50"}).to_string();
    let order = customer
        .post("/v1/checkout", "two", body)
        .await
        .expect(201)
        .json();
    assert_eq!(order["total"]["value"], "5.00");
    assert_eq!(available(&customer).await, "0");
    store.let_orders_expire().await;
    until(&customer, &order, "CANCELLED").await;
    assert_eq!(available(&customer).await, "50");
    // and of one whose payment comes when nobody wants it any more
    put(&customer, &lamp, 1).await.expect(200);
    checkout(&customer, "three").await.expect(201);
    store.check_books().await;
}
