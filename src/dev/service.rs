//! Adopting, starting, waiting for and stopping a service, whichever it is.

use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use super::DevError;
use super::process::{Identity, Process, read_pid, tail};

/// How often a service is looked at while it starts or stops.
const POLL: Duration = Duration::from_millis(20);
/// A port may be taken between choosing and using it, and a killed Postgres' last sessions may
/// hold its memory for a moment.
const ATTEMPTS: u32 = 4;
/// The pause before the next attempt.
const PAUSE: Duration = Duration::from_millis(500);
/// How long a service may take to end.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// What differs between the services.
pub(super) trait Service {
    /// Its name for people.
    const NAME: &'static str;
    /// What to try when it does not start.
    const ADVICE: &'static str;
    /// The address and whatever else its users need.
    type Endpoint;

    /// What its process is known by.
    fn identity(&self) -> Identity;
    /// The file whose first line is its pid.
    fn pid_file(&self) -> &Path;
    /// Where it writes.
    fn log(&self) -> &Path;
    /// How long it may take until it is ready.
    fn start_limit(&self) -> Duration;
    /// Starts its process.
    fn launch(&self) -> Result<Process, DevError>;
    /// Its endpoint, once it is ready; looks at files alone, so it neither waits nor fails.
    fn endpoint(&self, pid: i32) -> Option<Self::Endpoint>;
}

/// A service that is ready.
#[derive(Debug)]
pub(super) struct Running<E> {
    pub(super) process: Process,
    pub(super) endpoint: E,
}

enum Wait<E> {
    Ready(E),
    Ended,
    TimedOut,
}

/// The service's process, if an earlier run left it behind.
pub(super) fn find<S: Service>(service: &S) -> Option<Process> {
    Process::recognise(read_pid(service.pid_file())?, &service.identity())
}

/// Adopts the service if it runs, else starts it, and waits until it is ready.
pub(super) async fn adopt_or_start<S: Service>(
    service: &S,
) -> Result<Running<S::Endpoint>, DevError> {
    let mut attempts = 0;
    loop {
        let mut process = match find(service) {
            Some(process) => process,
            None => {
                attempts += 1;
                service.launch()?
            }
        };
        let pid = process.pid();
        match wait(service, &mut process).await {
            Wait::Ready(endpoint) => {
                let adopted = process.is_adopted();
                tracing::debug!(service = S::NAME, pid, adopted, "service ready");
                return Ok(Running { process, endpoint });
            }
            // an adopted one that ends was already on its way out
            Wait::Ended if process.is_adopted() || attempts < ATTEMPTS => sleep(PAUSE).await,
            Wait::Ended => {
                return Err(DevError::Exited {
                    service: S::NAME,
                    advice: S::ADVICE,
                    log: service.log().to_owned(),
                    tail: tail(service.log()),
                });
            }
            Wait::TimedOut => {
                return Err(DevError::NotReady {
                    service: S::NAME,
                    pid,
                    seconds: service.start_limit().as_secs(),
                    log: service.log().to_owned(),
                    tail: tail(service.log()),
                });
            }
        }
    }
}

/// Sends `signal` and waits until the process has ended.
pub(super) async fn stop(
    name: &'static str,
    process: &mut Process,
    signal: Signal,
) -> Result<(), DevError> {
    process.signal(signal);
    let deadline = Instant::now() + STOP_LIMIT;
    while !process.has_ended() {
        if Instant::now() >= deadline {
            return Err(DevError::WillNotEnd {
                service: name,
                pid: process.pid(),
                seconds: STOP_LIMIT.as_secs(),
            });
        }
        sleep(POLL).await;
    }
    Ok(())
}

async fn wait<S: Service>(service: &S, process: &mut Process) -> Wait<S::Endpoint> {
    let deadline = Instant::now() + service.start_limit();
    loop {
        if process.has_ended() {
            return Wait::Ended;
        }
        if let Some(endpoint) = service.endpoint(process.pid()) {
            return Wait::Ready(endpoint);
        }
        if Instant::now() >= deadline {
            return Wait::TimedOut;
        }
        sleep(POLL).await;
    }
}
