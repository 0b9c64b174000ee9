//! A month of sales leaves the database, and nobody who asks for one of them notices.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use counterfoil::anchor::seal;
use counterfoil::clock::{Clock, Entropy};
use counterfoil::database::DatabaseRole;
use counterfoil::retention::archive::{self, Archived, ArchivingError, Month};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::harness::{App, Client, Running, eventually, sale};

/// A shop with a month that is over, and a server whose clock stands in it.
struct Shop {
    app: App,
    then: Running,
    directory: PathBuf,
}

impl Shop {
    async fn open() -> Self {
        let app = App::start().await;
        let shop = Self {
            then: Running::start(
                &app.db,
                Clock::manual(Clock::system().now() - Duration::from_secs(40 * 86_400)),
            )
            .await,
            directory: app.db.archive_directory(),
            app,
        };
        // the first month ended a month earlier
        shop.run(
            "do $$ declare v_month timestamp := date_trunc('month', now() at time zone 'UTC'); begin
                 alter table sale detach partition sale_first;
                 execute format('alter table sale attach partition sale_first for values from (minvalue) to (%L)',
                     first_sale_id(v_month at time zone 'UTC'));
                 execute format('create table sale_now partition of sale for values from (%L) to (%L)',
                     first_sale_id(v_month at time zone 'UTC'),
                     first_sale_id((v_month + interval '1 month') at time zone 'UTC'));
             end $$;
             insert into registry (chain_id, address, code_hash, first_batch, pinned_at)
             values (31337, decode(repeat('aa', 20), 'hex'), '', 1, now())",
        )
        .await;
        fs::create_dir_all(&shop.directory).expect("a directory");
        shop
    }

    async fn run(&self, statement: &str) {
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
            .execute(&self.app.db.owner)
            .await
            .unwrap_or_else(|error| panic!("{statement}: {error}"));
    }

