//! Broadcasting: committed bytes are sent until the chain has them.
//!
//! The first sending, the one after a crash, after a transaction was dropped and after a
//! reorganisation are all this step: whatever is signed, not mined, and not known to the RPC is sent,
//! in order of nonce. An error decides nothing; the chain is asked again.

use counterfoil_proofs::{Hash, hex};
use sqlx::PgPool;

use super::startup::Publisher;
use super::store::anchors::{self, Anchor, Attempt, State};
use super::store::chains;
use crate::chain::{Chain, ChainError};
use crate::clock::Clock;

/// How many transactions were sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent(pub usize);

/// Why a transaction may not have been sent.
#[derive(Debug, thiserror::Error)]
pub enum BroadcastError {
    /// The chain cannot be asked.
    #[error("the chain cannot be asked")]
    Chain(#[from] ChainError),
    /// The database failed.
    #[error("the database failed while broadcasting")]
    Database(#[from] sqlx::Error),
    /// The RPC answered a transaction with an error, which does not mean that it was not sent.
    #[error("the RPC did not take transaction {}", hex::encode(.tx))]
    NotTaken {
        /// Its hash.
        tx: Hash,
        /// What the RPC said.
        #[source]
        source: ChainError,
    },
}

/// Sends what is signed and not mined and what the RPC does not know.
///
/// # Errors
/// [`BroadcastError`]; what comes after the one that failed was not tried, as it waits for its nonce.
pub async fn step(
    pool: &PgPool,
    publisher: &Publisher,
    clock: &Clock,
) -> Result<Sent, BroadcastError> {
    let Publisher {
        chain, chain_id, ..
    } = publisher;
    let mut conn = pool.acquire().await?;
    let head = chains::head(&mut conn, *chain_id).await?;
    if head.is_none_or(|head| head.halted.is_some()) {
        return Ok(Sent(0));
    }
    let mut waiting = Vec::new();
    for anchor in anchors::open(&mut conn, *chain_id).await? {
        if anchor.state == State::Submitted {
            let attempts = anchors::attempts(&mut conn, anchor.anchor_id).await?;
            waiting.push((anchor, attempts));
        }
    }
    drop(conn);
    let mut sent = Sent(0);
    for (anchor, attempts) in waiting {
        sent.0 += send_newest(pool, chain, &anchor, &attempts, clock).await?;
    }
    Ok(sent)
}

/// Sees that the RPC has the newest transaction of an anchor; how many were sent. Where it does not take
/// that one, it is to have the one before at least: what was dropped may be too cheap for the pool, and a
/// replacement too dear for the wallet.
async fn send_newest(
    pool: &PgPool,
    chain: &Chain,
    anchor: &Anchor,
    attempts: &[Attempt],
    clock: &Clock,
) -> Result<usize, BroadcastError> {
    let mut not_taken = None;
    let mut sent = 0;
    for attempt in attempts.iter().rev() {
        let tx = attempt.tx_hash;
        let known = chain.knows(tx).await?;
        if !known {
            if let Err(source) = chain.send_raw(&attempt.raw).await {
                not_taken.get_or_insert(BroadcastError::NotTaken { tx, source });
                continue;
            }
            let hash = hex::encode(&tx);
            tracing::info!(nonce = anchor.nonce, tx = hash, "sent");
            sent += 1;
        }
        if !known || attempt.sent_at.is_none() {
            let mut conn = pool.acquire().await?;
            anchors::sent(&mut conn, anchor.anchor_id, attempt.attempt, clock.now()).await?;
        }
        break;
    }
    not_taken.map_or(Ok(sent), Err)
}
