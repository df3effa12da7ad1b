//! Shell scripts as workers, what they printed, and what was logged.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use spatialdb::{
    config::WorkerConfig,
    supervisor::{Drain, RestartPolicy, ServerLink, Supervisor, SupervisorOptions, drain_nothing, link},
};

/// What workers printed, as `name | line`.
pub(crate) type Lines = Arc<Mutex<Vec<String>>>;

/// One table of `sh` processes: `probe-1`, ...
pub(crate) fn worker(script: &str, directory: &Path) -> WorkerConfig {
    WorkerConfig {
        worker_type: "probe".to_owned(),
        name: "probe".to_owned(),
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        min: 1,
        max: 1,
        env: [("EXTRA".to_owned(), "more".to_owned())].into(),
        directory: directory.to_owned(),
        scale_down_after: Duration::from_millis(300),
        drain_timeout: Duration::from_millis(300),
        stop_timeout: Duration::from_millis(300),
        hung_after: Duration::from_millis(300),
        restart: RestartPolicy { pause_first: Duration::from_millis(10), ..RestartPolicy::default() },
    }
}

/// The supervisor of one table, and nobody who says how many are wanted.
pub(crate) fn start(config: WorkerConfig) -> (Supervisor, Lines) {
    let (supervisor, _, lines) = start_with(config, drain_nothing());
    (supervisor, lines)
}

/// The supervisor of one table, and the server's end of the link.
pub(crate) fn start_with(config: WorkerConfig, drain: Drain) -> (Supervisor, ServerLink, Lines) {
    let lines = Lines::default();
    let sink = lines.clone();
    let options = SupervisorOptions {
        address: ([127, 0, 0, 1], 7400).into(),
        tokens: BTreeMap::from([("probe".to_owned(), "secret".to_owned())]),
        ca: None,
        program: PathBuf::from(env!("CARGO_BIN_EXE_spatialdb")),
        sink: Arc::new(move |name, line| sink.lock().expect("lock").push(format!("{name} | {line}"))),
        drain,
    };
    let configs = [config];
    let (server, link) = link(&configs);
    (Supervisor::start(&configs, options, link).expect("started"), server, lines)
}

pub(crate) async fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) fn has(lines: &Lines, line: &str) -> bool {
    lines.lock().expect("lock").iter().any(|found| found == line)
}

pub(crate) fn count(lines: &Lines, line: &str) -> usize {
    lines.lock().expect("lock").iter().filter(|found| *found == line).count()
}

/// Whether the process runs. Zombies count as gone: nobody but their parent can end them further.
pub(crate) fn is_running(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{}/stat", pid.trim()))
        .is_ok_and(|stat| !stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z')))
}

/// What was logged.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("lock")).into_owned()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("lock").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl tracing_subscriber::fmt::MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
