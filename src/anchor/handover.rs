//! Handing a chain over: to another account (a rotation), to another registry (a successor), or to nobody
//! (a retirement); and the pause of a chain. Each is one transaction that holds the chain's head, and each may
//! be tried again.

use counterfoil_proofs::hex;
use sqlx::{Connection, PgConnection};
use time::OffsetDateTime;

use super::registry::Deployed;
use super::store::anchors::{self, State};
use super::store::chains::{self, Registry};
use super::store::{handover, operator, seal};
use crate::chain::{Account, At, Chain, ChainError};
use crate::clock::Clock;

/// Why a chain is not handed over.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    /// The chain cannot be asked.
    #[error("the chain cannot be asked")]
    Chain(#[from] ChainError),
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    /// Nothing was begun there.
    #[error(
        "nothing was anchored on chain {0} yet: its worker begins with the key that it is given"
    )]
    NotBegun(i64),
    /// It has no registry, or no current one.
    #[error("chain {0} has no registry")]
    NoRegistry(i64),
    /// Another rotation is under way.
    #[error("chain {chain_id} is being handed over to another account already: {}", hex::encode(.to))]
    OtherRotation {
        /// The chain.
        chain_id: i64,
        /// Whom to.
        to: Account,
    },
    /// Something moved meanwhile.
    #[error("chain {0} moved meanwhile; run the command again")]
    Moved(i64),
    /// The new account has transactions that wait.
    #[error("{} has transactions that are not mined yet; wait for them", hex::encode(.0))]
    Unmined(Account),
    /// Anchors are signed and not final.
    #[error(
        "chain {chain_id} has {open} anchors that are not final: pause it and wait for them, or say --lost \
         if the chain is gone"
    )]
    Open {
        /// The chain.
        chain_id: i64,
        /// How many.
        open: usize,
    },
    /// The successor does not fit.
    #[error("a registry cannot follow here: {0}")]
    Unfit(String),
}

/// Lets nothing new be signed on a chain, and gives back what is reserved and not signed: what waits when it
/// goes on goes together. False where it was paused before.
///
/// # Errors
/// When the database fails.
pub async fn pause(
    conn: &mut PgConnection,
    chain_id: i64,
    now: OffsetDateTime,
) -> Result<bool, sqlx::Error> {
    let mut tx = conn.begin().await?;
    chains::lock_head(&mut tx, chain_id).await?;
    let is_new = operator::pause(&mut tx, chain_id, now).await?;
    handover::free_reserved(&mut tx, chain_id).await?;
    tx.commit().await?;
    Ok(is_new)
}

/// Begins to hand a chain's anchoring over to another account, or goes on with it, and gives back what is
/// reserved and not signed. From here on nothing new is signed.
///
/// # Errors
/// [`HandoverError`].
pub async fn begin_rotation(
    conn: &mut PgConnection,
    chain_id: i64,
    to: Account,
) -> Result<(), HandoverError> {
    let mut tx = conn.begin().await?;
    if chains::lock_head(&mut tx, chain_id).await?.is_none() {
        return Err(HandoverError::NotBegun(chain_id));
    }
    if !handover::begin_rotation(&mut tx, chain_id, to).await? {
        let to = handover::rotating_to(&mut tx, chain_id).await?;
        return Err(to.map_or(HandoverError::Moved(chain_id), |to| {
            HandoverError::OtherRotation { chain_id, to }
        }));
    }
    handover::free_reserved(&mut tx, chain_id).await?;
    tx.commit().await?;
    Ok(())
}

/// Lets the new account go on, once nothing of the old one is open.
///
/// # Errors
/// [`HandoverError`].
pub async fn complete_rotation(
    conn: &mut PgConnection,
    chain: &Chain,
    chain_id: i64,
    to: Account,
) -> Result<(), HandoverError> {
    let nonce = settled_nonce(chain, to).await?;
    let mut tx = conn.begin().await?;
    let head = chains::lock_head(&mut tx, chain_id).await?;
    let head = head.ok_or(HandoverError::NotBegun(chain_id))?;
    if !handover::hand_over(&mut tx, chain_id, head.account, to, nonce).await? {
        return Err(HandoverError::Moved(chain_id));
    }
    tx.commit().await?;
    Ok(())
}

/// The nonce of an account of which nothing waits.
async fn settled_nonce(chain: &Chain, account: Account) -> Result<i64, HandoverError> {
    let mined = chain.nonce(account, At::Latest).await?;
    if chain.nonce(account, At::Pending).await? > mined {
        return Err(HandoverError::Unmined(account));
    }
    Ok(mined.cast_signed())
}

