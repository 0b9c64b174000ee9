//! Limits on requests a second: of a key, and of an address without one.

use std::num::NonZeroU32;
use std::time::Duration;

use counterfoil::clock::{Clock, from_unix_ms};
use counterfoil::http::auth::Role;
use counterfoil::http::rate::Rates;
use reqwest::Method;
use sqlx::Executor;

use crate::harness::{self, Answer, App, Running, sale};

/// A server that takes `of_key` and `of_address` requests a second, by a clock that stands still.
async fn limited(app: &App, of_key: u32, of_address: u32) -> (Running, Clock) {
    let clock = Clock::manual(from_unix_ms(1_800_000_000_000));
    let rates = Rates {
        of_key: NonZeroU32::new(of_key),
        of_address: NonZeroU32::new(of_address),
        trusted_proxies: vec!["127.0.0.0/8".parse().expect("a range")],
    };
    let server = Running::limited(&app.db, clock.clone(), rates).await;
    (server, clock)
}

fn limits(answer: &Answer) -> (&str, &str) {
    (
        answer.header("ratelimit-policy"),
        answer.header("ratelimit"),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_told_what_it_has_left_and_refused_when_nothing_is() {
    let app = App::start().await;
    let (server, clock) = limited(&app, 3, 0).await;
    let till = app.admin.at(&server.url);
    for left in [2, 1, 0] {
        // errors count, and say so
        let answer = till.get("/v1/sales/sale_none").await;
        let expected = format!("\"key\";r={left};t=1");
        assert_eq!(
            limits(&answer),
            ("\"key\";q=3;w=1", expected.as_str()),
            "{answer:?}"
        );
        answer.problem("not_found");
    }
    let refused = till.record("k", &sale("A-1")).await;
    assert_eq!(limits(&refused), ("\"key\";q=3;w=1", "\"key\";r=0;t=1"));
    assert_eq!(refused.header("retry-after"), "1");
    refused.problem("rate_limited");
    // another key of the same merchant has its own
    let other = harness::key(&app.db, app.merchant, Role::Pos, None).await;
    let other = till.with_key(Some(&other));
    other.record("k-2", &sale("A-2")).await.expect(201);
    clock.advance(Duration::from_secs(1));
    till.record("k", &sale("A-1")).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_refused_is_not_read() {
    let app = App::start().await;
    let (server, _) = limited(&app, 1, 0).await;
    let till = app.admin.at(&server.url);
    till.get("/v1/sales").await.expect(200);
    // neither its type nor its text is looked at
    till.send(Method::POST, "/v1/sales", &[], "nonsense")
        .await
        .problem("rate_limited");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_tries_keys_is_refused_before_the_database_is_asked() {
    let app = App::start().await;
    let (server, _) = limited(&app, 0, 4).await;
    // the right one but for a digit of its secret
    let wrong = |n: usize| {
        let mut key = app.admin.key().to_owned();
        let at = key.len() - 5;
        let digits = ["0", "1", "2", "3"].into_iter();
        let digit = digits.filter(|digit| key[at..=at] != **digit).nth(n);
        key.replace_range(at..=at, digit.expect("three others"));
        app.admin.at(&server.url).with_key(Some(&key))
    };
    // each is counted when it is looked up, and when it turns out to be none
    wrong(0).get("/v1/sales").await.problem("unauthenticated");
    wrong(1).get("/v1/sales").await.problem("unauthenticated");
    app.db
        .owner
        .execute("alter table api_key rename to api_key_gone")
        .await
        .unwrap();
    let refused = wrong(2).get("/v1/sales").await;
    assert_eq!(
        limits(&refused),
        ("\"address\";q=4;w=1", "\"address\";r=0;t=1")
    );
    refused.problem("rate_limited");
    // whoever watches over the process is answered all the same
    app.admin
        .at(&server.url)
        .with_key(None)
        .get("/readyz")
        .await
        .expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_trusted_proxy_each_caller_is_counted() {
    let app = App::start().await;
    let (server, _) = limited(&app, 0, 1).await;
    let nobody = app.admin.at(&server.url).with_key(None);
    let from = async |address: &str| {
        let headers = [("x-forwarded-for", address)];
        nobody
            .send(Method::GET, "/v1/receipts/none", &headers, "")
            .await
    };
    from("192.0.2.1").await.problem("not_found");
    from("192.0.2.1").await.problem("rate_limited");
    from("192.0.2.2").await.problem("not_found");
    // what a caller wrote itself stands before what the proxy saw
    from("192.0.2.9, 192.0.2.2").await.problem("rate_limited");
}
