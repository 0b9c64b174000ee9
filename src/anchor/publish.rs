//! Publishing: a nonce and a range of batches are reserved, a transaction is signed and its bytes are
//! committed. Only [`broadcast`](super::broadcast) sends, and only committed bytes.
//!
//! One anchor a chain is signed and not mined at any time. What is not yet signed after a crash is
//! signed by the next step; what is signed is never signed again.

use counterfoil_proofs::manifest::ManifestError;
use counterfoil_proofs::{Hash, hex};
use sqlx::{PgConnection, PgPool};

use super::startup::{self, Publisher, Ready, StartupError};
use super::store::anchors::{self, Anchor, State};
use super::store::chains::{self, ChainHead};
use super::store::{RowCount, batches};
use crate::chain::{At, ChainError, KeyError, Transaction, anchor_call};
use crate::clock::Clock;
use crate::{limits, telemetry};

/// What a step of publishing did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Every batch is in an anchor.
    Nothing,
    /// A signed anchor is not mined yet.
    InFlight,
    /// Anchoring on this chain has stopped until somebody has looked.
    Halted,
    /// Gas costs more than the ceiling; what waits goes together in one call once it does not.
    TooDear,
    /// An operator has paused it, or its account is being replaced: nothing new is signed.
    Paused,
    /// A mined anchor is being reorganised away; nothing is signed before that is settled.
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
    /// The key cannot sign.
    #[error("the transaction cannot be signed")]
    Key(#[source] KeyError),
    /// The computation was cut off.
    #[error("the computation of a root was cut off")]
    CutOff(#[from] tokio::task::JoinError),
}

/// A stored batch that does not give its stored root.
#[derive(Debug, thiserror::Error)]
enum RootFault {
    #[error("batch {0} is not in the database")]
    Missing(i64),
    #[error("batch {batch} does not hold together: {fault}")]
    Parts { batch: i64, fault: ManifestError },
    #[error("batch {batch} is stored with the root {}, its manifest and leaves give {}",
        hex::encode(.stored), hex::encode(.computed))]
    Root {
        batch: i64,
        stored: Hash,
        computed: Hash,
    },
    #[error("batch {batch} does not follow the batch before")]
    Previous { batch: i64 },
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
    drop(conn);
    if open.iter().any(|anchor| anchor.state == State::Submitted) {
        return Ok(Outcome::InFlight);
    }
    let anchor = match open
        .into_iter()
        .find(|anchor| anchor.state == State::Reserved)
    {
        Some(reserved) => reserved,
        None => match reserve(pool, chain_id, &head, ready, clock).await? {
            Reserved::Anchor(anchor) => anchor,
            Reserved::Nothing => return Ok(Outcome::Nothing),
            Reserved::Lost => return Ok(Outcome::Lost),
        },
    };
    sign(pool, publisher, &anchor, clock).await
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

enum Reserved {
    Anchor(Anchor),
    Nothing,
    Lost,
}

/// Takes the next nonce and all batches that wait, as many as one call takes.
async fn reserve(
    pool: &PgPool,
    chain_id: i64,
    head: &ChainHead,
    ready: &Ready,
    clock: &Clock,
) -> Result<Reserved, PublishError> {
    let mut tx = pool.begin().await?;
    let newest = batches::newest(&mut tx).await?.unwrap_or(0);
    if newest < head.next_batch {
        return Ok(Reserved::Nothing);
    }
    if chains::lock_head(&mut tx, chain_id).await?.as_ref() != Some(head) {
        return Ok(Reserved::Lost);
    }
    // a successor is pinned by whoever holds the head
    if chains::registry(&mut tx, chain_id).await?.as_ref() != Some(ready.registry()) {
        return Ok(Reserved::Lost);
    }
    let mut anchor = Anchor {
        anchor_id: 0,
        registry: ready.registry().address,
        account: head.account,
        nonce: head.next_nonce,
        first_batch: head.next_batch,
        last_batch: newest.min(head.next_batch + limits::ANCHOR_BATCHES - 1),
        state: State::Reserved,
    };
    anchor.anchor_id = anchors::reserve(&mut tx, chain_id, &anchor, clock.now()).await?;
    let moved = chains::move_head(&mut tx, chain_id, head, anchor.last_batch + 1).await?;
    RowCount::check("the moving of the chain's head", 1, moved)?;
    tx.commit().await?;
    Ok(Reserved::Anchor(anchor))
}

