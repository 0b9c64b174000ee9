//! The formats of Counterfoil and their verification: everything that is needed to check a
//! receipt, or the completeness of a merchant's records, without asking whoever made them.
//!
//! The normative text is `SPEC.md` beside this crate; the golden vectors are in `vectors/`.
//!
//! # Layout
//! From a sale to a verdict:
//! - [`leaf`]: a sale as an EIP-712 struct, and its leaf hash; [`details`]: the bytes behind the
//!   leaf's `details`; [`link`]: the capability that is printed on the slip
//! - [`tree`]: the sorted Merkle tree of a batch, and all its proofs
//! - [`manifest`]: what a batch says of itself, and the root that is anchored
//! - [`receipt`]: the file a customer keeps; [`verify`]: a proof against a root
//! - [`completeness`]: a merchant's rows against all manifests
//! - [`json`]: strict reading; [`hex`], [`base32`], [`timestamp`], [`caip`]: texts of values
//!
//! No I/O, no clock, no randomness, no async: bytes in, verdict out.
#![forbid(unsafe_code)]

pub mod base32;
pub mod caip;
pub mod completeness;
pub mod details;
mod eip712;
mod hash;
pub mod hex;
pub mod json;
pub mod leaf;
pub mod link;
pub mod manifest;
pub mod receipt;
pub mod timestamp;
pub mod tree;
pub mod verify;

pub use hash::{Hash, keccak256};
/// An unsigned integer of 256 bits, as the EVM has it.
pub use ruint::aliases::U256;

/// The README's example, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
