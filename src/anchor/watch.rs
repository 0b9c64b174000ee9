//! Watching: what became of the signed transactions, as the chain tells.
//!
//! The chain is asked about every transaction of every anchor that is not final. Mined is for display:
//! a reorganisation takes it back. Finalized is for ever, and only said when the registry itself, at a
//! finalized block named by its hash, has our root for every batch of the anchor.

use counterfoil_proofs::hex;
use sqlx::PgPool;

use super::overtaken;
use super::startup::Publisher;
use super::store::anchors::{self, Anchor, Attempt, State};
use super::store::{RowCount, batches};
use crate::chain::{At, Block, ChainError, TxReceipt};
use crate::clock::Clock;
use crate::database;
use crate::telemetry;

/// What was seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Anchors that were found in a block.
    pub mined: usize,
    /// Anchors whose block is gone.
    pub reorganised: usize,
    /// Anchors that became final.
    pub finalized: usize,
    /// Anchors whose nonce was used for something else, for good.
    pub overtaken: usize,
    /// Whether something was seen that stops anchoring on this chain.
    pub halted: bool,
}

/// Why not everything was looked at.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The chain cannot be asked.
    #[error("the chain cannot be asked")]
    Chain(#[from] ChainError),
    /// The database failed.
    #[error("the database failed while watching")]
    Database(#[from] sqlx::Error),
    /// A head was not there.
    #[error("a row changed while a range was given out again")]
    Changed(#[from] RowCount),
}

/// An attempt that is in a block.
struct Included<'a> {
    attempt: &'a Attempt,
    receipt: TxReceipt,
    block: Block,
}

/// Looks at every anchor of a chain that is signed and not final, in order of nonce.
///
/// # Errors
/// [`WatchError`]; what was seen before it is kept.
pub async fn step(
    pool: &PgPool,
    publisher: &Publisher,
    clock: &Clock,
) -> Result<Outcome, WatchError> {
    let open = anchors::open(&mut *pool.acquire().await?, publisher.chain_id).await?;
    let mut outcome = Outcome::default();
    if open.iter().all(|anchor| anchor.state == State::Reserved) {
        return Ok(outcome);
    }
    // before any receipt: what is final now has a receipt that can be read after
    let finalized = match publisher.chain.finalized().await {
        // nothing becomes final, but what is in a block can be shown
        Err(error) if error.is_undecided() => None,
        finalized => finalized?,
    };
    let watcher = Watcher {
        pool,
        publisher,
        clock,
        finalized,
    };
    for anchor in open.iter().filter(|anchor| anchor.state != State::Reserved) {
        match watcher.look(anchor).await? {
            Change::None => {}
            Change::Mined => outcome.mined += 1,
            Change::Reorganised => outcome.reorganised += 1,
            Change::Finalized => outcome.finalized += 1,
            Change::Overtaken => outcome.overtaken += 1,
            Change::Halted => outcome.halted = true,
        }
    }
    Ok(outcome)
}

/// What became of an anchor.
pub(super) enum Change {
    None,
    Mined,
    Reorganised,
    Finalized,
    Overtaken,
    Halted,
}

struct Watcher<'a> {
    pool: &'a PgPool,
    publisher: &'a Publisher,
    clock: &'a Clock,
    finalized: Option<Block>,
}