/// Signs a reserved anchor, outside any transaction, and commits the bytes.
async fn sign(
    pool: &PgPool,
    publisher: &Publisher,
    anchor: &Anchor,
    clock: &Clock,
) -> Result<Outcome, PublishError> {
    let Publisher {
        chain,
        chain_id,
        signer,
        policy,
        ..
    } = publisher;
    let Some(fees) = policy.first_offer(&chain.gas_price().await?) else {
        return Ok(Outcome::TooDear);
    };
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
    let gas = chain
        .estimate_gas(anchor.account, Some(anchor.registry), &input)
        .await?;
    let transaction = Transaction {
        chain_id: chain_id.cast_unsigned(),
        nonce: anchor.nonce.cast_unsigned(),
        to: Some(anchor.registry),
        input,
        // what is not used is not paid; a quarter more outlasts a change of a chain's prices
        gas_limit: gas.saturating_add(gas / 4),
        fees,
    };
    let signed = signer.sign(&transaction).await.map_err(PublishError::Key)?;
    let mut tx = pool.begin().await?;
    if !anchors::submitted(&mut tx, anchor.anchor_id).await? {
        return Ok(Outcome::Lost);
    }
    let now = clock.now();
    anchors::insert_attempt(&mut tx, anchor.anchor_id, 1, &transaction, &signed, now).await?;
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

/// What speaks against signing this anchor now, if anything does.
async fn refuse(
    pool: &PgPool,
    publisher: &Publisher,
    anchor: &Anchor,
) -> Result<Option<Outcome>, PublishError> {
    let Publisher {
        chain, chain_id, ..
    } = publisher;
    let next_batch = chain.next_batch(anchor.registry, At::Latest).await?;
    let may = chain.publisher(anchor.registry, At::Latest).await?;
    if next_batch < anchor.first_batch.cast_unsigned() {
        return Ok(Some(Outcome::Unsettled));
    }
    let reason = if next_batch > anchor.first_batch.cast_unsigned() {
        format!(
            "the registry expects batch {next_batch}, batch {} was never sent",
            anchor.first_batch
        )
    } else if may != anchor.account {
        let (may, account) = (hex::encode(&may), hex::encode(&anchor.account));
        format!("the registry takes batches from {may}, our account is {account}")
    } else {
        return Ok(None);
    };
    // read after the chain: another worker may have signed this very anchor, and had it mined
    let open = anchors::open(&mut *pool.acquire().await?, *chain_id).await?;
    if !open.contains(anchor) {
        return Ok(Some(Outcome::Lost));
    }
    halt(pool, *chain_id, &reason).await.map(Some)
}

/// The roots of an anchor's batches, each computed again from what is stored.
async fn checked_roots(
    pool: &PgPool,
    anchor: &Anchor,
) -> Result<Result<Vec<Hash>, RootFault>, PublishError> {
    let mut conn = pool.acquire().await?;
    let mut roots: Vec<Hash> = Vec::new();
    let mut previous = match anchor.first_batch {
        1 => Some([0; 32]),
        first => batches::roots(&mut conn, first - 1, first - 1)
            .await?
            .first()
            .map(|batch| batch.1),
    };
    // one batch at a time: a full one is megabytes
    for batch in anchor.first_batch..=anchor.last_batch {
        let Some(stored) = batches::load(&mut conn, batch).await? else {
            return Ok(Err(RootFault::Missing(batch)));
        };
        if Some(stored.file.manifest.previous) != previous {
            return Ok(Err(RootFault::Previous { batch }));
        }
        let root = stored.root;
        match tokio::task::spawn_blocking(move || stored.file.check()).await? {
            Ok(computed) if computed == root => roots.push(root),
            Ok(computed) => {
                return Ok(Err(RootFault::Root {
                    batch,
                    stored: root,
                    computed,
                }));
            }
            Err(fault) => return Ok(Err(RootFault::Parts { batch, fault })),
        }
        previous = Some(root);
    }
    Ok(Ok(roots))
}

/// Stops anchoring on this chain until somebody has looked.
async fn halt(pool: &PgPool, chain_id: i64, reason: &str) -> Result<Outcome, PublishError> {
    super::halt(&mut *pool.acquire().await?, chain_id, reason).await?;
    Ok(Outcome::Halted)
}
