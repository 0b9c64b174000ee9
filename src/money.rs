//! Money: decimal strings outside, integer minor units inside, never a float.

use iso_currency::Currency as Iso;

use crate::limits;

/// A currency of ISO 4217 that has a minor unit, with its number of decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Currency(Iso);

impl Currency {
    /// The currency with this upper-case code; none for codes that are unknown or have no minor unit
    /// (precious metals, testing).
    pub fn from_code(code: &str) -> Option<Self> {
        let iso = Iso::from_code(code).filter(|iso| iso.code() == code)?;
        iso.exponent().map(|_| Self(iso))
    }

    /// The three letters.
    pub fn code(self) -> &'static str {
        self.0.code()
    }

    /// Decimals of its minor unit: 2 for INR, 0 for JPY, 3 for BHD.
    pub fn decimals(self) -> usize {
        usize::from(self.0.exponent().unwrap_or(0))
    }
}

/// Why a text is not an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// Signs, exponents, spaces, leading zeros, anything but digits and one point.
    #[error("not a plain decimal: digits, then at most one point and digits")]
    Malformed,
    /// A minus sign.
    #[error("negative")]
    Negative,
    /// More decimals than allowed.
    #[error("more than {allowed} decimals")]
    TooManyDecimals {
        /// How many there may be.
        allowed: usize,
    },
    /// Too large.
    #[error("too large")]
    TooLarge,
}

/// Reads a decimal string into minor units, exactly. Fewer decimals than the currency has are fine.
///
/// # Errors
/// [`AmountError`] for anything that is not a plain, non-negative decimal within [`limits::AMOUNT_MINOR`].
pub fn parse_minor(text: &str, currency: Currency) -> Result<i64, AmountError> {
    let (whole, fraction) = split(text)?;
    let decimals = currency.decimals();
    if fraction.len() > decimals {
        return Err(AmountError::TooManyDecimals { allowed: decimals });
    }
    let zeros = std::iter::repeat_n(b'0', decimals - fraction.len());
    let mut minor: i64 = 0;
    for digit in whole.bytes().chain(fraction.bytes()).chain(zeros) {
        minor = minor * 10 + i64::from(digit - b'0');
        if minor > limits::AMOUNT_MINOR {
            return Err(AmountError::TooLarge);
        }
    }
    Ok(minor)
}

/// Minor units as a decimal string with all the currency's decimals: `150075` INR is `1500.75`.
pub fn format_minor(minor: i64, currency: Currency) -> String {
    let decimals = currency.decimals();
    let digits = format!("{minor:0>width$}", width = decimals + 1);
    let (whole, fraction) = digits.split_at(digits.len() - decimals);
    if fraction.is_empty() {
        whole.to_owned()
    } else {
        format!("{whole}.{fraction}")
    }
}

/// The canonical form of a quantity or unit price: no trailing zeros beyond `keep` decimals.
///
/// # Errors
/// [`AmountError`] for anything that is not a plain, non-negative decimal within the limits.
pub fn canonical_decimal(text: &str, keep: usize) -> Result<String, AmountError> {
    let (whole, fraction) = split(text)?;
    if fraction.len() > limits::DECIMAL_FRACTION_DIGITS {
        return Err(AmountError::TooManyDecimals {
            allowed: limits::DECIMAL_FRACTION_DIGITS,
        });
    }
    if whole.len() > limits::DECIMAL_INTEGER_DIGITS {
        return Err(AmountError::TooLarge);
    }
    let mut fraction = fraction.trim_end_matches('0').to_owned();
    while fraction.len() < keep {
        fraction.push('0');
    }
    Ok(if fraction.is_empty() {
        whole.to_owned()
    } else {
        format!("{whole}.{fraction}")
    })
}

/// The digits before and after the point of a plain decimal.
fn split(text: &str) -> Result<(&str, &str), AmountError> {
    let (whole, fraction) = match text.split_once('.') {
        Some((_, "")) => return Err(AmountError::Malformed),
        Some(parts) => parts,
        None => (text, ""),
    };
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if let Some(rest) = whole.strip_prefix('-') {
        let negative = !rest.is_empty() && digits(rest) && digits(fraction);
        return Err(if negative {
            AmountError::Negative
        } else {
            AmountError::Malformed
        });
    }
    let leading_zero = whole.len() > 1 && whole.starts_with('0');
    if whole.is_empty() || !digits(whole) || !digits(fraction) || leading_zero {
        return Err(AmountError::Malformed);
    }
    Ok((whole, fraction))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_minor_reads_exactly_or_says_why() {
        let check = |text: &str, code: &str, expected: Result<i64, AmountError>| {
            let currency = Currency::from_code(code).unwrap();
            assert_eq!(parse_minor(text, currency), expected, "{text} {code}");
        };
        check("1500.75", "INR", Ok(150_075));
        check("1500.7", "INR", Ok(150_070));
        check("0", "GBP", Ok(0));
        check("0.00", "GBP", Ok(0));
        check("12", "JPY", Ok(12));
        check("1.234", "BHD", Ok(1234));
        check("10000000000000.00", "INR", Ok(limits::AMOUNT_MINOR));
        check("10000000000000.01", "INR", Err(AmountError::TooLarge));
        check(&"9".repeat(400), "INR", Err(AmountError::TooLarge));
        check(
            "12.0",
            "JPY",
            Err(AmountError::TooManyDecimals { allowed: 0 }),
        );
        check(
            "1.005",
            "INR",
            Err(AmountError::TooManyDecimals { allowed: 2 }),
        );
        check("-1.00", "INR", Err(AmountError::Negative));
        for text in [
            "", ".", "1.", ".5", "+1", "1e3", "01", "00.1", " 1", "1 ", "1,000", "NaN", "--1", "-",
            "１",
        ] {
            check(text, "INR", Err(AmountError::Malformed));
        }
    }

    #[test]
    fn format_minor_is_the_inverse_of_parse_minor() {
        for (minor, code, text) in [
            (150_075, "INR", "1500.75"),
            (5, "INR", "0.05"),
            (0, "GBP", "0.00"),
            (7, "JPY", "7"),
            (7, "BHD", "0.007"),
        ] {
            let currency = Currency::from_code(code).unwrap();
            assert_eq!(format_minor(minor, currency), text);
            assert_eq!(parse_minor(text, currency), Ok(minor));
        }
    }

    #[test]
    fn canonical_decimal_has_one_form_a_value() {
        for (text, keep, expected) in [
            ("48", 0, "48"),
            ("48.0", 0, "48"),
            ("1.50", 2, "1.50"),
            ("1.5", 2, "1.50"),
            ("0.001", 2, "0.001"),
            ("2.100000", 0, "2.1"),
        ] {
            assert_eq!(canonical_decimal(text, keep).as_deref(), Ok(expected));
        }
        assert_eq!(
            canonical_decimal("0.0000001", 0),
            Err(AmountError::TooManyDecimals { allowed: 6 })
        );
        assert_eq!(
            canonical_decimal("1000000000000", 0),
            Err(AmountError::TooLarge)
        );
    }

    #[test]
    fn currencies_are_upper_case_and_have_a_minor_unit() {
        assert!(Currency::from_code("GBP").is_some());
        for code in ["gbp", "XXX", "XAU", "ZZZ", "", "GB", "GBPP"] {
            assert!(Currency::from_code(code).is_none(), "{code}");
        }
    }
}
