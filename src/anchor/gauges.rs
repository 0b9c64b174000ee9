//! What is measured of the way from a sale to a finalized anchor.

use sqlx::{PgConnection, PgPool};

use super::store::chains;
use crate::chain::is_production;
use crate::telemetry;

/// How things stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gauges {
    /// Milliseconds since the oldest sale was recorded that no finalized anchor covers; 0 for none.
    pub oldest_unanchored_ms: i64,
    /// Sales that wait for a batch.
    pub pending: i64,
    /// Merchants on hold.
    pub holds: i64,
    /// Batches by state: sealed, submitted, mined, finalized.
    pub batches: [i64; 4],
    /// Each chain that was begun.
    pub chains: Vec<ChainGauges>,
}

/// How things stand on a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainGauges {
    /// Which chain.
    pub chain_id: i64,
    /// Whether anchoring there has stopped until somebody has looked.
    pub halted: bool,
    /// Whether an operator has paused it.
    pub paused: bool,
    /// Batches that no signed transaction has yet; 0 on a chain that is not anchored on any more.
    pub sealed: i64,
    /// Batches whose transaction waits.
    pub submitted: i64,
    /// Batches that are in a block which may be reorganised.
    pub mined: i64,
}

const STATES: [&str; 4] = ["sealed", "submitted", "mined", "finalized"];

/// Reads how things stand and sets the gauges.
///
/// # Errors
/// When the database fails.
pub async fn step(pool: &PgPool) -> Result<Gauges, sqlx::Error> {
    let mut conn = pool.acquire().await?;
    let gauges = read(&mut conn).await?;
    let seconds =
        std::time::Duration::from_millis(gauges.oldest_unanchored_ms.max(0).cast_unsigned());
    metrics::gauge!(telemetry::OLDEST_UNANCHORED_SECONDS).set(seconds.as_secs_f64());
    metrics::gauge!(telemetry::PENDING_SALES).set(gauges.pending as f64);
    metrics::gauge!(telemetry::SEAL_HOLDS).set(gauges.holds as f64);
    for (state, count) in STATES.into_iter().zip(gauges.batches) {
        metrics::gauge!(telemetry::BATCHES, "state" => state).set(count as f64);
    }
    gauges.chains.iter().for_each(set_chain);
    Ok(gauges)
}

fn set_chain(chain: &ChainGauges) {
    let label = chain.chain_id.to_string();
    let flag = |set: bool| if set { 1.0 } else { 0.0 };
    metrics::gauge!(telemetry::CHAIN_HALTED, "chain" => label.clone()).set(flag(chain.halted));
    metrics::gauge!(telemetry::CHAIN_PAUSED, "chain" => label.clone()).set(flag(chain.paused));
    if chain.sealed == 0 {
        // whatever had no room in the budget went, or is not wanted any more
        metrics::gauge!(telemetry::BUDGET_STOPPED, "chain" => label.clone()).set(0.0);
    }
    for (state, count) in STATES
        .into_iter()
        .zip([chain.sealed, chain.submitted, chain.mined])
    {
        metrics::gauge!(telemetry::CHAIN_BATCHES, "chain" => label.clone(), "state" => state)
            .set(count as f64);
    }
}

async fn read(conn: &mut PgConnection) -> Result<Gauges, sqlx::Error> {
    let current = chains::current(conn).await?;
    let test = !current
        .iter()
        .any(|chain| is_production(chain.cast_unsigned()));
    let first_open = first_open_batch(conn).await?;
    let waiting = waiting(conn, test).await?;
    let batches = batches(conn, first_open).await?;
    let oldest = [waiting.oldest_ms, batches.oldest_ms]
        .into_iter()
        .flatten()
        .max();
    let chains = chains_of(&mut *conn).await?;
    let holds = sqlx::query_scalar!("select count(*) as \"count!\" from seal_hold")
        .fetch_one(conn)
        .await?;
    Ok(Gauges {
        oldest_unanchored_ms: oldest.unwrap_or(0),
        pending: waiting.count,
        holds,
        batches: batches.by_state,
        chains,
    })
}

