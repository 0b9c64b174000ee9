//! `counterfoil migrate`

use std::process::ExitCode;

use clap::Args;

use crate::config::DatabaseArgs;
use crate::database;

/// Brings the database's schema up to this program's version
///
/// Several may run at once: each migration is applied once, under a lock. The login needs the right to
/// create tables and roles; `serve` needs neither.
///
/// Example: DATABASE_URL=postgres://owner@localhost/counterfoil counterfoil migrate
#[derive(Debug, Args)]
pub(super) struct MigrateArgs {
    #[command(flatten)]
    database: DatabaseArgs,
}

pub(super) async fn run(args: MigrateArgs) -> anyhow::Result<ExitCode> {
    let applied = database::migrate(&args.database.database_url).await?;
    match applied {
        0 => eprintln!("the schema is up to date"),
        n => eprintln!("{n} migrations applied"),
    }
    Ok(ExitCode::SUCCESS)
}
