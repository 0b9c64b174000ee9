//! The registry contract: deployed once a chain, and pinned in the database.

use std::time::Duration;

use counterfoil_proofs::caip::Caip10;
use counterfoil_proofs::{Hash, hex};
use sqlx::PgConnection;
use tokio::time::{Instant, sleep};

use super::store::chains::{self, Registry};
use super::store::seal;
use crate::chain::{
    Account, At, Chain, ChainError, KeyError, Signer, Transaction, TxReceipt, created_address,
    creation_code, runtime_code_hash,
};
use crate::clock::Clock;

/// How long a deployment may take to be mined.
const MINED_WITHIN: Duration = Duration::from_secs(300);
/// How often its receipt is asked for.
const RECEIPT_POLL: Duration = Duration::from_millis(250);

/// Who may do what with a registry, and where it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Who may replace the publisher: a key that is kept offline.
    pub owner: Account,
    /// Who anchors: a key in daily use.
    pub publisher: Account,
    /// The first batch it takes.
    pub first_batch: u64,
}

/// A registry that was deployed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deployed {
    /// The contract.
    pub registry: Caip10,
    /// keccak-256 of its code.
    pub code_hash: Hash,
    /// The transaction that created it; none for one that was there before.
    pub tx: Option<Hash>,
    /// The first batch it takes.
    pub first_batch: u64,
}

/// Why there is no new registry.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The chain cannot be asked.
    #[error("the chain cannot be asked")]
    Chain(#[from] ChainError),
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    /// The key must not be used, or cannot sign.
    #[error("the key cannot be used")]
    Key(#[from] KeyError),
    /// It takes too long.
    #[error(
        "transaction {} was sent, but is not mined after {} s; look at it on the chain before trying again",
        hex::encode(.tx), MINED_WITHIN.as_secs())]
    NotMined {
        /// The transaction.
        tx: Hash,
    },
    /// It failed.
    #[error("transaction {} was mined and reverted", hex::encode(.tx))]
    Reverted {
        /// The transaction.
        tx: Hash,
    },
    /// The code is not the contract's.
    #[error(
        "the contract {registry} has code with the hash {}, not {}",
        found.map_or_else(|| "of none".to_owned(), |hash| hex::encode(&hash)), hex::encode(&runtime_code_hash()))]
    Code {
        /// The contract.
        registry: Caip10,
        /// The hash of its code; none where there is no code.
        found: Option<Hash>,
    },
    /// The chain has one.
    #[error("chain {chain_id} has a current registry already: {}", hex::encode(.address))]
    Pinned {
        /// The chain.
        chain_id: i64,
        /// The registry that is pinned.
        address: Account,
    },
    /// Batches would be left out.
    #[error(
        "batch {next_batch} is sealed next, so a registry must begin at it or before, not at {first_batch}"
    )]
    BeginsLater {
        /// Where the registry begins.
        first_batch: u64,
        /// The batch that is sealed next.
        next_batch: i64,
    },
}

/// Deploys a registry and waits until it is mined.
///
/// # Errors
/// [`RegistryError`]. After [`RegistryError::NotMined`] there may be a registry nevertheless.
pub async fn deploy(
    chain: &Chain,
    deployer: &Signer,
    terms: &Terms,
) -> Result<Deployed, RegistryError> {
    deploy_telling(chain, deployer, terms, |_| {}).await
}

/// The same, and tells the address that it will have before anything is sent.
///
/// # Errors
/// [`RegistryError`].
pub async fn deploy_telling(
    chain: &Chain,
    deployer: &Signer,
    terms: &Terms,
    tell: impl FnOnce(Account),
) -> Result<Deployed, RegistryError> {
    let input = creation_code(terms.owner, terms.publisher, terms.first_batch);
    let account = deployer.account();
    let told = |nonce| tell(created_address(account, nonce));
    let (tx, receipt) = send(chain, deployer, None, input, told).await?;
    let registry = Caip10 {
        chain_id: chain.chain_id().await?,
        address: receipt.created.ok_or(RegistryError::Reverted { tx })?,
    };
    let code_hash = runtime_code_hash();
    let found = chain.code_hash(registry.address, At::Latest).await?;
    if found != Some(code_hash) {
        return Err(RegistryError::Code { registry, found });
    }
    Ok(Deployed {
        registry,
        code_hash,
        tx: Some(tx),
        first_batch: terms.first_batch,
    })
}

/// Sends a transaction of an account that a person has at hand, and waits until it is mined. `tell` is told
/// its nonce before it is sent.
///
/// # Errors
/// [`RegistryError`]. After [`RegistryError::NotMined`] it may be mined nevertheless.
pub async fn send(
    chain: &Chain,
    signer: &Signer,
    to: Option<Account>,
    input: Vec<u8>,
    tell: impl FnOnce(u64),
) -> Result<(Hash, TxReceipt), RegistryError> {
    let chain_id = chain.chain_id().await?;
    signer.check_for(chain_id)?;
    let account = signer.account();
    let gas = chain.estimate_gas(account, to, &input).await?;
    let transaction = Transaction {
        chain_id,
        nonce: chain.nonce(account, At::Pending).await?,
        to,
        input,
        gas_limit: gas.saturating_add(gas / 10),
        fees: chain.gas_price().await?.asked(),
    };
    let signed = signer.sign(&transaction).await?;
    tell(transaction.nonce);
    chain.send_raw(&signed.raw).await?;
    Ok((signed.hash, mined(chain, signed.hash).await?))
}

/// Pins a registry as its chain's current one: from now on batches are anchored there.
///
/// # Errors
/// When the chain has one, when the registry begins after the batch that is sealed next, and when the
/// database fails.
pub async fn pin(
    conn: &mut PgConnection,
    deployed: &Deployed,
    clock: &Clock,
) -> Result<(), RegistryError> {
    let chain_id = deployed.registry.chain_id.cast_signed();
    check_free(conn, chain_id, deployed.first_batch).await?;
    let registry = Registry {
        chain_id,
        address: deployed.registry.address,
        code_hash: deployed.code_hash,
        first_batch: deployed.first_batch.cast_signed(),
        last_batch: None,
    };
    chains::insert_registry(conn, &registry, clock.now()).await?;
    Ok(())
}

/// Whether a registry of this chain could be pinned; better asked before it is deployed.
///
/// # Errors
/// As of [`pin`].
pub async fn check_free(
    conn: &mut PgConnection,
    chain_id: i64,
    first_batch: u64,
) -> Result<(), RegistryError> {
    if let Some(Registry { address, .. }) = chains::registry(conn, chain_id).await? {
        return Err(RegistryError::Pinned { chain_id, address });
    }
    let next_batch = seal::head(conn).await?.next_batch;
    if first_batch > next_batch.cast_unsigned() {
        return Err(RegistryError::BeginsLater {
            first_batch,
            next_batch,
        });
    }
    Ok(())
}

/// Waits until a transaction is mined.
async fn mined(chain: &Chain, tx: Hash) -> Result<TxReceipt, RegistryError> {
    let until = Instant::now() + MINED_WITHIN;
    loop {
        match chain.receipt(tx).await? {
            Some(receipt) if receipt.succeeded => return Ok(receipt),
            Some(_) => return Err(RegistryError::Reverted { tx }),
            None if Instant::now() > until => return Err(RegistryError::NotMined { tx }),
            None => sleep(RECEIPT_POLL).await,
        }
    }
}
