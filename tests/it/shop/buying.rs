//! From an empty cart to a sale of the record.

use serde_json::{Value, json};

use super::{Store, checkout, ordered, pay, put, read, until};
use crate::catalogue::{send, stocked};
use crate::harness::Client;
use reqwest::Method;

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_buys_and_the_order_becomes_a_sale() {
    let store = Store::open().await;
    let lamp = stocked(&store.admin, "LAMP", "249.00", 5).await;
    let customer = store.customer().await;
    assert_eq!(
        customer.get("/v1/cart").await.expect(200).json()["items"],
        json!([])
    );
    checkout(&customer, "k").await.problem("cart_empty");
    let cart = put(&customer, &lamp, 2).await.expect(200).json();
    assert_eq!(
        cart["total"],
        json!({"value": "498.00", "currency": "INR", "minor": 49800})
    );
    assert_eq!(
        cart["tax"]["minor"], 7597,
        "18 % within 498.00, rounded half up"
    );
    assert_eq!(cart["problems"], json!([]));

    let made = checkout(&customer, "k").await.expect(201);
    let order = made.json();
    assert_eq!(
        made.header("location"),
        format!("/v1/orders/{}", order["id"].as_str().unwrap())
    );
    assert_eq!(
        (&order["state"], &order["total"]["minor"]),
        (&json!("PENDING"), &json!(49800))
    );
    let again = checkout(&customer, "k").await.expect(201);
    assert_eq!(
        (again.text.as_str(), again.header("idempotent-replayed")),
        (made.text.as_str(), "true")
    );
    assert_eq!(store.stock(&lamp).await, (5, 2), "held, and still there");
    assert_eq!(customer.get("/v1/cart").await.json()["items"], json!([]));

    let intent = order["payment_intent"]["id"].as_str().unwrap();
    let intent = customer
        .get(&format!("/v1/payment_intents/{intent}"))
        .await
        .expect(200)
        .json();
    assert!(intent["client_secret"].is_string(), "{intent}");
    let paying = pay(&customer, &order, "pm_card_visa", "pay")
        .await
        .expect(200)
        .json();
    assert!(
        ["processing", "succeeded"].contains(&paying["status"].as_str().unwrap()),
        "{paying}"
    );
    let paid = until(&customer, &order, "PAID").await;
    assert_eq!(store.stock(&lamp).await, (3, 0));
    assert_eq!(paid["payment_intent"]["status"], "succeeded");

    check_recorded(&store, &customer, &paid).await;
    check_whose(&store, &customer, &order).await;

    let kinds = store
        .admin
        .get(&format!("/v1/products/{lamp}/movements"))
        .await
        .json();
    let rows = kinds["data"].as_array().unwrap().iter();
    let kinds: Vec<_> = rows.map(|row| row["kind"].clone()).collect();
    assert_eq!(kinds, ["SALE", "HOLD", "ADJUST"]);
    store.check_books().await;
}

/// The order is in the record of sales, with what it was of, and its receipt is where it says.
async fn check_recorded(store: &Store, customer: &Client, paid: &Value) {
    let id = paid["sale_id"].as_str().expect("a sale");
    let sale = store
        .admin
        .get(&format!("/v1/sales/{id}"))
        .await
        .expect(200)
        .json();
    assert_eq!(
        (&sale["order_id"], &sale["amount"]["minor"]),
        (&paid["id"], &json!(49800))
    );
    assert_eq!(sale["details"]["customer_ref"], paid["customer_id"]);
    assert_eq!(sale["details"]["tax_total"], "75.97");
    assert_eq!(sale["details"]["lines"][0]["quantity"], "2");
    // whoever has the printed address may read the receipt
    let receipt = paid["receipt_url"].as_str().expect("a receipt");
    let path = receipt
        .strip_prefix(crate::harness::PUBLIC_URL)
        .expect("ours");
    customer.with_key(None).get(path).await.expect(200);
}

