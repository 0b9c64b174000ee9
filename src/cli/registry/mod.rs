//! `counterfoil registry deploy` and `counterfoil registry show`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use counterfoil_proofs::caip::Caip10;
use counterfoil_proofs::hex;
use secrecy::SecretString;
use sqlx::PgConnection;

use crate::anchor::registry::{self, Deployed, Terms};
use crate::anchor::store::{chains, seal};
use crate::chain::{Account, At, Chain, Signer, check_account, parse_account, runtime_code_hash};
use crate::clock::Clock;
use crate::config::KeySource;
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
    Deploy(DeployArgs),
    /// Show the pinned registries, and what the chain says of them
    Show(ShowArgs),
}

#[derive(Debug, Args)]
struct DeployArgs {
    /// The chain's JSON-RPC address; only its host is ever shown
    #[arg(long, env = "RPC_URL", hide_env_values = true)]
    rpc_url: SecretString,
    /// Account that may replace the publisher; keep its key offline
    #[arg(long, value_parser = parse_account)]
    owner: Account,
    /// Account that anchors
    #[arg(long, value_parser = parse_account)]
    publisher: Account,
    /// First batch that it takes [default: the batch that is sealed next, 1 without a database]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    first_batch: Option<u64>,
    /// Private key of the account that pays for the deployment, 32 bytes as hex
    #[arg(long, env = "COUNTERFOIL_DEPLOYER_KEY", hide_env_values = true)]
    deployer_key: Option<SecretString>,
    /// A file that holds it, as hex or as an encrypted keystore, whose password is in
    /// COUNTERFOIL_DEPLOYER_KEY_PASSWORD
    #[arg(
        long,
        env = "COUNTERFOIL_DEPLOYER_KEY_FILE",
        conflicts_with = "deployer_key"
    )]
    deployer_key_file: Option<PathBuf>,
    /// Where the chain has a pinned registry already: print that one and change nothing
    #[arg(long, requires = "database_url")]
    unless_pinned: bool,
    /// Database to pin the registry in; without one it is only deployed
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: Option<SecretString>,
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
        RegistryCommand::Deploy(args) => deploy(args).await?,
        RegistryCommand::Show(args) => show(args).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn deploy(args: DeployArgs) -> anyhow::Result<()> {
    let source = KeySource {
        key: args.deployer_key.clone(),
        file: args.deployer_key_file.clone(),
        password_env: Some("COUNTERFOIL_DEPLOYER_KEY_PASSWORD".to_owned()),
        ..KeySource::default()
    };
    if source.is_empty() {
        bail!("no key: set COUNTERFOIL_DEPLOYER_KEY or --deployer-key-file");
    }
    let deployer = Signer::open(&source)?;
    let chain = Chain::new(&args.rpc_url)?;
    let chain_id = chain.chain_id().await?;
    for account in [args.owner, args.publisher] {
        check_account(account, chain_id)?;
    }
    let mut conn = match &args.database_url {
        Some(url) => Some(database::connect(url).await?),
        None => None,
    };
    if let (true, Some(conn)) = (args.unless_pinned, &mut conn)
        && let Some(pinned) = chains::registry(conn, chain_id.cast_signed()).await?
    {
        let address = pinned.address;
        println!("{}", Caip10 { chain_id, address });
        return Ok(());
    }
    let first_batch = first_batch(&args, conn.as_mut()).await?;
    if let Some(conn) = &mut conn {
        registry::check_free(conn, chain_id.cast_signed(), first_batch).await?;
    }
    let terms = Terms {
        owner: args.owner,
        publisher: args.publisher,
        first_batch,
    };
    let deployed = registry::deploy(&chain, &deployer, &terms).await?;
    let Deployed {
        registry,
        code_hash,
        tx,
        ..
    } = &deployed;
    if let Some(conn) = &mut conn {
        let pinned = registry::pin(conn, &deployed, &Clock::system()).await;
        pinned.with_context(|| format!("{registry} is deployed, but could not be pinned"))?;
    }
    println!("{registry}");
    eprintln!("  transaction  {}", hex::encode(tx));
    eprintln!("  code hash    {}", hex::encode(code_hash));
    eprintln!("  owner        {}", hex::encode(&terms.owner));
    eprintln!("  publisher    {}", hex::encode(&terms.publisher));
    eprintln!("  first batch  {first_batch}");
    eprintln!(
        "  pinned       {}",
        if conn.is_some() {
            "yes"
        } else {
            "no: no DATABASE_URL"
        }
    );
    Ok(())
}

async fn first_batch(args: &DeployArgs, conn: Option<&mut PgConnection>) -> anyhow::Result<u64> {
    Ok(match (args.first_batch, conn) {
        (Some(batch), _) => batch,
        (None, Some(conn)) => seal::head(conn).await?.next_batch.cast_unsigned(),
        (None, None) => 1,
    })
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
