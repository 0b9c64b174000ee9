//! What breaks, and when.

use std::time::Duration;

use counterfoil::dev::payments::{Plan, Release};
use tokio::time::{Instant, sleep};

use super::site::Site;
use crate::harness::Dice;

/// Something that breaks, and is mended.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// SIGKILL of a process.
    Kill,
    /// Of all.
    KillAll,
    /// SIGSTOP, and SIGCONT after a while.
    Freeze,
    /// The database's connections end.
    CutConnections,
    /// The same, and it is away for a moment.
    RestartPostgres,
    /// It recovers from its log.
    CrashPostgres,
    /// The provider is killed, and away for a while.
    KillProvider,
    /// It does what it is asked, and its answers are cut off.
    Cut,
    /// It refuses.
    Refuse,
    /// It is slow.
    Slow,
    /// Its events are lost on the way, and sent again later.
    DropEvents,
    /// It sends each several times at once.
    Copies,
    /// It holds its events, and sends the newest first.
    Reversed,
    /// It sends them somewhere else.
    Elsewhere,
    /// The time of all pending orders is over.
    Expire,
    /// Nothing was heard of any payment for long.
    Unheard,
    /// Every refund is due at once, whoever works on it.
    RefundsDue,
}

const FAULTS: [Fault; 17] = [
    Fault::Kill,
    Fault::KillAll,
    Fault::Freeze,
    Fault::CutConnections,
    Fault::RestartPostgres,
    Fault::CrashPostgres,
    Fault::KillProvider,
    Fault::Cut,
    Fault::Refuse,
    Fault::Slow,
    Fault::DropEvents,
    Fault::Copies,
    Fault::Reversed,
    Fault::Elsewhere,
    Fault::Expire,
    Fault::Unheard,
    Fault::RefundsDue,
];

/// Breaks one thing after the other for so long, each of them once before any of them twice.
pub(super) async fn strike(site: &Site, time: Duration, dice: &Dice) {
    let end = Instant::now() + time;
    loop {
        let mut faults = FAULTS;
        dice.shuffle(&mut faults);
        for fault in faults {
            sleep(dice.time(100, 900)).await;
            if Instant::now() > end {
                return;
            }
            println!("  {fault:?}");
            fault.strike(site, dice).await;
        }
    }
}

impl Fault {
    async fn strike(self, site: &Site, dice: &Dice) {
        let fleet = &site.fleet;
        match self {
            Self::Kill => {
                let process = dice.pick(&fleet.processes);
                process.kill().await;
                sleep(dice.time(0, 600)).await;
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
            Self::Freeze => {
                dice.pick(&fleet.processes)
                    .freeze(dice.time(100, 4_000))
                    .await
            }
            Self::CutConnections => fleet.cut_connections().await,
            Self::RestartPostgres => fleet.postgres.restart("fast").await,
            Self::CrashPostgres => fleet.postgres.restart("immediate").await,
            Self::KillProvider => {
                let mut provider = site.provider.write().await;
                provider.kill();
                sleep(dice.time(0, 2_000)).await;
                provider.restart().await;
            }
            Self::Elsewhere => {
                let url = site.webhook(dice.below(fleet.processes.len()));
                site.provider.write().await.tell(&url);
            }
            Self::Expire => {
                site.run("update shop_order set expires_at = now() where state = 'PENDING'")
                    .await;
            }
            Self::Unheard => {
                site.run(
                    "update payment_intent set updated_at = now() - interval '10 minutes'
                     where state not in ('canceled', 'succeeded')",
                )
                .await;
            }
            Self::RefundsDue => {
                site.run("update shop_refund set next_at = now() where state = 'pending'")
                    .await;
            }
            _ => self.strike_provider(site, dice).await,
        }
    }

    /// What the provider is told to do wrong.
    async fn strike_provider(self, site: &Site, dice: &Dice) {
        let some = u32::try_from(2 + dice.below(12)).expect("few");
        let mut plan = Plan {
            settle_ms: 50 + dice.below(3_000) as u64,
            ..Plan::default()
        };
        match self {
            Self::Cut => plan.cut = some,
            Self::Refuse => {
                plan.refuse = some;
                plan.refuse_status = *dice.pick(&[429, 500, 503]);
            }
            Self::Slow => {
                plan.slow = some;
                plan.slow_ms = 100 + dice.below(4_000) as u64;
            }
            Self::DropEvents => plan.webhook_drop = some,
            Self::Copies => plan.webhook_copies = 1 + some % 4,
            _ => plan.webhook_hold = true,
        }
        let is_held = plan.webhook_hold;
        site.provider.read().await.set_plan(plan);
        sleep(dice.time(300, 2_500)).await;
        if is_held {
            let provider = site.provider.read().await;
            provider.release(Release::Reversed).await;
        }
    }
}
