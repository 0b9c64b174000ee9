//! A fresh database for each test, copied from a template that the first one migrates.

use std::path::PathBuf;

use counterfoil::database::trust::Trust;
use counterfoil::database::{self, DatabaseRole, MIGRATIONS};
use secrecy::SecretString;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use uuid::Uuid;

/// Held while a template is made; any number that nobody else uses.
const TEMPLATE_LOCK: i64 = 0x636f_756e_7465_7266;

/// A migrated database of a test's own; gone when dropped.
pub(crate) struct Database {
    /// Its address.
    pub(crate) url: SecretString,
    /// Connections as the owner, for what a test sets up and looks at.
    pub(crate) owner: PgPool,
    name: String,
}

impl Database {
    /// A copy of the template.
    pub(crate) async fn create() -> Self {
        let mut cluster = connect("postgres").await;
        let template = template(&mut cluster).await;
        let name = format!(
            "it_{}",
            Uuid::from_bytes(counterfoil::clock::Entropy::system().bytes()).simple()
        );
        run(
            &mut cluster,
            format!("create database {name} template {template}"),
        )
        .await;
        let url = url_of(&name);
        let options: PgConnectOptions = url.parse().expect("DATABASE_URL");
        let owner = PgPoolOptions::new()
            .max_connections(4)
            .connect_lazy_with(options);
        Self {
            url: SecretString::from(url),
            owner,
            name,
        }
    }

    /// Connections as `role`, as the product makes them.
    pub(crate) fn pool(&self, role: DatabaseRole) -> PgPool {
        database::pool(&self.url, role, 8).expect("DATABASE_URL")
    }

    /// The same for those who write, and stop when the database is in doubt.
    pub(crate) fn guarded_pool(&self, role: DatabaseRole, trust: &Trust) -> PgPool {
        database::guarded_pool(&self.url, role, 8, trust).expect("DATABASE_URL")
    }

    /// The directory of its archives; nobody has made it.
    pub(crate) fn archive_directory(&self) -> PathBuf {
        std::env::temp_dir().join(format!("{}_archive", self.name))
    }

    /// Runs a statement beside this database, for what cannot be done to it from within; `{}` in it
    /// is its name.
    pub(crate) async fn run_outside(&self, statement: &str) {
        let mut cluster = connect("postgres").await;
        run(&mut cluster, statement.replace("{}", &self.name)).await;
    }

    /// The rows of every table of the public schema, in the order of their names.
    pub(crate) async fn row_counts(&self) -> Vec<(String, i64)> {
        let tables: Vec<String> = sqlx::query_scalar(
            "select tablename::text from pg_tables where schemaname = 'public' order by 1",
        )
        .fetch_all(&self.owner)
        .await
        .expect("the catalogue");
        let mut counts = Vec::new();
        for table in tables {
            let count = sqlx::query_scalar(AssertSqlSafe(format!("select count(*) from {table}")))
                .fetch_one(&self.owner)
                .await
                .expect("a count");
            counts.push((table, count));
        }
        counts
    }
}

impl Drop for Database {
    /// On a thread with a runtime of its own: dropping cannot wait, and a panicking test drops too.
    fn drop(&mut self) {
        let name = self.name.clone();
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let mut cluster = connect("postgres").await;
                run(
                    &mut cluster,
                    format!("drop database if exists {name} with (force)"),
                )
                .await;
            });
        });
        if dropping.join().is_err() {
            eprintln!("the database {} was left behind", self.name);
        }
    }
}

/// The name of the template for these migrations; it is made under a lock, once a cluster, and takes
/// its name when it is whole.
async fn template(cluster: &mut PgConnection) -> String {
    let checksums: Vec<u8> = MIGRATIONS
        .iter()
        .flat_map(|migration| migration.checksum.iter().copied())
        .collect();
    let digest = counterfoil_proofs::keccak256(&checksums);
    let name = format!(
        "it_template_{}",
        &counterfoil_proofs::hex::encode(&digest)[2..18]
    );
    if exists(cluster, &name).await {
        return name;
    }
    sqlx::query("select pg_advisory_lock($1)")
        .bind(TEMPLATE_LOCK)
        .execute(&mut *cluster)
        .await
        .expect("the lock");
    if !exists(cluster, &name).await {
        let building = format!("{name}_building");
        run(
            cluster,
            format!("drop database if exists {building} with (force)"),
        )
        .await;
        run(cluster, format!("create database {building}")).await;
        database::migrate(&SecretString::from(url_of(&building)))
            .await
            .expect("the migrations");
        run(
            cluster,
            format!("alter database {building} rename to {name}"),
        )
        .await;
    }
    sqlx::query("select pg_advisory_unlock($1)")
        .bind(TEMPLATE_LOCK)
        .execute(cluster)
        .await
        .expect("the lock");
    name
}

async fn exists(cluster: &mut PgConnection, name: &str) -> bool {
    let found: Option<i32> = sqlx::query_scalar("select 1 from pg_database where datname = $1")
        .bind(name)
        .fetch_optional(cluster)
        .await
        .expect("the catalogue");
    found.is_some()
}

async fn run(cluster: &mut PgConnection, statement: String) {
    sqlx::raw_sql(AssertSqlSafe(statement.clone()))
        .execute(cluster)
        .await
        .unwrap_or_else(|error| panic!("{statement}: {error}"));
}

async fn connect(database: &str) -> PgConnection {
    let url = url_of(database);
    PgConnection::connect(&url)
        .await
        .expect("the cluster of DATABASE_URL")
}

/// `DATABASE_URL` with another database in it.
fn url_of(database: &str) -> String {
    let url = std::env::var("DATABASE_URL")
        .expect("DATABASE_URL: run the tests with `counterfoil with-services`");
    let (address, parameters) = url
        .split_once('?')
        .map_or((url.as_str(), None), |(a, p)| (a, Some(p)));
    let scheme_end = address.find("://").map_or(0, |at| at + 3);
    let server = address[scheme_end..]
        .find('/')
        .map_or(address, |at| &address[..scheme_end + at]);
    let parameters = parameters
        .map(|text| format!("?{text}"))
        .unwrap_or_default();
    format!("{server}/{database}{parameters}")
}
