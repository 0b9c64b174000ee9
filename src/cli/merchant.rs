//! `counterfoil merchant create` and `merchant list`

use std::io::Write;
use std::process::ExitCode;

use anyhow::ensure;
use clap::{Args, Subcommand};
use sqlx::PgConnection;

use crate::clock::{Clock, Entropy};
use crate::config::DatabaseArgs;
use crate::database;
use crate::http::keys::Mode;
use crate::ids::MerchantId;

/// Longest legal name, characters; the database holds the same bound.
const NAME_CHARS: usize = 200;

/// Makes merchants and lists them
#[derive(Debug, Args)]
pub(super) struct MerchantArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Makes a merchant and prints its id
    ///
    /// Example: counterfoil merchant create --name "Lantern & Thread Ltd"
    Create {
        /// Legal name, as it stands in the trust file
        #[arg(long)]
        name: String,
        /// A merchant for trying things: its sales are never anchored on a production chain
        #[arg(long)]
        test: bool,
        #[command(flatten)]
        database: DatabaseArgs,
    },
    /// Lists the merchants: id, mode, legal name
    List {
        #[command(flatten)]
        database: DatabaseArgs,
    },
}

pub(super) async fn run(args: MerchantArgs) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::Create {
            name,
            test,
            database,
        } => {
            let mut db = database::connect(&database.database_url).await?;
            let mode = if test { Mode::Test } else { Mode::Live };
            let merchant =
                create(&mut db, &Clock::system(), &Entropy::system(), &name, mode).await?;
            writeln!(std::io::stdout(), "{merchant}")?;
            eprintln!("next: counterfoil key create --merchant {merchant} --role admin");
        }
        Action::List { database } => {
            let mut db = database::connect(&database.database_url).await?;
            list(&mut db).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes a merchant.
///
/// # Errors
/// When the name is empty or too long; the database's.
pub(super) async fn create(
    db: &mut PgConnection,
    clock: &Clock,
    entropy: &Entropy,
    name: &str,
    mode: Mode,
) -> anyhow::Result<MerchantId> {
    let chars = name.chars().count();
    ensure!(
        (1..=NAME_CHARS).contains(&chars) && !name.contains('\0'),
        "a legal name has 1 to {NAME_CHARS} characters"
    );
    let merchant = MerchantId::new(clock, entropy);
    sqlx::query!(
        "insert into merchant (merchant_id, legal_name, mode, created_at) values ($1, $2, $3, $4)",
        merchant.0,
        name,
        mode.as_str(),
        clock.now(),
    )
    .execute(db)
    .await?;
    Ok(merchant)
}

async fn list(db: &mut PgConnection) -> anyhow::Result<()> {
    let merchants =
        sqlx::query!("select merchant_id, mode, legal_name from merchant order by merchant_id")
            .fetch_all(db)
            .await?;
    let mut out = std::io::stdout().lock();
    for merchant in merchants {
        writeln!(
            out,
            "{}  {}  {}",
            MerchantId(merchant.merchant_id),
            merchant.mode,
            merchant.legal_name
        )?;
    }
    Ok(())
}
