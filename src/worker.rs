//! The worker: the endless loops around the steps of anchoring.
//!
//! One loop seals, one a chain checks, watches, publishes and broadcasts, one measures, one keeps
//! house. A step that fails is logged once, counted, and tried again with a growing pause; no failure ends a
//! loop. Any number of workers may run beside one another: a lease keeps them from doing the same work
//! twice.

use std::time::Duration;

use sqlx::PgPool;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::accounts::mail::{self, Mailer};
use crate::accounts::store::staff;
use crate::anchor::lease::Lease;
use crate::anchor::seal;
use crate::anchor::startup::{self, Publisher, Ready};
use crate::anchor::store::operator;
use crate::anchor::{broadcast, costs, gauges, guard, publish, replace, watch};
use crate::clock::{Clock, Entropy};
use crate::database::trust::Trust;
use crate::loyalty::expiry;
use crate::retention::{partitions, purge};
use crate::telemetry;
use crate::webhooks::deliver::Deliverer;
use crate::webhooks::send::Sender;
use crate::webhooks::upkeep;

/// How often the gauges are read.
const GAUGES_EVERY: Duration = Duration::from_secs(5);
/// How often it is measured what anchoring costs.
const COSTS_EVERY: Duration = Duration::from_secs(60);
/// How often it is looked for old refusals, and for months without a partition.
const KEEP_HOUSE_EVERY: Duration = Duration::from_secs(600);
/// The pause between two slices of old refusals: whoever records sales meanwhile does not feel it.
const PURGE_PAUSE: Duration = Duration::from_millis(250);
/// How often it is looked for mails to send.
const MAIL_EVERY: Duration = Duration::from_secs(1);
/// How often it is looked whether enough sales wait for a batch before its interval is over.
const BACKLOG_EVERY: Duration = Duration::from_millis(250);
/// How often it is looked whether a doubt about the database is settled.
const IN_DOUBT_PAUSE: Duration = Duration::from_secs(1);
/// How often it is looked whether a webhook is due, while none is.
const WEBHOOKS_EVERY: Duration = Duration::from_millis(500);
/// The pause after a failure; doubled after each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What the worker needs.
#[derive(Debug, Clone)]
pub struct Worker {
    /// Connections with the worker's role.
    pub pool: PgPool,
    /// Whether the database is the one that it was; while it is in doubt nothing is sealed or anchored.
    pub trust: Trust,
    /// The time.
    pub clock: Clock,
    /// The salts of manifests and marks.
    pub entropy: Entropy,
    /// How long sales wait for their batch at most.
    pub batch_interval: Duration,
    /// Sales that do not wait so long: once so many are there, they are sealed.
    pub seal_at: usize,
    /// Sales of a batch at most.
    pub batch_leaves: usize,
    /// The chains to anchor on, each with its account.
    pub publishers: Vec<Publisher>,
    /// What sends mails to accounts, where that is configured.
    pub mailer: Option<Mailer>,
    /// What tells webhook endpoints of events.
    pub sender: Sender,
}

/// Runs until `shutdown` is cancelled and the steps in hand are finished.
pub async fn run(worker: Worker, shutdown: CancellationToken) {
    let mut loops = JoinSet::new();
    for publisher in worker.publishers.clone() {
        telemetry::begin_chain(publisher.chain_id);
        loops.spawn(costs_loop(
            worker.clone(),
            publisher.clone(),
            shutdown.clone(),
        ));
        loops.spawn(anchor_loop(worker.clone(), publisher, shutdown.clone()));
    }
    let (looking, stopped) = (worker.clone(), shutdown.clone());
    loops.spawn(async move { looking.trust.watch(&looking.pool, stopped).await });
    loops.spawn(seal_loop(worker.clone(), shutdown.clone()));
    loops.spawn(gauges_loop(worker.clone(), shutdown.clone()));
    loops.spawn(webhook_loop(worker.clone(), shutdown.clone()));
    if let Some(mailer) = worker.mailer.clone() {
        loops.spawn(mail_loop(worker.clone(), mailer, shutdown.clone()));
    }
    loops.spawn(housekeeping_loop(worker, shutdown));
    while let Some(ended) = loops.join_next().await {
        if let Err(error) = ended {
            tracing::error!(error = %error, "a loop of the worker has broken off");
        }
    }
}

