//! `[[workers]]`: programs that start, restart and stop with the world.

use std::{
    fs,
    net::TcpStream,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use spatialdb_tests::{DEADLINE, Launch, Process, World, binary, eventually, http_get, run_in};

/// Whether the process runs. Zombies count as gone: nobody but their parent can end them further.
pub(crate) fn is_running(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z')))
}

fn worker(name: &str, script: &str, more: &str) -> String {
    format!("[[workers]]\ntype = \"{name}\"\ncommand = [\"sh\", \"-c\", '''{script}''']\n{more}")
}

fn pid_of(world: &World, name: &str, nth: usize) -> u32 {
    let mut seen = 0;
    let prefix = format!("{name} | pid ");
    let found = world.log().find("the worker says its pid", |line| {
        let pid = line.strip_prefix(&prefix)?;
        seen += 1;
        (seen == nth).then(|| pid.parse().expect("a number"))
    });
    found.expect("the world runs")
}

async fn gone(pid: u32) {
    eventually("the worker is gone", || async { (!is_running(pid)).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_worker_gets_its_environment_and_its_lines_are_prefixed() {
    let script = "echo \"hello $SPATIALDB_ADDRESS $SPATIALDB_WORKER_TYPE $SPATIALDB_WORKER_NAME $SPATIALDB_TOKEN $EXTRA\"; echo \"to stderr\" >&2; exec sleep 60";
    let world = World::launch(
        Launch::probe()
            .config(&worker("talker", script, "count = 2\nenv = { EXTRA = \"more\" }\n"))
            .env("SPATIALDB_TOKEN", "secret"),
    );
    for name in ["talker-1", "talker-2"] {
        let hello = format!("{name} | hello {} talker {name} secret more", world.address());
        world.log().wait_for(&hello);
        world.log().wait_for(&format!("{name} | to stderr"));
    }
    assert_eq!(world.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_worker_that_is_killed_is_started_again_and_stops_with_the_world() {
    let world = World::launch(
        Launch::probe()
            .config(&worker("w", "echo pid $$; exec sleep 60", ""))
            .allow("worker failed at start")
            .allow("will be restarted"),
    );
    let first = pid_of(&world, "w-1", 1);
    kill(first);
    let second = pid_of(&world, "w-1", 2);
    assert_ne!(first, second);
    assert!(is_running(second));
    assert_eq!(world.stop(), Some(0));
    assert!(!is_running(second), "it is stopped before the world exits");
}

fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid as i32).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("killed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn one_that_fails_at_start_shows_its_last_lines_and_the_world_goes_on() {
    let script = "echo looking for the map; echo there is no map >&2; exit 3";
    let world = World::launch(
        Launch::probe()
            .config(&worker("lost", script, ""))
            .allow("worker failed at start")
            .allow("will be restarted")
            .allow("stays stopped"),
    );
    let line = world.log().wait_for("worker failed at start: exit status: 3");
    world.log().wait_for("stays stopped after 5 failures at start");
    let lines = world.log().lines();
    let at = lines.iter().position(|found| *found == line).expect("there");
    let shown: Vec<_> = lines[at + 1..].iter().take_while(|line| line.starts_with("    ")).collect();
    assert_eq!(shown.len(), 2, "{lines:?}");
    let text = lines[at..at + 3].join("\n");
    for part in ["looking for the map", "there is no map", "lost-1"] {
        assert!(text.contains(part), "{text}");
    }
    world.attach("probe").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_program_that_is_not_there_is_named() {
    let config = "[[workers]]\ntype = \"ghost\"\ncommand = [\"./no-such-program\"]\n";
    let world = World::launch(
        Launch::probe()
            .config(config)
            .allow("worker failed at start")
            .allow("will be restarted")
            .allow("stays stopped"),
    );
    let line = world.log().wait_for("cannot start");
    assert!(line.contains("./no-such-program") && line.contains("ghost-1"), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn workers_do_not_outlive_a_server_that_is_killed() {
    let deaf = "trap '' TERM; sleep 60 & echo pid $!; echo pid $$; wait; sleep 60";
    let world = World::launch(Launch::probe().config(&worker("deaf", deaf, "")));
    let pids = [pid_of(&world, "deaf-1", 1), pid_of(&world, "deaf-1", 2)];
    assert!(pids.iter().all(|&pid| is_running(pid)));
    world.kill();
    for pid in pids {
        gone(pid).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn as_many_as_the_least_run_while_nobody_wants_more() {
    let script = "echo pid $$; exec sleep 60";
    let config = worker("w", script, "min = 2\nmax = 4\n") + &worker("none", script, "count = 0\n");
    let world = World::launch(Launch::probe().config(&config));
    let pids = [pid_of(&world, "w-1", 1), pid_of(&world, "w-2", 1)];
    eventually("both are counted", || async {
        let (_, metrics) = http_get(world.address(), "/metrics");
        let has = |line: &str| metrics.lines().any(|found| found == line);
        let of_w =
            ["wanted", "running"].map(|what| format!("spatialdb_workers_{what}{{worker_type=\"w\"}} 2"));
        let of_none = "spatialdb_workers_wanted{worker_type=\"none\"} 0";
        let occupied = "spatialdb_workers_occupied{worker_type=\"w\"} 0";
        (of_w.iter().all(|line| has(line)) && has(of_none) && has(occupied)).then_some(())
    })
    .await;
    assert_eq!(world.stop(), Some(0));
    assert!(!pids.into_iter().any(is_running));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_type_can_be_left_out() {
    let script = "echo pid $$; exec sleep 60";
    let config = ["a", "b", "c"].map(|name| worker(name, script, "")).concat();
    let launch = Launch::probe().config(&config).arg("--without").arg("a").arg("--without").arg("c");
    let world = World::launch(launch);
    pid_of(&world, "b-1", 1);
    assert_eq!(world.stop(), Some(0));
}

#[test]
fn a_type_to_leave_out_must_be_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = ["b", "a", "b"].iter().enumerate();
    let config = config.map(|(at, name)| worker(name, "true", &format!("name = \"w{at}\"\n")));
    fs::write(folder.path().join("world.toml"), config.collect::<String>()).expect("written");
    let done = run_in(folder.path(), &["launch", "--without", "a", "--without", "d"]);
    assert_eq!(done.code, Some(2), "{}", done.stderr);
    assert!(
        done.stderr.contains("--without d: no such type in the [[workers]] of the settings, which have a, b")
    );
    let done = run_in(folder.path(), &["launch", "--empty", "--without", "a"]);
    assert_eq!(done.code, Some(2), "{}", done.stderr);
    assert!(
        done.stderr.contains("--without a") && done.stderr.contains("which have none"),
        "{}",
        done.stderr
    );
}

/// A server that wants tokens makes one for each of its own workers.
#[test]
fn workers_of_a_locked_world_are_let_in() {
    let folder = tempfile::tempdir().expect("a folder");
    let tokens = folder.path().join("tokens.toml");
    assert_eq!(run_in(folder.path(), &["token", "new", "--tool"]).code, Some(0));
    let config = format!("[server]\ntokens = {tokens:?}\n");
    let script = "echo found $(spatialdb query --has Metadata --count); sleep 100";
    let world = World::launch(Launch::probe().config(&(config + &worker("looker", script, ""))));
    let found =
        world.log().find("what it found", |line| line.strip_prefix("looker-1 | found ").map(str::to_owned));
    assert_eq!(found.as_deref(), Some("64"));
}

#[test]
fn an_ephemeral_world_ends_with_the_process_that_started_it() {
    let program = binary("spatialdb").display().to_string();
    let script = format!("{program} launch --empty --ephemeral --listen 127.0.0.1:0 --json & wait");
    let parent = Process::start(Command::new("sh").args(["-c", &script]));
    let line = parent.stdout.find("where it is", |line| line.starts_with('{').then(|| line.to_owned()));
    let line: serde_json::Value = serde_json::from_str(&line.expect("a line")).expect("JSON");
    let address = line["address"].as_str().expect("an address").to_owned();
    let pid = line["pid"].as_u64().expect("a pid") as u32;
    assert!(TcpStream::connect(&address).is_ok() && is_running(pid));
    // Killed, so that it passes nothing on.
    drop(parent);
    let deadline = Instant::now() + DEADLINE;
    while is_running(pid) {
        assert!(Instant::now() < deadline, "it lives on");
        thread::sleep(Duration::from_millis(10));
    }
    assert!(TcpStream::connect(&address).is_err());
}
