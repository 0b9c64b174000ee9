//! A sale that cannot be wrong: what a request means, with every bound checked, once.

use alloy::primitives::Address;
use counterfoil_proofs::leaf::{Kind, OrderId};
use serde::Serialize;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::details::{self, Details, Metadata};
use super::request::{Line, Payment, SaleRequest};
use crate::clock::rfc3339_ms;
use crate::http::codes::{self, Code};
use crate::http::object::{Object, TextMap, escape};
use crate::http::problem::Fault;
use crate::ids::SaleId;
use crate::limits;
use crate::money::{AmountError, Currency, canonical_decimal, format_minor, parse_minor};

/// What a refund refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// The sale with this order id.
    Order(OrderId),
    /// The sale with this id.
    Sale(SaleId),
}

/// The command to record one sale or refund.
#[derive(Debug, Clone)]
pub struct SaleCommand {
    order_id: OrderId,
    kind: Kind,
    refers_to: Option<Reference>,
    customer: Option<[u8; 20]>,
    currency: Currency,
    amount_minor: i64,
    sold_at: Option<OffsetDateTime>,
    details: Details,
    fingerprint: [u8; 32],
}

#[expect(
    missing_docs,
    reason = "the fields, as the struct of the leaf describes them"
)]
impl SaleCommand {
    pub fn order_id(&self) -> &OrderId {
        &self.order_id
    }
    pub fn kind(&self) -> Kind {
        self.kind
    }
    pub fn refers_to(&self) -> Option<&Reference> {
        self.refers_to.as_ref()
    }
    pub fn customer(&self) -> Option<[u8; 20]> {
        self.customer
    }
    pub fn currency(&self) -> Currency {
        self.currency
    }
    pub fn amount_minor(&self) -> i64 {
        self.amount_minor
    }
    pub fn sold_at(&self) -> Option<OffsetDateTime> {
        self.sold_at
    }
    /// SHA-256 of the parsed command: the same for the same sale by any route.
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }
    pub fn details(&self) -> &Details {
        &self.details
    }
}

impl SaleCommand {
    /// What `request` means, judged at the time `now`.
    ///
    /// # Errors
    /// Every bound that it breaks, not the first alone.
    pub fn parse(request: SaleRequest, now: OffsetDateTime) -> Result<Self, Vec<Fault>> {
        let mut judge = Judge { faults: Vec::new() };
        let order_id = judge.order_id("/order_id", &request.order_id);
        let kind = judge.kind(request.kind.as_deref());
        let refers_to = judge.refers_to(kind, request.refers_to.as_deref());
        let customer = judge.address(request.customer_address.as_deref());
        let Object(amount) = request.amount;
        let currency = Currency::from_code(&amount.currency);
        if currency.is_none() {
            judge.fault(
                "/amount/currency",
                &codes::CURRENCY_UNKNOWN,
                "three letters of ISO 4217",
            );
        }
        let amount_minor = judge.minor("/amount/value", &amount.value, currency);
        let sold_at = judge.sold_at(request.sold_at.as_deref(), now);

        let mut details = Details::new(currency.map_or(0, Currency::decimals));
        details.cashier = judge.short("/cashier", request.cashier);
        details.customer_ref = judge.short("/customer_ref", request.customer_ref);
        details.register = judge.short("/register", request.register);
        details.sold_at = sold_at.map(rfc3339_ms);
        details.tax_total = judge.total("/tax_total", request.tax_total.as_deref(), currency);
        details.discount_total = judge.total(
            "/discount_total",
            request.discount_total.as_deref(),
            currency,
        );
        details.lines = judge.lines(request.lines.unwrap_or_default(), currency);
        details.payments = judge.payments(request.payments.unwrap_or_default(), currency);
        details.metadata = judge.metadata(request.metadata.unwrap_or_default());

        match (order_id, kind, currency, amount_minor) {
            (Some(order_id), Some(kind), Some(currency), Some(amount_minor))
                if judge.faults.is_empty() =>
            {
                let mut command = Self {
                    order_id,
                    kind,
                    refers_to,
                    customer,
                    currency,
                    amount_minor,
                    sold_at,
                    details,
                    fingerprint: [0; 32],
                };
                command.fingerprint = command.digest();
                Ok(command)
            }
            _ => Err(judge.faults),
        }
    }

