//! pgbench and ourselves in turn, on the same cluster.

use std::sync::Arc;
use std::time::Duration;

use super::{Bench, CONNECTIONS};
use crate::baskets::Baskets;
use crate::load::{Pace, Window};
use crate::pgbench::{Bare, Scripts, Statements};
use crate::report::{Ratio, median};
use crate::stage::Sale;

/// pgbench's clients.
const CLIENTS: [u32; 2] = [8, 32];
/// How long both sides are warmed up for before the first round.
const WARMING: Duration = Duration::from_secs(2);
/// What the ratio has to be at least.
const GOAL: f64 = 2.5;

impl Bench<'_> {
    /// Rounds of pgbench with few and many clients and of ourselves with few and many connections. The
    /// best of each side is compared, each the median of its rounds.
    pub(super) async fn ratio(
        &mut self,
        bare: &mut Bare,
        baskets: Arc<Baskets>,
        name: &str,
    ) -> anyhow::Result<()> {
        eprintln!("ratio, {}", baskets.name);
        let window = self.arguments.window();
        let mut sale = self.sale(
            CONNECTIONS[0],
            Pace::Closed,
            Window::of(window.min(WARMING)),
        );
        sale.baskets = baskets.clone();
        // both sides start warm, and pgbench writes what was written here
        self.sell(&sale).await?;
        let merchant = self.shop.merchants[0].0.0;
        let mut db = self.stage.database().await?;
        let scripts = bare.scripts(&mut db, merchant, name).await?;
        drop(db);

        sale.window = Window::of(window);
        let mut pgbench = [(); 2].map(|()| Vec::new());
        let mut ours = [(); 2].map(|()| Vec::new());
        for round in 1..=self.arguments.rounds() {
            for (clients, rates) in CLIENTS.into_iter().zip(&mut pgbench) {
                rates.push(self.bare(bare, &scripts, Statements::Five, clients).await?);
            }
            for (connections, rates) in CONNECTIONS.into_iter().zip(&mut ours) {
                rates.push(self.round(&sale, connections, name, round).await?);
            }
        }
        let mut writes = Vec::new();
        for clients in CLIENTS {
            let rate = self
                .bare(bare, &scripts, Statements::Writes, clients)
                .await?;
            writes.push((clients, rate));
        }
        let pgbench = CLIENTS
            .into_iter()
            .zip(pgbench.map(median))
            .collect::<Vec<_>>();
        let ours = CONNECTIONS
            .into_iter()
            .zip(ours.map(median))
            .collect::<Vec<_>>();
        let ratio = best(&ours) / best(&pgbench);
        self.report.at_least(
            format!(
                "acknowledged sales to pgbench's transactions, {}",
                baskets.name
            ),
            "x",
            GOAL,
            ratio,
        );
        self.report.ratios.push(Ratio {
            baskets: baskets.name,
            body_bytes: baskets.mean_bytes,
            pgbench_details_bytes: scripts.details_bytes,
            ratio_to_writes_alone: best(&ours) / best(&writes),
            pgbench,
            pgbench_writes_alone: writes,
            ours,
            ratio,
        });
        Ok(())
    }

    /// pgbench alone: what we recorded before is sealed by then.
    async fn bare(
        &mut self,
        bare: &mut Bare,
        scripts: &Scripts,
        statements: Statements,
        clients: u32,
    ) -> anyhow::Result<f64> {
        self.stage.catch_up(&self.shop).await?;
        self.stage.checkpoint().await?;
        let window = Window::of(self.arguments.window());
        let rate = bare.run(scripts, statements, clients, window).await?;
        eprintln!("  pgbench, {clients} clients, {statements:?}: {rate:.0}/s");
        Ok(rate)
    }

    async fn round(
        &mut self,
        sale: &Sale,
        connections: usize,
        name: &str,
        round: u32,
    ) -> anyhow::Result<f64> {
        let sale = Sale {
            connections,
            ..sale.clone()
        };
        let figures = self.sell(&sale).await?;
        let rate = figures.per_second;
        self.report.load(
            format!("{name} {connections} connections, round {round}"),
            figures,
        );
        Ok(rate)
    }
}

fn best<N>(rates: &[(N, f64)]) -> f64 {
    rates.iter().map(|(_, rate)| *rate).fold(0.0, f64::max)
}
