//! Callers, flushers, two processes, their deaths, a database that loses answers and a cache that loses
//! everything, in thousands of orders chosen by a seeded scheduler. The queue and [`drain`] are the real
//! ones; what they stand between is modelled, each of its steps atomic and the scheduler free between
//! any two.
//!
//! `COUNTERFOIL_STORM_SEED` repeats a run, `STORM_SCHEDULES` sets how many orders are tried.

mod life;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use shuttle::future::{JoinHandle, spawn, yield_now};
use shuttle::rand::{Rng, thread_rng};
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use tokio::sync::{Mutex as AsyncMutex, oneshot};
use uuid::Uuid;

use super::{Bounds, Full, Load, Loaded, Pushed, drain, lock};
use crate::clock::Entropy;
use crate::ids::MerchantId;
use life::{Life, Process, sum};

/// Small, so that they are met.
const BOUNDS: Bounds = Bounds {
    queue: Load { rows: 5, bytes: 50 },
    lane: Load { rows: 4, bytes: 40 },
    flush: Load { rows: 2, bytes: 20 },
};
const CALLERS: usize = 4;
const KEYS: u8 = 3;
const MERCHANTS: u128 = 2;
/// Orders that are tried with each scheduler in a normal run.
const SCHEDULES: usize = 1_500;
/// Steps of one order, many times what any needs: more is a loop without an end.
const STEPS: usize = 200_000;

#[test]
fn in_any_order_every_draft_is_answered_once_and_every_key_is_one_sale() {
    let number = |name: &str| {
        let text = std::env::var(name).ok()?;
        Some(text.parse::<u64>().expect("a number"))
    };
    let seed = number("COUNTERFOIL_STORM_SEED")
        .unwrap_or_else(|| u64::from(u32::from_le_bytes(Entropy::system().bytes())));
    let schedules =
        number("STORM_SCHEDULES").map_or(SCHEDULES, |many| usize::try_from(many).expect("64 bits"));
    println!("COUNTERFOIL_STORM_SEED={seed}");
    run(RandomScheduler::new_from_seed(seed, schedules));
    // few changes of who runs, at the worst moments
    run(PctScheduler::new_from_seed(seed, 3, schedules));
}

fn run(scheduler: impl Scheduler + 'static) {
    let mut config = shuttle::Config::new();
    config.max_steps = shuttle::MaxSteps::FailAfter(STEPS);
    shuttle::Runner::new(scheduler, config).run(|| shuttle::future::block_on(one_order()));
}

/// All callers to their end, while processes die.
async fn one_order() {
    let world = World::default();
    let callers: Vec<_> = (0..CALLERS).map(|_| spawn(caller(world.clone()))).collect();
    let killer = spawn(killer(world.clone()));
    for caller in callers {
        caller.await.expect("a caller's end");
    }
    killer.await.expect("the killer's end");
    world.rest().await;
    world.check();
}

/// What a caller sends: a key, and a body that may be another one under the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Draft {
    merchant: MerchantId,
    key: u8,
    body: u8,
}

/// What is told of a draft for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Sale(u64),
    KeyReused,
}

/// What the flush tells a caller.
type Answer = Result<Told, Unknown>;

/// Whether it was written is open: it is to be sent again.
#[derive(Debug, Clone, Copy)]
struct Unknown;

/// A row of the queue.
#[derive(Debug)]
struct Row {
    draft: Draft,
    attempt: u64,
    /// Its place in the order of arrival.
    arrival: u64,
    load: Load,
    reply: oneshot::Sender<Answer>,
}

#[derive(Clone, Default)]
struct World {
    database: Arc<AsyncMutex<Database>>,
    cache: Arc<Mutex<Cache>>,
    processes: [Arc<Process>; 2],
    ledger: Arc<Mutex<Ledger>>,
}

/// What `record_sales` guarantees, and no more.
#[derive(Default)]
struct Database {
    keys: BTreeMap<(u128, u8), (u8, u64)>,
    /// The attempts that made a sale, by its number.
    sales: Vec<u64>,
}

impl Database {
    fn record(&mut self, draft: Draft, attempt: u64) -> Told {
        let known = self.keys.get(&(draft.merchant.0.as_u128(), draft.key));
        match known {
            Some((body, sale)) if *body == draft.body => Told::Sale(*sale),
            Some(_) => Told::KeyReused,
            None => {
                self.sales.push(attempt);
                let sale = self.sales.len() as u64;
                self.keys
                    .insert((draft.merchant.0.as_u128(), draft.key), (draft.body, sale));
                Told::Sale(sale)
            }
        }
    }
}

