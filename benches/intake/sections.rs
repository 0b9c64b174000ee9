//! The parts of the load test.

mod beside;
mod carts;
mod growth;
mod intake;
mod points;
mod proofs;
mod ratio;

use std::sync::Arc;

use clap::ValueEnum;

use super::arguments::{Arguments, Section};
use super::baskets::Baskets;
use super::ledger;
use super::load::{Figures, Pace, Window};
use super::pgbench::Bare;
use super::report::{Conditions, Report};
use super::stage::{Installed, Sale, Stage};
use super::usage::Machine;

/// Connections of a closed loop: enough to fill a flush, and many.
const CONNECTIONS: [usize; 2] = [64, 256];

/// What all parts share.
pub(crate) struct Bench<'a> {
    arguments: &'a Arguments,
    stage: &'a mut Stage,
    /// The database that is sold to.
    shop: Installed,
    pub(crate) report: Report,
    three_lines: Arc<Baskets>,
    shops_own: Arc<Baskets>,
}

impl<'a> Bench<'a> {
    /// Nothing is measured yet.
    pub(crate) async fn new(
        arguments: &'a Arguments,
        stage: &'a mut Stage,
    ) -> anyhow::Result<Self> {
        let mut db = stage.database().await?;
        let version: String = sqlx::query_scalar("select split_part(version(), ' on ', 1)")
            .fetch_one(&mut db)
            .await?;
        let report = Report {
            machine: Machine::look(version),
            conditions: Conditions {
                window_seconds: arguments.window().as_secs_f64(),
                rounds: arguments.rounds(),
                batch_interval_seconds: arguments.batch_interval.as_secs_f64(),
                quick: arguments.quick,
                notes: "fsync and synchronous_commit on, shared_buffers a quarter of the memory; pgbench, \
                        server, sealing, anchoring, Redis, local \
                        chain and load generator on the same cores; a checkpoint before each measurement",
            },
            goals: Vec::new(),
            ratios: Vec::new(),
            loads: Vec::new(),
            growth: Vec::new(),
        };
        Ok(Self {
            shop: stage.shop.clone(),
            arguments,
            stage,
            report,
            three_lines: Arc::new(Baskets::three_lines()?),
            shops_own: Arc::new(Baskets::shop(&arguments.data)?),
        })
    }

    /// Measures what is wanted, then checks that nothing was lost.
    pub(crate) async fn run(&mut self) -> anyhow::Result<()> {
        if self.wants(Section::Growth) {
            let mut others = Section::value_variants().iter();
            let others = others.any(|it| *it != Section::Growth && self.wants(*it));
            growth::check_disk(self.arguments.rows(), others).await?;
        }
        let shop = self.shop.clone();
        self.stage.serve(&shop, true).await?;
        if self.wants(Section::Ratio) || self.wants(Section::Shop) {
            let on = self.stage.another("bare").await?;
            let mut bare = Bare::new(on, self.stage.postgres_pid()?, &self.stage.out)?;
            if self.wants(Section::Ratio) {
                self.ratio(&mut bare, self.three_lines.clone(), "three")
                    .await?;
            }
            if self.wants(Section::Shop) {
                self.ratio(&mut bare, self.shops_own.clone(), "shop")
                    .await?;
            }
        }
        if self.wants(Section::Sustained) {
            self.sustained().await?;
        }
        if self.wants(Section::Latency) {
            self.latency().await?;
        }
        if self.wants(Section::Merchants) {
            self.merchants().await?;
        }
        if self.wants(Section::Proofs) {
            self.proofs().await?;
        }
        if self.wants(Section::Audit) {
            self.audit().await?;
        }
        if self.wants(Section::Sealing) {
            self.sealing().await?;
        }
        if self.wants(Section::Points) {
            self.points().await?;
        }
        if self.wants(Section::Carts) {
            self.carts().await?;
        }
        eprintln!("checking {} acknowledged sales", self.shop.acknowledged);
        ledger::check(&self.shop).await?;
        if self.wants(Section::Growth) {
            self.growth().await?;
        }
        Ok(())
    }

    fn wants(&self, section: Section) -> bool {
        self.arguments.wants(section)
    }

    /// Sells baskets of three lines to one merchant.
    fn sale(&self, connections: usize, pace: Pace, window: Window) -> Sale {
        Sale {
            baskets: self.three_lines.clone(),
            merchants: 1,
            connections,
            pace,
            window,
        }
    }

    async fn sell(&mut self, sale: &Sale) -> anyhow::Result<Figures> {
        self.stage.sell(&mut self.shop, sale).await
    }
}
