//! Replacing: a transaction that waits too long is signed again, with the same nonce and the same call,
//! at higher fees. Both stay: whichever is mined is the anchor's.
//!
//! Only the lowest nonce is raised, as all others wait for it. What is raised is committed before it is
//! sent, by [`broadcast`](super::broadcast), which also sends the old bytes again when they are lost.

use counterfoil_proofs::{Hash, hex};
use sqlx::PgPool;
use time::OffsetDateTime;

use super::budget;
use super::fees::Next;
use super::startup::{self, Publisher, StartupError};
use super::store::anchors::{self, Anchor, Attempt, State};
use super::store::{batches, chains};
use crate::chain::{At, ChainError, KeyError, Signed, Transaction};
use crate::clock::{Clock, from_unix_ms};
use crate::database;
use crate::telemetry;

/// What a step of replacing did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// No transaction waits, or anchoring on this chain has stopped.
    Nothing,
    /// It is not time yet.
    NotDue,
    /// No block was made since the last offer: none has been refused yet.
    StandsStill,
    /// The chain takes each nonce once.
    Off,
    /// The nonce is used, or one before it is not: the chain is to be watched.
    Unsettled,
    /// A higher offer would be above the ceiling. The same bytes go on waiting.
    CannotBeRaised,
    /// A higher offer could cost more than is left of the day's budget.
    OverBudget,
    /// The bytes of a replacement are committed.
    Replaced {
        /// The nonce.
        nonce: i64,
        /// The hash of the replacement.
        tx: Hash,
    },
    /// Another worker did it meanwhile, or the transaction was mined.
    Lost,
}

