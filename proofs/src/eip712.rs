//! `hashStruct` of EIP-712, without a domain: these are commitments, not signing digests.

use crate::{Hash, U256, keccak256};

/// `typeHash ‖ encodeData`, one word of 32 bytes a field.
pub(crate) struct Encoder(Vec<u8>);

impl Encoder {
    /// Starts the encoding of a struct with `fields` fields.
    pub(crate) fn new(type_hash: &Hash, fields: usize) -> Encoder {
        let mut words = Vec::with_capacity(32 * (1 + fields));
        words.extend_from_slice(type_hash);
        Encoder(words)
    }

    /// `bytesN`: right-padded with zeros.
    pub(crate) fn bytes<const N: usize>(mut self, bytes: &[u8; N]) -> Encoder {
        const { assert!(N <= 32) };
        self.0.extend_from_slice(bytes);
        self.0.extend_from_slice(&[0; 32][N..]);
        self
    }

    /// `address`: left-padded, as the number it is.
    pub(crate) fn address(mut self, address: &[u8; 20]) -> Encoder {
        self.0.extend_from_slice(&[0; 12]);
        self.0.extend_from_slice(address);
        self
    }

    /// `uint8` to `uint256`: 32 bytes, big-endian.
    pub(crate) fn uint(mut self, value: U256) -> Encoder {
        self.0.extend_from_slice(&value.to_be_bytes::<32>());
        self
    }

    /// `string`: the hash of its UTF-8 bytes.
    pub(crate) fn string(mut self, text: &str) -> Encoder {
        self.0.extend_from_slice(&keccak256(text.as_bytes()));
        self
    }

    /// `hashStruct`.
    pub(crate) fn hash_struct(&self) -> Hash {
        keccak256(&self.0)
    }

    /// `keccak256(hashStruct)`: a commitment whose pre-image is 32 bytes, so that it can never be
    /// taken for a tree's node, whose pre-image is 64.
    pub(crate) fn commitment(&self) -> Hash {
        keccak256(&self.hash_struct())
    }
}
