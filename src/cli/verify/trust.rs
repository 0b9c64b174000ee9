//! What a reader of a receipt trusts: the shop's registries and merchants, from flags or from a copy of
//! the list that the shop publishes on its own domain.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context;
use counterfoil_proofs::caip::Caip10;
use counterfoil_proofs::hex;
use counterfoil_proofs::receipt::Receipt;
use serde::Deserialize;

use super::Step;
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
    fn on(self, chain_id: u64) -> Option<Caip10> {
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
struct TrustedRegistry {
    registry: RegistryName,
    first_batch: u64,
    last_batch: Option<u64>,
}

struct TrustedMerchant {
    id: [u8; 16],
    name: Option<String>,
}

/// What the reader trusts; empty lists where the reader did not say.
pub(super) struct Trust {
    registries: Vec<TrustedRegistry>,
    merchants: Vec<TrustedMerchant>,
}

/// Which registry to ask.
pub(super) enum Registries {
    /// This one.
    Of(Caip10),
    /// None can be asked.
    None,
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

    /// Whether the sale is of a merchant that the reader knows.
    pub(super) fn merchant(&self, of_sale: &[u8; 16]) -> Step {
        let shown = MerchantId(uuid::Uuid::from_bytes(*of_sale));
        if self.merchants.is_empty() {
            return Step::NotChecked(format!(
                "{shown}; whose that is was not said (--merchant or --trust)"
            ));
        }
        match self
            .merchants
            .iter()
            .find(|merchant| merchant.id == *of_sale)
        {
            Some(TrustedMerchant {
                name: Some(name), ..
            }) => Step::Ok(format!("{shown}, {name:?}")),
            Some(_) => Step::Ok(shown.to_string()),
            None => Step::Failed(format!(
                "the sale is of {shown}, which is none of those you trust"
            )),
        }
    }

    /// On how many chains a batch can be proved: those of the registries that are trusted for it, or where
    /// the reader trusts none those that the receipt names. A registry that was named by its address alone
    /// is on each chain that was `asked`.
    pub(super) fn chains(&self, receipt: &Receipt, batch: u64, asked: &[u64]) -> usize {
        let mut chains = BTreeSet::new();
        for trusted in self.covering(batch) {
            match trusted.registry {
                RegistryName::Account(registry) => chains.extend([registry.chain_id]),
                RegistryName::Address(_) => chains.extend(asked),
            }
        }
        if self.registries.is_empty() {
            let named = receipt.anchors.iter();
            chains.extend(named.map(|anchor| anchor.registry.chain_id));
        }
        chains.len()
    }

    fn covering(&self, batch: u64) -> impl Iterator<Item = &TrustedRegistry> {
        self.registries.iter().filter(move |trusted| {
            trusted.first_batch <= batch && trusted.last_batch.is_none_or(|last| batch <= last)
        })
    }

    /// The registry to ask on this chain about this batch: one that the reader trusts for it. Where
    /// the reader trusts none, the one that the receipt names, which proves nothing of whose it is.
    pub(super) fn registries(
        &self,
        receipt: &Receipt,
        batch: u64,
        chain_id: u64,
    ) -> (Registries, Step) {
        if self.registries.is_empty() {
            let named = receipt.anchors.iter().map(|anchor| anchor.registry);
            let named = named
                .into_iter()
                .find(|registry| registry.chain_id == chain_id);
            let why = "whose registry it is is not known (--registry or --trust)";
            return match named {
                Some(named) => (
                    Registries::Of(named),
                    Step::NotChecked(format!("{named}; {why}")),
                ),
                None => (
                    Registries::None,
                    Step::NotChecked(format!("none named on this chain; {why}")),
                ),
            };
        }
        let trusted: Vec<&TrustedRegistry> = self.covering(batch).collect();
        if trusted.is_empty() {
            let text = format!("none of those you trust is to be trusted for batch {batch}");
            return (Registries::None, Step::Failed(text));
        }
        match trusted
            .iter()
            .find_map(|trusted| trusted.registry.on(chain_id))
        {
            Some(found) => (Registries::Of(found), Step::Ok(found.to_string())),
            None => {
                let text = format!("none of those you trust is on the RPC's chain {chain_id}");
                (Registries::None, Step::NotChecked(text))
            }
        }
    }
}

/// A merchant's id as the interface names it, or as the leaf does.
pub(super) fn parse_merchant(text: &str) -> anyhow::Result<[u8; 16]> {
    if text.starts_with("0x") {
        return Ok(hex::decode(text)?);
    }
    Ok(text.parse::<MerchantId>()?.bytes())
}
