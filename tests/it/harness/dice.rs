//! Chance that repeats.

use std::time::Duration;

use counterfoil::clock::Entropy;

/// Throws that repeat for a seed.
#[derive(Clone)]
pub(crate) struct Dice(Entropy);

impl Dice {
    /// The dice of one participant.
    pub(crate) fn new(seed: u64, participant: u64) -> Self {
        Self(Entropy::seeded(
            seed ^ participant.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        ))
    }

    /// A number below this one.
    pub(crate) fn below(&self, bound: usize) -> usize {
        let bound = u64::try_from(bound).expect("64 bits");
        usize::try_from(u64::from_le_bytes(self.0.bytes()) % bound).expect("below it")
    }

    /// One of these.
    pub(crate) fn pick<'a, T>(&self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    /// Another order.
    pub(crate) fn shuffle<T>(&self, list: &mut [T]) {
        for at in (1..list.len()).rev() {
            list.swap(at, self.below(at + 1));
        }
    }

    /// A time from `least` to twice that and more, milliseconds.
    pub(crate) fn time(&self, least: u64, most: u64) -> Duration {
        let span = usize::try_from(most - least).expect("a short time");
        let more = u64::try_from(self.below(span + 1)).expect("64 bits");
        Duration::from_millis(least + more)
    }
}
