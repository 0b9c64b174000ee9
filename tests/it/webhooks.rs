//! Webhooks out: from what happens to whoever is told of it.

pub(crate) mod receiver;

use std::time::Duration;

use counterfoil::clock::{Clock, Entropy};
use counterfoil::database::DatabaseRole;
use counterfoil::ids::EventId;
use counterfoil::webhooks::address::Reach;
use counterfoil::webhooks::deliver::Deliverer;
use counterfoil::webhooks::event_type::EventType;
use counterfoil::webhooks::upkeep;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::anchored::Anchored;
use crate::harness::{Answer, App, Client, sale, sender};
use crate::openapi::check_told;
use receiver::Receiver;

/// What sends what happened to the merchants of an app, by this clock.
pub(crate) fn deliverer(app: &App, clock: &Clock) -> Deliverer {
    reaching(app, clock, Reach::Anywhere)
}

pub(crate) fn reaching(app: &App, clock: &Clock, reach: Reach) -> Deliverer {
    let pool = app.db.pool(DatabaseRole::Worker);
    let sender = sender(reach, clock);
    Deliverer::new(pool, sender, clock.clone(), Entropy::system())
}

/// Takes what is due and waits until it was told: how many deliveries.
pub(crate) async fn deliver(deliverer: &mut Deliverer) -> usize {
    let taken = deliverer.step().await.expect("the database");
    deliverer.finish().await;
    taken
}

/// A clock that stands a second ahead: what was written by the database's is due by it.
pub(crate) fn a_clock() -> Clock {
    Clock::manual(Clock::system().now() + Duration::from_secs(1))
}

pub(crate) async fn post(client: &Client, path: &str, body: &Value) -> Answer {
    let json = [("content-type", "application/json")];
    client
        .send(Method::POST, path, &json, body.to_string())
        .await
}

/// Registers a receiver for these types.
pub(crate) async fn register(app: &App, url: &str, types: &[&str]) -> Value {
    let body = json!({"url": url, "types": types});
    let made = post(&app.admin, "/v1/webhook_endpoints", &body).await;
    made.expect(201).json()
}

pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_else(|| panic!("{value} has no {pointer}"))
}

/// Tells of something in a transaction of its own.
pub(crate) async fn emit(app: &App, what: EventType, data: Value) -> Option<EventId> {
    let mut tx = app
        .db
        .pool(DatabaseRole::Api)
        .begin()
        .await
        .expect("a transaction");
    let id = emit_in(&mut tx, app, what, &data).await;
    tx.commit().await.expect("a commit");
    id
}

/// Tells of something in a transaction, as the triggers do; none where it happens often and nobody wants it.
async fn emit_in(
    tx: &mut PgConnection,
    app: &App,
    what: EventType,
    data: &Value,
) -> Option<EventId> {
    let id: Option<Uuid> = sqlx::query_scalar("select emit_event($1, null, $2, $3, $4)")
        .bind(app.merchant.0)
        .bind(what.as_str())
        .bind(data)
        .bind(Clock::system().now())
        .fetch_one(tx)
        .await
        .expect("an event, or none");
    id.map(EventId)
}

pub(crate) async fn endpoint(app: &App, id: &str) -> Value {
    let path = format!("/v1/webhook_endpoints/{id}");
    app.admin.get(&path).await.expect(200).json()
}

pub(crate) async fn deliveries(app: &App, id: &str) -> Vec<Value> {
    let path = format!("/v1/webhook_endpoints/{id}/deliveries");
    let page = app.admin.get(&path).await.expect(200).json();
    page["data"].as_array().expect("rows").clone()
}

