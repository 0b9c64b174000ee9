//! What breaks, and when.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::sales::Told;
use super::setting;
use super::site::{Mined, Site};
use crate::anchored_wire::{Cut, Wire};
use crate::fleet::Process;
use crate::harness::Dice;

/// Something that breaks on the chain or on the way to it, and is mended.
#[derive(Debug, Clone, Copy)]
enum ChainFault {
    /// Of what waits in the pool one transaction is forgotten.
    DropOne,
    /// All are.
    DropAll,
    /// So many of the newest blocks are replaced by empty ones.
    Reorganise(u32),
    /// The base fee is fifty times what it was.
    FeeSpike,
    /// The RPC refuses connections.
    Down,
    /// The RPC takes calls and answers none.
    Silent,
    /// The RPC is ten blocks behind.
    Behind,
    /// The RPC's nonces are old.
    OldNonce,
    /// A transaction's way is cut before it arrives.
    CutBefore,
    /// It arrives, and the answer is cut off.
    CutAfter,
}

const CHAIN_FAULTS: [ChainFault; 13] = [
    ChainFault::DropOne,
    ChainFault::Reorganise(1),
    ChainFault::Behind,
    ChainFault::CutAfter,
    ChainFault::FeeSpike,
    ChainFault::Reorganise(7),
    ChainFault::Down,
    ChainFault::OldNonce,
    ChainFault::Reorganise(64),
    ChainFault::DropAll,
    ChainFault::Silent,
    ChainFault::Reorganise(2),
    ChainFault::CutBefore,
];

/// Something that breaks beside that.
#[derive(Debug, Clone, Copy)]
enum HouseFault {
    /// SIGKILL of one process.
    Kill,
    /// Of all.
    KillAll,
    /// SIGSTOP, and SIGCONT when others have taken over.
    Freeze,
    /// The database's connections end.
    RestartPostgres,
    /// It recovers from its log.
    CrashPostgres,
    /// Redis forgets everything.
    FlushRedis,
    /// A second worker starts, or stops.
    SecondWorker,
}

const HOUSE_FAULTS: [HouseFault; 7] = [
    HouseFault::Kill,
    HouseFault::SecondWorker,
    HouseFault::Freeze,
    HouseFault::RestartPostgres,
    HouseFault::FlushRedis,
    HouseFault::KillAll,
    HouseFault::CrashPostgres,
];

/// Faults of each sort that a seed takes in turn, so that any five seeds in a row meet every one; one of
/// each sort comes on top by chance.
const IN_TURN: usize = 3;
/// Sales before a fault.
const SALES: usize = 15;
/// How long sales are waited for, when there are none.
const NO_SALES: Duration = Duration::from_secs(6);
/// How long the chain is waited for to be where a fault hurts.
const MOMENT: Duration = Duration::from_secs(8);
const POLL: Duration = Duration::from_millis(20);
/// Seconds that are longer than a lease is held without being renewed, 15 s.
const PAST_THE_LEASE: u64 = 18;
/// Wei a unit of gas, at least, before a spike.
const BASE_FEE: u64 = 1_000_000_000;

/// Which faults a seed has, in order. The two sorts go on beside each other.
pub(super) struct Schedule {
    chain: Vec<ChainFault>,
    house: Vec<HouseFault>,
    dice: [Dice; 2],
}

impl Schedule {
    pub(super) fn new(seed: u64) -> Self {
        let dice = [1, 2].map(|lane| Dice::new(seed, lane));
        Self {
            chain: choose(&CHAIN_FAULTS, seed, &dice[0]),
            house: choose(&HOUSE_FAULTS, seed, &dice[1]),
            dice,
        }
    }

    /// Breaks everything, each fault after more sales.
    pub(super) async fn run(&self, site: &Site, told: &Told) {
        let [chain_dice, house_dice] = &self.dice;
        let on_chain = async {
            for fault in &self.chain {
                told.more(SALES + chain_dice.below(SALES), NO_SALES).await;
                let chain = chain_dice.pick(&site.chains);
                chain.anchors_more(MOMENT).await;
                fault.strike(chain, told, chain_dice).await;
            }
        };
        let in_house = async {
            for fault in &self.house {
                told.more(SALES + house_dice.below(SALES), NO_SALES).await;
                fault.strike(site, told, house_dice).await;
            }
        };
        tokio::join!(on_chain, in_house);
        told.more(SALES, NO_SALES).await;
    }
}

fn choose<T: Copy>(all: &[T], seed: u64, dice: &Dice) -> Vec<T> {
    let turn = usize::try_from(seed % all.len() as u64).expect("few") * IN_TURN;
    let in_turn = (turn..turn + IN_TURN).map(|at| all[at % all.len()]);
    let mut chosen: Vec<T> = in_turn.chain([*dice.pick(all)]).collect();
    dice.shuffle(&mut chosen);
    chosen
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chain = self.chain.iter().map(|fault| format!("{fault:?}"));
        let house = self.house.iter().map(|fault| format!("{fault:?}"));
        f.write_str(&chain.chain(house).collect::<Vec<_>>().join(" "))
    }
}

