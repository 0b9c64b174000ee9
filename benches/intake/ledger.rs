//! Whether everything that was acknowledged is in the database, once, and nothing else.

use anyhow::ensure;
use sqlx::{Connection, PgConnection};

use super::stage::Installed;

/// Compares a database with what was acknowledged. Every key that was sent was sent until it was
/// acknowledged, so what is there and what was acknowledged are the same sales when they are as many.
///
/// # Errors
/// When a sale is missing, double or unasked for, or a merchant's sequence has a gap.
pub(crate) async fn check(on: &Installed) -> anyhow::Result<()> {
    let mut db = PgConnection::connect(&on.url).await?;
    let counts: (i64, i64, i64) = sqlx::query_as(
        "select (select count(*) from sale), (select count(*) from sale_order),
                (select count(*) from idempotency_key where sale_id is not null)",
    )
    .fetch_one(&mut db)
    .await?;
    let acknowledged = on.acknowledged.cast_signed();
    ensure!(
        counts == (acknowledged, acknowledged, acknowledged),
        "{acknowledged} sales were acknowledged; there are {} sales, {} order ids and {} keys",
        counts.0,
        counts.1,
        counts.2
    );
    let broken: Vec<uuid::Uuid> = sqlx::query_scalar(
        "select m.merchant_id from merchant m
         left join (select merchant_id, count(*) as sales, count(distinct seq) as numbers,
                           min(seq) as first, max(seq) as last
                    from sale group by merchant_id) s using (merchant_id)
         where coalesce(s.first, 1) <> 1 or coalesce(s.last, 0) <> coalesce(s.sales, 0)
            or coalesce(s.numbers, 0) <> coalesce(s.sales, 0) or m.next_seq <> coalesce(s.sales, 0) + 1",
    )
    .fetch_all(&mut db)
    .await?;
    ensure!(
        broken.is_empty(),
        "the numbers of the merchants {broken:?} have gaps"
    );
    Ok(())
}
