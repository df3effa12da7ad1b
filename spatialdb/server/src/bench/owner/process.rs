//! An owner that is a process of its own: to be killed.

use std::{
    env,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use super::{Owner, tally::Tally};
use crate::bench::{
    error::{BenchError, cannot},
    link::Link,
    owned::PATIENCE,
    server::ServerProcess,
};

/// What such a process is told.
pub(crate) struct Task {
    /// Where the server is.
    pub(crate) address: SocketAddr,
    /// Under which name it attaches.
    pub(crate) name: String,
    /// How many entities there are.
    pub(crate) entities: usize,
    /// A folder for its tally.
    pub(crate) tallies: PathBuf,
}

/// Owns until SIGTERM, or until it was drained.
///
/// # Errors
/// The session ends, or the tally cannot be written.
pub(in crate::bench) async fn run(task: &Task) -> Result<(), BenchError> {
    let path = task.tallies.join(format!("{}-{}", task.name, std::process::id()));
    let tally = Tally::in_file(task.entities, &path)?;
    let link = Link::attach_owner(task.address, super::TYPE, &task.name).await?;
    let (told, _) = mpsc::unbounded_channel();
    let (owner, stop) = (Owner::new(link, 0, tally, told)?, CancellationToken::new());
    let mut terminated = signal(SignalKind::terminate()).map_err(cannot("wait for signals"))?;
    let stopped = stop.clone();
    tokio::spawn(async move {
        terminated.recv().await;
        stopped.cancel();
    });
    owner.run(stop).await.map(drop)
}

/// The process; killed when dropped.
pub(in crate::bench) struct OwnerProcess(Child);

impl OwnerProcess {
    /// Starts one.
    ///
    /// # Errors
    /// The machine refuses.
    pub(in crate::bench) fn start(
        server: &ServerProcess,
        name: &str,
        entities: usize,
        tallies: &Path,
    ) -> Result<Self, BenchError> {
        let program = env::current_exe().map_err(cannot("find the program of an owner"))?;
        let mut command = Command::new(program);
        command.args(["bench-owner", "--entities", &entities.to_string(), "--tallies"]).arg(tallies);
        command.env("SPATIALDB_ADDRESS", server.address().to_string()).env("SPATIALDB_WORKER_NAME", name);
        command.stdin(Stdio::null());
        Ok(Self(command.spawn().map_err(cannot("start an owner"))?))
    }

    /// Ends it as nothing else does: SIGKILL.
    ///
    /// # Errors
    /// It has ended already.
    pub(in crate::bench) fn kill(self) -> Result<(), BenchError> {
        self.signal(Signal::KILL).map(drop)
    }

    /// Asks it to end.
    ///
    /// # Errors
    /// It has ended already.
    pub(in crate::bench) fn terminate(self) -> Result<Self, BenchError> {
        self.signal(Signal::TERM)
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// It takes too long, or ends with a failure.
    pub(in crate::bench) async fn ended(mut self) -> Result<(), BenchError> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            match self.0.try_wait().map_err(cannot("look at an owner"))? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => {
                    return Err(BenchError::unexpected("an owner", "to end well", status.to_string()));
                }
                None => sleep(Duration::from_millis(2)).await,
            }
        }
        Err(BenchError::Timeout { what: "the end of an owner".to_owned(), waited: PATIENCE })
    }

    fn signal(mut self, signal: Signal) -> Result<Self, BenchError> {
        if let Some(status) = self.0.try_wait().map_err(cannot("look at an owner"))? {
            return Err(BenchError::unexpected("an owner", "to run", status.to_string()));
        }
        let failed = |error: rustix::io::Errno| cannot("signal an owner")(error.into());
        kill_process(Pid::from_child(&self.0), signal).map_err(failed)?;
        Ok(self)
    }
}

impl Drop for OwnerProcess {
    fn drop(&mut self) {
        // Nothing is left to do where this fails: it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
