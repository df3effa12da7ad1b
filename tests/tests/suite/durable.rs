//! Worlds in data directories: what is promised of each class, kill after kill; and whose a directory is.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use spatialdb_proto::{v1, v1::client_message::Body};
use spatialdb_tests::{
    Client, DEADLINE, Launch, METADATA, Outcome, POSITION, Process, VITALS, Vitals, World, all_made, column,
    entity_ids, http_get, metadata, new_rows, position_rows, positions, run, spatialdb, update,
};
use tempfile::TempDir;

/// How often the world is killed.
const KILLS: u64 = 12;

/// Messages on the way.
const WINDOW: u64 = 24;

const DURABLE: &str =
    "[durability]\ncheckpoint_interval = \"200ms\"\n[durability.classes]\n\"probe.Vitals\" = \"durable\"\n";

fn probe(data: &TempDir) -> Launch {
    Launch::probe().config(DURABLE).arg("--data-dir").arg(data.path().to_str().expect("a path"))
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// Where an entity is when its number is that: it crosses a border of partitions each time.
fn place_of(number: i32) -> (f64, f64) {
    let side = if number % 2 == 0 { 300.0 } else { -300.0 };
    (side, f64::from(number % 1000))
}

fn says(entity: u64, number: i32) -> Body {
    let (x, y) = place_of(number);
    update(vec![positions(&[(entity, x, y)])], vec![column(VITALS, [(entity, Vitals::hp(number).bytes())])])
}

async fn make(client: &mut Client, count: usize) -> Vec<u64> {
    let at: Vec<_> = (0..count).map(|_| place_of(0)).collect();
    let columns = vec![new_rows(VITALS, at.iter().map(|_| Vitals::hp(0).bytes()))];
    let positions = vec![position_rows(&at)];
    client.create(v1::Create { count: count as u32, positions, columns, ..v1::Create::default() }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_was_acknowledged_survives_kill_after_kill() {
    let data = folder();
    let mut world = World::launch(probe(&data));
    let entities = make(&mut world.attach("probe").await, 6).await;
    // Of each entity the number that was sent last, and the one that was acknowledged last.
    let mut sent: BTreeMap<u64, i32> = entities.iter().map(|&entity| (entity, 0)).collect();
    let mut acknowledged = sent.clone();
    for round in 0..KILLS {
        let mut client = world.attach("probe").await;
        let mut on_the_way: BTreeMap<u64, (u64, i32)> = BTreeMap::new();
        let kill_after = 20 + round * 37 % 160;
        let mut count = 0;
        loop {
            while (on_the_way.len() as u64) < WINDOW {
                let entity = entities[count as usize % entities.len()];
                let number = sent[&entity] + 1;
                sent.insert(entity, number);
                on_the_way.insert(client.send(says(entity, number)).await, (entity, number));
                count += 1;
            }
            if count >= kill_after {
                world.kill_soon();
            }
            let has_ended = client.message_if_any().await.is_none();
            let later = on_the_way.split_off(&(client.applied_seq() + 1));
            for (entity, number) in std::mem::replace(&mut on_the_way, later).into_values() {
                acknowledged.insert(entity, number);
            }
            if has_ended {
                break;
            }
        }
        assert!(client.rejections.is_empty(), "{:?}", client.rejections);
        world.kill();
        world = World::launch(probe(&data).again());
        let found = world.query(entity_ids(&entities)).await;
        assert_eq!(found.len(), entities.len(), "none is lost or there twice");
        for (&entity, &number) in &acknowledged {
            let hp = world.component::<Vitals>(entity, VITALS).await.hp;
            assert!(
                (number..=sent[&entity]).contains(&hp),
                "{entity}: {number} was acknowledged, {hp} is there"
            );
            let at = world.component::<v1::Position>(entity, POSITION).await;
            assert_eq!((at.x, at.y), place_of(hp), "what one message says is there, or is not");
        }
        // What was on its way may be there or not; from here on it counts as sent and seen.
        for &entity in &entities {
            let hp = world.component::<Vitals>(entity, VITALS).await.hp;
            sent.insert(entity, hp);
            acknowledged.insert(entity, hp);
        }
    }
    assert!(acknowledged.values().all(|number| *number > 0), "{acknowledged:?}");
    assert_eq!(world.count(all_made()).await, 64 + entities.len() as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_rest_is_there_up_to_the_interval() {
    let data = folder();
    let world = World::launch(probe(&data));
    let mut client = world.attach("probe").await;
    client
        .write(update(vec![positions(&[(1, 7.0, 8.0)])], vec![column(METADATA, [(2, metadata("a", "b"))])]))
        .await;
    // Twice the interval, and what the disk takes.
    tokio::time::sleep(Duration::from_millis(700)).await;
    world.kill();
    let world = World::launch(probe(&data).again());
    let at = world.component::<v1::Position>(1, POSITION).await;
    assert_eq!((at.x, at.y), (7.0, 8.0));
    assert_eq!(world.component::<v1::Metadata>(2, METADATA).await.name, "b");
    assert_eq!(world.count(all_made()).await, 64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_world_that_was_stopped_goes_on() {
    let data = folder();
    let world = World::launch(probe(&data));
    let mut client = world.attach("probe").await;
    let made = make(&mut client, 2).await;
    client.write(update(vec![positions(&[(3, -9.0, 9.0)])], Vec::new())).await;
    client.write(Body::Delete(v1::Delete { entities: vec![made[0], 4], ..Default::default() })).await;
    let session = client.welcome.session_id;
    let before = world.query(all_made()).await;
    assert_eq!(world.stop(), Some(0));

    // In another number of partitions.
    let fewer = Launch::default().config(DURABLE).config("[server]\npartitions = 2");
    let world = World::launch(fewer.arg("--data-dir").arg(data.path().to_str().expect("a path")));
    assert_eq!(world.query(all_made()).await, before, "values and revisions");
    let mut client = world.attach("probe").await;
    assert!(client.welcome.session_id > session, "sessions are not given again");
    let more = make(&mut client, 1).await;
    assert!(more[0] > made[1], "ids are not given again: {more:?}");
    let newest = before.values().flat_map(|values| values.values().map(|value| value.revision)).max();
    let made = world.query(entity_ids(&more)).await;
    assert!(made[&more[0]].values().all(|value| Some(value.revision) > newest), "nor are revisions");
    assert_eq!(world.stop(), Some(0));

    let world = World::launch(probe(&data).again());
    assert_eq!(world.count(all_made()).await, 64 + 2 - 2 + 1);
    let described =
        world.tools().await.get_world(v1::GetWorldRequest {}).await.expect("described").into_inner();
    assert_eq!(described.durability, "disk");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn checkpoints_make_the_log_short() {
    let data = folder();
    let config = DURABLE.replace("[durability]\n", "[durability]\ncheckpoint_every = \"1s\"\n");
    let launch = |snapshot: bool| {
        let launch =
            Launch::probe().config(&config).arg("--data-dir").arg(data.path().to_str().expect("a path"));
        if snapshot { launch } else { launch.again() }
    };
    let world = World::launch(launch(true));
    let mut client = world.attach("probe").await;
    let entities = make(&mut client, 3).await;
    let mut number = 0;
    let deadline = Instant::now() + DEADLINE;
    while checkpoints(&world) < 3 {
        assert!(Instant::now() < deadline, "three checkpoints in time");
        number += 1;
        for &entity in &entities {
            client.write(says(entity, number)).await;
        }
    }
    world.kill();
    let world = World::launch(launch(false));
    for &entity in &entities {
        assert_eq!(world.component::<Vitals>(entity, VITALS).await.hp, number);
    }
    assert_eq!(world.count(all_made()).await, 67);
}

/// How many there were since the start.
fn checkpoints(world: &World) -> u64 {
    let (_, metrics) = http_get(world.address(), "/metrics");
    let line = metrics.lines().find_map(|line| line.strip_prefix("spatialdb_checkpoints_total "));
    line.and_then(|count| count.parse().ok()).expect("it is counted")
}

#[test]
fn a_directory_is_of_one_process_and_one_world() {
    let data = folder();
    let path = data.path().to_str().expect("a path");
    let world = World::launch(probe(&data));
    let refused = run(&["launch", "--data-dir", path, "--listen", "127.0.0.1:0"]);
    assert_eq!(refused.code, Some(1));
    let holder = format!("{path} is in use by process {}", world.pid());
    assert!(refused.stderr.contains(&holder), "{}", refused.stderr);
    let snapshot = world.folder().join("probe.snapshot");
    let snapshot = snapshot.to_str().expect("a path");
    let copy = folder();
    let kept = copy.path().join("probe.snapshot");
    fs::copy(snapshot, &kept).expect("copied");
    assert_eq!(world.stop(), Some(0));
    let refused = run(&["launch", kept.to_str().expect("a path"), "--data-dir", path]);
    assert!(
        refused.stderr.contains("there is a world in") && refused.stderr.contains("leave the snapshot out"),
        "{}",
        refused.stderr
    );

    let other = folder();
    fs::write(other.path().join("thesis.txt"), "years").expect("written");
    let other = other.path().to_str().expect("a path");
    let refused = run(&["launch", kept.to_str().expect("a path"), "--data-dir", other]);
    assert!(refused.stderr.contains("thesis.txt"), "{}", refused.stderr);
    assert_eq!(fs::read_dir(other).expect("there").count(), 1, "nothing was touched");
}

#[test]
fn damage_is_named_and_nothing_is_served() {
    let data = folder();
    assert_eq!(World::launch(probe(&data)).stop(), Some(0));
    let gone = run(&["launch", "--data-dir", data.path().to_str().expect("a path")]);
    assert!(gone.stderr.contains("world.toml, which is gone: name others by --config"), "{}", gone.stderr);
    let path = data.path().to_str().expect("a path").to_owned();
    for file in files_of(&data.path().join("db"), ".sst") {
        let whole = fs::read(&file).expect("read");
        let mut broken = whole.clone();
        let middle = broken.len() / 3;
        broken[middle] ^= 0x10;
        fs::write(&file, &broken).expect("written");
        refuses(&path, "damaged");
        fs::write(&file, &whole[..whole.len() / 2]).expect("written");
        refuses(&path, "damaged");
        fs::remove_file(&file).expect("removed");
        refuses(&path, "");
        fs::write(&file, &whole).expect("written");
    }
    let world = World::launch(probe(&data).again());
    assert_eq!(world.stop(), Some(0));
}

fn refuses(path: &str, says: &str) {
    let settings = tempfile::NamedTempFile::new().expect("a file");
    let settings = settings.path().to_str().expect("a path");
    let finished = Process::start(&mut spatialdb(&[
        "launch",
        "--data-dir",
        path,
        "--config",
        settings,
        "--listen",
        "127.0.0.1:0",
    ]));
    let finished = finished.finish();
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    assert!(finished.stderr.contains("error: ") && finished.stderr.contains(says), "{}", finished.stderr);
    assert!(!finished.stdout.contains("ready"), "{}", finished.stdout);
}

fn files_of(folder: &Path, ending: &str) -> Vec<std::path::PathBuf> {
    let files = fs::read_dir(folder).expect("there").map(|entry| entry.expect("read").path());
    let files: Vec<_> = files.filter(|file| file.to_string_lossy().ends_with(ending)).collect();
    assert!(!files.is_empty(), "{} has files that end with {ending}", folder.display());
    files
}

/// The regions of the layer, as the world tells them, with the epochs of their last grants.
async fn regions(world: &World) -> BTreeMap<u64, (f64, f64, u64)> {
    let request = v1::ListRegionsRequest { layer: "all".to_owned(), borders: false };
    let listed = world.admin().await.list_regions(request).await.expect("listed").into_inner();
    let leases = listed.regions.into_iter().filter_map(|region| region.lease);
    leases.map(|lease| (lease.region, (lease.min_x, lease.max_x, lease.epoch))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn who_returns_in_time_keeps_its_regions() {
    const LAYER: &str = "[authority]\nlease_ttl = \"2s\"\n[[layers]]\nname = \"all\"\nworker_type = \"sim\"\n\
        with = [\"Position\"]\nwrites = [\"Position\", \"Vitals\"]\n";
    let data = folder();
    let world = World::launch(probe(&data).config(LAYER));
    let first = *regions(&world).await.keys().next().expect("a region");
    let at = Some(v1::split_region_request::At::X(123.0));
    let cut = v1::SplitRegionRequest { region: first, at };
    world.admin().await.split_region(cut).await.expect("split");
    let mut ann = Client::attach(&world, "sim", "ann").await;
    ann.until("ann has both", |client| client.owned.regions.len() == 2).await;
    let before = regions(&world).await;
    // They are written once a second.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    world.kill();

    let world = World::launch(probe(&data).config(LAYER).again());
    let mut eve = Client::attach(&world, "sim", "eve").await;
    let mut ann = Client::attach(&world, "sim", "ann").await;
    ann.until("ann has both again", |client| client.owned.regions.len() == 2).await;
    let _ = tokio::time::timeout(Duration::from_millis(50), eve.message()).await;
    assert!(eve.owned.regions.is_empty(), "what somebody had is kept for it");
    let after = regions(&world).await;
    for (region, (min, max, epoch)) in &before {
        let (min_now, max_now, epoch_now) = after[region];
        assert_eq!((min_now, max_now), (*min, *max), "the shapes are there: {after:?}");
        assert!(epoch_now > *epoch, "epochs are not given again: {before:?} {after:?}");
    }
    world.kill();

    let world = World::launch(probe(&data).config(LAYER).again());
    let launched = Instant::now();
    let mut eve = Client::attach(&world, "sim", "eve").await;
    while eve.owned.regions.len() < 2 {
        assert!(launched.elapsed() < DEADLINE, "ann has not come in time");
        eve.send(Body::Heartbeat(v1::Heartbeat::default())).await;
        let _ = tokio::time::timeout(Duration::from_millis(100), eve.message()).await;
    }
    assert!(launched.elapsed() > Duration::from_millis(1500), "{:?}", launched.elapsed());
    assert_eq!(world.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_disk_that_takes_nothing_more_is_told() {
    let data = folder();
    let world = World::launch(probe(&data).allow("takes nothing more"));
    let mut client = world.attach("probe").await;
    let entities = make(&mut client, 2).await;
    assert_eq!(client.write(says(entities[0], 5)).await, Outcome::default());
    // As on a full disk: what is written from now on is refused by the system.
    let pid = Pid::from_raw(world.pid() as i32).expect("it runs");
    let full = Rlimit { current: Some(1024), maximum: None };
    prlimit(Some(pid), Resource::Fsize, full).expect("limited");
    let outcome = client.write(says(entities[0], 6)).await;
    assert_eq!(
        outcome.rejections.first().map(|rejection| &*rejection.reason),
        Some("STORAGE_FAILED"),
        "{outcome:?}"
    );
    assert_eq!(world.component::<Vitals>(entities[0], VITALS).await.hp, 5, "what was refused is not seen");
    let outcome =
        client.write(Body::Delete(v1::Delete { entities: vec![entities[1]], ..Default::default() })).await;
    assert_eq!(outcome.rejections.len(), 1, "a deletion that a restart would undo: {outcome:?}");
    // The rest goes on in memory, and everybody can see how it stands.
    assert_eq!(client.write(update(vec![positions(&[(1, 3.0, 4.0)])], Vec::new())).await, Outcome::default());
    assert_eq!(world.component::<v1::Position>(1, POSITION).await.x, 3.0);
    let (_, metrics) = http_get(world.address(), "/metrics");
    assert!(metrics.contains("\nspatialdb_log_failed 1\n"), "{metrics}");
    world.kill();
    let world = World::launch(probe(&data).again());
    let hp = world.component::<Vitals>(entities[0], VITALS).await.hp;
    assert!(hp == 5 || hp == 6, "what was acknowledged, or what was on its way: {hp}");
    assert_eq!(world.count(entity_ids(&entities)).await, 2);
    let mut client = world.attach("probe").await;
    assert_eq!(client.write(says(entities[0], 7)).await, Outcome::default(), "there is room again");
}
