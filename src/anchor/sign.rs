//! Signing what is reserved: chain and batches are looked at once more, then the bytes are made, and
//! committed before anything leaves the process.

use counterfoil_proofs::hex;
use sqlx::PgPool;

use super::budget;
use super::publish::{Outcome, PublishError, with_margin};
use super::roots::checked_roots;
use super::startup::Publisher;
use super::store::anchors::{self, Anchor};
use super::store::chains;
use crate::chain::{At, Chain, ChainError, Fees, Signed, Transaction, anchor_call};
use crate::clock::Clock;
use crate::database;
use crate::{limits, telemetry};

/// Signs a reserved anchor, outside any transaction, and commits the bytes.
pub(super) async fn sign(
    pool: &PgPool,
    publisher: &Publisher,
    anchor: &Anchor,
    fees: Fees,
    clock: &Clock,
) -> Result<Outcome, PublishError> {
    let Publisher {
        chain,
        chain_id,
        signer,
        ..
    } = publisher;
    if let Some(outcome) = refuse(pool, publisher, anchor).await? {
        return Ok(outcome);
    }
    let roots = match checked_roots(pool, anchor).await? {
        Ok(roots) => roots,
        Err(fault) => {
            metrics::counter!(telemetry::SELF_CHECK_FAILURES, "check" => "root").increment(1);
            return halt(pool, *chain_id, &fault.to_string()).await;
        }
    };
    let input = anchor_call(anchor.first_batch.cast_unsigned(), &roots);
    let gas_limit = gas_limit(chain, anchor, &input).await?;
    // some chains ask for more gas than the call itself takes, which was looked at before it was reserved
    if !budget::allows(pool, publisher, None, gas_limit, &fees, clock).await? {
        return Ok(Outcome::OverBudget);
    }
    let transaction = Transaction {
        chain_id: chain_id.cast_unsigned(),
        nonce: anchor.nonce.cast_unsigned(),
        to: Some(anchor.registry),
        input,
        gas_limit,
        fees,
    };
    let signed = signer.sign(&transaction).await.map_err(PublishError::Key)?;
    keep(pool, publisher, anchor, &transaction, &signed, clock).await
}

/// Commits the bytes, unless another worker has, or an operator stopped it meanwhile.
async fn keep(
    pool: &PgPool,
    publisher: &Publisher,
    anchor: &Anchor,
    transaction: &Transaction,
    signed: &Signed,
    clock: &Clock,
) -> Result<Outcome, PublishError> {
    let chain_id = publisher.chain_id;
    let mut tx = database::begin(pool).await?;
    // an operator may have spoken while the key was asked
    match chains::lock_head(&mut tx, chain_id).await? {
        Some(head) if head.halted.is_some() => return Ok(Outcome::Halted),
        Some(head) if head.is_paused || head.is_rotating => return Ok(Outcome::Paused),
        _ => {}
    }
    if !anchors::submitted(&mut tx, anchor.anchor_id).await? {
        return Ok(Outcome::Lost);
    }
    let now = clock.now();
    anchors::insert_attempt(&mut tx, anchor.anchor_id, 1, transaction, signed, now).await?;
    tx.commit().await?;
    let Anchor {
        first_batch,
        last_batch,
        nonce,
        ..
    } = *anchor;
    let hash = hex::encode(&signed.hash);
    tracing::info!(
        chain_id,
        first_batch,
        last_batch,
        nonce,
        tx = hash,
        "signed"
    );
    Ok(Outcome::Signed {
        first_batch,
        last_batch,
        tx: signed.hash,
    })
}

/// Gas for the call of an anchor; an error where no block would take so much.
async fn gas_limit(chain: &Chain, anchor: &Anchor, input: &[u8]) -> Result<u64, PublishError> {
    let to = Some(anchor.registry);
    let estimate = chain.estimate_gas(anchor.account, to, input).await?;
    let gas_limit = with_margin(estimate);
    if gas_limit > limits::TRANSACTION_GAS {
        return Err(PublishError::Gas { estimate });
    }
    Ok(gas_limit)
}

/// Whether the registry takes an anchor next, from its account.
enum Fit {
    Fits,
    /// It does not have the batches before yet.
    Behind,
    /// It never will, and why.
    Fault(String),
}

async fn fit(chain: &Chain, anchor: &Anchor, at: At) -> Result<Fit, ChainError> {
    let first = anchor.first_batch.cast_unsigned();
    let next_batch = chain.next_batch(anchor.registry, at).await?;
    let may = chain.publisher(anchor.registry, at).await?;
    Ok(if next_batch < first {
        Fit::Behind
    } else if next_batch > first {
        Fit::Fault(format!(
            "the registry expects batch {next_batch}, batch {first} was never sent"
        ))
    } else if may != anchor.account {
        let (may, account) = (hex::encode(&may), hex::encode(&anchor.account));
        Fit::Fault(format!(
            "the registry takes batches from {may}, our account is {account}"
        ))
    } else {
        Fit::Fits
    })
}

/// What speaks against signing this anchor now, if anything does. Only a finalized block stops anchoring:
/// an RPC may be behind, and the newest blocks may go.
async fn refuse(
    pool: &PgPool,
    publisher: &Publisher,
    anchor: &Anchor,
) -> Result<Option<Outcome>, PublishError> {
    let Publisher {
        chain, chain_id, ..
    } = publisher;
    match fit(chain, anchor, At::Latest).await? {
        Fit::Fits => return Ok(None),
        Fit::Behind => return Ok(Some(Outcome::Unsettled)),
        Fit::Fault(_) => {}
    }
    let Some(finalized) = chain.finalized().await? else {
        return Ok(Some(Outcome::Unsettled));
    };
    let Fit::Fault(reason) = fit(chain, anchor, At::Block(finalized.hash)).await? else {
        return Ok(Some(Outcome::Unsettled));
    };
    // read after the chain: another worker may have signed this very anchor, and had it mined
    let open = anchors::open(&mut *pool.acquire().await?, *chain_id).await?;
    if !open.contains(anchor) {
        return Ok(Some(Outcome::Lost));
    }
    halt(pool, *chain_id, &reason).await.map(Some)
}

/// Stops anchoring on this chain until somebody has looked.
async fn halt(pool: &PgPool, chain_id: i64, reason: &str) -> Result<Outcome, PublishError> {
    super::halt(&mut *pool.acquire().await?, chain_id, reason).await?;
    Ok(Outcome::Halted)
}