/// Seals each interval, and earlier when enough wait: what is sealed often is sealed in small portions, which
/// keep nobody waiting.
async fn seal_loop(worker: Worker, shutdown: CancellationToken) {
    let mut tries = Tries::new("seal", shutdown);
    let mut lease = Lease::of_sealing(&worker.entropy);
    while tries.go_on() {
        if !worker.trust.is_sound() {
            tries.pause(IN_DOUBT_PAUSE).await;
            continue;
        }
        if tries.step(lease.hold(&worker.pool)).await != Some(true) {
            tries.pause(Lease::PAUSE).await;
            continue;
        }
        let step = seal::step(&worker.pool, &worker.entropy, worker.batch_leaves);
        match tries.step(step).await {
            Some(seal::Outcome::Lost) => {}
            // perhaps another worker can
            None => drop(tries.step(lease.release(&worker.pool)).await),
            Some(seal::Outcome::Sealed { .. }) => {
                if !is_enough_waiting(&worker, &mut tries).await {
                    wait_for_batch(&worker, &mut tries, &mut lease).await;
                }
            }
            Some(_) => wait_for_batch(&worker, &mut tries, &mut lease).await,
        }
    }
    tries.step(lease.release(&worker.pool)).await;
}

/// Waits until the interval is over, enough sales wait, an operator asks for one, or another worker has
/// taken over.
async fn wait_for_batch(worker: &Worker, tries: &mut Tries, lease: &mut Lease) {
    let until = Instant::now() + worker.batch_interval;
    loop {
        let rest = until.saturating_duration_since(Instant::now());
        if rest.is_zero() || !tries.pause(rest.min(BACKLOG_EVERY)).await {
            return;
        }
        if tries.step(lease.hold(&worker.pool)).await != Some(true) {
            return;
        }
        if is_enough_waiting(worker, tries).await || is_seal_requested(worker, tries).await {
            return;
        }
    }
}

/// Whether an operator asked for what waits to be sealed.
async fn is_seal_requested(worker: &Worker, tries: &mut Tries) -> bool {
    tries.step(seal_request(&worker.pool)).await == Some(true)
}

async fn seal_request(pool: &PgPool) -> Result<bool, sqlx::Error> {
    operator::take_seal_request(&mut *pool.acquire().await?).await
}

async fn is_enough_waiting(worker: &Worker, tries: &mut Tries) -> bool {
    let waiting = tries.step(backlog(&worker.pool)).await;
    let enough = worker.seal_at.min(worker.batch_leaves);
    waiting.is_some_and(|waiting| waiting >= enough as i64)
}

async fn backlog(pool: &PgPool) -> Result<i64, sqlx::Error> {
    seal::backlog(&mut *pool.acquire().await?).await
}

/// Checks a chain once, then watches it, signs what is next and sends it, again and again.
async fn anchor_loop(worker: Worker, publisher: Publisher, shutdown: CancellationToken) {
    let mut tries = Tries::new("startup", shutdown.clone());
    let ready = loop {
        match tries.step(startup::check(&worker.pool, &publisher)).await {
            Some(ready) => break ready,
            None if tries.go_on() => {}
            None => return,
        }
    };
    let mut lease = Lease::of_chain(publisher.chain_id, &worker.entropy);
    let mut leasing = Tries::new("lease", shutdown.clone());
    let mut steps = Steps {
        worker: &worker,
        publisher: &publisher,
        ready: &ready,
        watching: Tries::new("watch", shutdown.clone()),
        guarding: Tries::new("guard", shutdown.clone()),
        publishing: Tries::new("publish", shutdown.clone()),
        replacing: Tries::new("replace", shutdown.clone()),
        broadcasting: Tries::new("broadcast", shutdown),
    };
    while leasing.go_on() {
        if !worker.trust.is_sound() {
            leasing.pause(IN_DOUBT_PAUSE).await;
            continue;
        }
        if leasing.step(lease.hold(&worker.pool)).await != Some(true) {
            telemetry::nothing_of_ours(publisher.chain_id);
            leasing.pause(Lease::PAUSE).await;
            continue;
        }
        if !steps.run().await {
            // perhaps another worker's RPC answers
            leasing.step(lease.release(&worker.pool)).await;
        }
        leasing.pause(publisher.poll).await;
    }
    leasing.step(lease.release(&worker.pool)).await;
}

