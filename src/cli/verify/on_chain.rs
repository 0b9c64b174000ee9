//! What a chain says of a receipt. It is told the registry, the number of the batch, and for the hints
//! the height of a block; never a field of the sale.

use counterfoil_proofs::caip::Caip10;
use counterfoil_proofs::receipt::{Anchor, AnchorState, BatchRef, CheckError, Outcome, Receipt};
use counterfoil_proofs::{Hash, hex};

use super::Step;
use crate::chain::{Account, At, Block, Chain, ChainError, runtime_code_hash};

/// How far a chain's clock may be behind a database's, milliseconds.
const CLOCKS_DIFFER_MS: u64 = 15 * 60 * 1000;

/// Why a receipt is not proved by a chain.
#[derive(Debug, thiserror::Error)]
pub enum NotOnChain {
    /// It does not hold in itself.
    #[error("the receipt does not hold")]
    Receipt(#[source] CheckError),
    /// Its sale is in no batch yet.
    #[error("the sale is not sealed yet")]
    NotSealed,
    /// The registry has another root.
    #[error("the registry has the root {} for batch {batch}, the receipt leads to {}", hex::encode(.found), hex::encode(.root))]
    OtherRoot {
        /// The batch.
        batch: u64,
        /// The root in the registry.
        found: Hash,
        /// Where the receipt leads.
        root: Hash,
    },
    /// The registry has no root, though the receipt says that it has one for good.
    #[error(
        "the registry has no root for batch {batch}, though the receipt calls it finalized; is it the right registry?"
    )]
    Missing {
        /// The batch.
        batch: u64,
    },
    /// The registry has no root yet.
    #[error("the registry has no root for batch {batch} yet")]
    NotAnchored {
        /// The batch.
        batch: u64,
    },
    /// The registry has the root, at a block that may still be reorganised.
    #[error(
        "only mined: the registry has the root of batch {batch}, but not at a finalized block yet"
    )]
    OnlyMined {
        /// The batch.
        batch: u64,
    },
    /// The chain cannot be asked.
    #[error("the chain cannot be asked")]
    Chain(#[from] ChainError),
}

impl NotOnChain {
    /// Whether it says that the receipt is not valid, and not merely that it is not proved yet.
    pub fn is_failure(&self) -> bool {
        matches!(
            self,
            Self::Receipt(_) | Self::OtherRoot { .. } | Self::Missing { .. }
        )
    }
}

/// Checks a receipt against a registry, whose chain `chain` must be, and gives the finalized block at
/// which the registry has the root that the sale's fields lead to.
///
/// # Errors
/// [`NotOnChain`], when it is not so or cannot be known.
pub async fn receipt_on_chain(
    receipt: &Receipt,
    chain: &Chain,
    registry: Caip10,
) -> Result<Block, NotOnChain> {
    let checked = receipt.check();
    for (_, outcome) in checked.steps {
        if let Outcome::Failed(error) = outcome {
            return Err(NotOnChain::Receipt(error));
        }
    }
    let (root, batch) = match (checked.root, &receipt.batch) {
        (Some(root), Some(batch)) => (root, batch.id),
        _ => return Err(NotOnChain::NotSealed),
    };
    let address = registry.address;
    let finalized = chain.finalized().await?;
    let found = match &finalized {
        Some(block) => chain.root_of(address, batch, At::Block(block.hash)).await?,
        None => None,
    };
    if let (Some(found), Some(block)) = (found, finalized) {
        return if found == root {
            Ok(block)
        } else {
            Err(NotOnChain::OtherRoot { batch, found, root })
        };
    }
    match chain.root_of(address, batch, At::Latest).await? {
        Some(found) if found == root => Err(NotOnChain::OnlyMined { batch }),
        Some(found) => Err(NotOnChain::OtherRoot { batch, found, root }),
        // on this chain: on another it may be final long before
        None if receipt.anchors.iter().any(|anchor| {
            anchor.registry.chain_id == registry.chain_id && anchor.state == AnchorState::Finalized
        }) =>
        {
            Err(NotOnChain::Missing { batch })
        }
        None => Err(NotOnChain::NotAnchored { batch }),
    }
}

/// Whether the registry's code is the one whose word counts: SPEC, "Registry".
pub(super) async fn registry_code(chain: &Chain, registry: Caip10) -> Step {
    match chain.code_hash(registry.address, At::Latest).await {
        Ok(Some(code)) if code == runtime_code_hash() => Step::Ok(hex::encode(&code)),
        Ok(Some(code)) => Step::NotChecked(format!(
            "the contract has code with the hash {}, which this program does not know",
            hex::encode(&code)
        )),
        Ok(None) => Step::Failed(format!("there is no contract at {registry}")),
        Err(error) => Step::NotChecked(format!("the chain cannot be asked: {error}")),
    }
}

/// Compares what the receipt says of its anchor with the chain. Nothing of it is needed for the proof;
/// but a receipt that misstates it was changed.
pub(super) async fn anchor_hints(
    receipt: &Receipt,
    chain: &Chain,
    registry: Caip10,
) -> Vec<(String, Step)> {
    let name = "what it says of its anchor".to_owned();
    let Some(batch) = &receipt.batch else {
        return Vec::new();
    };
    let Some(anchor) = receipt
        .anchors
        .iter()
        .find(|anchor| anchor.registry == registry)
    else {
        // its own anchors are hints, but one that leaves out where it is anchored was changed
        let text = format!("the receipt does not name {registry}, which has its root");
        return vec![(name, Step::Failed(text))];
    };
    let step = match contradiction(anchor, chain, registry.address, batch).await {
        Ok(None) => Step::Ok("agrees with the chain".to_owned()),
        // what was not final when the receipt was served may be another by now
        Ok(Some(what)) if anchor.state != AnchorState::Finalized => {
            Step::Note(format!("out of date ({what}); fetch the receipt again"))
        }
        Ok(Some(what)) => Step::Failed(what.to_owned()),
        Err(error) => Step::Note(format!("not compared: {error}")),
    };
    vec![(name, step)]
}

async fn contradiction(
    anchor: &Anchor,
    chain: &Chain,
    registry: Account,
    batch: &BatchRef,
) -> Result<Option<&'static str>, ChainError> {
    let (batch, sealed_at) = (batch.id, batch.sealed_at.millis());
    // which explorer is a matter of taste and time
    if let (Some(url), Some(tx)) = (&anchor.explorer_url, &anchor.tx)
        && !url.contains(&hex::encode(tx))
    {
        return Ok(Some("explorer_url is not of the transaction"));
    }
    let Some(block) = &anchor.block else {
        return Ok(None);
    };
    let found = chain.anchored_at(registry, batch, block.number).await?;
    let Some(found) = found else {
        return Ok(Some(
            "block.number: the batch was not anchored in that block",
        ));
    };
    if found.block_hash != block.hash {
        return Ok(Some("block.hash is another block's"));
    }
    if anchor.tx.is_some_and(|tx| tx != found.tx) {
        return Ok(Some("tx is another transaction's hash"));
    }
    // nothing in a receipt commits to it, so it can only be bounded
    if sealed_at > block.time.millis().saturating_add(CLOCKS_DIFFER_MS) {
        return Ok(Some("batch.sealed_at is after its anchor's block"));
    }
    let header = chain.block_at(block.number).await?;
    if header.is_some_and(|header| header.time.saturating_mul(1000) != block.time.millis()) {
        return Ok(Some("block.time is not the block's"));
    }
    Ok(None)
}
