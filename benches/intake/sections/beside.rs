//! The intake with something beside it: sealing, an audit.

use std::process::Stdio;

use anyhow::ensure;
use tokio::process::Command;

use super::{Bench, CONNECTIONS};
use crate::load::{Figures, Pace, Window};
use crate::report::median;
use crate::server::PROGRAM;
use crate::stage::Sale;

/// What the intake may lose to whatever runs beside it, percent.
const LOSS: f64 = 20.0;
/// Percent of the time that an audit works beside the intake.
const PACE: &str = "30";
/// Sales that are to be sealed within [`SEALED_WITHIN`].
const SEALED: f64 = 100_000.0;
/// From the queue to the committed batch, seconds.
const SEALED_WITHIN: f64 = 1.0;

impl Bench<'_> {
    /// A server that only records and one that seals too, in turn; and how long the sales that the first
    /// left behind take to seal.
    pub(super) async fn sealing(&mut self) -> anyhow::Result<()> {
        eprintln!("sealing beside the intake");
        let (mut without, mut with, mut sealed) = (Vec::new(), Vec::new(), Vec::new());
        for round in 1..=self.arguments.rounds() {
            let shop = self.shop.clone();
            self.stage.serve(&shop, false).await?;
            without.push(
                self.full_load(format!("without sealing, round {round}"))
                    .await?,
            );
            let mut db = self.stage.database().await?;
            let waiting: i64 = sqlx::query_scalar("select count(*) from pending_sale")
                .fetch_one(&mut db)
                .await?;
            drop(db);
            self.stage.serve(&shop, true).await?;
            self.stage.catch_up(&shop).await?;
            let seconds = self.stage.server()?.sealing_seconds().await?;
            eprintln!("  {waiting} sales sealed in {seconds:.2} s");
            sealed.push(seconds / waiting.max(1) as f64 * SEALED);
            with.push(
                self.full_load(format!("with sealing, round {round}"))
                    .await?,
            );
            self.stage.catch_up(&shop).await?;
        }
        self.report.at_most(
            "lost by the intake to sealing",
            "%",
            LOSS,
            loss(without, with),
        );
        self.report
            .at_most("sealing 100,000 sales", "s", SEALED_WITHIN, median(sealed));
        Ok(())
    }

    /// The intake alone and with audits beside it, one after the other without a pause, in turn.
    pub(super) async fn audit(&mut self) -> anyhow::Result<()> {
        let help = Command::new(PROGRAM)
            .args(["audit", "--help"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .await?;
        if !help.success() {
            eprintln!("audit: this program has no such command");
            return Ok(());
        }
        eprintln!("audit beside the intake");
        let (mut without, mut with) = (Vec::new(), Vec::new());
        for round in 1..=self.arguments.rounds() {
            self.stage.catch_up(&self.shop).await?;
            without.push(
                self.full_load(format!("without audit, round {round}"))
                    .await?,
            );
            self.stage.catch_up(&self.shop).await?;
            let sale = self.closed();
            let audits = audits(self.shop.url.clone(), self.stage.rpc_url().to_owned());
            let figures: Figures = tokio::select! {
                figures = self.stage.sell(&mut self.shop, &sale) => figures?,
                failed = audits => return failed,
            };
            with.push(figures.per_second);
            self.report
                .load(format!("with audit, round {round}"), figures);
        }
        self.report.at_most(
            format!("lost by the intake to an audit at --pace {PACE}"),
            "%",
            LOSS,
            loss(without, with),
        );
        Ok(())
    }

    fn closed(&self) -> Sale {
        self.sale(
            CONNECTIONS[0],
            Pace::Closed,
            Window::of(self.arguments.window()),
        )
    }

    async fn full_load(&mut self, name: String) -> anyhow::Result<f64> {
        let figures = self.sell(&self.closed()).await?;
        let rate = figures.per_second;
        self.report.load(name, figures);
        Ok(rate)
    }
}

/// Audits until one fails. Dropped, it ends the one that runs.
async fn audits(database_url: String, rpc_url: String) -> anyhow::Result<()> {
    loop {
        let output = Command::new(PROGRAM)
            .args(["audit", "--pace", PACE])
            .env_clear()
            .env("DATABASE_URL", &database_url)
            .env("RPC_URL", &rpc_url)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .process_group(0)
            .output()
            .await?;
        // 2: not fully checked, as batches are being anchored
        ensure!(
            matches!(output.status.code(), Some(0 | 2)),
            "the audit found something: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// Percent of the rate without it that is lost with it.
pub(super) fn loss(without: Vec<f64>, with: Vec<f64>) -> f64 {
    (1.0 - median(with) / median(without)) * 100.0
}
