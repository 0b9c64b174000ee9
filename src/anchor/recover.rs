//! Recovery of a database that has lost commits: a chain says which batches it once had.
//!
//! [`examine`] reads the chains, at their finalized blocks, and the database, and says what is to be done;
//! [`apply`] does it in one transaction, in which the database is accepted last. So it can be ended
//! anywhere and run again.
//!
//! - A batch that a registry has and the database has not, or has with another root, is *lost*: its root is
//!   noted, and the next batch follows it.
//! - A batch of the database that contradicts a registry was sealed after the loss. It and those after it
//!   are taken apart again: their sales go back into the queue. None of them may be anchored anywhere.
//! - The transactions that anchored meanwhile are read from the chain and become rows again.
//! - Numbers of sales that may have been given out are left out for ever, as a gap of each merchant.

mod chain;
mod store;

use counterfoil_proofs::{Hash, hex};
use sqlx::{Connection, PgConnection};
use time::OffsetDateTime;

use super::store::batches;
use super::store::chains;
use crate::chain::{Account, Chain, ChainError};
use crate::database::trust::{self, Cluster, Doubt};
pub use chain::{ChainPlan, FoundAnchor};
pub use store::Gap;

/// Why there is no recovery now.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The chain cannot be asked.
    #[error("the chain cannot be asked")]
    Chain(#[from] ChainError),
    /// The database cannot be asked.
    #[error("the database cannot be asked")]
    Database(#[from] sqlx::Error),
    /// It takes no write.
    #[error("this is a standby; recover where it is written")]
    Standby,
    /// A chain was not given.
    #[error("chain {0} is anchored on and no RPC of it was given (--rpc)")]
    NotAsked(i64),
    /// What is at the registry's address is not it.
    #[error(
        "the RPC of chain {0} does not have the registry's code at a finalized block; is it the right chain?"
    )]
    OtherChain(i64),
    /// Something is on its way.
    #[error(
        "chain {chain_id}: transactions of {} are not final yet; run this again when they are", hex::encode(.account))]
    Unsettled {
        /// The chain.
        chain_id: i64,
        /// The account that anchors.
        account: Account,
    },
    /// A batch was anchored by a transaction that is none of ours.
    #[error(
        "chain {chain_id}: batch {batch} was not anchored by a transaction such as ours ({what})"
    )]
    Foreign {
        /// The chain.
        chain_id: i64,
        /// The batch.
        batch: i64,
        /// What was found in its place.
        what: String,
    },
    /// Two chains have different roots, or a batch that would be taken apart is anchored elsewhere.
    #[error(
        "batch {0} is anchored on one chain with another root than on another, or than here: deploy a \
             successor of the registry that is wrong (see \"Another root\" in docs/OPERATIONS.md)"
    )]
    Contradiction(i64),
    /// Something moved between reading and writing.
    #[error("the database changed meanwhile; run this again")]
    Changed,
}

/// A batch that a registry has and the database has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    /// On which chain.
    pub chain_id: i64,
    /// The batch.
    pub batch: i64,
    /// Its root there.
    pub root: Hash,
}

/// What a recovery would do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Why the database is not trusted; none where it is.
    pub doubt: Option<Doubt>,
    /// Which database it is.
    pub found: Cluster,
    settled: i32,
    /// Where sealing stood.
    next_batch: i64,
    /// What each chain has.
    pub chains: Vec<ChainPlan>,
    /// Batches that are on a chain alone, ascending.
    pub lost: Vec<Lost>,
    /// The first of our batches that is taken apart again, with all after it.
    pub discarded_from: Option<i64>,
    /// Numbers that are left out.
    pub gaps: Vec<Gap>,
}

impl Plan {
    /// Whether all is as it should be.
    pub fn is_nothing(&self) -> bool {
        self.doubt.is_none() && self.is_complete()
    }

    /// Whether the database has everything that the chains have.
    pub fn is_complete(&self) -> bool {
        self.lost.is_empty() && self.chains.iter().all(|chain| !chain.is_ahead())
    }
}

