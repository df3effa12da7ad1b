//! The `[[workers]]` of a world: processes that start, are watched and stop with it.
//!
//! Responsible for: as many as are wanted, starting them with what they need to attach, restarting one that dies,
//! showing what they print, draining and stopping them, and that none outlives the server.
//! Not responsible for: what workers do once attached, finding out how many are needed.
//!
//! # What a worker finds
//! `SPATIALDB_ADDRESS`, `SPATIALDB_WORKER_TYPE`, `SPATIALDB_WORKER_NAME` and `SPATIALDB_TOKEN` in its environment,
//! and `SPATIALDB_CA` where the server has TLS;
//! the folder of the `spatialdb` program first in `PATH`; nothing on stdin. It is in a process group of its
//! own, so that ctrl-c reaches the server alone, which then stops the workers in order.
//!
//! # How many
//! The server says over [`ServerLink`] how many of each worker type are wanted; `demand` shares that out over the
//! tables, `level` lets it fall late, `scale` decides who comes and goes, `fleet` does it, with a `process` for each.
//! A process whose name is held by a worker that was started by hand stays stopped as long (`occupied`).
//!
//! # When the server dies
//! One small `spatialdb guard` process holds the other end of a pipe. However the server ends, the pipe
//! closes, and the guard ends the groups that are left. Workers need not take part in it.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::WorkerConfig;

mod demand;
mod fleet;
mod guard;
mod held;
mod level;
mod link;
mod occupied;
mod output;
mod process;
mod restart;
mod scale;

pub use demand::Demand;
pub use guard::run as run_guard;
pub use held::{Held, Holder};
pub use link::{Drain, DrainRequest, Drained, ServerLink, SupervisorLink, WorkerCount, drain_nothing, link};
pub use output::{LineSink, log_lines, print_lines};
pub use restart::RestartPolicy;

use fleet::Fleet;
use guard::Guard;

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
    /// How the server frees one that has to go of what it works on.
    pub drain: Drain,
}

/// The running workers of one world.
pub struct Supervisor {
    // One task, or none. Dropping it ends that and the processes with it.
    fleet: JoinSet<()>,
    stop: CancellationToken,
}

impl Supervisor {
    /// Starts as many workers as are wanted, and follows what is wanted from then on. Must be called inside a tokio
    /// runtime.
    ///
    /// A worker that cannot be started is reported in the log and does not stop the others.
    ///
    /// # Errors
    /// The guard cannot be started.
    pub fn start(
        configs: &[WorkerConfig],
        options: SupervisorOptions,
        link: SupervisorLink,
    ) -> io::Result<Self> {
        let stop = CancellationToken::new();
        let mut fleet = JoinSet::new();
        if configs.iter().any(|config| config.max > 0) {
            let guard = Guard::start(&options.program)?;
            fleet.spawn(Fleet::new(configs, options, guard, link, stop.clone()).run());
        }
        Ok(Self { fleet, stop })
    }

    /// Stops every worker: SIGTERM, then SIGKILL to one that takes longer than its `stop_timeout`. None is drained: there
    /// is nobody left to hand over to.
    ///
    /// # Cancel safety
    /// Not: a caller that gives up leaves the rest to the guard.
    pub async fn stop(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.fleet.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "the task that watches workers failed");
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
