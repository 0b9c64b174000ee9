//! Broadcasting: committed bytes are sent until the chain has them.
//!
//! The first sending, the one after a crash, after a transaction was dropped and after a
//! reorganisation are all this step: whatever is signed, not mined, and not known to the RPC is sent,
//! in order of nonce. An error decides nothing; the chain is asked again.

use counterfoil_proofs::{Hash, hex};
use sqlx::PgPool;

use super::startup::Publisher;
use super::store::anchors::{self, State};
use super::store::chains;
use crate::chain::ChainError;
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
            waiting.extend(
                anchors::attempts(&mut conn, anchor.anchor_id)
                    .await?
                    .pop()
                    .map(|it| (anchor, it)),
            );
        }
    }
    drop(conn);
    let mut sent = Sent(0);
    for (anchor, attempt) in waiting {
        let known = chain.knows(attempt.tx_hash).await?;
        if !known {
            let tx = attempt.tx_hash;
            chain
                .send_raw(&attempt.raw)
                .await
                .map_err(|source| BroadcastError::NotTaken { tx, source })?;
            tracing::info!(
                chain_id,
                nonce = anchor.nonce,
                tx = hex::encode(&tx),
                "sent"
            );
            sent.0 += 1;
        }
        if !known || attempt.sent_at.is_none() {
            let mut conn = pool.acquire().await?;
            anchors::sent(&mut conn, anchor.anchor_id, attempt.attempt, clock.now()).await?;
        }
    }
    Ok(sent)
}
