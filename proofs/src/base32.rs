//! 128 bits as 26 characters: the big-endian number in Crockford's base 32, lower case, with two
//! zero bits in front, so the first character is `0` to `7`. The suffix form of TypeID.

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const LENGTH: usize = 26;

/// Writes 16 bytes as 26 characters.
pub fn encode(bytes: &[u8; 16]) -> String {
    let number = u128::from_be_bytes(*bytes);
    (0..LENGTH)
        .rev()
        .map(|place| (number >> (5 * place)) as usize & 31)
        .map(|value| char::from(ALPHABET[value]))
        .collect()
}

/// Reads 26 characters; `None` for anything that [`encode`] does not write: another length, upper
/// case, the letters i, l, o and u, a first character above 7.
pub fn decode(text: &str) -> Option<[u8; 16]> {
    if text.len() != LENGTH || text.as_bytes()[0] > b'7' {
        return None;
    }
    let mut number = 0u128;
    for character in text.bytes() {
        let value = ALPHABET.iter().position(|&c| c == character)?;
        number = number << 5 | value as u128;
    }
    Some(number.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_are_written_and_read_back() {
        let cases = [
            ([0; 16], "00000000000000000000000000"),
            ([255; 16], "7zzzzzzzzzzzzzzzzzzzzzzzzz"),
            (1u128.to_be_bytes(), "00000000000000000000000001"),
            ((1u128 << 127).to_be_bytes(), "40000000000000000000000000"),
        ];
        for (bytes, text) in cases {
            assert_eq!(encode(&bytes), text);
            assert_eq!(decode(text), Some(bytes));
        }
    }

    #[test]
    fn other_forms_are_refused() {
        for text in [
            "",
            "0000000000000000000000000",
            "000000000000000000000000000",
            "80000000000000000000000000",
            "0000000000000000000000000A",
            "0000000000000000000000000u",
            "0000000000000000000000000l",
            "000000000000000000000000é",
        ] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
