//! The capability on the slip: whoever holds it may read the receipt.

use crate::{Hash, base32, keccak256};

const DOMAIN: &[u8] = b"counterfoil/link/1";

/// The capability of the sale with this salt: the first 16 bytes of
/// `keccak256("counterfoil/link/1" ‖ salt)` in [`base32`]. It says nothing of the salt.
pub fn link(salt: &Hash) -> String {
    let digest = keccak256(&[DOMAIN, salt].concat());
    let mut capability = [0; 16];
    capability.copy_from_slice(&digest[..16]);
    base32::encode(&capability)
}
