//! `counterfoil doctor`: a whole installation, looked at from outside, and what to mend.
//!
//! Exit codes: 0 sound; 1 something fails; 2 only warnings, or not all could be checked.
//!
//! - [`postgres`]: the database, its settings and roles, and what its rows say of how the work goes
//! - [`registries`]: each pinned registry, through the RPC of its chain
//! - [`services`]: Redis, and the interface under its public address

mod postgres;
mod registries;
mod services;

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use reqwest::Url;
use secrecy::SecretString;
use serde::Serialize;
use serde_json::json;

use crate::config::DatabaseArgs;
use crate::database::{self, DatabaseRole};

/// Connections: one check after the other, and a watcher beside.
const CONNECTIONS: u32 = 2;

/// `counterfoil doctor`
#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    database: DatabaseArgs,
    /// JSON-RPC address of a chain; once for each chain, best another RPC than the worker's
    #[arg(long, env = "RPC_URL", hide_env_values = true, value_delimiter = ' ')]
    rpc: Vec<SecretString>,
    /// The Redis of the installation, where it has one
    #[arg(long, env = "REDIS_URL", hide_env_values = true)]
    redis_url: Option<SecretString>,
    /// Address customers reach the installation under
    #[arg(long, env = "COUNTERFOIL_PUBLIC_URL")]
    public_url: Option<Url>,
    /// One JSON object a line: each check, at last the verdict
    #[arg(long)]
    json: bool,
}

/// How a check came out, from the best on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Ok,
    /// It works, and something is not as it should be.
    Warn,
    Fail,
    /// It could not be asked.
    NotChecked,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Check {
    check: String,
    verdict: Verdict,
    /// What was found, and what to do where it is not well.
    says: String,
}

/// The checks, as they are made.
struct Checks {
    json: bool,
    made: Vec<Check>,
}

impl Checks {
    fn add(&mut self, check: impl Into<String>, verdict: Verdict, says: impl Into<String>) {
        let check = Check {
            check: check.into(),
            verdict,
            says: says.into(),
        };
        let line = if self.json {
            json!(check).to_string()
        } else {
            let verdict = match check.verdict {
                Verdict::Ok => "ok",
                Verdict::Warn => "warn",
                Verdict::Fail => "FAIL",
                Verdict::NotChecked => "-",
            };
            format!("{verdict:5} {:22} {}", check.check, check.says)
        };
        // nowhere to say that it could not be said
        let _ = writeln!(std::io::stdout(), "{line}");
        self.made.push(check);
    }

    fn ok(&mut self, check: impl Into<String>, says: impl Into<String>) {
        self.add(check, Verdict::Ok, says);
    }

    fn warn(&mut self, check: impl Into<String>, says: impl Into<String>) {
        self.add(check, Verdict::Warn, says);
    }

    fn fail(&mut self, check: impl Into<String>, says: impl Into<String>) {
        self.add(check, Verdict::Fail, says);
    }

    fn not_checked(&mut self, check: impl Into<String>, says: impl Into<String>) {
        self.add(check, Verdict::NotChecked, says);
    }

    /// `fine` where it holds; else it fails with what to do.
    fn hold(&mut self, check: impl Into<String>, holds: bool, fine: &str, mend: &str) {
        if holds {
            self.ok(check, fine);
        } else {
            self.fail(check, mend);
        }
    }

    fn verdict(&self) -> ExitCode {
        let count = |verdict| self.made.iter().filter(|it| it.verdict == verdict).count();
        let (failed, warnings) = (count(Verdict::Fail), count(Verdict::Warn));
        let not_checked = count(Verdict::NotChecked);
        let (verdict, code) = match (failed, warnings + not_checked) {
            (0, 0) => ("sound", 0),
            (0, _) => ("not_quite_sound", 2),
            _ => ("not_sound", 1),
        };
        let text = if self.json {
            json!({ "verdict": verdict, "checks": self.made.len(), "failed": failed,
                    "warnings": warnings, "not_checked": not_checked })
            .to_string()
        } else {
            let name = verdict.to_uppercase().replace('_', " ");
            let rest = match code {
                0 => String::new(),
                _ => {
                    format!("\n  {failed} fail, {warnings} warnings, {not_checked} not checked")
                }
            };
            format!("\n{name}{rest}")
        };
        // nowhere to say that it could not be said
        let _ = writeln!(std::io::stdout(), "{text}");
        ExitCode::from(code)
    }
}

pub(super) async fn run(args: DoctorArgs) -> anyhow::Result<ExitCode> {
    let mut checks = Checks {
        json: args.json,
        made: Vec::new(),
    };
    let url = &args.database.database_url;
    let pool = database::pool(url, DatabaseRole::Reader, CONNECTIONS)?;
    let known = postgres::check(url, &pool, &mut checks).await;
    match &known {
        Some(known) => registries::check(&args.rpc, &pool, known, &mut checks).await,
        None => checks.not_checked("registries", "the database was not read"),
    }
    services::check_redis(args.redis_url.as_ref(), &pool, &mut checks).await;
    services::check_public(args.public_url, &pool, &mut checks).await;
    Ok(checks.verdict())
}

/// How long something is, for people.
fn span(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}
