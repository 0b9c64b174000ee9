//! Sealing: sales that wait become a batch.
//!
//! Everything is read and computed first, without a lock; then one short transaction locks the head,
//! compares it with what was read, and writes. Of two workers that seal at once the second finds the
//! head moved and has done nothing.

mod draft;
mod leaves;
mod share;

use std::sync::Arc;

use counterfoil_proofs::manifest::ManifestError;
use counterfoil_proofs::tree::TreeError;
use counterfoil_proofs::{Hash, hex};
use sqlx::{Connection, PgConnection, PgPool};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use uuid::Uuid;

use super::store::RowCount;
use super::store::chains;
use super::store::seal::{self as store, SealHead, Waiting};
use super::store::sealed::{self, Seals};
use crate::chain::is_production;
use crate::clock::{Entropy, from_unix_ms};
use crate::telemetry;
use draft::{Draft, Frozen};
use leaves::{Fault, MerchantLeaves};

/// Rows that one statement writes: enough to forget the statement. Their proofs are some 4 MB, which is
/// what both ends of the connection hold of them at a time, and ours of the next ones.
const ROWS_A_STATEMENT: usize = 8192;

/// What a step of sealing did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// No sale waits that may be sealed.
    Nothing,
    /// No registry is pinned, so a batch could never be anchored.
    NoRegistry,
    /// A batch was sealed.
    Sealed {
        /// Its number.
        batch: i64,
        /// Its root.
        root: Hash,
        /// How many sales are in it.
        leaves: usize,
        /// Of how many merchants.
        merchants: usize,
    },
    /// Another worker sealed the batch meanwhile.
    Lost,
}

