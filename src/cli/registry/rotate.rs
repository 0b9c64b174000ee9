//! `counterfoil registry rotate`, `stop` and `retire`: who anchors on a chain from now on.

use std::time::Duration;

use anyhow::Context;
use clap::Args;
use counterfoil_proofs::hex;
use secrecy::SecretString;
use sqlx::PgConnection;
use tokio::time::sleep;

use super::owner::{OwnerKeyArgs, set_publisher};
use crate::anchor::handover;
use crate::anchor::store::anchors;
use crate::anchor::store::chains::{self, Registry};
use crate::chain::{Account, Chain, check_account, parse_account};
use crate::config::DatabaseArgs;
use crate::database;

/// How often it is looked whether everything is final.
const POLL: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
pub(super) struct RotateArgs {
    /// The account that anchors from now on
    #[arg(long, value_parser = parse_account)]
    to: Account,
    #[command(flatten)]
    owner: OwnerKeyArgs,
    #[command(flatten)]
    on: OnChain,
}

#[derive(Debug, Args)]
pub(super) struct StopArgs {
    #[command(flatten)]
    owner: OwnerKeyArgs,
    #[command(flatten)]
    on: OnChain,
}

#[derive(Debug, Args)]
pub(super) struct RetireArgs {
    /// The chain's id (EIP-155)
    #[arg(long = "chain", id = "chain", value_name = "ID")]
    chain_id: i64,
    /// The chain is gone for good, or began anew: forget all that was anchored there
    #[arg(long)]
    lost: bool,
    #[command(flatten)]
    database: DatabaseArgs,
}

#[derive(Debug, Args)]
struct OnChain {
    /// The chain's JSON-RPC address; only its host is ever shown
    #[arg(long, env = "RPC_URL", hide_env_values = true)]
    rpc_url: SecretString,
    #[command(flatten)]
    database: DatabaseArgs,
}

impl OnChain {
    async fn open(&self) -> anyhow::Result<(PgConnection, Chain, Registry)> {
        let chain = Chain::new(&self.rpc_url)?;
        let chain_id = chain.chain_id().await?.cast_signed();
        let mut conn = database::connect(&self.database.database_url).await?;
        let registry = chains::registry(&mut conn, chain_id).await?;
        let registry = registry.with_context(|| format!("chain {chain_id} has no registry"))?;
        Ok((conn, chain, registry))
    }
}

pub(super) async fn rotate(args: RotateArgs) -> anyhow::Result<()> {
    let (mut conn, chain, registry) = args.on.open().await?;
    let (chain_id, to) = (registry.chain_id, args.to);
    check_account(to, chain_id.cast_unsigned())?;
    let head = chains::head(&mut conn, chain_id).await?;
    if head.is_some_and(|head| head.account == to) {
        println!("{} anchors on chain {chain_id} already", hex::encode(&to));
        return Ok(());
    }
    handover::begin_rotation(&mut conn, chain_id, to).await?;
    eprintln!("nothing new is signed on chain {chain_id}; sales are recorded and sealed as before");
    until_final(&mut conn, chain_id).await?;
    set_publisher(&chain, &registry, to, &args.owner).await?;
    handover::complete_rotation(&mut conn, &chain, chain_id, to).await?;
    println!(
        "{} anchors on chain {chain_id} from now on",
        hex::encode(&to)
    );
    println!("next: start the workers with its key; with the old one they wait");
    let head = chains::head(&mut conn, chain_id).await?;
    if head.as_ref().is_some_and(|head| head.is_paused) {
        println!(
            "the chain is still paused, as it was before: `counterfoil resume --chain {chain_id}`"
        );
    }
    if let Some(reason) = head.and_then(|head| head.halted) {
        println!("the chain has stopped: {reason}");
    }
    Ok(())
}

/// Waits until every anchor is final, which the workers see to.
async fn until_final(conn: &mut PgConnection, chain_id: i64) -> anyhow::Result<()> {
    let mut before = 0;
    loop {
        let open = anchors::open(conn, chain_id).await?.len();
        if open == 0 {
            return Ok(());
        }
        if open != before {
            eprintln!("{open} anchors are not final yet; the workers follow them");
            before = open;
        }
        sleep(POLL).await;
    }
}

pub(super) async fn stop(args: StopArgs) -> anyhow::Result<()> {
    let (_, chain, registry) = args.on.open().await?;
    set_publisher(&chain, &registry, [0; 20], &args.owner).await?;
    println!(
        "nobody anchors in {} on chain {} any more",
        hex::encode(&registry.address),
        registry.chain_id
    );
    println!(
        "next: `counterfoil registry rotate`, or a successor: `counterfoil registry deploy --first-batch`"
    );
    Ok(())
}

pub(super) async fn retire(args: RetireArgs) -> anyhow::Result<()> {
    let mut conn = database::connect(&args.database.database_url).await?;
    let chain_id = args.chain_id;
    if args.lost {
        let left = handover::lose(&mut conn, chain_id).await?;
        println!(
            "chain {chain_id} is forgotten; {left} batches were anchored there, or waited for it"
        );
        println!(
            "next: `counterfoil registry deploy --first-batch 1` on the chain that takes its place"
        );
    } else {
        let retired = handover::retire(&mut conn, chain_id).await?;
        let (registry, last) = (hex::encode(&retired.registry), retired.last_batch);
        println!("{registry} on chain {chain_id} is closed with batch {last}");
        println!(
            "  {} batches after it do not wait for it any more",
            retired.left
        );
    }
    if chains::current(&mut conn).await?.is_empty() {
        println!("no chain is left: what is sealed is anchored once another registry is deployed");
    }
    Ok(())
}
