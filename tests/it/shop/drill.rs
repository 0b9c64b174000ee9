//! The drill of the shop: two processes, a payment provider, customers, a till and an office, all at once
//! and for a while, and a schedule of faults. When the faults end and nothing is under way any more, money,
//! stock, points and sales agree to the last unit.
//!
//! `make drill-shop SEEDS=20 SECONDS=120` runs twenty of two minutes. A seed chooses what everybody does and
//! what breaks; who of them comes first does not follow from it.

mod caller;
mod customers;
mod faults;
mod points;
mod site;
mod staff;
mod verdict;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use self::caller::Caller;
use self::site::Site;
use crate::harness::Dice;

#[tokio::test(flavor = "multi_thread")]
async fn whatever_breaks_money_stock_points_and_sales_agree() {
    let seeds = setting("SHOP_DRILL_SEEDS", 1);
    let first = setting("SHOP_DRILL_FIRST", 1);
    let time = Duration::from_secs(setting("SHOP_DRILL_SECONDS", 15));
    let mut failed = Vec::new();
    for seed in first..first + seeds {
        let began = Instant::now();
        match tokio::spawn(drill(seed, time)).await {
            Ok(tally) => println!("{seed:>5} {:>4}s  {tally}", began.elapsed().as_secs()),
            Err(why) => {
                println!("{seed:>5} {:>4}s  FAILED", began.elapsed().as_secs());
                failed.push(format!(
                    "seed {seed}: {why}\nrepeat it with: make drill-shop SEEDS=1 FIRST={seed} SECONDS={}; what its \
                     processes logged is in target/debug/drill-shop/{seed}",
                    time.as_secs()
                ));
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// How large a drill is: as the environment says, or small.
fn setting(name: &str, small: u64) -> u64 {
    std::env::var(name).map_or(small, |text| text.parse().expect("a number"))
}

async fn drill(seed: u64, time: Duration) -> verdict::Tally {
    let site = Arc::new(Site::start(seed).await);
    let mut people = JoinSet::new();
    for number in 0..site.customers.len() {
        let dice = Dice::new(seed, 100 + number as u64);
        let caller = Caller::new(
            &site,
            &number.to_string(),
            &site.customers[number].token,
            dice,
        );
        people.spawn(customers::shop(site.clone(), caller, number));
    }
    let till = Caller::new(&site, "till", &site.till, Dice::new(seed, 2));
    people.spawn(staff::sell(site.clone(), till));
    let office = Caller::new(&site, "office", &site.admin, Dice::new(seed, 3));
    people.spawn(staff::manage(site.clone(), office));
    faults::strike(&site, time, &Dice::new(seed, 1)).await;
    site.mend().await;
    site.over.store(true, Ordering::Release);
    while let Some(ended) = people.join_next().await {
        ended.expect("somebody's day");
    }
    site.drain().await;
    verdict::judge(&site).await
}
