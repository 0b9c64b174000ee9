//! The file that a provider's state is in: a line for each change, written and synced before anybody hears
//! of the change.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::book::Row;
use crate::dev::DevError;

/// Lines that are synced together at most.
const TOGETHER: usize = 1024;
/// How often, and how many times, a file is tried for that another one still has.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(100);

/// A change on its way into the file.
struct Entry {
    line: Vec<u8>,
    written: oneshot::Sender<()>,
}

/// The file's end. Dropped, the file is closed once all that was given is in it.
#[derive(Debug)]
pub(super) struct Journal(mpsc::Sender<Entry>);

/// A change that could not be written: nobody may be told of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct NotWritten;

impl Journal {
    /// The journal at `path`, and all changes in it. What a kill left of a last line is cut off.
    pub(super) async fn open(path: &Path) -> Result<(Self, Vec<Vec<Row>>), DevError> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(DevError::io("open", path))?;
        lock(&file, path).await?;
        let changes = read(&mut file).map_err(DevError::io("read", path))?;
        let (sender, receiver) = mpsc::channel();
        std::thread::Builder::new()
            .name("payments-journal".to_owned())
            .spawn(move || keep(file, &receiver))
            .map_err(DevError::io("write", path))?;
        Ok((Self(sender), changes))
    }

    /// Takes a change; the order of calls is the order in the file. What is awaited afterwards is that it,
    /// and all before it, are there. A change of nothing waits for those before it alone.
    pub(super) fn append(
        &self,
        rows: &[Row],
    ) -> impl Future<Output = Result<(), NotWritten>> + use<> {
        let line = if rows.is_empty() {
            Ok(Vec::new())
        } else {
            serde_json::to_vec(rows)
        };
        let (written, done) = oneshot::channel();
        if let Ok(line) = line {
            // the thread has ended: then nobody tells `written`
            let _ = self.0.send(Entry { line, written });
        }
        async move { done.await.map_err(|_| NotWritten) }
    }
}

async fn lock(file: &File, path: &Path) -> Result<(), DevError> {
    for _ in 0..TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) => tokio::time::sleep(PAUSE).await,
            Err(TryLockError::Error(error)) => return Err(DevError::io("lock", path)(error)),
        }
    }
    Err(DevError::InUse {
        data_dir: path.to_owned(),
        pid: None,
    })
}

fn read(file: &mut File) -> io::Result<Vec<Vec<Row>>> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let whole = bytes
        .iter()
        .rposition(|&byte| byte == b'\n')
        .map_or(0, |at| at + 1);
    file.set_len(u64::try_from(whole).map_err(io::Error::other)?)?;
    file.seek(SeekFrom::End(0))?;
    bytes[..whole]
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).map_err(io::Error::other))
        .collect()
}

/// Writes what comes until nobody can send any more.
fn keep(mut file: File, entries: &mpsc::Receiver<Entry>) {
    while let Ok(first) = entries.recv() {
        let mut lines = Vec::new();
        let mut waiting = Vec::new();
        for mut entry in std::iter::once(first).chain(entries.try_iter().take(TOGETHER)) {
            if !entry.line.is_empty() {
                lines.append(&mut entry.line);
                lines.push(b'\n');
            }
            waiting.push(entry.written);
        }
        if !lines.is_empty()
            && let Err(error) = file.write_all(&lines).and_then(|()| file.sync_data())
        {
            // what is in the file now is not known, so nothing more is written into it
            tracing::error!(error = %error, "the local payment provider cannot write its file");
            return;
        }
        for written in waiting {
            // who asked may be gone
            let _ = written.send(());
        }
    }
}
