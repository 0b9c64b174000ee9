//! Proofs read over HTTP.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use counterfoil_proofs::{hex, verify};
use serde_json::Value;
use sqlx::{Connection as _, PgConnection};
use tokio::time::{Instant, sleep};

use super::{Bench, CONNECTIONS};
use crate::connection::Connection;
use crate::draw::Draw;
use crate::load::{Caller, Figures, Pace, Verdict, Window};
use crate::stage::{Installed, Stage};

/// Proofs a second that have to be served.
const GOAL: f64 = 20_000.0;
/// Orders whose proofs are read, each as likely as any other.
const WORKING_SET: i64 = 100_000;
/// Fewer would say little.
const FEWEST: usize = 100;
/// How long their batches may take to be final.
const FINAL_WITHIN: Duration = Duration::from_secs(120);

impl Bench<'_> {
    /// Proofs of finalized orders, by order id.
    pub(super) async fn proofs(&mut self) -> anyhow::Result<()> {
        eprintln!("proofs");
        if self.shop.acknowledged < FEWEST as u64 {
            let window = Window::of(self.arguments.window());
            let sale = self.sale(CONNECTIONS[0], Pace::Closed, window);
            self.sell(&sale).await?;
        }
        self.stage.catch_up(&self.shop).await?;
        self.wait_until_final().await?;
        let requests = requests(&self.shop, "finalized").await?;
        check_some(self.stage, &requests).await?;
        let window = Window::of(self.arguments.window());
        let figures = read(self.stage, requests.clone(), CONNECTIONS[0], window).await?;
        let what = format!(
            "proofs served a second, of {} finalized orders",
            requests.len()
        );
        self.report.at_least(what, "/s", GOAL, figures.per_second);
        self.report.load("proofs", figures);
        Ok(())
    }

    async fn wait_until_final(&self) -> anyhow::Result<()> {
        let began = Instant::now();
        let mut db = self.stage.database().await?;
        loop {
            let open: i64 =
                sqlx::query_scalar("select count(*) from batch_state where state <> 'finalized'")
                    .fetch_one(&mut db)
                    .await?;
            if open == 0 {
                return Ok(());
            }
            ensure!(
                began.elapsed() < FINAL_WITHIN,
                "{open} batches do not become final"
            );
            sleep(Duration::from_millis(250)).await;
        }
    }
}

/// Requests for the proofs of the latest sealed orders of one merchant, in no order.
pub(super) async fn requests(
    on: &Installed,
    state: &'static str,
) -> anyhow::Result<Arc<[ProofRequest]>> {
    let (merchant, token) = &on.merchants[0];
    let mut db = PgConnection::connect(&on.url).await?;
    let orders: Vec<String> = sqlx::query_scalar(
        // what a table was only filled with has no proof: see growth
        "select s.order_id from merchant m join sale s using (merchant_id)
         where m.merchant_id = $1 and s.seq >= m.next_seq - $2 and s.batch_id is not null
           and s.order_id like 'B%'",
    )
    .bind(merchant.0)
    .bind(WORKING_SET)
    .fetch_all(&mut db)
    .await?;
    ensure!(
        orders.len() >= FEWEST,
        "too few sales are sealed to read their proofs"
    );
    let requests = orders.into_iter().map(|order| ProofRequest {
        bytes: format!(
            "GET /v1/orders/{order}/proof HTTP/1.1\r\nHost: counterfoil.bench\r\n\
             Authorization: Bearer {token}\r\n\r\n"
        )
        .into_bytes(),
        state,
    });
    Ok(requests.collect())
}

/// Reads proofs at random over so many connections.
pub(super) async fn read(
    stage: &Stage,
    requests: Arc<[ProofRequest]>,
    connections: usize,
    window: Window,
) -> anyhow::Result<Figures> {
    let readers = (0..connections)
        .map(|index| Reader {
            requests: requests.clone(),
            draw: Draw::new(0x9e0f + index as u64),
            current: 0,
        })
        .collect();
    let (figures, _) = stage.call(readers, Pace::Closed, window).await?;
    Ok(figures)
}

/// Reads some proofs whole: each has to lead from its leaf to its root.
async fn check_some(stage: &Stage, requests: &[ProofRequest]) -> anyhow::Result<()> {
    let mut connection = Connection::open(stage.server()?.address).await?;
    for request in requests.iter().take(FEWEST) {
        let answer = connection.exchange(&request.bytes).await?;
        ensure!(
            answer.status == 200,
            "a proof was answered {}",
            answer.status
        );
        let answer: Value = serde_json::from_slice(connection.body(&answer))?;
        let hash = |value: &Value| hex::decode::<32>(value.as_str().unwrap_or_default());
        let leaf = hash(&answer["leaf"])?;
        let root = hash(&answer["batch"]["root"])?;
        let siblings = answer["proof"].as_array().context("a proof is a list")?;
        let siblings = siblings.iter().map(hash).collect::<Result<Vec<_>, _>>()?;
        verify::inclusion(&leaf, &siblings, &root).context("a proof that was served is wrong")?;
    }
    Ok(())
}

/// A request for a proof, and the state that its answer has to name.
#[derive(Debug)]
pub(super) struct ProofRequest {
    bytes: Vec<u8>,
    state: &'static str,
}

/// Reads proofs of orders by chance.
struct Reader {
    requests: Arc<[ProofRequest]>,
    draw: Draw,
    current: usize,
}

impl Caller for Reader {
    fn prepare(&mut self) {
        self.current = self.draw.below(self.requests.len());
    }

    fn request(&self) -> &[u8] {
        &self.requests[self.current].bytes
    }

    fn judge(&mut self, status: u16, body: &[u8]) -> anyhow::Result<Verdict> {
        let state = self.requests[self.current].state;
        let named = || {
            body.windows(state.len())
                .any(|window| window == state.as_bytes())
        };
        match status {
            200 if named() => Ok(Verdict::Counted),
            429 | 503 => Ok(Verdict::Again),
            _ => bail!(
                "a proof was answered {status}, not {state}: {}",
                String::from_utf8_lossy(body)
            ),
        }
    }
}
