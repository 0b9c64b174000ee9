//! Before anything is anchored on a chain: are chain and database still the ones they were?
//!
//! The chain is read first and the database after, so the database can only know more. A chain that
//! knows more than the database means that the database lost what it had committed, or that somebody
//! else uses our key; either way the next anchor could contradict one that is there for ever, so none
//! is made. Where the registry is ahead at a finalized block, recording waits too; one RPC that is wrong
//! about the newest blocks does not stop it.

use counterfoil_proofs::caip::Caip10;
use counterfoil_proofs::{Hash, hex};
use sqlx::PgPool;

use super::fees::Policy;
use super::store::anchors;
use super::store::batches;
use super::store::chains::{self, Registry};
use crate::chain::{Account, At, Chain, ChainError, KeyError, Signer};
use crate::database::trust::{self, Doubt};

/// An account that anchors on a chain.
#[derive(Debug, Clone)]
pub struct Publisher {
    /// The chain, through its RPC.
    pub chain: Chain,
    /// Which chain it must be.
    pub chain_id: i64,
    /// The registry it must be, where that was configured.
    pub registry: Option<Caip10>,
    /// The account's key.
    pub signer: Signer,
    /// What it may spend, and how long it may wait.
    pub policy: Policy,
    /// How often the chain is looked at.
    pub poll: std::time::Duration,
}

/// Proof that a chain was checked: what [`check`] gives, and what publishing asks for.
#[derive(Debug, Clone)]
pub struct Ready {
    registry: Registry,
}

impl Ready {
    /// The registry that was checked.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }
}

/// Why nothing is anchored on a chain.
#[derive(Debug, thiserror::Error)]
pub enum StartupError {
    /// The chain cannot be asked.
    #[error("the chain cannot be asked")]
    Chain(#[from] ChainError),
    /// The database cannot be asked.
    #[error("the database cannot be asked")]
    Database(#[from] sqlx::Error),
    /// The key must not be used there.
    #[error("the publisher's key cannot be used")]
    Key(#[source] KeyError),
    /// The RPC is of another chain.
    #[error("the RPC is of chain {found}, the registry is on chain {expected}; correct RPC_URL")]
    OtherChain {
        /// Which chain it was to be.
        expected: i64,
        /// Which it is.
        found: u64,
    },
    /// There is no registry.
    #[error("no registry is pinned for chain {chain_id}; run `counterfoil registry deploy`")]
    NotPinned {
        /// The chain.
        chain_id: i64,
    },
    /// Another registry is configured.
    #[error(
        "the configured registry is {configured}, the pinned one {pinned}; correct COUNTERFOIL_REGISTRY"
    )]
    OtherRegistry {
        /// What the configuration says.
        configured: Caip10,
        /// What the database says.
        pinned: Caip10,
    },
    /// The code is not the pinned one.
    #[error(
        "the code of {registry} has the hash {}, pinned is {}; is this the chain it was deployed on? \
         See \"Another chain\" in docs/OPERATIONS.md", found.map_or_else(|| "of none".to_owned(), |hash| hex::encode(&hash)),
        hex::encode(.pinned))]
    Code {
        /// The registry.
        registry: Caip10,
        /// The hash of its code; none where there is no code.
        found: Option<Hash>,
        /// What it was when it was pinned.
        pinned: Hash,
    },
    /// Our account may not anchor.
    #[error(
        "{registry} takes batches from {}, our key is of {}; configure the key of the former, or hand over \
         with `counterfoil registry rotate`", hex::encode(.publisher), hex::encode(.account))]
    NotPublisher {
        /// The registry.
        registry: Caip10,
        /// Who may.
        publisher: Account,
        /// Who we are.
        account: Account,
    },
    /// Earlier anchors are of another account.
    #[error(
        "chain {chain_id} is anchored by {}, our key is of {}; configure the key of the former, or hand over \
         with `counterfoil registry rotate`", hex::encode(.before), hex::encode(.account))]
    OtherAccount {
        /// The chain.
        chain_id: i64,
        /// Who it was.
        before: Account,
        /// Who we are.
        account: Account,
    },
    /// The account has transactions that wait, before it has any of ours.
    #[error("{} has {} transactions that are not mined yet and not ours; waiting for them", hex::encode(.account), .pending - .mined)]
    Unmined {
        /// The account.
        account: Account,
        /// Its nonce at the newest block.
        mined: u64,
        /// Its nonce with what waits.
        pending: u64,
    },
    /// The registry has batches that were not sent from here.
    #[error(
        "the registry expects batch {next_batch}, but the database has sent none after {sent}: it has \
         lost anchors, or somebody else has our key; see \"The chain is ahead\" in docs/OPERATIONS.md"
    )]
    RegistryAhead {
        /// The batch that the registry takes next.
        next_batch: u64,
        /// The last that was sent; 0 for none.
        sent: i64,
    },
    /// The account has sent transactions that are not ours.
    #[error(
        "the account has used {nonce} nonces, but the database knows of {known} only: it has lost \
         anchors, or somebody else has our key; see \"The chain is ahead\" in docs/OPERATIONS.md"
    )]
    NonceAhead {
        /// The account's next nonce.
        nonce: u64,
        /// The nonce after the last that was signed for.
        known: i64,
    },
    /// A root on the chain is not ours.
    #[error(
        "batch {batch} has the root {} on the chain and {} here; see \"Another root\" in \
         docs/OPERATIONS.md", shown(.chain), shown(.ours))]
    OtherRoot {
        /// The batch.
        batch: i64,
        /// The root in the registry; none where it has none.
        chain: Option<Hash>,
        /// The root in the database; none where it has no such batch.
        ours: Option<Hash>,
    },
    /// The database may have lost what was anchored.
    #[error("{0}; run `counterfoil recover`")]
    Doubt(Doubt),
}

