//! What one chain has, and the rows that it should have here.

use std::ops::RangeInclusive;

use counterfoil_proofs::{Hash, hex};
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::{Lost, RecoverError, store};
use crate::anchor::store::anchors::{self, Anchor};
use crate::anchor::store::batches;
use crate::anchor::store::chains::{self, Registry};
use crate::chain::{Account, At, Block, Chain, Signed, Transaction, TxReceipt, anchor_call};

/// Blocks of one question for an event; RPCs refuse more than some thousand.
const BLOCKS: u64 = 2000;
/// Bytes of a call of `anchor` before its roots: selector, first batch, offset, count.
const CALL_HEAD: usize = 4 + 3 * 32;

/// What a chain has.
#[derive(Debug, Clone)]
pub struct ChainPlan {
    /// Which chain.
    pub chain_id: i64,
    /// The account that anchors on it.
    pub account: Account,
    /// The batch that its registry takes next.
    pub next_batch: i64,
    /// The account's next nonce, with what waits where that counts.
    pub nonce: i64,
    /// The nonce after the last that the database knows; none before the chain was begun.
    pub known_nonce: Option<i64>,
    /// The first of our batches that has another root there.
    pub fork: Option<i64>,
    /// Transactions that anchored and are not known here.
    pub found: Vec<FoundAnchor>,
    registry: Account,
    lost: Vec<(i64, Hash)>,
    /// Signed transactions of ours that the chain has.
    mined: Vec<Hash>,
}

/// A transaction that anchored, as the chain has it.
#[derive(Debug, Clone)]
pub struct FoundAnchor {
    /// Its first batch.
    pub first_batch: i64,
    /// Its last.
    pub last_batch: i64,
    /// Its bytes and hash.
    pub signed: Signed,
    pub(super) transaction: Transaction,
    pub(super) receipt: TxReceipt,
    pub(super) block: Block,
}

impl ChainPlan {
    /// Whether the chain has what the database has not.
    pub fn is_ahead(&self) -> bool {
        !self.lost.is_empty() || self.known_nonce.is_some_and(|known| known < self.nonce)
    }

    pub(super) fn lost(&self) -> impl Iterator<Item = Lost> {
        let chain_id = self.chain_id;
        self.lost.iter().map(move |(batch, root)| Lost {
            chain_id,
            batch: *batch,
            root: *root,
        })
    }
}

pub(super) async fn examine(
    db: &mut PgConnection,
    chain: &Chain,
    registry: &Registry,
    finality: bool,
) -> Result<ChainPlan, RecoverError> {
    let chain_id = registry.chain_id;
    let block = match finality {
        true => chain.finalized().await?,
        false => Some(chain.latest().await?),
    };
    let block = block.ok_or(RecoverError::OtherChain(chain_id))?;
    let at = At::Block(block.hash);
    if chain.code_hash(registry.address, at).await? != Some(registry.code_hash) {
        return Err(RecoverError::OtherChain(chain_id));
    }
    let head = chains::head(db, chain_id).await?;
    let account = match &head {
        Some(head) => head.account,
        None => chain.publisher(registry.address, at).await?,
    };
    let pending = chain.nonce(account, At::Pending).await?;
    let next_batch = chain.next_batch(registry.address, at).await?;
    if finality
        && (pending != chain.nonce(account, at).await?
            || next_batch != chain.next_batch(registry.address, At::Latest).await?)
    {
        return Err(RecoverError::Unsettled { chain_id, account });
    }
    let mut plan = ChainPlan {
        chain_id,
        account,
        next_batch: next_batch.cast_signed(),
        nonce: pending.cast_signed(),
        known_nonce: head.map(|head| head.next_nonce),
        fork: None,
        found: Vec::new(),
        registry: registry.address,
        lost: Vec::new(),
        mined: Vec::new(),
    };
    let is_final = anchors::last_finalized(db, chain_id).await?;
    let is_final = is_final.filter(|anchor| anchor.registry == registry.address);
    let first = is_final.map_or(registry.first_batch, |anchor| anchor.last_batch + 1);
    let range = first.cast_unsigned()..=plan.next_batch.cast_unsigned() - 1;
    let theirs = chain.roots_of(registry.address, range, at).await?;
    let theirs: Vec<Hash> = theirs.into_iter().map(Option::unwrap_or_default).collect();
    compare(db, &mut plan, first, &theirs).await?;
    if finality {
        find_anchors(chain, &mut plan, (first, &theirs), &block).await?;
    }
    Ok(plan)
}

