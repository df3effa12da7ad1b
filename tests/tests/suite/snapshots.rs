//! Snapshots of running worlds: one moment in all partitions, taken on request and by the world itself.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use spatialdb_proto::v1::snapshot_service_client::SnapshotServiceClient;
use spatialdb_proto::v1::{self, client_message::Body, take_snapshot_response::Step};
use spatialdb_tests::{
    Client, DEADLINE, Launch, VITALS, Vitals, World, all_made, column, http_get, new_rows, position_rows,
    positions, run, update,
};
use tempfile::TempDir;
use tonic::Streaming;
use tonic::transport::Endpoint;

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path")
}

/// Takes one by the command. Returns what it says.
fn take(address: &str, file: &Path, more: &[&str]) -> Value {
    let args = ["snapshot", "take", "-o", text(file), "--json", "--address", address];
    let taken = run(&[&args, more].concat());
    assert_eq!(taken.code, Some(0), "{}", taken.stderr);
    serde_json::from_str(&taken.stdout).expect("an object")
}

/// The entities of a file by id, as JSON lines have them.
fn entities(file: &Path) -> BTreeMap<u64, Value> {
    let lines = file.with_extension("jsonl");
    let converted = run(&["snapshot", "convert", text(file), text(&lines)]);
    assert_eq!(converted.code, Some(0), "{}", converted.stderr);
    let lines = fs::read_to_string(lines).expect("written");
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("an object"));
    let entities = lines.filter(|line| line.get("components").is_some());
    let id = |entity: &Value| entity["id"].as_str().and_then(|id| id.parse().ok()).expect("an id");
    entities.map(|entity| (id(&entity), entity)).collect()
}

fn number(entity: &Value) -> i64 {
    entity["components"]["probe.Vitals"]["hp"].as_i64().unwrap_or_default()
}

async fn make(client: &mut Client, at: &[(f64, f64)]) -> Vec<u64> {
    let columns = vec![new_rows(VITALS, at.iter().map(|_| Vitals::hp(1).bytes()))];
    let positions = vec![position_rows(at)];
    client.create(v1::Create { count: at.len() as u32, positions, columns, ..v1::Create::default() }).await
}

