//! The budget of a day: what was spent in the last 24 hours, and whether there is room for more.
//!
//! What was spent is derived from the signed transactions themselves, so no counter can be lost. Of one
//! that is not mined the most that it may cost is counted.

use std::time::Duration;

use sqlx::PgPool;

use super::startup::Publisher;
use super::store::anchors::Anchor;
use super::store::spending;
use crate::chain::Fees;
use crate::clock::Clock;
use crate::telemetry;

/// The time that a budget is for.
pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Whether the budget has room for a transaction of so much gas; `replaces` is the anchor whose
/// transactions it takes the place of. The gauge of a stop says the same.
///
/// # Errors
/// When the database fails.
pub(super) async fn allows(
    pool: &PgPool,
    publisher: &Publisher,
    replaces: Option<&Anchor>,
    gas: u64,
    fees: &Fees,
    clock: &Clock,
) -> Result<bool, sqlx::Error> {
    let Some(budget) = publisher.policy.budget_a_day else {
        return Ok(true);
    };
    let since = clock.now() - DAY;
    let except = replaces.map_or(0, |anchor| anchor.anchor_id);
    let mut conn = pool.acquire().await?;
    let spent = spending::since(&mut conn, publisher.chain_id, since, except).await?;
    let cost = u128::from(gas).saturating_mul(fees.max_fee_per_gas);
    let allowed = spent.saturating_add(cost) <= budget;
    let chain = publisher.chain_id.to_string();
    let stopped = if allowed { 0.0 } else { 1.0 };
    metrics::gauge!(telemetry::BUDGET_STOPPED, "chain" => chain).set(stopped);
    if !allowed {
        tracing::debug!(
            chain_id = publisher.chain_id,
            spent,
            cost,
            budget,
            "over the day's budget"
        );
    }
    Ok(allowed)
}
