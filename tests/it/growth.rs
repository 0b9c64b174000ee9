//! The table grows by months: where a sale goes, how months are made, what a read costs then.

use std::time::Duration;

use counterfoil::anchor::seal;
use counterfoil::clock::{Clock, Entropy};
use counterfoil::database::{DatabaseRole, MIGRATIONS};
use counterfoil::retention::partitions::{self, Ahead};
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, PgPool};
use tokio::task::JoinSet;

use crate::harness::{App, Client, Database, Running, sale};

async fn names(owner: &PgPool) -> Vec<String> {
    sqlx::query_scalar("select name from sale_partition order by to_id")
        .fetch_all(owner)
        .await
        .expect("the partitions")
}

/// In which table each sale stands, by order id.
async fn places(owner: &PgPool) -> Vec<(String, String)> {
    sqlx::query_as("select order_id, tableoid::regclass::text from sale order by order_id")
        .fetch_all(owner)
        .await
        .expect("the sales")
}

async fn run(owner: &PgPool, statement: impl Into<String>) {
    let statement = statement.into();
    sqlx::raw_sql(AssertSqlSafe(statement.clone()))
        .execute(owner)
        .await
        .unwrap_or_else(|error| panic!("{statement}: {error}"));
}

/// Takes the coming months away, as if the worker had not run for as long.
async fn forget_months_ahead(owner: &PgPool) -> Vec<String> {
    let months = names(owner).await.split_off(1);
    for month in &months {
        run(owner, format!("drop table {month}")).await;
    }
    months
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_goes_to_the_month_of_its_id_and_is_sealed_where_it_stands() {
    let app = App::start().await;
    let days = |days: u64| Duration::from_secs(days * 24 * 60 * 60);
    // the till's server is on time, 40 days ahead, ten years ahead, and at the beginning of time
    let now = Clock::system().now();
    let clocks = [
        ("A-now", now),
        ("B-soon", now + days(40)),
        ("C-far", now + days(3650)),
        ("D-past", time::OffsetDateTime::UNIX_EPOCH),
    ];
    for (order, at) in clocks {
        let server = Running::start(&app.db, Clock::manual(at)).await;
        let client = Client::new(&server.url, Some(app.admin.key()));
        let made = client.record(order, &sale(order)).await.expect(201).json();
        let read = app
            .admin
            .get(&format!("/v1/sales/{}", made["sale_id"].as_str().unwrap()))
            .await;
        assert_eq!(read.expect(200).json()["order_id"], order);
        server.stop().await;
    }
    let months = names(&app.db.owner).await;
    let found = places(&app.db.owner).await;
    let places: Vec<&str> = found.iter().map(|(_, place)| place.as_str()).collect();
    assert_eq!(places[0], "sale_first");
    assert!(months[1..3].contains(&found[1].1), "{found:?}");
    assert_eq!(places[2..], ["sale_default", "sale_first"]);

    // nothing is sealed before there is a chain to anchor it on
    run(
        &app.db.owner,
        "insert into registry (chain_id, address, code_hash, first_batch, pinned_at)
         values (31337, decode(repeat('aa', 20), 'hex'), '', 1, now())",
    )
    .await;
    let worker = app.db.pool(DatabaseRole::Worker);
    let entropy = Entropy::system();
    let outcome = seal::step(&worker, &entropy, 100).await.unwrap();
    let held: Vec<String> = sqlx::query_scalar("select reason from seal_hold")
        .fetch_all(&app.db.owner)
        .await
        .unwrap();
    let sealed: i64 = sqlx::query_scalar("select count(*) from sale where batch_id = 1")
        .fetch_one(&app.db.owner)
        .await
        .unwrap();
    assert_eq!(sealed, 4, "{outcome:?} {held:?}");
    let ahead = partitions::step(&worker).await.unwrap();
    assert_eq!(
        ahead,
        Ahead {
            months: 3,
            stray: 1
        }
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn months_that_are_late_take_their_sales_out_of_the_default() {
    let app = App::start().await;
    let months = forget_months_ahead(&app.db.owner).await;
    assert_eq!(months.len(), 3);
    let start = Clock::system().now() + Duration::from_secs(32 * 24 * 60 * 60);
    let server = Running::start(&app.db, Clock::manual(start)).await;
    let client = Client::new(&server.url, Some(app.admin.key()));
    let first = client.record("k", &sale("A-1")).await.expect(201);
    assert_eq!(places(&app.db.owner).await[0].1, "sale_default");

    let worker = app.db.pool(DatabaseRole::Worker);
    let ahead = partitions::step(&worker).await.unwrap();
    assert_eq!(
        ahead,
        Ahead {
            months: 3,
            stray: 0
        }
    );
    assert_eq!(names(&app.db.owner).await[1..], months);
    assert!(months.contains(&places(&app.db.owner).await[0].1));
    let again = client.record("k", &sale("A-1")).await.expect(201);
    assert_eq!(
        again.text, first.text,
        "the same answer from where it stands now"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_makers_make_each_month_once_while_sales_are_recorded() {
    let app = App::start().await;
    let months = forget_months_ahead(&app.db.owner).await;
    let worker = app.db.pool(DatabaseRole::Worker);
    let mut makers = JoinSet::new();
    for _ in 0..8 {
        let worker = worker.clone();
        makers.spawn(async move { partitions::step(&worker).await });
    }
    let selling = async {
        for n in 0..40 {
            let key = format!("k-{n}");
            app.admin.record(&key, &sale(&key)).await.expect(201);
        }
    };
    let (made, ()) = tokio::join!(makers.join_all(), selling);
    assert!(
        made.iter().any(|made| matches!(
            made,
            Ok(Ahead {
                months: 3,
                stray: 0
            })
        )),
        "{made:?}"
    );
    assert_eq!(names(&app.db.owner).await[1..], months);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_but_the_owner_reaches_a_partition_by_its_name() {
    let db = Database::create().await;
    let reached: Vec<(String, String)> = sqlx::query_as(
        "select r.rolname::text, c.relname::text
         from pg_inherits i join pg_class c on c.oid = i.inhrelid, pg_roles r
         where i.inhparent = 'sale'::regclass and r.rolname like 'counterfoil\\_%'
           and (has_table_privilege(r.oid, c.oid, 'select, insert, update, delete, truncate')
                or has_any_column_privilege(r.oid, c.oid, 'select, insert, update'))",
    )
    .fetch_all(&db.owner)
    .await
    .unwrap();
    assert_eq!(reached, []);
    let makers: Vec<String> = sqlx::query_scalar(
        "select r.rolname::text from pg_roles r where r.rolname like 'counterfoil\\_%'
         and has_function_privilege(r.oid, 'make_sale_partitions(integer)', 'execute')",
    )
    .fetch_all(&db.owner)
    .await
    .unwrap();
    assert_eq!(makers, ["counterfoil_worker"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sales_there_were_become_the_first_month_as_they_stand() {
    let db = Database::create().await;
    db.run_outside("create database {}_before").await;
    let name = db
        .owner
        .connect_options()
        .get_database()
        .unwrap()
        .to_owned();
    let options = db
        .owner
        .connect_options()
        .as_ref()
        .clone()
        .database(&format!("{name}_before"));
    let before = PgPoolOptions::new()
        .max_connections(1)
        .connect_lazy_with(options);
    for migration in MIGRATIONS.iter().filter(|migration| migration.version <= 5) {
        run(&before, migration.sql.as_str()).await;
    }
    // four of this month, and one that a clock ten years ahead has made
    run(
        &before,
        "insert into sale (merchant_id, sale_id, seq, order_id, kind, currency, amount_minor, recorded_at,
                           details, details_hash, salt, fingerprint)
         select gen_random_uuid(), (lpad(to_hex(((extract(epoch from now())
                    + case n when 5 then 315360000 else 0 end) * 1000)::bigint), 12, '0')
                || '7000' || lpad(to_hex(n), 16, '0'))::uuid,
                n, 'A-' || n, 1, 'INR', n, now(), '', '', '', '' from generate_series(1, 5) n",
    )
    .await;
    let file = "select pg_relation_filenode($1)::bigint";
    let there: i64 = sqlx::query_scalar(file)
        .bind("sale")
        .fetch_one(&before)
        .await
        .unwrap();
    for migration in MIGRATIONS.iter().filter(|migration| migration.version > 5) {
        run(&before, migration.sql.as_str()).await;
    }
    let found = places(&before).await;
    let places: Vec<&str> = found.iter().map(|(_, place)| place.as_str()).collect();
    assert_eq!(places[..4], ["sale_first"; 4]);
    assert_eq!(places[4], "sale_default");
    let here: i64 = sqlx::query_scalar(file)
        .bind("sale_first")
        .fetch_one(&before)
        .await
        .unwrap();
    assert_eq!(there, here, "no row was copied");
    before.close().await;
    db.run_outside("drop database {}_before").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_by_id_looks_into_one_month_and_one_by_number_into_indexes_alone() {
    let app = App::start().await;
    app.admin.record("k", &sale("A-1")).await.expect(201);
    let mut api = app.db.pool(DatabaseRole::Api).acquire().await.unwrap();
    // the plan that a connection ends up with, whatever it is asked for
    sqlx::raw_sql("set plan_cache_mode = force_generic_plan; set enable_seqscan = off")
        .execute(&mut *api)
        .await
        .unwrap();
    let reads = [
        // one table of five is touched
        (
            "select leaf from sale where merchant_id = $1 and sale_id = $2",
            1,
        ),
        (
            "select s.* from sale_order o cross join lateral (
                 select * from recorded_sale s
                 where s.merchant_id = o.merchant_id and s.sale_id = o.sale_id limit 1) s
             where o.merchant_id = $1 and ($2::uuid is not null) and o.order_id = 'A-1'",
            1,
        ),
        (
            "select seq from sale where merchant_id = $1 and ($2::uuid is not null) order by seq limit 5",
            5,
        ),
    ];
    for (read, expected) in reads {
        let plan: Vec<String> = sqlx::query_scalar(AssertSqlSafe(format!(
            "explain (analyze, costs off, timing off, summary off) {read}"
        )))
        .bind(app.merchant.0)
        .bind(first_id(&app.db.owner).await)
        .fetch_all(&mut *api)
        .await
        .unwrap();
        let touched = plan
            .iter()
            .filter(|line| line.contains(" on sale_") && !line.contains("on sale_order"))
            .filter(|line| !line.contains("never executed"));
        assert_eq!(touched.count(), expected, "{}", plan.join("\n"));
        assert!(
            !plan.iter().any(|line| line.contains("Seq Scan")),
            "{}",
            plan.join("\n")
        );
    }
}

async fn first_id(owner: &PgPool) -> uuid::Uuid {
    sqlx::query_scalar("select sale_id from sale limit 1")
        .fetch_one(owner)
        .await
        .expect("a sale")
}
