//! What a version of a programme says, as the database and the award of a sale read it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::points::{DECIMALS, Points};
use crate::money::Currency;

/// The terms. Stored as they are written here; points in ten-thousandths.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Decimals that earned points have: what a sale earns is rounded up to them, once.
    pub decimals: usize,
    /// What is earned, by currency.
    pub earn: BTreeMap<String, Earn>,
    /// For a member's first purchase.
    pub first_purchase_bonus: i64,
    /// What sales of a member earn in a day of UTC at most, without that bonus.
    pub daily_limit: Option<i64>,
    /// In rising order.
    pub tiers: Vec<Tier>,
    /// When a tier is lost.
    pub tier_drop: TierDrop,
    /// Days until earned points can be spent.
    pub pending_days: i32,
    /// Days until they are lost.
    pub expiry_days: Option<i32>,
    /// How they are spent.
    pub redeem: Redeem,
}

/// What is earned in a currency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Earn {
    /// Points for one unit of it, a decimal.
    pub rate: String,
    /// A smaller sale earns nothing. In minor units.
    pub minimum_minor: i64,
    /// Decimals of the currency.
    pub minor_digits: usize,
}

/// A tier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tier {
    /// What people call it.
    pub name: String,
    /// Points earned in twelve months that it begins with.
    pub from: i64,
    /// What is earned in it for each point that would be earned without, a decimal.
    pub multiplier: String,
}

/// When a tier is lost whose points are no longer within twelve months.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TierDrop {
    /// As soon as they are not.
    AtOnce,
    /// Twelve months after the day on which it was last reached.
    AtPeriodEnd,
}

/// How points are spent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redeem {
    /// The fewest at once.
    pub minimum: i64,
    /// The most at once.
    pub maximum: Option<i64>,
    /// What a point is worth in a currency, a decimal of its units.
    pub value: BTreeMap<String, String>,
}

impl Terms {
    /// The points that a sale of this amount and these terms alone determine: amount × rate, rounded to
    /// the programme's decimals once, towards positive infinity (CEILING).
    pub fn base(&self, amount_minor: i64, currency: Currency) -> Points {
        let Some(earn) = self.earn.get(currency.code()) else {
            return Points(0);
        };
        let (Ok(amount), Some((rate, rate_digits))) =
            (u128::try_from(amount_minor), read(&earn.rate))
        else {
            return Points(0);
        };
        if amount_minor < earn.minimum_minor {
            return Points(0);
        }
        let decimals = self.decimals.min(DECIMALS);
        // at most 10^15 × 10^18 × 10^4
        let steps =
            (amount * rate * ten_to(decimals)).div_ceil(ten_to(rate_digits + earn.minor_digits));
        let units = steps.saturating_mul(ten_to(DECIMALS - decimals));
        Points(i64::try_from(units).map_or(Points::MOST.0, |units| units.min(Points::MOST.0)))
    }

    /// What points are worth in a currency, in minor units, rounded down (FLOOR); none where they are worth
    /// nothing in it.
    pub fn value_minor(&self, points: Points, currency: Currency) -> Option<i64> {
        let (value, digits) = read(self.redeem.value.get(currency.code())?)?;
        let points = u128::try_from(points.0).ok()?;
        // at most 10^13 × 10^18 × 10^4
        let minor = points * value * ten_to(currency.decimals()) / ten_to(digits + DECIMALS);
        i64::try_from(minor).ok()
    }

    /// The tier that begins with so many points.
    pub fn tier(&self, from: i64) -> Option<&Tier> {
        self.tiers.iter().find(|tier| tier.from == from)
    }
}

/// A canonical decimal as an integer and how many of its digits stand behind the point.
fn read(decimal: &str) -> Option<(u128, usize)> {
    let (whole, fraction) = decimal.split_once('.').unwrap_or((decimal, ""));
    let digits = format!("{whole}{fraction}").parse().ok()?;
    Some((digits, fraction.len()))
}

/// 10^n for the small n of decimals.
fn ten_to(n: usize) -> u128 {
    (0..n).fold(1, |product: u128, _| product.saturating_mul(10))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(rate: &str, minimum_minor: i64, decimals: usize) -> Terms {
        let earn = |minor_digits| Earn {
            rate: rate.to_owned(),
            minimum_minor,
            minor_digits,
        };
        Terms {
            decimals,
            earn: [("INR".to_owned(), earn(2)), ("JPY".to_owned(), earn(0))].into(),
            first_purchase_bonus: 0,
            daily_limit: None,
            tiers: Vec::new(),
            tier_drop: TierDrop::AtOnce,
            pending_days: 0,
            expiry_days: None,
            redeem: Redeem {
                value: [("INR".to_owned(), "0.25".to_owned())].into(),
                ..Redeem::default()
            },
        }
    }

    #[test]
    fn what_a_sale_earns_is_rounded_up_once() {
        let check = |rate, minimum, decimals, code, minor, expected: &str| {
            let currency = Currency::from_code(code).unwrap();
            let found = terms(rate, minimum, decimals).base(minor, currency);
            assert_eq!(found.to_string(), expected, "{rate} {minor} {code}");
        };
        // 1,500.75 × 0.01 = 15.0075
        check("0.01", 0, 0, "INR", 150_075, "16");
        check("0.01", 0, 2, "INR", 150_075, "15.01");
        check("0.01", 0, 4, "INR", 150_075, "15.0075");
        check("0.01", 0, 0, "INR", 150_000, "15");
        check("0.01", 0, 0, "INR", 1, "1");
        check("0.01", 0, 0, "INR", 0, "0");
        check("0.01", 100, 0, "INR", 99, "0");
        check("0.01", 100, 0, "INR", 100, "1");
        check("1.5", 0, 0, "JPY", 3, "5");
        check("1", 0, 0, "USD", 100, "0");
        check(
            "999999999999.999999",
            0,
            4,
            "INR",
            1_000_000_000_000_000,
            "1000000000",
        );
    }

    #[test]
    fn what_points_are_worth_is_rounded_down() {
        let inr = Currency::from_code("INR").unwrap();
        let terms = terms("1", 0, 0);
        assert_eq!(terms.value_minor(Points(10_000), inr), Some(25));
        assert_eq!(terms.value_minor(Points(10_399), inr), Some(25));
        assert_eq!(terms.value_minor(Points(10_400), inr), Some(26));
        assert_eq!(terms.value_minor(Points(-1), inr), None);
        let usd = Currency::from_code("USD").unwrap();
        assert_eq!(terms.value_minor(Points(10_000), usd), None);
    }
}
