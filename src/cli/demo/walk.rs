//! The walk that a demonstration shows: record, wait for the chain, check every receipt.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use counterfoil_proofs::caip::Caip10;
use counterfoil_proofs::receipt::Receipt;
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use time::OffsetDateTime;
use time::macros::datetime;
use tokio::time::{Instant, sleep};

use super::day::{self, Request};
use crate::chain::Chain;
use crate::cli::client::{Api, Refusal};
use crate::cli::installation::Installation;
use crate::cli::verify::receipt_on_chain;

/// Which day.
const SEED: u64 = 20_260_131;
/// When its shop opens. A fixed day: a demonstration that is started again on the same data finds its
/// sales there.
const OPENING: OffsetDateTime = datetime!(2026-01-31 09:00 UTC);
/// Customers of the day.
const SALES: u64 = 300;
/// How often the last sale is looked at while it is waited for.
const POLL: Duration = Duration::from_millis(250);
/// How long the sales may take until they are final.
const FINAL_WITHIN: Duration = Duration::from_secs(180);

/// Where the walk takes place.
pub(super) struct Scene {
    api: Api,
    chain: Chain,
    registry: Caip10,
    merchant: [u8; 16],
}

/// What came of it.
pub(super) struct Day {
    /// Receipts that verify.
    pub(super) verified: usize,
    /// All of them.
    pub(super) receipts: usize,
    /// An order to try things with.
    pub(super) order: Option<String>,
}

impl Day {
    /// Whether every receipt verifies, and there is one.
    pub(super) fn is_verified(&self) -> bool {
        self.receipts > 0 && self.verified == self.receipts
    }
}

#[derive(Deserialize)]
struct Recorded {
    sale_id: String,
}

#[derive(Deserialize)]
struct Proof {
    state: String,
}

impl Scene {
    /// The scene of an installation.
    pub(super) fn new(installation: &Installation) -> anyhow::Result<Self> {
        Ok(Self {
            api: Api::new(installation.ready.api_url.parse()?, &installation.shop.key)?,
            chain: installation.chain.clone(),
            registry: installation.registry,
            merchant: installation.shop.merchant.bytes(),
        })
    }

    /// The whole walk.
    ///
    /// # Errors
    /// When a sale is refused, or does not become final. A receipt that does not verify is counted.
    pub(super) async fn show(&self) -> anyhow::Result<Day> {
        let requests = day::generate(SEED, OPENING, SALES);
        let started = Instant::now();
        let sales = self.record(&requests).await?;
        eprintln!(
            "recorded {} sales and refunds in {} ms",
            sales.len(),
            started.elapsed().as_millis()
        );
        let started = Instant::now();
        self.wait_until_final(&requests).await?;
        eprintln!(
            "all of them sealed, anchored and final after {} ms",
            started.elapsed().as_millis()
        );
        let verified = self.verify(&sales).await?;
        Ok(Day {
            verified,
            receipts: sales.len(),
            order: requests.first().map(|request| request.order_id.clone()),
        })
    }

    /// Records the day one by one, as a till does; the sale ids.
    async fn record(&self, requests: &[Request]) -> anyhow::Result<Vec<String>> {
        let bar = bar("recording", requests.len());
        let mut sales = Vec::with_capacity(requests.len());
        for Request {
            key,
            order_id,
            body,
        } in requests
        {
            let request = self
                .api
                .request(Method::POST, &["v1", "sales"])
                .header("Idempotency-Key", key)
                .json(body);
            let response = request
                .send()
                .await
                .context("the interface does not answer")?;
            if response.status() != StatusCode::CREATED {
                return Err(Refusal::read(response).await)
                    .with_context(|| format!("{order_id} is refused"));
            }
            let Recorded { sale_id } = response.json().await?;
            sales.push(sale_id);
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(sales)
    }

    async fn wait_until_final(&self, requests: &[Request]) -> anyhow::Result<()> {
        let bar = bar("waiting for the chain", requests.len());
        let started = Instant::now();
        for Request { order_id, .. } in requests {
            loop {
                let Proof { state } = self
                    .api
                    .get_json(&["v1", "orders", order_id, "proof"])
                    .await?;
                if state == "finalized" {
                    break;
                }
                if started.elapsed() > FINAL_WITHIN {
                    bail!(
                        "{order_id} is still {state} after {} s",
                        FINAL_WITHIN.as_secs()
                    );
                }
                bar.set_message(format!("{order_id} is {state}"));
                sleep(POLL).await;
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(())
    }

    /// Checks every receipt against the chain; how many verify.
    async fn verify(&self, sales: &[String]) -> anyhow::Result<usize> {
        let bar = bar("verifying", sales.len());
        let mut verified = 0;
        for sale in sales {
            let file = self.api.get(&["v1", "receipts", sale]).await?;
            match self.verify_one(&file).await {
                Ok(()) => verified += 1,
                Err(error) => bar.suspend(|| eprintln!("{sale} does not verify: {error:#}")),
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(verified)
    }

    /// Checks a receipt in itself and against the registry at a finalized block.
    async fn verify_one(&self, file: &[u8]) -> anyhow::Result<()> {
        let receipt = Receipt::parse(file)?;
        ensure!(
            receipt.sale.merchant == self.merchant,
            "it is another merchant's"
        );
        receipt_on_chain(&receipt, &self.chain, self.registry).await?;
        Ok(())
    }
}

fn bar(what: &'static str, steps: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len}  {msg}");
    ProgressBar::new(steps as u64)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        .with_prefix(what)
}
