//! Points: exact decimals of at most four places, held as whole ten-thousandths. Never a float.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

use crate::limits;
use crate::money::{AmountError, canonical_decimal};

/// Decimals that points have at most.
pub const DECIMALS: usize = 4;
/// Units of one point.
const UNITS: i64 = 10_000;

/// An amount of points, below zero where it is taken away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(transparent)]
pub struct Points(
    /// In ten-thousandths of a point.
    pub i64,
);

impl Points {
    /// One point.
    pub const ONE: Self = Self(UNITS);
    /// The most that one sale earns and one request names.
    pub const MOST: Self = Self(limits::POINTS * UNITS);

    /// Reads a plain decimal of at most so many places.
    ///
    /// # Errors
    /// [`AmountError`] for what is none, is negative, or is more than [`Self::MOST`].
    pub fn parse(text: &str, decimals: usize) -> Result<Self, AmountError> {
        let canonical = canonical_decimal(text, 0)?;
        let (whole, fraction) = canonical.split_once('.').unwrap_or((&canonical, ""));
        if fraction.len() > decimals {
            return Err(AmountError::TooManyDecimals { allowed: decimals });
        }
        let digits = format!("{whole}{fraction:0<DECIMALS$}");
        let units = digits.parse().map_err(|_| AmountError::TooLarge)?;
        if units > Self::MOST.0 {
            return Err(AmountError::TooLarge);
        }
        Ok(Self(units))
    }

    /// The same with a minus sign allowed before it.
    ///
    /// # Errors
    /// As [`Self::parse`], but none of what is negative.
    pub fn parse_signed(text: &str, decimals: usize) -> Result<Self, AmountError> {
        match text.strip_prefix('-') {
            Some(rest) => Self::parse(rest, decimals).map(|Self(units)| Self(-units)),
            None => Self::parse(text, decimals),
        }
    }
}

impl fmt::Display for Points {
    /// Without zeros at its end: `15`, `15.5`, `-0.25`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let units = self.0.unsigned_abs();
        let (whole, fraction) = (units / UNITS.unsigned_abs(), units % UNITS.unsigned_abs());
        if fraction == 0 {
            return write!(f, "{sign}{whole}");
        }
        let fraction = format!("{fraction:0>DECIMALS$}");
        write!(f, "{sign}{whole}.{}", fraction.trim_end_matches('0'))
    }
}

impl Serialize for Points {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_read_exactly_and_written_in_one_form() {
        for (text, decimals, units, written) in [
            ("15", 0, 150_000, "15"),
            ("15.50", 1, 155_000, "15.5"),
            ("0.0001", 4, 1, "0.0001"),
            ("1000000000", 0, 10_000_000_000_000, "1000000000"),
            ("-0.25", 2, -2_500, "-0.25"),
            ("-0", 0, 0, "0"),
        ] {
            let points = Points::parse_signed(text, decimals).unwrap();
            assert_eq!(points, Points(units), "{text}");
            assert_eq!(points.to_string(), written);
        }
        for (text, decimals, error) in [
            ("15.5", 0, AmountError::TooManyDecimals { allowed: 0 }),
            ("0.00001", 4, AmountError::TooManyDecimals { allowed: 4 }),
            ("1000000000.0001", 4, AmountError::TooLarge),
            ("--1", 0, AmountError::Negative),
            ("1e3", 0, AmountError::Malformed),
        ] {
            assert_eq!(Points::parse_signed(text, decimals), Err(error), "{text}");
        }
        assert_eq!(Points::parse("-1", 0), Err(AmountError::Negative));
    }
}
