//! Ending what is too old, a little at a time.

use sqlx::PgPool;

use crate::clock::Clock;

/// Lots whose members a step looks at, at most: it holds no lock for long.
pub const LOTS_A_STEP: i64 = 500;

/// Ends the oldest lots whose time is over, and says how many. Where it was [`LOTS_A_STEP`] or more there may
/// be others. A member that is at work now is left for the next time.
///
/// # Errors
/// When the database fails.
pub async fn step(pool: &PgPool, clock: &Clock) -> Result<i64, sqlx::Error> {
    let ended = sqlx::query_scalar!(
        r#"select expire_points($1, $2) as "ended!""#,
        clock.now(),
        LOTS_A_STEP,
    );
    ended.fetch_one(pool).await
}
