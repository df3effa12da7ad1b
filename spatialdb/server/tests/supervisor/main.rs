//! Small shell scripts as workers, under the real supervisor and its real guard.

use std::{
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use spatialdb::config::WorkerConfig;

mod rig;
mod scaling;

use rig::{Log, count, has, is_running, start, wait_for, worker};

#[tokio::test]
async fn a_worker_finds_what_it_needs_and_its_lines_are_named() {
    let folder = tempfile::tempdir().expect("folder");
    let script = "echo $SPATIALDB_ADDRESS $SPATIALDB_WORKER_TYPE $SPATIALDB_WORKER_NAME $SPATIALDB_TOKEN $EXTRA; \
                  echo to stderr >&2; pwd; command -v spatialdb; cat; sleep 60";
    let (supervisor, lines) = start(WorkerConfig { min: 2, max: 2, ..worker(script, folder.path()) });
    for name in ["probe-1", "probe-2"] {
        let greeting = format!("{name} | 127.0.0.1:7400 probe {name} secret more");
        wait_for("greeting", || has(&lines, &greeting)).await;
        wait_for("stderr", || has(&lines, &format!("{name} | to stderr"))).await;
        let place = fs::canonicalize(folder.path()).expect("path");
        wait_for("folder", || has(&lines, &format!("{name} | {}", place.display()))).await;
        wait_for("program", || has(&lines, &format!("{name} | {}", env!("CARGO_BIN_EXE_spatialdb")))).await;
    }
    supervisor.stop().await;
}

#[tokio::test]
async fn one_that_dies_is_restarted_and_one_that_ends_well_is_not() {
    let folder = tempfile::tempdir().expect("folder");
    // Dies by SIGKILL at first; the second time it ends well.
    let script = "echo started; [ -e second ] && exit 0; touch second; kill -KILL $$";
    let (supervisor, lines) = start(worker(script, folder.path()));
    wait_for("restart", || count(&lines, "probe-1 | started") == 2).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(count(&lines, "probe-1 | started"), 2);
    supervisor.stop().await;
}

#[tokio::test]
async fn one_that_fails_at_start_shows_its_last_lines_and_then_stays_stopped() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(log.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let folder = tempfile::tempdir().expect("folder");
    let (supervisor, lines) = start(worker("echo no such module; exit 3", folder.path()));
    wait_for("giving up", || log.text().contains("stays stopped after 5 failures at start")).await;
    assert_eq!(count(&lines, "probe-1 | no such module"), 5);
    let text = log.text();
    assert_eq!(text.matches("ERROR").count(), 2, "{text}");
    assert!(text.contains("worker failed at start: exit status: 3\n    no such module"), "{text}");
    supervisor.stop().await;
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(log.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let folder = tempfile::tempdir().expect("folder");
    let config = WorkerConfig { command: vec!["./none".to_owned()], ..worker("", folder.path()) };
    let (supervisor, _) = start(config);
    wait_for("report", || log.text().contains("cannot start \"./none\" in ")).await;
    supervisor.stop().await;
}

#[tokio::test]
async fn stopping_asks_first_and_kills_what_does_not_listen() {
    let folder = tempfile::tempdir().expect("folder");
    let polite = "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done";
    let (supervisor, lines) = start(worker(polite, folder.path()));
    wait_for("start", || has(&lines, "probe-1 | up")).await;
    supervisor.stop().await;
    assert!(has(&lines, "probe-1 | bye"));

    let deaf =
        "trap '' TERM; (sleep 60 & echo $! > child); echo $$ > pid; echo up; while :; do sleep 0.05; done";
    let (supervisor, lines) = start(worker(deaf, folder.path()));
    wait_for("start", || has(&lines, "probe-1 | up")).await;
    let started = Instant::now();
    supervisor.stop().await;
    assert!(started.elapsed() >= Duration::from_millis(300));
    for file in ["pid", "child"] {
        let pid = fs::read_to_string(folder.path().join(file)).expect("pid");
        wait_for("end", || !is_running(&pid)).await;
    }
}

#[tokio::test]
async fn the_guard_ends_what_a_dead_server_leaves() {
    let spawn = |script: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::null());
        std::os::unix::process::CommandExt::process_group(&mut command, 0).spawn().expect("spawned")
    };
    let mut left = spawn("trap '' TERM; while :; do sleep 0.05; done");
    let mut removed = spawn("sleep 60");
    let input = format!("+{}\n+{}\n-{}\nnonsense\n+0\n+1\n", left.id(), removed.id(), removed.id());
    tokio::task::spawn_blocking(move || spatialdb::supervisor::run_guard(input.as_bytes()))
        .await
        .expect("ran");
    assert!(!left.wait().expect("waited").success());
    assert!(removed.try_wait().expect("asked").is_none(), "a group that ended is none of its business");
    removed.kill().expect("killed");
    removed.wait().expect("waited");
}
