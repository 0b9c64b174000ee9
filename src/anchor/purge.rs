//! Throwing away what need not be kept: refusals that were remembered for their time.

use sqlx::postgres::types::PgInterval;
use sqlx::{PgConnection, PgPool};

use crate::limits;

/// Rows that one statement deletes: it holds no lock for long.
const ROWS_A_STATEMENT: i64 = 1000;

/// Deletes the refusals that are older than [`limits::REFUSAL_KEPT`], and says how many there were.
///
/// # Errors
/// When the database fails; what was deleted before stays deleted.
pub async fn step(pool: &PgPool) -> Result<u64, sqlx::Error> {
    let mut conn = pool.acquire().await?;
    let mut deleted = 0;
    loop {
        let rows = delete_refusals(&mut conn, ROWS_A_STATEMENT).await?;
        deleted += rows;
        if rows < ROWS_A_STATEMENT.cast_unsigned() {
            return Ok(deleted);
        }
    }
}

async fn delete_refusals(conn: &mut PgConnection, limit: i64) -> Result<u64, sqlx::Error> {
    let kept = PgInterval::try_from(limits::REFUSAL_KEPT).map_err(sqlx::Error::Encode)?;
    // their age is by the database's clock, which is the one that wrote created_at
    let done = sqlx::query!(
        "delete from idempotency_key where ctid = any(array(
             select ctid from idempotency_key
             where refusal is not null and created_at < clock_timestamp() - $1::interval
             order by created_at limit $2))
         and refusal is not null",
        kept,
        limit
    );
    Ok(done.execute(conn).await?.rows_affected())
}
