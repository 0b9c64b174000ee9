//! The file of an archive: JSON Lines, the finalized receipts of a month, ordered by merchant and sale
//! id, with nothing before, between or after them but the ends of the lines.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use counterfoil_proofs::receipt::{MAX_BYTES, Receipt};
use sha2::{Digest, Sha256};

/// Writes an archive. It has its name once it is whole and on disk, and not before.
#[derive(Debug)]
pub struct Writing {
    out: BufWriter<File>,
    unfinished: PathBuf,
    path: PathBuf,
}

impl Writing {
    /// Begins the file `path`; what an earlier try left unfinished is overwritten.
    ///
    /// # Errors
    /// The file system's.
    pub fn begin(path: &Path) -> std::io::Result<Self> {
        let unfinished = path.with_added_extension("unfinished");
        Ok(Self {
            out: BufWriter::new(File::create(&unfinished)?),
            unfinished,
            path: path.to_owned(),
        })
    }

    /// Adds a receipt.
    ///
    /// # Errors
    /// The file system's.
    pub fn add(&mut self, receipt: &Receipt) -> std::io::Result<()> {
        self.out.write_all(receipt.to_json().as_bytes())?;
        self.out.write_all(b"\n")
    }

    /// Waits until it is on disk, and gives it its name.
    ///
    /// # Errors
    /// The file system's.
    pub fn finish(self) -> std::io::Result<()> {
        let file = self.out.into_inner().map_err(|error| error.into_error())?;
        file.sync_all()?;
        fs::rename(&self.unfinished, &self.path)?;
        let directory = self
            .path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
    }
}

/// A receipt of an archive, and where it stands in the file.
#[derive(Debug)]
pub struct Entry {
    /// The line's first byte.
    pub position: u64,
    /// Its length without its end.
    pub length: usize,
    /// What it says.
    pub receipt: Receipt,
}

/// What was read of a file so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sum {
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of its bytes.
    pub sha256: [u8; 32],
}

/// Reads an archive from its beginning to its end.
#[derive(Debug)]
pub struct Reading {
    lines: BufReader<File>,
    bytes: u64,
    hash: Sha256,
}

impl Reading {
    /// Begins.
    ///
    /// # Errors
    /// The file system's.
    pub fn begin(path: &Path) -> std::io::Result<Self> {
        Ok(Self {
            lines: BufReader::with_capacity(1 << 16, File::open(path)?),
            bytes: 0,
            hash: Sha256::new(),
        })
    }

    /// The next receipt; none at the end.
    ///
    /// # Errors
    /// The file system's; a line that is no receipt, or has no end.
    pub fn entry(&mut self) -> std::io::Result<Option<Entry>> {
        let mut line = Vec::new();
        let read = (&mut self.lines)
            .take(MAX_BYTES as u64 + 1)
            .read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(None);
        }
        self.hash.update(&line);
        let position = self.bytes;
        self.bytes += read as u64;
        let receipt = line
            .strip_suffix(b"\n")
            .and_then(|line| Receipt::parse(line).ok());
        let receipt = receipt.ok_or_else(|| {
            let what = format!("what begins at byte {position} is no line with a receipt");
            std::io::Error::new(std::io::ErrorKind::InvalidData, what)
        })?;
        Ok(Some(Entry {
            position,
            length: read - 1,
            receipt,
        }))
    }

    /// Of all that was read.
    pub fn sum(self) -> Sum {
        Sum {
            bytes: self.bytes,
            sha256: self.hash.finalize().into(),
        }
    }
}
