//! The months of `sale`, made before their first sale comes.

use sqlx::PgPool;

use crate::{database, telemetry};

/// How the months stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ahead {
    /// Months after this one that have a partition.
    pub months: i64,
    /// Sales in the default partition: some machine's clock is far off.
    pub stray: i64,
}

/// Makes what is missing, sets the gauges and says how it stands then.
///
/// # Errors
/// When the database fails, or its locks were not to be had in a second.
pub async fn step(pool: &PgPool) -> Result<Ahead, sqlx::Error> {
    let made = database::make_months(pool).await;
    // also when nothing could be made: that is when the gauges are needed
    let ahead = read(pool).await?;
    metrics::gauge!(telemetry::SALE_MONTHS_AHEAD).set(ahead.months as f64);
    metrics::gauge!(telemetry::STRAY_SALES).set(ahead.stray as f64);
    made?;
    Ok(ahead)
}

async fn read(pool: &PgPool) -> Result<Ahead, sqlx::Error> {
    sqlx::query_as!(
        Ahead,
        r#"select (select count(*) from sale_partition
                   where from_id > first_sale_id(clock_timestamp())) as "months!",
                  (select count(*) from stray_sale) as "stray!""#
    )
    .fetch_one(pool)
    .await
}
