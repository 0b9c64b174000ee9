//! What anchoring on a chain costs and how long it takes, of the last 24 hours, and how long the wallet
//! lasts at that. All of it is derived from rows and the account's balance, so no restart loses it, and
//! each worker says the same.

use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;

use super::budget::DAY;
use super::startup::Publisher;
use crate::chain::{At, ChainError};
use crate::clock::Clock;
use crate::telemetry;

/// What was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Costs {
    /// What the account has, wei.
    pub balance: u128,
    /// Days that this lasts at what the last 24 hours cost; none where they cost nothing.
    pub days_left: Option<f64>,
    /// Wei a mined anchor cost on average; none without one.
    pub wei_an_anchor: Option<f64>,
    /// Wei a sale in these anchors cost on average.
    pub wei_a_sale: Option<f64>,
    /// Seconds from the reservation until it was mined, on average.
    pub seconds_to_mined: Option<f64>,
    /// Seconds from the reservation until it was final, on average.
    pub seconds_to_finalized: Option<f64>,
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum CostsError {
    /// The chain cannot be asked.
    #[error("the chain cannot be asked for the account's balance")]
    Chain(#[from] ChainError),
    /// The database failed.
    #[error("the database failed while the costs of anchoring were read")]
    Database(#[from] sqlx::Error),
}

/// Measures a chain and sets its gauges. What the last 24 hours do not tell keeps its last value, but for
/// the wallet, which then lasts for ever.
///
/// # Errors
/// [`CostsError`].
pub async fn step(
    pool: &PgPool,
    publisher: &Publisher,
    clock: &Clock,
) -> Result<Costs, CostsError> {
    let account = publisher.signer.account();
    let balance = publisher.chain.balance(account, At::Latest).await?;
    let mut conn = pool.acquire().await?;
    let costs = read(&mut conn, publisher.chain_id, balance, clock.now() - DAY).await?;
    let chain = publisher.chain_id.to_string();
    let set = |name: &'static str, value: Option<f64>| {
        if let Some(value) = value {
            metrics::gauge!(name, "chain" => chain.clone()).set(value);
        }
    };
    set(telemetry::WALLET_WEI, Some(costs.balance as f64));
    let days = costs.days_left.unwrap_or(f64::INFINITY);
    set(telemetry::WALLET_DAYS_LEFT, Some(days));
    set(telemetry::ANCHOR_WEI, costs.wei_an_anchor);
    set(telemetry::SALE_WEI, costs.wei_a_sale);
    set(telemetry::MINED_SECONDS, costs.seconds_to_mined);
    set(telemetry::FINALIZED_SECONDS, costs.seconds_to_finalized);
    Ok(costs)
}

async fn read(
    conn: &mut PgConnection,
    chain_id: i64,
    balance: u128,
    since: OffsetDateTime,
) -> sqlx::Result<Costs> {
    // by the index on signed_at: anchors pile up for years
    let row = sqlx::query!(
        r#"with recent as (
               select distinct t.anchor_id from anchor_attempt t
               where t.signed_at > $3
           ), mined as (
               select t.gas_used * coalesce(t.gas_price, t.max_fee_per_gas)
                          + coalesce(t.rollup_fee, 0) as wei,
                      extract(epoch from a.mined_at - a.reserved_at)::float8 as to_mined,
                      extract(epoch from a.finalized_at - a.reserved_at)::float8 as to_finalized,
                      (select sum(b.leaf_count) from batch b
                       where b.batch_id between a.first_batch and a.last_batch) as sales
               from recent r
               join anchor a on a.anchor_id = r.anchor_id and a.chain_id = $1
               join anchor_attempt t on t.anchor_id = a.anchor_id and t.block_hash is not null
           )
           select ($2::text::numeric / nullif(sum(wei), 0))::float8 as days_left,
                  avg(wei)::float8 as wei_an_anchor, (sum(wei) / nullif(sum(sales), 0))::float8 as wei_a_sale,
                  avg(to_mined) as to_mined, avg(to_finalized) as to_finalized
           from mined"#,
        chain_id,
        balance.to_string(),
        since
    )
    .fetch_one(conn)
    .await?;
    Ok(Costs {
        balance,
        days_left: row.days_left,
        wei_an_anchor: row.wei_an_anchor,
        wei_a_sale: row.wei_a_sale,
        seconds_to_mined: row.to_mined,
        seconds_to_finalized: row.to_finalized,
    })
}
