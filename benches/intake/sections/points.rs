//! The intake where every sale earns points.

use std::sync::Arc;

use anyhow::{Context, ensure};
use counterfoil::clock::{Clock, Entropy};
use counterfoil::loyalty::store;
use counterfoil::loyalty::terms::{Earn, Redeem, Terms, Tier, TierDrop};
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use super::beside::loss;
use super::{Bench, CONNECTIONS};
use crate::baskets::Baskets;
use crate::load::{Pace, Window};
use crate::stage::{Installed, Sale};

/// Members of the programme.
const MEMBERS: usize = 2_000;
/// What the intake may lose to it, percent.
const LOSS: f64 = 20.0;
/// Arrivals a second by the clock, and the milliseconds that their 99th percentile may take.
const QUIET: (f64, f64) = (500.0, 4.0);

impl Bench<'_> {
    /// The same sales without a programme and with one, in turn, each in a database of its own and unsealed; then the
    /// latter by the clock.
    pub(super) async fn points(&mut self) -> anyhow::Result<()> {
        eprintln!("points beside the intake");
        let mut plain = self.stage.another("plain").await?;
        let mut points = self.stage.another("points").await?;
        set_programme(&points).await?;
        let baskets = Arc::new(Baskets::of_members(MEMBERS)?);
        let sale = |pace, window| Sale {
            baskets: baskets.clone(),
            ..self.sale(CONNECTIONS[0], pace, window)
        };
        let window = Window::of(self.arguments.window());
        let closed = sale(Pace::Closed, window);
        let (rate, goal) = QUIET;
        let quiet = sale(Pace::Open(rate), Window::of(self.arguments.latency()));
        let (mut without, mut with) = (Vec::new(), Vec::new());
        for round in 1..=self.arguments.rounds() {
            for (name, on, rates) in [
                ("without", &mut plain, &mut without),
                ("with", &mut points, &mut with),
            ] {
                self.stage.serve(on, false).await?;
                let figures = self.stage.sell(on, &closed).await?;
                rates.push(figures.per_second);
                self.report
                    .load(format!("{name} points, round {round}"), figures);
            }
        }
        let lost = loss(without, with);
        self.report
            .at_most("lost by the intake to points", "%", LOSS, lost);
        let figures = self.stage.sell(&mut points, &quiet).await?;
        let what = format!("p99 at {rate:.0} a second, each earning points");
        self.report.at_most(what, "ms", goal, figures.latency.p99);
        self.report.load("at 500 a second, with points", figures);
        check(&points).await?;
        let shop = self.shop.clone();
        self.stage.serve(&shop, true).await
    }
}

/// A point a pound, a bonus, tiers, an end: all that a sale can have to do with.
async fn set_programme(on: &Installed) -> anyhow::Result<()> {
    let merchant = on.merchants.first().context("a merchant")?.0;
    let tier = |name: &str, from, multiplier: &str| Tier {
        name: name.to_owned(),
        from,
        multiplier: multiplier.to_owned(),
    };
    let terms = Terms {
        decimals: 0,
        earn: [(
            "GBP".to_owned(),
            Earn {
                rate: "1".to_owned(),
                minimum_minor: 100,
                minor_digits: 2,
            },
        )]
        .into(),
        first_purchase_bonus: 1_000_000,
        daily_limit: None,
        tiers: vec![
            tier("silver", 5_000_000, "1.5"),
            tier("gold", 50_000_000, "2"),
        ],
        tier_drop: TierDrop::AtOnce,
        pending_days: 14,
        expiry_days: Some(365),
        redeem: Redeem::default(),
    };
    let mut db = PgConnection::connect(&on.url).await?;
    let clock = Clock::system();
    let by = Uuid::from_bytes(Entropy::system().bytes());
    let version = store::set_programme(&mut db, merchant, 0, &terms, by, clock.now()).await?;
    ensure!(version.is_some(), "the merchant had a programme");
    Ok(())
}

/// Every sale that was acknowledged has earned, once.
async fn check(on: &Installed) -> anyhow::Result<()> {
    let mut db = PgConnection::connect(&on.url).await?;
    let awards: i64 = sqlx::query_scalar("select count(*) from loyalty_award")
        .fetch_one(&mut db)
        .await?;
    let sales: i64 = sqlx::query_scalar("select count(*) from sale")
        .fetch_one(&mut db)
        .await?;
    ensure!(
        awards == sales && sales as u64 >= on.acknowledged,
        "{} sales were acknowledged, {sales} are there and {awards} have earned",
        on.acknowledged
    );
    Ok(())
}
