//! Logs and metrics: where they go, and what the metrics are called.

use std::io::IsTerminal;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// Age in seconds of the oldest sale that no finalized anchor covers: the one that matters.
pub const OLDEST_UNANCHORED_SECONDS: &str = "counterfoil_oldest_unanchored_seconds";
/// Sales that wait for a batch.
pub const PENDING_SALES: &str = "counterfoil_pending_sales";
/// Batches by `state`.
pub const BATCHES: &str = "counterfoil_batches";
/// Proofs and roots that did not verify before they were served or published, by `check`. Must stay 0.
pub const SELF_CHECK_FAILURES: &str = "counterfoil_self_check_failures_total";
/// Merchants that wait because one of their sales cannot be sealed. Must stay 0.
pub const SEAL_HOLDS: &str = "counterfoil_seal_holds";
/// Chains on which anchoring has stopped until somebody has looked, by `chain`. Must stay 0.
pub const CHAIN_HALTED: &str = "counterfoil_chain_halted";
/// Whether the database may have lost what it had committed, so that nothing is recorded. Must stay 0.
pub const DATABASE_IN_DOUBT: &str = "counterfoil_database_in_doubt";
/// Whether an account, a registry or its publisher has moved and it was not us, by `chain`. Must stay 0.
pub const FOREIGN_MOVES: &str = "counterfoil_foreign_moves";
/// Transactions that were replaced at higher fees, by `chain`.
pub const REPLACEMENTS: &str = "counterfoil_replacements_total";
/// Anchors whose block was reorganised away, by `chain`.
pub const REORGANISED: &str = "counterfoil_reorganised_anchors_total";
/// Anchors whose nonce was used for something else or whose transaction reverted, for good, by `chain`.
pub const OVERTAKEN: &str = "counterfoil_overtaken_anchors_total";
/// Whether the next transaction has no room in the budget of a day, by `chain`.
pub const BUDGET_STOPPED: &str = "counterfoil_budget_stopped";
/// Whether an operator has paused a chain, by `chain`.
pub const CHAIN_PAUSED: &str = "counterfoil_chain_paused";
/// Batches that are not final on a `chain`, by `state`: sealed, submitted, mined.
pub const CHAIN_BATCHES: &str = "counterfoil_chain_batches";
/// Wei that the account of a `chain` has.
pub const WALLET_WEI: &str = "counterfoil_wallet_wei";
/// Days that this lasts at what the last 24 hours cost, by `chain`; infinite where they cost nothing.
pub const WALLET_DAYS_LEFT: &str = "counterfoil_wallet_days_left";
/// Wei that an anchor of the last 24 hours cost on average, by `chain`.
pub const ANCHOR_WEI: &str = "counterfoil_anchor_cost_wei";
/// Wei that a sale in these anchors cost on average, by `chain`.
pub const SALE_WEI: &str = "counterfoil_sale_cost_wei";
/// Seconds from an anchor's reservation until it was mined, average of the last 24 hours, by `chain`.
pub const MINED_SECONDS: &str = "counterfoil_anchor_mined_seconds";
/// Seconds from an anchor's reservation until it was final, average of the last 24 hours, by `chain`.
pub const FINALIZED_SECONDS: &str = "counterfoil_anchor_finalized_seconds";
/// Sales and refunds by `outcome` of their recording.
pub const SALES_RECORDED: &str = "counterfoil_sales_total";
/// Sales that wait for a flush of the intake or are being written.
pub const INTAKE_ROWS: &str = "counterfoil_intake_rows";
/// Requests that were refused because too many sales waited.
pub const INTAKE_FULL: &str = "counterfoil_intake_full_total";
/// Sales that went together in one flush.
pub const FLUSH_ROWS: &str = "counterfoil_intake_flush_rows";
/// Months after this one that have a partition of `sale`.
pub const SALE_MONTHS_AHEAD: &str = "counterfoil_sale_months_ahead";
/// Sales whose id is of no month that has a partition. Must stay 0.
pub const STRAY_SALES: &str = "counterfoil_stray_sales";
/// Seconds a request took, by `route`, `method` and `status`.
pub const REQUEST_SECONDS: &str = "counterfoil_http_request_seconds";
/// Orders and refunds that somebody has to look at.
pub const ORDERS_PARKED: &str = "counterfoil_orders_parked";
/// Tries of deliveries to webhook endpoints, by `outcome`: `succeeded`, `failed`, `gone`.
pub const WEBHOOK_TRIES: &str = "counterfoil_webhook_tries_total";
/// Seconds since the delivery was due that has been due the longest; 0 where none is.
pub const WEBHOOK_OVERDUE_SECONDS: &str = "counterfoil_webhook_overdue_seconds";
/// Deliveries that were given up in the last 24 hours.
pub const WEBHOOK_EXHAUSTED: &str = "counterfoil_webhook_exhausted";
/// Seconds a step of the worker took, by `step`.
pub const STEP_SECONDS: &str = "counterfoil_worker_step_seconds";
/// Steps of the worker that failed, by `step`.
pub const STEP_FAILURES: &str = "counterfoil_worker_step_failures_total";
/// Calls of Redis by `outcome`: `answered`, `refused`, `failed`, `timed_out`, `down`, `database_unknown`.
pub const CACHE_CALLS: &str = "counterfoil_cache_calls_total";
/// Whether Redis is used at the moment; 0 while its circuit breaker is open.
pub const CACHE_UP: &str = "counterfoil_cache_up";
/// Repeats that were answered from Redis, without the database.
pub const CACHE_REPLAYS: &str = "counterfoil_cache_replays_total";
/// Calls of the payment provider by `call` and `outcome`: `answered`, `declined`, `wrong_state`, `missing`,
/// `invalid`, `key_reused`, `not_allowed`, `rate_limited`, `unavailable`, `unknown`.
pub const PAYMENT_CALLS: &str = "counterfoil_payment_calls_total";
/// Calls of an RPC that failed or were not believed, by `rpc` (its host) and `class`.
pub const RPC_ERRORS: &str = "counterfoil_rpc_errors_total";
/// RPCs that agree on which block is final, by `chain`.
pub const RPCS_AGREEING: &str = "counterfoil_chain_rpcs_agreeing";
/// How many have to, by `chain`: two, where two are configured. With fewer nothing becomes final.
pub const RPCS_NEEDED: &str = "counterfoil_chain_rpcs_needed";
/// Height of the newest block that is final, by `chain`.
pub const FINALIZED_HEIGHT: &str = "counterfoil_chain_finalized_height";

