//! What is offered for a transaction: as much as the market asks, never above the ceiling, and more the
//! longer the oldest sale waits. Arithmetic on integers alone; nothing here reads a row, a chain or a
//! clock.

use std::time::Duration;

use crate::chain::{Fees, GasPrice};

/// What anchoring on a chain may cost, and how long it may wait to become cheaper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The most that is offered for a unit of gas, wei. While gas costs more nothing is signed.
    pub max_fee_per_gas: u128,
    /// The most that is spent in 24 hours, wei; none for no limit.
    pub budget_a_day: Option<u128>,
    /// How old the oldest sale that is not anchored may become while gas is dearer than usual; batches
    /// pile up into one call meanwhile. Zero takes every price under the ceiling at once.
    pub patience: Duration,
    /// Whether a transaction that waits is replaced at higher fees. Off for a chain without a public
    /// pool, which takes each nonce once.
    pub replace: bool,
    /// How long a transaction waits before it is replaced, while no sale is old.
    pub replace_after: Duration,
    /// The age of the oldest sale at which that time is half as long; at twice this age a third, and so
    /// on.
    pub urgent_after: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            max_fee_per_gas: 500 * GWEI,
            budget_a_day: None,
            patience: Duration::ZERO,
            replace: true,
            replace_after: Duration::from_secs(180),
            urgent_after: Duration::from_secs(600),
        }
    }
}

/// A gwei in wei.
pub const GWEI: u128 = 1_000_000_000;
/// The schedule grows no denser than this part of [`Policy::replace_after`].
const MOST_URGENT: u32 = 15;

/// What becomes of a transaction that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It is replaced at these caps.
    Raise(Fees),
    /// A replacement would have to offer more than the ceiling. The same bytes go on waiting.
    CannotBeRaised,
}

impl Policy {
    /// Caps for a new transaction; none while gas costs more than the ceiling.
    pub fn first_offer(&self, price: &GasPrice) -> Option<Fees> {
        let lowest = price.base_fee.saturating_add(price.tip);
        (lowest <= self.max_fee_per_gas).then(|| self.under_ceiling(price.asked()))
    }

    /// Caps for a replacement: both a tenth higher than before, rounded up, and what is asked now.
    pub fn next_offer(&self, before: &Fees, price: &GasPrice) -> Next {
        let asked = price.asked();
        let least = Fees {
            max_fee_per_gas: a_tenth_more(before.max_fee_per_gas),
            max_priority_fee_per_gas: a_tenth_more(before.max_priority_fee_per_gas),
        };
        let offer = self.under_ceiling(Fees {
            max_fee_per_gas: asked.max_fee_per_gas.max(least.max_fee_per_gas),
            max_priority_fee_per_gas: asked
                .max_priority_fee_per_gas
                .max(least.max_priority_fee_per_gas),
        });
        let raises = offer.max_fee_per_gas >= least.max_fee_per_gas
            && offer.max_priority_fee_per_gas >= least.max_priority_fee_per_gas
            // where both are the largest numbers there are
            && offer.max_fee_per_gas > before.max_fee_per_gas;
        if raises {
            Next::Raise(offer)
        } else {
            Next::CannotBeRaised
        }
    }

    /// How long an offer waits before it is raised, while the oldest sale is this old.
    pub fn replace_after(&self, oldest: Duration) -> Duration {
        let steps = match self.urgent_after.as_millis() {
            0 => MOST_URGENT,
            step => u32::try_from(oldest.as_millis() / step).unwrap_or(MOST_URGENT),
        };
        self.replace_after / steps.saturating_add(1).min(MOST_URGENT)
    }

    /// Whether it is worth to wait for cheaper gas, while the oldest sale is this old.
    pub fn waits_for_cheaper(&self, price: &GasPrice, oldest: Duration) -> bool {
        oldest < self.patience && price.base_fee > price.usual_base_fee
    }

    fn under_ceiling(&self, fees: Fees) -> Fees {
        let max_fee_per_gas = fees.max_fee_per_gas.min(self.max_fee_per_gas);
        Fees {
            max_fee_per_gas,
            // a tip above the whole makes a transaction that no node takes
            max_priority_fee_per_gas: fees.max_priority_fee_per_gas.min(max_fee_per_gas),
        }
    }
}

/// Gas that a call with so many roots takes at most, as measured with the contract's own tests.
pub fn call_gas(batches: u64) -> u64 {
    52_200 + 25_000 * batches.saturating_sub(1)
}

