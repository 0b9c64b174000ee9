//! Which chains a process anchors on, and as whom, from its configuration and the database's pins.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use counterfoil_proofs::caip::Caip10;
use sqlx::PgConnection;

use crate::anchor::fees::{GWEI, Policy};
use crate::anchor::startup::Publisher;
use crate::anchor::store::chains;
use crate::chain::{Chain, Finality, Profile, Signer};
use crate::config::{ChainSettings, Config, FeeSettings, Role};
use crate::database;

/// The accounts that this process anchors with, one a chain. None for one without a worker, an RPC or a
/// key, which says so in its log: it records, or seals, and others anchor.
///
/// # Errors
/// When the configuration contradicts itself or the database, or a key must not be used on its chain.
pub(super) async fn publishers(config: &Config) -> anyhow::Result<Vec<Publisher>> {
    if config.role == Role::Api {
        tracing::info!("role api: nothing is sealed or anchored by this process");
        return Ok(Vec::new());
    }
    let args = &config.chain;
    let settings = match &args.chains {
        Some(file) => ChainSettings::read(file)?,
        None => vec![ChainSettings::from(args)],
    };
    let mut db = database::connect(&config.database.database_url).await?;
    let mut publishers = Vec::new();
    for settings in settings {
        let missing = if settings.rpc_urls.is_empty() {
            "RPC_URL"
        } else if settings.key.is_empty() {
            "COUNTERFOIL_PUBLISHER_KEY"
        } else {
            publishers.extend(publisher(&mut db, &settings, args.chain_poll).await?);
            continue;
        };
        tracing::warn!(
            missing,
            "batches are sealed but not anchored by this process"
        );
    }
    let pinned = chains::current(&mut db).await?;
    let left_out = left_out(&pinned, publishers.iter().map(|it| it.chain_id));
    if !publishers.is_empty() && !left_out.is_empty() {
        tracing::error!(
            chains = ?left_out,
            "registries are pinned on chains that this process does not anchor on: unless another does, no \
             batch becomes final; name them in COUNTERFOIL_CHAINS, or `counterfoil registry retire` them"
        );
    }
    Ok(publishers)
}

/// The chains that batches wait for and nobody here anchors on.
fn left_out(pinned: &[i64], named: impl Iterator<Item = i64>) -> Vec<i64> {
    let named: Vec<i64> = named.collect();
    let missing = pinned.iter().filter(|chain| !named.contains(chain));
    missing.copied().collect()
}

async fn publisher(
    db: &mut PgConnection,
    settings: &ChainSettings,
    poll: Option<Duration>,
) -> anyhow::Result<Option<Publisher>> {
    let registry = settings
        .registry
        .as_deref()
        .map(str::parse::<Caip10>)
        .transpose()
        .context("the registry is no account such as eip155:1:0x…")?;
    let Some(chain_id) = chain_id(db, settings.chain_id, registry).await? else {
        tracing::error!(
            "no registry is pinned, so nothing is sealed or anchored: run `counterfoil registry deploy` and start again"
        );
        return Ok(None);
    };
    let mut profile = Profile::of(chain_id);
    if let Some(name) = &settings.name {
        profile.name.clone_from(name);
    }
    if let Some(blocks) = settings.confirmations {
        profile.finality = Finality::Confirmations(blocks);
    }
    let signer = Signer::open(&settings.key).context("the publisher's key cannot be used")?;
    signer.check_for(chain_id)?;
    let chain = Chain::of(&profile, &settings.addresses()?)?;
    tracing::info!(
        chain_id,
        name = profile.name,
        rpc = chain.host(),
        "anchoring"
    );
    Ok(Some(Publisher {
        chain,
        chain_id: chain_id.cast_signed(),
        registry,
        signer,
        policy: policy(&profile, &settings.fees),
        poll: settings.poll.or(poll).unwrap_or_else(|| profile.poll()),
    }))
}

/// What anchoring may cost, as the file says and else as is usual.
fn policy(profile: &Profile, fees: &FeeSettings) -> Policy {
    let usual = Policy::default();
    let wei = |gwei: u64| u128::from(gwei) * GWEI;
    Policy {
        max_fee_per_gas: fees.max_fee_gwei.map_or(usual.max_fee_per_gas, wei),
        budget_a_day: fees.budget_a_day_gwei.map(wei).or(usual.budget_a_day),
        patience: fees.patience.unwrap_or(usual.patience),
        replace: fees.replace.unwrap_or(profile.replaces),
        replace_after: fees.replace_after.unwrap_or(usual.replace_after),
        urgent_after: fees.urgent_after.unwrap_or(usual.urgent_after),
    }
}

/// The configured chain, that of the configured registry, or the one that has a registry pinned; none
/// where none has.
async fn chain_id(
    db: &mut PgConnection,
    configured: Option<u64>,
    registry: Option<Caip10>,
) -> anyhow::Result<Option<u64>> {
    let of_registry = registry.map(|registry| registry.chain_id);
    if let (Some(chain_id), Some(of_registry)) = (configured, of_registry) {
        ensure!(
            chain_id == of_registry,
            "the registry of chain {chain_id} is on chain {of_registry}"
        );
    }
    if let Some(chain_id) = configured.or(of_registry) {
        return Ok(Some(chain_id));
    }
    match chains::current(db).await?.as_slice() {
        [] => Ok(None),
        [only] => Ok(Some(only.cast_unsigned())),
        several => bail!(
            "registries are pinned on the chains {several:?}: COUNTERFOIL_REGISTRY must name one, or \
             COUNTERFOIL_CHAINS a file of all"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_that_has_a_registry_and_is_not_named_is_left_out() {
        assert_eq!(left_out(&[1, 137, 8_453], [8_453, 1].into_iter()), [137]);
        assert!(left_out(&[1], [1, 137].into_iter()).is_empty());
    }
}
