//! What a reader of a receipt or of exported files trusts: the shop's registries and merchants, from flags
//! or from a copy of the list that the shop publishes on its own domain.

use std::path::Path;

use anyhow::Context;
use counterfoil_proofs::caip::Caip10;
use counterfoil_proofs::hex;
use serde::Deserialize;

use crate::audit::registries::Trusted;
use crate::ids::MerchantId;

/// The list, as far as it is used here. It may hold more.
#[derive(Deserialize)]
struct TrustFile {
    registries: Vec<RegistryEntry>,
    merchants: Vec<MerchantEntry>,
}

#[derive(Deserialize)]
struct RegistryEntry {
    registry: String,
    first_batch: u64,
    last_batch: Option<u64>,
}

#[derive(Deserialize)]
struct MerchantEntry {
    merchant_id: String,
    legal_name: Option<String>,
}

/// A registry as a reader names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RegistryName {
    /// With its chain.
    Account(Caip10),
    /// By its address alone: on the chain that the reader's RPC is of.
    Address([u8; 20]),
}

impl RegistryName {
    /// The registry, if it is on this chain.
    pub(super) fn on(self, chain_id: u64) -> Option<Caip10> {
        match self {
            Self::Account(registry) => Some(registry).filter(|one| one.chain_id == chain_id),
            Self::Address(address) => Some(Caip10 { chain_id, address }),
        }
    }
}

/// A registry's name: CAIP-10, or an address. The case of its digits, which explorers use for a
/// checksum, does not matter here.
pub(super) fn parse_registry(text: &str) -> anyhow::Result<RegistryName> {
    let text = text.to_ascii_lowercase();
    Ok(if text.starts_with("0x") {
        RegistryName::Address(hex::decode(&text)?)
    } else {
        RegistryName::Account(text.parse()?)
    })
}

/// A registry and the batches it is trusted for.
pub(super) struct TrustedRegistry {
    pub(super) registry: RegistryName,
    pub(super) first_batch: u64,
    pub(super) last_batch: Option<u64>,
}

pub(super) struct TrustedMerchant {
    pub(super) id: [u8; 16],
    pub(super) name: Option<String>,
}

/// What the reader trusts; empty lists where the reader did not say.
pub(super) struct Trust {
    pub(super) registries: Vec<TrustedRegistry>,
    pub(super) merchants: Vec<TrustedMerchant>,
}

impl Trust {
    /// Flags take the place of the file's lists.
    pub(super) fn read(
        file: Option<&Path>,
        registries: &[RegistryName],
        merchant: Option<[u8; 16]>,
    ) -> anyhow::Result<Self> {
        let mut trust = match file {
            Some(path) => Self::read_file(path)
                .with_context(|| format!("{} is no list of what to trust", path.display()))?,
            None => Self {
                registries: Vec::new(),
                merchants: Vec::new(),
            },
        };
        if !registries.is_empty() {
            let trusted = registries.iter().map(|registry| TrustedRegistry {
                registry: *registry,
                first_batch: 1,
                last_batch: None,
            });
            trust.registries = trusted.collect();
        }
        if let Some(id) = merchant {
            trust.merchants = vec![TrustedMerchant { id, name: None }];
        }
        Ok(trust)
    }

    fn read_file(path: &Path) -> anyhow::Result<Self> {
        let file: TrustFile = serde_json::from_slice(&std::fs::read(path)?)?;
        let registries = file.registries.into_iter().map(|entry| {
            let RegistryEntry {
                registry,
                first_batch,
                last_batch,
            } = entry;
            let registry = parse_registry(&registry).with_context(|| registry.clone())?;
            Ok(TrustedRegistry {
                registry,
                first_batch,
                last_batch,
            })
        });
        let merchants = file.merchants.into_iter().map(|entry| {
            let id =
                parse_merchant(&entry.merchant_id).with_context(|| entry.merchant_id.clone())?;
            Ok(TrustedMerchant {
                id,
                name: entry.legal_name,
            })
        });
        Ok(Self {
            registries: registries.collect::<anyhow::Result<_>>()?,
            merchants: merchants.collect::<anyhow::Result<_>>()?,
        })
    }

    /// The registries that are trusted on a chain.
    pub(super) fn on(&self, chain_id: u64) -> Vec<Trusted> {
        let on_chain = self.registries.iter().filter_map(|trusted| {
            Some(Trusted {
                registry: trusted.registry.on(chain_id)?.address,
                first_batch: trusted.first_batch,
                last_batch: trusted.last_batch,
            })
        });
        on_chain.collect()
    }

    /// The registries that are named with a chain which is none of these.
    pub(super) fn elsewhere(&self, chain_ids: &[u64]) -> Vec<Caip10> {
        let named = self.registries.iter().filter_map(|it| match it.registry {
            RegistryName::Account(registry) => Some(registry),
            RegistryName::Address(_) => None,
        });
        named
            .filter(|it| !chain_ids.contains(&it.chain_id))
            .collect()
    }
}

/// A merchant's id as the interface names it, or as the leaf does.
pub(super) fn parse_merchant(text: &str) -> anyhow::Result<[u8; 16]> {
    if text.starts_with("0x") {
        return Ok(hex::decode(text)?);
    }
    Ok(text.parse::<MerchantId>()?.bytes())
}
