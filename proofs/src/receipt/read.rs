//! Reading a receipt, strictly.

use super::{
    Anchor, AnchorState, BatchRef, Block, MAX_ANCHORS, MAX_BYTES, MAX_URL_BYTES, Receipt, Version,
};
use crate::{
    json::{Cursor, Fault, ParseError, parse},
    leaf::Sale,
    verify::MAX_SIBLINGS,
};

impl Receipt {
    /// Reads a receipt. Unknown, missing and repeated fields, nulls, other lengths, leading zeros
    /// and upper-case hex are errors, and so is more than a format allows of anything.
    ///
    /// # Errors
    /// [`ParseError`] names the JSON pointer of the first fault.
    pub fn parse(json: &[u8]) -> Result<Receipt, ParseError> {
        let json = parse(json, MAX_BYTES)?;
        let root = Cursor::root(&json);
        let object = root.object(&["version", "sale", "details", "proof", "batch", "anchors"])?;
        let version = object.required("version")?;
        if version.number()? != "1" {
            return Err(version.fault(Fault::Value("a known version (1)")));
        }
        let proof = object.required("proof")?;
        let batch = object.optional("batch");
        let sealed = batch.is_some();
        let receipt = Receipt {
            version: Version::V1,
            sale: Sale::read(&object.required("sale")?)?,
            details: object
                .optional("details")
                .map(|at| at.string().map(str::to_owned))
                .transpose()?,
            proof: proof
                .list(MAX_SIBLINGS)?
                .map(|at| at.hex())
                .collect::<Result<_, _>>()?,
            batch: batch.map(|at| BatchRef::read(&at)).transpose()?,
            anchors: match object.optional("anchors") {
                Some(at) if !sealed => {
                    return Err(at.fault(Fault::Value("allowed before there is a batch")));
                }
                None if sealed => return Err(object.missing("anchors")),
                None => Vec::new(),
                Some(at) => at
                    .list(MAX_ANCHORS)?
                    .map(|at| Anchor::read(&at))
                    .collect::<Result<_, _>>()?,
            },
        };
        match (sealed, receipt.proof.is_empty()) {
            (true, true) => {
                Err(proof.fault(Fault::Value("a list of siblings, though there is a batch")))
            }
            (false, false) => Err(proof.fault(Fault::Value("allowed before there is a batch"))),
            _ => Ok(receipt),
        }
    }
}

impl BatchRef {
    fn read(at: &Cursor<'_>) -> Result<BatchRef, ParseError> {
        let object = at.object(&["id", "root", "sealed_at"])?;
        Ok(BatchRef {
            id: object.required("id")?.decimal()?,
            root: object.required("root")?.hex()?,
            sealed_at: object.required("sealed_at")?.parsed(str::parse)?,
        })
    }
}

impl Anchor {
    fn read(at: &Cursor<'_>) -> Result<Anchor, ParseError> {
        let object = at.object(&["registry", "tx", "block", "state", "explorer_url"])?;
        Ok(Anchor {
            registry: object.required("registry")?.parsed(str::parse)?,
            tx: object.optional("tx").map(|at| at.hex()).transpose()?,
            block: object
                .optional("block")
                .map(|at| Block::read(&at))
                .transpose()?,
            state: object.required("state")?.parsed(read_state)?,
            explorer_url: object
                .optional("explorer_url")
                .map(|at| at.parsed(read_url))
                .transpose()?,
        })
    }
}

impl Block {
    fn read(at: &Cursor<'_>) -> Result<Block, ParseError> {
        let object = at.object(&["number", "hash", "time"])?;
        Ok(Block {
            number: object.required("number")?.decimal()?,
            hash: object.required("hash")?.hex()?,
            time: object.required("time")?.parsed(str::parse)?,
        })
    }
}

fn read_state(text: &str) -> Result<AnchorState, Fault> {
    let state = AnchorState::ALL
        .into_iter()
        .find(|state| state.as_str() == text);
    state.ok_or(Fault::Value("sealed, submitted, mined or finalized"))
}

/// A page may show the URL as a link, so no scheme that runs anything gets through.
fn read_url(text: &str) -> Result<String, Fault> {
    let web = text.starts_with("https://") || text.starts_with("http://");
    let visible = text.bytes().all(|c| c.is_ascii_graphic());
    if web && visible && text.len() <= MAX_URL_BYTES {
        Ok(text.to_owned())
    } else {
        Err(Fault::Value(
            "an http or https URL of at most 2048 visible ASCII characters",
        ))
    }
}
