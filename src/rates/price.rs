//! The price of one ETH as an exact decimal, and amounts in wei by it.

use alloy::primitives::U256;

/// Decimals that a price has at most.
const DECIMALS: usize = 18;
/// Digits before its point.
const INTEGER_DIGITS: usize = 15;

/// A price of 1 ETH in units of a currency, above zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Price(
    /// In 10^-18 units: at most 10^33.
    u128,
);

impl Price {
    /// Reads a JSON number, or a decimal, by its own text: also one with an exponent.
    pub fn parse(text: &str) -> Option<Self> {
        let (digits, exponent) = match text.split_once(['e', 'E']) {
            Some((digits, exponent)) => (digits, exponent.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let plain = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !plain(whole) || !plain(fraction) {
            return None;
        }
        if text.len() > 64 || exponent.unsigned_abs() > 64 {
            return None;
        }
        let digits = format!("{whole}{fraction}");
        // where the point stands from the left, moved by the exponent
        let point = i32::try_from(whole.len()).ok()? + exponent;
        let shift = point - i32::try_from(digits.len()).ok()? + i32::try_from(DECIMALS).ok()?;
        let significant = digits.trim_start_matches('0');
        let units = if shift >= 0 {
            format!("{significant}{}", "0".repeat(usize::try_from(shift).ok()?))
        } else {
            // digits that no price has are refused, unless they are zeros
            let cut = significant
                .len()
                .checked_sub(usize::try_from(-shift).ok()?)?;
            let (kept, lost) = significant.split_at(cut);
            lost.bytes().all(|b| b == b'0').then(|| kept.to_owned())?
        };
        if units.len() > DECIMALS + INTEGER_DIGITS {
            return None;
        }
        units.parse().ok().filter(|units| *units > 0).map(Self)
    }

    /// What an amount of so many minor units is in wei: amount ÷ price × 10^18, rounded to the nearest wei,
    /// and where two are as near to the even one (HALF_EVEN). All in integers of 256 bits: the amount has at
    /// most 10^15 minor units, so no product has more than 52 digits.
    pub fn wei(self, amount_minor: u64, minor_digits: usize) -> U256 {
        let ten = U256::from(10);
        let dividend = U256::from(amount_minor) * ten.pow(U256::from(2 * DECIMALS));
        let divisor = U256::from(self.0) * ten.pow(U256::from(minor_digits));
        let (whole, rest) = (dividend / divisor, dividend % divisor);
        let twice = rest * U256::from(2);
        let up = twice > divisor || (twice == divisor && whole.bit(0));
        whole + U256::from(u8::from(up))
    }

    /// Whether two prices differ by more than so many per cent of the other.
    pub fn differs_by_more(self, other: Self, percent: u8) -> bool {
        self.0.abs_diff(other.0) * 100 > other.0 * u128::from(percent)
    }
}

impl std::fmt::Display for Price {
    /// Without zeros at its end: `250000.5`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digits = format!("{:0>width$}", self.0, width = DECIMALS + 1);
        let (whole, fraction) = digits.split_at(digits.len() - DECIMALS);
        match fraction.trim_end_matches('0') {
            "" => f.write_str(whole),
            fraction => write!(f, "{whole}.{fraction}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_is_read_by_its_own_text() {
        for (text, written) in [
            ("250000", Some("250000")),
            ("250000.50", Some("250000.5")),
            ("2.5e5", Some("250000")),
            ("25E-1", Some("2.5")),
            ("0.000000000000000001", Some("0.000000000000000001")),
            ("1e-18", Some("0.000000000000000001")),
            ("999999999999999", Some("999999999999999")),
            ("3123.4500000000000000000000", Some("3123.45")),
            ("0.1e1", Some("1")),
            ("0", None),
            ("0.0", None),
            ("-1", None),
            ("1e-19", None),
            ("1000000000000000", None),
            ("1e99999999999", None),
            ("1e65", None),
            ("", None),
            (".5", None),
            ("1.2.3", None),
            ("\"1\"", None),
            ("null", None),
            ("0x10", None),
        ] {
            let found = Price::parse(text).map(|price| price.to_string());
            assert_eq!(found.as_deref(), written, "{text}");
        }
    }

    #[test]
    fn wei_is_what_one_reckons_by_hand() {
        for (amount, digits, price, wei) in [
            // 1,500.75 ÷ 250,000 = 0.006003
            (150_075, 2, "250000", "6003000000000000"),
            // 1 ÷ 3 = 0.333…
            (1, 0, "3", "333333333333333333"),
            (2, 0, "3", "666666666666666667"),
            // half a wei goes to the even one: 0.5 to 0, 1.5 to 2, 2.5 to 2
            (1, 0, "2000000000000000000e-18", "500000000000000000"),
            (5, 3, "1e15", ""),
            (1_234, 3, "0.1234", "10000000000000000000"),
            (0, 2, "250000", "0"),
            // the largest amount at the smallest price
            (
                1_000_000_000_000_000,
                0,
                "1e-18",
                "1000000000000000000000000000000000000000000000000000",
            ),
        ] {
            let Some(price) = Price::parse(price) else {
                assert_eq!(wei, "", "{price} is no price");
                continue;
            };
            assert_eq!(
                price.wei(amount, digits).to_string(),
                wei,
                "{amount} {price}"
            );
        }
        let half = |amount| {
            Price::parse("200000000000000")
                .unwrap()
                .wei(amount, 4)
                .to_string()
        };
        // 0.0001 ÷ 2×10^14 = 0.5 wei
        assert_eq!([1, 3, 5, 7].map(half), ["0", "2", "2", "4"]);
    }

    #[test]
    fn a_jump_is_measured_in_per_cent_of_what_was_believed() {
        let price = |text| Price::parse(text).unwrap();
        let believed = price("100");
        for (new, jumps) in [
            ("130", false),
            ("130.01", true),
            ("70", false),
            ("69.99", true),
        ] {
            assert_eq!(price(new).differs_by_more(believed, 30), jumps, "{new}");
        }
    }
}
