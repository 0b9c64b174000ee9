//! What breaks in a storm, and in which order.

use std::sync::atomic::Ordering;
use std::time::Duration;

use counterfoil::ids::MerchantId;
use sqlx::PgPool;
use tokio::time::sleep;

use super::tills::Storm;
use crate::fleet::Fleet;
use crate::harness::Dice;

/// Something that breaks, and is mended.
#[derive(Debug, Clone, Copy)]
enum Gust {
    KillOne,
    KillAll,
    FreezeOne,
    CutConnections,
    RestartPostgres,
    CrashPostgres,
    HoldMerchant,
}

const GUSTS: [Gust; 7] = [
    Gust::KillOne,
    Gust::KillAll,
    Gust::FreezeOne,
    Gust::CutConnections,
    Gust::RestartPostgres,
    Gust::CrashPostgres,
    Gust::HoldMerchant,
];

/// What happens to Redis beside that.
#[derive(Debug, Clone, Copy)]
enum CacheGust {
    Flush,
    Pause,
    Freeze,
    Replace,
}

const CACHE_GUSTS: [CacheGust; 4] = [
    CacheGust::Flush,
    CacheGust::Pause,
    CacheGust::Freeze,
    CacheGust::Replace,
];

/// Breaks everything, `times` times in random order; new requests are let go before each, so that each
/// meets first attempts and not only repeats.
pub(super) async fn blow(
    fleet: &Fleet,
    merchant: MerchantId,
    storm: &Storm,
    times: usize,
    dice: &Dice,
) {
    let mut gusts = GUSTS.repeat(times);
    dice.shuffle(&mut gusts);
    let mut cache_gusts = CACHE_GUSTS.repeat(times);
    dice.shuffle(&mut cache_gusts);
    let requests = storm.plan.requests.len();
    let breaking = async {
        for (at, gust) in gusts.iter().enumerate() {
            let released = requests * (at + 1) / (gusts.len() + 1);
            storm.released.store(released, Ordering::Release);
            sleep(dice.time(100, 500)).await;
            println!("  {gust:?}");
            gust.blow(fleet, merchant, dice).await;
        }
    };
    let breaking_redis = async {
        for gust in &cache_gusts {
            sleep(dice.time(200, 800)).await;
            println!("  Redis: {gust:?}");
            gust.blow(fleet, dice).await;
        }
    };
    tokio::join!(breaking, breaking_redis);
    storm.released.store(requests, Ordering::Release);
    storm.over.store(true, Ordering::Release);
}

impl Gust {
    async fn blow(self, fleet: &Fleet, merchant: MerchantId, dice: &Dice) {
        match self {
            Self::KillOne => {
                let process = dice.pick(&fleet.processes);
                process.kill().await;
                sleep(dice.time(0, 300)).await;
                process.start().await;
            }
            Self::KillAll => {
                for process in &fleet.processes {
                    process.kill().await;
                }
                for process in &fleet.processes {
                    process.start().await;
                }
            }
            Self::FreezeOne => {
                dice.pick(&fleet.processes)
                    .freeze(dice.time(50, 2_500))
                    .await
            }
            Self::CutConnections => {
                for _ in 0..5 {
                    fleet.cut_connections().await;
                    sleep(dice.time(0, 60)).await;
                }
            }
            Self::RestartPostgres => fleet.postgres.restart("fast").await,
            Self::CrashPostgres => fleet.postgres.restart("immediate").await,
            Self::HoldMerchant => hold(&fleet.owner, merchant, dice.time(100, 3_000)).await,
        }
    }
}

/// Keeps the merchant's row from everybody for a while.
async fn hold(owner: &PgPool, merchant: MerchantId, time: Duration) {
    let mut lock = owner.begin().await.expect("a transaction");
    sqlx::query("select 1 from merchant where merchant_id = $1 for update")
        .bind(merchant.0)
        .execute(&mut *lock)
        .await
        .expect("the lock");
    sleep(time).await;
    lock.rollback().await.expect("its end");
}

impl CacheGust {
    async fn blow(self, fleet: &Fleet, dice: &Dice) {
        let mut redis = fleet.redis.lock().await;
        match self {
            Self::Flush => redis.ask(&["FLUSHALL"]).await,
            Self::Pause => {
                let time = dice.time(10, 2_000);
                let millis = time.as_millis().to_string();
                redis.ask::<()>(&["CLIENT", "PAUSE", &millis]).await;
                sleep(time).await;
            }
            Self::Freeze => {
                redis.freeze();
                sleep(dice.time(10, 2_000)).await;
                redis.thaw();
            }
            Self::Replace => {
                redis.kill();
                sleep(dice.time(0, 500)).await;
                redis.restart().await;
            }
        }
    }
}
