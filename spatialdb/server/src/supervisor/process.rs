//! One worker process: its start, its end, its next start.

use std::{
    env,
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal};
use tokio::{
    process::{Child, Command},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    RestartPolicy, SupervisorOptions,
    guard::{Guard, signal_group},
    output::{LastLines, read_lines},
};
use crate::config::WorkerConfig;

// A grandchild may hold the pipes open for ever; what it prints after this is lost.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(200);

/// A worker that is kept running.
pub(super) struct Worker {
    name: String,
    config: WorkerConfig,
    options: Arc<SupervisorOptions>,
    guard: Arc<Guard>,
    history: History,
}

// How one run of the process ended.
enum Ended {
    Stopped,
    ByItself(ExitStatus),
    NotStarted(io::Error),
}

impl Worker {
    /// A worker that has not been started.
    pub(super) fn new(
        name: String,
        config: WorkerConfig,
        options: Arc<SupervisorOptions>,
        guard: Arc<Guard>,
    ) -> Self {
        Self { name, config, options, guard, history: History::default() }
    }

    /// Keeps the process running until `stop`, or until it ends well or fails at start too often.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        loop {
            let last = LastLines::default();
            let started = Instant::now();
            let ended = self.run_once(&last, &stop).await;
            let verdict = match &ended {
                Ended::Stopped => return,
                Ended::ByItself(status) if status.success() => {
                    tracing::info!(worker = self.name, "worker ended by itself, without failure");
                    return;
                }
                _ => self.history.failed(started.elapsed(), self.options.restart),
            };
            self.report(&ended, &verdict, &last);
            let Some(pause) = verdict.pause else { return };
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(pause) => {}
            }
        }
    }

    async fn run_once(&self, last: &LastLines, stop: &CancellationToken) -> Ended {
        let mut child = match self.command().spawn() {
            Ok(child) => child,
            Err(error) => return Ended::NotStarted(error),
        };
        let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let Some(group) = group else { return Ended::NotStarted(io::Error::other("it has no process id")) };
        self.guard.add(group);
        tracing::debug!(worker = self.name, pid = %group.as_raw_nonzero(), "worker started");
        let mut readers = self.readers(&mut child, last);
        let ended = tokio::select! {
            status = child.wait() => status.map_or_else(Ended::NotStarted, Ended::ByItself),
            () = stop.cancelled() => {
                self.stop(&mut child, group).await;
                Ended::Stopped
            }
        };
        // What the worker itself started must not outlive it.
        signal_group(group, Signal::KILL);
        self.guard.remove(group);
        let _ = timeout(DRAIN_TIMEOUT, async { while readers.join_next().await.is_some() {} }).await;
        ended
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
            Ended::Stopped => return,
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

// The failures in a row, and the pauses they earn.
#[derive(Default)]
struct History {
    quick_failures: u32,
    restarts: u32,
}

struct Verdict {
    // None: stays stopped.
    pause: Option<Duration>,
    quick_failures: u32,
}

impl History {
    fn failed(&mut self, lived: Duration, policy: RestartPolicy) -> Verdict {
        // One that ran longer than any pause had recovered: what it earned before is forgotten.
        if lived > policy.pause_max {
            self.restarts = 0;
        }
        self.quick_failures = if lived < policy.quick { self.quick_failures + 1 } else { 0 };
        let doubled = policy.pause_first.saturating_mul(1 << self.restarts.min(16));
        self.restarts += 1;
        let pause = (self.quick_failures < policy.quick_failures_max).then(|| doubled.min(policy.pause_max));
        Verdict { pause, quick_failures: self.quick_failures }
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
    fn pauses_double_up_to_a_bound_and_are_forgotten() {
        let policy = RestartPolicy::default();
        let mut history = History::default();
        let mut pause_ms =
            |lived_s| history.failed(Duration::from_secs(lived_s), policy).pause.map(|p| p.as_millis());
        let slow: Vec<_> = (0..7).map(|_| pause_ms(3)).collect();
        assert_eq!(slow, [250, 500, 1000, 2000, 4000, 8000, 10_000].map(Some));
        assert_eq!(pause_ms(60), Some(250));
        let quick: Vec<_> = (0..5).map(|_| pause_ms(0).is_some()).collect();
        assert_eq!(quick, [true, true, true, true, false]);
    }

    #[test]
    fn programs_are_found_from_the_folder_of_the_worker() {
        assert_eq!(resolve_program("python3", Path::new("/w")), Path::new("python3"));
        assert_eq!(resolve_program("bin/run", Path::new("/w")), Path::new("/w/bin/run"));
        assert_eq!(resolve_program("/bin/sh", Path::new("/w")), Path::new("/bin/sh"));
    }
}
