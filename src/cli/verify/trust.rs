//! What a reader's trust says of a receipt.

use std::collections::BTreeSet;

use counterfoil_proofs::caip::Caip10;
use counterfoil_proofs::receipt::Receipt;

use super::Step;
use crate::cli::trust::{RegistryName, Trust, TrustedMerchant, TrustedRegistry};
use crate::ids::MerchantId;

/// Which registry to ask.
pub(super) enum Registries {
    /// This one.
    Of(Caip10),
    /// None can be asked.
    None,
}

impl Trust {
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
