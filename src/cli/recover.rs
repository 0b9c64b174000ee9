//! `counterfoil recover`: what a database lost, and going on without giving anything out twice.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use counterfoil_proofs::hex;
use secrecy::SecretString;

use crate::anchor::recover::{self, Plan};
use crate::chain::Chain;
use crate::clock::Clock;
use crate::config::DatabaseArgs;
use crate::database;
use crate::ids::MerchantId;

/// Exit code of a recovery that was only shown.
const NOT_DONE: u8 = 2;

/// `counterfoil recover`
#[derive(Debug, Args)]
pub(super) struct RecoverArgs {
    #[command(flatten)]
    database: DatabaseArgs,
    /// JSON-RPC address of a chain that is anchored on; once for each chain
    #[arg(long, env = "RPC_URL", hide_env_values = true, value_delimiter = ' ')]
    rpc: Vec<SecretString>,
    /// Do it; without this it only says what is missing
    #[arg(long)]
    yes: bool,
    /// State that no commit was lost: only the database's new identity is accepted, and only if no chain
    /// knows better
    #[arg(long, conflicts_with = "skip")]
    failover: bool,
    /// Numbers of each merchant that are left out because they may have been given out [default: a hundred
    /// times as many as the merchant's rate so far gives for the time since the newest sale, at least
    /// 10000]
    #[arg(long, value_parser = clap::value_parser!(i64).range(0..=1_000_000_000_000_000))]
    skip: Option<i64>,
}

pub(super) async fn run(args: RecoverArgs) -> anyhow::Result<ExitCode> {
    database::check_version(&args.database.database_url).await?;
    let mut db = database::connect(&args.database.database_url).await?;
    let mut rpcs = Vec::new();
    for rpc in &args.rpc {
        let chain = Chain::new(rpc)?;
        let id = chain.chain_id().await;
        let id = id.with_context(|| format!("{} does not answer", chain.host()))?;
        rpcs.push((id.cast_signed(), chain));
    }
    let plan = recover::examine(&mut db, &rpcs, args.skip, !args.failover).await?;
    print(&plan, args.failover)?;
    if plan.is_nothing() {
        return Ok(ExitCode::SUCCESS);
    }
    if args.failover && !plan.is_complete() {
        anyhow::bail!(
            "a chain has what this database has not, so commits were lost: run it without --failover"
        );
    }
    if !args.yes && !args.failover {
        say(
            "\nNothing was changed. With --yes this is done; before that, stop nothing: the servers wait.",
        )?;
        return Ok(ExitCode::from(NOT_DONE));
    }
    if args.failover {
        recover::accept(&mut db, &plan).await?;
    } else {
        let reason = plan
            .doubt
            .as_ref()
            .map_or_else(|| "a chain was ahead".to_owned(), ToString::to_string);
        recover::apply(&mut db, &plan, &reason, Clock::system().now()).await?;
    }
    say(
        "\nDONE\n  the servers go on within a second, a worker whose chain waited within half a minute",
    )?;
    Ok(ExitCode::SUCCESS)
}

fn print(plan: &Plan, failover: bool) -> anyhow::Result<()> {
    match &plan.doubt {
        Some(doubt) => say(&format!("in doubt     {doubt}"))?,
        None => say("not in doubt")?,
    }
    for chain in &plan.chains {
        let known = chain.known_nonce.unwrap_or(0);
        say(&format!(
            "chain {}: the registry takes batch {} next; {} has used {} nonces, {} known here",
            chain.chain_id,
            chain.next_batch,
            hex::encode(&chain.account),
            chain.nonce,
            known
        ))?;
        for found in &chain.found {
            say(&format!(
                "  on chain   batches {} to {} in {}",
                found.first_batch,
                found.last_batch,
                hex::encode(&found.signed.hash)
            ))?;
        }
    }
    for lost in &plan.lost {
        say(&format!(
            "lost         batch {} with the root {} on chain {}",
            lost.batch,
            hex::encode(&lost.root),
            lost.chain_id
        ))?;
    }
    if let Some(from) = plan.discarded_from {
        say(&format!(
            "taken apart  the batches here from {from} on: their sales are sealed again"
        ))?;
    }
    if failover {
        return Ok(());
    }
    for gap in &plan.gaps {
        say(&format!(
            "left out     numbers {} to {} of {}",
            gap.first_seq,
            gap.first_seq + gap.numbers - 1,
            MerchantId(gap.merchant_id)
        ))?;
    }
    Ok(())
}

fn say(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{text}")?;
    Ok(())
}