async fn chains_of(conn: &mut PgConnection) -> Result<Vec<ChainGauges>, sqlx::Error> {
    sqlx::query_as!(
        ChainGauges,
        r#"select h.chain_id, h.halted is not null as "halted!", h.paused_at is not null as "paused!",
                  (case when exists (select from registry r where r.chain_id = h.chain_id and r.last_batch is null)
                   then greatest((select s.next_batch from seal_head s) - h.next_batch, 0) else 0 end
                   + coalesce(sum(a.last_batch - a.first_batch + 1) filter (where a.state = 'reserved'), 0)
                  )::bigint as "sealed!",
                  coalesce(sum(a.last_batch - a.first_batch + 1) filter (where a.state = 'submitted'), 0)::bigint
                      as "submitted!",
                  coalesce(sum(a.last_batch - a.first_batch + 1) filter (where a.state = 'mined'), 0)::bigint
                      as "mined!"
           from chain_head h
           left join anchor a on a.chain_id = h.chain_id and a.state in ('reserved', 'submitted', 'mined')
           group by h.chain_id, h.halted, h.paused_at, h.next_batch"#
    )
    .fetch_all(conn)
    .await
}

/// The first batch that is not final on every current chain; the next one where all are. What is
/// before it need not be looked at again and again.
async fn first_open_batch(conn: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select least(
               (select next_batch from seal_head),
               (select min(coalesce(h.next_batch, r.first_batch)) from registry r
                left join chain_head h on h.chain_id = r.chain_id where r.last_batch is null),
               (select min(a.first_batch) from anchor a where a.state in ('reserved', 'submitted', 'mined'))
           ) as "first!""#
    )
    .fetch_one(conn)
    .await
}

struct WaitingSales {
    count: i64,
    oldest_ms: Option<i64>,
}

async fn waiting(conn: &mut PgConnection, test: bool) -> Result<WaitingSales, sqlx::Error> {
    // merchants in test mode are never anchored beside a production chain, so nothing is late there
    sqlx::query_as!(
        WaitingSales,
        r#"with recursive queue as (
               (select p.merchant_id from pending_sale p order by p.merchant_id limit 1)
               union all
               select (select p.merchant_id from pending_sale p where p.merchant_id > q.merchant_id
                       order by p.merchant_id limit 1)
               from queue q where q.merchant_id is not null
           )
           select coalesce(sum(newest.seq - oldest.seq + 1 - gaps.numbers), 0)::bigint as "count!",
                  (extract(epoch from clock_timestamp() - min(oldest.recorded_at)) * 1000)::bigint as oldest_ms
           from queue q
           join merchant m on m.merchant_id = q.merchant_id
           cross join lateral (select p.seq, p.recorded_at from pending_sale p
                               where p.merchant_id = q.merchant_id order by p.seq limit 1) oldest
           cross join lateral (select p.seq from pending_sale p
                               where p.merchant_id = q.merchant_id order by p.seq desc limit 1) newest
           cross join lateral (select coalesce(sum(g.last_seq - g.first_seq + 1), 0) as numbers from seq_gap g
                               where g.merchant_id = q.merchant_id and g.first_seq > oldest.seq
                                 and g.last_seq < newest.seq) gaps
           where $1 or m.mode = 'live'"#,
        test
    )
    .fetch_one(conn)
    .await
}

struct Batches {
    by_state: [i64; 4],
    oldest_ms: Option<i64>,
}

async fn batches(conn: &mut PgConnection, first_open: i64) -> Result<Batches, sqlx::Error> {
    let row = sqlx::query!(
        r#"select count(*) filter (where s.state = 'sealed') as "sealed!",
                  count(*) filter (where s.state = 'submitted') as "submitted!",
                  count(*) filter (where s.state = 'mined') as "mined!",
                  count(*) filter (where s.state = 'finalized') + ($1::bigint - 1) as "finalized!",
                  (extract(epoch from clock_timestamp()
                       - min(b.oldest_recorded_at) filter (where s.state <> 'finalized')) * 1000)::bigint
                      as oldest_ms
           from batch b join batch_state s on s.batch_id = b.batch_id
           where b.batch_id >= $1 and s.batch_id >= $1"#,
        first_open
    )
    .fetch_one(conn)
    .await?;
    let by_state = [row.sealed, row.submitted, row.mined, row.finalized];
    Ok(Batches {
        by_state,
        oldest_ms: row.oldest_ms,
    })
}
