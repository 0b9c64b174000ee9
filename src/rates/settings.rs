//! Rates as the configuration wants them.

use time::OffsetDateTime;

use super::exchange::{Exchange, Fixed, Table};
use super::feed::{Feed, FeedAddressError};
use super::price::Price;
use super::refresh::Refresher;
use crate::clock::Clock;
use crate::config::RateArgs;
use crate::money::Currency;

/// What is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RateSettingsError {
    /// A currency that is none.
    #[error("--rate-currencies has {0:?}; a currency is three upper-case letters of ISO 4217")]
    Currency(String),
    /// A fixed rate that is none.
    #[error("--rate-emergency has {0:?}; write INR=250000.00, the price of 1 ETH in the currency")]
    Emergency(String),
    /// Not an address.
    #[error(transparent)]
    Address(FeedAddressError),
}

/// The rates to begin with, and what keeps them warm where live ones are wanted.
///
/// # Errors
/// [`RateSettingsError`]
pub fn of(
    args: &RateArgs,
    clock: &Clock,
) -> Result<(Exchange, Option<Refresher>), RateSettingsError> {
    let currencies = args
        .rate_currencies
        .iter()
        .map(|code| {
            let known = Currency::from_code(code.trim());
            known.ok_or_else(|| RateSettingsError::Currency(code.clone()))
        })
        .collect::<Result<Vec<_>, _>>()?;
    // nobody asks a feed for nothing
    let feed = match currencies.is_empty() {
        true => None,
        false => Some(
            Feed::new(&args.rate_url, args.rate_key.clone()).map_err(RateSettingsError::Address)?,
        ),
    };
    let now = clock.now();
    let emergency = args
        .rate_emergency
        .iter()
        .map(|text| fixed(text, now).ok_or_else(|| RateSettingsError::Emergency(text.clone())));
    let exchange = Exchange::new(Table {
        source: feed.as_ref().map_or("", Feed::host).into(),
        emergency: emergency.collect::<Result<_, _>>()?,
        ..Table::default()
    });
    let refresher =
        feed.map(|feed| Refresher::new(exchange.clone(), feed, currencies, clock.clone()));
    Ok((exchange, refresher))
}

fn fixed(text: &str, as_of: OffsetDateTime) -> Option<(&'static str, Fixed)> {
    let (code, price) = text.trim().split_once('=')?;
    let currency = Currency::from_code(code)?;
    let price = Price::parse(price)?;
    Some((currency.code(), Fixed { price, as_of }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(currencies: &[&str], emergency: &[&str]) -> RateArgs {
        let own = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        RateArgs {
            rate_currencies: own(currencies),
            rate_emergency: own(emergency),
            rate_url: "https://feed.example/api/v3/".to_owned(),
            rate_key: None,
        }
    }

    #[test]
    fn what_is_no_rate_is_refused_and_named() {
        let clock = Clock::system();
        let (exchange, refresher) =
            of(&args(&["INR"], &["INR=250000.00", "USD=3e3"]), &clock).unwrap();
        assert!(refresher.is_some());
        let table = exchange.table();
        assert_eq!(table.emergency["USD"].price.to_string(), "3000");
        assert_eq!(&*table.source, "feed.example");
        assert!(of(&args(&[], &[]), &clock).unwrap().1.is_none());
        for wrong in ["inr", "XXX", ""] {
            let error = of(&args(&[wrong], &[]), &clock).unwrap_err();
            assert_eq!(error, RateSettingsError::Currency(wrong.to_owned()));
        }
        for wrong in ["INR", "INR=", "INR=0", "INR=-1", "XXX=1", "INR=1,0"] {
            let error = of(&args(&[], &[wrong]), &clock).unwrap_err();
            assert_eq!(error, RateSettingsError::Emergency(wrong.to_owned()));
        }
        let mut no_address = args(&["INR"], &[]);
        no_address.rate_url = "ftp://feed.example".to_owned();
        assert!(of(&no_address, &clock).is_err());
    }
}