    async fn count(&self, from: &str) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(format!("select count(*) from {from}")))
            .fetch_one(&self.app.db.owner)
            .await
            .expect("a count")
    }

    /// Records a sale in the month that is over.
    async fn sold(&self, order: &str) -> Value {
        self.till()
            .record(order, &sale(order))
            .await
            .expect(201)
            .json()
    }

    fn till(&self) -> Client {
        Client::new(&self.then.url, Some(self.app.admin.key()))
    }

    /// Seals what waits and has it final on the chain.
    async fn finalize(&self, batch: i64) {
        let worker = self.app.db.pool(DatabaseRole::Worker);
        let sealed = seal::step(&worker, &Entropy::system(), 1000)
            .await
            .expect("a seal");
        assert!(
            matches!(sealed, seal::Outcome::Sealed { batch: b, .. } if b == batch),
            "{sealed:?}"
        );
        self.run(&format!(
            "insert into anchor (chain_id, registry, account, nonce, first_batch, last_batch, state, reserved_at)
             values (31337, decode(repeat('aa', 20), 'hex'), decode(repeat('bb', 20), 'hex'), {batch}, {batch}, {batch}, 'finalized', now());
             insert into anchor_attempt (anchor_id, attempt, tx_hash, raw, max_fee_per_gas, max_priority_fee_per_gas,
                 gas_limit, signed_at, block_number, block_hash, block_time)
             select anchor_id, 1, decode(repeat('c{batch}', 32), 'hex'), '', 1, 1, 1, now(), {batch},
                 decode(repeat('dd', 32), 'hex'), date_trunc('second', now())
             from anchor where first_batch = {batch}"
        ))
        .await;
    }

    async fn owner(&self) -> PgConnection {
        PgConnection::connect(self.app.db.url.expose_secret())
            .await
            .expect("a connection")
    }

    async fn month(&self) -> Month {
        let months = archive::months(&mut self.owner().await, Clock::system().now()).await;
        months.expect("the months").swap_remove(0)
    }

    async fn archive(&self) -> Result<Archived, ArchivingError> {
        let mut db = self.owner().await;
        archive::reserve(&mut db).await?;
        archive::archive(&mut db, &self.month().await, &self.directory).await
    }

    /// All that can be read of a sale.
    async fn reads(&self, sale: &Value) -> Vec<String> {
        let (id, order) = (
            sale["sale_id"].as_str().unwrap_or_default(),
            sale["order_id"].as_str().unwrap_or_default(),
        );
        let link = sale["receipt_url"]
            .as_str()
            .unwrap_or_default()
            .replace(crate::harness::PUBLIC_URL, "");
        let mut reads = Vec::new();
        for path in [
            format!("/v1/sales/{id}"),
            format!("/v1/receipts/{id}"),
            format!("/v1/orders/{order}/proof"),
        ] {
            reads.push(self.app.admin.get(&path).await.expect(200).text);
        }
        let stranger = self.app.admin.with_key(None);
        reads.push(stranger.get(&link).await.expect(200).text);
        reads
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        // a directory of a test that is over
        let _ = fs::remove_dir_all(&self.directory);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archived_sale_is_read_and_replayed_as_if_it_were_there() {
    let shop = Shop::open().await;
    let first = shop.sold("A-1").await;
    let second = shop.sold("A-2").await;
    shop.finalize(1).await;
    let before = [shop.reads(&first).await, shop.reads(&second).await];
    let replay = shop.app.admin.record("A-1", &sale("A-1")).await.expect(201);

    let archived = shop.archive().await.unwrap();
    assert_eq!(archived.sales, 2);
    assert_eq!(shop.count("sale").await, 0);
    assert_eq!(
        shop.count("sale_partition where name = 'sale_first'").await,
        0
    );
    let bytes = fs::read(&archived.path).unwrap();
    assert_eq!(bytes.len() as u64, archived.bytes);
    assert_eq!(<[u8; 32]>::from(Sha256::digest(&bytes)), archived.sha256);
    let described: (i64, i64, i64, i64, i64, Vec<u8>) = sqlx::query_as(
        "select a.sales, a.first_batch, a.last_batch, r.first_seq, r.last_seq, a.sha256
         from sale_archive a join sale_archive_run r using (archive_id)",
    )
    .fetch_one(&shop.app.db.owner)
    .await
    .unwrap();
    assert_eq!(described, (2, 1, 1, 1, 2, archived.sha256.to_vec()));

    assert_eq!(
        [shop.reads(&first).await, shop.reads(&second).await],
        before
    );
    let again = shop.app.admin.record("A-1", &sale("A-1")).await.expect(201);
    assert_eq!(again.text, replay.text);
    assert_eq!(again.header("idempotent-replayed"), "true");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_is_away_or_damaged_costs_its_own_sales_alone() {
    let shop = Shop::open().await;
    let first = shop.sold("A-1").await;
    shop.finalize(1).await;
    let path = shop.archive().await.unwrap().path;
    let receipt = format!("/v1/receipts/{}", first["sale_id"].as_str().unwrap());

    let away = path.with_extension("away");
    fs::rename(&path, &away).unwrap();
    let answer = shop.app.admin.get(&receipt).await.expect(503);
    assert_eq!(answer.json()["code"], "archive_unavailable");
    let mut items = [sale("A-1"), sale("B-1")];
    for item in &mut items {
        item["idempotency_key"] = item["order_id"].clone();
    }
    let both = shop.app.admin.record_batch(&items).await.expect(200).json();
    assert_eq!(both["items"][0]["status"], 503, "{both}");
    assert_eq!(both["items"][1]["status"], 201, "{both}");
    fs::rename(&away, &path).unwrap();
    shop.app.admin.get(&receipt).await.expect(200);

    // another amount, in a file that is still one of receipts
    let changed = fs::read_to_string(&path)
        .unwrap()
        .replace(r#""amount":"1000""#, r#""amount":"9999""#);
    fs::write(&path, changed).unwrap();
    let answer = shop.app.admin.get(&receipt).await.expect(500);
    assert_eq!(answer.json()["code"], "self_check_failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_month_with_a_sale_that_is_not_final_stays() {
    let shop = Shop::open().await;
    shop.sold("A-1").await;
    let error = shop.archive().await.unwrap_err();
    assert!(
        matches!(&error, ArchivingError::NotFinal { seq: 1, state, .. } if state == "pending"),
        "{error}"
    );
    shop.finalize(1).await;
    shop.run("update anchor set state = 'mined'").await;
    let error = shop.archive().await.unwrap_err();
    assert!(
        matches!(&error, ArchivingError::NotFinal { state, .. } if state == "mined"),
        "{error}"
    );
    assert_eq!(shop.count("sale").await, 1);
    assert_eq!(shop.count("sale_archive").await, 0);
    assert!(!shop.directory.join("sale_first.jsonl").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_step_a_month_is_there_or_archived() {
    let shop = Shop::open().await;
    let first = shop.sold("A-1").await;
    shop.finalize(1).await;
    let before = shop.reads(&first).await;
    // an earlier run ended while it wrote, and one before the month was taken out
    fs::write(
        shop.directory.join("sale_first.jsonl.unfinished"),
        "{\"half",
    )
    .unwrap();
    fs::write(shop.directory.join("sale_first.jsonl"), "of another time\n").unwrap();

    // one ends when all is done but the taking out: somebody sells all the time
    let mut busy = shop.owner().await;
    let mut selling = busy.begin().await.unwrap();
    sqlx::raw_sql("lock table sale in row exclusive mode")
        .execute(&mut *selling)
        .await
        .unwrap();
    let killing = eventually("it waits for the lock", || async {
        let killed: Option<bool> = sqlx::query_scalar(
            "select pg_terminate_backend(pid) from pg_stat_activity
             where datname = current_database() and wait_event_type = 'Lock' and query like '%access exclusive%'",
        )
        .fetch_optional(&shop.app.db.owner)
        .await
        .unwrap();
        killed
    });
    let (ended, _) = tokio::join!(shop.archive(), killing);
    assert!(
        matches!(ended, Err(ArchivingError::Database(_))),
        "{ended:?}"
    );
    selling.rollback().await.unwrap();
    assert_eq!(shop.count("sale").await, 1);
    assert_eq!(
        shop.count("archived_sale").await + shop.count("sale_archive").await,
        0
    );
    assert_eq!(shop.reads(&first).await, before);

    assert_eq!(shop.archive().await.unwrap().sales, 1);
    assert_eq!(shop.reads(&first).await, before);
    assert!(!shop.directory.join("sale_first.jsonl.unfinished").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_that_comes_into_the_month_meanwhile_is_not_lost() {
    let shop = Shop::open().await;
    shop.sold("A-1").await;
    shop.finalize(1).await;
    let mut busy = shop.owner().await;
    let mut selling = busy.begin().await.unwrap();
    sqlx::raw_sql("lock table sale in row exclusive mode")
        .execute(&mut *selling)
        .await
        .unwrap();
    let late = async {
        let file = shop.directory.join("sale_first.jsonl");
        eventually("the file is written", || async {
            file.exists().then_some(())
        })
        .await;
        // behind the file's back, from a server whose clock is behind
        shop.sold("A-2").await;
        assert!(
            matches!(shop.archive().await, Err(ArchivingError::Busy)),
            "one at a time"
        );
        selling.rollback().await.unwrap();
    };
    let (archived, ()) = tokio::join!(shop.archive(), late);
    assert!(
        matches!(archived, Err(ArchivingError::Changed(_))),
        "{archived:?}"
    );
    assert_eq!(shop.count("sale").await, 2);
    shop.finalize(2).await;
    assert_eq!(shop.archive().await.unwrap().sales, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_archives_and_an_export_still_has_every_receipt() {
    let shop = Shop::open().await;
    let mut sold = Vec::new();
    for order in ["A-1", "A-2", "A-3"] {
        sold.push(shop.sold(order).await);
    }
    shop.finalize(1).await;
    let program = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_counterfoil"));
        command
            .args(arguments)
            .env("DATABASE_URL", shop.app.db.url.expose_secret())
            .env("COUNTERFOIL_ARCHIVE_DIR", &shop.directory);
        command.output().expect("the program")
    };
    let now = Clock::system().now();
    let month = format!("{}-{:02}", now.year(), u8::from(now.month()));
    let refused = program(&["archive", "--before", &format!("{}-01", now.year() + 1)]);
    assert!(!refused.status.success() && shop.count("sale").await == 3);
    let done = program(&["archive", "--before", &month]);
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    assert_eq!(shop.count("sale").await, 0);

    // one more beside, which is not archived
    sold.push(
        shop.app
            .admin
            .record("k", &sale("B-1"))
            .await
            .expect(201)
            .json(),
    );
    let export = program(&["export", "--merchant", &shop.app.merchant.to_string()]);
    assert!(
        export.status.success(),
        "{}",
        String::from_utf8_lossy(&export.stderr)
    );
    let mut receipts = Vec::new();
    for sale in &sold {
        let path = format!("/v1/receipts/{}", sale["sale_id"].as_str().unwrap());
        receipts.push(shop.app.admin.get(&path).await.expect(200).text);
    }
    let lines: Vec<String> = String::from_utf8(export.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    assert_eq!(lines, receipts);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archived_sale_decides_about_new_ones_as_before() {
    let shop = Shop::open().await;
    shop.sold("A-1").await;
    shop.finalize(1).await;
    let replay = shop.app.admin.record("A-1", &sale("A-1")).await.expect(201);
    shop.archive().await.unwrap();
    // its order id, with a new key
    let again = shop
        .app
        .admin
        .record("another", &sale("A-1"))
        .await
        .expect(201);
    assert_eq!(again.text, replay.text);
    assert_eq!(again.header("idempotent-replayed"), "true");
    let mut other = sale("A-1");
    other["amount"]["value"] = "11.00".into();
    let taken = shop.app.admin.record("k-1", &other).await.expect(409);
    assert_eq!(taken.json()["code"], "order_exists");
    let refund = |order: &str, amount: &str| {
        json!({"order_id": order, "kind": "refund", "refers_to": "A-1",
               "amount": {"value": amount, "currency": "GBP"}})
    };
    shop.app
        .admin
        .record("r-1", &refund("R-1", "6.00"))
        .await
        .expect(201);
    let much = shop.app.admin.record("r-2", &refund("R-2", "4.01")).await;
    assert_eq!(much.json()["code"], "refund_exceeds");
    shop.app
        .admin
        .record("r-3", &refund("R-3", "4.00"))
        .await
        .expect(201);
    assert_eq!(shop.count("archived_sale").await, 1);
    assert_eq!(shop.count("sale").await, 2, "the two refunds");
}
