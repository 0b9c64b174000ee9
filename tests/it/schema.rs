//! The database's own promises: keys that begin with the merchant, roles that may do no more than they
//! need, commits that are on disk.

use std::collections::BTreeSet;

use counterfoil::database::{self, DatabaseRole};
use secrecy::{ExposeSecret, SecretString};
use sqlx::{PgPool, Row};

use crate::harness::{App, Database, sale};

/// What belongs to the installation though it names merchants: nothing of it is written by the intake,
/// and nothing of it is distributed by merchant.
const INSTALLATION: [&str; 3] = ["batch_mark", "mark_head", "seal_hold"];

/// The tables that belong to a merchant.
async fn merchants_tables(owner: &PgPool) -> BTreeSet<String> {
    let tables: Vec<String> = sqlx::query_scalar(
        "select c.relname::text from pg_class c join pg_attribute a on a.attrelid = c.oid
         where c.relkind in ('r', 'p') and c.relnamespace = 'public'::regnamespace and a.attname = 'merchant_id'",
    )
    .fetch_all(owner)
    .await
    .expect("the catalogue");
    tables
        .into_iter()
        .filter(|table| !INSTALLATION.contains(&table.as_str()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_a_merchant_begins_with_it() {
    let db = Database::create().await;
    let tables = merchants_tables(&db.owner).await;
    assert!(
        [
            "merchant",
            "sale",
            "sale_order",
            "idempotency_key",
            "pending_sale"
        ]
        .iter()
        .all(|t| tables.contains(*t)),
        "{tables:?}"
    );
    // primary keys, unique constraints and unique indexes, and foreign keys on both of their sides
    let unique = sqlx::query(
        "select t.relname::text, i.relname::text, a.attname::text
         from pg_index x join pg_class t on t.oid = x.indrelid join pg_class i on i.oid = x.indexrelid
         join pg_attribute a on a.attrelid = t.oid and a.attnum = x.indkey[0]
         where x.indisunique and t.relnamespace = 'public'::regnamespace",
    );
    for row in unique.fetch_all(&db.owner).await.unwrap() {
        let (table, index, first): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        assert!(
            !tables.contains(&table) || first == "merchant_id",
            "{index} of {table} begins with {first}"
        );
    }
    let foreign = sqlx::query(
        "select t.relname::text, c.conname::text, f.relname::text, a.attname::text, b.attname::text
         from pg_constraint c join pg_class t on t.oid = c.conrelid join pg_class f on f.oid = c.confrelid
         join pg_attribute a on a.attrelid = t.oid and a.attnum = c.conkey[1]
         join pg_attribute b on b.attrelid = f.oid and b.attnum = c.confkey[1]
         where c.contype = 'f'",
    );
    let foreign = foreign.fetch_all(&db.owner).await.unwrap();
    assert!(!foreign.is_empty());
    for row in foreign {
        let [table, name, to, from_column, to_column] =
            [0, 1, 2, 3, 4].map(|index| row.get::<String, _>(index));
        if tables.contains(&table) || tables.contains(&to) {
            assert!(
                tables.contains(&table) && tables.contains(&to),
                "{name} leads from {table} to {to}: across the border"
            );
            assert_eq!(
                (from_column.as_str(), to_column.as_str()),
                ("merchant_id", "merchant_id"),
                "{name}"
            );
        }
    }
    let primary = "select count(*) from pg_class t where t.relkind = 'r' and t.relnamespace = 'public'::regnamespace
                   and not exists (select from pg_index x where x.indrelid = t.oid and x.indisprimary)";
    let without: i64 = sqlx::query_scalar(primary)
        .fetch_one(&db.owner)
        .await
        .unwrap();
    assert_eq!(without, 0, "every table has a primary key");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_role_may_do_what_it_needs_and_no_more() {
    let app = App::start().await;
    app.admin.record("k", &sale("A-1")).await.expect(201);
    let api = app.db.pool(DatabaseRole::Api);
    let worker = app.db.pool(DatabaseRole::Worker);
    let refused: [(&PgPool, &str); 18] = [
        (&api, "insert into sale select * from sale"),
        (&api, "update sale set amount_minor = 0"),
        (&api, "update sale set leaf = salt"),
        (&api, "delete from sale"),
        (&api, "update merchant set next_seq = 1"),
        (&api, "delete from idempotency_key"),
        (&api, "insert into pending_sale select * from pending_sale"),
        (&api, "update api_key set revoked_at = null"),
        (&api, "insert into api_key select * from api_key"),
        (
            &api,
            "select lock_api_key_admins(merchant_id, merchant_id, now()) from merchant",
        ),
        (
            &worker,
            "select revoke_api_key(merchant_id, merchant_id, merchant_id, now()) from merchant",
        ),
        (&api, "truncate sale"),
        (&worker, "update sale set amount_minor = 0"),
        (&worker, "delete from sale"),
        (&worker, "insert into sale select * from sale"),
        (&worker, "select secret_hash from api_key"),
        (&worker, "update merchant set next_seq = 1"),
        (&worker, "update batch set root = root"),
    ];
    for (pool, statement) in refused {
        check_refused(pool, statement).await;
    }
    let execute = "select has_function_privilege($1, p.oid, 'execute') from pg_proc p where p.proname like 'record_sales%'";
    for (role, may) in [
        ("counterfoil_api", true),
        ("counterfoil_worker", false),
        ("counterfoil_reader", false),
        ("public", false),
    ] {
        let found: Vec<bool> = sqlx::query_scalar(execute)
            .bind(role)
            .fetch_all(&app.db.owner)
            .await
            .unwrap();
        assert_eq!(found, [may; 3], "{role}");
    }
}

/// A statement that the database does not let a role run.
async fn check_refused(pool: &PgPool, statement: &'static str) {
    let error = sqlx::query(statement)
        .execute(pool)
        .await
        .expect_err(statement);
    let code = error
        .as_database_error()
        .and_then(|e| e.code().map(|code| code.into_owned()));
    assert_eq!(code.as_deref(), Some("42501"), "{statement}: {error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_nobodys_business_but_their_own() {
    let app = App::start().await;
    app.customer().await;
    let api = app.db.pool(DatabaseRole::Api);
    let worker = app.db.pool(DatabaseRole::Worker);
    let refused: [(&PgPool, &str); 12] = [
        (&api, "update account set role = 'admin'"),
        (&api, "insert into account select * from account"),
        (&api, "delete from account"),
        (&api, "delete from session"),
        (&api, "update session set account_id = account_id"),
        (
            &api,
            "insert into account_token select * from account_token",
        ),
        (&api, "update account_token set used_at = null"),
        (
            &api,
            "select lock_admins(merchant_id, merchant_id, null, '', now()) from merchant",
        ),
        (
            &api,
            "select set_account_password(merchant_id, merchant_id, '', null, now()) from merchant",
        ),
        (&worker, "select password_hash from account"),
        (&worker, "select email from account_mail"),
        (
            &worker,
            "select redeem_account_token(merchant_id, merchant_id, '', '', now()) from merchant",
        ),
    ];
    for (pool, statement) in refused {
        check_refused(pool, statement).await;
    }
    let secret = [
        "api_key",
        "account",
        "session",
        "sign_in_attempt",
        "account_mail",
        "account_token",
        "wallet_nonce",
        "event",
        "webhook_endpoint",
        "webhook_secret",
        "webhook_attempt",
    ];
    for table in secret {
        let reads = sqlx::query_scalar(
            "select has_any_column_privilege('counterfoil_reader', $1, 'select')",
        )
        .bind(table);
        let reads: bool = reads.fetch_one(&app.db.owner).await.unwrap();
        assert!(!reads, "whoever only reads has no business with {table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_and_secrets_are_written_by_their_functions_alone() {
    let app = App::start().await;
    let api = app.db.pool(DatabaseRole::Api);
    let worker = app.db.pool(DatabaseRole::Worker);
    let refused: [(&PgPool, &str); 14] = [
        (&api, "insert into event select * from event"),
        (&api, "update event set data = '{}'"),
        (&api, "delete from event"),
        (&api, "update webhook_endpoint set state = 'enabled'"),
        (&api, "update webhook_delivery set state = 'succeeded'"),
        (&api, "delete from webhook_attempt"),
        (&api, "select hmac_key from webhook_secret"),
        (&api, "select ed25519_seed from webhook_secret"),
        (
            &api,
            "select claim_webhook_deliveries(now(), now(), 1, 1, '{}')",
        ),
        (&worker, "select hmac_key from webhook_secret"),
        (&worker, "delete from event"),
        (&worker, "update webhook_endpoint set url = ''"),
        (
            &worker,
            "select delete_webhook_endpoint(merchant_id, merchant_id, now()) from merchant",
        ),
        (
            &worker,
            "select disable_webhook_endpoint(merchant_id, merchant_id, 'gone', now()) from merchant",
        ),
    ];
    for (pool, statement) in refused {
        check_refused(pool, statement).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_means_on_disk_whatever_the_database_says() {
    let app = App::start().await;
    app.db
        .run_outside("alter database {} set synchronous_commit = off")
        .await;
    for role in [DatabaseRole::Api, DatabaseRole::Worker] {
        let setting: String = sqlx::query_scalar("show synchronous_commit")
            .fetch_one(&app.db.pool(role))
            .await
            .unwrap();
        assert_eq!(setting, "on", "{role:?}");
    }
    let fsync: String = sqlx::query_scalar("show fsync")
        .fetch_one(&app.db.owner)
        .await
        .unwrap();
    assert_eq!(fsync, "on");
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_at_never_runs_backwards() {
    let app = App::start().await;
    app.admin.record("k-1", &sale("A-1")).await.expect(201);
    // the machine's clock was an hour ahead once
    sqlx::query("update merchant set last_recorded_at = date_trunc('milliseconds', now() + interval '1 hour')")
        .execute(&app.db.owner)
        .await
        .unwrap();
    for n in 2..5 {
        app.admin
            .record(&format!("k-{n}"), &sale(&format!("A-{n}")))
            .await
            .expect(201);
    }
    let times: Vec<time::OffsetDateTime> =
        sqlx::query_scalar("select recorded_at from sale order by seq")
            .fetch_all(&app.db.owner)
            .await
            .unwrap();
    assert!(times.is_sorted(), "{times:?}");
    assert!(times[1] > times[0] + time::Duration::minutes(59));
    assert!(
        times.iter().all(|at| at.nanosecond() % 1_000_000 == 0),
        "whole milliseconds: {times:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_with_the_two_roles_is_enough_to_serve() {
    let db = Database::create().await;
    let login = format!(
        "login_{}",
        db.owner.connect_options().get_database().unwrap()
    );
    for statement in [
        format!("create role {login} login password 'few-rights'"),
        format!("grant counterfoil_api, counterfoil_worker to {login}"),
    ] {
        db.run_outside(&statement).await;
    }
    let mut url = reqwest::Url::parse(db.url.expose_secret()).unwrap();
    url.set_username(&login).unwrap();
    url.set_password(Some("few-rights")).unwrap();
    let url = SecretString::from(url.to_string());
    database::check_version(&url).await.unwrap();
    for role in [DatabaseRole::Api, DatabaseRole::Worker] {
        let pool = database::pool(&url, role, 1).unwrap();
        let head: i64 = sqlx::query_scalar("select next_batch from seal_head")
            .fetch_one(&pool)
            .await
            .unwrap();
        assert_eq!(head, 1);
        pool.close().await;
    }
    db.run_outside(&format!("drop role {login}")).await;
}
