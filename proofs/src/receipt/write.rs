//! Writing a receipt.

use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::{Anchor, BatchRef, Block, Receipt};
use crate::json::{Decimal, Hex};

impl Receipt {
    /// The receipt's JSON, which [`parse`](Receipt::parse) reads back; the same receipt always
    /// gives the same bytes.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a receipt has strings, lists and objects only")
    }
}

impl Serialize for Receipt {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let proof: Vec<_> = self.proof.iter().map(|sibling| Hex(sibling)).collect();
        let mut object = serializer.serialize_struct("Receipt", 6)?;
        object.serialize_field("version", &(self.version as u8))?;
        object.serialize_field("sale", &self.sale)?;
        optional(&mut object, "details", self.details.as_ref())?;
        object.serialize_field("proof", &proof)?;
        optional(&mut object, "batch", self.batch.as_ref())?;
        optional(
            &mut object,
            "anchors",
            self.batch.is_some().then_some(&self.anchors),
        )?;
        object.end()
    }
}

impl Serialize for BatchRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("BatchRef", 3)?;
        object.serialize_field("id", &Decimal(self.id))?;
        object.serialize_field("root", &Hex(&self.root))?;
        object.serialize_field("sealed_at", &self.sealed_at)?;
        object.end()
    }
}

impl Serialize for Anchor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Anchor", 5)?;
        object.serialize_field("registry", &self.registry)?;
        optional(&mut object, "tx", self.tx.as_ref().map(|tx| Hex(tx)))?;
        optional(&mut object, "block", self.block)?;
        object.serialize_field("state", self.state.as_str())?;
        optional(&mut object, "explorer_url", self.explorer_url.as_ref())?;
        object.end()
    }
}

impl Serialize for Block {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Block", 3)?;
        object.serialize_field("number", &Decimal(self.number))?;
        object.serialize_field("hash", &Hex(&self.hash))?;
        object.serialize_field("time", &self.time)?;
        object.end()
    }
}

/// Writes a field, or leaves it out: a receipt has no nulls.
fn optional<O: SerializeStruct>(
    object: &mut O,
    name: &'static str,
    value: Option<impl Serialize>,
) -> Result<(), O::Error> {
    match value {
        Some(value) => object.serialize_field(name, &value),
        None => object.skip_field(name),
    }
}
