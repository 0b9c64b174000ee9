//! Taking a month out of the table: all of it in one transaction.

use std::path::Path;
use std::time::Duration;

use sqlx::{Acquire, AssertSqlSafe, PgConnection, PgTransaction};
use uuid::Uuid;

use super::super::file::{Entry, Reading, Sum};
use super::{Archived, ArchivingError, Month, ROWS, newest_numbers};

/// How often the lock is tried for that stops the intake for a moment, each time half a second.
const LOCK_TRIES: u32 = 20;
/// The pause between two tries, in which the intake goes on.
const LOCK_PAUSE: Duration = Duration::from_secs(1);

/// Keeps what decides about new sales and drops the month, if the file holds all of it. `newest` are the
/// numbers that each merchant had in it before the file was written.
pub(super) async fn switch(
    db: &mut PgConnection,
    month: &Month,
    path: &Path,
    newest: &[(Uuid, i64)],
) -> Result<Archived, ArchivingError> {
    let mut transaction = db.begin().await?;
    let id = sqlx::query_scalar!(
        r#"select nextval(pg_get_serial_sequence('sale_archive', 'archive_id'))::integer as "id!""#
    )
    .fetch_one(&mut *transaction)
    .await?;
    let (sales, sum) = keep(&mut transaction, month, path, id).await?;
    describe(&mut transaction, month, id, sales, path, &sum).await?;
    lock(&mut transaction, month).await?;
    if newest_numbers(&mut transaction, month).await? != newest {
        return Err(ArchivingError::Changed(month.name.clone()));
    }
    let drop = format!(
        "alter table sale detach partition {0}; drop table {0}",
        month.name
    );
    sqlx::raw_sql(AssertSqlSafe(drop))
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(Archived {
        sales,
        path: path.to_owned(),
        bytes: sum.bytes,
        sha256: sum.sha256,
    })
}

/// Reads the file and keeps, of each of its receipts, what decides about new sales, and where it stands.
async fn keep(
    transaction: &mut PgTransaction<'_>,
    month: &Month,
    path: &Path,
    id: i32,
) -> Result<(i64, Sum), ArchivingError> {
    let in_file = |source| ArchivingError::File {
        path: path.to_owned(),
        source,
    };
    let mut reading = Reading::begin(path).map_err(in_file)?;
    let mut sales = 0;
    loop {
        let mut entries = Vec::with_capacity(ROWS);
        while entries.len() < ROWS {
            match reading.entry().map_err(in_file)? {
                Some(entry) => entries.push(entry),
                None => break,
            }
        }
        if entries.is_empty() {
            return Ok((sales, reading.sum()));
        }
        let kept = keep_some(transaction, month, id, &entries).await?;
        if kept != entries.len() as u64 || !entries.iter().all(|e| e.receipt.check().is_valid()) {
            return Err(ArchivingError::Changed(month.name.clone()));
        }
        sales += kept.cast_signed();
    }
}

/// How many of the receipts are those of the month's rows, with the same leaf and proof.
async fn keep_some(
    transaction: &mut PgTransaction<'_>,
    month: &Month,
    id: i32,
    entries: &[Entry],
) -> Result<u64, sqlx::Error> {
    fn column<T>(entries: &[Entry], value: impl Fn(&Entry) -> T) -> Vec<T> {
        entries.iter().map(value).collect()
    }
    let keep = format!(
        "insert into archived_sale (merchant_id, sale_id, seq, kind, currency, amount_minor, fingerprint,
                                    batch_id, archive_id, position, length)
         select s.merchant_id, s.sale_id, s.seq, s.kind, s.currency, s.amount_minor, s.fingerprint,
                s.batch_id, $1, w.position, w.length
         from unnest($2::uuid[], $3::uuid[], $4::bytea[], $5::bytea[], $6::bigint[], $7::integer[])
              as w(merchant_id, sale_id, leaf, proof, position, length)
         join {} s on s.merchant_id = w.merchant_id and s.sale_id = w.sale_id
                  and s.leaf = w.leaf and s.proof = w.proof",
        month.name
    );
    let done = sqlx::query(AssertSqlSafe(keep))
        .bind(id)
        .bind(column(entries, |e| {
            Uuid::from_bytes(e.receipt.sale.merchant)
        }))
        .bind(column(entries, |e| Uuid::from_bytes(e.receipt.sale.sale)))
        .bind(column(entries, |e| e.receipt.sale.leaf().to_vec()))
        .bind(column(entries, |e| e.receipt.proof.concat()))
        .bind(column(entries, |e| e.position.cast_signed()))
        // a line is at most as long as a receipt may be
        .bind(column(entries, |e| {
            i32::try_from(e.length).unwrap_or(i32::MAX)
        }))
        .execute(&mut **transaction)
        .await?;
    Ok(done.rows_affected())
}

/// Writes the row that stands for the month's, and its merchants' runs of numbers.
async fn describe(
    transaction: &mut PgTransaction<'_>,
    month: &Month,
    id: i32,
    sales: i64,
    path: &Path,
    sum: &Sum,
) -> Result<(), sqlx::Error> {
    let file = path.file_name().and_then(|name| name.to_str());
    let archive = format!(
        "insert into sale_archive (archive_id, name, from_id, to_id, sales, first_batch, last_batch, file,
                                   bytes, sha256, archived_at) overriding system value
         select $1, $2, $3, $4, $5, min(batch_id), max(batch_id), $6, $7, $8,
                date_trunc('milliseconds', clock_timestamp())
         from {}",
        month.name
    );
    sqlx::query(AssertSqlSafe(archive))
        .bind(id)
        .bind(&month.name)
        .bind(month.from_id)
        .bind(month.to_id)
        .bind(sales)
        .bind(file.unwrap_or_default())
        .bind(sum.bytes.cast_signed())
        .bind(sum.sha256)
        .execute(&mut **transaction)
        .await?;
    // numbers without a gap between them stay as far from their places in the order
    let runs = format!(
        "insert into sale_archive_run (merchant_id, first_seq, last_seq, archive_id, first_batch, last_batch)
         select merchant_id, min(seq), max(seq), $1, min(batch_id), max(batch_id)
         from (select merchant_id, seq, batch_id,
                      seq - row_number() over (partition by merchant_id order by seq) as run
               from {}) s
         group by merchant_id, run",
        month.name
    );
    sqlx::query(AssertSqlSafe(runs))
        .bind(id)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

/// Stops everybody who reads or writes `sale` until the transaction ends, which is in a moment. Whoever
/// waits for such a lock has all who come later wait too, so it is given up soon and tried again.
async fn lock(transaction: &mut PgTransaction<'_>, month: &Month) -> Result<(), ArchivingError> {
    for _ in 0..LOCK_TRIES {
        let mut attempt = transaction.begin().await?;
        let locked = sqlx::raw_sql(
            "set local lock_timeout = '500ms'; lock table sale in access exclusive mode",
        )
        .execute(&mut *attempt)
        .await;
        match locked {
            Ok(_) => return Ok(attempt.commit().await?),
            Err(error) if is_lock_timeout(&error) => attempt.rollback().await?,
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(LOCK_PAUSE).await;
    }
    Err(ArchivingError::NoLock(month.name.clone()))
}

fn is_lock_timeout(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code == "55P03")
}
