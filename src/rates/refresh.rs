//! Keeps rates warm: a task of its own asks the feed, so that no request ever does.
//!
//! What the feed says is believed if it is not older than it should be, and not far from what was believed
//! before; what is far away is believed when the next question is answered with nearly the same.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::exchange::{Exchange, Live, Table};
use super::feed::{Feed, FeedError, Quoted};
use crate::clock::Clock;
use crate::limits;
use crate::money::Currency;
use crate::telemetry;

/// A price that differs by more from the one believed last is not believed at once. Per cent.
const JUMP_PERCENT: u8 = 30;
/// Two looks at a price agree when they differ by no more. Per cent.
const AGREE_PERCENT: u8 = 5;
/// How much ahead of ours the feed's clock may be.
const AHEAD: Duration = Duration::from_secs(60);
/// The pause after a failure; doubled after each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(2);

/// Asks a feed again and again; the only one who writes the rates that it keeps.
#[derive(Debug)]
pub struct Refresher {
    exchange: Exchange,
    feed: Feed,
    currencies: Vec<Currency>,
    clock: Clock,
    /// Prices that were far from those before, to be looked at again.
    doubted: BTreeMap<&'static str, Quoted>,
    failures: u32,
}

impl Refresher {
    /// One that keeps `exchange` warm in these currencies.
    pub fn new(exchange: Exchange, feed: Feed, currencies: Vec<Currency>, clock: Clock) -> Self {
        Self {
            exchange,
            feed,
            currencies,
            clock,
            doubted: BTreeMap::new(),
            failures: 0,
        }
    }

    /// Refreshes until `stop` is cancelled.
    pub async fn run(mut self, stop: CancellationToken) {
        while let Some(pause) = stop.run_until_cancelled(self.step()).await {
            if stop
                .run_until_cancelled(tokio::time::sleep(pause))
                .await
                .is_none()
            {
                return;
            }
        }
    }

    /// Asks once; how long to wait before the next time.
    pub async fn step(&mut self) -> Duration {
        let asked = self.feed.ask(&self.currencies).await;
        let pause = match asked {
            Ok(quoted) => {
                self.failures = 0;
                self.judge(&quoted);
                match self.doubted.is_empty() {
                    true => limits::RATE_REFRESH,
                    false => limits::RATE_SECOND_LOOK,
                }
            }
            Err(error) => self.failed(&error),
        };
        self.measure();
        pause
    }

    fn failed(&mut self, error: &FeedError) -> Duration {
        fail(error.class());
        if self.failures == 0 {
            tracing::warn!(error = error as &dyn std::error::Error, "no live rates");
        }
        self.failures = self.failures.saturating_add(1);
        let doubled = 2u32.saturating_pow(self.failures - 1);
        let pause = FIRST_PAUSE.saturating_mul(doubled).min(limits::RATE_AGE);
        match error {
            FeedError::Limited(asked) => asked
                .unwrap_or(limits::RATE_AGE)
                .clamp(pause, limits::RATE_PAUSE),
            _ => pause,
        }
    }

    fn judge(&mut self, quoted: &BTreeMap<&'static str, Quoted>) {
        let now = self.clock.now();
        let mut table = Table::clone(&self.exchange.table());
        for currency in &self.currencies {
            let code = currency.code();
            let Some(quoted) = quoted.get(code) else {
                fail("missing");
                continue;
            };
            if quoted.as_of > now + AHEAD || quoted.as_of < now - limits::RATE_FEED_AGE {
                fail("stale");
                continue;
            }
            let before = table.live.get(code).map(|live| live.price);
            let before = before.or_else(|| table.emergency.get(code).map(|fixed| fixed.price));
            let jumps = before.is_some_and(|one| quoted.price.differs_by_more(one, JUMP_PERCENT));
            let first_look = self.doubted.remove(code);
            // a feed that says the same thing again has not looked again
            let same_look = first_look.filter(|one| quoted.as_of <= one.as_of);
            let agrees = first_look.is_some_and(|one| {
                same_look.is_none() && !quoted.price.differs_by_more(one.price, AGREE_PERCENT)
            });
            if jumps && !agrees {
                tracing::warn!(currency = code, price = %quoted.price, "a rate jumps; it is looked at again");
                fail("jump");
                self.doubted.insert(code, same_look.unwrap_or(*quoted));
                continue;
            }
            let live = Live {
                price: quoted.price,
                as_of: quoted.as_of,
                fetched_at: now,
            };
            table.live.insert(code, live);
        }
        self.exchange.replace(table);
    }

    /// How old the rates are that sales are given now.
    fn measure(&self) {
        let (table, now) = (self.exchange.table(), self.clock.now());
        for currency in &self.currencies {
            let live = table.live.get(currency.code());
            let age = live.map_or(f64::INFINITY, |live| {
                (now - live.fetched_at).as_seconds_f64()
            });
            metrics::gauge!(telemetry::RATE_AGE_SECONDS, "currency" => currency.code()).set(age);
        }
    }
}

fn fail(class: &'static str) {
    metrics::counter!(telemetry::RATE_FAILURES, "class" => class).increment(1);
}
