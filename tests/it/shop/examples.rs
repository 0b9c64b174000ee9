//! The examples of the shop's routes are requests that work, in a shop where there is something to do.

use reqwest::Method;

use super::{Store, ordered, pay, put, until};
use crate::catalogue::stocked;
use crate::openapi::{check_shape, description, example_of, operations, resolve};

/// What the shop's routes are tagged with.
pub(crate) const TAGS: [&str; 3] = ["Catalogue", "Cart", "Orders"];

#[tokio::test(flavor = "multi_thread")]
async fn examples_of_the_shop_are_requests_that_work() {
    let store = Store::open().await;
    let whole = description();
    let mut tried = 0;
    for (method, path, operation) in operations(&whole) {
        let Some(content) = operation["requestBody"]["content"].get("application/json") else {
            continue;
        };
        // the provider's events are signed, and tried elsewhere
        let tag = operation["tags"][0].as_str().expect("a tag");
        if !TAGS.contains(&tag) || path == "/v1/payments/webhook" {
            continue;
        }
        let schema = resolve(&whole, &content["schema"]);
        let example = example_of(&whole, schema).unwrap_or_else(|| panic!("{path} has no example"));
        let customer = store.customer().await;
        let lamp = stocked(&store.admin, &format!("LAMP-{tried}"), "9.00", 30).await;
        let mut at = path.replace("{product_id}", &lamp);
        match path.as_str() {
            "/v1/checkout" => drop(put(&customer, &lamp, 2).await.expect(200)),
            "/v1/payment_intents/{intent_id}/confirm" => {
                let order = ordered(&customer, &lamp, 1).await;
                let intent = order["payment_intent"]["id"].as_str().expect("an id");
                at = path.replace("{intent_id}", intent);
            }
            "/v1/orders/{order_id}/refunds" | "/v1/orders/{order_id}/unpark" => {
                let order = ordered(&customer, &lamp, 1).await;
                pay(&customer, &order, "pm_card_visa", "p")
                    .await
                    .expect(200);
                until(&customer, &order, "PAID").await;
                if path.ends_with("/unpark") {
                    let parks = "update shop_order set parked = 'look' where state = 'PAID'";
                    store.run(parks).await;
                }
                at = path.replace("{order_id}", order["id"].as_str().expect("an id"));
            }
            _ => {}
        }
        let is_staffs = tag == "Catalogue" || at.contains("/orders/");
        let caller = if is_staffs { &store.admin } else { &customer };
        let key = format!("key-{tried}");
        let mut headers = vec![
            ("content-type", "application/json"),
            ("idempotency-key", key.as_str()),
        ];
        headers.extend((method == Method::PATCH).then_some(("if-match", "\"1\"")));
        let answer = caller
            .send(method, &at, &headers, example.to_string())
            .await;
        assert!(
            [200, 201].contains(&answer.status),
            "{at} {example}: {}",
            answer.text
        );
        let described = &operation["responses"][answer.status.to_string()]["content"]["application/json"]
            ["schema"];
        check_shape(&whole, resolve(&whole, described), &answer.json(), &path);
        tried += 1;
    }
    assert_eq!(tried, 8);
}