/// Why nothing was sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The database.
    #[error("the database failed while sealing")]
    Database(#[from] sqlx::Error),
    /// Our tree and the independent one differ.
    #[error("batch {batch} is not sealed: our root is {}, an independent computation gives {}",
        hex::encode(.ours), .theirs.as_ref().map_or_else(|| "none".to_owned(), |root| hex::encode(root)))]
    RootsDiffer {
        /// Which batch it was to be.
        batch: i64,
        /// The root of our tree.
        ours: Hash,
        /// The root of the other.
        theirs: Option<Hash>,
    },
    /// There is no tree over the leaves: two are equal.
    #[error("batch {batch} is not sealed: its leaves have no tree")]
    Tree {
        /// Which batch it was to be.
        batch: i64,
        /// Why.
        #[source]
        source: TreeError,
    },
    /// The marks are not in order.
    #[error("batch {batch} is not sealed: its marks have no hash")]
    Marks {
        /// Which batch it was to be.
        batch: i64,
        /// Why.
        #[source]
        source: ManifestError,
    },
    /// A row changed between reading and writing.
    #[error("a row changed while it was sealed")]
    Changed(#[from] RowCount),
    /// The computation was cut off.
    #[error("the computation of a batch was cut off")]
    CutOff(#[from] tokio::task::JoinError),
}

/// Seals at most one batch, of at most `batch_leaves` sales.
///
/// # Errors
/// [`SealError`]; nothing was written then, unless the answer to the commit was lost, which the next
/// step finds out.
pub async fn step(
    pool: &PgPool,
    entropy: &Entropy,
    batch_leaves: usize,
) -> Result<Outcome, SealError> {
    let mut conn = pool.acquire().await?;
    let begun = Instant::now();
    let read = read(&mut conn, batch_leaves).await?;
    for (merchant, fault) in read.faults {
        leaves::hold(&mut conn, merchant, &fault).await?;
    }
    if read.chains.is_empty() {
        return Ok(Outcome::NoRegistry);
    }
    if read.merchants.is_empty() {
        return Ok(Outcome::Nothing);
    }
    let now = store::now(&mut conn).await?;
    let head = read.head;
    let draft = Draft {
        head,
        now,
        chains: read.chains,
        merchants: read.merchants,
    };
    let entropy = entropy.clone();
    let has_read = Instant::now();
    let frozen = match tokio::task::spawn_blocking(move || draft.freeze(&entropy)).await? {
        Ok(frozen) => frozen,
        Err(error) => {
            metrics::counter!(telemetry::SELF_CHECK_FAILURES, "check" => "root").increment(1);
            return Err(error);
        }
    };
    let has_frozen = Instant::now();
    let outcome = write(&mut conn, &head, &Arc::new(frozen)).await?;
    if let Outcome::Sealed {
        batch,
        root,
        leaves,
        merchants,
    } = outcome
    {
        tracing::info!(
            batch,
            leaves,
            merchants,
            root = hex::encode(&root),
            read_ms = (has_read - begun).as_millis(),
            tree_ms = (has_frozen - has_read).as_millis(),
            write_ms = has_frozen.elapsed().as_millis(),
            "sealed"
        );
    }
    Ok(outcome)
}

/// How many sales wait that may be sealed, as far as is visible now.
///
/// # Errors
/// When the database fails.
pub async fn backlog(conn: &mut PgConnection) -> Result<i64, sqlx::Error> {
    let chains = chains::current(conn).await?;
    let waiting = waiting(conn, &chains).await?;
    Ok(waiting
        .iter()
        .map(|one| one.last_seq - one.first_seq + 1)
        .sum())
}

/// What there is to seal.
struct Read {
    head: SealHead,
    chains: Vec<i64>,
    merchants: Vec<MerchantLeaves>,
    faults: Vec<(Uuid, Fault)>,
}

/// Reads everything in one snapshot: a batch that another worker commits meanwhile must not make its
/// sales look as if they could not be sealed.
async fn read(conn: &mut PgConnection, batch_leaves: usize) -> Result<Read, SealError> {
    let mut snapshot = conn
        .begin_with("begin isolation level repeatable read read only")
        .await?;
    store::find_rows_by_index(&mut snapshot).await?;
    let head = store::head(&mut snapshot).await?;
    let chains = chains::current(&mut snapshot).await?;
    let shares = if chains.is_empty() {
        Vec::new()
    } else {
        share::fair(&waiting(&mut snapshot, &chains).await?, batch_leaves)
    };
    let (merchants, faults) = leaves::compute(&mut snapshot, &shares).await?;
    snapshot.commit().await?;
    Ok(Read {
        head,
        chains,
        merchants,
        faults,
    })
}

/// Who waits. Merchants in test mode are never anchored beside a production chain.
async fn waiting(conn: &mut PgConnection, chains: &[i64]) -> Result<Vec<Waiting>, sqlx::Error> {
    let test = !chains
        .iter()
        .any(|chain| is_production(chain.cast_unsigned()));
    store::waiting(conn, test).await
}

/// The one transaction that makes a batch.
async fn write(
    conn: &mut PgConnection,
    read: &SealHead,
    frozen: &Arc<Frozen>,
) -> Result<Outcome, SealError> {
    let Frozen {
        manifest,
        marks,
        rows,
        ..
    } = frozen.as_ref();
    let batch = manifest.batch.cast_signed();
    let mut tx = conn.begin().await?;
    if store::lock_head(&mut tx).await? != *read {
        return Ok(Outcome::Lost);
    }
    store::find_rows_by_index(&mut tx).await?;
    sealed::insert_batch(
        &mut tx,
        manifest,
        &frozen.root,
        frozen.tree.leaves().as_flattened(),
        &frozen.chains,
        frozen.oldest,
    )
    .await?;
    sealed::insert_marks(&mut tx, batch, marks).await?;
    write_rows(&mut tx, batch, frozen).await?;
    let cleared = sealed::clear_queue(&mut tx, marks).await?;
    RowCount::check("the clearing of the queue", rows.len(), cleared)?;
    let moved = sealed::move_mark_heads(&mut tx, marks).await?;
    RowCount::check("the moving of merchants' heads", marks.len(), moved)?;
    let next = SealHead {
        next_batch: batch + 1,
        last_root: frozen.root,
        last_sealed_at: from_unix_ms(manifest.sealed_at.cast_signed()),
    };
    let moved = store::move_head(&mut tx, batch, &next).await?;
    RowCount::check("the moving of the head", 1, moved)?;
    tx.commit().await?;
    Ok(Outcome::Sealed {
        batch,
        root: frozen.root,
        leaves: rows.len(),
        merchants: marks.len(),
    })
}

/// Writes onto the rows. While the database writes some, a core of ours puts the next proofs together.
async fn write_rows(
    conn: &mut PgConnection,
    batch: i64,
    frozen: &Arc<Frozen>,
) -> Result<(), SealError> {
    let mut ready: Option<JoinHandle<Seals>> = None;
    for first in (0..frozen.rows.len()).step_by(ROWS_A_STATEMENT) {
        let frozen = Arc::clone(frozen);
        let next = tokio::task::spawn_blocking(move || {
            let end = frozen.rows.len().min(first + ROWS_A_STATEMENT);
            frozen.seals(&frozen.rows[first..end])
        });
        if let Some(before) = ready.replace(next) {
            write_seals(conn, batch, &before.await?).await?;
        }
    }
    if let Some(last) = ready {
        write_seals(conn, batch, &last.await?).await?;
    }
    Ok(())
}

async fn write_seals(conn: &mut PgConnection, batch: i64, seals: &Seals) -> Result<(), SealError> {
    let written = sealed::write_seals(conn, batch, seals).await?;
    RowCount::check("the seal of sales", seals.sales.len(), written)?;
    Ok(())
}
