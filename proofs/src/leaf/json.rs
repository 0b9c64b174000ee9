//! A sale as JSON.

use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::{Currency, Kind, OrderId, Sale};
use crate::json::{Cursor, Decimal, Fault, Hex, ParseError, parse};

const FIELDS: [&str; 12] = [
    "merchant",
    "sale",
    "seq",
    "orderId",
    "kind",
    "refersTo",
    "customer",
    "currency",
    "amount",
    "recordedAt",
    "details",
    "salt",
];

impl Sale {
    /// The most bytes that the JSON of one sale has.
    pub const MAX_JSON_BYTES: usize = 4096;

    /// Reads the JSON object of one sale, strictly.
    ///
    /// # Errors
    /// [`ParseError`] names the JSON pointer of the first fault.
    pub fn parse(json: &[u8]) -> Result<Sale, ParseError> {
        let json = parse(json, Self::MAX_JSON_BYTES)?;
        Sale::read(&Cursor::root(&json))
    }

    pub(crate) fn read(at: &Cursor<'_>) -> Result<Sale, ParseError> {
        let object = at.object(&FIELDS)?;
        let refers_to = object.required("refersTo")?.hex()?;
        let customer = object.required("customer")?.hex()?;
        Ok(Sale {
            merchant: object.required("merchant")?.hex()?,
            sale: object.required("sale")?.hex()?,
            seq: object.required("seq")?.decimal()?,
            order_id: object.required("orderId")?.parsed(OrderId::parse)?,
            kind: read_kind(&object.required("kind")?)?,
            refers_to: (refers_to != [0; 16]).then_some(refers_to),
            customer: (customer != [0; 20]).then_some(customer),
            currency: object.required("currency")?.parsed(Currency::parse)?,
            amount: object.required("amount")?.decimal()?,
            recorded_at: object.required("recordedAt")?.decimal()?,
            details: object.required("details")?.hex()?,
            salt: object.required("salt")?.hex()?,
        })
    }
}

fn read_kind(at: &Cursor<'_>) -> Result<Kind, ParseError> {
    match at.number()? {
        "1" => Ok(Kind::Sale),
        "2" => Ok(Kind::Refund),
        _ => Err(at.fault(Fault::Value("1 (sale) or 2 (refund)"))),
    }
}

impl Serialize for Sale {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Sale", FIELDS.len())?;
        object.serialize_field("merchant", &Hex(&self.merchant))?;
        object.serialize_field("sale", &Hex(&self.sale))?;
        object.serialize_field("seq", &Decimal(self.seq))?;
        object.serialize_field("orderId", self.order_id.as_str())?;
        object.serialize_field("kind", &(self.kind as u8))?;
        object.serialize_field("refersTo", &Hex(&self.refers_to.unwrap_or_default()))?;
        object.serialize_field("customer", &Hex(&self.customer.unwrap_or_default()))?;
        object.serialize_field("currency", self.currency.as_str())?;
        object.serialize_field("amount", &Decimal(self.amount))?;
        object.serialize_field("recordedAt", &Decimal(self.recorded_at))?;
        object.serialize_field("details", &Hex(&self.details))?;
        object.serialize_field("salt", &Hex(&self.salt))?;
        object.end()
    }
}