/// Why nothing was replaced.
#[derive(Debug, thiserror::Error)]
pub enum ReplaceError {
    /// The chain cannot be asked.
    #[error("the chain cannot be asked")]
    Chain(#[from] ChainError),
    /// The database failed.
    #[error("the database failed while replacing a transaction")]
    Database(#[from] sqlx::Error),
    /// The database is not the one it was.
    #[error("the database cannot be anchored from")]
    Startup(#[from] StartupError),
    /// What is stored is no transaction.
    #[error("the stored bytes of transaction {} are not a signed transaction", hex::encode(.tx))]
    Unreadable {
        /// Its hash.
        tx: Hash,
    },
    /// The key cannot sign.
    #[error("the replacement cannot be signed")]
    Key(#[source] KeyError),
}

/// The transaction that waits, and what speaks for replacing it.
struct Waiting {
    anchor: Anchor,
    newest: Attempt,
    oldest_sale: Option<OffsetDateTime>,
    bump: Option<OffsetDateTime>,
}

/// Replaces the transaction with the lowest nonce that waits, if it is time to, or an operator asked.
///
/// # Errors
/// [`ReplaceError`]; the next step finds out how far this one came.
pub async fn step(
    pool: &PgPool,
    publisher: &Publisher,
    clock: &Clock,
) -> Result<Outcome, ReplaceError> {
    startup::check_database(pool).await?;
    let Some(waiting) = read(pool, publisher.chain_id).await? else {
        return Ok(Outcome::Nothing);
    };
    let policy = &publisher.policy;
    if !policy.replace {
        answer(pool, publisher.chain_id, waiting.bump).await?;
        return Ok(Outcome::Off);
    }
    let after = policy.replace_after(clock.since(waiting.oldest_sale.unwrap_or(clock.now())));
    if waiting.bump.is_none() && clock.since(waiting.newest.signed_at) < after {
        return Ok(Outcome::NotDue);
    }
    raise(pool, publisher, &waiting, clock).await
}

async fn read(pool: &PgPool, chain_id: i64) -> Result<Option<Waiting>, sqlx::Error> {
    let mut conn = pool.acquire().await?;
    let head = chains::head(&mut conn, chain_id).await?;
    let Some(head) = head.filter(|head| head.halted.is_none()) else {
        return Ok(None);
    };
    let open = anchors::open(&mut conn, chain_id).await?;
    let lowest = open
        .into_iter()
        .find(|anchor| anchor.state == State::Submitted);
    let Some(anchor) = lowest else {
        // there is nothing that the operator could have meant
        if let Some(at) = head.bump_requested_at {
            chains::bump_answered(&mut conn, chain_id, at).await?;
        }
        return Ok(None);
    };
    let newest = anchors::attempts(&mut conn, anchor.anchor_id).await?.pop();
    let oldest_sale = batches::oldest_sale(&mut conn, anchor.first_batch).await?;
    Ok(newest.map(|newest| Waiting {
        anchor,
        newest,
        oldest_sale,
        bump: head.bump_requested_at,
    }))
}

async fn raise(
    pool: &PgPool,
    publisher: &Publisher,
    waiting: &Waiting,
    clock: &Clock,
) -> Result<Outcome, ReplaceError> {
    let Publisher {
        chain,
        chain_id,
        signer,
        policy,
        ..
    } = publisher;
    let (anchor, tx) = (&waiting.anchor, waiting.newest.tx_hash);
    let used = chain.nonce(anchor.account, At::Latest).await?;
    if used != anchor.nonce.cast_unsigned() {
        return Ok(Outcome::Unsettled);
    }
    let newest_block = from_unix_ms(
        chain
            .latest()
            .await?
            .time
            .cast_signed()
            .saturating_mul(1000),
    );
    if waiting.bump.is_none() && newest_block <= waiting.newest.signed_at {
        return Ok(Outcome::StandsStill);
    }
    let unreadable = ReplaceError::Unreadable { tx };
    let (before, _) = Signed::read(&waiting.newest.raw).ok_or(unreadable)?;
    let Next::Raise(fees) = policy.next_offer(&before.fees, &chain.gas_price().await?) else {
        answer(pool, *chain_id, waiting.bump).await?;
        tracing::debug!(chain_id, nonce = anchor.nonce, "it cannot be raised");
        return Ok(Outcome::CannotBeRaised);
    };
    let transaction = Transaction { fees, ..before };
    let gas = transaction.gas_limit;
    if !budget::allows(pool, publisher, Some(anchor), gas, &fees, clock).await? {
        answer(pool, *chain_id, waiting.bump).await?;
        return Ok(Outcome::OverBudget);
    }
    let signed = signer.sign(&transaction).await.map_err(ReplaceError::Key)?;
    keep(pool, *chain_id, waiting, &transaction, &signed, clock).await
}

/// Commits the bytes, unless another worker has, or the transaction was mined meanwhile.
async fn keep(
    pool: &PgPool,
    chain_id: i64,
    waiting: &Waiting,
    transaction: &Transaction,
    signed: &Signed,
    clock: &Clock,
) -> Result<Outcome, ReplaceError> {
    let anchor = &waiting.anchor;
    let mut tx = database::begin(pool).await?;
    // the row is locked: its newest attempt cannot change before the next one is there
    let state = anchors::lock(&mut tx, anchor.anchor_id).await?;
    let attempts = anchors::attempts(&mut tx, anchor.anchor_id).await?;
    let number = waiting.newest.attempt;
    if state != State::Submitted || attempts.last().is_none_or(|last| last.attempt != number) {
        return Ok(Outcome::Lost);
    }
    let now = clock.now();
    anchors::insert_attempt(
        &mut tx,
        anchor.anchor_id,
        number + 1,
        transaction,
        signed,
        now,
    )
    .await?;
    if let Some(at) = waiting.bump {
        chains::bump_answered(&mut tx, chain_id, at).await?;
    }
    tx.commit().await?;
    metrics::counter!(telemetry::REPLACEMENTS, "chain" => chain_id.to_string()).increment(1);
    let hash = hex::encode(&signed.hash);
    let fee = transaction.fees.max_fee_per_gas;
    tracing::info!(
        chain_id,
        nonce = anchor.nonce,
        tx = hash,
        max_fee_per_gas = fee,
        "replaced"
    );
    Ok(Outcome::Replaced {
        nonce: anchor.nonce,
        tx: signed.hash,
    })
}

/// Answers an operator's request by which nothing can be replaced.
async fn answer(
    pool: &PgPool,
    chain_id: i64,
    bump: Option<OffsetDateTime>,
) -> Result<(), sqlx::Error> {
    if let Some(at) = bump {
        tracing::warn!(chain_id, "the waiting transaction cannot be replaced now");
        chains::bump_answered(&mut *pool.acquire().await?, chain_id, at).await?;
    }
    Ok(())
}
