//! Private services: a Postgres, a Redis and a local chain of one data directory.
//!
//! They serve demonstrations, development and tests. They outlive a process of ours that is
//! killed, and the next start on the same directory adopts them; a clean end stops them. Nothing
//! here is meant for production.
//!
//! # Layout
//! - [`Services`]: all three, started beside one another
//! - `service`: adopting, starting, waiting for and stopping any one of them
//! - `postgres`, `redis`, `anvil`: what differs between them
//! - [`payments`]: a payment provider, in this process
//! - `programs`: where their binaries are
//! - `process`: detached processes, and knowing one again
//! - `data_dir`: the directory, its lock and its secrets

mod anvil;
mod data_dir;
mod error;
pub mod payments;
mod postgres;
mod process;
mod programs;
mod redis;
mod service;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use error::DevError;

use data_dir::DataDir;
use programs::Programs;
use service::Running;

/// Where the services keep their data, and what the local chain is like.
#[derive(Debug, Clone)]
pub struct Options {
    /// Everything the services write is below this directory; it is made if it is missing.
    pub data_dir: PathBuf,
    /// Forget the chain of an earlier run and begin another from its genesis.
    pub reset_chain: bool,
    /// The local chain.
    pub chain: ChainOptions,
    /// Settings of Postgres in place of ours, `name=value`.
    pub postgres: Vec<String>,
}

/// What the local chain is like. Its accounts are the well-known ones of the phrase
/// "test test test test test test test test test test test junk".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainOptions {
    /// The time between two blocks, to the millisecond.
    pub block_time: Duration,
    /// The finalized block is twice as many blocks behind the latest.
    pub slots_in_an_epoch: u32,
    /// The chain's id (EIP-155).
    pub chain_id: u64,
    /// How many accounts hold 10,000 ether each.
    pub accounts: u32,
}

impl Default for ChainOptions {
    fn default() -> Self {
        Self {
            block_time: Duration::from_secs(1),
            slots_in_an_epoch: 1,
            chain_id: 31_337,
            accounts: 10,
        }
    }
}

/// The services of one data directory, all of them ready.
///
/// Dropped without [`Services::stop`] they go on running, and the next start adopts them.
#[derive(Debug)]
pub struct Services {
    data_dir: DataDir,
    postgres: Running<String>,
    redis: Option<Running<String>>,
    chain: Running<anvil::Chain>,
}

impl Services {
    /// Adopts the services that an earlier run on this data directory left behind, starts the
    /// others, and returns when all of them are ready.
    ///
    /// # Errors
    /// A binary that is missing, a data directory in use by another process, a service that does
    /// not become ready, or a chain whose state is lost. Each error says what to do next, and
    /// leaves no service running but one that was still busy when its time was up.
    pub async fn start(options: &Options) -> Result<Self, DevError> {
        let data_dir = DataDir::open(&options.data_dir)?;
        let programs = Programs::find()?;
        let redis = async {
            match &programs.redis_server {
                Some(program) => redis::start(&data_dir, program).await.map(Some),
                None => {
                    tracing::info!("there is no redis-server here, so none is started");
                    Ok(None)
                }
            }
        };
        let (postgres, redis, chain) = tokio::join!(
            postgres::start(&data_dir, &programs.postgres, &options.postgres),
            redis,
            anvil::start(
                &data_dir,
                &programs.anvil,
                &options.chain,
                options.reset_chain
            ),
        );
        match (postgres, redis, chain) {
            (Ok(postgres), Ok(redis), Ok(chain)) => Ok(Self {
                data_dir,
                postgres,
                redis,
                chain,
            }),
            (postgres, redis, chain) => Err(give_up(postgres, redis, chain).await),
        }
    }

    /// As [`Services::start`], in a directory of its own among the system's temporary files.
    /// Meant to end with [`Services::discard`].
    ///
    /// # Errors
    /// As [`Services::start`].
    pub async fn start_temporary(chain: ChainOptions) -> Result<Self, DevError> {
        Self::start(&Options {
            data_dir: data_dir::temporary()?,
            reset_chain: false,
            chain,
            postgres: Vec::new(),
        })
        .await
    }

    /// The database `counterfoil` on the private Postgres, as its superuser.
    #[must_use]
    pub fn database_url(&self) -> &str {
        &self.postgres.endpoint
    }

    /// The private Redis; `None` where there is no `redis-server`.
    #[must_use]
    pub fn redis_url(&self) -> Option<&str> {
        self.redis.as_ref().map(|redis| redis.endpoint.as_str())
    }

    /// The local chain's JSON-RPC address.
    #[must_use]
    pub fn rpc_url(&self) -> &str {
        &self.chain.endpoint.rpc_url
    }

    /// Whether this start began the chain at its genesis: nothing is deployed on it. `false` says
    /// less: a start that was killed before it returned may have begun the chain unseen.
    #[must_use]
    pub fn chain_is_new(&self) -> bool {
        self.chain.endpoint.is_new
    }

    /// The directory below which all of it is, as an absolute path.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        self.data_dir.path()
    }

    /// Stops all services. The data and the chain's state stay for the next start.
    ///
    /// # Errors
    /// A service that does not end in time, or a chain that ended without writing its state.
    pub async fn stop(self) -> Result<(), DevError> {
        stop_all(self.postgres, self.redis, self.chain).await
    }

    /// Stops all services and deletes what they stored.
    ///
    /// # Errors
    /// As [`Services::stop`], or a directory that cannot be deleted.
    pub async fn discard(self) -> Result<(), DevError> {
        stop_all(self.postgres, self.redis, self.chain).await?;
        self.data_dir.delete()
    }
}

async fn stop_all(
    postgres: Running<String>,
    redis: Option<Running<String>>,
    chain: Running<anvil::Chain>,
) -> Result<(), DevError> {
    let redis = async {
        match redis {
            Some(redis) => redis::stop(redis).await,
            None => Ok(()),
        }
    };
    // each is told to end, whatever comes of the others
    let (postgres, redis, chain) =
        tokio::join!(postgres::stop(postgres), redis, anvil::stop(chain));
    postgres.and(redis).and(chain)
}

/// Stops what did start, and returns why the rest did not.
async fn give_up(
    postgres: Result<Running<String>, DevError>,
    redis: Result<Option<Running<String>>, DevError>,
    chain: Result<Running<anvil::Chain>, DevError>,
) -> DevError {
    let mut reasons = Vec::new();
    match postgres {
        Ok(running) => reasons.extend(postgres::stop(running).await.err()),
        Err(reason) => reasons.insert(0, reason),
    }
    match redis {
        Ok(Some(running)) => reasons.extend(redis::stop(running).await.err()),
        Ok(None) => {}
        Err(reason) => reasons.insert(0, reason),
    }
    match chain {
        Ok(running) => reasons.extend(anvil::stop(running).await.err()),
        Err(reason) => reasons.insert(0, reason),
    }
    if reasons.len() == 1 {
        reasons.remove(0)
    } else {
        DevError::Several(reasons)
    }
}
