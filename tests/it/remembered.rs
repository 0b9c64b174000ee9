//! Answers that Redis remembers: the bytes of the database, without it; and whatever becomes of Redis,
//! the database's.

use std::time::Duration;

use counterfoil::cache::Cache;
use counterfoil::clock::Clock;
use counterfoil::config::RateArgs;
use counterfoil::rates::settings;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::harness::{Answer, App, Client, Cluster, Redis, Running, eventually, sale};
use crate::loyalty;

/// How long whatever Redis does may take beyond what is waited for on purpose.
const SOON: Duration = Duration::from_secs(3);

/// An app without Redis, and a second process on its database with one.
struct Beside {
    app: App,
    redis: Redis,
    cache: Cache,
    client: Client,
    _server: Running,
}

impl Beside {
    async fn start() -> Self {
        let app = App::start().await;
        let redis = Redis::start(&[]).await;
        let (server, cache) = Self::process(&app, &redis).await;
        let client = app.admin.at(&server.url);
        Self {
            app,
            redis,
            cache,
            client,
            _server: server,
        }
    }

    async fn process(app: &App, redis: &Redis) -> (Running, Cache) {
        let cache = Cache::open(&redis.url(), Clock::system()).expect("an address");
        let server = Running::start_beside(&app.db, Clock::system(), Some(cache.clone())).await;
        is_used(&cache, app).await;
        (server, cache)
    }

    /// The names of all entries.
    async fn entries(&self) -> Vec<String> {
        self.redis.ask(&["KEYS", "cf:{*:key:*"]).await
    }

    /// Waits until there are so many answers, and no lock.
    async fn remembers(&self, answers: usize) {
        eventually("the answers are remembered", async || {
            let names: Vec<String> = self.redis.ask(&["KEYS", "cf:{*"]).await;
            let mut found = 0;
            for name in names {
                let value: Vec<u8> = self.redis.ask(&["GET", &name]).await;
                found += usize::from(value.first() == Some(&2) && value.get(1) != Some(&0));
            }
            (found == answers).then_some(())
        })
        .await;
    }
}

/// While the merchant's row is locked, which every write needs and no repeat that Redis answers.
async fn without_writes<T>(app: &App, work: impl Future<Output = T>) -> T {
    let mut locked = app.db.owner.begin().await.expect("a transaction");
    sqlx::query("select from merchant for update")
        .execute(&mut *locked)
        .await
        .expect("the lock");
    let done = work.await;
    locked.rollback().await.expect("the end of it");
    done
}

/// Waits until a cache is connected and knows its database.
async fn is_used(cache: &Cache, app: &App) {
    eventually("Redis is used", async || {
        let key = cache.key(app.merchant, "test", "is used")?;
        cache.put(&key, b"yes", Duration::from_millis(1000)).await;
        cache.get(&key).await
    })
    .await;
}

#[track_caller]
fn assert_replay(first: &Answer, again: &Answer) {
    assert_eq!(again.status, first.status, "{}", again.text);
    assert_eq!(again.text, first.text);
    assert_eq!(again.header("location"), first.header("location"));
    assert_eq!(again.header("idempotent-replayed"), "true");
}

fn basket() -> Value {
    json!({"order_id": "A-2", "amount": {"value": "99.50", "currency": "GBP"}, "customer_ref": "c",
        "customer_address": format!("0x{}", "ab".repeat(20)), "register": "till", "cashier": "Zoë",
        "sold_at": "2024-01-31T10:00:00Z", "tax_total": "1", "discount_total": "0.5",
        "metadata": {"salt": format!("0x{}", "0".repeat(64)), "country": "IN"},
        "lines": [{"sku": "23084", "name": "\"salt\"", "quantity": 3, "unit_price": "33.17"}],
        "payments": [{"method": "card", "amount": "99.50"}]})
}

