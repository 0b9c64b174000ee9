//! A whole batch in one file: enough to compute its anchored root anywhere.

use super::{Manifest, ManifestError, Mark, anchored_root, marks_hash};
use crate::{
    Hash,
    json::{Cursor, Fault, ParseError, parse},
    tree::{MAX_LEAVES, Tree},
};

/// The manifest, the marks and all leaves of a batch.
///
/// As JSON: `{"version": 1, "manifest": {…}, "marks": [{…}], "leaves": ["0x…"]}`, the structs'
/// fields by the names of [`super::MANIFEST_TYPE`] and [`super::MARK_TYPE`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchFile {
    /// What the batch says of itself.
    pub manifest: Manifest,
    /// A mark for each merchant with sales in it, ascending by merchant.
    pub marks: Vec<Mark>,
    /// All leaves, ascending.
    pub leaves: Vec<Hash>,
}

impl BatchFile {
    /// The most bytes that a file has: 2^20 leaves and as many marks take less.
    pub const MAX_JSON_BYTES: usize = 512 << 20;

    /// Reads a file, strictly. Whether its parts agree is for [`check`](BatchFile::check) to say.
    ///
    /// # Errors
    /// [`ParseError`] names the JSON pointer of the first fault.
    pub fn parse(json: &[u8]) -> Result<BatchFile, ParseError> {
        let json = parse(json, Self::MAX_JSON_BYTES)?;
        let root = Cursor::root(&json);
        let object = root.object(&["version", "manifest", "marks", "leaves"])?;
        let version = object.required("version")?;
        if version.number()? != "1" {
            return Err(version.fault(Fault::Value("a known version (1)")));
        }
        let marks = object.required("marks")?;
        let leaves = object.required("leaves")?;
        Ok(BatchFile {
            manifest: Manifest::read(&object.required("manifest")?)?,
            marks: marks
                .list(MAX_LEAVES)?
                .map(|mark| Mark::read(&mark))
                .collect::<Result<_, _>>()?,
            leaves: leaves
                .list(MAX_LEAVES)?
                .map(|leaf| leaf.hex())
                .collect::<Result<_, _>>()?,
        })
    }

    /// Computes everything again from the leaves up: the marks' hash, the tree, and the root that
    /// must be the anchored one, which is returned.
    ///
    /// # Errors
    /// [`ManifestError`] when the parts do not agree.
    pub fn check(&self) -> Result<Hash, ManifestError> {
        self.check_marks()?;
        let manifest = &self.manifest;
        if manifest.leaves != self.leaves.len() as u64 {
            let found = self.leaves.len();
            return Err(ManifestError::LeavesCount {
                stated: manifest.leaves,
                found,
            });
        }
        if let Some(index) = self.leaves.windows(2).position(|pair| pair[0] >= pair[1]) {
            return Err(ManifestError::LeavesOrder { index: index + 1 });
        }
        let tree = Tree::build(self.leaves.clone())
            .map_err(ManifestError::Tree)?
            .root();
        if manifest.tree != tree {
            return Err(ManifestError::TreeRoot {
                stated: manifest.tree,
                found: tree,
            });
        }
        Ok(anchored_root(&tree, &manifest.hash()))
    }

    fn check_marks(&self) -> Result<(), ManifestError> {
        let found = marks_hash(&self.marks)?;
        if found != self.manifest.marks {
            return Err(ManifestError::MarksHash {
                stated: self.manifest.marks,
                found,
            });
        }
        let mut covered = 0u128;
        for &Mark {
            merchant,
            first_seq: first,
            last_seq: last,
            ..
        } in &self.marks
        {
            if first == 0 || first > last {
                return Err(ManifestError::MarkRange {
                    merchant,
                    first,
                    last,
                });
            }
            covered += u128::from(last - first) + 1;
        }
        if covered != self.leaves.len() as u128 {
            return Err(ManifestError::MarksCount {
                covered,
                leaves: self.leaves.len(),
            });
        }
        Ok(())
    }
}