impl StartupError {
    /// Whether the chain has what the database lacks. Where that is final, the database has lost it, or
    /// somebody else has our key.
    fn is_ahead(&self) -> bool {
        matches!(
            self,
            Self::RegistryAhead { .. } | Self::OtherRoot { chain: Some(_), .. }
        )
    }
}

/// What the chain says, all of it at one block but what waits.
struct Seen {
    block: Hash,
    nonce: u64,
    pending_nonce: u64,
    next_batch: u64,
}

/// Checks a chain and begins it where nothing was anchored on it yet.
///
/// # Errors
/// [`StartupError`]: nothing may be anchored on this chain until a later check has passed.
pub async fn check(pool: &PgPool, publisher: &Publisher) -> Result<Ready, StartupError> {
    let chain_id = publisher.chain_id;
    publisher
        .signer
        .check_for(chain_id.cast_unsigned())
        .map_err(StartupError::Key)?;
    // a pin does not change, so it may be read before the chain
    let pinned = chains::registry(&mut *pool.acquire().await?, chain_id).await?;
    let registry = pinned.ok_or(StartupError::NotPinned { chain_id })?;
    let settled = trust::settled(&mut *pool.acquire().await?).await?;
    let newest = publisher.chain.latest().await?;
    match check_at(pool, publisher, &registry, newest.hash).await {
        Err(error) if error.is_ahead() => {
            raise_if_final(pool, publisher, &registry, settled).await?;
            Err(error)
        }
        checked => checked.map(|()| Ready { registry }),
    }
}

/// Checks chain and database against one another, with the chain as it was at a block.
async fn check_at(
    pool: &PgPool,
    publisher: &Publisher,
    registry: &Registry,
    block: Hash,
) -> Result<(), StartupError> {
    let seen = read_chain(publisher, registry, block).await?;
    check_database(pool).await?;
    check_nonce(pool, publisher, registry, &seen).await?;
    check_roots(pool, publisher, registry, &seen).await
}

/// Where the chain is ahead at its finalized block too, every process is to stop recording: numbers that
/// were given out might be given out again. `settled` was read before the chain.
async fn raise_if_final(
    pool: &PgPool,
    publisher: &Publisher,
    registry: &Registry,
    settled: i32,
) -> Result<(), StartupError> {
    let Some(finalized) = publisher.chain.finalized().await? else {
        return Ok(());
    };
    if let Err(error) = check_at(pool, publisher, registry, finalized.hash).await
        && error.is_ahead()
    {
        let doubt = format!("chain {}: {error}", publisher.chain_id);
        trust::raise(&mut *pool.acquire().await?, &doubt, settled).await?;
    }
    Ok(())
}

/// Refuses a database that may have lost commits.
///
/// # Errors
/// [`StartupError::Doubt`], and when it cannot be asked.
pub async fn check_database(pool: &PgPool) -> Result<(), StartupError> {
    let doubt = trust::examine(&mut *pool.acquire().await?).await?;
    doubt.map_or(Ok(()), |doubt| Err(StartupError::Doubt(doubt)))
}