/// An order is its customer's own.
async fn check_whose(store: &Store, customer: &Client, order: &Value) {
    let other = store.customer().await;
    other
        .get(&format!(
            "/v1/orders/{}",
            order["id"].as_str().expect("an id")
        ))
        .await
        .problem("not_found");
    assert_eq!(
        other.get("/v1/orders").await.expect(200).json()["data"],
        json!([])
    );
    let own = customer
        .get("/v1/orders?state=PAID")
        .await
        .expect(200)
        .json();
    assert_eq!(own["data"][0]["id"], order["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_since_the_cart_was_filled_is_told() {
    let store = Store::open().await;
    let lamp = stocked(&store.admin, "LAMP", "100.00", 3).await;
    let mat = stocked(&store.admin, "MAT", "50.00", 1).await;
    let customer = store.customer().await;
    put(&customer, &lamp, 2).await.expect(200);
    put(&customer, &mat, 5).await.expect(200);
    let price = json!({"price": {"value": "120.00", "currency": "INR"}}).to_string();
    let headers = [("content-type", "application/json"), ("if-match", "\"1\"")];
    let path = format!("/v1/products/{lamp}");
    store
        .admin
        .send(Method::PATCH, &path, &headers, price)
        .await
        .expect(200);

    let cart = customer.get("/v1/cart").await.expect(200).json();
    let problems = cart["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 2, "{cart}");
    let of = |id: &str| problems.iter().find(|p| p["product_id"] == id).unwrap();
    assert_eq!(of(&lamp)["code"], "price_changed");
    assert_eq!(
        (&of(&lamp)["old"]["value"], &of(&lamp)["new"]["value"]),
        (&json!("100.00"), &json!("120.00"))
    );
    assert_eq!(of(&mat)["code"], "insufficient_stock");
    assert_eq!(
        (&of(&mat)["wanted"], &of(&mat)["available"]),
        (&json!(5), &json!(1))
    );
    let refused = checkout(&customer, "k").await.problem("price_changed");
    assert_eq!(refused["errors"][0]["meta"]["problems"], cart["problems"]);
    put(&customer, &lamp, 2).await.expect(200);
    checkout(&customer, "k").await.problem("insufficient_stock");
    let path = format!("/v1/cart/items/{mat}");
    customer
        .send(Method::DELETE, &path, &[], "")
        .await
        .expect(200);
    let order = checkout(&customer, "k").await.expect(201).json();
    assert_eq!(order["total"]["value"], "240.00");
    assert_eq!(order["items"].as_array().unwrap().len(), 1);
    // an order keeps what it was made with
    let off = json!({"active": false}).to_string();
    let headers = [("content-type", "application/json"), ("if-match", "\"2\"")];
    store
        .admin
        .send(
            Method::PATCH,
            &format!("/v1/products/{lamp}"),
            &headers,
            off,
        )
        .await
        .expect(200);
    assert_eq!(read(&customer, &order).await["items"], order["items"]);
    put(&customer, &lamp, 1).await.problem("not_found");
    store.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cart_holds_one_currency_and_sensible_numbers() {
    let store = Store::open().await;
    let lamp = stocked(&store.admin, "LAMP", "1.00", 1).await;
    let body = json!({"sku": "JP", "name": "Fan", "price": {"value": "500", "currency": "JPY"}, "tax_included": false, "tax_rate": "10"});
    let fan = send(&store.admin, Method::POST, "/v1/products", &body)
        .await
        .expect(201)
        .json();
    let fan = fan["id"].as_str().unwrap();
    let customer = store.customer().await;
    put(&customer, &lamp, 1).await.expect(200);
    put(&customer, fan, 1).await.problem("cart_currency");
    for pieces in [0, -1, 10_001] {
        put(&customer, &lamp, pieces)
            .await
            .problem("quantity_invalid");
    }
    put(&customer, "prd_0", 1).await.problem("not_found");
    customer
        .send(Method::DELETE, "/v1/cart", &[], "")
        .await
        .expect(200);
    let cart = put(&customer, fan, 3).await.expect(200).json();
    assert_eq!(
        (
            &cart["subtotal"]["value"],
            &cart["tax"]["value"],
            &cart["total"]["value"]
        ),
        (&json!("1500"), &json!("150"), &json!("1650"))
    );
    // keys and strangers have no cart
    store.admin.get("/v1/cart").await.problem("forbidden");
    customer
        .with_key(None)
        .get("/v1/cart")
        .await
        .problem("unauthenticated");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_makes_one_order_however_often_it_is_sent() {
    let store = Store::open().await;
    let lamp = stocked(&store.admin, "LAMP", "1.00", 50).await;
    let customer = store.customer().await;
    put(&customer, &lamp, 1).await.expect(200);
    let tries = (0..12).map(|_| {
        let customer = customer.clone();
        async move { checkout(&customer, "one").await }
    });
    let answers = futures_util::future::join_all(tries).await;
    let bodies: std::collections::BTreeSet<_> = answers
        .into_iter()
        .map(|answer| answer.expect(201).text)
        .collect();
    assert_eq!(bodies.len(), 1);
    assert_eq!(store.stock(&lamp).await, (50, 1));
    customer
        .post(
            "/v1/checkout",
            "one",
            r#"{"customer_address":"0x70997970c51812dc3a010c7d01b50e0d17dc79c8"}"#,
        )
        .await
        .problem("idempotency_key_reused");
    customer
        .post("/v1/checkout", "two", r#"{"customer_address":"0x1"}"#)
        .await
        .problem("address_invalid");
    store.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_cancelled_by_whom_it_belongs_to() {
    let store = Store::open().await;
    let lamp = stocked(&store.admin, "LAMP", "10.00", 4).await;
    let customer = store.customer().await;
    let order = ordered(&customer, &lamp, 2).await;
    let path = format!("/v1/orders/{}/cancel", order["id"].as_str().unwrap());
    let other = store.customer().await;
    other.post(&path, "c", "").await.problem("not_found");
    // the provider was never asked, so it ends at once
    let cancelled = customer.post(&path, "c", "").await.expect(200);
    assert_eq!(
        (&cancelled.json()["state"], &cancelled.json()["ending"]),
        (&json!("CANCELLED"), &json!("customer"))
    );
    assert_eq!(
        customer.post(&path, "c", "").await.expect(200).text,
        cancelled.text
    );
    assert_eq!(store.stock(&lamp).await, (4, 0));
    pay(&customer, &order, "pm_card_visa", "late")
        .await
        .problem("order_not_payable");

    // this one the provider knows: it cancels there first
    put(&customer, &lamp, 1).await.expect(200);
    let order = checkout(&customer, "second").await.expect(201).json();
    pay(&customer, &order, "pm_card_visa_chargeDeclined", "p1")
        .await
        .problem("payment_declined");
    let path = format!("/v1/orders/{}/cancel", order["id"].as_str().unwrap());
    store.admin.post(&path, "c2", "").await.expect(200);
    let ended = until(&customer, &order, "CANCELLED").await;
    assert_eq!(
        (&ended["ending"], &ended["payment_intent"]["status"]),
        (&json!("merchant"), &json!("canceled"))
    );
    assert_eq!(store.provider.intents()[0]["status"], "canceled");
    store.check_books().await;
}
