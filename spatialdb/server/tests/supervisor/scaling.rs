//! Processes come and go as is asked for.

use std::{
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use spatialdb::{
    config::WorkerConfig,
    supervisor::{Demand, Drain, Holder, ServerLink, WorkerCount, drain_nothing},
};
use tokio::sync::Notify;

use crate::rig::{Lines, Log, count, has, is_running, start_with, wait_for, worker};

const POLITE: &str = "trap 'echo bye; exit 0' TERM; echo pid $$; while :; do sleep 0.05; done";

// It says that it was told to end, and goes on.
const DEAF: &str = "trap 'echo told' TERM; echo pid $$; while :; do sleep 0.05; done";

fn ask(server: &ServerLink, wanted: u32) {
    server.demand.send_replace(Demand::from_iter([("probe", wanted)]));
}

fn scaled(script: &str, min: usize, max: usize) -> WorkerConfig {
    WorkerConfig { min, max, ..worker(script, Path::new(".")) }
}

async fn counts(server: &ServerLink, wanted: usize, running: usize, occupied: usize) {
    let expected = WorkerCount { wanted, running, occupied };
    let what = format!("{expected:?}");
    wait_for(&what, || server.counts.borrow().get("probe") == Some(&expected)).await;
}

// The latest process of the name.
fn pid(lines: &Lines, name: &str) -> Option<String> {
    let prefix = format!("{name} | pid ");
    let lines = lines.lock().expect("lock");
    lines.iter().rev().find_map(|line| line.strip_prefix(&prefix).map(str::to_owned))
}

async fn running(lines: &Lines, name: &str) -> String {
    wait_for(name, || pid(lines, name).is_some_and(|pid| is_running(&pid))).await;
    pid(lines, name).expect("it runs")
}

fn kill(pid: &str) {
    assert!(Command::new("kill").args(["-KILL", pid]).status().expect("run").success());
}

/// A drain that notes whom it is asked for among the lines, and resolves when told.
fn noted_drain(lines: &Arc<Mutex<Option<Lines>>>, resolve: &Arc<Notify>) -> Drain {
    let (lines, resolve) = (lines.clone(), resolve.clone());
    Arc::new(move |worker_type, name| {
        let lines = lines.lock().expect("lock").clone().expect("they are there");
        lines.lock().expect("lock").push(format!("drain {worker_type} {name}"));
        let resolve = resolve.clone();
        Box::pin(async move { resolve.notified().await })
    })
}

#[tokio::test]
async fn more_come_at_once_and_the_youngest_goes_when_fewer_were_enough_for_long() {
    let after = Duration::from_millis(700);
    let config = WorkerConfig { scale_down_after: after, ..scaled(POLITE, 1, 4) };
    let (supervisor, server, lines) = start_with(config, drain_nothing());
    counts(&server, 1, 1, 0).await;
    ask(&server, 9);
    for name in ["probe-1", "probe-2", "probe-3", "probe-4"] {
        running(&lines, name).await;
    }
    counts(&server, 4, 4, 0).await;
    let began = Instant::now();
    ask(&server, 3);
    counts(&server, 3, 4, 0).await;
    wait_for("the youngest", || has(&lines, "probe-4 | bye")).await;
    assert!(began.elapsed() >= after, "{:?}", began.elapsed());
    counts(&server, 3, 3, 0).await;

    kill(&running(&lines, "probe-2").await);
    wait_for("restart", || {
        lines.lock().expect("lock").iter().filter(|l| l.starts_with("probe-2 | pid")).count() == 2
    })
    .await;
    counts(&server, 3, 3, 0).await;
    ask(&server, 2);
    wait_for("the youngest", || has(&lines, "probe-2 | bye")).await;
    counts(&server, 2, 2, 0).await;
    ask(&server, 3);
    counts(&server, 3, 3, 0).await;
    running(&lines, "probe-2").await;
    assert!(!has(&lines, "probe-1 | bye") && !has(&lines, "probe-3 | bye"));
    supervisor.stop().await;
    assert_eq!(count(&lines, "probe-1 | bye"), 1);
}

#[tokio::test]
async fn one_that_goes_is_drained_then_told_then_killed() {
    let (place, resolve) = (Arc::default(), Arc::new(Notify::new()));
    let config = WorkerConfig {
        scale_down_after: Duration::ZERO,
        drain_timeout: Duration::from_secs(60),
        ..scaled(DEAF, 1, 2)
    };
    let (supervisor, server, lines) = start_with(config, noted_drain(&place, &resolve));
    *place.lock().expect("lock") = Some(lines.clone());
    ask(&server, 2);
    running(&lines, "probe-1").await;
    let going = running(&lines, "probe-2").await;
    ask(&server, 1);
    wait_for("drain", || has(&lines, "drain probe probe-2")).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(is_running(&going) && !has(&lines, "probe-2 | told"), "not before it is drained");
    resolve.notify_one();
    wait_for("SIGTERM", || has(&lines, "probe-2 | told")).await;
    let told = Instant::now();
    counts(&server, 1, 1, 0).await;
    assert!(
        !is_running(&going) && told.elapsed() >= Duration::from_millis(200),
        "SIGKILL after stop_timeout"
    );
    assert_eq!(count(&lines, "drain probe probe-2"), 1);
    assert!(!has(&lines, "drain probe probe-1"));
    supervisor.stop().await;
}

#[tokio::test]
async fn a_drain_that_takes_too_long_is_given_up() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(log.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let config = WorkerConfig { scale_down_after: Duration::ZERO, ..scaled(POLITE, 0, 1) };
    let (supervisor, server, lines) = start_with(config, Arc::new(|_, _| Box::pin(std::future::pending())));
    ask(&server, 1);
    running(&lines, "probe-1").await;
    let began = Instant::now();
    ask(&server, 0);
    wait_for("SIGTERM", || has(&lines, "probe-1 | bye")).await;
    assert!(began.elapsed() >= Duration::from_millis(300));
    counts(&server, 0, 0, 0).await;
    assert!(log.text().contains("worker was not drained in time"), "{}", log.text());
    supervisor.stop().await;
}

#[tokio::test]
async fn one_that_dies_while_it_is_drained_is_not_started_again() {
    let (place, resolve) = (Arc::default(), Arc::new(Notify::new()));
    let config = WorkerConfig {
        scale_down_after: Duration::ZERO,
        drain_timeout: Duration::from_secs(60),
        ..scaled(POLITE, 0, 1)
    };
    let (supervisor, server, lines) = start_with(config, noted_drain(&place, &resolve));
    *place.lock().expect("lock") = Some(lines.clone());
    ask(&server, 1);
    let going = running(&lines, "probe-1").await;
    ask(&server, 0);
    wait_for("drain", || has(&lines, "drain probe probe-1")).await;
    kill(&going);
    counts(&server, 0, 0, 0).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(pid(&lines, "probe-1"), Some(going));
    supervisor.stop().await;
}

#[tokio::test]
async fn stopping_the_world_does_not_wait_for_a_drain() {
    let config = WorkerConfig {
        scale_down_after: Duration::ZERO,
        drain_timeout: Duration::from_secs(60),
        ..scaled(POLITE, 0, 1)
    };
    let (place, resolve) = (Arc::default(), Arc::new(Notify::new()));
    let (supervisor, server, lines) = start_with(config, noted_drain(&place, &resolve));
    *place.lock().expect("lock") = Some(lines.clone());
    ask(&server, 1);
    running(&lines, "probe-1").await;
    ask(&server, 0);
    wait_for("drain", || has(&lines, "drain probe probe-1")).await;
    let began = Instant::now();
    supervisor.stop().await;
    assert!(has(&lines, "probe-1 | bye") && began.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn one_that_gave_up_is_missing_and_nobody_is_started_in_its_stead() {
    let script = format!("[ $SPATIALDB_WORKER_NAME = probe-2 ] && {{ echo fails; exit 3; }}; {POLITE}");
    let (supervisor, server, lines) = start_with(scaled(&script, 1, 4), drain_nothing());
    ask(&server, 3);
    wait_for("giving up", || count(&lines, "probe-2 | fails") == 5).await;
    running(&lines, "probe-3").await;
    counts(&server, 3, 2, 0).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!((count(&lines, "probe-2 | fails"), pid(&lines, "probe-4")), (5, None));
    counts(&server, 3, 2, 0).await;
    supervisor.stop().await;
}

#[tokio::test]
async fn a_name_that_another_worker_holds_stays_stopped_as_long() {
    let drain: Drain = Arc::new(|_, _| panic!("who holds the name would be drained"));
    let (supervisor, server, lines) = start_with(scaled(POLITE, 2, 2), drain);
    let (first, second) = (running(&lines, "probe-1").await, running(&lines, "probe-2").await);
    server.held.send_modify(|held| {
        held.insert("probe", "probe-2", 7, Holder::Stranger);
        held.insert("other", "probe-1", 8, Holder::Stranger);
    });
    wait_for("SIGTERM", || has(&lines, "probe-2 | bye")).await;
    counts(&server, 2, 1, 1).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(pid(&lines, "probe-2"), Some(second.clone()));
    server.held.send_modify(|held| {
        held.remove("probe", "probe-2", 7);
    });
    counts(&server, 2, 2, 0).await;
    wait_for("start", || pid(&lines, "probe-2").is_some_and(|now| now != second)).await;
    assert!(is_running(&first));
    supervisor.stop().await;
}

#[tokio::test]
async fn one_whose_name_was_taken_over_may_have_ended_before_that_is_told() {
    // As a worker does that hears SESSION_REPLACED.
    let script = "[ -e taken ] && { echo replaced; exit 0; }; touch taken; trap 'exit 0' TERM; echo pid $$; \
                  while [ ! -e end ]; do sleep 0.05; done; exit 0";
    let folder = tempfile::tempdir().expect("folder");
    let (supervisor, server, lines) = start_with(worker(script, folder.path()), drain_nothing());
    running(&lines, "probe-1").await;
    std::fs::write(folder.path().join("end"), "").expect("written");
    counts(&server, 0, 0, 0).await;
    server.held.send_modify(|held| {
        held.insert("probe", "probe-1", 7, Holder::Somebody);
    });
    counts(&server, 1, 0, 1).await;
    server.held.send_modify(|held| {
        held.remove("probe", "probe-1", 7);
    });
    wait_for("start", || has(&lines, "probe-1 | replaced")).await;
    supervisor.stop().await;
}

#[tokio::test]
async fn one_that_hangs_for_long_is_killed_and_started_again() {
    let folder = tempfile::tempdir().expect("folder");
    // It hears of no signal but the last one.
    let script = "echo pid $$; kill -STOP $$";
    let (supervisor, server, lines) = start_with(worker(script, folder.path()), drain_nothing());
    let first = running(&lines, "probe-1").await;
    let say = |hanging: &[(&str, &str)]| {
        server.held.send_modify(|held| {
            held.set_hanging(hanging.iter().copied());
        });
    };
    say(&[("probe", "probe-1")]);
    tokio::time::sleep(Duration::from_millis(100)).await;
    say(&[("probe", "probe-2"), ("other", "probe-1")]);
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(pid(&lines, "probe-1"), Some(first.clone()), "it went on in time");
    say(&[("probe", "probe-1")]);
    wait_for("another one", || pid(&lines, "probe-1").is_some_and(|now| now != first)).await;
    assert!(!is_running(&first));
    say(&[]);
    supervisor.stop().await;
}
