//! An anchor whose nonce is used for good by something that did not bring its roots into the registry:
//! its transaction reverted, or another one of the account took the nonce.
//!
//! The registry decides, at a finalized block. It has our roots: then the anchor is done, whoever brought
//! them there. It has nothing of the range: then the range is free, and gets a new nonce. Anything else
//! is for somebody to look at.

use counterfoil_proofs::Hash;
use sqlx::PgPool;

use super::startup::Publisher;
use super::store::anchors::{self, Anchor};
use super::store::{RowCount, batches, chains};
use super::watch::{Change, WatchError};
use crate::chain::{At, Block};
use crate::clock::Clock;
use crate::database;
use crate::telemetry;

/// Decides about an anchor whose nonce is used at a finalized block; `why` says by what.
pub(super) async fn decide(
    pool: &PgPool,
    publisher: &Publisher,
    anchor: &Anchor,
    finalized: &Block,
    why: &str,
    clock: &Clock,
) -> Result<Change, WatchError> {
    let (first, last) = (anchor.first_batch, anchor.last_batch);
    let range = first.cast_unsigned()..=last.cast_unsigned();
    let at = At::Block(finalized.hash);
    let theirs = publisher.chain.roots_of(anchor.registry, range, at).await?;
    let ours = batches::roots(&mut *pool.acquire().await?, first, last).await?;
    if theirs.iter().all(Option::is_none) {
        return free(pool, publisher.chain_id, anchor, why).await;
    }
    if same(&ours, &theirs) {
        let mut tx = database::begin(pool).await?;
        anchors::unmined(&mut tx, anchor.anchor_id).await?;
        let done = anchors::finalized_by_others(&mut tx, anchor.anchor_id, clock.now()).await?;
        tx.commit().await?;
        tracing::warn!(
            first,
            last,
            why,
            "the registry has our roots, by no transaction of this anchor"
        );
        return Ok(if done {
            Change::Finalized
        } else {
            Change::None
        });
    }
    let reason = format!(
        "{why}, and the registry has another root, or not all, of the batches {first} to {last}"
    );
    super::halt(&mut *pool.acquire().await?, publisher.chain_id, &reason).await?;
    Ok(Change::Halted)
}

/// Whether the registry has the stored root for every batch of a range.
pub(super) fn same(ours: &[(i64, Hash)], theirs: &[Option<Hash>]) -> bool {
    ours.len() == theirs.len()
        && ours
            .iter()
            .zip(theirs)
            .all(|((_, ours), theirs)| Some(*ours) == *theirs)
}

/// Gives the range of an anchor out again. What is reserved behind it and not signed is taken back, so
/// that ranges and nonces stay in one order; what is signed behind it will revert, and comes here too.
async fn free(
    pool: &PgPool,
    chain_id: i64,
    anchor: &Anchor,
    why: &str,
) -> Result<Change, WatchError> {
    let mut tx = database::begin(pool).await?;
    chains::lock_head(&mut tx, chain_id).await?;
    // where it had succeeded once is a block that was reorganised away
    anchors::unmined(&mut tx, anchor.anchor_id).await?;
    if !anchors::reverted(&mut tx, anchor.anchor_id).await? {
        return Ok(Change::None);
    }
    let taken_back = anchors::take_back(&mut tx, chain_id).await?;
    let moved = chains::move_head_back(&mut tx, chain_id, anchor.first_batch).await?;
    RowCount::check("the moving back of the chain's head", 1, moved)?;
    tx.commit().await?;
    metrics::counter!(telemetry::OVERTAKEN, "chain" => chain_id.to_string()).increment(1);
    tracing::error!(
        chain_id,
        nonce = anchor.nonce,
        first_batch = anchor.first_batch,
        last_batch = anchor.last_batch,
        taken_back,
        why,
        "an anchor was overtaken; its batches get a new nonce"
    );
    Ok(Change::Overtaken)
}
