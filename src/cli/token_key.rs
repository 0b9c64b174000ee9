//! `counterfoil token-key`

use std::process::ExitCode;

use clap::Args;
use data_encoding::HEXLOWER;

use crate::clock::Entropy;

/// Prints a new key that access tokens are signed with: a line for the file of --token-keys
///
/// The first line of the file signs, all verify. To rotate: put the new line at the end and restart every
/// server, then move it to the front and restart again, and take the old line away ten minutes later.
///
/// Example: (umask 077; counterfoil token-key > token-keys)
#[derive(Debug, Args)]
pub(super) struct TokenKeyArgs {}

pub(super) fn run(_: &TokenKeyArgs) -> ExitCode {
    println!("{}", line(&Entropy::system()));
    ExitCode::SUCCESS
}

/// A new key, as it stands in the file.
pub(super) fn line(entropy: &Entropy) -> String {
    HEXLOWER.encode(&entropy.bytes::<32>())
}