/// Reads chains and database. `skip` is how many numbers of each merchant are left out; none for what its
/// rate and the lost time give. With `finality` the chains are read at their finalized blocks, and nothing
/// may be on its way.
///
/// # Errors
/// [`RecoverError`]; nothing was changed.
pub async fn examine(
    db: &mut PgConnection,
    rpcs: &[(i64, Chain)],
    skip: Option<i64>,
    finality: bool,
) -> Result<Plan, RecoverError> {
    let settled = trust::settled(db).await?;
    let doubt = trust::examine(db).await?;
    let found = trust::cluster(db).await?.ok_or(RecoverError::Standby)?;
    let next_batch = super::store::seal::head(db).await?.next_batch;
    let mut plan = Plan {
        doubt,
        found,
        settled,
        next_batch,
        chains: Vec::new(),
        lost: Vec::new(),
        discarded_from: None,
        gaps: Vec::new(),
    };
    for registry in chains::registries(db).await? {
        if registry.last_batch.is_some() {
            continue;
        }
        let chain_id = registry.chain_id;
        let rpc = rpcs.iter().find(|(id, _)| *id == chain_id);
        let (_, rpc) = rpc.ok_or(RecoverError::NotAsked(chain_id))?;
        let chain = chain::examine(db, rpc, &registry, finality).await?;
        plan.lost.extend(chain.lost());
        plan.discarded_from = [plan.discarded_from, chain.fork]
            .into_iter()
            .flatten()
            .min();
        plan.chains.push(chain);
    }
    plan.lost
        .sort_unstable_by_key(|lost| (lost.batch, lost.chain_id));
    check_agreement(&plan)?;
    if plan.doubt.is_some() && skip != Some(0) {
        plan.gaps = store::gaps(db, skip).await?;
    }
    Ok(plan)
}

/// No batch may have two roots on chains, nor one that is taken apart be right on one of them.
fn check_agreement(plan: &Plan) -> Result<(), RecoverError> {
    for pair in plan.lost.windows(2) {
        if pair[0].batch == pair[1].batch && pair[0].root != pair[1].root {
            return Err(RecoverError::Contradiction(pair[0].batch));
        }
    }
    if let Some(fork) = plan.discarded_from {
        let kept = plan
            .chains
            .iter()
            .find(|chain| chain.fork.is_none_or(|own| own > fork) && chain.next_batch > fork);
        if kept.is_some() {
            return Err(RecoverError::Contradiction(fork));
        }
    }
    Ok(())
}

/// Does what was planned, and accepts the database.
///
/// # Errors
/// [`RecoverError`]; nothing was changed then.
pub async fn apply(
    db: &mut PgConnection,
    plan: &Plan,
    reason: &str,
    now: OffsetDateTime,
) -> Result<(), RecoverError> {
    let mut tx = db.begin().await?;
    let head = super::store::seal::lock_head(&mut tx).await?;
    if head.next_batch != plan.next_batch {
        return Err(RecoverError::Changed);
    }
    if let Some(from) = plan.discarded_from
        && let Some(batch) = store::anchored_from(&mut tx, from).await?
    {
        return Err(RecoverError::Contradiction(batch));
    }
    for chain in &plan.chains {
        chain::apply(&mut tx, chain, plan.discarded_from, now).await?;
    }
    if let Some(from) = plan.discarded_from {
        store::discard(&mut tx, from).await?;
    }
    for lost in &plan.lost {
        store::insert_lost(&mut tx, lost, now).await?;
    }
    move_seal_head(&mut tx).await?;
    store::declare(&mut tx, &plan.gaps, reason, now).await?;
    if !store::accept(&mut tx, plan.found, plan.settled).await? {
        return Err(RecoverError::Changed);
    }
    tx.commit().await?;
    Ok(())
}

/// Accepts the database as it is, where a fail-over has lost nothing.
///
/// # Errors
/// [`RecoverError`]; nothing was changed then.
pub async fn accept(db: &mut PgConnection, plan: &Plan) -> Result<(), RecoverError> {
    match store::accept(db, plan.found, plan.settled).await? {
        true => Ok(()),
        false => Err(RecoverError::Changed),
    }
}

async fn move_seal_head(db: &mut PgConnection) -> Result<(), RecoverError> {
    let newest = batches::newest(db).await?.unwrap_or(0);
    let root = batches::roots(db, newest, newest).await?;
    let root = root.first().map_or([0; 32], |(_, root)| *root);
    store::set_seal_head(db, newest + 1, &root).await?;
    Ok(())
}
