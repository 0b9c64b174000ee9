//! Leases, by the database's clock.

use std::time::Duration;

use sqlx::{PgConnection, Result};
use uuid::Uuid;

/// Takes a lease that nobody holds, or keeps one; false where another holder's time is not over.
pub async fn hold(
    conn: &mut PgConnection,
    work: &str,
    holder: Uuid,
    time: Duration,
) -> Result<bool> {
    let ms = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    let done = sqlx::query!(
        "insert into lease (work, holder, held_until)
         values ($1, $2, clock_timestamp() + $3::bigint * interval '1 millisecond')
         on conflict on constraint lease_pkey do update
         set holder = excluded.holder, held_until = excluded.held_until
         where lease.holder = excluded.holder or lease.held_until < clock_timestamp()",
        work,
        holder,
        ms
    );
    Ok(done.execute(conn).await?.rows_affected() == 1)
}

/// Gives a lease back, where it is still this holder's.
pub async fn release(conn: &mut PgConnection, work: &str, holder: Uuid) -> Result<()> {
    sqlx::query!(
        "delete from lease where work = $1 and holder = $2",
        work,
        holder
    )
    .execute(conn)
    .await?;
    Ok(())
}
