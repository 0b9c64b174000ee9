//! The chains that a reader's RPCs are of, and what each says of a receipt.

use counterfoil_proofs::caip::Caip10;
use counterfoil_proofs::hex;
use counterfoil_proofs::receipt::Receipt;
use secrecy::SecretString;

use super::on_chain::{anchor_hints, receipt_on_chain, registry_code};
use super::trust::Registries;
use super::{Report, Step, on_one_line};
use crate::chain::{Chain, ChainError, Profile};
use crate::cli::trust::Trust;

/// A chain that the reader has RPCs of.
pub(super) struct Asked {
    pub(super) chain_id: u64,
    chain: Chain,
}

/// Asks each RPC which chain it is of. Several of one chain must agree from then on. What cannot be asked
/// goes to the doubts.
pub(super) async fn connect(
    rpcs: &[SecretString],
    report: &Report,
    doubts: &mut Vec<String>,
) -> Vec<Asked> {
    let mut found: Vec<(u64, Vec<SecretString>)> = Vec::new();
    for rpc in rpcs {
        match identify(rpc).await {
            Ok((host, chain_id)) => {
                let said = format!("{host} says that it is chain {chain_id}");
                report.print("chain", &Step::Note(said));
                match found.iter_mut().find(|(id, _)| *id == chain_id) {
                    Some((_, urls)) => urls.push(rpc.clone()),
                    None => found.push((chain_id, vec![rpc.clone()])),
                }
            }
            Err(error) => doubt(report, doubts, "chain", on_one_line(&error)),
        }
    }
    let mut asked = Vec::new();
    for (chain_id, urls) in found {
        match Chain::of(&Profile::of(chain_id), &urls) {
            Ok(chain) => asked.push(Asked { chain_id, chain }),
            Err(error) => doubt(report, doubts, "chain", on_one_line(&error)),
        }
    }
    asked
}

async fn identify(rpc: &SecretString) -> Result<(String, u64), ChainError> {
    let chain = Chain::new(rpc)?;
    Ok((chain.host().to_owned(), chain.chain_id().await?))
}

fn doubt(report: &Report, doubts: &mut Vec<String>, name: &str, text: String) {
    doubts.push(format!("{name}: {text}"));
    report.print(name, &Step::NotChecked(text));
}

impl Asked {
    /// Whether this chain proves the receipt. What could not be checked goes to the doubts; what is wrong
    /// is wrong, whatever other chains say.
    pub(super) async fn proves(
        &self,
        trust: &Trust,
        receipt: &Receipt,
        batch: u64,
        report: &mut Report,
        doubts: &mut Vec<String>,
    ) -> bool {
        let before = doubts.len();
        let failed = report.failures;
        let mut add = |name: &str, step: Step| match step {
            Step::NotChecked(text) => doubt(report, doubts, name, text),
            step => report.add(name, step),
        };
        let (registries, step) = trust.registries(receipt, batch, self.chain_id);
        add("registry", step);
        if let Registries::Of(registry) = registries {
            for (name, step) in self.steps(receipt, registry).await {
                add(&name, step);
            }
        }
        doubts.len() == before && report.failures == failed
    }

    async fn steps(&self, receipt: &Receipt, registry: Caip10) -> Vec<(String, Step)> {
        let code = registry_code(&self.chain, registry).await;
        let mut steps = vec![("registry's code".to_owned(), code)];
        let name = "root on the chain".to_owned();
        match receipt_on_chain(receipt, &self.chain, registry).await {
            Ok(block) => {
                let (number, hash) = (block.number, hex::encode(&block.hash));
                let text = format!("yes, at block {number} ({hash}), which is final");
                steps.push((name, Step::Ok(text)));
                steps.extend(anchor_hints(receipt, &self.chain, registry).await);
            }
            Err(error) if error.is_failure() => {
                steps.push((name, Step::Failed(on_one_line(&error))));
            }
            Err(error) => steps.push((name, Step::NotChecked(on_one_line(&error)))),
        }
        steps
    }
}
