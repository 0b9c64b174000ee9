//! Amounts as the provider counts them.
//!
//! Ours are minor units of ISO 4217. Stripe counts most currencies the same way; where it does not, an
//! amount is converted exactly or refused, and never rounded. The lists are those of "Supported
//! currencies" in Stripe's documentation.

use crate::limits;
use crate::money::Currency;

/// An amount of money.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Amount {
    /// Minor units of ISO 4217.
    pub minor: i64,
    /// Of what.
    pub currency: Currency,
}

/// Why an amount cannot be charged, or one of the provider's is none of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// Nothing, or less.
    #[error("an amount that is charged is more than nothing")]
    NotPositive,
    /// More than anybody charges.
    #[error("the amount is more than the payment provider charges at once")]
    TooLarge,
    /// The provider does not charge this currency, or it is not known how it counts it.
    #[error("the payment provider charges no {currency}")]
    NotCharged {
        /// Its code.
        currency: &'static str,
    },
    /// The provider has coarser steps than the currency.
    #[error("the payment provider charges {currency} in steps of {step} minor units")]
    NotExact {
        /// Its code.
        currency: &'static str,
        /// The smallest step, in minor units of ISO 4217.
        step: i64,
    },
    /// The provider names a currency that we do not know.
    #[error("the payment provider names an unknown currency")]
    Unknown,
}

/// The most that is charged at once, as the provider counts it: its amounts have twelve digits at most.
const MOST: i64 = 999_999_999_999;

/// Whole units alone, without decimals.
const ZERO_DECIMALS: [&str; 15] = [
    "BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF",
    "XOF", "XPF",
];
/// Whole units alone, written with two decimals as they once had them.
const WHOLE_IN_HUNDREDTHS: [&str; 2] = ["ISK", "UGX"];
/// Three decimals, of which the last is zero.
const THREE_DECIMALS: [&str; 5] = ["BHD", "JOD", "KWD", "OMR", "TND"];

/// How the provider counts a currency.
struct Counting {
    /// Decimals of its unit of account.
    decimals: u32,
    /// Its amounts are multiples of this.
    step: i64,
}

fn counting(currency: Currency) -> Result<Counting, AmountError> {
    let code = currency.code();
    let (decimals, step) = if ZERO_DECIMALS.contains(&code) {
        (0, 1)
    } else if WHOLE_IN_HUNDREDTHS.contains(&code) {
        (2, 100)
    } else if THREE_DECIMALS.contains(&code) {
        (3, 10)
    } else if currency.decimals() == 2 {
        (2, 1)
    } else {
        return Err(AmountError::NotCharged { currency: code });
    };
    Ok(Counting { decimals, step })
}

/// Ten to the power of the difference of decimals: how many of the finer units are one of the coarser.
fn ratio(finer: u32, coarser: u32) -> i64 {
    10_i64.pow(finer.saturating_sub(coarser))
}

fn decimals(currency: Currency) -> u32 {
    u32::try_from(currency.decimals()).unwrap_or(u32::MAX)
}

impl Amount {
    /// As the provider counts it: 500 JPY are 500, 500 ISK are 50,000, 100 iraimbilanja (1 MGA) are 1.
    ///
    /// # Errors
    /// [`AmountError`] when it cannot be charged exactly.
    pub fn for_provider(self) -> Result<i64, AmountError> {
        if self.minor <= 0 {
            return Err(AmountError::NotPositive);
        }
        if self.minor > limits::AMOUNT_MINOR {
            return Err(AmountError::TooLarge);
        }
        let Counting {
            decimals: theirs,
            step,
        } = counting(self.currency)?;
        let ours = decimals(self.currency);
        // at most 10^15 of ours and a factor of 100: far inside 64 bits
        let (up, down) = (ratio(theirs, ours), ratio(ours, theirs));
        let amount = self.minor * up / down;
        if amount > MOST {
            return Err(AmountError::TooLarge);
        }
        if self.minor % down != 0 || amount % step != 0 {
            return Err(AmountError::NotExact {
                currency: self.currency.code(),
                step: (step * down / up).max(1),
            });
        }
        Ok(amount)
    }

    /// An amount of the provider's, whose currencies are in lower case; it may be nothing.
    ///
    /// # Errors
    /// [`AmountError`] when it is not an exact amount of ours.
    pub fn of_provider(amount: i64, code: &str) -> Result<Self, AmountError> {
        if code.bytes().any(|byte| !byte.is_ascii_lowercase()) {
            return Err(AmountError::Unknown);
        }
        let currency =
            Currency::from_code(&code.to_ascii_uppercase()).ok_or(AmountError::Unknown)?;
        if amount < 0 {
            return Err(AmountError::NotPositive);
        }
        let theirs = counting(currency)?.decimals;
        let ours = decimals(currency);
        let (up, down) = (ratio(ours, theirs), ratio(theirs, ours));
        if amount > limits::AMOUNT_MINOR {
            return Err(AmountError::TooLarge);
        }
        if amount % down != 0 {
            return Err(AmountError::NotExact {
                currency: currency.code(),
                step: 1,
            });
        }
        let minor = amount * up / down;
        Ok(Self { minor, currency })
    }

    /// The currency as the provider writes it.
    pub fn provider_currency(self) -> String {
        self.currency.code().to_ascii_lowercase()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(minor: i64, code: &str) -> Amount {
        let currency = Currency::from_code(code).unwrap();
        Amount { minor, currency }
    }

    #[test]
    fn an_amount_is_converted_exactly_and_back() {
        for (minor, code, theirs) in [
            (150_075, "INR", 150_075),
            (1, "USD", 1),
            (500, "JPY", 500),
            (500, "ISK", 50_000),
            (5, "UGX", 500),
            (300, "MGA", 3),
            (5_120, "KWD", 5_120),
            (MOST, "EUR", MOST),
            (MOST / 100, "ISK", MOST / 100 * 100),
        ] {
            let ours = amount(minor, code);
            assert_eq!(ours.for_provider(), Ok(theirs), "{minor} {code}");
            let back = Amount::of_provider(theirs, &code.to_ascii_lowercase());
            assert_eq!(back, Ok(ours), "{theirs} {code}");
        }
    }

    #[test]
    fn what_cannot_be_charged_exactly_is_refused() {
        let not_exact = |currency, step| AmountError::NotExact { currency, step };
        for (minor, code, expected) in [
            (5_124, "KWD", not_exact("KWD", 10)),
            (150, "MGA", not_exact("MGA", 100)),
            (1_000, "IQD", AmountError::NotCharged { currency: "IQD" }),
            (1_000, "CLF", AmountError::NotCharged { currency: "CLF" }),
            (0, "EUR", AmountError::NotPositive),
            (-1, "EUR", AmountError::NotPositive),
            (limits::AMOUNT_MINOR + 1, "EUR", AmountError::TooLarge),
        ] {
            assert_eq!(
                amount(minor, code).for_provider(),
                Err(expected),
                "{minor} {code}"
            );
        }
        for (theirs, code, expected) in [
            (150, "isk", not_exact("ISK", 1)),
            (-1, "eur", AmountError::NotPositive),
            (1, "EUR", AmountError::Unknown),
            (1, "xau", AmountError::Unknown),
            (1, "", AmountError::Unknown),
            (i64::MAX, "mga", AmountError::TooLarge),
        ] {
            assert_eq!(Amount::of_provider(theirs, code), Err(expected), "{code}");
        }
    }
}
