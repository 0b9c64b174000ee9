//! The command line: one file a subcommand. Here everything is put together.
//!
//! A command returns its exit code. An error is printed once, here, with what caused it; usage errors
//! exit with 64, so that they are not taken for a verdict.
//!
//! - [`engine`]: the parts of a serving process; [`anchoring`]: which chain it anchors on
//! - [`installation`]: a whole installation on this machine, for `dev` and `demo`
//! - [`client`]: the commands' way to the HTTP interface
//! - [`signals`]: what ends a process

mod anchoring;
mod archive;
mod audit;
mod client;
mod demo;
mod dev;
mod doctor;
mod engine;
mod export;
mod import;
mod installation;
mod key;
mod merchant;
mod migrate;
mod openapi;
mod operator;
mod payment_provider;
mod receipt;
mod recover;
pub mod registry;
mod serve;
mod services;
mod signals;
mod token_key;
mod trust;
pub mod verify;

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::chain;

/// Exit code of a command line that makes no sense (`EX_USAGE` of sysexits.h).
const USAGE: u8 = 64;

/// Records a shop's sales and anchors them on a chain, so that anyone can check a receipt.
#[derive(Parser)]
#[command(
    name = "counterfoil",
    version,
    propagate_version = true,
    max_term_width = 100
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Demo(demo::DemoArgs),
    Dev(dev::DevArgs),
    WithServices(services::ServicesArgs),
    PaymentProvider(payment_provider::PaymentProviderArgs),
    Serve(Box<serve::ServeArgs>),
    Migrate(migrate::MigrateArgs),
    /// Deploys the registry contract, once a chain, and shows the pinned ones
    ///
    /// Example: counterfoil registry deploy --owner 0x… --publisher 0x… --deployer-key-file key
    Registry(registry::RegistryArgs),
    Pause(operator::PauseArgs),
    Resume(operator::ResumeArgs),
    Bump(operator::BumpArgs),
    SealNow(operator::SealNowArgs),
    Merchant(merchant::MerchantArgs),
    Key(key::KeyArgs),
    TokenKey(token_key::TokenKeyArgs),
    Import(import::ImportArgs),
    Receipt(receipt::ReceiptArgs),
    /// Checks a receipt step by step, against a chain and a registry of the reader's own choice
    ///
    /// Exits with 0 if everything was checked, at a finalized block, against a registry and a merchant
    /// that came from the reader; with 1 if the receipt is not valid; with 2 if it was not fully checked.
    ///
    /// Example: counterfoil verify receipt.json --rpc https://… --trust counterfoil.json
    Verify(verify::VerifyArgs),
    Export(export::ExportArgs),
    Archive(archive::ArchiveCommand),
    /// Computes everything that is stored again and compares it, down to the row that is wrong
    ///
    /// It only reads, in short transactions, and needs no more than the role counterfoil_reader. Sales may
    /// be recorded, sealed and anchored beside it.
    ///
    /// Exits with 0 if all is right, with 1 if something is wrong, and with 2 if nothing is, but not
    /// everything was checked: without --rpc the chain was not asked.
    ///
    /// Example: counterfoil audit --rpc https://…
    Audit(audit::AuditArgs),
    /// Looks at a whole installation from outside, and says what to mend
    ///
    /// The database and its settings, queue, heads and roles, each registry through an RPC of its chain,
    /// Redis, and the interface under its public address. It only reads (of Redis it writes one entry that
    /// goes by itself), and needs no more than the role counterfoil_reader.
    ///
    /// Exits with 0 if all is sound, with 1 if something fails, and with 2 if there are only warnings, or
    /// not all could be checked.
    ///
    /// Example: counterfoil doctor --rpc https://… --public-url https://pay.shop.example
    Doctor(doctor::DoctorArgs),
    /// Says what a restored or failed-over database lost, and has it go on without giving it out twice
    ///
    /// While a database is in doubt nothing is recorded, sealed or anchored. Without --yes it only says
    /// what is missing. With it, in one transaction: batches that a chain has and the database has not are
    /// entered as lost, the transactions that anchored them become rows again, each merchant's numbers go
    /// on behind a declared gap, and the database is accepted. It runs as the tables' owner.
    ///
    /// Exits with 0 if it is done or there is nothing to do, and with 2 if it was only shown.
    ///
    /// Example: counterfoil recover --rpc https://… --yes
    Recover(recover::RecoverArgs),
    Openapi(openapi::OpenapiArgs),
}

/// The command line's description: every command with its flags and their variables.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the command that the program was started with.
pub fn main() -> ExitCode {
    let command = match Cli::try_parse() {
        Ok(cli) => cli.command,
        Err(error) => {
            let code = if error.use_stderr() { USAGE } else { 0 };
            // nowhere to say that it could not be said
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    chain::install_tls();
    let ended = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(run(command)));
    ended.unwrap_or_else(|error| {
        report(&error);
        ExitCode::FAILURE
    })
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Demo(args) => demo::run(args).await,
        Command::Dev(args) => dev::run(args).await,
        Command::WithServices(args) => services::run(args).await,
        Command::PaymentProvider(args) => payment_provider::run(args).await,
        Command::Serve(args) => serve::run(*args).await,
        Command::Migrate(args) => migrate::run(args).await,
        Command::Registry(args) => registry::run(args).await,
        Command::Pause(args) => operator::pause(args).await,
        Command::Resume(args) => operator::resume(args).await,
        Command::Bump(args) => operator::bump(args).await,
        Command::SealNow(args) => operator::seal_now(args).await,
        Command::Merchant(args) => merchant::run(args).await,
        Command::Key(args) => key::run(args).await,
        Command::TokenKey(args) => token_key::run(&args),
        Command::Import(args) => import::run(args).await,
        Command::Receipt(args) => receipt::run(args).await,
        Command::Verify(args) => verify::run(args).await,
        Command::Export(args) => export::run(args).await,
        Command::Archive(args) => archive::run(args).await,
        Command::Audit(args) => audit::run(args).await,
        Command::Doctor(args) => doctor::run(args).await,
        Command::Recover(args) => recover::run(args).await,
        Command::Openapi(args) => openapi::run(args).await,
    }
}

/// Prints an error and what caused it, each on a line.
fn report(error: &anyhow::Error) {
    let mut text = format!("error: {error}\n");
    for cause in error.chain().skip(1) {
        text.push_str(&format!("  because: {cause}\n"));
    }
    // nowhere to say that it could not be said
    let _ = std::io::stderr().write_all(text.as_bytes());
}
