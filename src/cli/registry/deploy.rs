//! `counterfoil registry deploy`: a chain's first registry, or one that follows another.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::Args;
use counterfoil_proofs::caip::Caip10;
use counterfoil_proofs::hex;
use secrecy::SecretString;
use sqlx::PgConnection;
use tokio::time::sleep;

use crate::anchor::handover::{self, Successor};
use crate::anchor::registry::{self, Deployed, Terms};
use crate::anchor::store::chains;
use crate::chain::{Account, At, Chain, Signer, check_account, parse_account, runtime_code_hash};
use crate::clock::Clock;
use crate::config::KeySource;
use crate::database;

/// How often it is looked whether the batches before a successor are final.
const POLL: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
pub(super) struct DeployArgs {
    /// The chain's JSON-RPC address; only its host is ever shown
    #[arg(long, env = "RPC_URL", hide_env_values = true)]
    rpc_url: SecretString,
    /// Account that may replace the publisher; keep its key offline
    #[arg(long, value_parser = parse_account)]
    owner: Account,
    /// Account that anchors
    #[arg(long, value_parser = parse_account)]
    publisher: Account,
    /// First batch that it takes; where the chain has a registry already, that one is closed before it
    /// [default: the one after the chain's last, or that is sealed next; 1 without a database]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    first_batch: Option<u64>,
    /// Pin this contract, which was deployed before, instead of deploying one
    #[arg(long, value_parser = parse_account, requires = "database_url")]
    adopt: Option<Account>,
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

pub(super) async fn deploy(args: DeployArgs) -> anyhow::Result<()> {
    let chain = Chain::new(&args.rpc_url)?;
    let chain_id = chain.chain_id().await?;
    for account in [args.owner, args.publisher] {
        check_account(account, chain_id)?;
    }
    let Some(url) = &args.database_url else {
        let terms = args.terms(args.first_batch.unwrap_or(1));
        let deployed = args.contract(&chain, chain_id, &terms).await?;
        tell(&deployed, &terms, "no: no DATABASE_URL");
        return Ok(());
    };
    let mut conn = database::connect(url).await?;
    let current = chains::registry(&mut conn, chain_id.cast_signed()).await?;
    if let (Some(pinned), true) = (current, args.unless_pinned) {
        let address = pinned.address;
        println!("{}", Caip10 { chain_id, address });
        return Ok(());
    }
    let first_batch = match (args.first_batch, current) {
        (Some(batch), _) => batch,
        (None, Some(current)) => bail!(
            "chain {chain_id} has a current registry already: {}; one that follows it says where (--first-batch)",
            hex::encode(&current.address)
        ),
        (None, None) => {
            let first = handover::next_first_batch(&mut conn, chain_id.cast_signed()).await?;
            first.cast_unsigned()
        }
    };
    let terms = args.terms(first_batch);
    let successor = current.map(|current| Successor {
        chain: &chain,
        current,
        first_batch: first_batch.cast_signed(),
        publisher: args.publisher,
    });
    match &successor {
        Some(successor) => until_final(successor, &mut conn).await?,
        None => registry::check_free(&mut conn, chain_id.cast_signed(), first_batch).await?,
    }
    let deployed = args.contract(&chain, chain_id, &terms).await?;
    let clock = Clock::system();
    let pinned = match &successor {
        Some(successor) => successor.pin(&mut conn, &deployed, &clock).await,
        None => handover::pin(&mut conn, &chain, &deployed, args.publisher, &clock).await,
    };
    pinned.with_context(|| {
        let address = hex::encode(&deployed.registry.address);
        format!("it is deployed, but could not be pinned: run this again with --adopt {address}")
    })?;
    tell(&deployed, &terms, "yes");
    Ok(())
}

impl DeployArgs {
    fn terms(&self, first_batch: u64) -> Terms {
        Terms {
            owner: self.owner,
            publisher: self.publisher,
            first_batch,
        }
    }

    /// The contract: a new one, or the one that is adopted.
    async fn contract(
        &self,
        chain: &Chain,
        chain_id: u64,
        terms: &Terms,
    ) -> anyhow::Result<Deployed> {
        if let Some(address) = self.adopt {
            return adopted(chain, Caip10 { chain_id, address }, terms).await;
        }
        let source = KeySource {
            key: self.deployer_key.clone(),
            file: self.deployer_key_file.clone(),
            password_env: Some("COUNTERFOIL_DEPLOYER_KEY_PASSWORD".to_owned()),
            ..KeySource::default()
        };
        if source.is_empty() {
            bail!("no key: set COUNTERFOIL_DEPLOYER_KEY or --deployer-key-file");
        }
        let deployer = Signer::open(&source)?;
        // said before it is sent: whatever happens then, it can be found
        let deployed = registry::deploy_telling(chain, &deployer, terms, |address| {
            let address = hex::encode(&address);
            eprintln!("deploying {address}; if this ends before it is pinned: --adopt {address}");
        });
        Ok(deployed.await?)
    }
}

/// A contract that was deployed before, if it is the one that these terms would make.
async fn adopted(chain: &Chain, registry: Caip10, terms: &Terms) -> anyhow::Result<Deployed> {
    let address = registry.address;
    let code_hash = runtime_code_hash();
    let found = chain.code_hash(address, At::Latest).await?;
    ensure!(
        found == Some(code_hash),
        "{registry} is no registry of this version"
    );
    let owner = chain.owner(address, At::Latest).await?;
    ensure!(
        owner == terms.owner,
        "{registry} is owned by {}",
        hex::encode(&owner)
    );
    let publisher = chain.publisher(address, At::Latest).await?;
    ensure!(
        publisher == terms.publisher,
        "{registry} takes batches from {}",
        hex::encode(&publisher)
    );
    let next = chain.next_batch(address, At::Latest).await?;
    ensure!(
        next == terms.first_batch,
        "{registry} takes batch {next} next"
    );
    Ok(Deployed {
        registry,
        code_hash,
        tx: None,
        first_batch: terms.first_batch,
    })
}

/// Waits until the batches before a successor are final, which the workers see to.
async fn until_final(successor: &Successor<'_>, conn: &mut PgConnection) -> anyhow::Result<()> {
    let mut before = 0;
    loop {
        let open = successor.check(conn).await?;
        if open == 0 {
            return Ok(());
        }
        if open != before {
            eprintln!("{open} anchors before it are not final yet; the workers follow them");
            before = open;
        }
        sleep(POLL).await;
    }
}

fn tell(deployed: &Deployed, terms: &Terms, pinned: &str) {
    println!("{}", deployed.registry);
    if let Some(tx) = &deployed.tx {
        eprintln!("  transaction  {}", hex::encode(tx));
    }
    eprintln!("  code hash    {}", hex::encode(&deployed.code_hash));
    eprintln!("  owner        {}", hex::encode(&terms.owner));
    eprintln!("  publisher    {}", hex::encode(&terms.publisher));
    eprintln!("  first batch  {}", terms.first_batch);
    eprintln!("  pinned       {pinned}");
}