/// Where an entity is when its number is that: far to the one side, then to the other.
fn place_of(number: i32) -> (f64, f64) {
    (if number % 2 == 0 { 300.0 } else { -300.0 }, f64::from(number % 500))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_of_one_moment() {
    let world = World::launch(Launch::probe());
    let mut client = world.attach("probe").await;
    let made = make(&mut client, &[place_of(1); 4]).await;
    let files = folder();
    let has_ended = AtomicBool::new(false);
    // Each entity gets a number only when the one before it is known to have it, and crosses a border with it.
    let write = async {
        let mut number = 1;
        while !has_ended.load(Ordering::Relaxed) {
            number += 1;
            for &entity in &made {
                let (x, y) = place_of(number);
                let values = column(VITALS, [(entity, Vitals::hp(number).bytes())]);
                client.write(update(vec![positions(&[(entity, x, y)])], vec![values])).await;
            }
        }
        number
    };
    let (address, folder, entities) = (world.address().to_owned(), files.path().to_owned(), made.clone());
    let look = async {
        let looked = tokio::task::spawn_blocking(move || look_at_moments(&address, &folder, &entities)).await;
        has_ended.store(true, Ordering::Relaxed);
        looked.expect("they are of one moment each");
    };
    let (written, ()) = tokio::join!(write, look);
    assert!(written > 100, "it was written meanwhile: {written} times");
    assert_eq!(world.stop(), Some(0));
}

fn look_at_moments(address: &str, folder: &Path, made: &[u64]) {
    for turn in 0..12 {
        let file = folder.join(format!("{turn}.snapshot"));
        let pause: &[&str] = if turn % 3 == 0 { &["--pause"] } else { &[] };
        assert_eq!(take(address, &file, pause)["entities"], 64 + 4);
        let there = entities(&file);
        assert_eq!(there.len(), 64 + 4, "each is there once");
        let numbers: Vec<i64> = made.iter().map(|id| number(&there[id])).collect();
        let (first, last) = (numbers[0], numbers[made.len() - 1]);
        assert!(numbers.is_sorted_by(|a, b| a >= b) && first - last <= 1, "{numbers:?}");
        for id in made {
            let x = there[id]["components"]["spatialdb.v1.Position"]["x"].as_f64();
            let (expected, _) = place_of(number(&there[id]) as i32);
            assert_eq!(x, Some(expected), "what one message says is there, or is not");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_is_launched_from_it_is_the_same() {
    let world = World::launch(Launch::probe());
    let mut client = world.attach("probe").await;
    let made = make(&mut client, &[(5.0, 6.0), (-5.0, 6.0)]).await;
    client.write(Body::Delete(v1::Delete { entities: vec![made[0], 9], ..Default::default() })).await;
    let files = folder();
    let (first, second) = (files.path().join("first.snapshot"), files.path().join("second.snapshot"));
    let taken = take(world.address(), &first, &["--pause"]);
    let verified = run(&["snapshot", "verify", text(&first)]);
    assert_eq!(verified.code, Some(0), "{}", verified.stderr);
    let before = world.query(all_made()).await;
    assert_eq!(world.stop(), Some(0));

    let again = World::launch(Launch::default().snapshot(&first));
    let after = again.query(all_made()).await;
    let values = |of: &BTreeMap<u64, BTreeMap<u32, _>>| -> Vec<(u64, Vec<u32>)> {
        of.iter().map(|(id, components)| (*id, components.keys().copied().collect())).collect()
    };
    assert_eq!(values(&after), values(&before));
    // Who attached in between is no part of it.
    drop(again.attach("probe").await);
    assert_eq!(take(again.address(), &second, &[])["digest"], taken["digest"], "bit for bit");
    let mut client = again.attach("probe").await;
    assert!(make(&mut client, &[(0.0, 0.0)]).await[0] > made[1], "ids are not given again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn who_does_not_read_takes_a_place_until_it_goes() {
    let world = World::launch(Launch::earth());
    let mut slow = Vec::new();
    for _ in 0..4 {
        let endpoint = Endpoint::from_shared(format!("http://{}", world.address())).expect("an address");
        let channel = endpoint.initial_stream_window_size(1 << 16).connect().await.expect("it answers");
        let request = v1::TakeSnapshotRequest::default();
        let taken = SnapshotServiceClient::new(channel).take_snapshot(request).await;
        let mut steps = taken.expect("it begins").into_inner();
        let step = async |steps: &mut Streaming<v1::TakeSnapshotResponse>| {
            steps.message().await.expect("it goes on").and_then(|message| message.step)
        };
        while !matches!(step(&mut steps).await, Some(Step::Piece(_))) {}
        slow.push(steps);
    }
    let files = folder();
    let file = files.path().join("another.snapshot");
    let args = ["snapshot", "take", "-o", text(&file), "--address", world.address()];
    let refused = run(&args);
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(refused.stderr.contains("LIMIT_REACHED: 4 snapshots are on their way"), "{}", refused.stderr);
    assert!(fs::read_dir(files.path()).expect("there").next().is_none(), "nothing is left behind");
    slow.pop();
    let deadline = Instant::now() + DEADLINE;
    while run(&args).code != Some(0) {
        assert!(Instant::now() < deadline, "there is a place again");
    }
    let (_, metrics) = http_get(world.address(), "/metrics");
    assert!(metrics.contains("\nspatialdb_snapshots_total 1\n"), "{metrics}");

    let nowhere = files.path().join("nowhere/at/all.snapshot");
    let refused = run(&["snapshot", "take", "-o", text(&nowhere), "--address", world.address()]);
    assert_eq!(refused.code, Some(74), "{}", refused.stderr);
    assert!(refused.stderr.contains("nowhere/at/all.snapshot: cannot write"), "{}", refused.stderr);
}

#[test]
fn a_world_takes_them_itself_and_keeps_the_newest() {
    let kept = folder();
    let config = format!("[snapshots]\ndirectory = {:?}\nevery = \"1s\"\nkeep = 2\n", text(kept.path()));
    let world = World::launch(Launch::probe().config(&config));
    let count = || {
        let (_, metrics) = http_get(world.address(), "/metrics");
        let line = metrics.lines().find_map(|line| line.strip_prefix("spatialdb_snapshots_total "));
        line.and_then(|count| count.parse::<u64>().ok()).expect("it is counted")
    };
    let deadline = Instant::now() + DEADLINE;
    while count() < 4 {
        assert!(Instant::now() < deadline, "four in time");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(world.stop(), Some(0));
    let files = fs::read_dir(kept.path()).expect("there").map(|entry| entry.expect("read").path());
    let files: Vec<_> = files.collect();
    assert_eq!(files.len(), 2, "{files:?}");
    for file in files {
        let verified = run(&["snapshot", "verify", text(&file)]);
        assert_eq!(verified.code, Some(0), "{}", verified.stderr);
        assert_eq!(entities(&file).len(), 64);
    }
}
