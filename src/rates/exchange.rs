//! The rates that are believed now. Whoever records a sale reads them from memory and never waits.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use serde::Serialize;
use time::OffsetDateTime;

use super::price::Price;
use crate::clock::{rfc3339_ms, unix_ms};
use crate::limits;
use crate::money::Currency;

/// A price that was believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Live {
    /// What it is.
    pub price: Price,
    /// Since when the feed has it.
    pub as_of: OffsetDateTime,
    /// When it was fetched.
    pub fetched_at: OffsetDateTime,
}

/// A fixed price of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fixed {
    /// What it is.
    pub price: Price,
    /// When the configuration was read.
    pub as_of: OffsetDateTime,
}

/// What is known of each currency, by its code.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// Where live prices come from: the feed's host.
    pub source: Arc<str>,
    /// The last that were believed.
    pub live: BTreeMap<&'static str, Live>,
    /// For when there is none, or it is too old.
    pub emergency: BTreeMap<&'static str, Fixed>,
}

/// What a sale's amount is in wei, as its details say it. Its fields stand in the order of their names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Conversion {
    /// How old the price was when the sale was prepared, milliseconds.
    pub age_ms: String,
    /// Since when the feed has it; of the emergency's, when the configuration was read.
    pub as_of: String,
    /// ETH.
    pub base: &'static str,
    /// The sale's currency.
    pub quote: &'static str,
    /// The host of the feed, or `configuration`.
    pub source: String,
    /// `live`, or `emergency` where no live price was at hand.
    pub tier: &'static str,
    /// The price of 1 ETH.
    pub value: String,
    /// The sale's amount: amount ÷ price × 10^18, rounded HALF_EVEN.
    pub wei: String,
}

/// The rates of this process. Without any configured, no sale has one.
#[derive(Debug, Clone, Default)]
pub struct Exchange(Arc<RwLock<Arc<Table>>>);

impl Exchange {
    /// Rates that begin with this table.
    pub fn new(table: Table) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(table))))
    }

    /// What is known now.
    pub fn table(&self) -> Arc<Table> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Puts another table in its place.
    pub fn replace(&self, table: Table) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
    }

    /// What an amount is in wei at the time `now`; none for a currency without a rate.
    pub fn convert(
        &self,
        amount_minor: i64,
        currency: Currency,
        now: OffsetDateTime,
    ) -> Option<Conversion> {
        let table = self.table();
        let amount = u64::try_from(amount_minor).ok()?;
        let fresh = |live: &&Live| {
            let age = now - live.fetched_at;
            age <= limits::RATE_AGE
        };
        let live = table.live.get(currency.code()).filter(fresh);
        let (price, as_of, tier, source) = match live {
            Some(live) => (live.price, live.as_of, "live", table.source.as_ref()),
            None => {
                let fixed = table.emergency.get(currency.code())?;
                (fixed.price, fixed.as_of, "emergency", "configuration")
            }
        };
        let age = unix_ms(now).saturating_sub(unix_ms(as_of)).max(0);
        Some(Conversion {
            age_ms: age.to_string(),
            as_of: rfc3339_ms(as_of),
            base: "ETH",
            quote: currency.code(),
            source: source.to_owned(),
            tier,
            value: price.to_string(),
            wei: price.wei(amount, currency.decimals()).to_string(),
        })
    }
}
