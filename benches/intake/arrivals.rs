//! Arrivals by the clock: requests come when they come, whether or not the answers before them did. What
//! is late because nobody was free counts as late.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::draw::Draw;

/// Arrivals that are due and not taken yet, oldest first.
#[derive(Debug)]
pub(crate) struct Arrivals {
    due: Mutex<VecDeque<Instant>>,
    /// One permit an arrival, and endless ones after the last.
    taken: Semaphore,
}

impl Arrivals {
    /// A Poisson process of `rate` arrivals a second until `until`.
    ///
    /// A thread of its own keeps the time: the runtime's timers only know whole milliseconds.
    pub(crate) fn start(rate: f64, until: Instant) -> Arc<Self> {
        let arrivals = Arc::new(Self {
            due: Mutex::new(VecDeque::new()),
            taken: Semaphore::new(0),
        });
        let clock = arrivals.clone();
        thread::spawn(move || clock.run(rate, until));
        arrivals
    }

    fn run(&self, rate: f64, until: Instant) {
        let mut draw = Draw::new(0xa22);
        let mut next = Instant::now();
        while next < until {
            let now = Instant::now();
            if next > now {
                thread::sleep(next - now);
            }
            let now = Instant::now();
            let mut arrived = 0;
            {
                let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
                while next <= now {
                    due.push_back(next);
                    arrived += 1;
                    next += Duration::from_secs_f64(-draw.fraction().ln() / rate);
                }
            }
            self.taken.add_permits(arrived);
        }
        self.taken.close();
    }

    /// Waits for the next arrival, and says when it was due; none after the last.
    pub(crate) async fn next(&self) -> Option<Instant> {
        if let Ok(permit) = self.taken.acquire().await {
            permit.forget();
        }
        // after the last, what nobody has taken yet
        self.due
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front()
    }
}
