//! What the owner's cold key is asked for: `setPublisher`, and nothing else.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::ensure;
use clap::Args;
use counterfoil_proofs::hex;
use tokio::time::sleep;

use crate::anchor::registry::send;
use crate::anchor::store::chains::Registry;
use crate::chain::{Account, At, Chain, Signer, set_publisher_call};
use crate::config::KeySource;

/// How often the chain is asked whether the owner's word is final.
const POLL: Duration = Duration::from_millis(500);

/// The owner's key, where it is not too far away.
#[derive(Debug, Args)]
pub(super) struct OwnerKeyArgs {
    /// A file with the owner's key, as hex or as an encrypted keystore whose password is in
    /// COUNTERFOIL_OWNER_KEY_PASSWORD, to send the call with; without it the call is printed
    #[arg(long)]
    owner_key_file: Option<PathBuf>,
    /// The file of the keystore's password
    #[arg(long, requires = "owner_key_file")]
    owner_key_password_file: Option<PathBuf>,
}

impl OwnerKeyArgs {
    fn signer(&self) -> anyhow::Result<Option<Signer>> {
        let source = KeySource {
            file: self.owner_key_file.clone(),
            password_file: self.owner_key_password_file.clone(),
            password_env: Some("COUNTERFOIL_OWNER_KEY_PASSWORD".to_owned()),
            ..KeySource::default()
        };
        if source.is_empty() {
            return Ok(None);
        }
        Ok(Some(Signer::open(&source)?))
    }
}

/// Makes an account the registry's publisher, or prints what the owner is to send, and waits until it is
/// so at a final block.
pub(super) async fn set_publisher(
    chain: &Chain,
    registry: &Registry,
    to: Account,
    key: &OwnerKeyArgs,
) -> anyhow::Result<()> {
    let address = registry.address;
    if chain.publisher(address, At::Latest).await? != to {
        let owner = chain.owner(address, At::Latest).await?;
        let input = set_publisher_call(to);
        match key.signer()? {
            Some(signer) => {
                let account = signer.account();
                ensure!(
                    account == owner,
                    "the registry's owner is {}, the key is of {}",
                    hex::encode(&owner),
                    hex::encode(&account)
                );
                let (tx, _) = send(chain, &signer, Some(address), input, |_| {}).await?;
                eprintln!("setPublisher is mined: {}", hex::encode(&tx));
            }
            None => {
                println!("the owner is to send this transaction, with any wallet:");
                println!("  from   {}", hex::encode(&owner));
                println!("  chain  {}", registry.chain_id);
                println!("  to     {}", hex::encode(&address));
                println!("  value  0");
                println!("  data   {}", hex::encode(&input));
            }
        }
    }
    let mut said = false;
    while publisher_at_final(chain, address).await? != Some(to) {
        if !said {
            eprintln!(
                "waiting until a final block of chain {} has it",
                registry.chain_id
            );
            said = true;
        }
        sleep(POLL).await;
    }
    Ok(())
}

async fn publisher_at_final(chain: &Chain, registry: Account) -> anyhow::Result<Option<Account>> {
    let Some(block) = chain.finalized().await? else {
        return Ok(None);
    };
    Ok(Some(
        chain.publisher(registry, At::Block(block.hash)).await?,
    ))
}
