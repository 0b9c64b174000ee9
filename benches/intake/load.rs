//! Load from many connections at once, and what came of it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::arrivals::Arrivals;
use super::connection::Connection;
use super::usage::{Cost, Memory, Snapshot, Watched};

/// The longest latency that is told from longer ones, microseconds.
const LONGEST: u64 = 60_000_000;
/// How long a request waits that the server had no room for.
const ROOM_PAUSE: Duration = Duration::from_millis(100);
/// How often a request is sent at most until it is answered for good.
const TRIES: u32 = 100;

/// Somebody with a connection.
pub(crate) trait Caller: Send + 'static {
    /// Writes the next request.
    fn prepare(&mut self);
    /// The request.
    fn request(&self) -> &[u8];
    /// Judges the answer.
    ///
    /// # Errors
    /// When the answer is wrong.
    fn judge(&mut self, status: u16, body: &[u8]) -> anyhow::Result<Verdict>;
}

/// What an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// What is counted.
    Counted,
    /// Right, and not counted: a retry.
    Uncounted,
    /// No room: to be sent again.
    Again,
}

/// When requests are sent.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    /// Each connection sends when its last answer is there.
    Closed,
    /// So many a second arrive, whatever the answers.
    Open(f64),
}

/// The time that is measured, after a time that is not.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
}

impl Window {
    /// Two seconds before it for those that last, one for others.
    pub(crate) fn of(measured: Duration) -> Self {
        let lasts = measured >= Duration::from_secs(5);
        Self {
            warm_up: Duration::from_secs(if lasts { 2 } else { 1 }),
            measured,
        }
    }
}

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figures {
    pub(crate) connections: usize,
    /// Arrivals a second of an open loop; none for a closed one.
    pub(crate) arrivals: Option<f64>,
    pub(crate) seconds: f64,
    /// Answers that count: new sales, or proofs.
    pub(crate) answered: u64,
    pub(crate) per_second: f64,
    pub(crate) retries: u64,
    /// Answers that there was no room; their requests were sent again.
    pub(crate) refused: u64,
    /// Connections that broke; their requests were sent again.
    pub(crate) broken: u64,
    pub(crate) latency: Latency,
    /// CPU microseconds for each of them.
    pub(crate) cost: Cost,
    pub(crate) memory: Memory,
}

/// Latencies, milliseconds.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
    /// Points of the curve: the share of answers that took longer, and the latency.
    pub(crate) curve: Vec<(f64, f64)>,
}

/// What all connections write into.
struct Tally {
    from: Instant,
    until: Instant,
    counts: Mutex<Counts>,
}

struct Counts {
    answered: u64,
    retries: u64,
    refused: u64,
    broken: u64,
    latency: Histogram<u64>,
}

/// Puts the server under load until the window is over and every request is answered; gives the callers
/// back.
///
/// # Errors
/// A wrong answer, or a server that is gone.
pub(crate) async fn run<C: Caller>(
    address: SocketAddr,
    watched: Watched,
    callers: Vec<C>,
    pace: Pace,
    window: Window,
) -> anyhow::Result<(Figures, Vec<C>)> {
    let connections = callers.len();
    let mut open = Vec::with_capacity(connections);
    for caller in callers {
        open.push((caller, Connection::open(address).await?));
    }
    let tally = Arc::new(Tally::new(window)?);
    let (from, until) = (tally.from, tally.until);
    let arrivals = match pace {
        Pace::Closed => None,
        Pace::Open(rate) => Some(Arrivals::start(rate, until.into_std())),
    };
    let mut running = JoinSet::new();
    for (caller, connection) in open {
        running.spawn(work(caller, connection, tally.clone(), arrivals.clone()));
    }
    let usage = async {
        sleep_until(from).await;
        let before = Snapshot::take(&watched);
        sleep_until(until).await;
        anyhow::Ok((before, Snapshot::take(&watched), Memory::take(&watched)))
    };
    let ended = async {
        let mut callers = Vec::with_capacity(connections);
        while let Some(caller) = running.join_next().await {
            callers.push(caller.context("a connection's task ended")??);
        }
        anyhow::Ok(callers)
    };
    let ((before, after, memory), callers) = tokio::try_join!(usage, ended)?;
    let counts = tally.counts();
    let seconds = window.measured.as_secs_f64();
    let figures = Figures {
        connections,
        arrivals: match pace {
            Pace::Closed => None,
            Pace::Open(rate) => Some(rate),
        },
        seconds,
        answered: counts.answered,
        per_second: counts.answered as f64 / seconds,
        retries: counts.retries,
        refused: counts.refused,
        broken: counts.broken,
        latency: Latency::of(&counts.latency),
        cost: after.cost_since(&before, counts.answered),
        memory,
    };
    drop(counts);
    Ok((figures, callers))
}

impl Tally {
    fn new(window: Window) -> anyhow::Result<Self> {
        let from = Instant::now() + window.warm_up;
        Ok(Self {
            from,
            until: from + window.measured,
            counts: Mutex::new(Counts {
                answered: 0,
                retries: 0,
                refused: 0,
                broken: 0,
                latency: Histogram::new_with_max(LONGEST, 3).context("a histogram")?,
            }),
        })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection, until its time is over.
async fn work<C: Caller>(
    mut caller: C,
    mut connection: Connection,
    tally: Arc<Tally>,
    arrivals: Option<Arc<Arrivals>>,
) -> anyhow::Result<C> {
    loop {
        let due = match &arrivals {
            Some(arrivals) => match arrivals.next().await {
                Some(due) => Instant::from_std(due),
                None => return Ok(caller),
            },
            None => Instant::now(),
        };
        if arrivals.is_none() && due >= tally.until {
            return Ok(caller);
        }
        caller.prepare();
        let verdict = settle(&mut caller, &mut connection, &tally).await?;
        // an arrival belongs to the time it was due at, however late its answer came
        let now = Instant::now();
        let at = if arrivals.is_some() { due } else { now };
        if at < tally.from || at >= tally.until {
            continue;
        }
        let mut counts = tally.counts();
        match verdict {
            Verdict::Counted => counts.answered += 1,
            Verdict::Uncounted | Verdict::Again => counts.retries += 1,
        }
        let micros = (now - due).as_micros().min(u128::from(LONGEST)) as u64;
        counts.latency.saturating_record(micros.max(1));
    }
}

/// Sends a request until it is answered for good, as a till does.
async fn settle<C: Caller>(
    caller: &mut C,
    connection: &mut Connection,
    tally: &Tally,
) -> anyhow::Result<Verdict> {
    for _ in 0..TRIES {
        match connection.exchange(caller.request()).await {
            Ok(answer) => match caller.judge(answer.status, connection.body(&answer))? {
                Verdict::Again => {
                    tally.counts().refused += 1;
                    sleep(ROOM_PAUSE).await;
                }
                settled => return Ok(settled),
            },
            Err(_) => {
                tally.counts().broken += 1;
                connection.reopen().await.context("the server is gone")?;
            }
        }
    }
    bail!("a request was not answered for good in {TRIES} tries")
}

impl Latency {
    fn of(histogram: &Histogram<u64>) -> Self {
        let ms = |quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
        let curve = [
            0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9999,
        ];
        Self {
            p50: ms(0.5),
            p90: ms(0.9),
            p99: ms(0.99),
            p999: ms(0.999),
            max: histogram.max() as f64 / 1000.0,
            curve: curve.map(|share| (1.0 - share, ms(share))).to_vec(),
        }
    }
}
