//! An inclusion proof against a root.

use crate::{Hash, hex, tree::node};

/// A proof has at least one sibling, because the manifest is always the last of them.
pub const MIN_SIBLINGS: usize = 1;
/// A tree of 2^63 leaves would need no more.
pub const MAX_SIBLINGS: usize = 64;

/// Checks that `proof` leads from `leaf` to `root`.
///
/// The leaf must have been computed from a sale's fields ([`crate::leaf::Sale::leaf`]). Of a hash
/// that somebody hands over this says nothing: an inner node passes as well.
///
/// # Errors
/// [`ProofError`] when the proof has no sibling, more than 64, or leads elsewhere.
pub fn inclusion(leaf: &Hash, proof: &[Hash], root: &Hash) -> Result<(), ProofError> {
    check_length(proof.len())?;
    let found = root_from_proof(leaf, proof);
    if found == *root {
        Ok(())
    } else {
        Err(ProofError::Root {
            found,
            expected: *root,
        })
    }
}

/// Where `proof` leads from `leaf`: the siblings are hashed in, from the leaf up.
pub fn root_from_proof(leaf: &Hash, proof: &[Hash]) -> Hash {
    proof
        .iter()
        .fold(*leaf, |below, sibling| node(&below, sibling))
}

/// The siblings of a stored proof, their concatenation from the leaf up.
///
/// # Errors
/// [`ProofError`] when the length is not a multiple of 32, or not that of 1 to 64 siblings.
pub fn siblings(bytes: &[u8]) -> Result<Vec<Hash>, ProofError> {
    let (siblings, rest) = bytes.as_chunks::<32>();
    if !rest.is_empty() {
        return Err(ProofError::PartOfSibling { bytes: bytes.len() });
    }
    check_length(siblings.len())?;
    Ok(siblings.to_vec())
}

/// Why a proof does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// No sibling, or too many.
    #[error("the proof has {siblings} siblings; 1 to 64 are expected")]
    Length {
        /// How many it has.
        siblings: usize,
    },
    /// The bytes are not a whole number of siblings.
    #[error("the proof has {bytes} bytes, which is not a multiple of 32")]
    PartOfSibling {
        /// How many bytes it has.
        bytes: usize,
    },
    /// It leads to another root.
    #[error("the proof leads to {}, not to {}", hex::encode(.found), hex::encode(.expected))]
    Root {
        /// Where it leads.
        found: Hash,
        /// Where it should.
        expected: Hash,
    },
}

fn check_length(siblings: usize) -> Result<(), ProofError> {
    if (MIN_SIBLINGS..=MAX_SIBLINGS).contains(&siblings) {
        Ok(())
    } else {
        Err(ProofError::Length { siblings })
    }
}
