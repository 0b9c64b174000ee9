//! The same against itself while the table grows.

use anyhow::{Context, ensure};
use sqlx::{Connection, PgConnection};
use tokio::process::Command;

use super::proofs;
use super::{Bench, CONNECTIONS};
use crate::ledger;
use crate::load::{Pace, Window};
use crate::report::{Level, median};
use crate::stage::Installed;

/// Where a level is measured between the empty table and the largest.
const MIDDLE: u64 = 1_000_000;
/// Rows written at once: one batch of them.
const CHUNK: u64 = 131_072;
/// Disk that a row takes with its proof, order id, key and their indexes, bytes.
const ROW: u64 = 5_000;
/// Disk that the write-ahead log takes, and what the other parts wrote before, bytes.
const LOG: u64 = 5_000_000_000;
const OTHERS: u64 = 25_000_000_000;
/// What each may cost more than on an empty table, percent.
const MORE: f64 = 10.0;

impl Bench<'_> {
    /// Records, seals and reads on an empty table, then on one with more and more sealed sales in it, all of
    /// the same merchant.
    pub(super) async fn growth(&mut self) -> anyhow::Result<()> {
        let rows = self.arguments.rows();
        eprintln!("growth to {rows} rows");
        let mut on = self.stage.another("growth").await?;
        let mut db = PgConnection::connect(&on.url).await?;
        // sealing waits for a chain to anchor on; the server gets no RPC, so nothing is anchored
        sqlx::raw_sql(
            "insert into registry (chain_id, address, code_hash, first_batch, pinned_at)
             values (31337, decode(repeat('00', 20), 'hex'), '', 1, now())",
        )
        .execute(&mut db)
        .await?;
        drop(db);
        let mut levels = vec![0, MIDDLE, rows];
        levels.retain(|level| *level <= rows);
        levels.dedup();
        for level in levels {
            self.stage.stop_server().await?;
            fill(&mut on, level).await?;
            let measured = self.level(&mut on, level).await?;
            self.report.growth.push(measured);
        }
        ledger::check(&on).await?;
        if let [empty, .., full] = self.report.growth.as_slice() {
            let more = |now: f64, then: f64| (now / then - 1.0) * 100.0;
            let costs = [
                ("recording", more(full.recording_us, empty.recording_us)),
                ("sealing", more(full.sealing_us, empty.sealing_us)),
                ("reading", more(full.reading_us, empty.reading_us)),
            ];
            for (what, more) in costs {
                let what = format!("{what} costs more at {rows} sales than at none");
                self.report.at_most(what, "%", MORE, more);
            }
        }
        Ok(())
    }

    /// Recording without sealing beside it, sealing what was recorded, reading its proofs; in turn.
    async fn level(&mut self, on: &mut Installed, rows: u64) -> anyhow::Result<Level> {
        let window = Window::of(self.arguments.window());
        let (mut recording, mut recorded) = (Vec::new(), Vec::new());
        let (mut reading, mut read) = (Vec::new(), Vec::new());
        let mut sealing = Vec::new();
        for round in 1..=self.arguments.rounds() {
            self.stage.serve(on, false).await?;
            let sale = self.sale(CONNECTIONS[0], Pace::Closed, window);
            let before = on.acknowledged;
            let figures = self.stage.sell(on, &sale).await?;
            recording.push(figures.cost.server + figures.cost.postgres);
            recorded.push(figures.per_second);
            self.report
                .load(format!("recording at {rows} rows, round {round}"), figures);

            self.stage.serve(on, true).await?;
            self.stage.catch_up(on).await?;
            let seconds = self.stage.server()?.sealing_seconds().await?;
            sealing.push(seconds * 1e6 / (on.acknowledged - before).max(1) as f64);

            let requests = proofs::requests(on, "sealed").await?;
            let figures = proofs::read(self.stage, requests, CONNECTIONS[0], window).await?;
            reading.push(figures.cost.server + figures.cost.postgres);
            read.push(figures.per_second);
            self.report
                .load(format!("reading at {rows} rows, round {round}"), figures);
        }
        Ok(Level {
            rows,
            recording_us: median(recording),
            recorded_per_second: median(recorded),
            sealing_us: median(sealing),
            reading_us: median(reading),
            read_per_second: median(read),
        })
    }
}

/// Writes sealed sales until there are so many. They are as the intake and the sealer write them but for
/// what commits to them: leaves, siblings and roots are made up, so nobody may read or audit these.
async fn fill(on: &mut Installed, rows: u64) -> anyhow::Result<()> {
    let mut db = PgConnection::connect(&on.url).await?;
    let merchant = on.merchants[0].0.0;
    while on.acknowledged < rows {
        let count = CHUNK.min(rows - on.acknowledged);
        let mut tx = db.begin().await?;
        sqlx::query(include_str!("growth/draft.sql"))
            .bind(merchant)
            .bind(count.cast_signed())
            .execute(&mut *tx)
            .await?;
        sqlx::raw_sql(include_str!("growth/write.sql"))
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        on.acknowledged += count;
        eprintln!("  {} of {rows} rows", on.acknowledged);
    }
    // what autovacuum would do in its own time, and not while something is measured
    sqlx::raw_sql("vacuum (analyze)").execute(&mut db).await?;
    Ok(())
}

/// That the disk has room for so many rows, and for the other parts where they come first: asked before
/// anything is measured.
pub(super) async fn check_disk(rows: u64, others: bool) -> anyhow::Result<()> {
    let needed = rows * ROW + LOG + if others { OTHERS } else { 0 };
    let output = Command::new("df")
        .args(["-Pk", "/var/lib"])
        .output()
        .await?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().nth(1).context("df says nothing")?;
    let free: u64 = line
        .split_whitespace()
        .nth(3)
        .context("df says nothing")?
        .parse()?;
    ensure!(
        free * 1024 > needed,
        "about {} GB of disk are needed and {} GB are free; take fewer --rows",
        needed / 1_000_000_000,
        free * 1024 / 1_000_000_000
    );
    Ok(())
}
