//! What a recorder has declared lost, in a file beside the batch files.

use serde::ser::{Serialize, SerializeStruct, Serializer};

use crate::{
    Hash,
    json::{Cursor, Decimal, Fault, Hex, ParseError, parse},
};

/// The most entries of each list.
const MAX_ENTRIES: usize = 1 << 20;

/// Batches and numbers that were lost for good. A claim: no root commits to it, and whoever accepts it says
/// so. Both lists ascend, and gaps do not overlap.
///
/// As JSON: `{"version": 1, "lostBatches": [{"chainId": "1", "batch": "7", "root": "0x…"}], "gaps":
/// [{"merchant": "0x…", "firstSeq": "8", "lastSeq": "10007", "reason": "…"}]}`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Declared {
    /// Batches that a registry has and the recorder has not, with their sales. Ascending by batch and chain.
    pub lost_batches: Vec<LostBatch>,
    /// Numbers that are given to no sale any more. Ascending by merchant and number.
    pub gaps: Vec<Gap>,
}

/// A batch of which only the root is left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostBatch {
    /// The chain whose registry has it (EIP-155).
    pub chain_id: u64,
    /// Its number.
    pub batch: u64,
    /// Its root there.
    pub root: Hash,
}

/// Numbers of a merchant's sales, both ends included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Whose.
    pub merchant: [u8; 16],
    /// The first.
    pub first_seq: u64,
    /// The last.
    pub last_seq: u64,
    /// Why, for people.
    pub reason: String,
}

impl Declared {
    /// The most bytes that a file has.
    pub const MAX_JSON_BYTES: usize = 512 << 20;

    /// Reads a file, strictly.
    ///
    /// # Errors
    /// [`ParseError`] names the JSON pointer of the first fault.
    pub fn parse(json: &[u8]) -> Result<Declared, ParseError> {
        let json = parse(json, Self::MAX_JSON_BYTES)?;
        let root = Cursor::root(&json);
        let object = root.object(&["version", "lostBatches", "gaps"])?;
        let version = object.required("version")?;
        if version.number()? != "1" {
            return Err(version.fault(Fault::Value("a known version (1)")));
        }
        let lost = object.required("lostBatches")?;
        let gaps = object.required("gaps")?;
        let declared = Declared {
            lost_batches: lost
                .list(MAX_ENTRIES)?
                .map(|entry| LostBatch::read(&entry))
                .collect::<Result<_, _>>()?,
            gaps: gaps
                .list(MAX_ENTRIES)?
                .map(|entry| Gap::read(&entry))
                .collect::<Result<_, _>>()?,
        };
        let ascends = |pair: &[LostBatch]| {
            (pair[0].batch, pair[0].chain_id) < (pair[1].batch, pair[1].chain_id)
        };
        if !declared.lost_batches.windows(2).all(ascends) {
            return Err(lost.fault(Fault::Value("ascending by batch and chain")));
        }
        let ascends = |pair: &[Gap]| {
            (pair[0].merchant, pair[0].last_seq) < (pair[1].merchant, pair[1].first_seq)
        };
        if !declared.gaps.windows(2).all(ascends) {
            return Err(gaps.fault(Fault::Value(
                "ascending by merchant and number, without overlaps",
            )));
        }
        Ok(declared)
    }

    /// The file's JSON, which [`parse`](Declared::parse) reads back.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a declaration has strings and lists only")
    }

    /// The roots that registries have of a batch, each with its chain; none where it was not lost.
    pub fn roots_of(&self, batch: u64) -> impl Iterator<Item = (u64, Hash)> {
        let from = self.lost_batches.partition_point(|it| it.batch < batch);
        let of_batch = self.lost_batches[from..]
            .iter()
            .take_while(move |it| it.batch == batch);
        of_batch.map(|it| (it.chain_id, it.root))
    }

    /// The first gap of a merchant that has one of these numbers, both ends included.
    pub fn gap_within(&self, merchant: &[u8; 16], first: u64, last: u64) -> Option<&Gap> {
        let before = |gap: &Gap| (gap.merchant, gap.last_seq) < (*merchant, first);
        let gap = self.gaps.get(self.gaps.partition_point(before))?;
        (gap.merchant == *merchant && gap.first_seq <= last).then_some(gap)
    }

    /// The number, or where a gap of the merchant begins with it the first one behind that.
    pub fn past_gap(&self, merchant: &[u8; 16], seq: u64) -> u64 {
        self.gap_within(merchant, seq, seq)
            .filter(|gap| gap.first_seq == seq)
            .map_or(seq, |gap| gap.last_seq.saturating_add(1))
    }
}

impl LostBatch {
    fn read(at: &Cursor<'_>) -> Result<LostBatch, ParseError> {
        let object = at.object(&["chainId", "batch", "root"])?;
        let batch = object.required("batch")?;
        let number = batch.decimal()?;
        if number == 0 {
            return Err(batch.fault(Fault::Value("1 or more")));
        }
        Ok(LostBatch {
            chain_id: object.required("chainId")?.decimal()?,
            batch: number,
            root: object.required("root")?.hex()?,
        })
    }
}

