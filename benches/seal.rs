//! What sealing costs: batches of 100,000 sales, from the queue to the commit, and what is left in the
//! table. It makes and drops a database of its own.
//!
//!     counterfoil with-services -- cargo bench --bench seal -- [BATCHES] [BYTES OF DETAILS] [LEAVES] [MERCHANTS]
//!
//! Beside each batch the same number of rows of the same size is updated by one bare statement with constant
//! values, which is what Postgres asks for on this machine at this moment; on a busy one the ratio and the
//! CPU time mean more than the seconds.
#![expect(
    clippy::float_arithmetic,
    clippy::unwrap_used,
    reason = "measures and prints"
)]

use std::time::Instant;

use counterfoil::anchor::seal;
use counterfoil::clock::Entropy;
use counterfoil::database::{self, DatabaseRole};
use secrecy::SecretString;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};

const DATABASE: &str = "counterfoil_bench_seal";
/// `sysconf(_SC_CLK_TCK)` of Linux.
const TICKS_A_SECOND: f64 = 100.0;

/// A registry, so that there is something to seal for; $1 merchants, and the first one, which is on hold:
/// its sales are for the bare statement.
const SET_UP: &str = "
    with pinned as (
        insert into registry (chain_id, address, code_hash, first_batch, pinned_at)
        values (31337, decode(repeat('11', 20), 'hex'), ''::bytea, 1, now())),
    held as (
        insert into seal_hold (merchant_id, seq, reason, since)
        values ('11111111-1111-4111-8111-000000000000', 1, 'for the bare statement', now()))
    insert into merchant (merchant_id, legal_name, mode, created_at)
    select ('11111111-1111-4111-8111-' || lpad(to_hex(k), 12, '0'))::uuid, 'Bench', 'live', now()
    from generate_series(0, $1) k";

/// Sales as the intake leaves them: $1 how many, $2 bytes of details, $3 the first number, of merchants $4
/// to $5. The leaf commits to the details by their hash alone, so any hash will do.
const SALES: &str = r#"
    with made as (
        insert into sale (merchant_id, sale_id, seq, order_id, kind, currency, amount_minor, recorded_at,
                          sold_at, details, details_hash, salt, fingerprint)
        select ('11111111-1111-4111-8111-' || lpad(to_hex($4 + g % ($5 - $4 + 1)), 12, '0'))::uuid,
               (lpad(to_hex((extract(epoch from clock_timestamp()) * 1000)::bigint), 12, '0') || '7'
                || substr(md5(g::text), 1, 3) || '8' || substr(md5(g::text), 4, 15))::uuid,
               1 + g / ($5 - $4 + 1), 'T4-2026-11-21-' || g, 1, 'INR', 12345,
               date_trunc('milliseconds', now()), now(),
               convert_to((select substr(string_agg(
                   '{"name":"Item ' || md5((g * 31 + l)::text) || '","quantity":"' || 1 + l % 3
                   || '","sku":"' || (g * 7919 + l * 104729) % 1000000 || '","unit_price":"' || (g + l) % 900
                   || '.50"},', ''), 1, $2) from generate_series(0, $2 / 90) l), 'UTF8'),
               sha256(g::text::bytea), sha256(('s' || g)::bytea), sha256(('f' || g)::bytea)
        from generate_series($3, $3 + $1 - 1) g
        returning merchant_id, seq, sale_id, recorded_at)
    insert into pending_sale (merchant_id, seq, sale_id, recorded_at)
    select merchant_id, seq, sale_id, recorded_at from made"#;

/// The least that writing leaf and proof can cost, of the sales above number $1.
const BARE: &str = "
    update sale set leaf = decode(repeat('12', 32), 'hex'), batch_id = 0, leaf_index = 1,
                    proof = decode(repeat('12', 576), 'hex')
    where merchant_id = '11111111-1111-4111-8111-000000000000' and seq > $1";

/// What is asked for.
#[derive(Clone, Copy)]
struct Size {
    bytes: i32,
    leaves: i64,
    merchants: i64,
}

#[tokio::main]
async fn main() {
    let mut numbers = std::env::args().filter_map(|argument| argument.parse::<i64>().ok());
    let batches = numbers.next().unwrap_or(5);
    let size = Size {
        bytes: numbers.next().unwrap_or(450) as i32,
        leaves: numbers.next().unwrap_or(100_000),
        merchants: numbers.next().unwrap_or(1),
    };
    tracing_subscriber::fmt()
        .with_env_filter("counterfoil=info")
        .init();
    let cluster = std::env::var("DATABASE_URL")
        .expect("DATABASE_URL: run this with `counterfoil with-services`");
    let url = SecretString::from(create(&cluster).await);
    database::migrate(&url).await.unwrap();
    let owner = database::pool(&url, DatabaseRole::Owner, 2).unwrap();
    let worker = database::pool(&url, DatabaseRole::Worker, 2).unwrap();
    sqlx::query(SET_UP)
        .bind(size.merchants)
        .execute(&owner)
        .await
        .unwrap();

    let (mut seconds, mut ratios) = (Vec::new(), Vec::new());
    for batch in 0..batches {
        let (sealed, bare) = measure(&owner, &worker, size, batch).await;
        seconds.push(sealed);
        ratios.push(sealed / bare);
        report(&owner).await;
    }
    println!(
        "median {:.3} s, {:.2} times the bare statement; peak of memory: {}",
        median(seconds),
        median(ratios),
        status("VmHWM:")
    );
    drop((owner, worker));
    drop_database(&cluster).await;
}

