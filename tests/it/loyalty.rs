//! A merchant's programme and its members' points, as tills and customers meet them.

mod cost;
mod ledger;
mod races;
mod routes;

use counterfoil::clock::Clock;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::harness::{App, Client, Running};

/// A wallet.
pub(crate) const ADA: &str = "0x70997970c51812dc3a010c7d01b50e0d17dc79c8";
const BOB: &str = "0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc";

/// One point for a pound, and nothing else.
fn plain() -> Value {
    json!({"earn": [{"currency": "GBP", "rate": "1"}],
        "redeem": {"value": [{"currency": "GBP", "value": "0.05"}]}})
}

/// `plain` with some fields changed.
fn with(changes: Value) -> Value {
    let mut programme = plain();
    let fields = programme.as_object_mut().expect("an object");
    fields.extend(changes.as_object().expect("an object").clone());
    programme
}

pub(crate) async fn put_programme(
    client: &Client,
    seen: i64,
    programme: &Value,
) -> crate::harness::Answer {
    let seen = format!("\"{seen}\"");
    let headers = [
        ("content-type", "application/json"),
        ("if-match", seen.as_str()),
    ];
    let body = programme.to_string();
    client
        .send(Method::PUT, "/v1/loyalty/programme", &headers, body)
        .await
}

/// An app whose merchant has this programme.
async fn shop(programme: Value) -> App {
    let app = App::start().await;
    put_programme(&app.admin, 0, &programme).await.expect(200);
    app
}

/// Gives the merchant a programme, and Ada 1,000 points.
pub(crate) async fn with_points(app: &App) {
    put_programme(&app.admin, 0, &plain()).await.expect(200);
    let body = json!({"member": ADA, "points": "1000", "reason": "a test"});
    let path = "/v1/loyalty/adjustments";
    app.admin
        .post(path, "points", body.to_string())
        .await
        .expect(200);
}

fn pounds(order: &str, value: &str, wallet: &str) -> Value {
    json!({"order_id": order, "amount": {"value": value, "currency": "GBP"}, "customer_address": wallet})
}

fn refund(order: &str, of: &str, value: &str) -> Value {
    json!({"order_id": order, "kind": "refund", "refers_to": of, "amount": {"value": value, "currency": "GBP"}})
}

/// Records a body under its order id.
async fn record(client: &Client, body: &Value) -> Value {
    let key = body["order_id"].as_str().expect("an order id");
    client.record(key, body).await.expect(201).json()
}

async fn member(client: &Client, who: &str) -> Value {
    let path = format!("/v1/loyalty/members/{who}");
    client.get(&path).await.expect(200).json()
}

/// What a member has and can spend.
async fn points(client: &Client, who: &str) -> (String, String) {
    let member = member(client, who).await;
    let text = |name: &str| member[name].as_str().expect("points").to_owned();
    (text("balance"), text("available"))
}

/// Kinds, rules and points of a member's entries, the oldest first.
async fn entries(client: &Client, who: &str) -> Vec<String> {
    let path = format!("/v1/loyalty/members/{who}/entries?limit=100");
    let page = client.get(&path).await.expect(200).json();
    let rows = page["data"].as_array().expect("rows").iter().rev();
    rows.map(|row| {
        let text = |name: &str| row[name].as_str().unwrap_or("-").to_owned();
        format!("{} {} {}", text("kind"), text("rule"), text("points"))
    })
    .collect()
}

async fn redeem(client: &Client, key: &str, who: &str, points: &str) -> crate::harness::Answer {
    let body = json!({"member": who, "points": points});
    client
        .post("/v1/loyalty/redemptions", key, body.to_string())
        .await
}

/// A second server whose clock is ahead by so many days.
async fn later(app: &App, days: i64) -> (Running, Client) {
    let clock = Clock::manual(Clock::system().now() + time::Duration::days(days));
    let server = Running::start(&app.db, clock).await;
    let client = app.admin.at(&server.url);
    (server, client)
}

/// What the ledger always keeps.
pub(crate) async fn check_ledger(owner: &PgPool) {
    let wrong = "select count(*) from (
        select m.balance, m.owed, m.last_entry, coalesce(sum(e.points), 0) as sum, count(e.entry) as entries,
               coalesce(-sum(e.points) filter (where e.lot is null), 0) as owed_sum,
               coalesce((select sum(l.points_left) from loyalty_lot l
                         where l.merchant_id = m.merchant_id and l.member = m.member), 0) as left_sum
        from loyalty_member m
        left join loyalty_entry e on e.merchant_id = m.merchant_id and e.member = m.member
        group by m.merchant_id, m.member) w
        where w.balance <> w.sum or w.last_entry <> w.entries or w.owed <> w.owed_sum
           or w.balance <> w.left_sum - w.owed";
    assert_eq!(
        count(owner, wrong).await,
        0,
        "a balance is the sum of its entries"
    );
    let lots = "select count(*) from loyalty_lot l where l.points_left <> (
        select sum(e.points) from loyalty_entry e
        where e.merchant_id = l.merchant_id and e.member = l.member and e.lot = l.lot)";
    assert_eq!(count(owner, lots).await, 0, "so is what is left of a lot");
    let awards = "select count(*) from loyalty_award a cross join lateral (
        select coalesce(sum(e.points) filter (where e.kind = 'earn'), 0) as earned,
               coalesce(-sum(e.points) filter (where e.kind = 'claw_back'), 0) as taken
        from loyalty_entry e where e.merchant_id = a.merchant_id and e.sale_id = a.sale_id) w
        where w.earned <> a.earned or w.taken <> a.taken";
    assert_eq!(count(owner, awards).await, 0, "and what a sale has earned");
    let days = "select count(*) from loyalty_day d where d.earned <> (
        select sum(a.due) from loyalty_award a
        where a.merchant_id = d.merchant_id and a.member = d.member and a.day = d.day)";
    assert_eq!(count(owner, days).await, 0, "and a day's");
}

async fn count(owner: &PgPool, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql)
        .fetch_one(owner)
        .await
        .expect("a count")
}
