//! The past of a world in a data directory: who wrote what, a moment as a snapshot, and the world made what it was.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use spatialdb_proto::{v1, v1::client_message::Body};
use spatialdb_tests::{
    Client, DEADLINE, Launch, POSITION, VITALS, Vitals, World, all_made, column, http_get, new_rows,
    position_rows, positions, run, update,
};
use tempfile::TempDir;

/// Longer than a sweep takes to come to the disk.
const REST: Duration = Duration::from_millis(400);

const SETTINGS: &str = "[durability]\ncheckpoint_interval = \"50ms\"\ncheckpoint_every = \"1s\"\nhistory = \"10m\"\n\
                        [durability.classes]\n\"probe.Vitals\" = \"durable\"\n";

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path")
}

fn probe(data: &TempDir) -> Launch {
    Launch::probe().config(SETTINGS).arg("--data-dir").arg(text(data.path()))
}

/// Now, as the commands take it.
fn moment() -> String {
    let micros = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_micros();
    let at = UNIX_EPOCH + Duration::from_micros(micros as u64);
    humantime::format_rfc3339_micros(at).to_string()
}

async fn write(client: &mut Client, entity: u64, hp: i32, x: f64) {
    let values = vec![column(VITALS, [(entity, Vitals::hp(hp).bytes())])];
    client.write(update(vec![positions(&[(entity, x, 1.0)])], values)).await;
}

async fn make(client: &mut Client) -> u64 {
    let columns = vec![new_rows(VITALS, [Vitals::hp(0).bytes()])];
    let positions = vec![position_rows(&[(1.0, 1.0)])];
    client.create(v1::Create { count: 1, positions, columns, ..v1::Create::default() }).await[0]
}