/// Seconds since the live rate of a `currency` was fetched; infinite before the first.
pub const RATE_AGE_SECONDS: &str = "counterfoil_rate_age_seconds";
/// What a feed of rates said and was not believed, and when it said nothing, by `class`.
pub const RATE_FAILURES: &str = "counterfoil_rate_failures_total";

/// Sends log lines to standard error. `filter` is a `tracing` filter, e.g. `info,sqlx=warn`; it may be
/// called once a process, later calls change nothing.
pub fn init_logs(format: LogFormat, filter: &str) {
    let filter =
        EnvFilter::try_from_env("COUNTERFOIL_LOG").unwrap_or_else(|_| EnvFilter::new(filter));
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let set = match format {
        LogFormat::Json => logs
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .try_init(),
        LogFormat::Text => logs.with_target(false).try_init(),
    };
    if set.is_err() {
        tracing::debug!("logs were set up before");
    }
}

/// Installs the recorder whose text `/metrics` serves.
///
/// # Errors
/// When a recorder is installed already.
pub fn init_metrics() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets(&[
            0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
        ])?
        .set_buckets_for_metric(
            Matcher::Full(FLUSH_ROWS.to_owned()),
            &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0],
        )?
        .install_recorder()?;
    describe();
    // present from the first scrape, so that an alarm on its rate cannot miss the first failure
    for check in ["proof", "root"] {
        metrics::counter!(SELF_CHECK_FAILURES, "check" => check).absolute(0);
    }
    metrics::counter!(INTAKE_FULL).absolute(0);
    Ok(handle)
}

/// Has the counters of a chain begin at 0, so that an alarm on their rise sees the first one too.
pub fn begin_chain(chain_id: i64) {
    for name in [REPLACEMENTS, REORGANISED, OVERTAKEN] {
        metrics::counter!(name, "chain" => chain_id.to_string()).absolute(0);
    }
}

/// Takes back the alarms that a process gave about a chain which another one, or nobody, anchors on now.
pub fn nothing_of_ours(chain_id: i64) {
    for name in [FOREIGN_MOVES, BUDGET_STOPPED] {
        metrics::gauge!(name, "chain" => chain_id.to_string()).set(0.0);
    }
}

