//! A whole installation tells of a sale and of its way onto the chain.

use std::collections::BTreeSet;

use serde_json::json;

use super::program::{Dev, Scratch};
use crate::harness::{Client, eventually, sale};
use crate::openapi::check_told;
use crate::webhooks::receiver::Receiver;
use crate::webhooks::text;

#[tokio::test(flavor = "multi_thread")]
async fn what_becomes_of_a_sale_is_told_by_the_program() {
    let scratch = Scratch::new();
    let dev = Dev::start(&scratch, "1s").await;
    let admin = Client::new(&dev.ready.api_url, Some(&dev.ready.api_key));
    let receiver = Receiver::start().await;
    let body = json!({"url": receiver.url(), "types": ["*"]}).to_string();
    let made = admin.post("/v1/webhook_endpoints", "k", body).await;
    let made = made.expect(201).json();
    let sold = admin.record("A-1", &sale("A-1")).await.expect(201).json();
    let all = ["anchor.finalized", "batch.sealed", "sale.recorded"];
    let sent = eventually("all is told", async || {
        let sent = receiver.sent();
        let types: Vec<_> = sent.iter().map(|one| one.json()["type"].clone()).collect();
        all.iter()
            .all(|what| types.contains(&json!(what)))
            .then_some(sent)
    })
    .await;
    let (secret, key) = (text(&made, "/secret"), text(&made, "/keys/0/public_key"));
    let mut types = BTreeSet::new();
    for one in &sent {
        assert_eq!(one.signatures_by(secret, key), (1, 1));
        let body = one.json();
        let what = body["type"].as_str().expect("a type").to_owned();
        check_told(&what, &body["data"]);
        let data = &body["data"];
        match what.as_str() {
            "sale.recorded" => assert_eq!(data["sale_id"], sold["sale_id"]),
            _ => assert_eq!((&data["first_seq"], &data["sales"]), (&json!(1), &json!(1))),
        }
        types.insert(what);
    }
    assert!(types.iter().eq(all), "nothing else: {types:?}");
    assert_eq!(dev.stop().await, Some(0));
}