/// Waits until there were so many more checkpoints.
fn after_checkpoints(world: &World, more: u64) {
    let count = || {
        let (_, metrics) = http_get(world.address(), "/metrics");
        let line = metrics.lines().find_map(|line| line.strip_prefix("spatialdb_checkpoints_total "));
        line.and_then(|count| count.parse::<u64>().ok()).expect("it is counted")
    };
    let (before, deadline) = (count(), Instant::now() + DEADLINE);
    while count() < before + more {
        assert!(Instant::now() < deadline, "checkpoints in time");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Of a file: the entity's hit points and x, if it is there.
fn at(file: &Path, entity: u64) -> Option<(i64, f64)> {
    let lines = file.with_extension("jsonl");
    let converted = run(&["snapshot", "convert", text(file), text(&lines)]);
    assert_eq!(converted.code, Some(0), "{}", converted.stderr);
    let lines = fs::read_to_string(lines).expect("written");
    let id = entity.to_string();
    let mut lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("an object"));
    let found = lines.find(|line| line["id"].as_str() == Some(&*id))?;
    let x = found["components"]["spatialdb.v1.Position"]["x"].as_f64().unwrap_or_default();
    Some((found["components"]["probe.Vitals"]["hp"].as_i64().unwrap_or_default(), x))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn moments_of_the_past_are_told_and_restored() {
    let (data, files) = (folder(), folder());
    let world = World::launch(probe(&data));
    let address = world.address().to_owned();
    let mut client = world.attach("probe").await;
    let [stays, goes] = [make(&mut client).await, make(&mut client).await];
    write(&mut client, stays, 10, -300.0).await;
    write(&mut client, goes, 11, 300.0).await;
    tokio::time::sleep(REST).await;
    let first = moment();
    // What comes next is told by later checkpoints, the first moment by an earlier one.
    after_checkpoints(&world, 1);
    write(&mut client, stays, 20, 300.0).await;
    client.write(Body::Delete(v1::Delete { entities: vec![goes], ..Default::default() })).await;
    let comes = make(&mut client).await;
    tokio::time::sleep(REST).await;
    let second = moment();
    after_checkpoints(&world, 2);
    write(&mut client, stays, 30, -300.0).await;
    tokio::time::sleep(REST).await;

    let file = files.path().join("first.snapshot");
    let forked = run(&["fork", "--at", &first, "-o", text(&file), "--address", &address]);
    assert_eq!(forked.code, Some(0), "{}", forked.stderr);
    assert_eq!((at(&file, stays), at(&file, goes)), (Some((10, -300.0)), Some((11, 300.0))));
    assert_eq!(at(&file, comes), None);
    let early = ["fork", "--at", "2001-01-01T00:00:00Z", "-o", text(&file), "--address", &address];
    let early = run(&early);
    assert!(
        early.stderr.contains("HISTORY_MISSING: 2001-01-01T00:00:00.000Z is not kept"),
        "{}",
        early.stderr
    );

    let told = run(&["log", "--entity", &stays.to_string(), "--json", "--address", &address]);
    assert_eq!(told.code, Some(0), "{}", told.stderr);
    let writes = told.stdout.lines().map(|line| serde_json::from_str::<Value>(line).expect("an object"));
    let vitals: Vec<Value> = writes.filter(|write| write["component"] == "probe.Vitals").collect();
    let hp: Vec<_> = vitals.iter().map(|write| write["value"]["hp"].as_i64().unwrap_or_default()).collect();
    assert_eq!(hp, [0, 10, 20, 30], "{}", told.stdout);
    assert!(vitals.iter().all(|write| write["worker"] == "probe-1" && write["worker_type"] == "probe"));
    let gone = run(&["log", "--entity", &goes.to_string(), "--address", &address]);
    assert!(gone.stdout.lines().last().is_some_and(|line| line.ends_with("deleted")), "{}", gone.stdout);
    let path = text(data.path()).to_owned();
    let refused = run(&["restore", "--at", &first, "--data-dir", &path]);
    assert!(refused.stderr.contains("is in use by process"), "{}", refused.stderr);
    world.kill();

    let file = files.path().join("second.snapshot");
    let forked = run(&["fork", "--at", &second, "-o", text(&file), "--data-dir", &path]);
    assert_eq!(forked.code, Some(0), "{}", forked.stderr);
    assert_eq!((at(&file, stays), at(&file, goes)), (Some((20, 300.0)), None));
    assert_eq!(at(&file, comes), Some((0, 1.0)));

    restore(&path, &first);
    let world = World::launch(probe(&data).again());
    assert_eq!(world.component::<Vitals>(stays, VITALS).await.hp, 10);
    assert_eq!(world.component::<v1::Position>(goes, POSITION).await.x, 300.0);
    assert_eq!(world.count(all_made()).await, 64 + 2);
    let mut client = world.attach("probe").await;
    assert!(make(&mut client).await > comes, "ids are not given again");
    world.kill();
    // What came after that moment is history still.
    restore(&path, &second);
    let world = World::launch(probe(&data).again());
    assert_eq!(world.component::<Vitals>(stays, VITALS).await.hp, 20);
    assert_eq!(world.count(all_made()).await, 64 + 2);
    assert_eq!(world.stop(), Some(0));
}

fn restore(path: &str, moment: &str) {
    let restored = run(&["restore", "--at", moment, "--data-dir", path]);
    assert_eq!(restored.code, Some(0), "{}", restored.stderr);
    assert!(restored.stdout.contains("66 entities"), "{}", restored.stdout);
}

#[test]
fn what_is_not_kept_is_said_to_be() {
    let world = World::launch(Launch::probe());
    let told = run(&["log", "--entity", "1", "--address", world.address()]);
    assert!(told.stderr.contains("HISTORY_MISSING: the world is in memory"), "{}", told.stderr);
    let empty = folder();
    let told = run(&["log", "--entity", "1", "--data-dir", text(empty.path())]);
    assert!(told.stderr.contains("there is no world in"), "{}", told.stderr);
    assert_eq!(fs::read_dir(empty.path()).expect("there").count(), 0, "nothing was made there");
    let wrong = run(&["restore", "--at", "tomorrow", "--data-dir", text(empty.path())]);
    assert_eq!(wrong.code, Some(2), "{}", wrong.stderr);
    assert!(wrong.stderr.contains("must be a time like"), "{}", wrong.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_past_is_told_whatever_the_number_of_partitions_was() {
    let (data, files) = (folder(), folder());
    let world = World::launch(probe(&data));
    let mut client = world.attach("probe").await;
    let [stays, goes] = [make(&mut client).await, make(&mut client).await];
    write(&mut client, stays, 1, -300.0).await;
    world.kill();
    let mut moments = Vec::new();
    // Four at first; then logs come and go, before and after checkpoints.
    for (hp, partitions) in [(2, 1), (3, 4), (4, 2), (5, 4)] {
        let settings = format!("[server]\npartitions = {partitions}");
        let launch =
            Launch::default().config(SETTINGS).config(&settings).arg("--data-dir").arg(text(data.path()));
        let world = World::launch(launch);
        let mut client = world.attach("probe").await;
        write(&mut client, stays, hp, if hp % 2 == 0 { 300.0 } else { -300.0 }).await;
        if hp == 3 {
            client.write(Body::Delete(v1::Delete { entities: vec![goes], ..Default::default() })).await;
        }
        tokio::time::sleep(REST).await;
        moments.push((hp, moment()));
        if hp != 4 {
            after_checkpoints(&world, 1);
        }
        // Running or not.
        if hp == 5 {
            for (hp, moment) in &moments {
                let file = files.path().join(format!("running-{hp}.snapshot"));
                let forked = run(&["fork", "--at", moment, "-o", text(&file), "--address", world.address()]);
                assert_eq!(forked.code, Some(0), "{}", forked.stderr);
                told(&file, stays, goes, *hp);
            }
        }
        world.kill();
        for (hp, moment) in &moments {
            let file = files.path().join(format!("{hp}-of-{}.snapshot", moments.len()));
            let forked = run(&["fork", "--at", moment, "-o", text(&file), "--data-dir", text(data.path())]);
            assert_eq!(forked.code, Some(0), "{}", forked.stderr);
            told(&file, stays, goes, *hp);
        }
    }
}

/// The world was as it is when the number is that.
fn told(file: &Path, stays: u64, goes: u64, hp: i32) {
    let x = if hp % 2 == 0 { 300.0 } else { -300.0 };
    assert_eq!(at(file, stays), Some((i64::from(hp), x)), "{}", file.display());
    assert_eq!(at(file, goes).is_some(), hp < 3, "{}", file.display());
}
