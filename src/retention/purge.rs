//! Throwing away what need not be kept: refusals that were remembered for their time. Nothing else is:
//! the key of a sale is kept as long as the sale, because its replay holds at any age.

use sqlx::PgPool;
use sqlx::postgres::types::PgInterval;

use crate::limits;

/// Rows that a step deletes at most: it holds no lock for long, and leaves little to vacuum at once.
pub const ROWS_A_STEP: u64 = 1000;

/// Deletes some of the refusals that are older than [`limits::REFUSAL_KEPT`], the oldest first, and says
/// how many. Where it was [`ROWS_A_STEP`] there may be more.
///
/// # Errors
/// When the database fails.
pub async fn step(pool: &PgPool) -> Result<u64, sqlx::Error> {
    let kept = PgInterval::try_from(limits::REFUSAL_KEPT).map_err(sqlx::Error::Encode)?;
    // their age is by the database's clock, which is the one that wrote created_at
    let done = sqlx::query!(
        "delete from idempotency_key where ctid = any(array(
             select ctid from idempotency_key
             where refusal is not null and created_at < clock_timestamp() - $1::interval
             order by created_at limit $2))
         and refusal is not null",
        kept,
        ROWS_A_STEP.cast_signed()
    );
    Ok(done.execute(pool).await?.rows_affected())
}
