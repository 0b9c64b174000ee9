//! The file a customer keeps: a sale's fields, its details, its proof, and where the root is
//! anchored.
//!
//! A verifier uses the fields, the details and the proof, and asks a chain of its own choice for
//! the root. The batch's root, every time and every anchor in the file are hints.

mod check;
mod read;
mod write;

use std::fmt;

pub use check::{CheckError, Checked, Outcome, Step};

use crate::{Hash, caip::Caip10, leaf::Sale, timestamp::Timestamp};

/// The media type of a receipt.
pub const MEDIA_TYPE: &str = "application/vnd.counterfoil.receipt+json";
/// The most bytes that a receipt has.
pub const MAX_BYTES: usize = 8 << 20;
/// The most anchors that a receipt has.
pub const MAX_ANCHORS: usize = 64;
/// The most bytes of an explorer's URL.
pub const MAX_URL_BYTES: usize = 2048;

/// One sale's receipt. Read with [`Receipt::parse`], written with [`Receipt::to_json`], checked
/// with [`Receipt::check`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The format's version.
    pub version: Version,
    /// The fields that the leaf commits to.
    pub sale: Sale,
    /// The exact text whose hash is the sale's `details`; left out where only the fields are to
    /// be shown.
    pub details: Option<String>,
    /// The siblings from the leaf up, the manifest's hash last; empty until the sale is sealed.
    pub proof: Vec<Hash>,
    /// The batch; `None` until the sale is sealed.
    pub batch: Option<BatchRef>,
    /// One for each chain that the batch is anchored on; empty until the sale is sealed.
    pub anchors: Vec<Anchor>,
}

/// The version of a receipt's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Version {
    /// `"version": 1`.
    #[default]
    V1 = 1,
}

/// Which batch a sale is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchRef {
    /// The batch's number.
    pub id: u64,
    /// The anchored root (R).
    pub root: Hash,
    /// When the batch was sealed.
    pub sealed_at: Timestamp,
}

/// Where a batch is, or will be, anchored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// The registry's account on its chain.
    pub registry: Caip10,
    /// Hash of the transaction, once one was sent.
    pub tx: Option<Hash>,
    /// The block it is in, once it is in one.
    pub block: Option<Block>,
    /// How far it has come.
    pub state: AnchorState,
    /// Where to look at it.
    pub explorer_url: Option<String>,
}

/// A block of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// Its number.
    pub number: u64,
    /// Its hash.
    pub hash: Hash,
    /// Its timestamp.
    pub time: Timestamp,
}

/// How far an anchor has come. It may go back from mined to submitted, never from finalized.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AnchorState {
    /// The batch is sealed; nothing was sent to this chain yet.
    Sealed,
    /// A transaction was sent.
    Submitted,
    /// A transaction is in a block.
    Mined,
    /// The block is final.
    Finalized,
}

impl AnchorState {
    const ALL: [AnchorState; 4] = [
        AnchorState::Sealed,
        AnchorState::Submitted,
        AnchorState::Mined,
        AnchorState::Finalized,
    ];

    /// The state's name in a receipt.
    pub fn as_str(self) -> &'static str {
        match self {
            AnchorState::Sealed => "sealed",
            AnchorState::Submitted => "submitted",
            AnchorState::Mined => "mined",
            AnchorState::Finalized => "finalized",
        }
    }
}

impl fmt::Display for AnchorState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
