//! What Redis does to us: whatever it is, a call comes back soon, with what was put or with nothing.

use std::sync::Arc;
use std::time::Duration;

use counterfoil::cache::{Cache, Key};
use counterfoil::clock::{Clock, Entropy};
use counterfoil::database::DatabaseRole;
use counterfoil::ids::MerchantId;
use secrecy::SecretString;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::harness::{Cluster, Database, Redis, Watched, eventually};

const HOUR: Duration = Duration::from_secs(3600);
/// No call may take longer, on a machine that is busy with other tests too.
const SOON: Duration = Duration::from_secs(1);

/// A cache that knows its database.
struct Opened {
    cache: Cache,
    merchant: MerchantId,
    clock: Clock,
    _stop: DropGuard,
    _db: Arc<Database>,
}

impl Opened {
    async fn open(url: &SecretString) -> Self {
        Self::on(Arc::new(Database::create().await), url, Clock::system()).await
    }

    async fn on(db: Arc<Database>, url: &SecretString, clock: Clock) -> Self {
        let cache = Cache::open(url, clock.clone()).expect("an address");
        let stop = CancellationToken::new();
        let (watching, pool, stopped) = (cache.clone(), db.pool(DatabaseRole::Api), stop.clone());
        tokio::spawn(async move { watching.watch(&pool, stopped).await });
        eventually("the database is known", async || cache.epoch()).await;
        Self {
            cache,
            merchant: MerchantId::new(&Clock::system(), &Entropy::system()),
            clock,
            _stop: stop.drop_guard(),
            _db: db,
        }
    }

    fn key(&self, name: &str) -> Key {
        let key = self.cache.key(self.merchant, "test", name);
        key.expect("the database is known")
    }

    async fn put(&self, name: &str, value: &str) {
        self.cache
            .put(&self.key(name), value.as_bytes(), HOUR)
            .await;
    }

    async fn get(&self, name: &str) -> Option<String> {
        let value = self.cache.get(&self.key(name)).await?;
        Some(String::from_utf8(value).expect("what was put"))
    }

    /// Puts until it can be got back.
    async fn is_used(&self) {
        eventually("Redis is used", async || {
            self.put("is used", "yes").await;
            self.get("is used").await
        })
        .await;
    }

    /// Whatever is asked comes back soon and with nothing.
    async fn comes_back_with_nothing(&self) {
        for _ in 0..8 {
            let started = Instant::now();
            self.put("nothing", "yes").await;
            assert_eq!(self.get("nothing").await, None);
            assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
        }
    }
}

#[tokio::test]
async fn what_was_put_is_got_until_it_expires() {
    let redis = Redis::start(&[]).await;
    let watched = Opened::open(&redis.url()).await;
    watched.is_used().await;
    assert_eq!(watched.get("a").await, None);
    watched.put("a", "first").await;
    watched.put("a", "second").await;
    assert_eq!(watched.get("a").await.as_deref(), Some("second"));
    let short = Duration::from_millis(20);
    watched.cache.put(&watched.key("b"), b"short", short).await;
    tokio::time::sleep(short * 2).await;
    assert_eq!(watched.get("b").await, None);
    // nothing is kept for ever
    let names: Vec<String> = redis.ask(&["KEYS", "cf:{*"]).await;
    assert!(!names.is_empty());
    for name in names {
        let ttl: i64 = redis.ask(&["PTTL", &name]).await;
        assert!(ttl > 0, "{name}: {ttl}");
    }
}

#[tokio::test]
async fn a_flushed_or_killed_redis_is_used_again() {
    let mut redis = Redis::start(&[]).await;
    let watched = Opened::open(&redis.url()).await;
    watched.is_used().await;
    watched.put("a", "1").await;
    redis.ask::<()>(&["FLUSHALL"]).await;
    assert_eq!(watched.get("a").await, None);
    watched.is_used().await;
    redis.kill();
    watched.comes_back_with_nothing().await;
    redis.restart().await;
    watched.is_used().await;
}

#[tokio::test]
async fn a_frozen_redis_is_left_alone_until_it_answers() {
    let redis = Redis::start(&[]).await;
    let watched = Opened::open(&redis.url()).await;
    watched.is_used().await;
    redis.freeze();
    watched.comes_back_with_nothing().await;
    // the breaker is open: calls do not even wait
    let started = Instant::now();
    for _ in 0..1000 {
        assert_eq!(watched.get("a").await, None);
    }
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    redis.thaw();
    watched.is_used().await;
}

#[tokio::test]
async fn a_full_redis_still_answers_what_it_has() {
    let redis = Redis::start(&["maxmemory-policy noeviction"]).await;
    let watched = Opened::open(&redis.url()).await;
    watched.is_used().await;
    watched.put("a", "1").await;
    redis.ask::<()>(&["CONFIG", "SET", "maxmemory", "1"]).await;
    watched.put("b", "2").await;
    assert_eq!(watched.get("b").await, None);
    assert_eq!(watched.get("a").await.as_deref(), Some("1"));
    // one that connects now does as well
    let second = Opened::on(watched._db.clone(), &redis.url(), Clock::system()).await;
    eventually("the other reads", async || {
        second.cache.get(&watched.key("a")).await
    })
    .await;
}