/// The steps of one chain, in their order.
struct Steps<'a> {
    worker: &'a Worker,
    publisher: &'a Publisher,
    ready: &'a Ready,
    watching: Tries,
    guarding: Tries,
    publishing: Tries,
    replacing: Tries,
    broadcasting: Tries,
}

impl Steps<'_> {
    /// Watches, signs what is next, replaces what waits too long, and sends; whether nothing failed. One
    /// that fails keeps none of the others from its try.
    async fn run(&mut self) -> bool {
        let Worker { pool, clock, .. } = self.worker;
        let (publisher, ready) = (self.publisher, self.ready);
        let watched = self.watching.step(watch::step(pool, publisher, clock));
        let watched = watched.await.is_some();
        let guarding = guard::step(pool, publisher, ready);
        let guarded = self.guarding.step(guarding).await.is_some();
        let publishing = publish::step(pool, publisher, ready, clock);
        let published = self.publishing.step(publishing).await.is_some();
        let replacing = replace::step(pool, publisher, clock);
        let replaced = self.replacing.step(replacing).await.is_some();
        let broadcasting = broadcast::step(pool, publisher, clock);
        let sent = self.broadcasting.step(broadcasting).await.is_some();
        watched && guarded && published && replaced && sent
    }
}

/// Reads the gauges.
async fn gauges_loop(worker: Worker, shutdown: CancellationToken) {
    let mut tries = Tries::new("gauges", shutdown.clone());
    let mut webhooks = Tries::new("webhook_gauges", shutdown);
    while tries.go_on() {
        tries.step(gauges::step(&worker.pool)).await;
        let now = worker.clock.now();
        webhooks.step(upkeep::measure(&worker.pool, now)).await;
        tries.pause(GAUGES_EVERY).await;
    }
}

/// Measures what anchoring on a chain costs, whoever does it.
async fn costs_loop(worker: Worker, publisher: Publisher, shutdown: CancellationToken) {
    let mut tries = Tries::new("costs", shutdown);
    while tries.go_on() {
        tries
            .step(costs::step(&worker.pool, &publisher, &worker.clock))
            .await;
        tries.pause(COSTS_EVERY).await;
    }
}

/// Makes the coming months of sales, and throws away what need not be kept, a little at a time.
async fn housekeeping_loop(worker: Worker, shutdown: CancellationToken) {
    let mut making = Tries::new("partitions", shutdown.clone());
    let mut expiring = Tries::new("points", shutdown.clone());
    let mut forgetting = Tries::new("events", shutdown.clone());
    let mut purging = Tries::new("purge", shutdown);
    while making.go_on() {
        making.step(partitions::step(&worker.pool)).await;
        while purging.step(purge::step(&worker.pool)).await == Some(purge::ROWS_A_STEP)
            && purging.pause(PURGE_PAUSE).await
        {}
        while expiring
            .step(expiry::step(&worker.pool, &worker.clock))
            .await
            .is_some_and(|ended| ended >= expiry::LOTS_A_STEP)
            && expiring.pause(PURGE_PAUSE).await
        {}
        while purging.step(purge_accounts(&worker)).await == Some(purge::ROWS_A_STEP.cast_signed())
            && purging.pause(PURGE_PAUSE).await
        {}
        while forgetting.step(purge_events(&worker)).await == Some(upkeep::EVENTS_A_STEP)
            && forgetting.pause(PURGE_PAUSE).await
        {}
        making.pause(KEEP_HOUSE_EVERY).await;
    }
}