/// Seals a batch, and has its bare statement; the seconds of both.
async fn measure(owner: &PgPool, worker: &PgPool, size: Size, batch: i64) -> (f64, f64) {
    // what a server does in the background is done between the measurements; and before the sales, as those
    // that are sealed have mostly come since the last checkpoint
    sqlx::raw_sql("checkpoint").execute(owner).await.unwrap();
    for (first, last) in [(0, 0), (1, size.merchants)] {
        sqlx::query(SALES)
            .bind(size.leaves)
            .bind(size.bytes)
            .bind(batch * size.leaves)
            .bind(first)
            .bind(last)
            .execute(owner)
            .await
            .unwrap();
    }
    let started = Instant::now();
    sqlx::query(BARE)
        .bind(batch * size.leaves)
        .execute(owner)
        .await
        .unwrap();
    let bare = started.elapsed().as_secs_f64();

    let (log, ours, theirs) = (written(owner).await, cpu("self"), backends(owner).await);
    let started = Instant::now();
    let outcome = seal::step(worker, &Entropy::system(), size.leaves as usize)
        .await
        .unwrap();
    let seconds = started.elapsed().as_secs_f64();
    assert!(
        matches!(outcome, seal::Outcome::Sealed { leaves, .. } if leaves as i64 == size.leaves)
    );
    println!(
        "{} sales of {} bytes: {seconds:.3} s, bare {bare:.3} s; CPU ours {:.2} s, Postgres {:.2} s; log {:.0} MB",
        size.leaves,
        size.bytes,
        cpu("self") - ours,
        backends(owner).await - theirs,
        (written(owner).await - log) / 1e6
    );
    (seconds, bare)
}

/// Bytes of the write-ahead log so far.
async fn written(owner: &PgPool) -> f64 {
    sqlx::query_scalar("select (pg_current_wal_insert_lsn() - '0/0')::float8")
        .fetch_one(owner)
        .await
        .unwrap()
}

/// CPU seconds of the database's backends, if they run on this machine.
async fn backends(owner: &PgPool) -> f64 {
    let pids: Vec<i32> =
        sqlx::query_scalar("select pid from pg_stat_activity where datname = current_database()")
            .fetch_all(owner)
            .await
            .unwrap();
    pids.iter().map(|pid| cpu(&pid.to_string())).sum()
}

/// CPU seconds of a process, by Linux' `/proc`.
fn cpu(process: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // behind the name: the 12th and 13th field are user and system time
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u32 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u32>().ok())
        .sum();
    f64::from(ticks) / TICKS_A_SECOND
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
}

/// How many updates stayed on their page, and how large the table is.
async fn report(owner: &PgPool) {
    // a backend hands its counts over when it is idle for a moment
    tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
    let (hot, heap): (Option<f64>, i64) = sqlx::query_as(
        "select sum(n_tup_hot_upd)::float8 / nullif(sum(n_tup_upd), 0), sum(pg_relation_size(relid))::bigint
         from pg_stat_user_tables where relname ~ '^sale_(first|default|[0-9])'",
    )
    .fetch_one(owner)
    .await
    .unwrap();
    let hot = hot.map_or_else(
        || "unknown".to_owned(),
        |hot| format!("{:.2} %", 100.0 * hot),
    );
    println!("updates on their page {hot}, heap {} MB", heap / 1_000_000);
}

/// A line of `/proc/self/status`.
fn status(name: &str) -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.map_or_else(|| "unknown".to_owned(), |value| value.trim().to_owned())
}

/// Makes the database anew and gives its address.
async fn create(cluster: &str) -> String {
    drop_database(cluster).await;
    let mut conn = PgConnection::connect(cluster).await.unwrap();
    let create = format!("create database {DATABASE}");
    sqlx::raw_sql(AssertSqlSafe(create))
        .execute(&mut conn)
        .await
        .unwrap();
    let server = cluster
        .rsplit_once('/')
        .map_or(cluster, |(server, _)| server);
    format!("{server}/{DATABASE}")
}

async fn drop_database(cluster: &str) {
    let mut conn = PgConnection::connect(cluster).await.unwrap();
    let drop = format!("drop database if exists {DATABASE} with (force)");
    sqlx::raw_sql(AssertSqlSafe(drop))
        .execute(&mut conn)
        .await
        .unwrap();
}
