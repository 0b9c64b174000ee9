//! The catalogue and its stock, as administrators change them and anybody reads them.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, App, Client};

pub(crate) async fn send(client: &Client, method: Method, path: &str, body: &Value) -> Answer {
    let json = [("content-type", "application/json")];
    client.send(method, path, &json, body.to_string()).await
}

fn product(sku: &str, price: &str) -> Value {
    json!({"sku": sku, "name": format!("Article {sku}"), "price": {"value": price, "currency": "INR"}, "tax_rate": "18"})
}

/// A product that can be bought, with so many pieces; its id.
pub(crate) async fn stocked(admin: &Client, sku: &str, price: &str, pieces: i64) -> String {
    let made = send(admin, Method::POST, "/v1/products", &product(sku, price)).await;
    let id = made.expect(201).json()["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    if pieces > 0 {
        count(admin, &id, pieces, &format!("first-{sku}"))
            .await
            .expect(200);
    }
    id
}

async fn count(admin: &Client, id: &str, pieces: i64, key: &str) -> Answer {
    let body = json!({"quantity": pieces, "reason": "delivery"}).to_string();
    admin
        .post(&format!("/v1/products/{id}/stock"), key, body)
        .await
}

async fn change(client: &Client, id: &str, etag: Option<&str>, body: &Value) -> Answer {
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(etag.map(|etag| ("if-match", etag)));
    let path = format!("/v1/products/{id}");
    client
        .send(Method::PATCH, &path, &headers, body.to_string())
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_is_made_once_with_its_number() {
    let app = App::start().await;
    let made = send(
        &app.admin,
        Method::POST,
        "/v1/products",
        &product("A-1", "249.00"),
    )
    .await;
    let made = made.expect(201);
    let body = made.json();
    let id = body["id"].as_str().unwrap();
    assert_eq!(made.header("location"), format!("/v1/products/{id}"));
    assert_eq!(made.header("etag"), "\"1\"");
    assert_eq!(
        body["price"],
        json!({"value": "249.00", "currency": "INR", "minor": 24900})
    );
    assert_eq!(
        (&body["tax_rate"], &body["tax_included"]),
        (&json!("18"), &json!(true))
    );
    assert_eq!(
        (&body["on_hand"], &body["in_stock"]),
        (&json!(0), &json!(false))
    );

    let again = send(
        &app.admin,
        Method::POST,
        "/v1/products",
        &product("A-1", "1.00"),
    )
    .await;
    let taken = again.problem("sku_exists");
    assert_eq!(taken["errors"][0]["meta"]["product_id"], id);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_change_one_version_one_is_told() {
    let app = App::start().await;
    let id = stocked(&app.admin, "A-1", "249.00", 0).await;
    let id = id.as_str();
    let cheaper = json!({"price": {"value": "199.00", "currency": "INR"}, "tax_rate": "7.7"});
    change(&app.admin, id, None, &cheaper)
        .await
        .problem("if_match_missing");
    change(&app.admin, id, Some("\"2\""), &cheaper)
        .await
        .problem("version_differs");
    change(&app.admin, id, Some("1"), &cheaper)
        .await
        .problem("version_differs");
    let changed = change(&app.admin, id, Some("\"1\""), &cheaper)
        .await
        .expect(200);
    assert_eq!(changed.header("etag"), "\"2\"");
    assert_eq!(changed.json()["tax_rate"], "7.7");
    assert_eq!(
        changed.json()["name"],
        "Article A-1",
        "what is left out stays"
    );
    // of two who change the same version one is told
    let (one, other) = (json!({"name": "One"}), json!({"name": "Other"}));
    let (first, second) = tokio::join!(
        change(&app.admin, id, Some("\"2\""), &one),
        change(&app.admin, id, Some("\"2\""), &other)
    );
    let mut statuses = [first.status, second.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412]);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_no_key_sees_what_is_for_sale() {
    let app = App::start().await;
    let id = stocked(&app.admin, "A-1", "249.00", 3).await;
    let id = id.as_str();
    // whoever has no key sees what is for sale, and not how much there is
    let nobody = app.admin.with_key(None);
    let shop = format!("merchant={}", app.merchant);
    nobody.get("/v1/products").await.problem("unauthenticated");
    let seen = nobody
        .get(&format!("/v1/products/{id}?{shop}"))
        .await
        .expect(200)
        .json();
    assert!(
        seen.get("on_hand").is_none() && seen.get("held").is_none(),
        "{seen}"
    );
    let off = json!({"active": false});
    change(&app.admin, id, Some("\"1\""), &off)
        .await
        .expect(200);
    nobody
        .get(&format!("/v1/products/{id}?{shop}"))
        .await
        .problem("not_found");
    let list = nobody
        .get(&format!("/v1/products?{shop}"))
        .await
        .expect(200)
        .json();
    assert_eq!(list["data"], json!([]));
    let list = app
        .admin
        .get("/v1/products?active=false")
        .await
        .expect(200)
        .json();
    assert_eq!(list["data"][0]["id"], id);
    let (_, stranger) = app.stranger().await;
    stranger
        .get(&format!("/v1/products/{id}"))
        .await
        .problem("not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_that_makes_no_sense_is_refused_whole() {
    let app = App::start().await;
    let body = json!({
        "sku": " ", "name": "n".repeat(201), "price": {"value": "10000000000.01", "currency": "INR"},
        "tax_rate": "100.1", "active": "yes", "colour": "red", "description": "a\u{0}"
    });
    let answer = send(&app.admin, Method::POST, "/v1/products", &body).await;
    answer.any_problem();
    let mut found = answer.faults();
    found.sort();
    let expected = [
        ("/active", "wrong_type"),
        ("/colour", "unknown_field"),
        ("/description", "text_has_nul"),
        ("/name", "text_too_long"),
        ("/price/value", "money_too_large"),
        ("/sku", "text_empty"),
        ("/tax_rate", "money_too_large"),
    ];
    let expected: Vec<_> = expected
        .into_iter()
        .map(|(at, code)| (at.to_owned(), code.to_owned()))
        .collect();
    assert_eq!(found, expected);
    let number = json!({"sku": "A", "name": "A", "price": 5});
    let answer = send(&app.admin, Method::POST, "/v1/products", &number).await;
    answer.problem("money_must_be_string");
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_is_counted_once_and_never_below_what_is_there() {
    let app = App::start().await;
    let id = stocked(&app.admin, "A-1", "1.00", 0).await;
    let first = count(&app.admin, &id, 10, "k1").await.expect(200);
    assert_eq!(first.json()["available"], 10);
    let again = count(&app.admin, &id, 10, "k1").await.expect(200);
    assert_eq!(
        (again.text.as_str(), again.header("idempotent-replayed")),
        (first.text.as_str(), "true")
    );
    count(&app.admin, &id, 11, "k1")
        .await
        .problem("idempotency_key_reused");
    let short = count(&app.admin, &id, -11, "k2")
        .await
        .problem("insufficient_stock");
    assert_eq!(
        short["errors"][0]["meta"],
        json!({"wanted": 11, "available": 10})
    );
    // a refusal is not kept: the same key may succeed later
    count(&app.admin, &id, 5, "k3").await.expect(200);
    assert_eq!(
        count(&app.admin, &id, -11, "k2").await.expect(200).json()["on_hand"],
        4
    );
    for quantity in [json!(0), json!("1.5"), json!(1_000_000_001), json!("x")] {
        let body = json!({"quantity": quantity, "reason": "r"}).to_string();
        let path = format!("/v1/products/{id}/stock");
        app.admin
            .post(&path, "k4", body)
            .await
            .problem("quantity_invalid");
    }
    // forty at once take what is there, and no more
    let takes = (0..40).map(|n| {
        let (admin, id) = (app.admin.clone(), id.clone());
        async move { count(&admin, &id, -1, &format!("t{n}")).await.status }
    });
    let statuses = futures_util::future::join_all(takes).await;
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 4);
    assert!(
        statuses.iter().all(|status| [200, 409].contains(status)),
        "{statuses:?}"
    );

    let page = app
        .admin
        .get(&format!("/v1/products/{id}/movements?limit=100"))
        .await;
    let page = page.expect(200).json();
    let rows = page["data"].as_array().unwrap();
    let sum: i64 = rows
        .iter()
        .map(|row| row["on_hand"].as_i64().unwrap())
        .sum();
    assert_eq!((sum, rows.len()), (0, 7));
    assert!(rows.iter().all(|row| row["kind"] == "ADJUST"), "{page}");
}