#[tokio::test]
async fn what_is_no_value_is_a_miss() {
    let redis = Redis::start(&[]).await;
    let watched = Opened::open(&redis.url()).await;
    watched.put("a", "1").await;
    watched.is_used().await;
    watched.put("a", "1").await;
    let names: Vec<String> = redis.ask(&["KEYS", "*:a"]).await;
    let [name] = names.as_slice() else {
        panic!("{names:?}")
    };
    redis.ask::<()>(&["DEL", name]).await;
    redis.ask::<()>(&["LPUSH", name, "1"]).await;
    for _ in 0..8 {
        assert_eq!(watched.get("a").await, None);
    }
    // it was well all the time
    watched.put("b", "2").await;
    assert_eq!(watched.get("b").await.as_deref(), Some("2"));
}

#[tokio::test]
async fn a_wrong_password_costs_nothing_else() {
    let redis = Redis::start(&["requirepass right"]).await;
    for login in ["", ":wrong@", "user:right@"] {
        let url = format!("redis://{login}127.0.0.1:{}/", redis.port());
        let watched = Opened::open(&SecretString::from(url)).await;
        watched.comes_back_with_nothing().await;
    }
    let url = format!("redis://:right@127.0.0.1:{}/", redis.port());
    Opened::open(&SecretString::from(url)).await.is_used().await;
}

#[tokio::test]
async fn whatever_else_listens_there_is_done_without() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        let garbage: [&[u8]; 4] = [
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            b"",
            b"$-7\r\n",
            b"*9999999\r\n",
        ];
        for answer in garbage.iter().cycle() {
            let Ok((mut stream, _)) = listener.accept().await else {
                return;
            };
            let mut asked = [0; 64];
            let _ = stream.read(&mut asked).await;
            let _ = stream.write_all(answer).await;
        }
    });
    let url = SecretString::from(format!("redis://127.0.0.1:{port}/"));
    Opened::open(&url).await.comes_back_with_nothing().await;
}

#[tokio::test]
async fn a_cluster_is_used_and_done_without_when_it_is_down() {
    let mut cluster = Cluster::start().await;
    let opened = Opened::open(&cluster.url()).await;
    opened.is_used().await;
    // merchants of every node
    let merchants: Vec<MerchantId> = (0..12)
        .map(|_| MerchantId::new(&Clock::system(), &Entropy::system()))
        .collect();
    for merchant in &merchants {
        let key = opened.cache.key(*merchant, "test", "a").expect("known");
        opened.cache.put(&key, b"1", HOUR).await;
        assert_eq!(opened.cache.get(&key).await.as_deref(), Some(&b"1"[..]));
    }
    for node in &mut cluster.nodes {
        let size: i64 = node.ask(&["DBSIZE"]).await;
        assert!(size > 0, "nothing on one of the nodes");
        node.kill();
    }
    opened.comes_back_with_nothing().await;
    for node in &mut cluster.nodes {
        node.restart().await;
    }
    opened.is_used().await;
}

#[tokio::test]
async fn the_master_that_a_sentinel_names_is_used_also_after_a_failover() {
    let mut watched = Watched::start().await;
    let opened = Opened::open(&watched.url()).await;
    opened.is_used().await;
    watched.master.kill();
    opened.comes_back_with_nothing().await;
    opened.is_used().await;
}

#[tokio::test]
async fn nothing_is_read_or_written_while_the_database_is_not_known() {
    let redis = Redis::start(&[]).await;
    let cache = Cache::open(&redis.url(), Clock::system()).expect("an address");
    let merchant = MerchantId::new(&Clock::system(), &Entropy::system());
    assert_eq!(cache.key(merchant, "test", "a"), None);

    // the watch asks, and then time passes without an answer
    let db = Arc::new(Database::create().await);
    let clock = Clock::manual(Clock::system().now());
    let watched = Opened::on(db.clone(), &redis.url(), clock).await;
    watched.is_used().await;
    let key = watched.key("a");
    watched.cache.put(&key, b"1", HOUR).await;
    db.run_outside("alter database {} allow_connections false")
        .await;
    db.run_outside("select pg_terminate_backend(pid) from pg_stat_activity where datname = '{}'")
        .await;
    eventually("the database is unknown", async || {
        watched.cache.epoch().is_none().then_some(())
    })
    .await;
    assert_eq!(watched.cache.get(&key).await, None);
    watched.cache.put(&key, b"2", HOUR).await;
    db.run_outside("alter database {} allow_connections true")
        .await;
    eventually("the database is known", async || watched.cache.epoch()).await;
    assert_eq!(watched.cache.get(&key).await.as_deref(), Some(&b"1"[..]));
    watched.clock.advance(HOUR);
    assert_eq!(watched.cache.epoch(), None);
}