async fn read_chain(
    publisher: &Publisher,
    registry: &Registry,
    block: Hash,
) -> Result<Seen, StartupError> {
    let Publisher {
        chain,
        chain_id,
        signer,
        ..
    } = publisher;
    let (address, account) = (registry.address, signer.account());
    let pinned = Caip10 {
        chain_id: chain_id.cast_unsigned(),
        address,
    };
    if let Some(configured) = publisher.registry
        && configured != pinned
    {
        return Err(StartupError::OtherRegistry { configured, pinned });
    }
    let found = chain.chain_id().await?;
    if found != chain_id.cast_unsigned() {
        return Err(StartupError::OtherChain {
            expected: *chain_id,
            found,
        });
    }
    let at = At::Block(block);
    let found = chain.code_hash(address, at).await?;
    if found != Some(registry.code_hash) {
        return Err(StartupError::Code {
            registry: pinned,
            found,
            pinned: registry.code_hash,
        });
    }
    let may = chain.publisher(address, at).await?;
    if may != account {
        return Err(StartupError::NotPublisher {
            registry: pinned,
            publisher: may,
            account,
        });
    }
    Ok(Seen {
        block,
        nonce: chain.nonce(account, at).await?,
        pending_nonce: chain.nonce(account, At::Pending).await?,
        next_batch: chain.next_batch(address, at).await?,
    })
}

/// The account's nonce, against what was signed; begins the chain where it is new.
async fn check_nonce(
    pool: &PgPool,
    publisher: &Publisher,
    registry: &Registry,
    seen: &Seen,
) -> Result<(), StartupError> {
    let (chain_id, account) = (publisher.chain_id, publisher.signer.account());
    let mut conn = pool.acquire().await?;
    let Some(head) = chains::head(&mut conn, chain_id).await? else {
        if seen.next_batch != registry.first_batch.cast_unsigned() {
            return Err(StartupError::RegistryAhead {
                next_batch: seen.next_batch,
                sent: 0,
            });
        }
        if seen.pending_nonce > seen.nonce {
            let (mined, pending) = (seen.nonce, seen.pending_nonce);
            return Err(StartupError::Unmined {
                account,
                mined,
                pending,
            });
        }
        let nonce = seen.nonce.cast_signed();
        chains::insert_head(&mut conn, chain_id, account, nonce, registry.first_batch).await?;
        return Ok(());
    };
    if head.account != account {
        return Err(StartupError::OtherAccount {
            chain_id,
            before: head.account,
            account,
        });
    }
    let reserved = anchors::open(&mut conn, chain_id).await?;
    let unsigned = reserved
        .iter()
        .find(|anchor| anchor.state == anchors::State::Reserved);
    let known = unsigned.map_or(head.next_nonce, |anchor| anchor.nonce);
    let sent = unsigned.map_or(head.next_batch, |anchor| anchor.first_batch) - 1;
    if seen.next_batch > sent.cast_unsigned() + 1 {
        return Err(StartupError::RegistryAhead {
            next_batch: seen.next_batch,
            sent,
        });
    }
    if seen.nonce.max(seen.pending_nonce) > known.cast_unsigned() {
        let nonce = seen.nonce.max(seen.pending_nonce);
        return Err(StartupError::NonceAhead { nonce, known });
    }
    Ok(())
}

/// The roots on the chain from the last final one on, against ours.
async fn check_roots(
    pool: &PgPool,
    publisher: &Publisher,
    registry: &Registry,
    seen: &Seen,
) -> Result<(), StartupError> {
    let mut conn = pool.acquire().await?;
    let finalized = anchors::last_finalized(&mut conn, publisher.chain_id).await?;
    let here = finalized.filter(|anchor| anchor.registry == registry.address);
    let first = here.map_or(registry.first_batch, |anchor| anchor.last_batch);
    let last = here
        .map_or(0, |anchor| anchor.last_batch)
        .max(seen.next_batch.cast_signed() - 1);
    let mut ours = batches::roots(&mut conn, first, last)
        .await?
        .into_iter()
        .peekable();
    drop(conn);
    let range = first.cast_unsigned()..=last.cast_unsigned();
    let theirs = publisher
        .chain
        .roots_of(registry.address, range, At::Block(seen.block))
        .await?;
    for (batch, chain) in (first..=last).zip(theirs) {
        let ours = ours.next_if(|(id, _)| *id == batch).map(|(_, root)| root);
        if chain.is_none() || chain != ours {
            return Err(StartupError::OtherRoot { batch, chain, ours });
        }
    }
    Ok(())
}

fn shown(root: &Option<Hash>) -> String {
    root.map_or_else(|| "none".to_owned(), |root| hex::encode(&root))
}