async fn purge_accounts(worker: &Worker) -> Result<i64, sqlx::Error> {
    let mut db = worker.pool.acquire().await?;
    staff::purge(
        &mut db,
        worker.clock.now(),
        purge::ROWS_A_STEP.cast_signed(),
    )
    .await
}

async fn purge_events(worker: &Worker) -> Result<i64, sqlx::Error> {
    upkeep::purge(&worker.pool, worker.clock.now()).await
}

/// Tells webhook endpoints of events. What is in hand at the end is ended.
async fn webhook_loop(worker: Worker, shutdown: CancellationToken) {
    let mut tries = Tries::new("webhooks", shutdown.clone());
    let Worker {
        pool,
        trust,
        clock,
        entropy,
        sender,
        ..
    } = worker;
    let mut deliverer = Deliverer::new(pool, sender, clock, entropy);
    while tries.go_on() {
        let has_taken = trust.is_sound()
            && tries
                .step(deliverer.step())
                .await
                .is_some_and(|taken| taken > 0);
        if !has_taken {
            tokio::select! {
                () = deliverer.wait(WEBHOOKS_EVERY) => {}
                () = shutdown.cancelled() => {}
            }
        }
    }
    deliverer.finish().await;
}

/// Sends what is to be sent to accounts.
async fn mail_loop(worker: Worker, mailer: Mailer, shutdown: CancellationToken) {
    let mut tries = Tries::new("mail", shutdown);
    while tries.go_on() {
        let Worker {
            pool,
            clock,
            entropy,
            ..
        } = &worker;
        let idle = !worker.trust.is_sound() || {
            let step = tries.step(mail::step(pool, &mailer, clock, entropy)).await;
            step == Some(mail::Outcome::Nothing)
        };
        if idle {
            tries.pause(MAIL_EVERY).await;
        }
    }
}

/// A step's tries: how often it failed in a row, and what was last said of it.
struct Tries {
    name: &'static str,
    shutdown: CancellationToken,
    failures: u32,
    last_error: String,
}

impl Tries {
    fn new(name: &'static str, shutdown: CancellationToken) -> Self {
        metrics::counter!(telemetry::STEP_FAILURES, "step" => name).absolute(0);
        Self {
            name,
            shutdown,
            failures: 0,
            last_error: String::new(),
        }
    }

    /// Whether there is to be another step.
    fn go_on(&self) -> bool {
        !self.shutdown.is_cancelled()
    }

    /// Runs a step to its end. After a failure it is none, once the pause is over.
    async fn step<T, E>(&mut self, step: impl Future<Output = Result<T, E>>) -> Option<T>
    where
        E: std::error::Error,
    {
        let start = Instant::now();
        let done = step.await;
        metrics::histogram!(telemetry::STEP_SECONDS, "step" => self.name).record(start.elapsed());
        match done {
            Ok(outcome) => {
                if self.failures > 0 {
                    tracing::info!(step = self.name, failures = self.failures, "works again");
                }
                self.failures = 0;
                self.last_error.clear();
                Some(outcome)
            }
            Err(error) => {
                self.failed(&error);
                self.pause(pause_after(self.failures)).await;
                None
            }
        }
    }

    /// Counts a failure, and logs it unless it is the one that was logged last.
    fn failed(&mut self, error: &dyn std::error::Error) {
        metrics::counter!(telemetry::STEP_FAILURES, "step" => self.name).increment(1);
        self.failures = self.failures.saturating_add(1);
        let text = chain_of(error);
        if text != self.last_error {
            tracing::error!(step = self.name, error = text, "failed; it is tried again");
            self.last_error = text;
        }
    }

    /// Sleeps; false when the worker is to stop.
    async fn pause(&self, time: Duration) -> bool {
        timeout(time, self.shutdown.cancelled()).await.is_err()
    }
}

fn pause_after(failures: u32) -> Duration {
    let doubled = 2u32.saturating_pow(failures.saturating_sub(1));
    FIRST_PAUSE.saturating_mul(doubled).min(LONGEST_PAUSE)
}

/// An error and what caused it, on one line.
fn chain_of(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
