//! Where the services' programs are on this machine.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::DevError;

/// Directories of Postgres' programs outside of `PATH`, a `*` standing for a version:
/// Debian and Ubuntu, Red Hat, Homebrew on both kinds of Mac, Postgres.app.
const POSTGRES_DIRECTORIES: [&str; 5] = [
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
];

/// All programs that were found.
#[derive(Debug)]
pub(super) struct Programs {
    /// At least one, the preferred first.
    pub(super) postgres: Vec<PostgresPrograms>,
    pub(super) redis_server: Option<PathBuf>,
    pub(super) anvil: PathBuf,
}

/// The programs of one installed Postgres.
#[derive(Debug)]
pub(super) struct PostgresPrograms {
    /// Its major version, e.g. "15".
    pub(super) version: String,
    pub(super) initdb: PathBuf,
    pub(super) postgres: PathBuf,
}

impl Programs {
    /// Looks for all of them, so that what is missing is told at once.
    pub(super) fn find() -> Result<Self, DevError> {
        let postgres = postgres();
        let anvil = anvil();
        let mut missing = Vec::new();
        if postgres.is_empty() {
            missing.push(
                "- Postgres (initdb and postgres): apt-get install postgresql, or \
                 brew install postgresql"
                    .to_owned(),
            );
        }
        if anvil.is_none() {
            missing.push(
                "- anvil, the local chain: npm ci --ignore-scripts in the project's directory \
                 contracts, or COUNTERFOIL_ANVIL=<path of the program>"
                    .to_owned(),
            );
        }
        match anvil {
            Some(anvil) if missing.is_empty() => Ok(Self {
                postgres,
                redis_server: on_path("redis-server").next(),
                anvil,
            }),
            _ => Err(DevError::Missing(missing)),
        }
    }
}

fn postgres() -> Vec<PostgresPrograms> {
    let usual = POSTGRES_DIRECTORIES
        .iter()
        .flat_map(|pattern| versions_of(pattern))
        .map(|directory| directory.join("initdb"));
    on_path("initdb")
        .chain(usual)
        .filter_map(|initdb| {
            // beside the program itself, should the one on PATH be a link to it
            let initdb = initdb.canonicalize().ok()?;
            let postgres = initdb.with_file_name("postgres");
            let version = version_of(&postgres)?;
            Some(PostgresPrograms {
                version,
                initdb,
                postgres,
            })
        })
        .collect()
}

/// The major version in "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)".
fn version_of(postgres: &Path) -> Option<String> {
    let output = Command::new(postgres).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let number = text.split_once("(PostgreSQL) ")?.1;
    let major: String = number.chars().take_while(char::is_ascii_digit).collect();
    Some(major).filter(|major| !major.is_empty())
}

/// The directories that match a pattern with one `*`, the newest version first.
fn versions_of(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else {
        return Vec::new();
    };
    let (parent, prefix) = before.rsplit_once('/').unwrap_or(("", before));
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir(parent)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version = entry
                .file_name()
                .to_str()?
                .strip_prefix(prefix)?
                .parse()
                .ok()?;
            let directory = entry.path().join(after.trim_start_matches('/'));
            directory.is_dir().then_some((version, directory))
        })
        .collect();
    found.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    found.into_iter().map(|(_, directory)| directory).collect()
}

/// `COUNTERFOIL_ANVIL`, else `PATH`, else what `npm ci` put into the project's contracts.
fn anvil() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("COUNTERFOIL_ANVIL").map(PathBuf::from) {
        return is_program(&path).then(|| path.canonicalize().ok())?;
    }
    let inside = Path::new("contracts/node_modules/@foundry-rs")
        .join(format!("anvil-{}", npm_platform()?))
        .join("bin/anvil");
    let here = std::env::current_dir().unwrap_or_default();
    // npm's own `anvil` is a script that starts the program: another process than the one we
    // would signal
    on_path("anvil").find(|path| !is_script(path)).or_else(|| {
        here.ancestors()
            .chain([Path::new(env!("CARGO_MANIFEST_DIR"))])
            .map(|project| project.join(&inside))
            .find(|path| is_program(path))
    })
}

/// How the npm package with the program names this platform.
fn npm_platform() -> Option<&'static str> {
    match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => Some("linux-amd64"),
        ("linux", "aarch64") => Some("linux-arm64"),
        ("macos", "x86_64") => Some("darwin-amd64"),
        ("macos", "aarch64") => Some("darwin-arm64"),
        _ => None,
    }
}

fn on_path(name: &str) -> impl Iterator<Item = PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|directory| directory.join(OsStr::new(name)))
        .filter(|program| is_program(program))
        .collect::<Vec<_>>()
        .into_iter()
}

fn is_program(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

fn is_script(path: &Path) -> bool {
    let mut start = [0; 2];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut start));
    read.is_err() || start == *b"#!"
}
