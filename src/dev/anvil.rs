//! The local chain: Foundry's anvil on a loopback port, its state kept over a clean stop.
//!
//! anvil writes its state when it is stopped and not when it is killed. A chain that went back
//! to an older state would contradict what was read as final on it, so a state is used once:
//! with a chain that has no state any more the answer is [`DevError::ChainLost`].

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use super::data_dir::{DataDir, write_secret};
use super::process::{Identity, Process, with_pid_file};
use super::service::{self, Running, Service};
use super::{ChainOptions, DevError};

/// How long it may take until it listens; loading the state of a long chain takes its time.
const START_LIMIT: Duration = Duration::from_secs(60);
/// What it writes when it is stopped.
const STATE: &str = "state.json";
/// A written state from the moment a new process loads it until that process is ready.
const LOADING: &str = "loading.json";
/// What the chain was begun with. Its presence says that somebody may rely on the chain.
const RECORD: &str = "chain.json";
/// States of old blocks kept on disk, each of up to a megabyte.
const OLD_STATES: &str = "100";

/// The endpoint of the local chain.
#[derive(Debug)]
pub(super) struct Chain {
    pub(super) rpc_url: String,
    pub(super) is_new: bool,
    /// Where its state has to be once it is stopped.
    state: PathBuf,
    log: PathBuf,
}

/// The options that a chain was begun or last started with.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    chain_id: u64,
    accounts: u32,
    slots_in_an_epoch: u32,
    block_time_ms: u64,
}

/// Adopts or starts the chain of a data directory, or begins one.
pub(super) async fn start(
    data_dir: &DataDir,
    program: &Path,
    options: &ChainOptions,
    reset: bool,
) -> Result<Running<Chain>, DevError> {
    let directory = data_dir.subdirectory("chain")?;
    let record = Record::read(&directory.join(RECORD))?.filter(|_| !reset);
    let anvil = Anvil {
        program,
        pid_file: directory.join("anvil.pid"),
        log: data_dir.join("chain.log"),
        is_new: record.is_none(),
        data_dir: data_dir.path().to_owned(),
        options: Record::from(options),
        directory,
    };
    match record {
        None => anvil.forget().await?,
        Some(record) => anvil.resume(&record).await?,
    }
    let running = service::adopt_or_start(&anvil).await?;

    // From here on others use the chain: the state it came from is the past.
    remove_file(&anvil.directory.join(LOADING))?;
    anvil.options.write(&anvil.directory.join(RECORD))?;
    Ok(running)
}

/// Stops the chain and makes sure that its state was written.
pub(super) async fn stop(mut running: Running<Chain>) -> Result<(), DevError> {
    service::stop(Anvil::NAME, &mut running.process, Signal::TERM).await?;
    let chain = running.endpoint;
    fs::metadata(&chain.state)
        .map(drop)
        .map_err(|_| DevError::ChainNotSaved { log: chain.log })
}

struct Anvil<'a> {
    program: &'a Path,
    data_dir: PathBuf,
    directory: PathBuf,
    pid_file: PathBuf,
    log: PathBuf,
    options: Record,
    is_new: bool,
}

impl Anvil<'_> {
    /// Removes every trace of a chain: of one to be reset, or of one whose first start was
    /// killed before anybody was told of it.
    async fn forget(&self) -> Result<(), DevError> {
        if let Some(mut process) = service::find(self) {
            service::stop(Self::NAME, &mut process, Signal::KILL).await?;
        }
        // the record last: a reset that is killed half-way is then still one to be repeated
        for name in [STATE, LOADING, RECORD] {
            remove_file(&self.directory.join(name))?;
        }
        Ok(())
    }

    /// Makes sure that a process left behind has the options that are asked for.
    async fn resume(&self, had: &Record) -> Result<(), DevError> {
        if (had.chain_id, had.accounts) != (self.options.chain_id, self.options.accounts) {
            return Err(DevError::ChainDiffers {
                data_dir: self.data_dir.clone(),
                had: had.to_string(),
                wanted: self.options.to_string(),
            });
        }
        match service::find(self) {
            Some(mut process) if *had != self.options => {
                service::stop(Self::NAME, &mut process, Signal::TERM).await
            }
            _ => Ok(()),
        }
    }

    /// The state to begin with, if this is not a new chain.
    fn claim_state(&self) -> Result<Option<&'static str>, DevError> {
        if self.is_new {
            return Ok(None);
        }
        let (state, loading) = (self.directory.join(STATE), self.directory.join(LOADING));
        if state.exists() {
            fs::rename(&state, &loading).map_err(DevError::io("rename", &state))?;
        }
        if !loading.exists() {
            return Err(DevError::ChainLost {
                data_dir: self.data_dir.clone(),
            });
        }
        Ok(Some(LOADING))
    }

    /// A loaded chain has the state of its last block and of no older one: before so many more,
    /// what is asked about the finalized block has no answer.
    fn blocks_until_final(&self) -> u32 {
        2 * self.options.slots_in_an_epoch
    }

    /// A process that was killed leaves them behind.
    fn remove_old_states(&self) -> Result<(), DevError> {
        let old_states = self.directory.join("cache");
        if old_states.exists() {
            fs::remove_dir_all(&old_states).map_err(DevError::io("delete", &old_states))?;
        }
        Ok(())
    }
}