/// What each metric says, for the text of `/metrics`.
fn describe() {
    use metrics::{describe_counter, describe_gauge, describe_histogram};

    describe_anchoring();
    describe_costs();
    describe_gauge!(DATABASE_IN_DOUBT, "1 while the database may lack commits");
    describe_counter!(
        SALES_RECORDED,
        "Sales and refunds by outcome of their recording"
    );
    describe_gauge!(
        INTAKE_ROWS,
        "Sales that wait for a flush of the intake or are being written"
    );
    describe_counter!(
        INTAKE_FULL,
        "Requests refused because too many sales waited"
    );
    describe_histogram!(FLUSH_ROWS, "Sales that went together in one flush");
    describe_gauge!(
        SALE_MONTHS_AHEAD,
        "Months ahead that have a partition of sale"
    );
    describe_gauge!(
        STRAY_SALES,
        "Sales whose id is of no month that has a partition; must stay 0"
    );
    describe_gauge!(
        ORDERS_PARKED,
        "Orders and refunds that somebody has to look at; must stay 0"
    );
    describe_histogram!(REQUEST_SECONDS, "Seconds a request took");
    describe_counter!(WEBHOOK_TRIES, "Tries of webhook deliveries by outcome");
    describe_gauge!(
        WEBHOOK_OVERDUE_SECONDS,
        "Seconds since the webhook delivery was due that has waited longest"
    );
    describe_gauge!(
        WEBHOOK_EXHAUSTED,
        "Webhook deliveries given up in the last 24 hours"
    );
    describe_histogram!(STEP_SECONDS, "Seconds a step of the worker took");
    describe_counter!(STEP_FAILURES, "Steps of the worker that failed");
    describe_counter!(CACHE_CALLS, "Calls of Redis by outcome");
    describe_gauge!(
        CACHE_UP,
        "1 while Redis is used, 0 while it is done without"
    );
    describe_counter!(CACHE_REPLAYS, "Repeats answered from Redis");
    describe_counter!(PAYMENT_CALLS, "Calls of the payment provider by outcome");
    describe_counter!(RPC_ERRORS, "Calls of an RPC that failed, by class");
    describe_gauge!(RPCS_AGREEING, "RPCs that agree on which block is final");
    describe_gauge!(RATE_AGE_SECONDS, "Seconds since the live rate was fetched");
    describe_counter!(RATE_FAILURES, "Rates not had or not believed, by class");
    describe_gauge!(FINALIZED_HEIGHT, "Height of the newest block that is final");
}

/// The part of [`describe`] that is about the way from a sale to a finalized anchor.
fn describe_anchoring() {
    use metrics::{describe_counter, describe_gauge};

    describe_gauge!(
        OLDEST_UNANCHORED_SECONDS,
        "Age of the oldest sale that no finalized anchor covers"
    );
    describe_gauge!(PENDING_SALES, "Sales that wait for a batch");
    describe_gauge!(BATCHES, "Batches by state");
    describe_counter!(
        SELF_CHECK_FAILURES,
        "Proofs and roots that did not verify; must stay 0"
    );
    describe_gauge!(
        SEAL_HOLDS,
        "Merchants that wait because a sale cannot be sealed; must stay 0"
    );
    describe_gauge!(
        CHAIN_HALTED,
        "1 where anchoring has stopped until somebody has looked"
    );
    describe_gauge!(
        FOREIGN_MOVES,
        "1 where our account or our registry has moved and it was not us"
    );
    describe_counter!(
        REPLACEMENTS,
        "Transactions that were replaced at higher fees"
    );
    describe_counter!(REORGANISED, "Anchors whose block was reorganised away");
    describe_counter!(
        OVERTAKEN,
        "Anchors whose nonce was used for something else or whose transaction reverted"
    );
    describe_gauge!(
        BUDGET_STOPPED,
        "1 while the next transaction has no room in the budget of a day"
    );
}

/// What anchoring on a chain costs.
fn describe_costs() {
    use metrics::describe_gauge;

    describe_gauge!(CHAIN_PAUSED, "1 while an operator has paused the chain");
    describe_gauge!(CHAIN_BATCHES, "Batches not final on the chain, by state");
    describe_gauge!(WALLET_WEI, "Wei that the publisher's account has");
    describe_gauge!(
        WALLET_DAYS_LEFT,
        "Days that it lasts at what the last 24 hours cost"
    );
    describe_gauge!(ANCHOR_WEI, "Wei an anchor cost, average of 24 hours");
    describe_gauge!(SALE_WEI, "Wei a sale cost, average of 24 hours");
    describe_gauge!(
        MINED_SECONDS,
        "Seconds until an anchor was mined, average of 24 hours"
    );
    describe_gauge!(
        FINALIZED_SECONDS,
        "Seconds until an anchor was final, average of 24 hours"
    );
}