pub(crate) async fn count(app: &App, table: &'static str) -> i64 {
    let count = format!("select count(*) from {table}");
    sqlx::query_scalar(sqlx::AssertSqlSafe(count))
        .fetch_one(&app.db.owner)
        .await
        .expect("a count")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_is_told_to_who_wants_it_and_signed() {
    let app = App::start().await;
    let receiver = Receiver::start().await;
    let made = register(&app, &receiver.url(), &["sale.recorded"]).await;
    let (secret, key) = (text(&made, "/secret"), text(&made, "/keys/0/public_key"));
    let recorded = app.admin.record("k", &sale("A-1")).await.expect(201).json();
    let clock = a_clock();
    let mut deliverer = deliverer(&app, &clock);
    assert_eq!(deliver(&mut deliverer).await, 1);
    assert_eq!(deliver(&mut deliverer).await, 0, "it was told");

    let sent = receiver.sent();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].signatures_by(secret, key), (1, 1));
    let at = clock.now().unix_timestamp().to_string();
    assert_eq!(sent[0].header("webhook-timestamp"), at);
    assert_eq!(sent[0].header("content-type"), "application/json");
    let body = sent[0].json();
    assert_eq!(body["type"], "sale.recorded");
    assert_eq!(body["timestamp"], recorded["recorded_at"]);
    let data = body["data"].as_object().unwrap();
    for (name, value) in data {
        assert_eq!(*value, recorded[name], "{name} is as the interface has it");
    }
    assert!(data.contains_key("amount") && data.len() == 10, "{body}");

    // what came of it can be read, the secret cannot
    let id = text(&made, "/id");
    let log = deliveries(&app, id).await;
    assert_eq!(log.len(), 1);
    assert_eq!(log[0]["state"], "succeeded");
    assert_eq!(log[0]["tries"][0]["status"], 200);
    assert_eq!(log[0]["tries"][0]["response"], "answered 200 OK");
    let event = sent[0].header("webhook-id");
    assert_eq!(log[0]["event_id"], event);
    let event = app.admin.get(&format!("/v1/events/{event}")).await;
    let event = event.expect(200).json();
    assert_eq!(event["data"], body["data"]);
    assert_eq!(event["deliveries"][0]["state"], "succeeded");
    assert!(endpoint(&app, id).await.get("secret").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_often_is_written_where_it_is_wanted_alone() {
    let app = App::start().await;
    let receiver = Receiver::start().await;
    let (_, stranger) = app.stranger().await;
    app.admin.record("k-1", &sale("A-1")).await.expect(201);
    register(&app, &receiver.url(), &["order.paid"]).await;
    app.admin.record("k-2", &sale("A-2")).await.expect(201);
    assert_eq!(count(&app, "event").await, 0);
    let frequent = json!({"points": "1"});
    assert_eq!(emit(&app, EventType::PointsEarned, frequent).await, None);
    // an order is part of the log, whoever wants it
    let order = json!({"id": "ord_1"});
    assert!(
        emit(&app, EventType::OrderPaid, order.clone())
            .await
            .is_some()
    );
    assert!(emit(&app, EventType::OrderCreated, order).await.is_some());
    assert_eq!(count(&app, "event").await, 2);
    assert_eq!(count(&app, "webhook_delivery").await, 1);

    register(&app, &receiver.url(), &["*"]).await;
    app.admin.record("k-3", &sale("A-3")).await.expect(201);
    app.admin.record("k-3", &sale("A-3")).await.expect(201);
    stranger.record("k-4", &sale("A-4")).await.expect(201);
    let page = app.admin.get("/v1/events?type=sale.recorded").await;
    let page = page.expect(200).json();
    assert_eq!(page["data"].as_array().map(Vec::len), Some(1), "{page}");
    assert_eq!(page["data"][0]["data"]["order_id"], "A-3");
    let theirs = stranger.get("/v1/events").await.expect(200).json();
    assert_eq!(theirs["data"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_rolled_back_is_never_told() {
    let app = App::start().await;
    let receiver = Receiver::start().await;
    register(&app, &receiver.url(), &["*"]).await;
    let mut tx = app
        .db
        .pool(DatabaseRole::Api)
        .begin()
        .await
        .expect("a transaction");
    let told = emit_in(&mut tx, &app, EventType::OrderPaid, &json!({})).await;
    assert!(told.is_some());
    tx.rollback().await.unwrap();
    // the commit of a sale fails after everything was written
    for statement in [
        "create function refuse() returns trigger language plpgsql as
         'begin raise exception ''no room''; end'",
        "create constraint trigger refuse after insert on sale_order deferrable initially deferred
         for each row execute function refuse()",
    ] {
        sqlx::query(statement).execute(&app.db.owner).await.unwrap();
    }
    let refused = app.admin.record("k", &sale("A-1")).await;
    assert!(refused.status >= 500, "{}", refused.text);
    assert_eq!(count(&app, "event").await, 0);
    assert_eq!(deliver(&mut deliverer(&app, &a_clock())).await, 0);
    assert!(receiver.sent().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_rotated_without_a_gap() {
    let app = App::start().await;
    let receiver = Receiver::start().await;
    let made = register(&app, &receiver.url(), &["ping"]).await;
    let id = text(&made, "/id").to_owned();
    let path = format!("/v1/webhook_endpoints/{id}/rotate_secret");
    let rotated = post(&app.admin, &path, &json!({})).await.expect(200).json();
    let old = (text(&made, "/secret"), text(&made, "/keys/0/public_key"));
    let new = (
        text(&rotated, "/secret"),
        text(&rotated, "/keys/0/public_key"),
    );
    assert_ne!(old, new);
    assert_eq!(rotated["keys"].as_array().map(Vec::len), Some(2));

    let clock = a_clock();
    let mut deliverer = deliverer(&app, &clock);
    let test = format!("/v1/webhook_endpoints/{id}/test");
    for expected in [(1, 1), (0, 0)] {
        post(&app.admin, &test, &json!({})).await.expect(202);
        assert_eq!(deliver(&mut deliverer).await, 1);
        let sent = receiver.sent().pop().expect("a ping");
        assert_eq!(sent.json()["type"], "ping");
        check_told("ping", &sent.json()["data"]);
        assert_eq!(sent.signatures_by(new.0, new.1), (1, 1));
        assert_eq!(sent.signatures_by(old.0, old.1), expected);
        clock.advance(Duration::from_secs(24 * 3600 + 1));
    }
    for _ in 0..2 {
        post(&app.admin, &path, &json!({})).await.expect(200);
    }
    let last = post(&app.admin, &path, &json!({})).await;
    last.problem("too_many_webhook_secrets");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_told_again_with_the_same_id() {
    let app = App::start().await;
    let receiver = Receiver::start().await;
    let made = register(&app, &receiver.url(), &["order.paid"]).await;
    let event = emit(&app, EventType::OrderCreated, json!({"id": "ord_1"})).await;
    let event = event.expect("an event").to_string();
    let clock = a_clock();
    let mut deliverer = deliverer(&app, &clock);
    assert_eq!(deliver(&mut deliverer).await, 0, "nobody wanted it");
    let path = format!("/v1/events/{event}/replay");
    let body = json!({"endpoint_id": made["id"]});
    for _ in 0..2 {
        post(&app.admin, &path, &body).await.expect(202);
        assert_eq!(deliver(&mut deliverer).await, 1);
    }
    let [first, second] = <[_; 2]>::try_from(receiver.sent()).expect("two");
    assert_eq!(first.header("webhook-id"), event);
    assert_eq!(second.header("webhook-id"), event);
    assert_eq!(first.body, second.body);
    let log = deliveries(&app, text(&made, "/id")).await;
    assert_eq!(log[0]["attempts"], 2);
    assert_eq!(log[0]["tries"].as_array().map(Vec::len), Some(2));
    for (path, body) in [
        (path.replace("evt_", "evt_x"), body.clone()),
        (path.clone(), json!({"endpoint_id": "we_0"})),
    ] {
        post(&app.admin, &path, &body).await.problem("not_found");
    }
    post(&app.admin, &path, &json!({}))
        .await
        .problem("missing_field");
}

#[tokio::test(flavor = "multi_thread")]
async fn old_events_are_thrown_away_unless_they_are_still_to_be_told() {
    let app = App::start().await;
    let receiver = Receiver::start().await;
    register(&app, &receiver.url(), &["order.paid"]).await;
    emit(&app, EventType::OrderPaid, json!({"id": 1})).await;
    let clock = a_clock();
    assert_eq!(deliver(&mut deliverer(&app, &clock)).await, 1);
    let waiting = emit(&app, EventType::OrderPaid, json!({"id": 2})).await;
    emit(&app, EventType::OrderCreated, json!({"id": 3})).await;
    let worker = app.db.pool(DatabaseRole::Worker);
    let purge = async |days: u64| {
        let later = clock.now() + Duration::from_secs(days * 24 * 3600);
        upkeep::purge(&worker, later).await.unwrap()
    };
    assert_eq!(purge(29).await, 0);
    assert_eq!(purge(31).await, 2);
    assert_eq!(count(&app, "webhook_attempt").await, 0);
    let page = app.admin.get("/v1/events").await.expect(200).json();
    assert_eq!(page["data"].as_array().map(Vec::len), Some(1));
    assert_eq!(page["data"][0]["id"], waiting.unwrap().to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_and_its_anchor_are_told_to_the_merchants_in_it() {
    let it = Anchored::start().await;
    let [wanting, other] = [it.db.merchant("live").await, it.db.merchant("live").await];
    // as an administrator registers one
    let create = "select create_webhook_endpoint($1, $2, 'http://127.0.0.1:9/', array['*'], '',
        decode(repeat('ab', 32), 'hex'), decode(repeat('ab', 32), 'hex'), decode(repeat('ab', 32), 'hex'), now(), 1)";
    sqlx::query(create)
        .bind(wanting.0)
        .bind(other.0)
        .execute(&it.db.owner)
        .await
        .unwrap();
    it.db.record(wanting, 3).await;
    it.db.record(other, 2).await;
    it.seal().await;
    it.publish_and_mine().await;
    let events = "select data from event where merchant_id = $1 and type = $2";
    let told = async |what: &str| -> Vec<Value> {
        let rows = sqlx::query_scalar(events).bind(wanting.0).bind(what);
        let rows: Vec<Value> = rows.fetch_all(&it.db.owner).await.unwrap();
        rows.iter().for_each(|data| check_told(what, data));
        rows
    };
    assert_eq!(
        told("anchor.finalized").await.len(),
        0,
        "mined is not final"
    );
    it.local.mine(3).await;
    assert_eq!(it.watch().await.finalized, 1);
    assert_eq!(told("sale.recorded").await.len(), 3);
    let sealed = told("batch.sealed").await;
    let finalized = told("anchor.finalized").await;
    assert_eq!((sealed.len(), finalized.len()), (1, 1));
    for data in [&sealed[0], &finalized[0]] {
        assert_eq!(data["batch_id"], 1);
        assert_eq!(
            (&data["sales"], &data["first_seq"], &data["last_seq"]),
            (&json!(3), &json!(1), &json!(3))
        );
    }
    let root = it
        .db
        .text("select '0x' || encode(root, 'hex') from batch")
        .await;
    assert_eq!(finalized[0]["root"], root);
    let tx = it
        .db
        .text("select '0x' || encode(tx_hash, 'hex') from anchor_attempt")
        .await;
    assert_eq!(finalized[0]["tx"], tx);
    assert_eq!(finalized[0]["registry"], it.registry.registry.to_string());
    assert!(finalized[0]["block"]["number"].as_i64() > Some(0));
    let others = it
        .db
        .count("select count(distinct merchant_id) from event")
        .await;
    assert_eq!(others, 1, "nobody else is told");
}