/// What Redis remembers of sales, until it forgets.
#[derive(Default)]
struct Cache {
    answers: BTreeMap<(u128, u8), (u8, u64)>,
}

/// What all callers saw, and what must not have happened.
#[derive(Default)]
struct Ledger {
    attempts: u64,
    refused: Vec<u64>,
    told: BTreeMap<(u128, u8, u8), Told>,
    made: Vec<u64>,
}

fn held<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn one_in(n: u32) -> bool {
    thread_rng().gen_ratio(1, n)
}

/// Sends some drafts until each has its answer, or goes away.
async fn caller(world: World) {
    let merchant = MerchantId(Uuid::from_u128(thread_rng().gen_range(1..=MERCHANTS)));
    let mut open: Vec<Draft> = (0..thread_rng().gen_range(1..=3))
        .map(|_| Draft {
            merchant,
            key: thread_rng().gen_range(0..KEYS),
            body: u8::from(one_in(4)),
        })
        .collect();
    while !open.is_empty() {
        let process = &world.processes[thread_rng().gen_range(0..world.processes.len())];
        yield_now().await;
        let Some(answers) = world.push(process, &open) else {
            continue;
        };
        let mut still_open = Vec::new();
        for (draft, answer) in open.into_iter().zip(answers) {
            if one_in(12) {
                // hangs up: the draft may or may not become a sale
                continue;
            }
            match answer.await {
                Ok(Ok(told)) => held(&world.ledger).tell(draft, told),
                Ok(Err(Unknown)) | Err(_) => still_open.push(draft),
            }
        }
        open = still_open;
    }
}

/// Kills processes at any moment: what waits in them and what they write is gone.
async fn killer(world: World) {
    for _ in 0..thread_rng().gen_range(0..3) {
        for _ in 0..thread_rng().gen_range(0..20) {
            yield_now().await;
        }
        let process = &world.processes[thread_rng().gen_range(0..world.processes.len())];
        // the locks are let go of first: who is woken by this may run at once
        let (life, flushers) = process.die();
        drop(life);
        flushers.iter().for_each(JoinHandle::abort);
    }
}

impl Ledger {
    fn tell(&mut self, draft: Draft, told: Told) {
        let key = (draft.merchant.0.as_u128(), draft.key, draft.body);
        let first = *self.told.entry(key).or_insert(told);
        assert_eq!(told, first, "{draft:?} was told something else before");
    }
}

impl World {
    /// Puts drafts into a process, as `Flusher::push` does; none when there is no room.
    fn push(
        &self,
        process: &Arc<Process>,
        drafts: &[Draft],
    ) -> Option<Vec<oneshot::Receiver<Answer>>> {
        let life = held(&process.life).clone();
        let merchant = drafts[0].merchant;
        let mut rows = Vec::new();
        let mut answers = Vec::new();
        let mut attempts = Vec::new();
        for (at, draft) in (1..).zip(drafts) {
            let mut ledger = held(&self.ledger);
            ledger.attempts += 1;
            attempts.push(ledger.attempts);
            let load = Load::row(thread_rng().gen_range(1..=12));
            let (reply, answer) = oneshot::channel();
            let row = Row {
                draft: *draft,
                attempt: ledger.attempts,
                arrival: life.arrived(merchant) + at,
                load,
                reply,
            };
            rows.push((row, load));
            answers.push(answer);
        }
        let loads: Vec<Load> = rows.iter().map(|(_, load)| *load).collect();
        let pushed = lock(&life.queue).push(merchant, rows);
        life.check_push(merchant, &loads, pushed.is_ok());
        match pushed {
            Err(Full) => {
                held(&self.ledger).refused.append(&mut attempts);
                return None;
            }
            Ok(Pushed::Waits) => {}
            Ok(Pushed::Drain) => {
                let flusher = spawn(lane(self.clone(), life, merchant));
                held(&process.flushers).push(flusher);
            }
        }
        Some(answers)
    }

    /// Waits until no flusher has anything to do.
    async fn rest(&self) {
        for process in &self.processes {
            let flushers = std::mem::take(&mut *held(&process.flushers));
            for flusher in flushers {
                flusher.await.expect("a flusher's end");
            }
        }
    }

