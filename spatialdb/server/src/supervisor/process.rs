//! One worker process: its start, its end, its next start.
//!
//! Responsible for: keeping it running, draining and stopping it when told to, reporting how it does.
//! Not responsible for: whether it is wanted (`scale`).

use std::{
    env,
    ffi::OsString,
    future::pending,
    io,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal};
use tokio::{
    process::{Child, Command},
    sync::{mpsc, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Held, SupervisorOptions,
    guard::{Guard, signal_group},
    output::{LastLines, read_lines},
    restart::{History, Verdict},
    scale::End,
};
use crate::config::WorkerConfig;

// A grandchild may hold the pipes open for ever; what it prints after this is lost.
const PIPES_TIMEOUT: Duration = Duration::from_millis(200);

/// A worker that is kept running.
pub(super) struct Worker {
    pub(super) name: String,
    pub(super) config: WorkerConfig,
    pub(super) options: Arc<SupervisorOptions>,
    pub(super) guard: Arc<Guard>,
    pub(super) held: watch::Receiver<Held>,
    pub(super) orders: Orders,
    pub(super) reports: Reports,
}

/// What a worker is told.
#[derive(Clone)]
pub(super) struct Orders {
    /// Drain, then end for good.
    pub(super) leave: CancellationToken,
    /// End at once.
    pub(super) stop: CancellationToken,
}

/// What a worker tells of itself.
#[derive(Clone, Copy, Debug)]
pub(super) enum Note {
    /// Its process has started.
    Up,
    /// Its process has ended.
    Down,
    /// It is no longer kept running: the last thing it tells.
    Ended(End),
}

/// The way of notes to whoever started the worker, with which table and number they are of.
pub(super) struct Reports {
    pub(super) table: usize,
    pub(super) number: usize,
    pub(super) notes: mpsc::Sender<(usize, usize, Note)>,
}

// How one run of the process ended.
enum Ended {
    Stopped,
    ByItself(ExitStatus),
    Hung,
    Drained,
    NotStarted(io::Error),
}

impl Reports {
    async fn send(&self, note: Note) {
        // Nobody listens once everything stops.
        let _ = self.notes.send((self.table, self.number, note)).await;
    }
}

impl Worker {
    /// Keeps the process running until it is told to end, ends well by itself though nobody drained it, or fails at start
    /// too often.
    pub(super) async fn run(self) {
        let end = self.keep().await;
        self.reports.send(Note::Ended(end)).await;
    }

    async fn keep(&self) -> End {
        let mut history = History::default();
        loop {
            let last = LastLines::default();
            let started = Instant::now();
            let drains = self.drains();
            let ended = self.run_once(&last, drains).await;
            let verdict = match &ended {
                Ended::Stopped => return End::Stopped,
                Ended::ByItself(status) if status.success() => {
                    if self.drains() == drains {
                        tracing::info!(worker = self.name, "worker ended by itself, without failure");
                        return End::Done;
                    }
                    tracing::info!(worker = self.name, "worker was drained and has ended, will be restarted");
                    None
                }
                Ended::Drained => None,
                // It came as far as to be attached.
                Ended::Hung => {
                    let restart = self.config.restart;
                    Some(history.failed(started.elapsed().max(restart.quick), restart))
                }
                _ => Some(history.failed(started.elapsed(), self.config.restart)),
            };
            let pause = match verdict {
                None => Some(self.config.restart.pause_first),
                Some(verdict) => {
                    self.report(&ended, &verdict, &last);
                    verdict.pause
                }
            };
            let Some(pause) = pause else { return End::Failed };
            tokio::select! {
                () = self.orders.stop.cancelled() => return End::Stopped,
                () = self.orders.leave.cancelled() => return End::Stopped,
                () = self.pause(pause) => {}
            }
        }
    }

    fn drains(&self) -> u64 {
        self.held.borrow().drains(&self.config.worker_type, &self.name)
    }

    // A session that still has the name is not the process's. It is over in a moment, or somebody else's: then this one is
    // told to stop.
    async fn pause(&self, pause: Duration) {
        sleep(pause).await;
        let is_free = |held: &Held| held.holder(&self.config.worker_type, &self.name).is_none();
        // Nobody says so any more once the server has gone.
        let _ = self.held.clone().wait_for(is_free).await;
    }

    // `drains`: how often it had been drained before.
    async fn run_once(&self, last: &LastLines, drains: u64) -> Ended {
        let mut child = match self.command().spawn() {
            Ok(child) => child,
            Err(error) => return Ended::NotStarted(error),
        };
        let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let Some(group) = group else { return Ended::NotStarted(io::Error::other("it has no process id")) };
        self.guard.add(group);
        tracing::debug!(worker = self.name, pid = %group.as_raw_nonzero(), "worker started");
        let mut readers = self.readers(&mut child, last);
        self.reports.send(Note::Up).await;
        let ended = tokio::select! {
            status = child.wait() => status.map_or_else(Ended::NotStarted, Ended::ByItself),
            () = self.orders.stop.cancelled() => {
                self.stop(&mut child, group).await;
                Ended::Stopped
            }
            () = self.orders.leave.cancelled() => {
                self.leave(&mut child, group).await;
                Ended::Stopped
            }
            () = self.hangs() => {
                let after_ms = self.config.hung_after.as_millis();
                tracing::warn!(worker = self.name, after_ms, "worker is attached and does nothing: ending it");
                self.stop(&mut child, group).await;
                Ended::Hung
            }
            () = self.stays_drained(drains) => {
                let timeout_ms = self.config.drain_timeout.as_millis();
                tracing::warn!(worker = self.name, timeout_ms, "worker was drained and has not ended in time: ending it");
                self.stop(&mut child, group).await;
                Ended::Drained
            }
        };
        // What the worker itself started must not outlive it.
        signal_group(group, Signal::KILL);
        self.guard.remove(group);
        let _ = timeout(PIPES_TIMEOUT, async { while readers.join_next().await.is_some() {} }).await;
        self.reports.send(Note::Down).await;
        ended
    }

    // Comes back when its session has done nothing for too long.
    async fn hangs(&self) {
        let hangs = |held: &Held| held.is_hanging(&self.config.worker_type, &self.name);
        let mut held = self.held.clone();
        // Nobody says so any more once the server has gone.
        while held.wait_for(hangs).await.is_ok() {
            if timeout(self.config.hung_after, held.wait_for(|held| !hangs(held))).await.is_err() {
                return;
            }
        }
        pending::<()>().await;
    }

    // Comes back when somebody has drained it and it had its time to hand over and to end: perhaps nobody else can take what
    // it has.
    async fn stays_drained(&self, drains: u64) {
        let mut held = self.held.clone();
        let is_drained = |held: &Held| held.drains(&self.config.worker_type, &self.name) > drains;
        if held.wait_for(is_drained).await.is_err() {
            return pending().await;
        }
        sleep(self.config.drain_timeout).await;
    }

    async fn leave(&self, child: &mut Child, group: Pid) {
        let drained = (self.options.drain)(&self.config.worker_type, &self.name);
        tokio::select! {
            // Whoever has no session has nothing left.
            _ = child.wait() => return,
            () = self.orders.stop.cancelled() => {}
            drained = timeout(self.config.drain_timeout, drained) => if drained.is_err() {
                let timeout_ms = self.config.drain_timeout.as_millis();
                tracing::warn!(worker = self.name, timeout_ms, "worker was not drained in time, stopped all the same");
            }
        }
        self.stop(child, group).await;
    }

    async fn stop(&self, child: &mut Child, group: Pid) {
        signal_group(group, Signal::TERM);
        if timeout(self.config.stop_timeout, child.wait()).await.is_err() {
            let timeout_ms = self.config.stop_timeout.as_millis();
            tracing::warn!(worker = self.name, timeout_ms, "worker did not stop in time, killed");
            signal_group(group, Signal::KILL);
            let _ = child.wait().await;
        }
    }

    fn readers(&self, child: &mut Child, last: &LastLines) -> JoinSet<()> {
        let mut readers = JoinSet::new();
        let sink = &self.options.sink;
        if let Some(stream) = child.stdout.take() {
            readers.spawn(read_lines(self.name.clone(), stream, sink.clone(), last.clone()));
        }
        if let Some(stream) = child.stderr.take() {
            readers.spawn(read_lines(self.name.clone(), stream, sink.clone(), last.clone()));
        }
        readers
    }

    fn command(&self) -> Command {
        let program = resolve_program(&self.config.command[0], &self.config.directory);
        let mut command = Command::new(program);
        command
            .args(&self.config.command[1..])
            .env("PATH", search_path(&self.options.program))
            .envs(&self.config.env)
            .env("SPATIALDB_ADDRESS", self.options.address.to_string())
            .env("SPATIALDB_WORKER_TYPE", &self.config.worker_type)
            .env("SPATIALDB_WORKER_NAME", &self.name)
            .env(
                "SPATIALDB_TOKEN",
                self.options.tokens.get(&self.config.worker_type).map_or("", String::as_str),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        if let Some(ca) = &self.options.ca {
            command.env("SPATIALDB_CA", ca);
        }
        if !self.config.directory.as_os_str().is_empty() {
            command.current_dir(&self.config.directory);
        }
        command
    }

    fn report(&self, ended: &Ended, verdict: &Verdict, last: &LastLines) {
        let worker = &self.name;
        let what = match ended {
            Ended::ByItself(status) => status.to_string(),
            Ended::NotStarted(error) => {
                format!("cannot start {:?} in {:?}: {error}", self.config.command[0], self.config.directory)
            }
            Ended::Hung => "it did nothing".to_owned(),
            Ended::Stopped | Ended::Drained => return,
        };
        match verdict {
            Verdict { pause: None, quick_failures } => tracing::error!(
                worker,
                "worker stays stopped after {quick_failures} failures at start; the world goes on without it. {what}{}",
                last.text()
            ),
            Verdict { pause: Some(_), quick_failures: 1 } => {
                tracing::error!(worker, "worker failed at start: {what}{}", last.text());
            }
            Verdict { pause: Some(pause), .. } => {
                tracing::warn!(
                    worker,
                    pause_ms = pause.as_millis(),
                    "worker ended, will be restarted: {what}"
                );
            }
        }
    }
}

// A bare name is looked up in PATH; one with a folder in it, from the worker's own folder.
fn resolve_program(program: &str, directory: &Path) -> PathBuf {
    if !program.contains('/') || Path::new(program).is_absolute() {
        return PathBuf::from(program);
    }
    let path = directory.join(program);
    std::path::absolute(&path).unwrap_or(path)
}

// PATH with the folder of this program first, so that the workers beside it are found by name.
fn search_path(program: &Path) -> OsString {
    let own = program.parent().map(Path::to_owned);
    let inherited = env::var_os("PATH").unwrap_or_default();
    let folders = own.into_iter().chain(env::split_paths(&inherited));
    env::join_paths(folders).unwrap_or(inherited)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_from_the_folder_of_the_worker() {
        assert_eq!(resolve_program("python3", Path::new("/w")), Path::new("python3"));
        assert_eq!(resolve_program("bin/run", Path::new("/w")), Path::new("/w/bin/run"));
        assert_eq!(resolve_program("/bin/sh", Path::new("/w")), Path::new("/bin/sh"));
    }
}
