//! Every root against the registries: what the database says is there must be there, for good.

use counterfoil_proofs::Hash;
use counterfoil_proofs::caip::Caip10;
use sqlx::PgPool;

use super::finding::{Findings, Part, Subject, short};
use super::steps::Audit;
use super::store::anchors::{self as store, AnchorRow, RegistryRow};
use crate::anchor::store::batches;
use crate::chain::{At, Chain, ChainError, runtime_code_hash};
use crate::clock::unix_ms;
use crate::sales::stored::fixed;

/// Batches whose roots are read at once.
pub(super) const ROOTS: i64 = 256;
/// Anchors of a read.
const ANCHORS: i64 = 64;

/// Why a chain's side is not known.
#[derive(Debug, thiserror::Error)]
pub enum ChainsError {
    /// The chain.
    #[error("the chain cannot be asked")]
    Chain(#[from] ChainError),
    /// The database.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

/// What became of the registries.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Asked {
    /// Roots that are in a registry at a finalized block, as they are stored.
    pub finalized: u64,
    /// Roots that no finalized block has yet.
    pub waiting: u64,
    /// Batches of files that none of the registries which were named is for.
    pub uncovered: u64,
    /// Registries that were not asked, because no RPC of their chain was given, and of files the chains that
    /// are said to have what was lost.
    pub not_asked: Vec<String>,
}

impl Audit<'_> {
    /// Compares every batch with every registry that it is trusted for. No database transaction is open
    /// while a chain is asked.
    ///
    /// # Errors
    /// [`ChainsError`]; findings up to then were told.
    pub async fn chains(&self, pool: &PgPool, chains: &[Chain]) -> Result<Asked, ChainsError> {
        let mut asked = Asked::default();
        let mut by_id = Vec::with_capacity(chains.len());
        for chain in chains {
            by_id.push((chain.chain_id().await?.cast_signed(), chain));
        }
        let registries = store::registries(&mut *pool.acquire().await?).await?;
        for registry in &registries {
            let Some(address) = fixed(&registry.address) else {
                continue;
            };
            // one that is trusted for nothing need not be asked
            if registry
                .last_batch
                .is_some_and(|last| last < registry.first_batch)
            {
                continue;
            }
            let account = Caip10 {
                chain_id: registry.chain_id.cast_unsigned(),
                address,
            };
            let chain = by_id.iter().find(|(id, _)| *id == registry.chain_id);
            let Some((_, chain)) = chain else {
                asked.not_asked.push(account.to_string());
                continue;
            };
            let mut one = OneRegistry {
                pool,
                chain,
                registry,
                address,
                findings: Findings::default(),
            };
            let compared = one.compare(&mut asked).await;
            self.tell(&one.findings.0);
            compared?;
        }
        Ok(asked)
    }
}

struct OneRegistry<'a> {
    pool: &'a PgPool,
    chain: &'a Chain,
    registry: &'a RegistryRow,
    address: [u8; 20],
    findings: Findings,
}

