//! `counterfoil token-key`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use data_encoding::HEXLOWER;

use super::installation::write_secret;
use crate::clock::Entropy;

/// Prints a new key that access tokens are signed with: a line for the file of --token-keys
///
/// The first line of the file signs, all verify. To rotate: put the new line at the end and restart every
/// server, then move it to the front and restart again, and take the old line away ten minutes later.
///
/// Example: counterfoil token-key --file token-keys
#[derive(Debug, Args)]
pub(super) struct TokenKeyArgs {
    /// Make this file (mode 0600) with the key in it, instead of printing it; one that is there stays as it is
    #[arg(long)]
    file: Option<PathBuf>,
}

pub(super) fn run(args: &TokenKeyArgs) -> anyhow::Result<ExitCode> {
    match &args.file {
        None => println!("{}", line()),
        Some(file) if keep_or_make(file)? => println!("{} is made", file.display()),
        Some(file) => println!("{} is there, and stays as it is", file.display()),
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes the file with a new key, unless it is there; whether it was made.
pub(super) fn keep_or_make(file: &Path) -> anyhow::Result<bool> {
    if file.try_exists()? {
        return Ok(false);
    }
    write_secret(file, &format!("{}\n", line()))?;
    Ok(true)
}

/// A new key, as it stands in the file.
fn line() -> String {
    HEXLOWER.encode(&Entropy::system().bytes::<32>())
}
