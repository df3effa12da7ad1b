//! Python with nothing but `grpcio`: the examples, the worker of the README, and every way to set a field to nothing.

use std::{fs, path::Path};

use prost::Message;
use rustix::process::Signal;
use serde_json::Value;
use spatialdb_proto::v1;
use spatialdb_tests::{
    Finished, Launch, METADATA, Process, World, binary, eventually, generate_python, has, metadata, new_rows,
    position_rows, python, repository,
};

const BALLOON: u32 = 1004;
const WATCH: &str = "workers/python/examples/watch_region.py";
const DRIFT: &str = "workers/python/examples/drift_balloons.py";

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn watch_region_prints_what_enters_and_leaves() {
    let world = World::launch(Launch::earth());
    // Paris is in it.
    let args = [
        WATCH,
        "--metres",
        "240000",
        "5410000",
        "280000",
        "5450000",
        "--has",
        "earth.City",
        "--json",
        "--count",
        "100000",
    ];
    let watch = Process::start(&mut python(&world, &[], &args));
    let line = watch.stdout.wait_for("\"Paris\"");
    let found: Value = serde_json::from_str(&line).expect("a line of JSON");
    assert_eq!(
        (found["change"].as_str(), found["entity"].as_str(), found["type"].as_str()),
        (Some("enter"), Some("2051203"), Some("city"))
    );

    let mut client = world.attach("probe").await;
    let columns =
        vec![new_rows(METADATA, [metadata("city", "Atlantis")]), new_rows(1001, [Vec::new().into()])];
    let ids = client
        .create(v1::Create {
            count: 1,
            positions: vec![position_rows(&[(260_000.0, 5_430_000.0)])],
            columns,
            ..Default::default()
        })
        .await;
    watch.stdout.wait_for("\"Atlantis\"");
    let away = spatialdb_tests::update(vec![spatialdb_tests::positions(&[(ids[0], 0.0, 0.0)])], vec![]);
    client.write(away).await;
    let line = watch.stdout.wait_for("\"leave\"");
    let left: Value = serde_json::from_str(&line).expect("a line of JSON");
    assert_eq!((left["name"].as_str(), left["reason"].as_str()), (Some("Atlantis"), Some("out_of_view")));
    watch.signal(Signal::TERM);
    let done = watch.finish();
    assert_eq!((done.code, complaint(&done)), (Some(0), ""));
}

/// What it says on stderr, but for a plain goodbye.
fn complaint(done: &Finished) -> &str {
    done.stderr.strip_prefix("goodbye:").unwrap_or(&done.stderr)
}

async fn balloons(world: &World) -> Vec<(u64, f64)> {
    let found = world.query(has(BALLOON)).await;
    let x = |bytes: bytes::Bytes| v1::Position::decode(bytes).expect("a position").x;
    found.into_iter().map(|(id, mut one)| (id, x(one.remove(&1).expect("it has one").bytes))).collect()
}

fn ids(balloons: &[(u64, f64)]) -> Vec<u64> {
    balloons.iter().map(|balloon| balloon.0).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn drift_balloons_makes_adopts_and_takes_down_its_own() {
    let world = World::launch(Launch::earth());
    let there = |count: usize| {
        let world = &world;
        move || async move { Some(balloons(world).await).filter(|found| found.len() == count) }
    };
    let drift = Process::start(&mut python(&world, &[], &[DRIFT, "--balloons", "5"]));
    let before = eventually("they are there", there(5)).await;
    eventually("they drift", || async {
        let now = balloons(&world).await;
        now.iter().zip(&before).all(|(now, then)| now.0 == then.0 && now.1 != then.1).then_some(())
    })
    .await;
    drift.signal(Signal::KILL);
    drop(drift);

    let drift = Process::start(&mut python(&world, &[], &[DRIFT, "--balloons", "7"]));
    assert_eq!(
        drift.stdout.wait_for("in the world already"),
        "5 balloons of balloons are in the world already"
    );
    let after = eventually("two more are there", there(7)).await;
    assert_eq!(ids(&after)[..5], ids(&before));
    drift.signal(Signal::TERM);
    let done = drift.finish();
    assert_eq!((done.code, complaint(&done)), (Some(0), ""));
    eventually("they are taken down", there(0)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn without_a_world_the_examples_say_so() {
    let world = World::launch(Launch::probe());
    // The port of a world that is no more.
    let commands = [WATCH, DRIFT].map(|script| python(&world, &[], &[script]));
    assert_eq!(world.stop(), Some(0));
    for mut command in commands {
        let done = Process::start(&mut command).finish();
        assert_eq!(done.code, Some(1), "{}", done.stderr);
        assert!(done.stderr.lines().any(|line| line.starts_with("spatialdb: ")), "{}", done.stderr);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn fields_are_set_to_nothing_from_python() {
    let world = World::launch(Launch::probe());
    let folder = tempfile::tempdir().expect("a folder");
    generate_python(folder.path());
    let script = "tests/python/set_to_nothing.py";
    let done = Process::start(&mut python(&world, &[folder.path()], &[script])).finish();
    assert_eq!(done.code, Some(0), "{}\n{}", done.stdout, done.stderr);
    assert_eq!(done.stdout.lines().last(), Some("14 ways to set a field to nothing"), "{}", done.stdout);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_first_worker_of_the_readme_runs_as_it_stands() {
    let text = fs::read_to_string(repository().join("README.md")).expect("a README");
    let blocks: Vec<&str> =
        text.split("```python\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let [block] = blocks[..] else { panic!("{} blocks of Python in README.md; one is needed", blocks.len()) };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("first.py");
    fs::write(&path, block).expect("written");
    let world = World::launch(Launch::earth());
    let done = Process::start(&mut python(&world, &[], &[text_of(&path)])).finish();
    assert_eq!((done.code, done.stderr.as_str()), (Some(0), ""));
    assert!(done.stdout.lines().any(|line| line == "2051203 Paris"), "{}", done.stdout);
    let count = world.count(spatialdb_tests::sphere(261_000.0, 5_431_000.0, 20_000.0)).await;
    assert_eq!(done.stdout.lines().last(), Some(format!("in view: {count}").as_str()));
    assert_eq!(done.stdout.lines().count() as u64, count + 1);
    // What the README tells to type is there.
    assert!(binary("spatialdb").is_file());
}

fn text_of(path: &Path) -> &str {
    path.to_str().expect("text")
}
