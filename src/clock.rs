//! Time and randomness, passed in: nothing else in the project asks the machine for either, so that a
//! test can set both.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use time::OffsetDateTime;
use uuid::Uuid;

/// Wall-clock time, UTC, in whole milliseconds.
#[derive(Clone, Debug)]
pub struct Clock(Option<Arc<AtomicI64>>);

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self(None)
    }

    /// A clock that stands still until it is moved.
    pub fn manual(start: OffsetDateTime) -> Self {
        Self(Some(Arc::new(AtomicI64::new(unix_ms(start)))))
    }

    /// Moves a manual clock forward; the machine's cannot be moved.
    pub fn advance(&self, by: Duration) {
        if let Some(ms) = &self.0 {
            let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
            ms.fetch_add(by, Ordering::SeqCst);
        }
    }

    /// The time now.
    pub fn now(&self) -> OffsetDateTime {
        let ms = match &self.0 {
            Some(ms) => ms.load(Ordering::SeqCst),
            #[expect(
                clippy::disallowed_methods,
                reason = "the one place that asks the machine"
            )]
            None => unix_ms(OffsetDateTime::now_utc()),
        };
        from_unix_ms(ms)
    }

    /// How long ago a time is; none at all where it is ahead.
    pub fn since(&self, then: OffsetDateTime) -> Duration {
        Duration::try_from(self.now() - then).unwrap_or_default()
    }

    /// Time since some moment, which only goes forward whatever is done to the machine's clock: for
    /// measuring how long ago something was.
    pub fn elapsed(&self) -> Duration {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        match &self.0 {
            Some(ms) => Duration::from_millis(ms.load(Ordering::SeqCst).try_into().unwrap_or(0)),
            None => START.elapsed(),
        }
    }
}

/// Milliseconds since 1970 UTC, the unit of the formats.
pub fn unix_ms(time: OffsetDateTime) -> i64 {
    time.unix_timestamp() * 1000 + i64::from(time.millisecond())
}

/// The time at `ms` milliseconds since 1970 UTC; the epoch for what no calendar holds.
pub fn from_unix_ms(ms: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// RFC 3339 in UTC with milliseconds and `Z`, as every time in an answer is written.
pub fn rfc3339_ms(time: OffsetDateTime) -> String {
    let t = time.to_offset(time::UtcOffset::UTC);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        t.year(),
        u8::from(t.month()),
        t.day(),
        t.hour(),
        t.minute(),
        t.second(),
        t.millisecond()
    )
}

/// A source of random bytes fit for secrets, or a seeded one for tests and demonstrations.
#[derive(Clone, Debug)]
pub struct Entropy(Option<Arc<Mutex<StdRng>>>);

impl Entropy {
    /// The operating system's generator.
    pub fn system() -> Self {
        Self(None)
    }

    /// The same bytes for the same seed, never for secrets.
    pub fn seeded(seed: u64) -> Self {
        Self(Some(Arc::new(Mutex::new(StdRng::seed_from_u64(seed)))))
    }

    /// Random bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        match &self.0 {
            Some(rng) => rng
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .fill_bytes(&mut bytes),
            #[expect(
                clippy::disallowed_methods,
                reason = "the one place that asks the machine"
            )]
            None => rand::rng().fill_bytes(&mut bytes),
        }
        bytes
    }

    /// A version 7 UUID (RFC 9562): 48 bits of milliseconds, then random bits.
    pub fn uuid_v7(&self, clock: &Clock) -> Uuid {
        let ms = u64::try_from(unix_ms(clock.now())).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(ms, &self.bytes()).into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_round_trip_through_milliseconds() {
        for ms in [0, 1, 999, 1_291_190_700_123, -1, -86_400_001] {
            assert_eq!(unix_ms(from_unix_ms(ms)), ms);
        }
        assert_eq!(
            rfc3339_ms(from_unix_ms(1_291_190_700_123)),
            "2010-12-01T08:05:00.123Z"
        );
    }

    #[test]
    fn ids_made_later_sort_later() {
        let clock = Clock::manual(from_unix_ms(1_700_000_000_000));
        let entropy = Entropy::seeded(1);
        let first = entropy.uuid_v7(&clock);
        clock.advance(Duration::from_millis(1));
        assert!(first < entropy.uuid_v7(&clock));
        assert_eq!(first.get_version_num(), 7);
    }
}
