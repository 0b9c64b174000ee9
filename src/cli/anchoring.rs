//! Which chain a process anchors on, and as whom, from its configuration and the database's pins.

use anyhow::{Context, bail};
use counterfoil_proofs::caip::Caip10;
use sqlx::PgConnection;

use crate::anchor::fees::Policy;
use crate::anchor::startup::Publisher;
use crate::anchor::store::chains;
use crate::chain::{Chain, Signer};
use crate::config::{ChainArgs, Config, Role};
use crate::database;

/// The accounts that this process anchors with. None for one without a worker, an RPC or a key, which
/// says so in its log: it records, or seals, and others anchor.
///
/// # Errors
/// When the configuration contradicts itself or the database, or the key must not be used on that chain.
pub(super) async fn publishers(config: &Config) -> anyhow::Result<Vec<Publisher>> {
    if config.role == Role::Api {
        tracing::info!("role api: nothing is sealed or anchored by this process");
        return Ok(Vec::new());
    }
    let args = &config.chain;
    let (Some(rpc_url), Some(signer)) = (&args.rpc_url, signer(args)?) else {
        let missing = if args.rpc_url.is_none() {
            "RPC_URL"
        } else {
            "COUNTERFOIL_PUBLISHER_KEY"
        };
        tracing::warn!(
            missing,
            "batches are sealed but not anchored by this process"
        );
        return Ok(Vec::new());
    };
    let registry = args
        .registry
        .as_deref()
        .map(str::parse::<Caip10>)
        .transpose();
    let registry = registry.context("COUNTERFOIL_REGISTRY is no account such as eip155:1:0x…")?;
    let mut db = database::connect(&config.database.database_url).await?;
    let Some(chain_id) = chain_id(&mut db, registry).await? else {
        tracing::error!(
            "no registry is pinned, so nothing is sealed or anchored: run `counterfoil registry deploy` and start again"
        );
        return Ok(Vec::new());
    };
    signer.check_for(chain_id.cast_unsigned())?;
    let chain = Chain::new(rpc_url)?;
    tracing::info!(chain_id, rpc = chain.host(), "anchoring");
    Ok(vec![Publisher {
        chain,
        chain_id,
        registry,
        signer,
        policy: Policy::default(),
    }])
}

/// The chain of the configured registry, or of the one that is pinned; none where none is.
async fn chain_id(db: &mut PgConnection, registry: Option<Caip10>) -> anyhow::Result<Option<i64>> {
    if let Some(registry) = registry {
        return Ok(Some(registry.chain_id.cast_signed()));
    }
    match chains::current(db).await?.as_slice() {
        [] => Ok(None),
        [only] => Ok(Some(*only)),
        several => bail!(
            "registries are pinned on the chains {several:?}; COUNTERFOIL_REGISTRY must name one"
        ),
    }
}

fn signer(args: &ChainArgs) -> anyhow::Result<Option<Signer>> {
    let source = args.key.source();
    if source.is_empty() {
        return Ok(None);
    }
    let signer = Signer::open(&source).context("the publisher's key cannot be used")?;
    Ok(Some(signer))
}
