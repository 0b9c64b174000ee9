//! Manifests, marks and batch files as JSON.

use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::{BatchFile, Manifest, Mark};
use crate::json::{Cursor, Decimal, Hex, ParseError};

const MANIFEST_FIELDS: [&str; 8] = [
    "batch", "previous", "tree", "leaves", "sealedAt", "signer", "marks", "salt",
];
const MARK_FIELDS: [&str; 5] = ["merchant", "firstSeq", "lastSeq", "head", "salt"];

impl BatchFile {
    /// The file's JSON, which [`parse`](BatchFile::parse) reads back.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a batch has strings and lists only")
    }
}

impl Manifest {
    pub(crate) fn read(at: &Cursor<'_>) -> Result<Manifest, ParseError> {
        let object = at.object(&MANIFEST_FIELDS)?;
        Ok(Manifest {
            batch: object.required("batch")?.decimal()?,
            previous: object.required("previous")?.hex()?,
            tree: object.required("tree")?.hex()?,
            leaves: object.required("leaves")?.decimal()?,
            sealed_at: object.required("sealedAt")?.decimal()?,
            signer: object.required("signer")?.hex()?,
            marks: object.required("marks")?.hex()?,
            salt: object.required("salt")?.hex()?,
        })
    }
}

impl Mark {
    pub(crate) fn read(at: &Cursor<'_>) -> Result<Mark, ParseError> {
        let object = at.object(&MARK_FIELDS)?;
        Ok(Mark {
            merchant: object.required("merchant")?.hex()?,
            first_seq: object.required("firstSeq")?.decimal()?,
            last_seq: object.required("lastSeq")?.decimal()?,
            head: object.required("head")?.hex()?,
            salt: object.required("salt")?.hex()?,
        })
    }
}

impl Serialize for Manifest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Manifest", MANIFEST_FIELDS.len())?;
        object.serialize_field("batch", &Decimal(self.batch))?;
        object.serialize_field("previous", &Hex(&self.previous))?;
        object.serialize_field("tree", &Hex(&self.tree))?;
        object.serialize_field("leaves", &Decimal(self.leaves))?;
        object.serialize_field("sealedAt", &Decimal(self.sealed_at))?;
        object.serialize_field("signer", &Hex(&self.signer))?;
        object.serialize_field("marks", &Hex(&self.marks))?;
        object.serialize_field("salt", &Hex(&self.salt))?;
        object.end()
    }
}

impl Serialize for Mark {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Mark", MARK_FIELDS.len())?;
        object.serialize_field("merchant", &Hex(&self.merchant))?;
        object.serialize_field("firstSeq", &Decimal(self.first_seq))?;
        object.serialize_field("lastSeq", &Decimal(self.last_seq))?;
        object.serialize_field("head", &Hex(&self.head))?;
        object.serialize_field("salt", &Hex(&self.salt))?;
        object.end()
    }
}

impl Serialize for BatchFile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let leaves: Vec<_> = self.leaves.iter().map(|leaf| Hex(leaf)).collect();
        let mut object = serializer.serialize_struct("BatchFile", 4)?;
        object.serialize_field("version", &1u8)?;
        object.serialize_field("manifest", &self.manifest)?;
        object.serialize_field("marks", &self.marks)?;
        object.serialize_field("leaves", &leaves)?;
        object.end()
    }
}