impl Watcher<'_> {
    async fn look(&self, anchor: &Anchor) -> Result<Change, WatchError> {
        let attempts = {
            let mut conn = self.pool.acquire().await?;
            anchors::attempts(&mut conn, anchor.anchor_id).await?
        };
        let Some(included) = self.included(&attempts).await? else {
            return self.look_for_block(anchor, &attempts).await;
        };
        match self.finalized {
            Some(block) if included.receipt.block_number <= block.number => {
                self.settle(anchor, included.attempt, block).await
            }
            // an RPC that lags may tell of a block that was reorganised away
            _ if !included.receipt.succeeded => Ok(Change::None),
            _ => {
                let moved = self.write_block(anchor, &included).await?;
                Ok(if moved { Change::Mined } else { Change::None })
            }
        }
    }

    /// An attempt is in a block that is final: what enough RPCs say of it now is for ever.
    async fn settle(
        &self,
        anchor: &Anchor,
        attempt: &Attempt,
        finalized: Block,
    ) -> Result<Change, WatchError> {
        let tx = attempt.tx_hash;
        let (receipt, block) = match self.publisher.chain.included(tx).await {
            Ok(Some((receipt, block))) if block.number <= finalized.number => (receipt, block),
            Err(error) if !error.is_undecided() => return Err(error.into()),
            _ => return Ok(Change::None),
        };
        if !receipt.succeeded {
            let (tx, number) = (hex::encode(&tx), block.number);
            let why = format!("transaction {tx} reverted in block {number}, which is final");
            return self.overtaken(anchor, &finalized, &why).await;
        }
        let included = Included {
            attempt,
            receipt,
            block,
        };
        let moved = self.write_block(anchor, &included).await?;
        match self.finalize(anchor, finalized).await? {
            Change::None if moved => Ok(Change::Mined),
            change => Ok(change),
        }
    }

    /// The attempt that is in a block, whichever it is: the one that is mined may be the oldest.
    async fn included<'a>(
        &self,
        attempts: &'a [Attempt],
    ) -> Result<Option<Included<'a>>, ChainError> {
        let chain = &self.publisher.chain;
        for attempt in attempts {
            let Some(receipt) = chain.receipt(attempt.tx_hash).await? else {
                continue;
            };
            // gone again between the two calls: nothing is known
            let Some(block) = chain.block(receipt.block_hash).await? else {
                continue;
            };
            return Ok(Some(Included {
                attempt,
                receipt,
                block,
            }));
        }
        Ok(None)
    }

    /// Writes down the block that an anchor is in; whether the anchor was not mined before.
    async fn write_block(&self, anchor: &Anchor, found: &Included<'_>) -> Result<bool, WatchError> {
        let Included {
            attempt,
            receipt,
            block,
        } = found;
        let same = attempt.block_hash == Some(block.hash);
        if same && anchor.state == State::Mined {
            return Ok(false);
        }
        let mut tx = database::begin(self.pool).await?;
        let state = anchors::lock(&mut tx, anchor.anchor_id).await?;
        if state != State::Submitted && state != State::Mined {
            return Ok(false);
        }
        anchors::set_block(&mut tx, anchor.anchor_id, attempt.attempt, receipt, block).await?;
        let moved = anchors::mined(&mut tx, anchor.anchor_id, self.clock.now()).await?;
        tx.commit().await?;
        let hash = hex::encode(&attempt.tx_hash);
        let (first, last) = (anchor.first_batch, anchor.last_batch);
        tracing::info!(
            first_batch = first,
            last_batch = last,
            tx = hash,
            block = block.number,
            "mined"
        );
        Ok(moved)
    }

    /// The registry's own word, at a block that stays.
    async fn finalize(&self, anchor: &Anchor, block: Block) -> Result<Change, WatchError> {
        let Anchor {
            anchor_id,
            registry,
            first_batch: first,
            last_batch: last,
            ..
        } = *anchor;
        let range = first.cast_unsigned()..=last.cast_unsigned();
        let chain = &self.publisher.chain;
        let theirs = match chain.roots_of(registry, range, At::Block(block.hash)).await {
            Err(error) if error.is_undecided() => return Ok(Change::None),
            theirs => theirs?,
        };
        let ours = batches::roots(&mut *self.pool.acquire().await?, first, last).await?;
        if theirs.iter().any(Option::is_none) {
            // the RPC contradicts itself: it has the receipt and not what the transaction wrote
            tracing::warn!(first, last, "a mined anchor is not in the registry yet");
            return Ok(Change::None);
        }
        if !overtaken::same(&ours, &theirs) {
            let reason =
                format!("the registry has another root for one of the batches {first} to {last}");
            return self.halt(&reason).await;
        }
        let now = self.clock.now();
        if !anchors::finalized(&mut *self.pool.acquire().await?, anchor_id, now).await? {
            return Ok(Change::None);
        }
        tracing::info!(
            first_batch = first,
            last_batch = last,
            block = block.number,
            "finalized"
        );
        Ok(Change::Finalized)
    }

    /// No attempt has a receipt. That alone means nothing; a block that is no longer where it was
    /// does, and so does a nonce that somebody used for good.
    async fn look_for_block(
        &self,
        anchor: &Anchor,
        attempts: &[Attempt],
    ) -> Result<Change, WatchError> {
        let chain = &self.publisher.chain;
        let known = attempts
            .iter()
            .find_map(|it| it.block_number.zip(it.block_hash));
        if let Some((number, hash)) = known {
            // no answer is "unknown": only another block in its place says that it is gone
            let there = chain.block_at(number.cast_unsigned()).await?;
            if there.is_none_or(|block| block.hash == hash) {
                return Ok(Change::None);
            }
            let mut tx = database::begin(self.pool).await?;
            let moved = anchors::unmined(&mut tx, anchor.anchor_id).await?;
            tx.commit().await?;
            if moved {
                let chain = self.publisher.chain_id.to_string();
                metrics::counter!(telemetry::REORGANISED, "chain" => chain).increment(1);
            }
            let (first, last) = (anchor.first_batch, anchor.last_batch);
            tracing::warn!(
                first,
                last,
                block = number,
                "the block of an anchor was reorganised away"
            );
            return Ok(if moved {
                Change::Reorganised
            } else {
                Change::None
            });
        }
        let Some(finalized) = self.finalized else {
            return Ok(Change::None);
        };
        let used = match chain.nonce(anchor.account, At::Block(finalized.hash)).await {
            Err(error) if error.is_undecided() => return Ok(Change::None),
            used => used?,
        };
        if used <= anchor.nonce.cast_unsigned() {
            return Ok(Change::None);
        }
        for attempt in attempts {
            match chain.included(attempt.tx_hash).await {
                Ok(None) => {}
                Err(error) if !error.is_undecided() => return Err(error.into()),
                _ => return Ok(Change::None),
            }
        }
        let (nonce, block) = (anchor.nonce, finalized.number);
        let why = format!(
            "nonce {nonce} is used at block {block}, which is final, by a transaction that is not ours"
        );
        self.overtaken(anchor, &finalized, &why).await
    }

    async fn overtaken(
        &self,
        anchor: &Anchor,
        finalized: &Block,
        why: &str,
    ) -> Result<Change, WatchError> {
        let Self {
            pool,
            publisher,
            clock,
            ..
        } = self;
        overtaken::decide(pool, publisher, anchor, finalized, why, clock).await
    }

    async fn halt(&self, reason: &str) -> Result<Change, WatchError> {
        super::halt(
            &mut *self.pool.acquire().await?,
            self.publisher.chain_id,
            reason,
        )
        .await?;
        Ok(Change::Halted)
    }
}
