//! Requests as bytes, made once; for each sale only its names are written into a copy.

use std::ops::Range;
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use super::baskets::Baskets;
use super::draw::Draw;
use super::load::{Caller, Verdict};

/// Stands for the order id in a body.
pub(crate) const ORDER_PLACE: &str = "order-000-0000-00000000";
/// Stands for the order id of the sale that is refunded.
pub(crate) const REFERS_PLACE: &str = "refer-000-0000-00000000";
/// Stands for the idempotency key.
const KEY_PLACE: &str = "key00000-0000-4000-8000-000000000000";
/// The name that the server is called by.
const HOST: &str = "counterfoil.bench";
/// Length of an API key.
const TOKEN_LENGTH: usize = "cf_live_".len() + 3 * 26;
/// Of a thousand requests, those sent once more as they were.
const RETRIES_PER_MILLE: usize = 20;
/// Of a thousand requests, refunds of the sale before.
const REFERRING_PER_MILLE: usize = 45;

/// A whole request, and where its names stand.
#[derive(Debug)]
pub(crate) struct Template {
    bytes: Vec<u8>,
    token: Range<usize>,
    key: Range<usize>,
    order: Range<usize>,
    refers: Option<Range<usize>>,
    is_sale: bool,
}

impl Template {
    pub(crate) fn new(body: &Value) -> anyhow::Result<Self> {
        let is_sale = body["kind"] == "sale";
        let body = body.to_string();
        let token = "k".repeat(TOKEN_LENGTH);
        let text = format!(
            "POST /v1/sales HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nIdempotency-Key: {KEY_PLACE}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let place = |name: &str| {
            let start = text.find(name)?;
            Some(start..start + name.len())
        };
        Ok(Self {
            token: place(&token).context("a request has a place for the API key")?,
            key: place(KEY_PLACE).context("a request has a place for its key")?,
            order: place(ORDER_PLACE).context("a request has a place for its order id")?,
            refers: place(REFERS_PLACE),
            bytes: text.into_bytes(),
            is_sale,
        })
    }
}

/// One sender of requests. Its sales are named after it, so they are nobody else's.
#[derive(Debug)]
pub(crate) struct Till {
    baskets: Arc<Baskets>,
    tokens: Arc<[String]>,
    draw: Draw,
    name: (u32, usize),
    sent: u64,
    /// The request on its way.
    request: Vec<u8>,
    /// Whether it is sent once more.
    is_retry: bool,
    /// The body that answered the last one.
    answer: Vec<u8>,
    /// The last sale that nothing refers to yet: its merchant and order id.
    refundable: Option<(usize, String)>,
}

impl Till {
    /// The `index`th till of a run; `tokens` are its merchants' API keys.
    pub(crate) fn new(
        baskets: Arc<Baskets>,
        tokens: Arc<[String]>,
        run: u32,
        index: usize,
    ) -> anyhow::Result<Self> {
        let fits = tokens.iter().all(|token| token.len() == TOKEN_LENGTH);
        ensure!(fits && !tokens.is_empty(), "API keys have another length");
        Ok(Self {
            baskets,
            tokens,
            draw: Draw::new(u64::from(run) << 32 | index as u64),
            name: (run, index),
            sent: 0,
            request: Vec::new(),
            is_retry: false,
            answer: Vec::new(),
            refundable: None,
        })
    }

    /// Writes a request with a new key.
    fn write_new(&mut self) {
        let (run, index) = self.name;
        let order = format!("B{run:05}-{index:05}-{:010}", self.sent);
        self.sent += 1;
        let refunded = match &self.baskets.refund {
            Some(_) if self.draw.happens(REFERRING_PER_MILLE) => self.refundable.take(),
            _ => None,
        };
        let (baskets, tokens) = (self.baskets.clone(), self.tokens.clone());
        let template = match (&refunded, &baskets.refund) {
            (Some(_), Some(refund)) => refund,
            _ => &baskets.templates[self.draw.below(baskets.templates.len())],
        };
        let merchant = match &refunded {
            Some((merchant, _)) => *merchant,
            None => self.draw.below(tokens.len()),
        };
        self.request.clear();
        self.request.extend_from_slice(&template.bytes);
        self.write(&template.token, tokens[merchant].as_bytes());
        let key = self.key();
        self.write(&template.key, key.as_bytes());
        self.write(&template.order, order.as_bytes());
        if let (Some(place), Some((_, sale))) = (&template.refers, &refunded) {
            self.write(place, sale.as_bytes());
        } else if template.is_sale {
            self.refundable = Some((merchant, order));
        }
    }

    fn write(&mut self, place: &Range<usize>, text: &[u8]) {
        self.request[place.clone()].copy_from_slice(text);
    }

    /// A UUID as callers are advised to take: without any order.
    fn key(&mut self) -> String {
        let (high, low) = (self.draw.next(), self.draw.next());
        format!(
            "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xfff,
            low >> 48 & 0xfff,
            low & 0xffff_ffff_ffff
        )
    }

    /// How many requests with a key of their own it has sent.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }
}

impl Caller for Till {
    fn prepare(&mut self) {
        self.is_retry = self.sent > 0 && self.draw.happens(RETRIES_PER_MILLE);
        if !self.is_retry {
            self.write_new();
        }
    }

    fn request(&self) -> &[u8] {
        &self.request
    }

    /// A retry has to be answered with the bytes that the first was answered with.
    fn judge(&mut self, status: u16, body: &[u8]) -> anyhow::Result<Verdict> {
        match status {
            201 if !self.is_retry => {
                self.answer.clear();
                self.answer.extend_from_slice(body);
                Ok(Verdict::Counted)
            }
            201 => {
                let (first, now) = (
                    String::from_utf8_lossy(&self.answer),
                    String::from_utf8_lossy(body),
                );
                ensure!(
                    first == now,
                    "a retry was answered {now}, the first {first}"
                );
                Ok(Verdict::Uncounted)
            }
            // in flight still, too many, no room
            409 | 429 | 503 => Ok(Verdict::Again),
            _ => bail!(
                "a sale was answered {status}: {}",
                String::from_utf8_lossy(body)
            ),
        }
    }
}
