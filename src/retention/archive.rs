//! Archiving: a month of finalized sales leaves the database for a file of their receipts.
//!
//! First the file is written, and gets its name when it is whole and on disk. Then, in one transaction,
//! the file is read again, each line is compared with the row that it stands for, what decides about new
//! sales is kept in `archived_sale`, and the month is detached and dropped. Killed at any point, either
//! the month is still there and the next run archives it from the beginning, or it is archived.

mod switch;

use std::path::{Path, PathBuf};

use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

use super::file::Writing;
use crate::ids::{MerchantId, SaleId};
use crate::sales::filed::{self, Wanted};
use crate::sales::receipts::issue;

/// Rows that are read, and written, at once.
const ROWS: usize = 500;
/// Held while months are archived, so that two do not write one file.
const LOCK: i64 = 0x6172_6368_6976_6521;

/// A month that may be archived: a partition of `sale` and the ids that it covers.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "columns, described in the migration")]
pub struct Month {
    pub name: String,
    pub from_id: Option<Uuid>,
    pub to_id: Uuid,
}

/// A month that is archived.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "columns, described in the migration")]
pub struct Archived {
    pub sales: i64,
    pub path: PathBuf,
    pub bytes: u64,
    pub sha256: [u8; 32],
}

/// Why a month was not archived. It is as it was.
#[derive(Debug, thiserror::Error)]
pub enum ArchivingError {
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    /// The file could not be written or read.
    #[error("{} cannot be written or read again", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the file system said, or what is wrong in it.
        source: std::io::Error,
    },
    /// Somebody archives at this moment.
    #[error("months are being archived by another process")]
    Busy,
    /// A sale is not final.
    #[error(
        "sale {seq} of {merchant} is {state}: only what is finalized on every chain is archived"
    )]
    NotFinal {
        /// Whose.
        merchant: MerchantId,
        /// Its number.
        seq: i64,
        /// Where it stands.
        state: String,
    },
    /// A stored sale does not verify.
    #[error("sale {seq} of {merchant} cannot be archived: {why}")]
    Broken {
        /// Whose.
        merchant: MerchantId,
        /// Its number.
        seq: i64,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The file is not what is in the month.
    #[error("{0} has changed while it was archived; run it again")]
    Changed(String),
    /// The intake was so busy that the month could not be taken out.
    #[error(
        "the lock that takes {0} out of the table was not to be had; run it when there is less to do"
    )]
    NoLock(String),
}

/// The months that end at this time or before it, the oldest first.
///
/// # Errors
/// When the database fails.
pub async fn months(
    db: &mut PgConnection,
    before: time::OffsetDateTime,
) -> Result<Vec<Month>, sqlx::Error> {
    sqlx::query_as!(
        Month,
        r#"select name as "name!", from_id, to_id as "to_id!" from sale_partition
           where to_id <= first_sale_id($1) order by to_id"#,
        before
    )
    .fetch_all(db)
    .await
}

/// Makes sure that nobody else archives as long as this connection lives.
///
/// # Errors
/// [`ArchivingError::Busy`]; the database's.
pub async fn reserve(db: &mut PgConnection) -> Result<(), ArchivingError> {
    let alone = sqlx::query_scalar!(r#"select pg_try_advisory_lock($1) as "alone!""#, LOCK)
        .fetch_one(db)
        .await?;
    if alone {
        Ok(())
    } else {
        Err(ArchivingError::Busy)
    }
}

/// Archives a month into a file of its name in `directory`. Only by a connection that [`reserve`]d.
///
/// # Errors
/// Whatever it is, the month is as it was.
pub async fn archive(
    db: &mut PgConnection,
    month: &Month,
    directory: &Path,
) -> Result<Archived, ArchivingError> {
    let path = directory.join(format!("{}.jsonl", month.name));
    let newest = newest_numbers(db, month).await?;
    write(db, month, &path).await?;
    switch::switch(db, month, &path, &newest).await
}

/// The newest number of each merchant in the month, ascending by merchant. A sale that comes into it
/// later, from a machine whose clock is far behind, has a higher one.
async fn newest_numbers(
    db: &mut PgConnection,
    month: &Month,
) -> Result<Vec<(Uuid, i64)>, sqlx::Error> {
    // skips from merchant to merchant through the index
    let newest = format!(
        "with recursive newest as (
             (select merchant_id, seq from {0} order by merchant_id desc, seq desc limit 1)
             union all
             select s.merchant_id, s.seq from newest n cross join lateral (
                 select merchant_id, seq from {0} where merchant_id < n.merchant_id
                 order by merchant_id desc, seq desc limit 1) s
         ) select merchant_id, seq from newest order by merchant_id",
        month.name
    );
    sqlx::query_as(AssertSqlSafe(newest)).fetch_all(db).await
}

/// Writes the receipts of a month, which must all be final, in order of merchant and id.
async fn write(db: &mut PgConnection, month: &Month, path: &Path) -> Result<(), ArchivingError> {
    let on_disk = |source| ArchivingError::File {
        path: path.to_owned(),
        source,
    };
    let page = format!(
        "select merchant_id, sale_id from {} where (merchant_id, sale_id) > ($1, $2)
         order by merchant_id, sale_id limit {ROWS}",
        month.name
    );
    let mut writing = Writing::begin(path).map_err(on_disk)?;
    let mut last = (Uuid::nil(), Uuid::nil());
    loop {
        let ids: Vec<(Uuid, Uuid)> = sqlx::query_as(AssertSqlSafe(page.as_str()))
            .bind(last.0)
            .bind(last.1)
            .fetch_all(&mut *db)
            .await?;
        let Some(end) = ids.last() else { break };
        last = *end;
        let wanted: Vec<_> = ids
            .iter()
            .map(|(merchant, sale)| (MerchantId(*merchant), Wanted::Sale(SaleId(*sale))))
            .collect();
        for filed in filed::read(&mut *db, &wanted).await? {
            let filed = filed.ok_or_else(|| ArchivingError::Changed(month.name.clone()))?;
            let (merchant, seq) = (MerchantId(filed.sale.merchant_id), filed.sale.seq);
            if filed.state() != "finalized" {
                let state = filed.state().to_owned();
                return Err(ArchivingError::NotFinal {
                    merchant,
                    seq,
                    state,
                });
            }
            let issued = issue(filed).map_err(|problem| ArchivingError::Broken {
                merchant,
                seq,
                why: problem.code.title,
            })?;
            writing.add(&issued.receipt).map_err(on_disk)?;
        }
    }
    writing.finish().map_err(on_disk)
}
