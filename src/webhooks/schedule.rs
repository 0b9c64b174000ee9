//! When a delivery is tried again.

use std::time::Duration;

use crate::clock::Entropy;
use crate::limits;

/// The share of a pause that is added to it by chance: endpoints that came back together are not told of
/// everything at the same moment.
const JITTER_PERCENT: u64 = 10;

/// The pause after the try that follows `tried` earlier ones. An endpoint that asks for a longer one
/// (`Retry-After`) gets it. None when it is given up.
pub fn pause(tried: i32, asked: Option<Duration>, entropy: &Entropy) -> Option<Duration> {
    let tried = usize::try_from(tried).unwrap_or(0);
    let pause = *limits::WEBHOOK_PAUSES.get(tried)?;
    let ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
    let chance = u64::from(u16::from_be_bytes(entropy.bytes()));
    let jitter = ms / 100 * JITTER_PERCENT * chance / u64::from(u16::MAX);
    let pause = pause + Duration::from_millis(jitter);
    let asked = asked.unwrap_or_default().min(limits::WEBHOOK_RETRY_AFTER);
    Some(pause.max(asked))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_is_tried_for_more_than_75_hours_and_then_given_up() {
        let entropy = Entropy::seeded(1);
        let sum: Duration = limits::WEBHOOK_PAUSES.iter().sum();
        assert!(sum > Duration::from_secs(75 * 3600));
        for (tried, least) in limits::WEBHOOK_PAUSES.iter().enumerate() {
            for _ in 0..100 {
                let pause = pause(tried as i32, None, &entropy).unwrap();
                assert!(pause >= *least && pause <= *least * 11 / 10, "{pause:?}");
            }
        }
        let most = limits::WEBHOOK_PAUSES.len() as i32;
        assert_eq!(pause(most, None, &entropy), None);
        assert_eq!(pause(most, Some(Duration::from_secs(1)), &entropy), None);
    }

    #[test]
    fn who_asks_for_a_longer_pause_gets_it_within_a_day() {
        let entropy = Entropy::seeded(1);
        let hour = Duration::from_secs(3600);
        assert_eq!(pause(0, Some(hour), &entropy), Some(hour));
        assert!(pause(5, Some(hour), &entropy).unwrap() > hour);
        let day = limits::WEBHOOK_RETRY_AFTER;
        assert_eq!(pause(0, Some(day * 9), &entropy), Some(day));
    }
}
