//! What is measured of deliveries, and what is thrown away.

use std::time::Duration;

use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;

use crate::limits;
use crate::telemetry;

/// Events that a step throws away at most, with all that became of them.
pub const EVENTS_A_STEP: i64 = 500;
/// Of how long the deliveries are counted that were given up.
const RECENT: Duration = Duration::from_secs(24 * 60 * 60);

/// How deliveries stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gauges {
    /// Milliseconds since the delivery was due that has been due the longest; 0 where none is.
    pub overdue_ms: i64,
    /// Deliveries that were given up in the last 24 hours.
    pub exhausted: i64,
}

/// Reads how deliveries stand and sets the gauges; drops those of endpoints that were disabled meanwhile.
///
/// # Errors
/// The database's.
pub async fn measure(pool: &PgPool, now: OffsetDateTime) -> Result<Gauges, sqlx::Error> {
    let mut db = pool.acquire().await?;
    sqlx::query_scalar!("select drop_stray_deliveries($1)", now)
        .fetch_one(&mut *db)
        .await?;
    let gauges = read(&mut db, now).await?;
    let overdue = Duration::from_millis(gauges.overdue_ms.max(0).cast_unsigned());
    metrics::gauge!(telemetry::WEBHOOK_OVERDUE_SECONDS).set(overdue.as_secs_f64());
    metrics::gauge!(telemetry::WEBHOOK_EXHAUSTED).set(gauges.exhausted as f64);
    Ok(gauges)
}

async fn read(conn: &mut PgConnection, now: OffsetDateTime) -> Result<Gauges, sqlx::Error> {
    // each endpoint that something waits for is found by one look into the index
    sqlx::query_as!(
        Gauges,
        r#"with recursive waiting as (
               (select d.merchant_id, d.endpoint_id from webhook_delivery d where d.state = 'pending'
                order by d.merchant_id, d.endpoint_id limit 1)
               union all
               select n.merchant_id, n.endpoint_id from waiting w
               cross join lateral (
                   select d.merchant_id, d.endpoint_id from webhook_delivery d
                   where d.state = 'pending' and (d.merchant_id, d.endpoint_id) > (w.merchant_id, w.endpoint_id)
                   order by d.merchant_id, d.endpoint_id limit 1) n
           )
           select coalesce((
                      select greatest(extract(epoch from $1 - min(f.next_at)) * 1000, 0)
                      from waiting w
                      cross join lateral (
                          select min(d.next_at) as next_at from webhook_delivery d
                          where d.merchant_id = w.merchant_id and d.endpoint_id = w.endpoint_id
                            and d.state = 'pending') f), 0)::bigint as "overdue_ms!",
                  (select count(*) from webhook_delivery d
                   where d.state = 'exhausted' and d.ended_at > $2) as "exhausted!""#,
        now,
        now - RECENT,
    )
    .fetch_one(conn)
    .await
}

/// Throws away some of the events that are older than [`limits::EVENTS_KEPT`], and says how many. Where it was
/// [`EVENTS_A_STEP`] there may be more.
///
/// # Errors
/// The database's.
pub async fn purge(pool: &PgPool, now: OffsetDateTime) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select purge_events($1, $2) as "purged!""#,
        now - limits::EVENTS_KEPT,
        EVENTS_A_STEP
    )
    .fetch_one(pool)
    .await
}
