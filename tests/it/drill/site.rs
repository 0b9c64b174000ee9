//! An installation of a seed's own: services, processes, chains, and the wires between them.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use counterfoil::chain::Signer;
use counterfoil_proofs::caip::Caip10;
use counterfoil_proofs::{hex, keccak256};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::sales::Sellers;
use crate::anchored::LocalChain;
use crate::anchored_wire::{Proxy, Wire};
use crate::cli::program::run;
use crate::fleet::Fleet;
use crate::harness::Dice;

/// Processes; each serves and works.
pub(super) const PROCESSES: usize = 2;
/// Merchants, and the tills of each.
const MERCHANTS: usize = 2;
const TILLS: usize = 2;
/// The finalized block is twice as many blocks behind the newest, so that 64 may be reorganised.
const SLOTS: &str = "35";
/// Blocks before anything happens: more than are ever reorganised, and more than until one is final.
const YOUNG: u32 = 75;
/// The local chains that a seed has: the first, or both.
const CHAIN_IDS: [&str; 2] = ["31337", "1337"];
/// The time between two blocks, and between a few while all becomes final.
const BLOCK: Duration = Duration::from_millis(250);
const HURRY: (Duration, u32) = (Duration::from_millis(100), 4);
/// How long nothing may move before it is said that nothing will. Pauses after failures are 30 s.
const PATIENCE: Duration = Duration::from_secs(150);
const POLL: Duration = Duration::from_millis(200);
/// The keys that the local chain gives money to: who deploys, and who publishes.
const DEPLOYER_KEY: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
const PUBLISHER_KEY: &str = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";

/// Everything that may break.
pub(super) struct Site {
    pub(super) seed: u64,
    pub(super) fleet: Fleet,
    pub(super) chains: Vec<Mined>,
    pub(super) keys: Vec<(counterfoil::ids::MerchantId, String)>,
}

/// A chain whose blocks come by the clock, unless somebody holds it.
pub(super) struct Mined {
    pub(super) local: Arc<LocalChain>,
    pub(super) registry: Caip10,
    /// One before it for each process.
    pub(super) wires: Vec<Proxy>,
    /// Who has it is alone with the chain: no block is made.
    pub(super) quiet: Arc<Mutex<()>>,
    hurry: Arc<AtomicBool>,
    miner: JoinHandle<()>,
}

impl Mined {
    /// Begins a chain, deploys the registry of a database on it and lets it grow.
    async fn start(fleet: &Fleet, chain_id: &str) -> Self {
        let flags = [
            "--chain-id",
            chain_id,
            "--slots-in-an-epoch",
            SLOTS,
            "--no-mining",
        ];
        let local = Arc::new(LocalChain::start_with(&flags).await);
        let (quiet, hurry) = <(Arc<Mutex<()>>, Arc<AtomicBool>)>::default();
        let miner = tokio::spawn(mine(local.clone(), quiet.clone(), hurry.clone()));
        let [owner, publisher] = [0, 1].map(|index| {
            let signer = Signer::development(index).expect("a development account");
            hex::encode(&signer.account())
        });
        let mut deploy = fleet.operator(&["registry", "deploy"]);
        deploy
            .args(["--owner", &owner, "--publisher", &publisher])
            .env("RPC_URL", local.url.expose_secret())
            .env("COUNTERFOIL_DEPLOYER_KEY", DEPLOYER_KEY);
        let deployed = run(&mut deploy).await.expect(0);
        local.mine(YOUNG).await;
        let mut wires = Vec::new();
        for _ in &fleet.processes {
            wires.push(Proxy::before(&local.url).await);
        }
        Self {
            wires,
            registry: deployed.stdout.trim().parse().expect("a registry"),
            local,
            quiet,
            hurry,
            miner,
        }
    }
}

impl Mined {
    /// How many batches were anchored in the blocks from this one on.
    pub(super) async fn anchored_since(&self, block: u64) -> usize {
        let filter = json!({ "fromBlock": format!("0x{block:x}"), "toBlock": "latest",
                             "address": hex::encode(&self.registry.address) });
        let logs = self.local.call("eth_getLogs", json!([filter])).await;
        let anchored = |log: &&Value| log["topics"][0] == json!(anchored_topic());
        logs.as_array()
            .expect("logs")
            .iter()
            .filter(anchored)
            .count()
    }

    /// Waits until something is anchored that was not, or the time is up.
    pub(super) async fn anchors_more(&self, at_most: Duration) {
        let (before, end) = (self.anchored_since(0).await, Instant::now() + at_most);
        while self.anchored_since(0).await <= before && Instant::now() < end {
            sleep(POLL).await;
        }
    }
}

/// The topic of the event by which a registry says that it took a batch.
pub(super) fn anchored_topic() -> String {
    hex::encode(&keccak256(b"Anchored(uint64,bytes32)"))
}

impl Drop for Mined {
    fn drop(&mut self) {
        self.miner.abort();
    }
}

