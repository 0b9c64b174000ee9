//! Where the arbitrary bytes of the vectors come from.

use counterfoil_proofs::{Hash, keccak256};

/// The seed of everything: its keccak-256 stands in front of whatever is drawn.
const SEED: &[u8] = b"counterfoil/vectors/1";

/// `keccak256(keccak256(SEED) ‖ label ‖ uint64 number)`.
pub(crate) fn hash(label: &str, number: u64) -> Hash {
    keccak256(
        &[
            keccak256(SEED).as_slice(),
            label.as_bytes(),
            &number.to_be_bytes(),
        ]
        .concat(),
    )
}

/// The first `N` bytes of [`hash`].
pub(crate) fn bytes<const N: usize>(label: &str, number: u64) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&hash(label, number)[..N]);
    bytes
}