/// What a retirement came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retired {
    /// The registry that is closed.
    pub registry: Account,
    /// The last batch that it is trusted for.
    pub last_batch: i64,
    /// Batches that wait for the chain no longer.
    pub left: u64,
}

/// Closes a chain's current registry at its last final batch: nothing more is anchored there.
///
/// # Errors
/// [`HandoverError::Open`] while something is signed and not final.
pub async fn retire(conn: &mut PgConnection, chain_id: i64) -> Result<Retired, HandoverError> {
    let mut tx = conn.begin().await?;
    chains::lock_head(&mut tx, chain_id).await?;
    let registry = chains::registry(&mut tx, chain_id).await?;
    let registry = registry.ok_or(HandoverError::NoRegistry(chain_id))?;
    handover::free_reserved(&mut tx, chain_id).await?;
    let open = anchors::open(&mut tx, chain_id).await?.len();
    if open > 0 {
        return Err(HandoverError::Open { chain_id, open });
    }
    let last = handover::last_final(&mut tx, chain_id, registry.address).await?;
    let last_batch = last.unwrap_or(registry.first_batch - 1);
    // batches that are sealed meanwhile see the registry closed, or are here already
    seal::lock_head(&mut tx).await?;
    handover::close_registry(&mut tx, chain_id, registry.address, last_batch).await?;
    let left = handover::leave_chain(&mut tx, chain_id, last_batch + 1).await?;
    tx.commit().await?;
    Ok(Retired {
        registry: registry.address,
        last_batch,
        left,
    })
}

/// Forgets a chain that is no more, with all that was anchored there. Its batches wait for their other
/// chains, or for the next.
///
/// # Errors
/// When no registry of it is known, and when the database fails.
pub async fn lose(conn: &mut PgConnection, chain_id: i64) -> Result<u64, HandoverError> {
    let mut tx = conn.begin().await?;
    let registries = chains::registries(&mut tx).await?;
    if !registries
        .iter()
        .any(|registry| registry.chain_id == chain_id)
    {
        return Err(HandoverError::NoRegistry(chain_id));
    }
    chains::lock_head(&mut tx, chain_id).await?;
    seal::lock_head(&mut tx).await?;
    let left = handover::leave_chain(&mut tx, chain_id, 1).await?;
    handover::forget_chain(&mut tx, chain_id).await?;
    tx.commit().await?;
    Ok(left)
}

/// A registry that takes over from a batch on.
#[derive(Debug)]
pub struct Successor<'a> {
    /// The chain.
    pub chain: &'a Chain,
    /// The registry that it follows.
    pub current: Registry,
    /// Its first batch.
    pub first_batch: i64,
    /// Who is to anchor.
    pub publisher: Account,
}

