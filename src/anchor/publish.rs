//! Publishing: a nonce and a range of batches are reserved, a transaction is signed and its bytes are
//! committed. Only [`broadcast`](super::broadcast) sends, and only committed bytes.
//!
//! One anchor a chain is signed and not mined at any time. What is not yet signed after a crash is
//! signed by the next step; what is signed is never signed again.

use std::time::Duration;

use counterfoil_proofs::Hash;
use sqlx::{PgConnection, PgPool};

use super::budget;
use super::fees::call_gas;
use super::sign::sign;
use super::startup::{self, Publisher, Ready, StartupError};
use super::store::anchors::{self, Anchor, State};
use super::store::chains::{self, ChainHead};
use super::store::{RowCount, batches};
use crate::chain::{ChainError, Fees, KeyError};
use crate::clock::Clock;
use crate::database;
use crate::limits;

/// What a step of publishing did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Every batch is in an anchor.
    Nothing,
    /// A signed anchor is not mined yet.
    InFlight,
    /// Anchoring on this chain has stopped until somebody has looked.
    Halted,
    /// An operator has paused it, or its account is being replaced: nothing new is signed.
    Paused,
    /// Gas costs more than the ceiling; what waits goes together in one call once it does not.
    TooDear,
    /// Gas is dearer than usual, and the oldest sale may still wait.
    WaitsForCheaper,
    /// It could cost more than is left of the day's budget.
    OverBudget,
    /// A mined anchor is being reorganised away, or this is the end of a chain that may still change;
    /// nothing is signed before that is settled.
    Unsettled,
    /// A transaction was signed and its bytes are committed.
    Signed {
        /// Its first batch.
        first_batch: i64,
        /// Its last.
        last_batch: i64,
        /// Its hash.
        tx: Hash,
    },
    /// Another worker did it meanwhile.
    Lost,
}

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The chain cannot be asked.
    #[error("the chain cannot be asked")]
    Chain(#[from] ChainError),
    /// The database failed.
    #[error("the database failed while publishing")]
    Database(#[from] sqlx::Error),
    /// The database is not the one it was.
    #[error("the database cannot be anchored from")]
    Startup(#[from] StartupError),
    /// The chain was never begun.
    #[error("chain {0} has no head: it was not checked")]
    NoHead(i64),
    /// Another registry took over, or none.
    #[error(
        "the registry of chain {0} is another one since this worker was started; start it again"
    )]
    OtherRegistry(i64),
    /// A head was not where it was read.
    #[error("a row changed while an anchor was reserved")]
    Changed(#[from] RowCount),
    /// An RPC asks for more gas than a transaction may have: signed for, it would never be mined.
    #[error(
        "the RPC estimates {estimate} gas, and a transaction may have {}",
        limits::TRANSACTION_GAS
    )]
    Gas {
        /// What it says.
        estimate: u64,
    },
    /// The key cannot sign.
    #[error("the transaction cannot be signed")]
    Key(#[source] KeyError),
    /// The computation was cut off.
    #[error("the computation of a root was cut off")]
    CutOff(#[from] tokio::task::JoinError),
}

/// Signs the next anchor of a chain, if there is one to sign.
///
/// # Errors
/// [`PublishError`]; the next step finds out how far this one came.
pub async fn step(
    pool: &PgPool,
    publisher: &Publisher,
    ready: &Ready,
    clock: &Clock,
) -> Result<Outcome, PublishError> {
    let chain_id = publisher.chain_id;
    startup::check_database(pool).await?;
    let mut conn = pool.acquire().await?;
    let head = chains::head(&mut conn, chain_id)
        .await?
        .ok_or(PublishError::NoHead(chain_id))?;
    if head.halted.is_some() {
        return Ok(Outcome::Halted);
    }
    if head.is_paused || head.is_rotating {
        return Ok(Outcome::Paused);
    }
    check_ours(&mut conn, publisher, ready, &head).await?;
    let open = anchors::open(&mut conn, chain_id).await?;
    if open.iter().any(|anchor| anchor.state == State::Submitted) {
        return Ok(Outcome::InFlight);
    }
    let reserved = open.iter().find(|anchor| anchor.state == State::Reserved);
    let anchor = match reserved {
        Some(reserved) => *reserved,
        None => match next(&mut conn, &head, ready).await? {
            Some(next) => next,
            None => return Ok(Outcome::Nothing),
        },
    };
    let oldest = batches::oldest_sale(&mut conn, anchor.first_batch).await?;
    drop(conn);
    // a range before it is free again: what is mined of later ones is settled first
    let is_mined = |it: &&Anchor| it.state == State::Mined;
    if open
        .iter()
        .filter(is_mined)
        .any(|it| it.last_batch >= anchor.first_batch)
    {
        return Ok(Outcome::Unsettled);
    }
    let oldest = oldest.unwrap_or(clock.now());
    let fees = match offer(pool, publisher, &anchor, clock.since(oldest), clock).await? {
        Ok(fees) => fees,
        Err(outcome) => return Ok(outcome),
    };
    let anchor = match reserved {
        Some(_) => anchor,
        None => match reserve(pool, ready, &head, anchor, clock).await? {
            Some(anchor) => anchor,
            None => return Ok(Outcome::Lost),
        },
    };
    sign(pool, publisher, &anchor, fees, clock).await
}

/// Refuses to go on where another account or another registry has taken over since the chain was checked.
async fn check_ours(
    conn: &mut PgConnection,
    publisher: &Publisher,
    ready: &Ready,
    head: &ChainHead,
) -> Result<(), PublishError> {
    let (chain_id, account) = (publisher.chain_id, publisher.signer.account());
    if head.account != account {
        return Err(PublishError::Startup(StartupError::OtherAccount {
            chain_id,
            before: head.account,
            account,
        }));
    }
    if chains::registry(conn, chain_id).await?.as_ref() != Some(ready.registry()) {
        return Err(PublishError::OtherRegistry(chain_id));
    }
    Ok(())
}

/// What would be reserved now: the next nonce and all batches that wait, as many as one call takes.
async fn next(
    conn: &mut PgConnection,
    head: &ChainHead,
    ready: &Ready,
) -> Result<Option<Anchor>, sqlx::Error> {
    let newest = batches::newest(conn).await?.unwrap_or(0);
    Ok((newest >= head.next_batch).then(|| Anchor {
        anchor_id: 0,
        registry: ready.registry().address,
        account: head.account,
        nonce: head.next_nonce,
        first_batch: head.next_batch,
        last_batch: newest.min(head.next_batch + limits::ANCHOR_BATCHES - 1),
        state: State::Reserved,
    }))
}

/// What is offered for an anchor now, while the oldest sale is this old, or why it has to wait. Until
/// something is reserved more and more batches go together in one call.
async fn offer(
    pool: &PgPool,
    publisher: &Publisher,
    anchor: &Anchor,
    oldest: Duration,
    clock: &Clock,
) -> Result<Result<Fees, Outcome>, PublishError> {
    let policy = &publisher.policy;
    let price = publisher.chain.gas_price().await?;
    let Some(fees) = policy.first_offer(&price) else {
        return Ok(Err(Outcome::TooDear));
    };
    if policy.waits_for_cheaper(&price, oldest) {
        return Ok(Err(Outcome::WaitsForCheaper));
    }
    let batches = anchor.last_batch - anchor.first_batch + 1;
    let gas = with_margin(call_gas(batches.cast_unsigned()));
    if !budget::allows(pool, publisher, None, gas, &fees, clock).await? {
        return Ok(Err(Outcome::OverBudget));
    }
    Ok(Ok(fees))
}

/// What is not used is not paid; a quarter more outlasts a change of a chain's prices.
pub(super) fn with_margin(gas: u64) -> u64 {
    gas.saturating_add(gas / 4)
}

/// Takes a nonce and a range of batches, if the head is where it was; none where another worker did.
async fn reserve(
    pool: &PgPool,
    ready: &Ready,
    head: &ChainHead,
    mut anchor: Anchor,
    clock: &Clock,
) -> Result<Option<Anchor>, PublishError> {
    let chain_id = ready.registry().chain_id;
    let mut tx = database::begin(pool).await?;
    if chains::lock_head(&mut tx, chain_id).await?.as_ref() != Some(head) {
        return Ok(None);
    }
    // a successor is pinned by whoever holds the head
    if chains::registry(&mut tx, chain_id).await?.as_ref() != Some(ready.registry()) {
        return Ok(None);
    }
    anchor.anchor_id = anchors::reserve(&mut tx, chain_id, &anchor, clock.now()).await?;
    let moved = chains::move_head(&mut tx, chain_id, head, anchor.last_batch + 1).await?;
    RowCount::check("the moving of the chain's head", 1, moved)?;
    tx.commit().await?;
    Ok(Some(anchor))
}
