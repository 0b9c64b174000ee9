//! The fingerprint of a command: SHA-256 of its kind, its version and every field in canonical form.

use counterfoil_proofs::leaf::Sale;
use serde::Serialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::{Reference, SaleCommand};
use crate::ids::SaleId;
use crate::money::{Currency, format_minor};
use crate::sales::details::Supplement;

/// What is hashed. `D` are the details without their points, rate, salt and version, which come to them when
/// they are recorded.
#[derive(Serialize)]
struct Canonical<'a, D> {
    command: &'static str,
    version: &'static str,
    order_id: &'a str,
    kind: u8,
    refers_to: Option<String>,
    customer: Option<[u8; 20]>,
    amount: String,
    currency: &'static str,
    details: D,
}

impl<D: Serialize> Canonical<'_, D> {
    /// The hash, and how many bytes it was taken of.
    fn digest(&self) -> ([u8; 32], usize) {
        // strings, numbers and JSON: nothing here can fail to be written
        let bytes = serde_json::to_vec(self).unwrap_or_default();
        (Sha256::digest(&bytes).into(), bytes.len())
    }
}

impl SaleCommand {
    /// The fingerprint, and how many bytes it was taken of: a little more than the details have.
    pub(super) fn digest(&self) -> ([u8; 32], usize) {
        Canonical {
            command: "sale",
            version: "1",
            order_id: self.order_id.as_str(),
            kind: self.kind as u8,
            refers_to: self.refers_to.as_ref().map(Reference::canonical),
            customer: self.customer,
            amount: format_minor(self.amount_minor, self.currency),
            currency: self.currency.code(),
            details: self.details.json(),
        }
        .digest()
    }
}

impl Reference {
    fn canonical(&self) -> String {
        match self {
            Self::Order(id) => format!("order {}", id.as_str()),
            Self::Sale(id) => format!("sale {id}"),
        }
    }
}

/// The fingerprints that the command of a recorded sale may have had: one, or for a refund of a sale two,
/// as it named that by its sale id or by `target_order`, its order id. None where no command makes such
/// a sale.
pub fn of_recorded(sale: &Sale, details: &[u8], target_order: Option<&str>) -> Vec<[u8; 32]> {
    let (Some(currency), Ok(minor), Some(details)) = (
        Currency::from_code(sale.currency.as_str()),
        i64::try_from(sale.amount),
        as_commanded(details),
    ) else {
        return Vec::new();
    };
    let references = match sale.refers_to {
        None => vec![None],
        Some(id) => {
            let by_sale = format!("sale {}", SaleId(uuid::Uuid::from_bytes(id)));
            let by_order = target_order.map(|order| format!("order {order}"));
            std::iter::once(by_sale).chain(by_order).map(Some).collect()
        }
    };
    let digest = |refers_to| {
        Canonical {
            command: "sale",
            version: "1",
            order_id: sale.order_id.as_str(),
            kind: sale.kind as u8,
            refers_to,
            customer: sale.customer,
            amount: format_minor(minor, currency),
            currency: currency.code(),
            details: &details,
        }
        .digest()
        .0
    };
    references.into_iter().map(digest).collect()
}

/// Details as they were before they were recorded. Their fields stand in the order of their names, so the
/// version is the last, and after the salt come only fields whose values cannot look like one.
fn as_commanded(details: &[u8]) -> Option<Box<RawValue>> {
    const SALT: &str = ",\"salt\":\"0x";
    let text = std::str::from_utf8(details).ok()?;
    let text = text.strip_suffix(",\"v\":1}")?;
    let at = text.rfind(SALT)?;
    let after = text.get(at + SALT.len() + 64 + 1..)?;
    let (_, text) = Supplement::take(&format!("{}{after}}}", &text[..at]))?;
    RawValue::from_string(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::from_unix_ms;
    use counterfoil_proofs::U256;
    use serde_json::{Value, json};

    /// The fingerprint of a command, and those that are derived from the sale it makes.
    fn both(request: Value, target_order: Option<&str>) -> ([u8; 32], Vec<[u8; 32]>) {
        let request = serde_json::from_value(request).unwrap();
        let command = SaleCommand::parse(request, from_unix_ms(1_800_000_000_000)).unwrap();
        let points = json!({ "base": "15", "programme": "1" });
        let rate = json!({ "age_ms": "5", "wei": "12" });
        let supplement = Supplement::new(Some(&points), Some(&rate));
        let details = command.details().salted(&[0xa5; 32], &supplement);
        let sale = Sale {
            merchant: [1; 16],
            sale: [2; 16],
            seq: 1,
            order_id: command.order_id().clone(),
            kind: command.kind(),
            refers_to: command.refers_to().map(|_| [7; 16]),
            customer: command.customer(),
            currency: counterfoil_proofs::leaf::Currency::parse(command.currency().code()).unwrap(),
            amount: U256::from(command.amount_minor().cast_unsigned()),
            recorded_at: 0,
            details: [0; 32],
            salt: [0; 32],
        };
        let derived = of_recorded(&sale, &details, target_order);
        (*command.fingerprint(), derived)
    }

    #[test]
    fn a_recorded_sale_tells_the_fingerprint_of_its_command() {
        let salt_like = format!(",\"salt\":\"0x{}\"", "ab".repeat(32));
        for extra in [
            json!({}),
            json!({ "sold_at": "2026-01-02T03:04:05.678Z", "tax_total": "0.10", "cashier": "Ann" }),
            json!({ "customer_address": "0x70997970c51812dc3a010c7d01b50e0d17dc79c8" }),
            json!({ "lines": [{ "quantity": "2", "unit_price": "0.75", "name": salt_like, "sku": "\"salt\"" }],
                    "metadata": { "salt": format!("0x{}", "cd".repeat(32)), "\u{FFFD}": "x", "\u{10000}": "y" } }),
            json!({ "register": "till", "metadata": { "points": "{", "rate": ",\"rate\":{" } }),
            json!({ "metadata": { "v": "1", ",\"salt\":\"0x": "}" } }),
        ] {
            let mut request =
                json!({ "order_id": "A-1", "amount": { "value": "1.50", "currency": "GBP" } });
            let fields = request.as_object_mut().unwrap();
            fields.extend(extra.as_object().unwrap().clone());
            let (fingerprint, derived) = both(request, None);
            assert_eq!(derived, [fingerprint], "{extra}");
        }
    }

    #[test]
    fn a_refund_named_its_sale_by_one_of_two_ids() {
        let sale = SaleId(uuid::Uuid::from_bytes([7; 16])).to_string();
        for named in ["A-0", sale.as_str()] {
            let (fingerprint, derived) = both(
                json!({ "order_id": "R-1", "kind": "refund", "refers_to": named,
                        "amount": { "value": "1.50", "currency": "GBP" } }),
                Some("A-0"),
            );
            assert_eq!(derived.len(), 2);
            assert!(derived.contains(&fingerprint), "{named}");
        }
    }
}
