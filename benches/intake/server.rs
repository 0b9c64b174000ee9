//! The server under load: the program itself, in a process of its own.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use super::connection::Connection;

/// The program that is measured, built as the bench is.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_counterfoil");
/// Where the server says it is.
pub(crate) const PUBLIC_URL: &str = "https://counterfoil.bench";
/// What it signs access tokens with.
pub(crate) const TOKEN_KEY: &str =
    "0202020202020202020202020202020202020202020202020202020202020202";
/// The well-known key of a local chain's second account, which anchors.
const PUBLISHER_KEY: &str = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";
/// How long it may take to start, or to stop.
const LIMIT: Duration = Duration::from_secs(90);
/// How often it is looked at meanwhile.
const POLL: Duration = Duration::from_millis(20);

/// How the server is to run.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) database_url: String,
    pub(crate) redis_url: Option<String>,
    /// None: batches are sealed and not anchored.
    pub(crate) rpc_url: Option<String>,
    /// The file of the keys of access tokens, where customers order.
    pub(crate) token_keys: Option<PathBuf>,
    /// Whether it seals.
    pub(crate) seals: bool,
    pub(crate) batch_interval: Duration,
}

/// A server that is ready.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    metrics: SocketAddr,
    log: PathBuf,
}

impl Server {
    /// Starts the program and waits until it is ready.
    pub(crate) async fn start(plan: &Plan, log: &Path) -> anyhow::Result<Self> {
        let (address, metrics) = (free_address()?, free_address()?);
        let output = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("{} cannot be written", log.display()))?;
        let child = command(plan, address, metrics)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(output)
            .kill_on_drop(true)
            // Ctrl-C is for the bench to answer
            .process_group(0)
            .spawn()
            .with_context(|| format!("{PROGRAM} cannot be started"))?;
        let mut server = Self {
            child,
            address,
            metrics,
            log: log.to_owned(),
        };
        server.wait_until_ready().await?;
        Ok(server)
    }

    async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + LIMIT;
        loop {
            self.check()?;
            if let Ok(answer) = get(self.address, "/readyz").await
                && answer.0 == 200
            {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "the server is not ready within {LIMIT:?}; its log is {}",
                self.log.display()
            );
            sleep(POLL).await;
        }
    }

    /// That the process lives.
    ///
    /// # Errors
    /// When it has ended.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!(
                "the server ended, {status}; its log is {}",
                self.log.display()
            );
        }
        Ok(())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id().unwrap_or(0)
    }

    /// Stops it in good order.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        self.check()?;
        if let Some(pid) = i32::try_from(self.pid()).ok().and_then(Pid::from_raw) {
            // it may end this moment by itself
            let _ = kill_process(pid, Signal::TERM);
        }
        let ended = timeout(LIMIT, self.child.wait()).await;
        let status = ended.with_context(|| {
            format!(
                "the server did not stop within {LIMIT:?}; its log is {}",
                self.log.display()
            )
        })??;
        ensure!(
            status.success(),
            "the server stopped with {status}; its log is {}",
            self.log.display()
        );
        Ok(())
    }

    /// Seconds that the worker has spent sealing since the server started.
    pub(crate) async fn sealing_seconds(&self) -> anyhow::Result<f64> {
        let (_, text) = get(self.metrics, "/metrics").await?;
        let name = "counterfoil_worker_step_seconds_sum{step=\"seal\"}";
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        Ok(line.map_or(Ok(0.0), |value| value.trim().parse())?)
    }
}

fn command(plan: &Plan, address: SocketAddr, metrics: SocketAddr) -> Command {
    let mut command = Command::new(PROGRAM);
    command
        .arg("serve")
        .args(["--listen", &address.to_string()])
        .args(["--metrics-listen", &metrics.to_string()])
        .args(["--public-url", PUBLIC_URL])
        .args(["--role", if plan.seals { "all" } else { "api" }])
        .arg("--batch-interval")
        .arg(humantime::format_duration(plan.batch_interval).to_string())
        // nothing of it comes from the environment of whoever runs the bench
        .env_clear()
        // one merchant is to bring as much as it can
        .env("COUNTERFOIL_RATE_LIMIT", "0")
        .env("COUNTERFOIL_ADDRESS_RATE_LIMIT", "0")
        .env("DATABASE_URL", &plan.database_url);
    if let Some(url) = &plan.redis_url {
        command.env("REDIS_URL", url);
    }
    if let Some(file) = &plan.token_keys {
        command
            .env("COUNTERFOIL_TOKEN_KEYS", file)
            // orders are not paid here, so nobody is asked
            .env("COUNTERFOIL_PAYMENT_URL", "http://127.0.0.1:9")
            .env("COUNTERFOIL_PAYMENT_KEY", "sk_test_of_the_bench")
            .env("COUNTERFOIL_PAYMENT_WEBHOOK_SECRET", "whsec_of_the_bench");
    }
    if let Some(url) = &plan.rpc_url {
        command
            .env("RPC_URL", url)
            .env("COUNTERFOIL_PUBLISHER_KEY", PUBLISHER_KEY);
    }
    command
}

async fn get(address: SocketAddr, path: &str) -> anyhow::Result<(u16, String)> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: counterfoil.bench\r\n\r\n");
    let mut connection = timeout(LIMIT, Connection::open(address)).await??;
    let answer = timeout(LIMIT, connection.exchange(request.as_bytes())).await??;
    let body = String::from_utf8_lossy(connection.body(&answer)).into_owned();
    Ok((answer.status, body))
}

/// An address that nobody listens on this moment.
fn free_address() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port is free")?;
    Ok(listener.local_addr()?)
}
