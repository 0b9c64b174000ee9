//! `counterfoil pause`, `resume`, `bump` and `seal-now`: what an operator asks of the workers, through the
//! database. Asked twice is as good as asked once.

use std::process::ExitCode;

use anyhow::{bail, ensure};
use clap::Args;
use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, Postgres};

use crate::anchor::store::operator::{self, OperatedChain};
use crate::anchor::{handover, seal};
use crate::clock::{Clock, rfc3339_ms};
use crate::config::DatabaseArgs;
use crate::database::{self, DatabaseRole};

/// Signs nothing new on a chain until `resume`
///
/// What is signed is still sent, watched and replaced. Sales are recorded and sealed meanwhile, and go out
/// in few calls afterwards.
#[derive(Debug, Args)]
pub(super) struct PauseArgs {
    #[command(flatten)]
    on: ChainChoice,
}

/// Takes a pause back; with --halted also what has stopped a chain by itself
///
/// A chain stops by itself when it holds something that the database cannot explain. Without --halted the
/// reason is shown, and nothing else happens.
///
/// Example: counterfoil resume --chain 1 --halted "transaction 0x… reverted in block 7, which is final"
#[derive(Debug, Args)]
pub(super) struct ResumeArgs {
    #[command(flatten)]
    on: ChainChoice,
    /// Let a chain that has stopped go on: the reason as it is shown, once it is explained, or "yes"
    #[arg(long, value_name = "REASON", requires = "chain")]
    halted: Option<String>,
}

/// Replaces a chain's waiting transaction at higher fees now, without regard to the schedule
#[derive(Debug, Args)]
pub(super) struct BumpArgs {
    #[command(flatten)]
    on: ChainChoice,
}

/// Seals what waits into a batch now, instead of at the end of its interval
#[derive(Debug, Args)]
pub(super) struct SealNowArgs {
    #[command(flatten)]
    database: DatabaseArgs,
}

#[derive(Debug, Args)]
struct ChainChoice {
    /// The chain's id (EIP-155) [default: every chain]
    #[arg(long = "chain", id = "chain", value_name = "ID")]
    chain_id: Option<i64>,
    #[command(flatten)]
    database: DatabaseArgs,
}

impl ChainChoice {
    async fn open(&self) -> anyhow::Result<(PoolConnection<Postgres>, Vec<OperatedChain>)> {
        let mut conn = connect(&self.database).await?;
        let mut chains = operator::chains(&mut conn).await?;
        if let Some(chain_id) = self.chain_id {
            chains.retain(|chain| chain.chain_id == chain_id);
            ensure!(
                !chains.is_empty(),
                "nothing was anchored on chain {chain_id} yet; `counterfoil registry show` names those that there are"
            );
        }
        ensure!(!chains.is_empty(), "nothing was anchored on any chain yet");
        Ok((conn, chains))
    }
}

/// With the worker's role, which is all that these need.
async fn connect(database: &DatabaseArgs) -> anyhow::Result<PoolConnection<Postgres>> {
    let pool = database::pool(&database.database_url, DatabaseRole::Worker, 1)?;
    Ok(pool.acquire().await?)
}

pub(super) async fn pause(args: PauseArgs) -> anyhow::Result<ExitCode> {
    let (mut conn, chains) = args.on.open().await?;
    for chain in chains {
        let id = chain.chain_id;
        if handover::pause(&mut conn, id, Clock::system().now()).await? {
            println!(
                "chain {id} is paused: nothing new is signed until `counterfoil resume --chain {id}`"
            );
        } else {
            let since = chain.paused_at.map(rfc3339_ms).unwrap_or_default();
            println!("chain {id} is paused since {since}");
        }
        match chain.waiting {
            0 => {}
            waiting => println!("  {waiting} signed before are still sent and watched"),
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn resume(args: ResumeArgs) -> anyhow::Result<ExitCode> {
    let (mut conn, chains) = args.on.open().await?;
    let mut code = ExitCode::SUCCESS;
    for chain in chains {
        if !resume_one(&mut conn, &chain, args.halted.as_deref()).await? {
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}

/// Whether the chain goes on.
async fn resume_one(
    conn: &mut PgConnection,
    chain: &OperatedChain,
    explained: Option<&str>,
) -> anyhow::Result<bool> {
    let id = chain.chain_id;
    if let Some(reason) = &chain.halted {
        println!("chain {id} has stopped: {reason}");
        match explained {
            Some(said) if said == "yes" || said == reason => {
                if !operator::clear_halt(conn, id, reason).await? {
                    bail!("it stopped for another reason meanwhile; nothing was done");
                }
                println!("  it goes on: the workers look again within seconds");
            }
            Some(_) => bail!("that is not why it stopped; nothing was done"),
            None => {
                println!("  nothing was done; once it is explained (docs/OPERATIONS.md),");
                println!("  counterfoil resume --chain {id} --halted yes");
                return Ok(false);
            }
        }
    }
    if operator::resume(conn, id).await? {
        println!("chain {id} is resumed: what waited goes out in few calls");
    } else if chain.halted.is_none() {
        println!("chain {id} was not paused");
    }
    if chain.rotating_to.is_some() {
        println!(
            "  its publisher is being handed over: `counterfoil registry rotate` goes on with that"
        );
    }
    Ok(true)
}

pub(super) async fn bump(args: BumpArgs) -> anyhow::Result<ExitCode> {
    let (mut conn, chains) = args.on.open().await?;
    for chain in chains {
        let id = chain.chain_id;
        if chain.waiting == 0 {
            println!("chain {id}: no transaction waits, so nothing was asked");
            continue;
        }
        operator::request_bump(&mut conn, id, Clock::system().now()).await?;
        println!("chain {id}: a worker replaces the waiting transaction within seconds");
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn seal_now(args: SealNowArgs) -> anyhow::Result<ExitCode> {
    let mut conn = connect(&args.database).await?;
    let waiting = seal::backlog(&mut conn).await?;
    if waiting == 0 {
        println!("no sale waits, so nothing was asked");
        return Ok(ExitCode::SUCCESS);
    }
    operator::request_seal(&mut conn, Clock::system().now()).await?;
    println!("{waiting} sales wait: a worker seals them within a second");
    Ok(ExitCode::SUCCESS)
}