async fn mine(local: Arc<LocalChain>, quiet: Arc<Mutex<()>>, hurry: Arc<AtomicBool>) {
    loop {
        let (pause, blocks) = match hurry.load(Ordering::Acquire) {
            true => HURRY,
            false => (BLOCK, 1),
        };
        sleep(pause).await;
        let _alone = quiet.lock().await;
        local.mine(blocks).await;
    }
}

/// The chains' file of a process: each through a wire of its own, and what waits is replaced soon.
fn settings(chains: &[Mined], process: usize) -> String {
    let of = |chain: &Mined| {
        format!(
            "[[chain]]\nchain_id = {}\nrpc_urls = [\"{}\"]\nkey = {{ env = \"DRILL_PUBLISHER_KEY\" }}\n\
             poll = \"200ms\"\nfees = {{ replace_after = \"2s\" }}\n",
            chain.registry.chain_id,
            chain.wires[process].url.expose_secret()
        )
    };
    chains.iter().map(of).collect()
}

impl Site {
    /// Starts everything; some seeds begin with one process, and are joined by the other later.
    pub(super) async fn start(seed: u64) -> Self {
        let mut fleet = Fleet::prepare(PROCESSES).await;
        let dice = Dice::new(seed, 0);
        let mut chains = Vec::new();
        for chain_id in &CHAIN_IDS[..1 + dice.below(CHAIN_IDS.len())] {
            chains.push(Mined::start(&fleet, chain_id).await);
        }
        for (number, process) in fleet.processes.iter_mut().enumerate() {
            let file = format!("chains-{number}.toml");
            let file = fleet.scratch.file(&file, settings(&chains, number));
            for (name, value) in [
                ("COUNTERFOIL_CHAINS", file.to_str().expect("a path")),
                ("DRILL_PUBLISHER_KEY", PUBLISHER_KEY),
                ("COUNTERFOIL_RATE_LIMIT", "0"),
            ] {
                process.tell(name, value);
            }
        }
        let mut keys = Vec::new();
        for _ in 0..MERCHANTS {
            let (merchant, its) = fleet.merchant(TILLS).await;
            keys.extend(its.into_iter().map(|key| (merchant, key)));
        }
        let at_first = 1 + dice.below(PROCESSES);
        for process in &fleet.processes[..at_first] {
            process.start().await;
        }
        Self {
            seed,
            fleet,
            chains,
            keys,
        }
    }

    /// Opens the tills.
    pub(super) fn open(&self) -> Sellers {
        Sellers::open(self.keys.clone(), &self.fleet.urls(), self.seed)
    }

    /// Ends whatever is still broken.
    pub(super) async fn mend(&self) {
        for wire in self.chains.iter().flat_map(|chain| &chain.wires) {
            wire.set(|wire| *wire = Wire::default());
        }
        for process in &self.fleet.processes {
            if !process.is_up().await {
                process.start().await;
            }
        }
    }

    /// Waits until all that was sold is final, for as long as something moves.
    pub(super) async fn drain(&self) {
        self.hurry(true);
        let (mut before, mut moved) = (String::new(), Instant::now());
        loop {
            let (open, now) = self.progress().await;
            if open == 0 {
                break;
            }
            if now != before {
                (before, moved) = (now, Instant::now());
            }
            assert!(
                moved.elapsed() < PATIENCE,
                "nothing moves any more: {before}\n{}",
                self.fleet.last_words()
            );
            sleep(POLL).await;
        }
        self.hurry(false);
    }

    /// Has blocks come quickly, or as by the clock.
    fn hurry(&self, yes: bool) {
        for chain in &self.chains {
            chain.hurry.store(yes, Ordering::Release);
        }
    }

    /// How much is not final, and how everything stands.
    async fn progress(&self) -> (i64, String) {
        let (waiting, open, states, halted): (i64, i64, String, String) = sqlx::query_as(
            "select (select count(*) from pending_sale),
                    (select count(*) from batch_state where state <> 'finalized'),
                    (select coalesce(string_agg(state || ' ' || n, ', '), '') from
                        (select state, count(*) as n from anchor group by state order by state) states),
                    (select coalesce(string_agg(halted, ', '), 'no') from chain_head)",
        )
        .fetch_one(&self.fleet.owner)
        .await
        .expect("the database");
        let text = format!(
            "{waiting} sales wait, {open} batches are not final; anchors: {states}; halted: {halted}"
        );
        (waiting + open, text)
    }
}

impl Drop for Site {
    /// What the processes logged is kept beside the program, for people.
    fn drop(&mut self) {
        let kept = Path::new(env!("CARGO_BIN_EXE_counterfoil"))
            .with_file_name("drill")
            .join(self.seed.to_string());
        if let Err(error) = fs::create_dir_all(&kept) {
            eprintln!("no logs are kept in {}: {error}", kept.display());
        }
        for log in self.fleet.logs() {
            if let Some(name) = log.file_name() {
                // one that was never started has none
                let _ = fs::copy(&log, kept.join(name));
            }
        }
    }
}
