//! The fields of a sale that not every value of their Rust type fits.

use std::fmt;

/// The merchant's own number of an order: 1 to 64 characters from `!` to `~` without `"` and `\`,
/// and neither `.` nor `..`, so that it can stand in a URL's path and in JSON as it is. Two are
/// the same when their bytes are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderId(String);

impl OrderId {
    /// The most characters an order id has.
    pub const MAX_LENGTH: usize = 64;

    /// # Errors
    /// [`ValueError::OrderId`] for any other text.
    pub fn parse(text: &str) -> Result<OrderId, ValueError> {
        let allowed = |c: u8| (0x21..=0x7E).contains(&c) && c != b'"' && c != b'\\';
        let fits = (1..=Self::MAX_LENGTH).contains(&text.len()) && text.bytes().all(allowed);
        if fits && text != "." && text != ".." {
            Ok(OrderId(text.to_owned()))
        } else {
            Err(ValueError::OrderId)
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The code of a currency: three upper-case letters, as ISO 4217 has them. Whether the standard
/// lists it is not asked here, because a receipt must outlive the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

impl Currency {
    /// # Errors
    /// [`ValueError::Currency`] for any other text.
    pub fn parse(text: &str) -> Result<Currency, ValueError> {
        match text.as_bytes().try_into() {
            Ok(code) if text.bytes().all(|c| c.is_ascii_uppercase()) => Ok(Currency(code)),
            _ => Err(ValueError::Currency),
        }
    }

    /// The three letters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("parse lets in ASCII letters only")
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a row of a merchant's records is; the number is what a leaf commits to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Goods for money.
    Sale = 1,
    /// Money back.
    Refund = 2,
}

impl TryFrom<u8> for Kind {
    type Error = ValueError;

    fn try_from(number: u8) -> Result<Kind, ValueError> {
        match number {
            1 => Ok(Kind::Sale),
            2 => Ok(Kind::Refund),
            _ => Err(ValueError::Kind),
        }
    }
}

/// Why a value cannot be a field of a sale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Not an order id.
    #[error("an order id has 1 to 64 characters from ! to ~ without \" and \\, and is not . or ..")]
    OrderId,
    /// Not a currency.
    #[error("a currency is three upper-case letters")]
    Currency,
    /// Not a kind.
    #[error("a kind is 1 (sale) or 2 (refund)")]
    Kind,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_ids_are_bounded() {
        let longest = "x".repeat(64);
        for text in ["1", "...", ".a", "!~", "a/b", "a%20b", longest.as_str()] {
            assert_eq!(OrderId::parse(text).unwrap().as_str(), text);
        }
        let too_long = "x".repeat(65);
        for text in [
            "", ".", "..", " ", "a b", "a\"", "a\\", "a\u{7f}", "é", "a\0", &too_long,
        ] {
            assert_eq!(OrderId::parse(text), Err(ValueError::OrderId), "{text:?}");
        }
    }

    #[test]
    fn currencies_are_three_capitals() {
        assert_eq!(Currency::parse("INR").unwrap().as_str(), "INR");
        for text in ["", "IN", "INRX", "inr", "IN1", "IÑ", "I N"] {
            assert_eq!(Currency::parse(text), Err(ValueError::Currency), "{text}");
        }
    }

    #[test]
    fn there_are_two_kinds() {
        let kinds: Vec<_> = (0..=255).filter_map(|n| Kind::try_from(n).ok()).collect();
        assert_eq!(kinds, [Kind::Sale, Kind::Refund]);
    }
}