/// The batches whose roots there are not those here.
async fn compare(
    db: &mut PgConnection,
    plan: &mut ChainPlan,
    first: i64,
    theirs: &[Hash],
) -> Result<(), RecoverError> {
    let ours = batches::roots(db, first, plan.next_batch - 1).await?;
    for (batch, root) in (first..).zip(theirs) {
        let own = ours.iter().find(|(id, _)| *id == batch);
        let differs = own.is_some_and(|(_, own)| own != root);
        if differs && plan.fork.is_none() {
            plan.fork = Some(batch);
        }
        if own.is_none() || plan.fork.is_some() {
            plan.lost.push((batch, *root));
        }
    }
    Ok(())
}

/// The transactions that anchored the batches from `first` on, whose roots are `theirs`.
async fn find_anchors(
    chain: &Chain,
    plan: &mut ChainPlan,
    (first, theirs): (i64, &[Hash]),
    newest: &Block,
) -> Result<(), RecoverError> {
    let mut rest = theirs;
    let mut batch = first;
    while !rest.is_empty() {
        let foreign = |what: &str| RecoverError::Foreign {
            chain_id: plan.chain_id,
            batch,
            what: what.to_owned(),
        };
        let registry = plan.registry;
        let mut event = None;
        for blocks in backwards(newest.number) {
            event = chain
                .anchored_within(registry, batch.cast_unsigned(), blocks)
                .await?;
            if event.is_some() {
                break;
            }
        }
        let tx = event.ok_or_else(|| foreign("its event is not found"))?.tx;
        let shown = hex::encode(&tx);
        let raw = chain.raw_transaction(tx).await?;
        let raw =
            raw.ok_or_else(|| foreign("the RPC does not give the bytes of its transaction"))?;
        let (transaction, signer) = Signed::read(&raw).ok_or_else(|| foreign(&shown))?;
        let count = transaction.input.len().saturating_sub(CALL_HEAD) / 32;
        let roots = rest.get(..count).unwrap_or_default();
        let same = transaction.input == anchor_call(batch.cast_unsigned(), roots)
            && signer == plan.account
            && transaction.to == Some(registry);
        if count == 0 || !same {
            return Err(foreign(&shown));
        }
        let receipt = chain.receipt(tx).await?;
        let receipt = receipt.ok_or_else(|| foreign(&shown))?;
        let block = chain.block(receipt.block_hash).await?;
        let block = block.ok_or_else(|| foreign(&shown))?;
        plan.mined.push(tx);
        plan.found.push(FoundAnchor {
            first_batch: batch,
            last_batch: batch + count as i64 - 1,
            signed: Signed { hash: tx, raw },
            transaction,
            receipt,
            block,
        });
        rest = &rest[count..];
        batch += count as i64;
    }
    Ok(())
}

/// Ranges of blocks from this one down to the first.
fn backwards(newest: u64) -> impl Iterator<Item = RangeInclusive<u64>> {
    let mut end = Some(newest);
    std::iter::from_fn(move || {
        let last = end?;
        let first = last.saturating_sub(BLOCKS - 1);
        end = first.checked_sub(1);
        Some(first..=last)
    })
}

/// Writes what the chain has, and forgets what can never be mined.
pub(super) async fn apply(
    db: &mut PgConnection,
    plan: &ChainPlan,
    discarded_from: Option<i64>,
    now: OffsetDateTime,
) -> Result<(), RecoverError> {
    let mut kept: Vec<Anchor> = Vec::new();
    for anchor in anchors::open(db, plan.chain_id).await? {
        let attempts = anchors::attempts(db, anchor.anchor_id).await?;
        let mined = attempts
            .iter()
            .any(|attempt| plan.mined.contains(&attempt.tx_hash));
        let discarded = discarded_from.is_some_and(|from| from <= anchor.last_batch);
        let waits = anchor.nonce >= plan.nonce && anchor.first_batch >= plan.next_batch;
        if !discarded && (mined || waits) {
            kept.push(anchor);
        } else {
            store::delete_anchor(db, anchor.anchor_id).await?;
        }
    }
    for found in &plan.found {
        let nonce = found.transaction.nonce.cast_signed();
        if !kept.iter().any(|anchor| anchor.nonce == nonce) {
            store::insert_found(db, plan.chain_id, (plan.registry, plan.account), found, now)
                .await?;
        }
    }
    let next_nonce = kept.iter().map(|anchor| anchor.nonce + 1);
    let next_batch = kept.iter().map(|anchor| anchor.last_batch + 1);
    let next_nonce = next_nonce.fold(plan.nonce, i64::max);
    let next_batch = next_batch.fold(plan.next_batch, i64::max);
    store::set_chain_head(db, plan.chain_id, plan.account, next_nonce, next_batch).await?;
    Ok(())
}
