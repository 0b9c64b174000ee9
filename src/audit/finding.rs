//! What can be wrong: which row, and which part of it.

use std::fmt;

use counterfoil_proofs::hex;
use serde::Serialize;
use serde::ser::{SerializeStruct, Serializer};
use uuid::Uuid;

use crate::ids::{MerchantId, SaleId};

/// One thing that is wrong. `Display` is a line for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The row.
    pub subject: Subject,
    /// What of it.
    pub part: Part,
    /// How, in words. Nothing of a sale's content.
    pub what: String,
}

/// A row, or the place where one is missing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the columns that name the row")]
pub enum Subject {
    /// A sale; without an id where there is no row of that number.
    Sale {
        merchant: Uuid,
        seq: i64,
        sale: Option<Uuid>,
    },
    /// A batch.
    Batch { batch: i64 },
    /// A merchant's run in a batch.
    Mark { batch: i64, merchant: Uuid },
    /// A merchant, its heads and its queue.
    Merchant { merchant: Uuid },
    /// A row of the queue of sales that are not sealed yet.
    Pending { merchant: Uuid, seq: i64 },
    /// A row of `sale_order`.
    Order { merchant: Uuid, order: String },
    /// A row of `sale_archive` and its file.
    Archive { archive: i32 },
    /// A row of `sale_archive_run`, by its first number.
    ArchiveRun { merchant: Uuid, seq: i64 },
    /// A row of `idempotency_key`.
    Key {
        merchant: Uuid,
        space: i16,
        key: String,
    },
    /// A row of `refund_total`.
    Refunds { merchant: Uuid, sale: Uuid },
    /// An anchor.
    Anchor { anchor: i64 },
    /// A signed transaction of an anchor.
    Attempt { anchor: i64, attempt: i32 },
    /// A chain: its head and its registries.
    Chain { chain: i64 },
    /// The heads of the installation.
    Heads,
}

/// What of a row is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// A field that the leaf commits to, or a row that was never sealed.
    Fields,
    /// The details: their bytes, their hash, their form.
    Details,
    /// The stored leaf or its index.
    Leaf,
    /// The stored proof.
    Proof,
    /// Which batch a sale is in.
    Batch,
    /// A row that should be there and is not.
    Missing,
    /// A row of which there is one already.
    Double,
    /// A copy of something else: an order id, a fingerprint, `sold_at`, a sum, a head.
    Copy,
    /// The anchored root.
    Root,
    /// A field of the manifest.
    Manifest,
    /// A merchant's mark.
    Mark,
    /// The leaves of a batch.
    Leaves,
    /// Times that cannot have been in this order.
    Times,
    /// The queue of sales that are not sealed yet.
    Queue,
    /// A sale that could not be sealed.
    Hold,
    /// The range, nonce or account of an anchor.
    Anchor,
    /// A signed transaction.
    Attempt,
    /// A state that contradicts the rest of the row, or the chain.
    State,
    /// An archive: its file, a line of it, or what the database keeps of it.
    Archive,
    /// What a chain has is not what is stored.
    Chain,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |merchant: &Uuid| MerchantId(*merchant);
        match self {
            Self::Sale {
                merchant,
                seq,
                sale: None,
            } => write!(f, "sale {seq} of {}", of(merchant)),
            Self::Sale {
                merchant,
                seq,
                sale: Some(sale),
            } => write!(f, "sale {seq} of {} ({})", of(merchant), SaleId(*sale)),
            Self::Batch { batch } => write!(f, "batch {batch}"),
            Self::Mark { batch, merchant } => {
                write!(f, "mark of {} in batch {batch}", of(merchant))
            }
            Self::Merchant { merchant } => write!(f, "{}", of(merchant)),
            Self::Pending { merchant, seq } => write!(f, "queued sale {seq} of {}", of(merchant)),
            Self::Order { merchant, order } => write!(f, "order {order} of {}", of(merchant)),
            Self::Archive { archive } => write!(f, "archive {archive}"),
            Self::ArchiveRun { merchant, seq } => {
                write!(f, "archived run from {seq} of {}", of(merchant))
            }
            Self::Key {
                merchant,
                space,
                key,
            } => write!(f, "key {key:?} (space {space}) of {}", of(merchant)),
            Self::Refunds { merchant, sale } => {
                write!(f, "refunds of {} of {}", SaleId(*sale), of(merchant))
            }
            Self::Anchor { anchor } => write!(f, "anchor {anchor}"),
            Self::Attempt { anchor, attempt } => write!(f, "attempt {attempt} of anchor {anchor}"),
            Self::Chain { chain } => write!(f, "chain {chain}"),
            Self::Heads => f.write_str("the installation"),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Fields => "fields",
            Self::Details => "details",
            Self::Leaf => "leaf",
            Self::Proof => "proof",
            Self::Batch => "batch",
            Self::Missing => "missing",
            Self::Double => "double",
            Self::Copy => "copy",
            Self::Root => "root",
            Self::Manifest => "manifest",
            Self::Mark => "mark",
            Self::Leaves => "leaves",
            Self::Times => "times",
            Self::Queue => "queue",
            Self::Hold => "hold",
            Self::Anchor => "anchor",
            Self::Attempt => "attempt",
            Self::State => "state",
            Self::Archive => "archive",
            Self::Chain => "chain",
        };
        f.write_str(name)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.subject, self.part, self.what)
    }
}

impl Serialize for Finding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Finding", 3)?;
        object.serialize_field("row", &self.subject.to_string())?;
        object.serialize_field("part", &self.part)?;
        object.serialize_field("what", &self.what)?;
        object.end()
    }
}

/// Findings as they are gathered.
#[derive(Debug, Default)]
pub(super) struct Findings(pub(super) Vec<Finding>);

impl Subject {
    pub(super) fn batch(batch: u64) -> Self {
        Self::Batch {
            batch: batch.cast_signed(),
        }
    }
}

impl Findings {
    pub(super) fn add(&mut self, subject: &Subject, part: Part, what: impl Into<String>) {
        self.0.push(Finding {
            subject: subject.clone(),
            part,
            what: what.into(),
        });
    }

    /// Adds the finding unless `holds`.
    pub(super) fn check(&mut self, holds: bool, subject: &Subject, part: Part, what: &str) {
        if !holds {
            self.add(subject, part, what);
        }
    }
}

/// The beginning of a hash, enough to find it by.
pub(super) fn short(hash: &[u8]) -> String {
    hex::encode(&hash[..hash.len().min(8)])
}
