//! One question to the feed of live prices: `simple/price` as CoinGecko answers it.
//! Source: <https://docs.coingecko.com/reference/simple-price>.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::header::RETRY_AFTER;
use reqwest::{Client, Response, StatusCode, Url, redirect};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::value::RawValue;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::price::Price;
use crate::clock::from_unix_ms;
use crate::limits;
use crate::money::Currency;

/// The coin whose price it is.
const COIN: &str = "ethereum";
/// What the feed calls the time of its price.
const UPDATED: &str = "last_updated_at";

/// What the feed says of a currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quoted {
    /// The price of 1 ETH.
    pub price: Price,
    /// Since when it is that.
    pub as_of: OffsetDateTime,
}

/// Why a feed has not said anything.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// No answer, or none in time.
    #[error("the feed of rates does not answer")]
    Unreachable(#[source] reqwest::Error),
    /// Too many questions (429), until when they are too many, where it said so.
    #[error("the feed of rates wants to be asked less often")]
    Limited(Option<Duration>),
    /// Another status than 200.
    #[error("the feed of rates answered {0}")]
    Status(StatusCode),
    /// More than an answer can have.
    #[error(
        "the feed of rates answered with more than {} bytes",
        limits::RATE_BYTES
    )]
    TooLarge,
    /// Not what it should be.
    #[error("the feed of rates answered something else than prices")]
    Malformed,
}

impl FeedError {
    /// For the metrics.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Limited(_) => "limited",
            Self::Status(_) => "status",
            Self::TooLarge | Self::Malformed => "malformed",
        }
    }
}

/// The answer: each number stays its own text.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    ethereum: BTreeMap<String, Box<RawValue>>,
}

/// Where prices come from.
#[derive(Debug, Clone)]
pub struct Feed {
    http: Client,
    url: Url,
    key: Option<SecretString>,
}

impl Feed {
    /// The feed at this base address; `simple/price` is added to it.
    ///
    /// # Errors
    /// When it is no address of HTTP.
    pub fn new(base: &str, key: Option<SecretString>) -> Result<Self, FeedAddressError> {
        let base = format!("{}/simple/price", base.trim_end_matches('/'));
        let url = Url::parse(&base).map_err(|_| FeedAddressError)?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(FeedAddressError);
        }
        // the features chosen for the product leave this choice to the program
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = Client::builder()
            .timeout(limits::RATE_TIME)
            .redirect(redirect::Policy::none())
            .build()
            .map_err(|_| FeedAddressError)?;
        Ok(Self { http, url, key })
    }

    /// Its host, as a sale's details name it.
    pub fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// The prices in these currencies, of those that it knows.
    ///
    /// # Errors
    /// [`FeedError`]
    pub async fn ask(
        &self,
        currencies: &[Currency],
    ) -> Result<BTreeMap<&'static str, Quoted>, FeedError> {
        let codes: Vec<String> = currencies
            .iter()
            .map(|currency| currency.code().to_ascii_lowercase())
            .collect();
        let mut url = self.url.clone();
        url.query_pairs_mut()
            .append_pair("ids", COIN)
            .append_pair("vs_currencies", &codes.join(","))
            .append_pair("include_last_updated_at", "true")
            .append_pair("precision", "full");
        let mut request = self.http.get(url);
        if let Some(key) = &self.key {
            request = request.header("x-cg-demo-api-key", key.expose_secret());
        }
        let unreachable = |error: reqwest::Error| FeedError::Unreachable(error.without_url());
        let response = request.send().await.map_err(unreachable)?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::TOO_MANY_REQUESTS => return Err(FeedError::Limited(wait(&response))),
            status => return Err(FeedError::Status(status)),
        }
        let body = bounded(response).await?;
        let answer: Answer = serde_json::from_slice(&body).map_err(|_| FeedError::Malformed)?;
        read(&answer, currencies)
    }
}

/// An address that no feed has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("--rate-url is no address such as https://api.coingecko.com/api/v3")]
pub struct FeedAddressError;

/// How long the feed wants not to be asked: seconds, or until a date.
fn wait(response: &Response) -> Option<Duration> {
    let text = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    // by the feed's own clock, where it tells it
    let date = |text: &str| OffsetDateTime::parse(text, &Rfc2822).ok();
    let until = date(text)?;
    let now = date(response.headers().get("date")?.to_str().ok()?)?;
    Duration::try_from(until - now).ok()
}

async fn bounded(mut response: Response) -> Result<Vec<u8>, FeedError> {
    let mut body = Vec::new();
    let unreachable = |error: reqwest::Error| FeedError::Unreachable(error.without_url());
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if body.len() + chunk.len() > limits::RATE_BYTES {
            return Err(FeedError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn read(
    answer: &Answer,
    currencies: &[Currency],
) -> Result<BTreeMap<&'static str, Quoted>, FeedError> {
    let updated = answer
        .ethereum
        .get(UPDATED)
        .and_then(|seconds| seconds.get().parse::<i64>().ok())
        .filter(|seconds| (0..=253_402_300_799).contains(seconds))
        .ok_or(FeedError::Malformed)?;
    let as_of = from_unix_ms(updated * 1000);
    let quoted = currencies.iter().filter_map(|currency| {
        let text = answer.ethereum.get(&currency.code().to_ascii_lowercase())?;
        let price = Price::parse(text.get())?;
        Some((currency.code(), Quoted { price, as_of }))
    });
    Ok(quoted.collect())
}
