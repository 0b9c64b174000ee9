//! What a batch says of itself: its number, the batch before, its tree, and how far each merchant
//! in it has come. The anchored root covers it, as the last sibling of every proof.

mod batch_file;
mod declared;
mod json;

pub use batch_file::BatchFile;
pub use declared::{Declared, Gap, LostBatch};

use crate::{Hash, U256, eip712::Encoder, hex, keccak256, tree};

/// The type of [`Manifest`], as EIP-712 encodes it.
pub const MANIFEST_TYPE: &str = "Manifest(uint64 batch,bytes32 previous,bytes32 tree,\
uint64 leaves,uint64 sealedAt,address signer,bytes32 marks,bytes32 salt)";
/// `keccak256` of [`MANIFEST_TYPE`].
pub const MANIFEST_TYPEHASH: Hash =
    hex::constant("311b745f6a7bff15e22ec944d69b09f2b49665141836eb6bf079e1bc3626bf67");
/// The type of [`Mark`], as EIP-712 encodes it.
pub const MARK_TYPE: &str =
    "Mark(bytes16 merchant,uint64 firstSeq,uint64 lastSeq,bytes32 head,bytes32 salt)";
/// `keccak256` of [`MARK_TYPE`].
pub const MARK_TYPEHASH: Hash =
    hex::constant("6d38b307c8d47c9e42143967809caff082e8f80d7e2106e4ba47bc671dab65ba");

/// What one batch says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Its number, from 1 without gaps.
    pub batch: u64,
    /// The anchored root of the batch before; zero for batch 1.
    pub previous: Hash,
    /// The root of its leaves (S).
    pub tree: Hash,
    /// How many leaves it has.
    pub leaves: u64,
    /// Milliseconds since 1970 UTC.
    pub sealed_at: u64,
    /// Who signs acceptances; zero where nobody does.
    pub signer: [u8; 20],
    /// [`marks_hash`] of its marks.
    pub marks: Hash,
    /// 32 random bytes, so that nobody guesses a manifest from its hash.
    pub salt: Hash,
}

impl Manifest {
    /// M: `keccak256(hashStruct(manifest))`.
    pub fn hash(&self) -> Hash {
        Encoder::new(&MANIFEST_TYPEHASH, 8)
            .uint(U256::from(self.batch))
            .bytes(&self.previous)
            .bytes(&self.tree)
            .uint(U256::from(self.leaves))
            .uint(U256::from(self.sealed_at))
            .address(&self.signer)
            .bytes(&self.marks)
            .bytes(&self.salt)
            .commitment()
    }
}

/// The run of one merchant's sales in one batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Whose sales.
    pub merchant: [u8; 16],
    /// Number of the first sale, one more than the last of the merchant's batch before.
    pub first_seq: u64,
    /// Number of the last sale, at least `first_seq`.
    pub last_seq: u64,
    /// The running hash over all the merchant's leaves up to `last_seq` ([`next_head`]).
    pub head: Hash,
    /// 32 random bytes, so that nobody guesses a mark from its hash.
    pub salt: Hash,
}

impl Mark {
    /// `keccak256(hashStruct(mark))`.
    pub fn hash(&self) -> Hash {
        Encoder::new(&MARK_TYPEHASH, 5)
            .bytes(&self.merchant)
            .uint(U256::from(self.first_seq))
            .uint(U256::from(self.last_seq))
            .bytes(&self.head)
            .bytes(&self.salt)
            .commitment()
    }
}

/// What a manifest commits to of its marks: keccak-256 over `merchant ‖ hash` of each.
///
/// # Errors
/// [`ManifestError`] when there is no mark, or the merchants do not strictly ascend.
pub fn marks_hash(marks: &[Mark]) -> Result<Hash, ManifestError> {
    if marks.is_empty() {
        return Err(ManifestError::NoMarks);
    }
    if let Some(pair) = marks
        .windows(2)
        .find(|pair| pair[0].merchant >= pair[1].merchant)
    {
        return Err(ManifestError::MarksOrder {
            merchant: pair[1].merchant,
        });
    }
    let mut bytes = Vec::with_capacity(48 * marks.len());
    for mark in marks {
        bytes.extend_from_slice(&mark.merchant);
        bytes.extend_from_slice(&mark.hash());
    }
    Ok(keccak256(&bytes))
}

/// A merchant's running hash after one more leaf: `keccak256(head ‖ leaf)`; zero before the first.
pub fn next_head(head: &Hash, leaf: &Hash) -> Hash {
    keccak256([*head, *leaf].as_flattened())
}

/// R, what is anchored: the node over the root of the leaves and the hash of the manifest.
pub fn anchored_root(tree: &Hash, manifest: &Hash) -> Hash {
    tree::node(tree, manifest)
}

/// What is wrong with a batch in itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// It has no mark.
    #[error("the batch has no marks")]
    NoMarks,
    /// Its merchants do not strictly ascend.
    #[error("the mark of merchant {} does not follow the one before", hex::encode(.merchant))]
    MarksOrder {
        /// The first that does not.
        merchant: [u8; 16],
    },
    /// A run that has no sales, or begins at 0.
    #[error("the mark of merchant {} runs from {first} to {last}", hex::encode(.merchant))]
    MarkRange {
        /// Whose mark.
        merchant: [u8; 16],
        /// Its first number.
        first: u64,
        /// Its last number.
        last: u64,
    },
    /// The manifest is of other marks.
    #[error("the manifest's marks are {}, the marks give {}", hex::encode(.stated), hex::encode(.found))]
    MarksHash {
        /// What the manifest says.
        stated: Hash,
        /// What the marks give.
        found: Hash,
    },
    /// The marks do not cover as many sales as there are leaves.
    #[error("the marks cover {covered} sales, the batch has {leaves} leaves")]
    MarksCount {
        /// Sales the marks cover.
        covered: u128,
        /// Leaves of the batch.
        leaves: usize,
    },
    /// The manifest states another number of leaves.
    #[error("the manifest states {stated} leaves, the batch has {found}")]
    LeavesCount {
        /// What the manifest says.
        stated: u64,
        /// How many there are.
        found: usize,
    },
    /// A leaf is not greater than the one before.
    #[error("leaf {index} is not greater than the one before")]
    LeavesOrder {
        /// Its position, from 0.
        index: usize,
    },
    /// There is no tree over the leaves.
    #[error("the leaves have no tree")]
    Tree(#[source] tree::TreeError),
    /// The manifest is of another tree.
    #[error("the manifest's tree is {}, the leaves give {}", hex::encode(.stated), hex::encode(.found))]
    TreeRoot {
        /// What the manifest says.
        stated: Hash,
        /// What the leaves give.
        found: Hash,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typehashes_are_the_hashes_of_the_types() {
        let shown = |hash: Hash| hex::encode(&hash);
        assert_eq!(
            shown(keccak256(MANIFEST_TYPE.as_bytes())),
            shown(MANIFEST_TYPEHASH)
        );
        assert_eq!(shown(keccak256(MARK_TYPE.as_bytes())), shown(MARK_TYPEHASH));
    }
}
