//! What sealing costs: batches of 100,000 sales, from the queue to the commit, and what is left in the
//! table. It makes and drops a database of its own.
//!
//!     counterfoil with-services -- cargo bench --bench seal -- [BATCHES] [BYTES OF DETAILS] [LEAVES]
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

/// A registry, so that there is something to seal for, and a merchant.
const SET_UP: &str = "
    insert into registry (chain_id, address, code_hash, first_batch, pinned_at)
    values (31337, decode(repeat('11', 20), 'hex'), ''::bytea, 1, now());
    insert into merchant (merchant_id, legal_name, mode, created_at)
    values ('11111111-1111-4111-8111-111111111111', 'Bench', 'live', now());";

/// Sales as the intake leaves them: $1 how many, $2 bytes of details, $3 the first number. The leaf
/// commits to the details by their hash alone, so any hash will do.
const SALES: &str = r#"
    with made as (
        insert into sale (merchant_id, sale_id, seq, order_id, kind, currency, amount_minor, recorded_at,
                          sold_at, details, details_hash, salt, fingerprint)
        select '11111111-1111-4111-8111-111111111111',
               (lpad(to_hex((extract(epoch from clock_timestamp()) * 1000)::bigint), 12, '0') || '7'
                || substr(md5(g::text), 1, 3) || '8' || substr(md5(g::text), 4, 15))::uuid,
               g, 'T4-2026-11-21-' || g, 1, 'INR', 12345, date_trunc('milliseconds', now()), now(),
               convert_to((select substr(string_agg(
                   '{"name":"Item ' || md5((g * 31 + l)::text) || '","quantity":"' || 1 + l % 3
                   || '","sku":"' || (g * 7919 + l * 104729) % 1000000 || '","unit_price":"' || (g + l) % 900
                   || '.50"},', ''), 1, $2) from generate_series(0, $2 / 90) l), 'UTF8'),
               sha256(g::text::bytea), sha256(('s' || g)::bytea), sha256(('f' || g)::bytea)
        from generate_series($3, $3 + $1 - 1) g
        returning merchant_id, seq, sale_id, recorded_at)
    insert into pending_sale (merchant_id, seq, sale_id, recorded_at)
    select merchant_id, seq, sale_id, recorded_at from made"#;

#[tokio::main]
async fn main() {
    let mut numbers = std::env::args().filter_map(|argument| argument.parse::<i64>().ok());
    let batches = numbers.next().unwrap_or(5);
    let bytes = numbers.next().unwrap_or(450);
    let leaves = numbers.next().unwrap_or(100_000);
    tracing_subscriber::fmt().with_env_filter("info").init();
    let cluster = std::env::var("DATABASE_URL")
        .expect("DATABASE_URL: run this with `counterfoil with-services`");
    let url = SecretString::from(create(&cluster).await);
    database::migrate(&url).await.unwrap();
    let owner = database::pool(&url, DatabaseRole::Owner, 2).unwrap();
    let worker = database::pool(&url, DatabaseRole::Worker, 2).unwrap();
    sqlx::raw_sql(SET_UP).execute(&owner).await.unwrap();

    for batch in 0..batches {
        sqlx::query(SALES)
            .bind(leaves)
            .bind(bytes as i32)
            .bind(1 + batch * leaves)
            .execute(&owner)
            .await
            .unwrap();
        // what a server does in the background is done between the measurements
        sqlx::raw_sql("checkpoint").execute(&owner).await.unwrap();
        let started = Instant::now();
        let outcome = seal::step(&worker, &Entropy::system(), leaves as usize)
            .await
            .unwrap();
        let seconds = started.elapsed().as_secs_f64();
        println!("{leaves} sales of {bytes} bytes: {seconds:.3} s");
        assert!(
            matches!(outcome, seal::Outcome::Sealed { leaves: sealed, .. } if sealed as i64 == leaves)
        );
        report(&owner).await;
    }
    println!("peak of memory: {}", status("VmHWM:"));
    drop((owner, worker));
    drop_database(&cluster).await;
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
