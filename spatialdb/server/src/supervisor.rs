//! The `[[workers]]` of a world: processes that start, are watched and stop with it.
//!
//! Responsible for: starting them with what they need to attach, restarting one that dies, showing what they
//! print, stopping them, and that none outlives the server.
//! Not responsible for: what workers do once attached, how many are needed.
//!
//! # What a worker finds
//! `SPATIALDB_ADDRESS`, `SPATIALDB_WORKER_TYPE`, `SPATIALDB_WORKER_NAME` and `SPATIALDB_TOKEN` in its environment,
//! and `SPATIALDB_CA` where the server has TLS;
//! the folder of the `spatialdb` program first in `PATH`; nothing on stdin. It is in a process group of its
//! own, so that ctrl-c reaches the server alone, which then stops the workers in order.
//!
//! # When the server dies
//! One small `spatialdb guard` process holds the other end of a pipe. However the server ends, the pipe
//! closes, and the guard ends the groups that are left. Workers need not take part in it.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::WorkerConfig;

mod guard;
mod output;
mod process;

pub use guard::run as run_guard;
pub use output::{LineSink, log_lines, print_lines};

use guard::Guard;
use process::Worker;

/// What all workers of a world share.
pub struct SupervisorOptions {
    /// Where the world serves.
    pub address: SocketAddr,
    /// What workers show to be let in, by worker type.
    pub tokens: BTreeMap<String, String>,
    /// The certificates that workers trust, where the server has TLS.
    pub ca: Option<PathBuf>,
    /// The `spatialdb` program, for its `guard` command and for the `PATH` of workers.
    pub program: PathBuf,
    /// Where lines of workers go.
    pub sink: LineSink,
    /// When to restart and when to give up.
    pub restart: RestartPolicy,
}

/// When a worker that ended is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartPolicy {
    /// One that fails sooner than this after its start failed at start.
    pub quick: Duration,
    /// After so many failures at start in a row it stays stopped.
    pub quick_failures_max: u32,
    /// The first pause before a restart; it doubles with each one in a row.
    pub pause_first: Duration,
    /// The longest pause.
    pub pause_max: Duration,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self {
            quick: Duration::from_secs(2),
            quick_failures_max: 5,
            pause_first: Duration::from_millis(250),
            pause_max: Duration::from_secs(10),
        }
    }
}

/// The running workers of one world.
pub struct Supervisor {
    workers: JoinSet<()>,
    stop: CancellationToken,
}

impl Supervisor {
    /// Starts every worker. Must be called inside a tokio runtime.
    ///
    /// A worker that cannot be started is reported in the log and does not stop the others.
    ///
    /// # Errors
    /// The guard cannot be started.
    pub fn start(configs: &[WorkerConfig], options: SupervisorOptions) -> io::Result<Self> {
        let stop = CancellationToken::new();
        let mut workers = JoinSet::new();
        if configs.iter().all(|config| config.count == 0) {
            return Ok(Self { workers, stop });
        }
        let guard = Arc::new(Guard::start(&options.program)?);
        let options = Arc::new(options);
        for config in configs {
            for name in config.process_names() {
                let worker = Worker::new(name, config.clone(), options.clone(), guard.clone());
                workers.spawn(worker.run(stop.clone()));
            }
        }
        Ok(Self { workers, stop })
    }

    /// Stops every worker: SIGTERM, then SIGKILL to one that takes longer than its `stop_timeout`.
    ///
    /// # Cancel safety
    /// Not: a caller that gives up leaves the rest to the guard.
    pub async fn stop(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.workers.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a task that watches a worker failed");
            }
        }
    }
}

/// Where a worker on this machine reaches a server that listens on `listen`.
pub fn local_address(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}
