//! The connection to Redis and its circuit breaker, which are one thing: there is a connection, and
//! calls go through it, or there is none, and calls come back at once.
//!
//! A connection is given up after [`TIME_OUTS`] calls in a row without an answer, or at once when it
//! broke or the server may not be written to. From then on a task in the background makes the next: it
//! waits, connects and probes with a write, so that no caller is the one who tries. A connection that is
//! given up soon after it was made doubles the wait, so that a server that answers probes and nothing
//! else costs few calls their time.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use redis::{ErrorKind, FromRedisValue, Pipeline, RedisError, ServerErrorKind};
use tokio::time::{Instant, sleep, timeout};

use super::address::{Connection, Server};
use crate::limits;
use crate::telemetry;

/// Calls in a row without an answer that end a connection.
const TIME_OUTS: u32 = 3;
/// How long connecting and the probe may take.
const CONNECT_TIME: Duration = Duration::from_secs(1);
/// The pause before another connection is made, at first and at most.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// A connection that held for this long was a good one.
const STEADY: Duration = Duration::from_secs(10);

/// What came of a call.
pub(super) enum Reply<T> {
    Value(T),
    /// The server would not do it, or what it gave is not what was asked for.
    Refused,
    Failed,
    TimedOut,
    /// There is no connection.
    Down,
}

/// The one way to the server.
#[derive(Clone)]
pub(super) struct Link(Arc<Shared>);

struct Shared {
    server: Server,
    state: Mutex<State>,
}

enum State {
    /// Nobody has asked for anything yet.
    Unused,
    /// The breaker is open: a task makes the next connection.
    Down,
    Up(Arc<Live>),
}

/// A connection that is used.
struct Live {
    connection: Connection,
    since: Instant,
    /// What was waited before it was made.
    pause: Duration,
    time_outs: AtomicU32,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

impl Link {
    pub(super) fn new(server: Server) -> Self {
        let state = Mutex::new(State::Unused);
        Self(Arc::new(Shared { server, state }))
    }

    /// Has the first connection made, if nobody did before.
    pub(super) fn wake(&self) {
        let _ = self.live();
    }

    /// Sends commands together and waits for their answers, for [`limits::CACHE_TIME`].
    pub(super) async fn run<T: FromRedisValue>(&self, pipe: &Pipeline) -> Reply<T> {
        let Some(live) = self.live() else {
            return Reply::Down;
        };
        let mut connection = live.connection.clone();
        match timeout(limits::CACHE_TIME, pipe.query_async(&mut connection)).await {
            Ok(Ok(value)) => {
                live.time_outs.store(0, Ordering::Relaxed);
                Reply::Value(value)
            }
            Ok(Err(error)) if is_refusal(&error) => {
                live.time_outs.store(0, Ordering::Relaxed);
                tracing::debug!(error = %error, "Redis refused");
                Reply::Refused
            }
            Ok(Err(error)) => {
                self.give_up(&live, &reason(&error));
                Reply::Failed
            }
            Err(_) => {
                if live.time_outs.fetch_add(1, Ordering::Relaxed) + 1 >= TIME_OUTS {
                    self.give_up(&live, "no answer in time");
                }
                Reply::TimedOut
            }
        }
    }

    fn live(&self) -> Option<Arc<Live>> {
        let mut state = self.0.state();
        match &*state {
            State::Up(live) => Some(live.clone()),
            State::Down => None,
            State::Unused => {
                *state = State::Down;
                self.make_another(Duration::ZERO);
                None
            }
        }
    }

    /// Ends a connection, unless somebody did already.
    fn give_up(&self, live: &Arc<Live>, reason: &str) {
        let mut state = self.0.state();
        if !matches!(&*state, State::Up(current) if Arc::ptr_eq(current, live)) {
            return;
        }
        *state = State::Down;
        let pause = next_pause(live.pause, live.since.elapsed());
        tracing::warn!(reason, "Redis is done without until it answers again");
        metrics::gauge!(telemetry::CACHE_UP).set(0);
        self.make_another(pause);
    }

    fn make_another(&self, pause: Duration) {
        tokio::spawn(connect(Arc::downgrade(&self.0), pause));
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Connects until it is done, or nobody has the link any more.
async fn connect(link: Weak<Shared>, mut pause: Duration) {
    let mut told = false;
    loop {
        sleep(pause).await;
        let Some(shared) = link.upgrade() else { return };
        match timeout(CONNECT_TIME, probed(&shared.server)).await {
            Ok(Ok(connection)) => {
                *shared.state() = State::Up(Arc::new(Live {
                    connection,
                    since: Instant::now(),
                    pause,
                    time_outs: AtomicU32::new(0),
                }));
                tracing::info!("Redis is used");
                metrics::gauge!(telemetry::CACHE_UP).set(1);
                return;
            }
            failed => {
                let reason = match failed {
                    Ok(Err(error)) => reason(&error),
                    _ => "no answer in time".to_owned(),
                };
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(reason, "Redis cannot be used yet");
                }
            }
        }
        pause = longer(pause);
    }
}

/// A connection through which a write went, or was refused for want of room.
async fn probed(server: &Server) -> Result<Connection, RedisError> {
    let mut connection = server.connect(CONNECT_TIME).await?;
    let mut probe = redis::cmd("SET");
    probe.arg("cf:probe").arg("").arg("PX").arg(1);
    match probe.query_async::<()>(&mut connection).await {
        Err(error) if error.code() == Some("OOM") => Ok(connection),
        probed => probed.map(|()| connection),
    }
}

fn longer(pause: Duration) -> Duration {
    (pause * 2).clamp(PAUSE, PAUSE_MAX)
}

/// The pause after a connection that was made after `pause` and `held` for so long.
fn next_pause(pause: Duration, held: Duration) -> Duration {
    if held >= STEADY { PAUSE } else { longer(pause) }
}

/// Whether the server is well and only would not do this.
fn is_refusal(error: &RedisError) -> bool {
    use ServerErrorKind::{BusyLoading, ClusterDown, MasterDown, ReadOnly};
    match error.kind() {
        ErrorKind::Server(BusyLoading | ClusterDown | MasterDown | ReadOnly) => false,
        ErrorKind::Server(_) | ErrorKind::Extension | ErrorKind::UnexpectedReturnType => true,
        _ => false,
    }
}

/// Why, without words of the server's own: only its code.
fn reason(error: &RedisError) -> String {
    match error.code() {
        Some(code) => format!("{} ({code})", error.category()),
        None => error.category().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_grows_until_a_connection_holds() {
        let mut pause = Duration::ZERO;
        let mut pauses = Vec::new();
        for _ in 0..8 {
            pause = next_pause(pause, Duration::from_secs(1));
            pauses.push(pause.as_millis());
        }
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(next_pause(pause, STEADY), PAUSE);
    }
}
