//! `counterfoil with-services`

use std::ffi::OsString;
use std::io::IsTerminal;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};

use anyhow::Context;
use clap::Args;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::signal::unix::SignalKind;

use super::signals::listen;
use crate::config::LogFormat;
use crate::dev::{ChainOptions, Services};
use crate::telemetry;

/// What a shell adds to the number of the signal that ended a command.
const SIGNALLED: i32 = 128;

/// Runs a command beside a Postgres, a Redis and a local chain of its own
///
/// They listen on free ports and are deleted afterwards. The command finds them in DATABASE_URL,
/// REDIS_URL (where there is a redis-server) and RPC_URL. The exit code is the command's.
///
/// Example: counterfoil with-services -- cargo nextest run
#[derive(Debug, Args)]
pub(super) struct ServicesArgs {
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

pub(super) async fn run(args: ServicesArgs) -> anyhow::Result<ExitCode> {
    telemetry::init_logs(LogFormat::Text, "warn");
    let mut signals = Signals::new()?;
    let mut starting = std::pin::pin!(Services::start_temporary(ChainOptions::default()));
    let mut early = None;
    let services = loop {
        tokio::select! {
            services = &mut starting => break services?,
            // what is started has to be stopped, so the start is seen through
            signal = signals.next() => early = Some(signal),
        }
    };
    let ended = match early {
        Some(signal) => Ok(ExitStatus::from_raw(signal.as_raw())),
        None => run_beside(&services, &args.command, &mut signals).await,
    };
    let discarded = services.discard().await;
    let code = exit_code(ended?);
    discarded?;
    Ok(code)
}

/// Runs the command to its end; signals are its to answer meanwhile.
async fn run_beside(
    services: &Services,
    command: &[OsString],
    signals: &mut Signals,
) -> anyhow::Result<ExitStatus> {
    let (program, arguments) = command.split_first().context("a command is needed")?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("DATABASE_URL", services.database_url())
        .env("RPC_URL", services.rpc_url());
    match services.redis_url() {
        Some(url) => command.env("REDIS_URL", url),
        None => command.env_remove("REDIS_URL"),
    };
    let mut child = command
        .spawn()
        .with_context(|| format!("{} cannot be started", program.display()))?;
    loop {
        tokio::select! {
            status = child.wait() => return status.context("the command cannot be waited for"),
            signal = signals.next() => pass_on(&child, signal),
        }
    }
}

fn pass_on(child: &Child, signal: Signal) {
    if signal == Signal::INT && std::io::stdin().is_terminal() {
        // the terminal has sent it to the command too
        return;
    }
    let pid = child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // it may have ended this moment
        let _ = kill_process(pid, signal);
    }
}

/// The signals that are passed on.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::TERM,
            _ = self.hangup.recv() => Signal::HUP,
            _ = self.interrupt.recv() => Signal::INT,
        }
    }
}

fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status
        .code()
        .or(status.signal().map(|signal| SIGNALLED + signal))
        .unwrap_or(1);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
