//! What the values of a request mean, field by field, each with its bound.

use std::fmt;

use counterfoil_proofs::leaf::{Kind, OrderId};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Reference;
use crate::clock::{from_unix_ms, unix_ms};
use crate::http::codes::{self, Code};
use crate::http::object::{Object, TextMap};
use crate::http::problem::Fault;
use crate::ids::account_address;
use crate::limits;
use crate::money::{AmountError, Currency, canonical_decimal, format_minor, parse_minor};
use crate::sales::details::{self, Metadata};
use crate::sales::request::{Line, Payment};

/// Collects the faults of one request.
pub(super) struct Judge {
    pub(super) faults: Vec<Fault>,
}

impl Judge {
    pub(super) fn fault(&mut self, at: &str, code: &'static Code, detail: impl Into<String>) {
        self.faults.push(Fault::new(at, code, detail));
    }

    pub(super) fn order_id(&mut self, at: &str, text: &str) -> Option<OrderId> {
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

    pub(super) fn kind(&mut self, text: Option<&str>) -> Option<Kind> {
        match text {
            None | Some("sale") => Some(Kind::Sale),
            Some("refund") => Some(Kind::Refund),
            Some(_) => {
                self.fault("/kind", &codes::KIND_UNKNOWN, "sale or refund");
                None
            }
        }
    }

    pub(super) fn refers_to(
        &mut self,
        kind: Option<Kind>,
        text: Option<&str>,
    ) -> Option<Reference> {
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

    pub(super) fn address(&mut self, text: Option<&str>) -> Option<[u8; 20]> {
        let text = text?;
        let address = account_address(text);
        if address.is_none() {
            let detail = "0x and 40 hexadecimal digits, in one case or with the checksum of EIP-55, not zero";
            self.fault("/customer_address", &codes::ADDRESS_INVALID, detail);
        }
        address
    }

    pub(super) fn sold_at(
        &mut self,
        text: Option<&str>,
        now: OffsetDateTime,
    ) -> Option<OffsetDateTime> {
        let at = "/sold_at";
        // judged in milliseconds, the rest cut off: an offset may put a time past every calendar
        let ms = OffsetDateTime::parse(text?, &Rfc3339).ok().map(unix_ms);
        match ms.filter(|ms| *ms >= 0) {
            None => {
                let detail = "RFC 3339 with an offset, from 1970 on";
                self.fault(at, &codes::TIME_INVALID, detail);
                None
            }
            Some(ms) if ms > unix_ms(now + limits::SOLD_AT_AHEAD) => {
                let detail = "at most 24 hours ahead of our clock";
                self.fault(at, &codes::TIME_IN_FUTURE, detail);
                None
            }
            Some(ms) => Some(from_unix_ms(ms)),
        }
    }

    fn amount_error(&mut self, at: impl fmt::Display, error: AmountError) {
        self.faults.push(Fault::of_amount(at.to_string(), error));
    }

    /// An amount in minor units. Where the currency is not known, its form alone is judged.
    pub(super) fn minor(
        &mut self,
        at: impl fmt::Display,
        text: &str,
        currency: Option<Currency>,
    ) -> Option<i64> {
        let read = match currency {
            Some(currency) => parse_minor(text, currency).map(Some),
            None => match canonical_decimal(text, 0) {
                Err(error @ (AmountError::Malformed | AmountError::Negative)) => Err(error),
                _ => Ok(None),
            },
        };
        read.unwrap_or_else(|error| {
            self.amount_error(at, error);
            None
        })
    }

    pub(super) fn total(
        &mut self,
        at: impl fmt::Display,
        text: Option<&str>,
        currency: Option<Currency>,
    ) -> Option<String> {
        let minor = self.minor(at, text?, currency)?;
        currency.map(|currency| format_minor(minor, currency))
    }

    fn decimal(&mut self, at: impl fmt::Display, text: &str, keep: usize) -> String {
        canonical_decimal(text, keep).unwrap_or_else(|error| {
            self.amount_error(at, error);
            String::new()
        })
    }

    fn text(&mut self, at: impl fmt::Display, text: &str, most: usize) {
        // where it stands is written only where something is wrong
        if let Some(fault) = Fault::of_text("", text, most) {
            let pointer = at.to_string();
            self.faults.push(Fault { pointer, ..fault });
        }
    }

    pub(super) fn short(&mut self, at: &str, text: Option<String>) -> Option<String> {
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

    pub(super) fn lines(
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
                            format_args!("/lines/{index}/sku"),
                            sku,
                            limits::SHORT_TEXT_CHARS,
                        );
                    }
                    if let Some(name) = &line.name {
                        self.text(
                            format_args!("/lines/{index}/name"),
                            name,
                            limits::NAME_CHARS,
                        );
                    }
                    let mut price = |name: &str, text: &str| {
                        self.decimal(format_args!("/lines/{index}/{name}"), text, keep)
                    };
                    details::Line {
                        discount: line.discount.map(|text| price("discount", &text)),
                        tax: line.tax.map(|text| price("tax", &text)),
                        unit_price: price("unit_price", &line.unit_price),
                        quantity: self.decimal(
                            format_args!("/lines/{index}/quantity"),
                            &line.quantity.0,
                            0,
                        ),
                        name: line.name,
                        sku: line.sku,
                    }
                });
        judged.collect()
    }

    pub(super) fn payments(
        &mut self,
        payments: Vec<Object<Payment>>,
        currency: Option<Currency>,
    ) -> Vec<details::Payment> {
        self.count("/payments", payments.len(), limits::PAYMENTS);
        let judged = payments.into_iter().take(limits::PAYMENTS).enumerate().map(
            |(index, Object(payment))| {
                self.text(
                    format_args!("/payments/{index}/method"),
                    &payment.method,
                    limits::SHORT_TEXT_CHARS,
                );
                if payment.method.is_empty() {
                    self.fault(
                        &format!("/payments/{index}/method"),
                        &codes::TEXT_EMPTY,
                        "name the method, such as cash or card",
                    );
                }
                let amount = self.total(
                    format_args!("/payments/{index}/amount"),
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

    pub(super) fn metadata(&mut self, metadata: TextMap) -> Metadata {
        self.faults.extend(metadata.faults_of_metadata("/metadata"));
        Metadata::new(metadata.0)
    }
}