    /// What must hold when everybody is done.
    fn check(&self) {
        let ledger = held(&self.ledger);
        for refused in &ledger.refused {
            assert!(
                !ledger.made.contains(refused),
                "what was refused was written"
            );
        }
        for ((merchant, key, body), told) in &ledger.told {
            let other = ledger.told.get(&(*merchant, *key, 1 - body));
            let sales = [Some(told), other].into_iter().flatten();
            let sales = sales.filter(|told| matches!(told, Told::Sale(_))).count();
            assert!(sales <= 1, "two sales of key {key}");
        }
        for process in &self.processes {
            let life = held(&process.life);
            let queue = lock(&life.queue);
            assert_eq!(queue.rows(), 0, "rows wait and nobody flushes them");
            assert!(queue.lanes.is_empty());
        }
    }
}

/// The lane's flusher: the real loop around a modelled flush.
async fn lane(world: World, life: Arc<Life>, merchant: MerchantId) {
    let ask = |rows| asked(world.clone(), life.clone(), merchant, rows);
    let write = |rows| written(world.clone(), life.clone(), merchant, rows);
    drain(&life.queue, merchant, ask, write).await;
}

/// What Redis knows: who has an answer there is told it, the others are to be written.
async fn asked(
    world: World,
    life: Arc<Life>,
    merchant: MerchantId,
    rows: Loaded<Row>,
) -> Loaded<Row> {
    life.check_asked(merchant, &rows);
    yield_now().await;
    let mut open = Vec::new();
    let mut ended = Load::default();
    for (row, load) in rows {
        match world.remembered(&row) {
            // whoever hung up hears nothing
            Some(told) => {
                let _ = row.reply.send(Ok(told));
                ended = ended.plus(load);
            }
            None => open.push((row, load)),
        }
    }
    yield_now().await;
    // no step between this and the lane's next
    life.ended(merchant, ended);
    open
}

/// One flush: the database, then the answers, then Redis is told.
async fn written(world: World, life: Arc<Life>, merchant: MerchantId, rows: Vec<Row>) {
    life.check_flush(merchant, &rows);
    let load = sum(rows.iter().map(|row| row.load));
    yield_now().await;
    let written = world.write(&rows).await;
    yield_now().await;
    let mut to_remember = Vec::new();
    for (at, row) in rows.into_iter().enumerate() {
        let answer = written.as_ref().map(|told| told[at]).ok_or(Unknown);
        if let Ok(Told::Sale(sale)) = answer {
            to_remember.push((row.draft, sale));
        }
        let _ = row.reply.send(answer);
    }
    yield_now().await;
    world.remember(&to_remember);
    yield_now().await;
    life.flushed(merchant, load);
}

impl World {
    /// What Redis has of it; a flush of Redis, a time-out and an open breaker look the same.
    fn remembered(&self, row: &Row) -> Option<Told> {
        let mut cache = held(&self.cache);
        if one_in(10) {
            cache.answers.clear();
        }
        let key = (row.draft.merchant.0.as_u128(), row.draft.key);
        let (body, sale) = *cache.answers.get(&key).filter(|_| !one_in(5))?;
        Some(if body == row.draft.body {
            Told::Sale(sale)
        } else {
            Told::KeyReused
        })
    }

    fn remember(&self, sales: &[(Draft, u64)]) {
        let mut cache = held(&self.cache);
        for (draft, sale) in sales {
            if !one_in(5) {
                let key = (draft.merchant.0.as_u128(), draft.key);
                cache.answers.insert(key, (draft.body, *sale));
            }
        }
    }

    /// The call of the database: nothing happens and it says so, or it commits and its answer is lost
    /// and it is tried once more, or it answers.
    async fn write(&self, rows: &[Row]) -> Option<Vec<Told>> {
        for _ in 0..2 {
            let mut database = self.database.lock().await;
            yield_now().await;
            if one_in(6) {
                continue;
            }
            // one step: a transaction commits as a whole
            let before = database.sales.len();
            let outcomes = rows.iter();
            let outcomes = outcomes
                .map(|row| database.record(row.draft, row.attempt))
                .collect();
            held(&self.ledger).made.extend(&database.sales[before..]);
            drop(database);
            yield_now().await;
            if !one_in(6) {
                return Some(outcomes);
            }
        }
        None
    }
}