    fn digest(&self) -> [u8; 32] {
        /// The command's kind and version and every field in canonical form.
        #[derive(Serialize)]
        struct Canonical<'a> {
            command: &'static str,
            version: &'static str,
            order_id: &'a str,
            kind: u8,
            refers_to: Option<String>,
            customer: Option<[u8; 20]>,
            amount: String,
            currency: &'static str,
            details: &'a Details,
        }
        let canonical = Canonical {
            command: "sale",
            version: "1",
            order_id: self.order_id.as_str(),
            kind: self.kind as u8,
            refers_to: self.refers_to.as_ref().map(|reference| match reference {
                Reference::Order(id) => format!("order {}", id.as_str()),
                Reference::Sale(id) => format!("sale {id}"),
            }),
            customer: self.customer,
            amount: format_minor(self.amount_minor, self.currency),
            currency: self.currency.code(),
            details: &self.details,
        };
        let mut hasher = Sha256::new();
        // writing to a hasher cannot fail
        let _ = serde_json::to_writer(HashWriter(&mut hasher), &canonical);
        hasher.finalize().into()
    }
}

/// Feeds what is written to a hash, without a buffer.
struct HashWriter<'a>(&'a mut Sha256);

impl std::io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Collects the faults of one request.
struct Judge {
    faults: Vec<Fault>,
}

impl Judge {
    fn fault(&mut self, at: &str, code: &'static Code, detail: impl Into<String>) {
        self.faults.push(Fault::new(at, code, detail));
    }

    fn order_id(&mut self, at: &str, text: &str) -> Option<OrderId> {
        let id = OrderId::parse(text).ok();
        if id.is_none() {
            self.fault(
                at,
                &codes::ORDER_ID_INVALID,
                "1 to 64 visible ASCII characters without \" and \\",
            );
        }
        id
    }

    fn kind(&mut self, text: Option<&str>) -> Option<Kind> {
        match text {
            None | Some("sale") => Some(Kind::Sale),
            Some("refund") => Some(Kind::Refund),
            Some(_) => {
                self.fault("/kind", &codes::KIND_UNKNOWN, "sale or refund");
                None
            }
        }
    }

    fn refers_to(&mut self, kind: Option<Kind>, text: Option<&str>) -> Option<Reference> {
        let text = text?;
        if kind == Some(Kind::Sale) {
            self.fault(
                "/refers_to",
                &codes::REFERS_TO_INVALID,
                "only a refund refers to a sale",
            );
            return None;
        }
        if let Ok(id) = text.parse() {
            return Some(Reference::Sale(id));
        }
        let id = OrderId::parse(text).ok();
        if id.is_none() {
            self.fault(
                "/refers_to",
                &codes::REFERS_TO_INVALID,
                "the order id or sale id of a sale",
            );
        }
        id.map(Reference::Order)
    }

    fn address(&mut self, text: Option<&str>) -> Option<[u8; 20]> {
        let text = text?;
        let digits = text.strip_prefix("0x").unwrap_or("");
        let one_case = !digits.bytes().any(|b| b.is_ascii_uppercase())
            || !digits.bytes().any(|b| b.is_ascii_lowercase());
        let address = if digits.len() != 40 {
            None
        } else if one_case {
            text.parse::<Address>().ok()
        } else {
            Address::parse_checksummed(text, None).ok()
        };
        let address = address.filter(|address| !address.is_zero());
        if address.is_none() {
            let detail = "0x and 40 hexadecimal digits, in one case or with the checksum of EIP-55, not zero";
            self.fault("/customer_address", &codes::ADDRESS_INVALID, detail);
        }
        address.map(Into::into)
    }

    fn sold_at(&mut self, text: Option<&str>, now: OffsetDateTime) -> Option<OffsetDateTime> {
        let time = OffsetDateTime::parse(text?, &Rfc3339)
            .ok()
            .filter(|time| time.unix_timestamp() >= 0);
        // whole milliseconds, the rest cut off, as everywhere
        let time = time.map(|time| crate::clock::from_unix_ms(crate::clock::unix_ms(time)));
        match time {
            None => self.fault(
                "/sold_at",
                &codes::TIME_INVALID,
                "RFC 3339 with an offset, from 1970 on",
            ),
            Some(time) if time > now + limits::SOLD_AT_AHEAD => {
                self.fault(
                    "/sold_at",
                    &codes::TIME_IN_FUTURE,
                    "at most 24 hours ahead of our clock",
                );
            }
            Some(_) => {}
        }
        time
    }

    fn amount_error(&mut self, at: &str, error: AmountError) {
        let code = match error {
            AmountError::Malformed => &codes::MONEY_MALFORMED,
            AmountError::Negative => &codes::MONEY_NEGATIVE,
            AmountError::TooManyDecimals { .. } => &codes::MONEY_TOO_MANY_DECIMALS,
            AmountError::TooLarge => &codes::MONEY_TOO_LARGE,
        };
        self.fault(at, code, error.to_string());
    }

