//! An alarm on what moves and is not ours: the account's nonce, the registry's next batch, and who may
//! anchor there. Each means that somebody else has our key, or that the owner has spoken. And one on what
//! was final and is gone: the chain went back further than its finality says.
//!
//! The chain is read first, at one block, and the database after: it can only know more. What it does not
//! know then is not ours, and nothing more is signed on that chain. Recording and sealing go on.

use counterfoil_proofs::hex;
use sqlx::{Connection, PgConnection, PgPool};

use super::startup::{Publisher, Ready};
use super::store::anchors::{self, Anchor, State};
use super::store::chains::{self, ChainHead};
use crate::chain::{Account, At, ChainError};
use crate::telemetry;

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Everything is ours.
    Ours,
    /// Something is not; it is logged, counted, and stops the chain.
    Foreign(String),
    /// What was final is not on the chain any more. It is taken back, and the chain stops.
    Gone(String),
    /// Another account or another registry takes over, so nothing of it is ours to judge.
    HandedOver,
    /// The RPCs do not agree on the newest block; they have an alarm of their own.
    Undecided,
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

/// What the chain says at one block.
struct Seen {
    nonce: i64,
    next_batch: i64,
    may_anchor: Account,
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
    let (chain_id, registry) = (publisher.chain_id, ready.registry());
    let seen = match look(publisher, registry.address).await {
        Err(error) if error.is_undecided() => return Ok(Outcome::Undecided),
        seen => seen?,
    };
    let account = publisher.signer.account();
    let mut conn = pool.acquire().await?;
    let current = chains::registry(&mut conn, chain_id).await?;
    let head = chains::head(&mut conn, chain_id).await?;
    let head = head.filter(|head| head.account == account && !head.is_rotating);
    let (Some(head), true) = (head, current.as_ref() == Some(registry)) else {
        telemetry::nothing_of_ours(chain_id);
        return Ok(Outcome::HandedOver);
    };
    let open = anchors::open(&mut conn, chain_id).await?;
    let foreign = foreign(&seen, account, &sent(&head, &open));
    let gauge = metrics::gauge!(telemetry::FOREIGN_MOVES, "chain" => chain_id.to_string());
    gauge.set(if foreign.is_some() { 1.0 } else { 0.0 });
    if let Some(reason) = foreign {
        super::halt(&mut conn, chain_id, &reason).await?;
        return Ok(Outcome::Foreign(reason));
    }
    let last = anchors::last_finalized(&mut conn, chain_id).await?;
    let last = last.filter(|last| last.registry == registry.address);
    let Some(last) = last.filter(|last| seen.next_batch <= last.last_batch) else {
        return Ok(Outcome::Ours);
    };
    match gone(&mut conn, publisher, &last).await? {
        Some(gone) => take_back(&mut conn, publisher, &last, gone).await,
        None => Ok(Outcome::Ours),
    }
}

async fn look(publisher: &Publisher, registry: Account) -> Result<Seen, ChainError> {
    let (chain, account) = (&publisher.chain, publisher.signer.account());
    let at = At::Block(chain.latest().await?.hash);
    Ok(Seen {
        nonce: chain.nonce(account, at).await?.cast_signed(),
        next_batch: chain.next_batch(registry, at).await?.cast_signed(),
        may_anchor: chain.publisher(registry, at).await?,
    })
}

/// What of it was not done from here.
fn foreign(seen: &Seen, account: Account, sent: &Sent) -> Option<String> {
    let Seen {
        nonce,
        next_batch,
        may_anchor,
    } = *seen;
    if nonce > sent.nonces {
        let nonces = sent.nonces;
        return Some(format!(
            "the account has used {nonce} nonces, {nonces} of them from here: somebody else has its key"
        ));
    }
    if next_batch > sent.batches {
        let (last, ours) = (next_batch - 1, sent.batches - 1);
        return Some(format!(
            "the registry has batches up to {last}, sent from here are {ours}: somebody else has the key"
        ));
    }
    (may_anchor != account).then(|| {
        let (may, account) = (hex::encode(&may_anchor), hex::encode(&account));
        format!("the registry takes batches from {may}, our account is {account}")
    })
}

/// An anchor that was final is not there at a block that is at least as high as its own.
struct Gone {
    was_in: i64,
    block: i64,
    next_batch: i64,
}

/// Whether an anchor that was final is gone; none while an RPC may only be behind it.
async fn gone(
    conn: &mut PgConnection,
    publisher: &Publisher,
    last: &Anchor,
) -> Result<Option<Gone>, GuardError> {
    let attempts = anchors::attempts(conn, last.anchor_id).await?;
    let was_in = attempts.iter().find_map(|attempt| attempt.block_number);
    let chain = &publisher.chain;
    let finalized = match chain.finalized().await {
        Err(error) if error.is_undecided() => None,
        finalized => finalized?,
    };
    // one that others brought there has no block of ours, and is missed when the next one is signed
    let (Some(was_in), Some(block)) = (was_in, finalized) else {
        return Ok(None);
    };
    if block.number.cast_signed() < was_in {
        return Ok(None);
    }
    let next_batch = chain.next_batch(last.registry, At::Block(block.hash));
    let next_batch = next_batch.await?.cast_signed();
    Ok((next_batch <= last.last_batch).then_some(Gone {
        was_in,
        block: block.number.cast_signed(),
        next_batch,
    }))
}

/// Has what is gone sent again, with the same bytes, once an operator has looked and resumed the chain.
async fn take_back(
    conn: &mut PgConnection,
    publisher: &Publisher,
    last: &Anchor,
    gone: Gone,
) -> Result<Outcome, GuardError> {
    let Gone {
        was_in,
        block,
        next_batch,
    } = gone;
    let batch = last.last_batch;
    let reason = format!(
        "batch {batch} was final in block {was_in}, and at block {block} the registry expects batch \
         {next_batch}: the chain went back further than its finality says; see \"A chain went back\" in \
         docs/OPERATIONS.md"
    );
    let chain_id = publisher.chain_id;
    let mut tx = conn.begin().await?;
    chains::lock_head(&mut tx, chain_id).await?;
    super::halt(&mut tx, chain_id, &reason).await?;
    anchors::unfinalized(&mut tx, chain_id, last.registry, next_batch).await?;
    tx.commit().await?;
    Ok(Outcome::Gone(reason))
}

/// The next nonce and the next batch that the chain may be at.
struct Sent {
    nonces: i64,
    batches: i64,
}

/// What is reserved and not signed was not sent.
fn sent(head: &ChainHead, open: &[Anchor]) -> Sent {
    let unsigned = open.iter().find(|anchor| anchor.state == State::Reserved);
    Sent {
        nonces: unsigned.map_or(head.next_nonce, |anchor| anchor.nonce),
        batches: unsigned.map_or(head.next_batch, |anchor| anchor.first_batch),
    }
}