impl Service for Anvil<'_> {
    const NAME: &'static str = "the local chain (anvil)";
    const ADVICE: &'static str =
        "if its state cannot be loaded, --reset-chain begins another chain";
    type Endpoint = Chain;

    fn identity(&self) -> Identity {
        Identity {
            program: "anvil",
            directory: self.directory.clone(),
        }
    }

    fn pid_file(&self) -> &Path {
        &self.pid_file
    }

    fn log(&self) -> &Path {
        &self.log
    }

    fn start_limit(&self) -> Duration {
        START_LIMIT + Duration::from_millis(self.options.block_time_ms) * self.blocks_until_final()
    }

    fn launch(&self) -> Result<Process, DevError> {
        let state = self.claim_state()?;
        self.remove_old_states()?;
        let mut command = with_pid_file(self.program, &self.pid_file);
        // it takes a free port itself and tells which
        command.args(["--host", "127.0.0.1", "--port", "0"]);
        command.args(["--dump-state", STATE, "--cache-path", "cache"]);
        command.args(["--max-persisted-states", OLD_STATES]);
        if let Some(state) = state {
            command.args(["--load-state", state]);
        }
        self.options.add_to(&mut command);
        Process::detach(command, self.identity(), &self.log)
    }

    fn endpoint(&self, _pid: i32) -> Option<Chain> {
        let log = fs::read_to_string(&self.log).ok()?;
        let address = log
            .lines()
            .find_map(|line| line.strip_prefix("Listening on "))?;
        let mined = log.matches("Block Number: ").count();
        let is_ready =
            !self.directory.join(LOADING).exists() || mined >= self.blocks_until_final() as usize;
        is_ready.then(|| Chain {
            rpc_url: format!("http://{}", address.trim()),
            is_new: self.is_new,
            state: self.directory.join(STATE),
            log: self.log.clone(),
        })
    }
}

impl Record {
    fn read(path: &Path) -> Result<Option<Self>, DevError> {
        match fs::read(path) {
            Ok(json) => serde_json::from_slice(&json)
                .map(Some)
                .map_err(|error| DevError::io("read", path)(error.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(DevError::io("read", path)(error)),
        }
    }

    fn write(&self, path: &Path) -> Result<(), DevError> {
        let json = serde_json::to_string(self)
            .map_err(|error| DevError::io("write", path)(error.into()))?;
        write_secret(path, &json)
    }

    fn add_to(&self, command: &mut Command) {
        command
            .args(["--chain-id", &self.chain_id.to_string()])
            .args(["--accounts", &self.accounts.to_string()])
            .args(["--slots-in-an-epoch", &self.slots_in_an_epoch.to_string()])
            .args(["--block-time", &seconds(self.block_time_ms)]);
    }
}

impl From<&ChainOptions> for Record {
    fn from(options: &ChainOptions) -> Self {
        Self {
            chain_id: options.chain_id,
            accounts: options.accounts,
            slots_in_an_epoch: options.slots_in_an_epoch,
            block_time_ms: u64::try_from(options.block_time.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

impl fmt::Display for Record {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "chain {} with {} accounts",
            self.chain_id, self.accounts
        )
    }
}

/// Milliseconds as decimal seconds.
fn seconds(milliseconds: u64) -> String {
    format!("{}.{:03}", milliseconds / 1000, milliseconds % 1000)
}

fn remove_file(path: &Path) -> Result<(), DevError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(DevError::io("delete", path)(error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn a_block_time_keeps_its_milliseconds() {
        for (milliseconds, expected) in [(1000, "1.000"), (50, "0.050"), (12_345, "12.345")] {
            assert_eq!(seconds(milliseconds), expected);
        }
    }
}
