//! The intake alone: a minute at full load, latency at a given rate, one and many merchants.

use super::{Bench, CONNECTIONS};
use crate::load::{Pace, Window};
use crate::stage::{MERCHANTS, Sale};

/// Sales a second that have to be sustained.
const SUSTAINED: f64 = 18_000.0;
/// A server's memory at full load, MB.
const MEMORY: f64 = 150.0;
/// A quiet day's arrivals a second, and the milliseconds that their quantiles may take.
const QUIET: (f64, [f64; 3]) = (500.0, [1.5, 4.0, 15.0]);
/// A busy day's share of the maximum, and the milliseconds of its 99th percentile.
const BUSY: (f64, f64) = (0.7, 25.0);

impl Bench<'_> {
    /// Full load for a minute, long enough for many batches to be sealed and anchored beside it.
    pub(super) async fn sustained(&mut self) -> anyhow::Result<()> {
        let time = self.arguments.sustained();
        eprintln!("sustained for {} s", time.as_secs());
        let connections = CONNECTIONS[1];
        let figures = self
            .sell(&self.sale(connections, Pace::Closed, Window::of(time)))
            .await?;
        let goal = format!(
            "acknowledged sales a second for {} s, three lines",
            time.as_secs()
        );
        self.report
            .at_least(goal, "/s", SUSTAINED, figures.per_second);
        self.report.at_most(
            "memory of the server",
            "MB",
            MEMORY,
            figures.memory.server_peak,
        );
        self.report.load("sustained", figures);
        let behind = self.stage.catch_up(&self.shop).await?;
        eprintln!("  sealing caught up {:.1} s later", behind.as_secs_f64());
        Ok(())
    }

    /// Arrivals by the clock.
    pub(super) async fn latency(&mut self) -> anyhow::Result<()> {
        eprintln!("latency");
        let maximum = match self.maximum() {
            Some(maximum) => maximum,
            None => {
                let sale = self.sale(
                    CONNECTIONS[1],
                    Pace::Closed,
                    Window::of(self.arguments.window()),
                );
                let figures = self.sell(&sale).await?;
                let maximum = figures.per_second;
                self.report.load("maximum", figures);
                maximum
            }
        };
        let window = Window::of(self.arguments.latency());
        self.stage.catch_up(&self.shop).await?;
        let (rate, goals) = QUIET;
        let figures = self
            .sell(&self.sale(CONNECTIONS[0], Pace::Open(rate), window))
            .await?;
        let latency = &figures.latency;
        let measured = [latency.p50, latency.p99, latency.p999];
        for ((name, goal), measured) in ["p50", "p99", "p99.9"].into_iter().zip(goals).zip(measured)
        {
            self.report.at_most(
                format!("{name} at {rate:.0} a second"),
                "ms",
                goal,
                measured,
            );
        }
        self.report.load("at 500 a second", figures);
        let (share, goal) = BUSY;
        let rate = (maximum * share).round();
        let figures = self
            .sell(&self.sale(CONNECTIONS[1], Pace::Open(rate), window))
            .await?;
        let what = format!("p99 at 70 % of the maximum, {rate:.0} a second");
        self.report.at_most(what, "ms", goal, figures.latency.p99);
        self.report.load("at 70 % of the maximum", figures);
        Ok(())
    }

    /// The best closed loop with baskets of three lines so far.
    fn maximum(&self) -> Option<f64> {
        let ratio = self
            .report
            .ratios
            .iter()
            .find(|ratio| ratio.baskets == self.three_lines.name)?;
        ratio
            .ours
            .iter()
            .map(|(_, rate)| *rate)
            .max_by(f64::total_cmp)
    }

    /// The same load spread over few and many merchants: the more there are, the fewer go together.
    pub(super) async fn merchants(&mut self) -> anyhow::Result<()> {
        eprintln!("merchants");
        for merchants in [1, 100, MERCHANTS] {
            self.stage.catch_up(&self.shop).await?;
            let sale = Sale {
                merchants,
                ..self.sale(
                    CONNECTIONS[1],
                    Pace::Closed,
                    Window::of(self.arguments.window()),
                )
            };
            let figures = self.sell(&sale).await?;
            self.report.load(format!("{merchants} merchants"), figures);
        }
        Ok(())
    }
}