impl Gap {
    fn read(at: &Cursor<'_>) -> Result<Gap, ParseError> {
        let object = at.object(&["merchant", "firstSeq", "lastSeq", "reason"])?;
        let last = object.required("lastSeq")?;
        let gap = Gap {
            merchant: object.required("merchant")?.hex()?,
            first_seq: object.required("firstSeq")?.decimal()?,
            last_seq: last.decimal()?,
            reason: object.required("reason")?.string()?.to_owned(),
        };
        if gap.first_seq == 0 || gap.first_seq > gap.last_seq {
            return Err(last.fault(Fault::Value(
                "a number from firstSeq on, which is 1 or more",
            )));
        }
        Ok(gap)
    }
}

impl Serialize for Declared {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Declared", 3)?;
        object.serialize_field("version", &1u8)?;
        object.serialize_field("lostBatches", &self.lost_batches)?;
        object.serialize_field("gaps", &self.gaps)?;
        object.end()
    }
}

impl Serialize for LostBatch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("LostBatch", 3)?;
        object.serialize_field("chainId", &Decimal(self.chain_id))?;
        object.serialize_field("batch", &Decimal(self.batch))?;
        object.serialize_field("root", &Hex(&self.root))?;
        object.end()
    }
}

impl Serialize for Gap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Gap", 4)?;
        object.serialize_field("merchant", &Hex(&self.merchant))?;
        object.serialize_field("firstSeq", &Decimal(self.first_seq))?;
        object.serialize_field("lastSeq", &Decimal(self.last_seq))?;
        object.serialize_field("reason", &self.reason)?;
        object.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared() -> Declared {
        Declared {
            lost_batches: vec![LostBatch {
                chain_id: 1,
                batch: 7,
                root: [3; 32],
            }],
            gaps: vec![Gap {
                merchant: [2; 16],
                first_seq: 8,
                last_seq: u64::MAX,
                reason: "a \"copy\"".to_owned(),
            }],
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for declared in [declared(), Declared::default()] {
            assert_eq!(
                Declared::parse(declared.to_json().as_bytes()).as_ref(),
                Ok(&declared)
            );
        }
        let declared = declared();
        assert_eq!(declared.roots_of(7).collect::<Vec<_>>(), [(1, [3; 32])]);
        assert_eq!(declared.roots_of(8).count(), 0);
        for (merchant, seq, expected) in [
            ([2; 16], 7, 7),
            ([2; 16], 8, u64::MAX),
            ([2; 16], 9, 9),
            ([3; 16], 8, 8),
        ] {
            assert_eq!(declared.past_gap(&merchant, seq), expected, "{seq}");
        }
        for (merchant, first, last, there) in [
            ([2; 16], 1, 7, false),
            ([2; 16], 1, 8, true),
            ([2; 16], 9, 9, true),
            ([1; 16], 9, 9, false),
            ([3; 16], 9, 9, false),
        ] {
            let gap = declared.gap_within(&merchant, first, last);
            assert_eq!(gap.is_some(), there, "{merchant:?} {first} to {last}");
        }
    }

    #[test]
    fn a_fault_is_named_by_its_place() {
        let json = declared().to_json();
        for (from, to, pointer) in [
            ("\"version\":1", "\"version\":2", "/version"),
            ("\"7\"", "7", "/lostBatches/0/batch"),
            ("\"batch\":\"7\"", "\"batch\":\"0\"", "/lostBatches/0/batch"),
            ("\"8\"", "\"0\"", "/gaps/0/lastSeq"),
            ("reason", "why", "/gaps/0/why"),
            ("0x03", "0x3", "/lostBatches/0/root"),
        ] {
            let error = Declared::parse(json.replacen(from, to, 1).as_bytes()).unwrap_err();
            assert_eq!(error.pointer, pointer, "{from} to {to}");
        }
    }

    #[test]
    fn lists_ascend() {
        let lost = |chain_id, batch| LostBatch {
            chain_id,
            batch,
            root: [3; 32],
        };
        let gap = |merchant, first_seq, last_seq| Gap {
            merchant: [merchant; 16],
            first_seq,
            last_seq,
            reason: String::new(),
        };
        for (lost_batches, gaps, fault) in [
            (
                vec![lost(2, 7), lost(1, 8)],
                vec![gap(1, 8, 9), gap(1, 10, 10), gap(2, 1, 1)],
                None,
            ),
            (vec![lost(2, 7), lost(1, 7)], vec![], Some("/lostBatches")),
            (vec![lost(1, 7), lost(1, 7)], vec![], Some("/lostBatches")),
            (vec![], vec![gap(1, 8, 9), gap(1, 9, 10)], Some("/gaps")),
            (vec![], vec![gap(2, 1, 1), gap(1, 8, 9)], Some("/gaps")),
        ] {
            let declared = Declared { lost_batches, gaps };
            let read = Declared::parse(declared.to_json().as_bytes());
            let found = read.err().map(|error| error.pointer);
            assert_eq!(found.as_deref(), fault, "{declared:?}");
        }
    }
}
