//! Endpoints as their merchant's administrators manage them.

use counterfoil::webhooks::event_type::EventType;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{App, Database};
use crate::webhooks::receiver::Receiver;
use crate::webhooks::{a_clock, count, deliver, deliverer, deliveries, emit, post, register, text};

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_is_edited_disabled_and_deleted() {
    let app = App::start().await;
    let receiver = Receiver::start().await;
    let made = register(&app, &receiver.url(), &["order.paid"]).await;
    let path = format!("/v1/webhook_endpoints/{}", text(&made, "/id"));
    let patch = async |version: Option<&str>, body: Value| {
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(version.map(|version| ("if-match", version)));
        let body = body.to_string();
        app.admin.send(Method::PATCH, &path, &headers, body).await
    };
    let read = app.admin.get(&path).await.expect(200);
    assert_eq!(read.header("etag"), "\"1\"");
    let disable = json!({"enabled": false});
    patch(None, disable.clone())
        .await
        .problem("if_match_missing");
    emit(&app, EventType::OrderPaid, json!({})).await;
    let changed = patch(Some("\"1\""), disable.clone()).await.expect(200);
    assert_eq!(changed.json()["state"], "disabled");
    assert_eq!(changed.header("etag"), "\"2\"");
    patch(Some("\"1\""), disable)
        .await
        .problem("version_differs");
    // what waited is dropped, and nothing new is written for it
    emit(&app, EventType::OrderPaid, json!({})).await;
    let log = deliveries(&app, text(&made, "/id")).await;
    assert_eq!(log.len(), 1);
    assert_eq!(log[0]["state"], "dropped");
    let clock = a_clock();
    let mut deliverer = deliverer(&app, &clock);
    assert_eq!(deliver(&mut deliverer).await, 0);
    post(&app.admin, &format!("{path}/test"), &json!({}))
        .await
        .problem("webhook_disabled");

    let again = json!({"enabled": true, "types": ["*"], "description": "all"});
    let enabled = patch(Some("\"2\""), again).await.expect(200).json();
    assert_eq!(enabled["types"], json!(["*"]));
    emit(&app, EventType::OrderPaid, json!({})).await;
    assert_eq!(deliver(&mut deliverer).await, 1);
    emit(&app, EventType::OrderPaid, json!({})).await;
    let delete = async || app.admin.send(Method::DELETE, &path, &[], "").await;
    delete().await.expect(204);
    delete().await.problem("not_found");
    app.admin.get(&path).await.problem("not_found");
    assert_eq!(deliver(&mut deliverer).await, 0);
    assert_eq!(count(&app, "webhook_secret").await, 0);
    let list = app.admin.get("/v1/webhook_endpoints").await.expect(200);
    assert_eq!(list.json()["data"], json!([]));
}

/// What is refused: a body, where it is wrong, and how.
fn senseless() -> Vec<(Value, &'static str, &'static str)> {
    let url = "http://127.0.0.1:9/";
    let long = "x".repeat(2000);
    vec![
        (json!({"types": ["*"]}), "/url", "missing_field"),
        (json!({"url": url, "types": "*"}), "/types", "wrong_type"),
        (json!({"url": url, "types": [1]}), "/types/0", "wrong_type"),
        (
            json!({"url": url, "types": []}),
            "/types",
            "event_types_count",
        ),
        (
            json!({"url": url, "types": ["*", "ping"]}),
            "/types",
            "event_types_count",
        ),
        (
            json!({"url": url, "types": ["ping", "ping"]}),
            "/types",
            "event_types_count",
        ),
        (
            json!({"url": url, "types": ["ping", "pong"]}),
            "/types/1",
            "event_type_unknown",
        ),
        (
            json!({"url": "shop.example", "types": ["*"]}),
            "/url",
            "webhook_url_invalid",
        ),
        (
            json!({"url": "ftp://shop.example", "types": ["*"]}),
            "/url",
            "webhook_url_invalid",
        ),
        (
            json!({"url": "http://a:b@127.0.0.1", "types": ["*"]}),
            "/url",
            "webhook_url_invalid",
        ),
        (
            json!({"url": "http://127.0.0.1/#a", "types": ["*"]}),
            "/url",
            "webhook_url_invalid",
        ),
        (
            json!({"url": format!("http://127.0.0.1/{long}"), "types": ["*"]}),
            "/url",
            "webhook_url_invalid",
        ),
        (
            json!({"url": "http://nobody.invalid", "types": ["*"]}),
            "/url",
            "webhook_host_unknown",
        ),
        (
            json!({"url": url, "types": ["*"], "description": "é".repeat(201)}),
            "/description",
            "text_too_long",
        ),
        (
            json!({"url": url, "types": ["*"], "description": "\u{0}"}),
            "/description",
            "text_has_nul",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_makes_no_sense_is_refused() {
    let app = App::start().await;
    for (body, at, code) in senseless() {
        let answer = post(&app.admin, "/v1/webhook_endpoints", &body).await;
        answer.any_problem();
        assert_eq!(
            answer.faults(),
            [(at.to_owned(), code.to_owned())],
            "{body}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merchant_has_endpoints_not_without_end() {
    let app = App::start().await;
    let url = "http://127.0.0.1:9/";
    for _ in 0..16 {
        register(&app, url, &["*"]).await;
    }
    let more = json!({"url": url, "types": ["*"]});
    let more = post(&app.admin, "/v1/webhook_endpoints", &more).await;
    more.problem("too_many_webhook_endpoints");
    let page = app.admin.get("/v1/webhook_endpoints?limit=10").await;
    let page = page.expect(200).json();
    assert_eq!(page["data"].as_array().map(Vec::len), Some(10));
    let next = format!(
        "/v1/webhook_endpoints?starting_after={}",
        text(&page, "/next_cursor")
    );
    let rest = app.admin.get(&next).await.expect(200).json();
    assert_eq!(rest["data"].as_array().map(Vec::len), Some(6));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merchant_sees_its_own_alone() {
    let app = App::start().await;
    let (_, stranger) = app.stranger().await;
    let made = register(&app, "http://127.0.0.1:9/", &["*"]).await;
    let event = emit(&app, EventType::OrderPaid, json!({})).await.unwrap();
    let own = format!("/v1/webhook_endpoints/{}", text(&made, "/id"));
    let replay = json!({"endpoint_id": made["id"]});
    for answer in [
        stranger.get(&own).await,
        stranger.get(&format!("{own}/deliveries")).await,
        stranger.get(&format!("/v1/events/{event}")).await,
        stranger.send(Method::DELETE, &own, &[], "").await,
        post(&stranger, &format!("{own}/test"), &json!({})).await,
        post(&stranger, &format!("{own}/rotate_secret"), &json!({})).await,
        post(&stranger, &format!("/v1/events/{event}/replay"), &replay).await,
    ] {
        answer.problem("not_found");
    }
    let list = stranger.get("/v1/webhook_endpoints").await.expect(200);
    assert_eq!(list.json()["data"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_within_a_millisecond_is_listed_in_its_order() {
    let db = Database::create().await;
    let sql = "select count(*) filter (where id <= before), count(distinct substr(id::text, 1, 13)) from (
                   select id, lag(id) over (order by n) as before from (
                       select n, new_event_id(date_trunc('milliseconds', clock_timestamp())) as id
                       from generate_series(1, 3000) n offset 0) t) w";
    let (astray, milliseconds): (i64, i64) =
        sqlx::query_as(sql).fetch_one(&db.owner).await.expect("ids");
    assert_eq!(astray, 0);
    assert!(milliseconds < 1000, "{milliseconds} for 3,000 ids");
}