impl OneRegistry<'_> {
    async fn compare(&mut self, asked: &mut Asked) -> Result<(), ChainsError> {
        let subject = Subject::Chain {
            chain: self.registry.chain_id,
        };
        let code = self.chain.code_hash(self.address, At::Latest).await?;
        let pinned = fixed::<32>(&self.registry.code_hash);
        let same = code.is_some() && code == pinned && code == Some(runtime_code_hash());
        let what = "the code at the registry's address is not the registry's";
        self.findings.check(same, &subject, Part::Chain, what);
        // before the newest batch is read: a batch that the chain has must be here by then
        let next = self.chain.next_batch(self.address, At::Latest).await?;
        let newest = batches::newest(&mut *self.pool.acquire().await?)
            .await?
            .unwrap_or(0);
        let last = self.registry.last_batch.unwrap_or(i64::MAX).min(newest);
        if self.registry.last_batch.is_none() && next > newest.cast_unsigned() + 1 {
            let subject = Subject::Batch { batch: newest + 1 };
            let what = format!("the registry has batches up to {}", next - 1);
            self.findings.add(&subject, Part::Missing, what);
        }
        let mut first = self.registry.first_batch;
        while first <= last {
            let end = last.min(first + ROOTS - 1);
            self.compare_roots(first, end, asked).await?;
            first = end + 1;
        }
        self.compare_anchors().await
    }

    async fn compare_roots(
        &mut self,
        first: i64,
        last: i64,
        asked: &mut Asked,
    ) -> Result<(), ChainsError> {
        let (ours, finalized_up_to) = {
            let mut conn = self.pool.acquire().await?;
            let ours = store::roots(&mut conn, first, last).await?;
            let up_to = store::finalized_up_to(&mut conn, self.registry.chain_id).await?;
            (ours, up_to)
        };
        // after what the database says: it may only be behind
        let at = match self.chain.finalized().await? {
            Some(block) => At::Block(block.hash),
            None => {
                asked.waiting += ours.len() as u64;
                return Ok(());
            }
        };
        let range = first.cast_unsigned()..=last.cast_unsigned();
        let theirs = self.chain.roots_of(self.address, range, at).await?;
        for (batch, root, _) in &ours {
            let Ok(index) = usize::try_from(batch - first) else {
                continue;
            };
            let subject = Subject::Batch { batch: *batch };
            match theirs.get(index).copied().flatten() {
                Some(found) if found == **root => asked.finalized += 1,
                Some(found) => {
                    let chain = self.registry.chain_id;
                    let what = format!(
                        "chain {chain} has the root {}, stored is {}",
                        short(&found),
                        short(root)
                    );
                    self.findings.add(&subject, Part::Chain, what);
                }
                None if *batch <= finalized_up_to => {
                    let chain = self.registry.chain_id;
                    let what = format!("chain {chain} has no root, and its anchor is finalized");
                    self.findings.add(&subject, Part::Chain, what);
                }
                None => asked.waiting += 1,
            }
        }
        Ok(())
    }

    /// Where finalized anchors were mined: a block that is final does not move.
    async fn compare_anchors(&mut self) -> Result<(), ChainsError> {
        let mut after = 0;
        loop {
            let (anchors, attempts) = {
                let mut conn = self.pool.acquire().await?;
                let anchors = store::page(&mut conn, after, ANCHORS).await?;
                let ids: Vec<i64> = anchors.iter().map(|anchor| anchor.anchor_id).collect();
                (anchors, store::attempts(&mut conn, &ids).await?)
            };
            let Some(last) = anchors.last() else {
                return Ok(());
            };
            after = last.anchor_id;
            let final_here = |anchor: &&AnchorRow| {
                anchor.state == "finalized"
                    && anchor.chain_id == self.registry.chain_id
                    && anchor.registry == self.registry.address
            };
            for anchor in anchors.iter().filter(final_here) {
                let own = attempts
                    .iter()
                    .filter(|attempt| attempt.anchor_id == anchor.anchor_id);
                for attempt in own {
                    if anchor.mined_at.is_none() && self.is_included(attempt).await? {
                        let what = "the chain has the transaction, and no block of it is stored";
                        self.findings.add(&attempt.subject(), Part::Chain, what);
                    }
                    if let (Some(number), Some(hash)) = (attempt.block_number, &attempt.block_hash)
                    {
                        let what = self.block_fault(attempt, number, hash).await?;
                        if let Some(what) = what {
                            self.findings.add(&attempt.subject(), Part::Chain, what);
                        }
                    }
                }
            }
        }
    }

    /// Whether the chain says that a transaction is in a block, and did what it was meant to.
    async fn is_included(&self, attempt: &store::AttemptRow) -> Result<bool, ChainError> {
        let Some(tx) = fixed::<32>(&attempt.tx_hash) else {
            return Ok(false);
        };
        let receipt = self.chain.receipt(tx).await?;
        Ok(receipt.is_some_and(|receipt| receipt.succeeded))
    }

    /// What a chain contradicts of an attempt's block. What an RPC does not know, it does not contradict.
    async fn block_fault(
        &self,
        attempt: &store::AttemptRow,
        number: i64,
        hash: &[u8],
    ) -> Result<Option<&'static str>, ChainError> {
        let there = self.chain.block_at(number.cast_unsigned()).await?;
        if let Some(block) = there {
            if block.hash != *hash {
                return Ok(Some("the chain has another block at that height"));
            }
            let time = attempt.block_time.map(unix_ms);
            if time != Some(block.time.cast_signed().saturating_mul(1000)) {
                return Ok(Some("block_time is not the block's"));
            }
        }
        let Some(tx) = fixed::<32>(&attempt.tx_hash) else {
            return Ok(Some("tx_hash does not have 32 bytes"));
        };
        let Some(receipt) = self.chain.receipt(tx).await? else {
            return Ok(None);
        };
        let same: Hash = receipt.block_hash;
        let fee = receipt.rollup_fee.map(|fee| fee.to_string());
        Ok(if same != *hash {
            Some("the chain has the transaction in another block")
        } else if !receipt.succeeded {
            Some("the transaction was reverted")
        } else if attempt.gas_used != Some(receipt.gas_used.cast_signed()) {
            Some("gas_used is not what the chain says")
        } else if attempt.rollup_fee.is_some() && attempt.rollup_fee != fee {
            Some("rollup_fee is not what the chain says")
        } else {
            None
        })
    }
}
