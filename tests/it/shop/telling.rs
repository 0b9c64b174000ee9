//! What happens in the shop is told, in the transaction in which it happens.

use serde_json::{Value, json};

use super::points::programme;
use super::{Store, ordered, pay, put, until};
use crate::catalogue::stocked;
use crate::harness::{Client, eventually};
use crate::openapi::check_told;

/// What was told, oldest first: type and data.
async fn told(store: &Store) -> Vec<(String, Value)> {
    let page = store
        .admin
        .get("/v1/events?limit=100")
        .await
        .expect(200)
        .json();
    assert_eq!(page["has_more"], false);
    let rows = page["data"].as_array().expect("events").iter().rev();
    rows.map(|row| {
        let what = row["type"].as_str().expect("a type").to_owned();
        check_told(&what, &row["data"]);
        (what, row["data"].clone())
    })
    .collect()
}

fn names(told: &[(String, Value)]) -> Vec<&str> {
    told.iter().map(|(what, _)| what.as_str()).collect()
}

/// Somebody who wants to know all of it. That nobody answers there changes nothing.
async fn listen(admin: &Client) {
    let body = json!({"url": "http://127.0.0.1:9/told", "types": ["*"]}).to_string();
    admin
        .post("/v1/webhook_endpoints", "listen", body)
        .await
        .expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_told_of_from_its_making_to_its_refund() {
    let store = Store::open().await;
    programme(&store).await;
    listen(&store.admin).await;
    let lamp = stocked(&store.admin, "LAMP", "10.00", 9).await;
    let customer = store.customer().await;
    let order = ordered(&customer, &lamp, 2).await;
    pay(&customer, &order, "pm_card_visa_chargeDeclined", "no")
        .await
        .problem("payment_declined");
    pay(&customer, &order, "pm_card_visa", "yes")
        .await
        .expect(200);
    let order = until(&customer, &order, "PAID").await;
    let path = format!(
        "/v1/orders/{}/refunds",
        order["id"].as_str().expect("an id")
    );
    store.admin.post(&path, "r", "{}").await.expect(201);
    let all = eventually("all is told", async || {
        let all = told(&store).await;
        names(&all).contains(&"order.refunded").then_some(all)
    })
    .await;
    let mut found = names(&all);
    found.sort_unstable();
    let expected = [
        "order.created",
        "order.paid",
        "order.refunded",
        "payment.failed",
        "points.clawed_back",
        "points.earned",
        "sale.recorded",
        "sale.recorded",
    ];
    assert_eq!(found, expected);
    let of = |what: &str| &all.iter().find(|(name, _)| name == what).expect("told").1;
    for what in ["order.created", "order.paid"] {
        assert_eq!(of(what)["id"], order["id"]);
        assert_eq!(of(what)["total"], json!({"currency": "INR", "minor": 2000}));
    }
    assert_eq!(
        (&of("order.created")["state"], &of("order.paid")["state"]),
        (&json!("PENDING"), &json!("PAID"))
    );
    assert_eq!(of("payment.failed")["order_id"], order["id"]);
    assert_eq!(of("order.refunded")["amount"]["minor"], 2000);
    assert_eq!(of("points.earned")["points"], "20");
    assert_eq!(of("points.earned")["member"], order["customer_id"]);
    assert_eq!(of("points.earned")["sale_id"], order["sale_id"]);
    assert_eq!(of("points.clawed_back")["points"], "-20");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_points_paid_of_an_order_is_in_what_is_told_and_nothing_of_what_was_refused() {
    let store = Store::open().await;
    programme(&store).await;
    let lamp = stocked(&store.admin, "LAMP", "10.00", 9).await;
    let customer = store.customer().await;
    let me = customer.get("/v1/me").await.expect(200).json();
    let member = me["id"].as_str().expect("an account");
    let body = json!({"member": member, "points": "50", "reason": "a gift"}).to_string();
    store
        .admin
        .post("/v1/loyalty/adjustments", "gift", body)
        .await
        .expect(200);
    put(&customer, &lamp, 1).await.expect(200);
    let more = json!({"redeem_points": "51"}).to_string();
    customer
        .post("/v1/checkout", "k", more)
        .await
        .problem("points_insufficient");
    assert_eq!(told(&store).await, [], "rolled back, or wanted by nobody");
    let body = json!({"redeem_points": "50"}).to_string();
    let order = customer
        .post("/v1/checkout", "k", body)
        .await
        .expect(201)
        .json();
    let path = format!("/v1/orders/{}/cancel", order["id"].as_str().expect("an id"));
    customer.post(&path, "c", "").await.expect(200);
    let all = told(&store).await;
    // points are told of to those alone who asked for it
    assert_eq!(names(&all), ["order.created", "order.cancelled"]);
    assert_eq!(all[0].1["total"]["minor"], 500, "less what the points paid");
    assert_eq!(all[1].1["ending"], "customer");
}