impl Successor<'_> {
    /// Whether it could take over now: the number of anchors before its first batch that are not final yet
    /// and must become so first.
    ///
    /// # Errors
    /// [`HandoverError::Unfit`] says what speaks against it.
    pub async fn check(&self, conn: &mut PgConnection) -> Result<usize, HandoverError> {
        let (chain_id, first) = (self.current.chain_id, self.first_batch);
        let unfit = |why: String| Err(HandoverError::Unfit(why));
        if first < self.current.first_batch {
            let begins = self.current.first_batch;
            return unfit(format!("the current registry begins with batch {begins}"));
        }
        let next = seal::head(conn).await?.next_batch;
        if first > next {
            return unfit(format!(
                "batch {next} is sealed next, and would be left out"
            ));
        }
        let Some(block) = self.chain.finalized().await? else {
            return unfit("no block of the chain is final yet".to_owned());
        };
        let (at, address) = (At::Block(block.hash), self.current.address);
        let taken = self.chain.next_batch(address, at).await?.cast_signed();
        let may = self.chain.publisher(address, at).await?;
        if taken < first {
            return unfit(format!(
                "at the newest final block the current one takes batch {taken} next; begin there, or try \
                 again when more is final"
            ));
        }
        if let Some(head) = chains::head(conn, chain_id).await? {
            if taken == first && may == head.account {
                return unfit(
                    "the current one still takes batches from our account; `counterfoil registry stop` it first, and wait until that is final"
                        .to_owned(),
                );
            }
            if taken > first && head.account == self.publisher {
                return unfit(
                    "the publisher's key was used by somebody else; name another".to_owned(),
                );
            }
        }
        if let Some(last) = handover::last_final(conn, chain_id, address).await?
            && last >= first
        {
            return unfit(format!(
                "batch {last} is final in the current one; begin after it"
            ));
        }
        self.before(conn).await
    }

    /// Anchors of earlier batches that are not final.
    async fn before(&self, conn: &mut PgConnection) -> Result<usize, HandoverError> {
        let open = anchors::open(conn, self.current.chain_id).await?;
        let signed = open.iter().filter(|anchor| anchor.state != State::Reserved);
        let earlier: Vec<_> = signed
            .filter(|anchor| anchor.first_batch < self.first_batch)
            .collect();
        if let Some(anchor) = earlier
            .iter()
            .find(|anchor| anchor.last_batch >= self.first_batch)
        {
            return Err(HandoverError::Unfit(format!(
                "the batches {} to {} are in one transaction; begin with {}",
                anchor.first_batch, anchor.last_batch, anchor.first_batch
            )));
        }
        Ok(earlier.len())
    }

    /// Closes the current registry before the first batch, pins the new one, and frees what was signed for
    /// the old one from there on. Batches go on there with the next step of a worker that has the key.
    ///
    /// # Errors
    /// [`HandoverError`]; nothing is changed then.
    pub async fn pin(
        &self,
        conn: &mut PgConnection,
        deployed: &Deployed,
        clock: &Clock,
    ) -> Result<(), HandoverError> {
        let (chain_id, first) = (self.current.chain_id, self.first_batch);
        let nonce = settled_nonce(self.chain, self.publisher).await?;
        let mut tx = conn.begin().await?;
        let head = chains::lock_head(&mut tx, chain_id).await?;
        handover::free_reserved(&mut tx, chain_id).await?;
        if self.before(&mut tx).await? > 0 {
            return Err(HandoverError::Moved(chain_id));
        }
        // a block that one of them was seen in does not last: the registry never has its batches
        for anchor in anchors::open(&mut tx, chain_id).await? {
            anchors::unmined(&mut tx, anchor.anchor_id).await?;
        }
        let freed = handover::free_signed(&mut tx, chain_id, first).await?;
        let same = head.is_some_and(|head| head.account == self.publisher);
        if same && freed > 0 {
            let why = "the account has signed batches for the current one; name another publisher";
            return Err(HandoverError::Unfit(why.to_owned()));
        }
        let closed = self.current.address;
        if !handover::close_registry(&mut tx, chain_id, closed, first - 1).await? {
            return Err(HandoverError::Moved(chain_id));
        }
        pin_next(&mut tx, deployed, self.publisher, nonce, clock).await?;
        tx.commit().await?;
        Ok(())
    }
}

/// Pins the first registry of a chain, or the next one after a retirement.
///
/// # Errors
/// [`HandoverError`]; nothing is changed then.
pub async fn pin(
    conn: &mut PgConnection,
    chain: &Chain,
    deployed: &Deployed,
    publisher: Account,
    clock: &Clock,
) -> Result<(), HandoverError> {
    let chain_id = deployed.registry.chain_id.cast_signed();
    let nonce = settled_nonce(chain, publisher).await?;
    let mut tx = conn.begin().await?;
    chains::lock_head(&mut tx, chain_id).await?;
    pin_next(&mut tx, deployed, publisher, nonce, clock).await?;
    tx.commit().await?;
    Ok(())
}

/// The registry's row, the head where it begins, and the batches that wait for it.
async fn pin_next(
    conn: &mut PgConnection,
    deployed: &Deployed,
    publisher: Account,
    nonce: i64,
    clock: &Clock,
) -> Result<(), HandoverError> {
    let chain_id = deployed.registry.chain_id.cast_signed();
    let first = deployed.first_batch.cast_signed();
    // batches that are sealed meanwhile see the registry, or are here already
    seal::lock_head(conn).await?;
    let registry = Registry {
        chain_id,
        address: deployed.registry.address,
        code_hash: deployed.code_hash,
        first_batch: first,
        last_batch: None,
    };
    chains::insert_registry(conn, &registry, clock.now()).await?;
    // a chain that was never begun has no head yet: the worker's first check begins it
    handover::move_head(conn, chain_id, publisher, nonce, first).await?;
    handover::join_chain(conn, chain_id, first).await?;
    Ok(())
}

/// The first batch that the next registry of a chain takes unless another is said: the one after its last,
/// or the one that is sealed next where the chain is new.
///
/// # Errors
/// When the database fails.
pub async fn next_first_batch(
    conn: &mut PgConnection,
    chain_id: i64,
) -> Result<i64, HandoverError> {
    if let Some(last) = handover::last_trusted(conn, chain_id).await? {
        return Ok(last + 1);
    }
    Ok(seal::head(conn).await?.next_batch)
}
