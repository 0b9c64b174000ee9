//! Connections to Postgres, each as the role it needs, the schema's version, and whether it is the
//! database that it was ([`trust`]).

pub mod trust;

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::migrate::{Migrate, Migrator};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgConnection, PgExecutor, PgPool, PgTransaction, Postgres};
use time::OffsetDateTime;
use tracing::Instrument;

use crate::limits;
use trust::Trust;

/// The migrations, in their order.
pub static MIGRATIONS: Migrator = sqlx::migrate!();

/// A connection that was used this short a time ago is taken to be there still.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);

/// The group role a connection takes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatabaseRole {
    /// Executes `record_sales_3` and reads.
    Api,
    /// Seals, anchors and purges.
    Worker,
    /// Reads, for an audit.
    Reader,
    /// The login's own, for migrations and set-up.
    Owner,
}

/// Which database answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Made once by initdb, shared by all copies of the cluster.
    pub system_identifier: i64,
    /// Counts promotions and point-in-time recoveries.
    pub timeline: i32,
    /// When its server was started.
    pub started_at: OffsetDateTime,
}

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The address is none.
    #[error(
        "DATABASE_URL is not an address such as postgres://user:password@host:5432/counterfoil"
    )]
    Address,
    /// It does not answer.
    #[error("the database cannot be reached")]
    Unreachable(#[source] sqlx::Error),
    /// A migration failed.
    #[error("migrating the database failed")]
    Migration(#[source] sqlx::migrate::MigrateError),
    /// The partitions of the coming months could not be made.
    #[error("the months ahead cannot be made")]
    Partitions(#[source] sqlx::Error),
    /// The list of migrations cannot be read.
    #[error(
        "the schema's version cannot be read; its login needs the roles that docs/OPERATIONS.md names"
    )]
    Schema(#[source] sqlx::migrate::MigrateError),
    /// Its schema is not this program's.
    #[error(
        "the database's schema is at version {found}, this program needs {needed}; run `counterfoil migrate`, or start with --migrate"
    )]
    Version {
        /// The newest migration that was applied; 0 for an empty database.
        found: i64,
        /// The newest one this program has.
        needed: i64,
    },
}

fn options(url: &SecretString, role: DatabaseRole) -> Result<PgConnectOptions, DatabaseError> {
    // sqlx's own error may repeat the address, which holds a password
    let options: PgConnectOptions = url
        .expose_secret()
        .parse()
        .map_err(|_| DatabaseError::Address)?;
    let options = options.application_name("counterfoil");
    let lock_wait = format!("{}ms", limits::MERCHANT_LOCK_WAIT.as_millis());
    // acknowledged means durable, whatever the cluster's own setting
    let options = options.options([
        ("synchronous_commit", "on"),
        ("lock_timeout", lock_wait.as_str()),
        // statements here take milliseconds; compiling one takes a second, and a scan that the planner is
        // told to avoid and cannot looks costly enough for it
        ("jit", "off"),
    ]);
    Ok(match role {
        DatabaseRole::Api => {
            options.options([("role", "counterfoil_api"), ("statement_timeout", "30s")])
        }
        DatabaseRole::Worker => options.options([
            ("role", "counterfoil_worker"),
            ("statement_timeout", "120s"),
            // a plan made while the queue was short must not scan it when it is long
            ("enable_seqscan", "off"),
        ]),
        DatabaseRole::Reader => options.options([
            ("role", "counterfoil_reader"),
            ("statement_timeout", "120s"),
            // every statement is for a range of keys
            ("enable_seqscan", "off"),
        ]),
        DatabaseRole::Owner => options,
    })
}

/// A pool whose connections hold `role`. Nothing is connected until it is used.
///
/// # Errors
/// When the address is none.
pub fn pool(
    url: &SecretString,
    role: DatabaseRole,
    connections: u32,
) -> Result<PgPool, DatabaseError> {
    Ok(unguarded(connections).connect_lazy_with(options(url, role)?))
}

/// A pool for those who write: a connection that meets a database in doubt is read only, and `trust`
/// knows of it.
///
/// # Errors
/// When the address is none.
pub fn guarded_pool(
    url: &SecretString,
    role: DatabaseRole,
    connections: u32,
    trust: &Trust,
) -> Result<PgPool, DatabaseError> {
    let (meeting, outliving) = (trust.clone(), trust.clone());
    let pool = unguarded(connections)
        .after_connect(move |db, _| {
            let trust = meeting.clone();
            Box::pin(async move { trust.meet(db).await })
        })
        .before_acquire(move |db, meta| {
            let outlived = outliving.is_outlived_by(meta.age);
            Box::pin(async move { Ok(!outlived && is_there(db, meta.idle_for).await) })
        });
    Ok(pool.connect_lazy_with(options(url, role)?))
}

fn unguarded(connections: u32) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(Duration::from_secs(5))
        // a ping before each use would be a round trip more for every statement
        .test_before_acquire(false)
        .before_acquire(|db, meta| Box::pin(async move { Ok(is_there(db, meta.idle_for).await) }))
}

/// Whether a connection still answers; one that does not is closed, and the next one taken.
async fn is_there(db: &mut PgConnection, idle_for: Duration) -> bool {
    idle_for < TRUSTED_IDLE || db.ping().await.is_ok()
}