fn refund(order: &str, of: &str, value: &str) -> Value {
    json!({"order_id": order, "kind": "refund", "refers_to": of,
        "amount": {"value": value, "currency": "GBP"}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_is_answered_without_the_database_and_with_its_bytes() {
    let beside = Beside::start().await;
    let (with, without) = (&beside.client, &beside.app.admin);
    let first = with.record("k-1", &sale("A-1")).await.expect(201);
    let sale_id = first.json()["sale_id"].as_str().expect("an id").to_owned();
    let requests = [
        ("k-1", sale("A-1"), 201),
        ("k-2", basket(), 201),
        ("k-3", refund("R-1", "A-1", "1"), 201),
        ("k-4", refund("R-2", &sale_id, "2.5"), 201),
        // the same order under another key
        ("k-5", sale("A-1"), 201),
        ("k-6", refund("R-3", "A-1", "1000"), 422),
        (
            "k-7",
            json!({"order_id": "A-1", "amount": {"value": "7", "currency": "GBP"}}),
            409,
        ),
    ];
    let mut answers = Vec::new();
    for (key, body, status) in &requests {
        answers.push(with.record(key, body).await.expect(*status));
    }
    let old = json!({"orderid": "T-1", "customeraddress": format!("0x{}", "1".repeat(40)), "amountINR": "1500.5"});
    let transaction = with
        .post("/transactions/record", "k-8", old.to_string())
        .await
        .expect(201);
    beside.remembers(requests.len() + 1).await;
    without_writes(&beside.app, async {
        for ((key, body, _), first) in requests.iter().zip(&answers) {
            assert_replay(first, &with.record(key, body).await);
        }
        let again = with
            .post("/transactions/record", "k-8", old.to_string())
            .await;
        assert_replay(&transaction, &again);
        let reused = with.record("k-1", &sale("A-9")).await.expect(422);
        reused.problem("idempotency_key_reused");
    })
    .await;
    // and the database says the same
    for ((key, body, _), first) in requests.iter().zip(&answers) {
        assert_replay(first, &without.record(key, body).await);
    }
    let again = without
        .post("/transactions/record", "k-8", old.to_string())
        .await;
    assert_replay(&transaction, &again);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_remembers_a_batch() {
    let (app, cluster) = (App::start().await, Cluster::start().await);
    let cache = Cache::open(&cluster.url(), Clock::system()).expect("an address");
    let server = Running::start_beside(&app.db, Clock::system(), Some(cache.clone())).await;
    is_used(&cache, &app).await;
    let client = app.admin.at(&server.url);
    let item = |n: u32, order: String| {
        let mut item = sale(&order);
        item["idempotency_key"] = json!(format!("k-{n}"));
        item
    };
    let items: Vec<Value> = (0..40).map(|n| item(n, format!("A-{n}"))).collect();
    let first = client.record_batch(&items).await.expect(200);
    // the entries are written after the answer
    tokio::time::sleep(Duration::from_millis(500)).await;
    let again = without_writes(&app, client.record_batch(&items)).await;
    let (first, again) = (first.json(), again.expect(200).json());
    for n in 0..items.len() {
        let (first, again) = (&first["items"][n], &again["items"][n]);
        assert_eq!(again["body"], first["body"], "{n}");
        assert_eq!(again["replayed"], true, "{n}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_in_another_process_waits_for_the_first() {
    let beside = Beside::start().await;
    let (other, _cache) = Beside::process(&beside.app, &beside.redis).await;
    let other = beside.app.admin.at(&other.url);
    let (first, second) = (beside.client.clone(), other);
    let body = sale("A-1");
    let (at_first, at_second) = without_writes(&beside.app, async {
        let at_first = tokio::spawn({
            let body = body.clone();
            async move { first.record("k-1", &body).await }
        });
        eventually("the first has the key", async || {
            (!beside.entries().await.is_empty()).then_some(())
        })
        .await;
        let at_second = tokio::spawn(async move { second.record("k-1", &body).await });
        tokio::time::sleep(Duration::from_millis(300)).await;
        // one waits in the database, and the other for it
        let waiting: i64 = sqlx::query_scalar(
            "select count(*) from pg_stat_activity
                 where datname = current_database() and wait_event_type = 'Lock'",
        )
        .fetch_one(&beside.app.db.owner)
        .await
        .expect("the activity");
        assert_eq!(waiting, 1);
        (at_first, at_second)
    })
    .await;
    let first = at_first.await.expect("an answer").expect(201);
    assert_replay(&first, &at_second.await.expect("an answer"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_holds_nobody_up_for_long() {
    let beside = Beside::start().await;
    beside.client.record("k-1", &sale("A-1")).await.expect(201);
    beside.remembers(1).await;
    let [name] = beside.entries().await.try_into().expect("one");
    // another process' lock
    let name = name.replace(":key:k-1", ":key:k-2");
    let lock = format!("\u{2}\u{0}{}", "x".repeat(16));
    beside
        .redis
        .ask::<()>(&["SET", &name, &lock, "PX", "1500"])
        .await;
    let started = Instant::now();
    beside.client.record("k-2", &sale("A-2")).await.expect(201);
    assert!(
        started.elapsed() >= Duration::from_secs(1),
        "it was respected"
    );
    // a lock that never ends is somebody at work
    beside.redis.ask::<()>(&["SET", &name, &lock]).await;
    let busy = beside.client.record("k-2", &sale("A-2")).await.expect(409);
    busy.problem("idempotency_in_flight");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_of_a_killed_process_puts_no_sale_of_a_batch_behind_its_refund() {
    let beside = Beside::start().await;
    beside.client.record("k-1", &sale("A-1")).await.expect(201);
    beside.remembers(1).await;
    let [name] = beside.entries().await.try_into().expect("one");
    let name = name.replace(":key:k-1", ":key:k-2");
    let lock = format!("\u{2}\u{0}{}", "x".repeat(16));
    beside.redis.ask::<()>(&["SET", &name, &lock]).await;
    let item = |key: &str, mut item: Value| {
        item["idempotency_key"] = json!(key);
        item
    };
    let batch = [
        item("k-2", sale("A-2")),
        item("k-3", refund("R-2", "A-2", "1")),
    ];
    let answer = beside.client.record_batch(&batch).await.expect(200).json();
    for n in 0..2 {
        assert_eq!(answer["items"][n]["status"], 201, "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_remembered_leaves_no_lock() {
    let beside = Beside::start().await;
    let unknown = refund("R-1", "A-1", "1");
    beside.client.record("k-1", &unknown).await.expect(422);
    eventually("the lock is given back", async || {
        beside.entries().await.is_empty().then_some(())
    })
    .await;
    // and what became possible is done
    beside.client.record("k-2", &sale("A-1")).await.expect(201);
    beside.client.record("k-1", &unknown).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_remembered_is_not_told_while_the_database_is_in_doubt() {
    let it = Beside::start().await;
    it.client.record("A-1", &sale("A-1")).await.expect(201);
    it.remembers(1).await;
    let doubt = "select raise_doubt('commits may be lost', 0)";
    sqlx::query(doubt).execute(&it.app.db.owner).await.unwrap();
    let refused = eventually("recording stops", async || {
        let answer = it.client.record("A-1", &sale("A-1")).await;
        (answer.status == 503).then_some(answer)
    })
    .await;
    refused.problem("database_in_doubt");
    for order in ["A-1", "A-2"] {
        let refused = it.client.record(order, &sale(order)).await;
        refused.problem("database_in_doubt");
    }
    it.remembers(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_becomes_of_redis_the_answer_is_the_databases() {
    let mut beside = Beside::start().await;
    let body = sale("A-1");
    let first = beside.client.record("k-1", &body).await.expect(201);
    beside.remembers(1).await;
    let [name] = beside.entries().await.try_into().expect("one");
    for garbage in ["", "OK", "\u{1}\u{1}\u{2}", "{\"sale_id\":1}"] {
        beside.redis.ask::<()>(&["SET", &name, garbage]).await;
        assert_replay(&first, &beside.client.record("k-1", &body).await);
        beside.remembers(1).await;
    }
    beside.redis.ask::<()>(&["DEL", &name]).await;
    beside.redis.ask::<()>(&["LPUSH", &name, "1"]).await;
    assert_replay(&first, &beside.client.record("k-1", &body).await);
    beside.remembers(1).await;
    beside.redis.ask::<()>(&["FLUSHALL"]).await;
    assert_replay(&first, &beside.client.record("k-1", &body).await);

    beside.remembers(1).await;
    let room = ["CONFIG", "SET", "maxmemory"];
    beside
        .redis
        .ask::<()>(&["CONFIG", "SET", "maxmemory-policy", "noeviction"])
        .await;
    beside.redis.ask::<()>(&[&room[..], &["1"]].concat()).await;
    assert_replay(&first, &beside.client.record("k-1", &body).await);
    beside
        .client
        .record("full", &sale("A-full"))
        .await
        .expect(201);
    beside.redis.ask::<()>(&[&room[..], &["0"]].concat()).await;

    beside.redis.freeze();
    let started = Instant::now();
    assert_replay(&first, &beside.client.record("k-1", &body).await);
    beside
        .client
        .record("frozen", &sale("A-frozen"))
        .await
        .expect(201);
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    beside.redis.thaw();
    is_used(&beside.cache, &beside.app).await;
    beside.redis.kill();
    assert_replay(&first, &beside.client.record("k-1", &body).await);
    beside
        .client
        .record("killed", &sale("A-killed"))
        .await
        .expect(201);
    beside.redis.restart().await;
    is_used(&beside.cache, &beside.app).await;
    assert_replay(&first, &beside.client.record("k-1", &body).await);
    let numbers: Vec<i64> = sqlx::query_scalar("select seq from sale order by seq")
        .fetch_all(&beside.app.db.owner)
        .await
        .expect("the sales");
    assert_eq!(numbers, [1, 2, 3, 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn points_and_rate_are_remembered_with_a_sale() {
    let mut beside = Beside::start().await;
    let cache = Cache::open(&beside.redis.url(), Clock::system()).expect("an address");
    let args = RateArgs {
        rate_emergency: vec!["INR=250000.00".to_owned()],
        ..RateArgs::default()
    };
    let (exchange, _) = settings::of(&args, &Clock::system()).expect("a rate");
    let server = Running::converting(&beside.app.db, exchange, Some(cache.clone())).await;
    is_used(&cache, &beside.app).await;
    beside.client = beside.app.admin.at(&server.url);
    loyalty::with_points(&beside.app).await;
    let body = json!({"orderid": "T-1", "customeraddress": loyalty::ADA, "amountINR": "1500.75"});
    let ask = |client: &Client| {
        let (client, body) = (client.clone(), body.to_string());
        async move {
            client
                .post("/transactions/record", "k-1", body)
                .await
                .expect(201)
        }
    };
    let first = ask(&beside.client).await;
    assert_eq!(first.json()["amount_wei"], "6003000000000000");
    assert_eq!(first.json()["loyalty_points"], "0");
    beside.remembers(1).await;
    // by processes that would convert by another rate, or by none
    let again = without_writes(&beside.app, ask(&beside.client)).await;
    assert_replay(&first, &again);
    assert_replay(&first, &ask(&beside.app.admin).await);
    // and what Redis has lost the database has
    beside.redis.ask::<()>(&["FLUSHALL"]).await;
    assert_replay(&first, &ask(&beside.client).await);
}
