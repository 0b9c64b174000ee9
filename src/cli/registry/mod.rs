//! `counterfoil registry …`: the contract on each chain, and who anchors in it.
//!
//! - [`deploy`]: a chain's first registry, or one that follows another
//! - [`rotate`]: another publisher, or none; a chain that is left
//! - [`owner`]: the one call that the cold key makes

mod deploy;
mod owner;
mod rotate;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use counterfoil_proofs::caip::Caip10;
use counterfoil_proofs::hex;
use secrecy::SecretString;

use crate::anchor::store::chains;
use crate::chain::{At, Chain, runtime_code_hash};
use crate::database;

/// `counterfoil registry …`
#[derive(Debug, Args)]
pub struct RegistryArgs {
    #[command(subcommand)]
    command: RegistryCommand,
}

#[derive(Debug, Subcommand)]
enum RegistryCommand {
    /// Deploy a registry contract, and pin it in the database
    ///
    /// A second one on a chain follows the first from --first-batch on, after a garbage root has taken that
    /// batch's place for ever.
    Deploy(deploy::DeployArgs),
    /// Hand the anchoring over to another account
    ///
    /// Nothing new is signed meanwhile. What is signed becomes final, the owner makes the account the
    /// publisher, and the chain goes on with it. Ended at any point it can be run again, and goes on.
    ///
    /// Example: counterfoil registry rotate --to 0x… --owner-key-file owner.json
    Rotate(rotate::RotateArgs),
    /// Let nobody anchor in the current registry any more: the answer to a stolen publisher key
    Stop(rotate::StopArgs),
    /// Anchor on a chain no longer; with --lost, forget a chain that is gone
    Retire(rotate::RetireArgs),
    /// Show the pinned registries, and what the chain says of them
    Show(ShowArgs),
}

#[derive(Debug, Args)]
struct ShowArgs {
    /// The database whose registries are shown
    #[arg(
        long,
        env = "DATABASE_URL",
        hide_env_values = true,
        required_unless_present = "registry"
    )]
    database_url: Option<SecretString>,
    /// A registry to show, CAIP-10, whether it is pinned or not
    #[arg(long, env = "COUNTERFOIL_REGISTRY", requires = "rpc_url")]
    registry: Option<Caip10>,
    /// The chain's JSON-RPC address, to ask it too
    #[arg(long, env = "RPC_URL", hide_env_values = true)]
    rpc_url: Option<SecretString>,
}

/// Runs the command.
///
/// # Errors
/// What failed, and what to do where something is left half done.
pub async fn run(args: RegistryArgs) -> anyhow::Result<ExitCode> {
    match args.command {
        RegistryCommand::Deploy(args) => deploy::deploy(args).await?,
        RegistryCommand::Rotate(args) => rotate::rotate(args).await?,
        RegistryCommand::Stop(args) => rotate::stop(args).await?,
        RegistryCommand::Retire(args) => rotate::retire(args).await?,
        RegistryCommand::Show(args) => show(args).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn show(args: ShowArgs) -> anyhow::Result<()> {
    let chain = args.rpc_url.as_ref().map(Chain::new).transpose()?;
    let chain_id = match &chain {
        Some(chain) => Some(chain.chain_id().await?),
        None => None,
    };
    let mut shown: Vec<Caip10> = Vec::new();
    if let Some(url) = &args.database_url {
        for pinned in chains::registries(&mut database::connect(url).await?).await? {
            let registry = Caip10 {
                chain_id: pinned.chain_id.cast_unsigned(),
                address: pinned.address,
            };
            println!("{registry}");
            let last = pinned
                .last_batch
                .map_or_else(|| "…".to_owned(), |batch| batch.to_string());
            println!("  batches      {} to {last}", pinned.first_batch);
            println!("  code hash    {} (pinned)", hex::encode(&pinned.code_hash));
            if let Some(chain) = &chain {
                ask(chain, chain_id, registry).await?;
            }
            shown.push(registry);
        }
    }
    if let (Some(registry), Some(chain)) = (args.registry, &chain)
        && !shown.contains(&registry)
    {
        println!("{registry}");
        ask(chain, chain_id, registry).await?;
    } else if shown.is_empty() {
        println!("no registry is pinned; see `counterfoil registry deploy`");
    }
    Ok(())
}

async fn ask(chain: &Chain, chain_id: Option<u64>, registry: Caip10) -> anyhow::Result<()> {
    if chain_id != Some(registry.chain_id) {
        println!("  on the chain not asked: RPC_URL is of another chain");
        return Ok(());
    }
    let at = At::Block(chain.latest().await?.hash);
    let Some(code_hash) = chain.code_hash(registry.address, at).await? else {
        println!("  on the chain no contract has this address");
        return Ok(());
    };
    let known = if code_hash == runtime_code_hash() {
        "this version's"
    } else {
        "not this version's"
    };
    println!(
        "  code hash    {} (on the chain; {known})",
        hex::encode(&code_hash)
    );
    println!(
        "  owner        {}",
        hex::encode(&chain.owner(registry.address, at).await?)
    );
    println!(
        "  publisher    {}",
        hex::encode(&chain.publisher(registry.address, at).await?)
    );
    println!(
        "  next batch   {}",
        chain.next_batch(registry.address, at).await?
    );
    Ok(())
}
