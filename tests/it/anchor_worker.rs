//! The loops around the steps.

use std::time::Duration;

use counterfoil::anchor::startup::Publisher;
use counterfoil::chain::Chain;
use counterfoil::clock::Entropy;
use counterfoil::webhooks::address::Reach;
use counterfoil::worker::{self, Worker};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::anchored::Anchored;
use crate::anchored_wire::{Cut, Proxy};
use crate::harness::eventually;

/// A worker in this process.
pub(crate) struct Running {
    task: JoinHandle<()>,
    shutdown: CancellationToken,
}

impl Running {
    pub(crate) fn start(
        it: &Anchored,
        publishers: Vec<Publisher>,
        leaves: usize,
        interval: Duration,
    ) -> Self {
        let shutdown = CancellationToken::new();
        let worker = Worker {
            pool: it.db.worker.clone(),
            trust: it.db.trust.clone(),
            clock: it.clock.clone(),
            entropy: Entropy::system(),
            batch_interval: interval,
            seal_at: leaves.div_ceil(2),
            batch_leaves: leaves,
            publishers,
            mailer: None,
            sender: crate::harness::sender(Reach::Anywhere, &it.clock),
        };
        let task = tokio::spawn(worker::run(worker, shutdown.clone()));
        Self { task, shutdown }
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        timeout(Duration::from_secs(5), self.task)
            .await
            .expect("it stops")
            .expect("no panic");
    }
}

async fn until(it: &Anchored, what: &str, sql: &'static str) {
    eventually(what, || async {
        it.local.mine(1).await;
        (it.db.count(sql).await > 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_worker_anchors_what_is_recorded_whatever_fails_meanwhile() {
    let it = Anchored::start().await;
    let wire = Proxy::before(&it.local.url).await;
    wire.cut(Cut::AfterTheChain);
    let through_wire = Publisher {
        chain: Chain::new(&wire.url).unwrap(),
        ..it.publisher.clone()
    };
    let workers: Vec<Running> = [through_wire, it.publisher.clone()]
        .map(|publisher| Running::start(&it, vec![publisher], 1000, Duration::from_millis(100)))
        .into();
    let merchant = it.db.merchant("live").await;
    for _ in 0..5 {
        it.db.record(merchant, 20).await;
        it.local.mine(1).await;
    }
    wire.cut(Cut::Nowhere);
    let done = "select count(*) from (select) one where not exists (select from pending_sale)
                and not exists (select from batch_state where state <> 'finalized')";
    until(&it, "all sales are anchored for good", done).await;
    for worker in workers {
        worker.stop().await;
    }
    assert_eq!(
        it.db
            .count("select count(*) from sale where batch_id is not null")
            .await,
        100
    );
    let anchors = it.states().await.len() as u64;
    assert_eq!(
        it.nonces_used().await,
        anchors,
        "each anchor is one transaction"
    );
    assert_eq!(it.db.count("select count(*) from seal_hold").await, 0);
    assert_eq!(
        it.db
            .count("select count(*) from chain_head where halted is not null")
            .await,
        0
    );
}

#[tokio::test]
async fn enough_sales_do_not_wait_for_their_interval_and_go_together() {
    let it = Anchored::start().await;
    let hour = Duration::from_secs(3600);
    let worker = Running::start(&it, vec![it.publisher.clone()], 20, hour);
    let merchant = it.db.merchant("live").await;
    // the first interval has begun with nothing to seal
    until(&it, "the worker runs", "select count(*) from chain_head").await;
    it.db.record(merchant, 9).await;
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_eq!(it.db.count("select count(*) from batch").await, 0);
    it.db.record(merchant, 16).await;
    let sealed = "select count(*) from batch where octet_length(leaves) = 20 * 32";
    until(&it, "as many as fit are sealed", sealed).await;
    assert_eq!(it.db.count("select count(*) from pending_sale").await, 5);
    let told = Instant::now();
    worker.stop().await;
    assert!(
        told.elapsed() < Duration::from_secs(2),
        "no pause is waited for"
    );
}
