//! What can be wrong with a chain of batches, or with a merchant's rows.

use std::fmt;

use crate::{
    Hash, base32, hex,
    leaf::{OrderId, Sale},
    manifest::ManifestError,
};

/// A row by everything one may look it up by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SaleName {
    /// The number the row has.
    pub seq: u64,
    /// Its sale id.
    pub sale: [u8; 16],
    /// Its order id.
    pub order_id: OrderId,
}

impl From<&Sale> for SaleName {
    fn from(sale: &Sale) -> SaleName {
        SaleName {
            seq: sale.seq,
            sale: sale.sale,
            order_id: sale.order_id.clone(),
        }
    }
}

impl fmt::Display for SaleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sale = base32::encode(&self.sale);
        write!(
            f,
            "sale {} (order {}, sale_{sale})",
            self.seq, self.order_id
        )
    }
}

/// One thing that is wrong. `Display` is a line for a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// The batches do not go on with the next number.
    #[error("batch {found} follows where batch {expected} is expected: a manifest is skipped")]
    BatchSkipped {
        /// The number that should come.
        expected: u64,
        /// The number that comes.
        found: u64,
    },
    /// A number that was there already.
    #[error("batch {batch} is there again: its number is repeated")]
    BatchRepeated {
        /// The number.
        batch: u64,
    },
    /// A batch whose parts do not agree; it is not used any further.
    #[error("batch {batch} contradicts itself: {error}")]
    BatchFaulty {
        /// The batch.
        batch: u64,
        /// How.
        error: ManifestError,
    },
    /// A batch that follows another one than the one before it.
    #[error("batch {batch} follows the root {}, not {}", hex::encode(.found), hex::encode(.expected))]
    PreviousWrong {
        /// The batch.
        batch: u64,
        /// The root of the batch before.
        expected: Hash,
        /// What its manifest says.
        found: Hash,
    },
    /// A batch that the chain does not have.
    #[error("batch {batch} is not anchored")]
    NotAnchored {
        /// The batch.
        batch: u64,
    },
    /// A batch that the chain has, after the last one that is there.
    #[error("the chain has batch {batch}, and its file is not there")]
    BatchLeftOut {
        /// The batch.
        batch: u64,
    },
    /// A batch that the chain has another root for.
    #[error("batch {batch} gives the root {}, the chain has {}", hex::encode(.found), hex::encode(.anchored))]
    RootWrong {
        /// The batch.
        batch: u64,
        /// What its file gives.
        found: Hash,
        /// What the chain has.
        anchored: Hash,
    },
    /// A mark whose run does not go on where the merchant's last one ended.
    #[error("batch {batch} goes on with sale {found} of the merchant, not with {expected}")]
    RunBroken {
        /// The batch.
        batch: u64,
        /// The number that should come.
        expected: u64,
        /// The first number of the mark.
        found: u64,
    },
    /// A mark whose head is not the running hash over the merchant's leaves, though every leaf
    /// of its run is there.
    #[error("batch {batch} forks the merchant's head: it says {}, the sales give {}", hex::encode(.found), hex::encode(.expected))]
    HeadForked {
        /// The batch.
        batch: u64,
        /// What the sales give.
        expected: Hash,
        /// What the mark says.
        found: Hash,
    },
    /// A number that a batch commits to and no row has.
    #[error("sale {seq} is missing: batch {batch} commits to it")]
    Missing {
        /// The number.
        seq: u64,
        /// The batch.
        batch: u64,
    },
    /// Numbers that are missing among the rows that are not sealed yet.
    #[error("{row} follows where sale {expected} is expected: what is between is missing")]
    UnsealedGap {
        /// The number that should come.
        expected: u64,
        /// The row that comes.
        row: SaleName,
    },
    /// A row that no batch commits to, at a number that is another row's.
    #[error("{row} was added: the sale of this number is another")]
    Added {
        /// The row.
        row: SaleName,
    },
    /// A row at a number that lies in none of the batches, though later numbers do.
    #[error("{row} is in none of the batches")]
    Uncovered {
        /// The row.
        row: SaleName,
    },
    /// The same sale once more.
    #[error("{row} is double: it is the same sale as {of}")]
    Double {
        /// The row that is too much.
        row: SaleName,
        /// The row it repeats.
        of: SaleName,
    },
    /// A row that a batch commits to under another number.
    #[error("{row} was renumbered: it is sale {seq}, of batch {batch}")]
    Renumbered {
        /// The row as it is.
        row: SaleName,
        /// The number it was sealed with.
        seq: u64,
        /// The batch that commits to it.
        batch: u64,
    },
    /// A row whose fields are not those that were sealed.
    #[error("{row} was changed: batch {batch} does not commit to what it says")]
    Changed {
        /// The row.
        row: SaleName,
        /// The batch that its number is in.
        batch: u64,
    },
    /// A row of another merchant.
    #[error("{row} is of merchant {}", hex::encode(.merchant))]
    Foreign {
        /// The row.
        row: SaleName,
        /// Whose it is.
        merchant: [u8; 16],
    },
}

impl Finding {
    /// A stable name of what is wrong, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Finding::BatchSkipped { .. } => "batch_skipped",
            Finding::BatchRepeated { .. } => "batch_repeated",
            Finding::BatchFaulty { .. } => "batch_faulty",
            Finding::PreviousWrong { .. } => "previous_wrong",
            Finding::NotAnchored { .. } => "not_anchored",
            Finding::BatchLeftOut { .. } => "batch_left_out",
            Finding::RootWrong { .. } => "root_wrong",
            Finding::RunBroken { .. } => "run_broken",
            Finding::HeadForked { .. } => "head_forked",
            Finding::Missing { .. } => "missing",
            Finding::UnsealedGap { .. } => "unsealed_gap",
            Finding::Added { .. } => "added",
            Finding::Uncovered { .. } => "uncovered",
            Finding::Double { .. } => "double",
            Finding::Renumbered { .. } => "renumbered",
            Finding::Changed { .. } => "changed",
            Finding::Foreign { .. } => "foreign",
        }
    }
}