/// What a pool takes as a replacement: a tenth more, rounded up, and more where that is nothing.
fn a_tenth_more(wei: u128) -> u128 {
    wei.saturating_add(wei.div_ceil(10).max(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn price() -> impl Strategy<Value = GasPrice> {
        let wei = || prop_oneof![0..=1_000_u128, 0..=1_000 * GWEI, any::<u128>()];
        (wei(), wei(), wei()).prop_map(|(base_fee, usual_base_fee, tip)| GasPrice {
            base_fee,
            usual_base_fee,
            tip,
        })
    }

    fn ceiling() -> impl Strategy<Value = Policy> {
        prop_oneof![0..=2_000_u128, 0..=1_000 * GWEI, any::<u128>()].prop_map(|max_fee_per_gas| {
            Policy {
                max_fee_per_gas,
                ..Policy::default()
            }
        })
    }

    proptest! {
        #[test]
        fn no_offer_is_above_the_ceiling_or_below_what_is_asked(policy in ceiling(), price in price()) {
            match policy.first_offer(&price) {
                Some(fees) => {
                    prop_assert!(fees.max_fee_per_gas <= policy.max_fee_per_gas);
                    prop_assert!(fees.max_fee_per_gas >= price.base_fee.saturating_add(price.tip));
                    prop_assert_eq!(fees.max_priority_fee_per_gas, price.tip);
                }
                None => prop_assert!(price.base_fee.saturating_add(price.tip) > policy.max_fee_per_gas),
            }
        }

        #[test]
        fn a_replacement_raises_both_caps_by_a_tenth(policy in ceiling(), price in price(), later in price()) {
            let mut offer = policy.first_offer(&price);
            let mut offers = 0;
            while let Some(before) = offer {
                offer = match policy.next_offer(&before, &later) {
                    Next::Raise(after) => {
                        // geth's rule, in whole wei: at least 110/100 of each, and more
                        for (before, after) in [
                            (before.max_fee_per_gas, after.max_fee_per_gas),
                            (before.max_priority_fee_per_gas, after.max_priority_fee_per_gas),
                        ] {
                            prop_assert!(after > before && after - before >= before.div_ceil(10));
                        }
                        prop_assert!(after.max_fee_per_gas <= policy.max_fee_per_gas);
                        prop_assert!(after.max_priority_fee_per_gas <= after.max_fee_per_gas);
                        Some(after)
                    }
                    Next::CannotBeRaised => {
                        let least = a_tenth_more(before.max_fee_per_gas)
                            .max(a_tenth_more(before.max_priority_fee_per_gas));
                        let no_room = least > policy.max_fee_per_gas || least == u128::MAX;
                        prop_assert!(no_room, "there was room for {} under {}", least, policy.max_fee_per_gas);
                        None
                    }
                };
                offers += 1;
                prop_assert!(offers < 2_000, "it comes to an end");
            }
        }

        #[test]
        fn the_older_the_sale_the_sooner_it_is_raised(a in 0..=10_000_000_u64, b in 0..=10_000_000_u64) {
            let policy = Policy::default();
            let (young, old) = (a.min(b), a.max(b));
            let [young, old] = [young, old].map(|age| policy.replace_after(Duration::from_secs(age)));
            prop_assert!(old <= young && young <= policy.replace_after && !old.is_zero());
        }
    }

    #[test]
    fn the_schedule_has_the_steps_that_its_fields_say() {
        let policy = Policy::default();
        for (age, after) in [(0, 180), (599, 180), (600, 90), (1200, 60), (1_000_000, 12)] {
            let found = policy.replace_after(Duration::from_secs(age));
            assert_eq!(found, Duration::from_secs(after), "{age}");
        }
    }

    #[test]
    fn cheaper_gas_is_waited_for_until_the_patience_ends() {
        let policy = Policy {
            patience: Duration::from_secs(60),
            ..Policy::default()
        };
        let price = |base_fee| GasPrice {
            base_fee,
            usual_base_fee: 10,
            tip: 1,
        };
        for (base_fee, age, waits) in [
            (10, 0, false),
            (11, 0, true),
            (11, 59, true),
            (11, 60, false),
        ] {
            let found = policy.waits_for_cheaper(&price(base_fee), Duration::from_secs(age));
            assert_eq!(found, waits, "{base_fee} {age}");
        }
    }
}