/// Whether the connection ended during the statement, or fell out of step with the server: what was asked
/// may or may not have been done, and another connection can say.
pub fn was_cut(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) => true,
        // class 08 connection, 57P operator intervention
        sqlx::Error::Database(e) => e
            .code()
            .is_some_and(|code| code.starts_with("08") || code.starts_with("57P")),
        _ => false,
    }
}

/// Whether a named constraint or unique index refused a write.
pub fn violated(error: &sqlx::Error, constraint: &str) -> bool {
    matches!(error, sqlx::Error::Database(e) if e.constraint() == Some(constraint))
}

/// Whether the statement was refused because the connection may only read: it met a database in doubt,
/// or a standby.
pub fn was_read_only(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(e) if e.code().as_deref() == Some("25006"))
}

/// A connection that answers now. For the second try of what met a cut connection: when Postgres has
/// restarted, the others of the pool are cut as well.
///
/// # Errors
/// When there is none in time.
pub async fn acquire_tested(pool: &PgPool) -> Result<PoolConnection<Postgres>, sqlx::Error> {
    loop {
        let mut db = pool.acquire().await?;
        if db.ping().await.is_ok() {
            return Ok(db);
        }
        db.close_on_drop();
    }
}

/// Begins a transaction. Whoever waits for it may go away in the middle, as a request does whose caller hangs
/// up: it is begun by a task of its own, which nobody drops, and rolled back when nobody wants it.
///
/// sqlx forgets that it has sent BEGIN when it is dropped before the answer. The connection would go back to
/// the pool in a transaction, and what the next one is told was done would be undone with it.
///
/// # Errors
/// When there is no connection in time, or the database's.
pub async fn begin(pool: &PgPool) -> Result<PgTransaction<'static>, sqlx::Error> {
    let pool = pool.clone();
    let begun = tokio::spawn(async move { pool.begin().await }.in_current_span());
    // it neither panics nor is it cancelled, but for the end of the program
    begun.await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
}

/// One connection as the login's own role.
///
/// # Errors
/// When the address is none or nobody answers there.
pub async fn connect(url: &SecretString) -> Result<PgConnection, DatabaseError> {
    PgConnection::connect_with(&options(url, DatabaseRole::Owner)?)
        .await
        .map_err(DatabaseError::Unreachable)
}

/// Which database answers now.
///
/// # Errors
/// When it cannot be asked, or is a standby: that writes no log.
pub async fn identity(db: &mut PgConnection) -> sqlx::Result<Identity> {
    sqlx::query_as!(
        Identity,
        // of the log that is written now: the control file tells of a promotion only after a checkpoint
        r#"select s.system_identifier as "system_identifier!",
                  ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::integer
                      as "timeline!",
                  pg_postmaster_start_time() as "started_at!"
           from pg_control_system() s"#
    )
    .fetch_one(db)
    .await
}

/// Applies outstanding migrations, under a lock, makes the months ahead, and says how many migrations
/// there were.
///
/// # Errors
/// When the database cannot be reached, or a migration or the making of a month fails.
pub async fn migrate(url: &SecretString) -> Result<usize, DatabaseError> {
    let mut db = connect(url).await?;
    let before = applied(&mut db).await?.len();
    MIGRATIONS
        .run(&mut db)
        .await
        .map_err(DatabaseError::Migration)?;
    make_months(&mut db)
        .await
        .map_err(DatabaseError::Partitions)?;
    Ok(applied(&mut db).await?.len() - before)
}

/// Makes the partitions of `sale` for this month and those ahead where they are missing, and says how
/// many it made.
///
/// # Errors
/// When the database fails, or the locks were not to be had in a second.
pub async fn make_months(db: impl PgExecutor<'_>) -> Result<i32, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select make_sale_partitions($1) as "made!""#,
        limits::SALE_MONTHS_AHEAD
    )
    .fetch_one(db)
    .await
}

/// Checks that the schema is the one this program was built for.
///
/// # Errors
/// [`DatabaseError::Version`] when it is older or newer.
pub async fn check_version(url: &SecretString) -> Result<(), DatabaseError> {
    let mut db = connect(url).await?;
    let found = applied(&mut db).await?.into_iter().max().unwrap_or(0);
    let needed = MIGRATIONS
        .iter()
        .map(|migration| migration.version)
        .max()
        .unwrap_or(0);
    if found == needed {
        Ok(())
    } else {
        Err(DatabaseError::Version { found, needed })
    }
}

/// The migrations that were applied. It only reads, so that a login without a right to create tables
/// may ask.
async fn applied(db: &mut PgConnection) -> Result<Vec<i64>, DatabaseError> {
    let table = MIGRATIONS.table_name.as_ref();
    let there: bool = sqlx::query_scalar("select to_regclass($1) is not null")
        .bind(table)
        .fetch_one(&mut *db)
        .await
        .map_err(DatabaseError::Unreachable)?;
    if !there {
        return Ok(Vec::new());
    }
    let applied = db
        .list_applied_migrations(table)
        .await
        .map_err(DatabaseError::Schema)?;
    Ok(applied
        .into_iter()
        .map(|migration| migration.version)
        .collect())
}
