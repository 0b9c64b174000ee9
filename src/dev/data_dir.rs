//! The directory of one set of services: its lock, its permissions and its secrets.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::DevError;

/// A data directory that is this process's alone for as long as the value lives.
#[derive(Debug)]
pub(super) struct DataDir {
    path: PathBuf,
    /// Held, not read: the system gives it up with the process, however that ends.
    _lock: File,
}

impl DataDir {
    pub(super) fn open(path: &Path) -> Result<Self, DevError> {
        make(path)?;
        // absolute and free of links, as the system names it in what it tells of a process
        let path = path.canonicalize().map_err(DevError::io("find", path))?;
        let lock = lock(&path)?;
        Ok(Self { path, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// A directory below, for one service; readable by nobody else.
    pub(super) fn subdirectory(&self, name: &str) -> Result<PathBuf, DevError> {
        let path = self.join(name);
        make_private(&path)?;
        Ok(path)
    }

    /// The password kept in the file `name`, made at random the first time it is asked for.
    pub(super) fn password(&self, name: &str) -> Result<String, DevError> {
        let path = self.join(name);
        match fs::read_to_string(&path) {
            Ok(password) => Ok(password),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let password = random_hex::<32>()?;
                write_secret(&path, &password)?;
                Ok(password)
            }
            Err(error) => Err(DevError::io("read", &path)(error)),
        }
    }

    pub(super) fn delete(self) -> Result<(), DevError> {
        let cluster = self.join(super::postgres::CLUSTER);
        // a cluster kept elsewhere is a link here
        if let Ok(elsewhere) = fs::read_link(&cluster) {
            fs::remove_dir_all(&elsewhere).map_err(DevError::io("delete", &elsewhere))?;
        }
        fs::remove_dir_all(&self.path).map_err(DevError::io("delete", &self.path))
    }
}

/// A new, empty data directory among the system's temporary files.
pub(super) fn temporary() -> Result<PathBuf, DevError> {
    let path = std::env::temp_dir().join(format!("counterfoil-{}", random_hex::<8>()?));
    DirBuilder::new()
        .mode(0o700)
        .create(&path)
        .map_err(DevError::io("make the directory", &path))?;
    Ok(path)
}

/// A directory that nobody else reads, made if it is missing.
pub(super) fn make_private(path: &Path) -> Result<(), DevError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(DevError::io("make the directory", path))
}

/// Writes a file that only its owner reads, whole or not at all.
pub(super) fn write_secret(path: &Path, content: &str) -> Result<(), DevError> {
    let unfinished = path.with_extension("unfinished");
    let _ = fs::remove_file(&unfinished);
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&unfinished)
        .and_then(|mut file| file.write_all(content.as_bytes()))
        .and_then(|()| fs::rename(&unfinished, path))
        .map_err(DevError::io("write", path))
}

/// `N` bytes from the system's generator, as hex.
pub(super) fn random_hex<const N: usize>() -> Result<String, DevError> {
    let source = Path::new("/dev/urandom");
    let mut bytes = [0; N];
    File::open(source)
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(DevError::io("read", source))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn make(path: &Path) -> Result<(), DevError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(DevError::io("make the directory", path))?;
    // As root, Postgres runs as another user, who has to pass through. That shows nothing: each
    // file below is its owner's alone. A directory with content may be somebody's home: hands off.
    let is_empty = fs::read_dir(path)
        .map_err(DevError::io("read", path))?
        .next()
        .is_none();
    if rustix::process::geteuid().is_root() && is_empty {
        fs::set_permissions(path, Permissions::from_mode(0o711))
            .map_err(DevError::io("set the permissions of", path))?;
    }
    Ok(())
}

fn lock(data_dir: &Path) -> Result<File, DevError> {
    let path = data_dir.join("lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(DevError::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let _ = file.read_to_string(&mut pid);
            return Err(DevError::InUse {
                data_dir: data_dir.to_owned(),
                pid: Some(pid).filter(|pid| !pid.is_empty()),
            });
        }
        Err(TryLockError::Error(error)) => return Err(DevError::io("lock", &path)(error)),
    }
    file.set_len(0)
        .and_then(|()| write!(file, "{}", std::process::id()))
        .map_err(DevError::io("write", &path))?;
    Ok(file)
}
