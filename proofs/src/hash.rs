//! Keccak-256 as Ethereum uses it (the padding from before NIST's SHA-3).

use sha3::{Digest, Keccak256};

/// A keccak-256 digest.
pub type Hash = [u8; 32];

/// The keccak-256 digest of `bytes`.
pub fn keccak256(bytes: &[u8]) -> Hash {
    Keccak256::digest(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex;

    #[test]
    fn digest_of_nothing_is_ethereums_not_nists() {
        let expected = "0xc5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470";
        assert_eq!(hex::encode(&keccak256(b"")), expected);
    }
}