    /// An amount in minor units. Where the currency is not known, its form alone is judged.
    fn minor(&mut self, at: &str, text: &str, currency: Option<Currency>) -> Option<i64> {
        let read = match currency {
            Some(currency) => parse_minor(text, currency).map(Some),
            None => canonical_decimal(text, 0).map(|_| None),
        };
        read.unwrap_or_else(|error| {
            self.amount_error(at, error);
            None
        })
    }

    fn total(
        &mut self,
        at: &str,
        text: Option<&str>,
        currency: Option<Currency>,
    ) -> Option<String> {
        let minor = self.minor(at, text?, currency)?;
        currency.map(|currency| format_minor(minor, currency))
    }

    fn decimal(&mut self, at: &str, text: &str, keep: usize) -> String {
        canonical_decimal(text, keep).unwrap_or_else(|error| {
            self.amount_error(at, error);
            String::new()
        })
    }

    fn text(&mut self, at: &str, text: &str, most: usize) {
        if text.contains('\0') {
            self.fault(at, &codes::TEXT_HAS_NUL, "U+0000 is not allowed");
        }
        if text.chars().count() > most {
            self.fault(
                at,
                &codes::TEXT_TOO_LONG,
                format!("at most {most} characters"),
            );
        }
    }

    fn short(&mut self, at: &str, text: Option<String>) -> Option<String> {
        self.text(at, text.as_deref()?, limits::SHORT_TEXT_CHARS);
        text
    }

    fn count(&mut self, at: &str, count: usize, most: usize) {
        if count > most {
            self.fault(
                at,
                &codes::TOO_MANY_LINES,
                format!("at most {most}, not {count}"),
            );
        }
    }

    fn lines(
        &mut self,
        lines: Vec<Object<Line>>,
        currency: Option<Currency>,
    ) -> Vec<details::Line> {
        self.count("/lines", lines.len(), limits::LINES);
        let keep = currency.map_or(0, Currency::decimals);
        let judged =
            lines
                .into_iter()
                .take(limits::LINES)
                .enumerate()
                .map(|(index, Object(line))| {
                    if let Some(sku) = &line.sku {
                        self.text(
                            &format!("/lines/{index}/sku"),
                            sku,
                            limits::SHORT_TEXT_CHARS,
                        );
                    }
                    if let Some(name) = &line.name {
                        self.text(&format!("/lines/{index}/name"), name, limits::NAME_CHARS);
                    }
                    let mut price = |name: &str, text: &str| {
                        self.decimal(&format!("/lines/{index}/{name}"), text, keep)
                    };
                    details::Line {
                        discount: line.discount.map(|text| price("discount", &text)),
                        tax: line.tax.map(|text| price("tax", &text)),
                        unit_price: price("unit_price", &line.unit_price),
                        quantity: self.decimal(
                            &format!("/lines/{index}/quantity"),
                            &line.quantity.0,
                            0,
                        ),
                        name: line.name,
                        sku: line.sku,
                    }
                });
        judged.collect()
    }

    fn payments(
        &mut self,
        payments: Vec<Object<Payment>>,
        currency: Option<Currency>,
    ) -> Vec<details::Payment> {
        self.count("/payments", payments.len(), limits::PAYMENTS);
        let judged = payments.into_iter().take(limits::PAYMENTS).enumerate().map(
            |(index, Object(payment))| {
                let method = format!("/payments/{index}/method");
                self.text(&method, &payment.method, limits::SHORT_TEXT_CHARS);
                if payment.method.is_empty() {
                    self.fault(
                        &method,
                        &codes::TEXT_EMPTY,
                        "name the method, such as cash or card",
                    );
                }
                let amount = self.total(
                    &format!("/payments/{index}/amount"),
                    Some(&payment.amount),
                    currency,
                );
                details::Payment {
                    amount: amount.unwrap_or_default(),
                    method: payment.method,
                }
            },
        );
        judged.collect()
    }

    fn metadata(&mut self, TextMap(map): TextMap) -> Metadata {
        if map.len() > limits::METADATA_KEYS {
            let detail = format!("at most {} keys, not {}", limits::METADATA_KEYS, map.len());
            self.fault("/metadata", &codes::TOO_MANY_KEYS, detail);
        }
        for (key, value) in map.iter().take(limits::METADATA_KEYS) {
            let at = format!("/metadata/{}", escape(key));
            self.text(&at, key, limits::METADATA_KEY_CHARS);
            if key.is_empty() {
                self.fault(&at, &codes::TEXT_EMPTY, "a key is not empty");
            }
            self.text(&at, value, limits::METADATA_VALUE_CHARS);
        }
        Metadata::new(map)
    }
}
