//! Bytes as text: `0x` and lower-case hexadecimal digits, two a byte, nothing else.

/// Writes `bytes` as `0x` and lower-case digits.
pub fn encode(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(2 + 2 * bytes.len());
    text.push_str("0x");
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// Reads exactly `N` bytes.
///
/// # Errors
/// [`HexError`] when the prefix, the length or a digit (upper case included) is wrong.
pub fn decode<const N: usize>(text: &str) -> Result<[u8; N], HexError> {
    let digits = text.strip_prefix("0x").ok_or(HexError::Prefix)?;
    if digits.len() != 2 * N {
        return Err(HexError::Length {
            expected: 2 * N,
            found: digits.len(),
        });
    }
    let mut bytes = [0; N];
    fill(digits.as_bytes(), &mut bytes)?;
    Ok(bytes)
}

/// Reads any whole number of bytes.
///
/// # Errors
/// [`HexError`] when the prefix, the length (odd) or a digit (upper case included) is wrong.
pub fn decode_vec(text: &str) -> Result<Vec<u8>, HexError> {
    let digits = text.strip_prefix("0x").ok_or(HexError::Prefix)?;
    if digits.len() % 2 == 1 {
        return Err(HexError::Length {
            expected: digits.len() + 1,
            found: digits.len(),
        });
    }
    let mut bytes = vec![0; digits.len() / 2];
    fill(digits.as_bytes(), &mut bytes)?;
    Ok(bytes)
}

/// Why a text is not the hexadecimal form of the bytes that were expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HexError {
    /// It does not begin with `0x`.
    #[error("does not begin with 0x")]
    Prefix,
    /// It has another number of digits.
    #[error("has {found} digits after 0x where {expected} are expected")]
    Length {
        /// Digits that were expected.
        expected: usize,
        /// Digits that were found.
        found: usize,
    },
    /// A character is not one of `0-9` and `a-f`.
    #[error("digit {index} after 0x is not one of 0-9 and a-f")]
    Digit {
        /// Position of the first wrong digit, from 0.
        index: usize,
    },
}

/// A hash that the source spells out, without `0x`; a wrong digit does not compile.
pub(crate) const fn constant(digits: &str) -> [u8; 32] {
    let digits = digits.as_bytes();
    assert!(digits.len() == 64);
    let mut bytes = [0; 32];
    let mut i = 0;
    while i < 32 {
        match (digit(digits[2 * i]), digit(digits[2 * i + 1])) {
            (Some(high), Some(low)) => bytes[i] = high << 4 | low,
            _ => panic!("not a lower-case hexadecimal digit"),
        }
        i += 1;
    }
    bytes
}

fn fill(digits: &[u8], bytes: &mut [u8]) -> Result<(), HexError> {
    for (i, (pair, byte)) in digits.chunks_exact(2).zip(bytes).enumerate() {
        let high = digit(pair[0]).ok_or(HexError::Digit { index: 2 * i })?;
        let low = digit(pair[1]).ok_or(HexError::Digit { index: 2 * i + 1 })?;
        *byte = high << 4 | low;
    }
    Ok(())
}

const fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_canonical_form_is_read() {
        let cases: [(&str, Result<[u8; 2], HexError>); 7] = [
            ("0x00ff", Ok([0, 255])),
            ("00ff", Err(HexError::Prefix)),
            ("0X00ff", Err(HexError::Prefix)),
            (
                "0x00f",
                Err(HexError::Length {
                    expected: 4,
                    found: 3,
                }),
            ),
            (
                "0x00ff00",
                Err(HexError::Length {
                    expected: 4,
                    found: 6,
                }),
            ),
            ("0x00fF", Err(HexError::Digit { index: 3 })),
            ("0x0g00", Err(HexError::Digit { index: 1 })),
        ];
        for (text, expected) in cases {
            assert_eq!(decode::<2>(text), expected, "{text}");
        }
        assert_eq!(decode_vec("0x"), Ok(vec![]));
        assert_eq!(
            decode_vec("0x0"),
            Err(HexError::Length {
                expected: 2,
                found: 1
            })
        );
        assert_eq!(encode(&[0, 0x1f, 255]), "0x001fff");
    }
}
