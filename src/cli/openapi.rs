//! `counterfoil openapi`

use std::io::Write;
use std::process::ExitCode;

use clap::Args;

use crate::server;

/// Prints the description of the HTTP interface, OpenAPI 3.1 as JSON
///
/// The same document that a running server gives at /openapi.json.
#[derive(Debug, Args)]
pub(super) struct OpenapiArgs {}

pub(super) async fn run(_: OpenapiArgs) -> anyhow::Result<ExitCode> {
    let document = server::openapi().to_pretty_json()?;
    writeln!(std::io::stdout(), "{document}")?;
    Ok(ExitCode::SUCCESS)
}
