//! An alarm on what moves and is not ours: the account's nonce, the registry's next batch, and who may
//! anchor there. Each means that somebody else has our key, or that the owner has spoken.
//!
//! The chain is read first, at one block, and the database after: it can only know more. What it does not
//! know then is not ours, and nothing more is signed on that chain. Recording and sealing go on.

use counterfoil_proofs::hex;
use sqlx::PgPool;

use super::startup::{Publisher, Ready};
use super::store::anchors::{self, State};
use super::store::chains::{self, ChainHead};
use crate::chain::{At, ChainError};
use crate::telemetry;

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Everything is ours.
    Ours,
    /// Something is not; it is logged, counted, and stops the chain.
    Foreign(String),
    /// Another account or another registry takes over, so nothing of it is ours to judge.
    HandedOver,
}

/// Why nothing was looked at.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// The chain cannot be asked.
    #[error("the chain cannot be asked")]
    Chain(#[from] ChainError),
    /// The database failed.
    #[error("the database failed while moves were looked at")]
    Database(#[from] sqlx::Error),
}

/// Compares what a chain has seen of our account and our registry with what was sent from here.
///
/// # Errors
/// [`GuardError`]; the next step looks again.
pub async fn step(
    pool: &PgPool,
    publisher: &Publisher,
    ready: &Ready,
) -> Result<Outcome, GuardError> {
    let (chain, chain_id) = (&publisher.chain, publisher.chain_id);
    let (account, registry) = (publisher.signer.account(), ready.registry());
    let at = At::Block(chain.latest().await?.hash);
    let nonce = chain.nonce(account, at).await?.cast_signed();
    let next_batch = chain.next_batch(registry.address, at).await?.cast_signed();
    let may = chain.publisher(registry.address, at).await?;
    let mut conn = pool.acquire().await?;
    let current = chains::registry(&mut conn, chain_id).await?;
    let head = chains::head(&mut conn, chain_id).await?;
    let head = head.filter(|head| head.account == account && !head.is_rotating);
    let (Some(head), true) = (head, current.as_ref() == Some(registry)) else {
        return Ok(Outcome::HandedOver);
    };
    let open = anchors::open(&mut conn, chain_id).await?;
    let Sent { nonces, batches } = sent(&head, &open);
    let foreign = if nonce > nonces {
        Some(format!(
            "the account has used {nonce} nonces, {nonces} of them from here: somebody else has its key"
        ))
    } else if next_batch > batches {
        let last = next_batch - 1;
        Some(format!(
            "the registry has batches up to {last}, sent from here are {}: somebody else has the key",
            batches - 1
        ))
    } else if may != account {
        let (may, account) = (hex::encode(&may), hex::encode(&account));
        Some(format!(
            "the registry takes batches from {may}, our account is {account}"
        ))
    } else {
        None
    };
    let gauge = metrics::gauge!(telemetry::FOREIGN_MOVES, "chain" => chain_id.to_string());
    gauge.set(if foreign.is_some() { 1.0 } else { 0.0 });
    let Some(reason) = foreign else {
        return Ok(Outcome::Ours);
    };
    super::halt(&mut conn, chain_id, &reason).await?;
    Ok(Outcome::Foreign(reason))
}

/// The next nonce and the next batch that the chain may be at.
struct Sent {
    nonces: i64,
    batches: i64,
}

/// What is reserved and not signed was not sent.
fn sent(head: &ChainHead, open: &[anchors::Anchor]) -> Sent {
    let unsigned = open.iter().find(|anchor| anchor.state == State::Reserved);
    Sent {
        nonces: unsigned.map_or(head.next_nonce, |anchor| anchor.nonce),
        batches: unsigned.map_or(head.next_batch, |anchor| anchor.first_batch),
    }
}