impl ChainFault {
    async fn strike(self, chain: &Mined, told: &Told, dice: &Dice) {
        match self {
            Self::DropOne | Self::DropAll => {
                drop_waiting(chain, matches!(self, Self::DropAll)).await
            }
            Self::Reorganise(depth) => reorganise(chain, depth).await,
            Self::FeeSpike => spike(chain).await,
            Self::Down => {
                let wires = some_of(&chain.wires, dice);
                for wire in wires {
                    wire.refuse().await;
                }
                told.more(SALES + dice.below(4 * SALES), NO_SALES).await;
                for wire in wires {
                    wire.listen().await;
                }
            }
            Self::Silent => through(chain, told, dice, |wire| wire.silent = true).await,
            Self::Behind => through(chain, told, dice, |wire| wire.lag = 10).await,
            Self::OldNonce => {
                let by = 1 + dice.below(3) as u64;
                through(chain, told, dice, |wire| wire.old_nonce = by).await;
            }
            Self::CutBefore => {
                through(chain, told, dice, |wire| wire.cut = Cut::BeforeTheChain).await
            }
            Self::CutAfter => {
                through(chain, told, dice, |wire| wire.cut = Cut::AfterTheChain).await
            }
        }
    }
}

/// All wires, or one of them.
fn some_of<'a, T>(wires: &'a [T], dice: &Dice) -> &'a [T] {
    match dice.below(2) {
        0 => wires,
        _ => std::slice::from_ref(dice.pick(wires)),
    }
}

/// Has all wires or one misbehave for a while.
async fn through(chain: &Mined, told: &Told, dice: &Dice, change: impl Fn(&mut Wire)) {
    let wires = some_of(&chain.wires, dice);
    for wire in wires {
        wire.set(&change);
    }
    told.more(SALES + dice.below(4 * SALES), NO_SALES).await;
    for wire in wires {
        wire.set(|wire| *wire = Wire::default());
    }
}

/// Holds the chain until something waits in its pool, and has it forget that.
async fn drop_waiting(chain: &Mined, all: bool) {
    let _alone = chain.quiet.lock().await;
    let end = Instant::now() + MOMENT;
    while Instant::now() < end {
        let pool = chain.local.call("txpool_content", json!([])).await;
        let waiting: Vec<&Value> = ["pending", "queued"]
            .iter()
            .filter_map(|part| pool[part].as_object())
            .flat_map(|accounts| accounts.values())
            .filter_map(Value::as_object)
            .flat_map(|transactions| transactions.values())
            .collect();
        match waiting.first() {
            None => sleep(POLL).await,
            Some(_) if all => {
                chain
                    .local
                    .call("anvil_dropAllTransactions", json!([]))
                    .await;
                return;
            }
            Some(first) => {
                let hash = first["hash"].clone();
                chain
                    .local
                    .call("anvil_dropTransaction", json!([hash]))
                    .await;
                return;
            }
        }
    }
}

/// Replaces the newest blocks by empty ones, when an anchor is among them.
async fn reorganise(chain: &Mined, depth: u32) {
    let end = Instant::now() + MOMENT;
    loop {
        let alone = chain.quiet.lock().await;
        let newest = chain.local.call("eth_blockNumber", json!([])).await;
        let newest = newest.as_str().and_then(|text| text.strip_prefix("0x"));
        let newest = u64::from_str_radix(newest.expect("a height"), 16).expect("a height");
        let hurts = chain.anchored_since(newest + 1 - u64::from(depth)).await > 0;
        if hurts || Instant::now() > end {
            chain.local.call("anvil_reorg", json!([depth, []])).await;
            return;
        }
        drop(alone);
        sleep(POLL).await;
    }
}

/// Fifty times the base fee, from where it falls by an eighth a block.
async fn spike(chain: &Mined) {
    let _alone = chain.quiet.lock().await;
    let latest = chain
        .local
        .call("eth_getBlockByNumber", json!(["latest", false]))
        .await;
    let base = latest["baseFeePerGas"]
        .as_str()
        .and_then(|text| u64::from_str_radix(text.trim_start_matches("0x"), 16).ok());
    let spiked = 50 * base.expect("a base fee").max(BASE_FEE);
    let spiked = json!([format!("0x{spiked:x}")]);
    chain
        .local
        .call("anvil_setNextBlockBaseFeePerGas", spiked)
        .await;
}

impl HouseFault {
    async fn strike(self, site: &Site, told: &Told, dice: &Dice) {
        let fleet = &site.fleet;
        let mut up: Vec<&Process> = Vec::new();
        for process in &fleet.processes {
            if process.is_up().await {
                up.push(process);
            }
        }
        match self {
            Self::Kill | Self::KillAll => {
                if matches!(self, Self::Kill) {
                    up = vec![*dice.pick(&up)];
                }
                for process in &up {
                    process.kill().await;
                }
                told.more(dice.below(SALES), dice.time(0, 3_000)).await;
                for process in &up {
                    process.start().await;
                }
            }
            // for a moment, or until another has its leases
            Self::Freeze => {
                let past_the_lease = Duration::from_secs(setting("DRILL_FREEZE", PAST_THE_LEASE));
                let time = *dice.pick(&[dice.time(500, 8_000), past_the_lease]);
                dice.pick(&up).freeze(time).await;
            }
            Self::RestartPostgres => fleet.postgres.restart("fast").await,
            Self::CrashPostgres => fleet.postgres.restart("immediate").await,
            Self::FlushRedis => fleet.redis.lock().await.ask(&["FLUSHALL"]).await,
            Self::SecondWorker => {
                let second = &fleet.processes[1];
                if !second.stop().await {
                    second.start().await;
                }
            }
        }
    }
}
