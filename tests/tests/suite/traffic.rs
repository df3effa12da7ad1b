//! The earth world as it is committed: its flight workers come and go with the number of aircraft.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use rustix::process::{Pid, Signal, kill_process};
use spatialdb_proto::v1::{self, RegionPhase};
use spatialdb_tests::{Launch, METADATA, POSITION, World, eventually, has, repository, run};

const AIRCRAFT: u32 = 1003;
const BALLOON: u32 = 1004;
const ORIGINALS: u64 = 2000;

/// `earth.Aircraft`, as far as it matters here.
#[derive(Clone, PartialEq, Message)]
struct Aircraft {
    #[prost(string, tag = "1")]
    callsign: String,
}

/// Name and place by entity.
type Seen = BTreeMap<u64, (String, [f64; 2])>;

/// `snapshots/earth/world.toml`, with less patience.
fn config() -> String {
    let here = repository();
    let text = std::fs::read_to_string(here.join("snapshots/earth/world.toml")).expect("read");
    let changes = [
        ("# rest = \"10s\"", "rest = \"500ms\"".to_owned()),
        ("# scale_down_after = \"30s\"", "scale_down_after = \"1s\"".to_owned()),
        ("\"../earth.snapshot\"", format!("{:?}", here.join("snapshots/earth.snapshot"))),
        ("\"../..\"", format!("{here:?}")),
    ];
    changes.into_iter().fold(text, |text, (from, to)| {
        assert!(text.contains(from), "no {from} in it");
        text.replace(from, &to)
    })
}

async fn seen(world: &World, component: u32) -> Seen {
    let found = world.query(has(component)).await;
    let one = |mut values: BTreeMap<u32, spatialdb_tests::Value>| {
        let mut take = |component| values.remove(&component).expect("it has it").bytes;
        let place = v1::Position::decode(take(POSITION)).expect("a position");
        let name = match component {
            AIRCRAFT => Aircraft::decode(take(AIRCRAFT)).expect("an aircraft").callsign,
            _ => v1::Metadata::decode(take(METADATA)).expect("metadata").name,
        };
        (name, [place.x, place.y])
    };
    found.into_iter().map(|(entity, values)| (entity, one(values))).collect()
}

/// Waits until there are the numbers up to `count`, each once.
async fn fleet(world: &World, count: u64) -> Seen {
    let wanted: BTreeSet<String> = (1..=count).map(|number| format!("SDB{number}")).collect();
    eventually(&format!("{count} aircraft"), || async {
        if world.count(has(AIRCRAFT)).await != count {
            return None;
        }
        let fleet = seen(world, AIRCRAFT).await;
        let names: BTreeSet<String> = fleet.values().map(|(name, _)| name.clone()).collect();
        (fleet.len() as u64 == count && names == wanted).then_some(fleet)
    })
    .await
}

/// Waits until every one of them has moved.
async fn all_move(world: &World, component: u32) {
    let before = seen(world, component).await;
    eventually("all of them move", || async {
        let now = seen(world, component).await;
        let moved = |(entity, (_, then)): (&u64, &(String, [f64; 2]))| {
            now.get(entity).is_some_and(|(_, place)| place != then)
        };
        before.iter().all(moved).then_some(())
    })
    .await;
}

async fn pilots(world: &World) -> Vec<v1::SessionInfo> {
    world.sessions().await.into_iter().filter(|session| session.worker_type == "flight").collect()
}

/// Waits until so many flight workers have all there is to fly between them, in one region if it is one worker, and no more
/// are wanted. Returns the regions of the earth.
async fn shared_out(world: &World, workers: usize) -> Vec<v1::Region> {
    let what = format!("{workers} flight workers");
    eventually(&what, || async {
        let mut admin = world.admin().await;
        let wanted = admin.get_wanted(v1::GetWantedRequest {}).await.expect("told").into_inner();
        let wanted = wanted.types.into_iter().find(|one| one.worker_type == "flight").expect("it is told");
        if (wanted.wanted as usize, pilots(world).await.len()) != (workers, workers) {
            return None;
        }
        let request = v1::ListRegionsRequest { layer: "flying".to_owned(), ..Default::default() };
        let mut regions = admin.list_regions(request).await.expect("listed").into_inner().regions;
        regions.retain(|region| region.lease.as_ref().expect("a lease").space.is_some());
        let is_owned = |region: &v1::Region| region.phase() == RegionPhase::Owned;
        let owners: BTreeSet<&str> =
            regions.iter().filter_map(|region| Some(&*region.owner.as_ref()?.name)).collect();
        // What one has left is joined, a little later.
        let is_shaped = workers > 1 || regions.len() == 1;
        (regions.iter().all(is_owned) && owners.len() == workers && is_shaped).then_some(regions)
    })
    .await
}

fn multiply(world: &World, multiplier: u32) {
    let flag = format!("aircraft_multiplier={multiplier}");
    let done = run(&["flags", "set", "flight", &flag, "--address", world.address()]);
    assert_eq!((done.code, done.stdout.trim()), (Some(0), &*flag), "{}", done.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn flight_workers_come_and_go_with_the_number_of_aircraft() {
    let launch = Launch::default().config(&config());
    let world = World::launch(launch.allow("worker failed at start").allow("will be restarted"));
    let originals = fleet(&world, ORIGINALS).await;
    shared_out(&world, 1).await;
    all_move(&world, BALLOON).await;

    multiply(&world, 4);
    // It dies while it creates the others.
    let first = pilots(&world).await.into_iter().find(|pilot| pilot.name == "flight-1").expect("it is there");
    eventually("it has begun", || async { (world.count(has(AIRCRAFT)).await > ORIGINALS).then_some(()) })
        .await;
    let pid = first.instance.strip_prefix("pid ").and_then(|pid| pid.parse().ok()).and_then(Pid::from_raw);
    kill_process(pid.expect("it says so"), Signal::KILL).expect("killed");
    fleet(&world, 4 * ORIGINALS).await;
    let regions = shared_out(&world, 4).await;
    let loads: u64 = regions.iter().map(|region| region.load).sum();
    assert!(loads.abs_diff(4 * ORIGINALS) < ORIGINALS, "regions have what there is: {regions:#?}");
    all_move(&world, AIRCRAFT).await;
    fleet(&world, 4 * ORIGINALS).await;

    multiply(&world, 1);
    let left = fleet(&world, ORIGINALS).await;
    shared_out(&world, 1).await;
    all_move(&world, AIRCRAFT).await;
    let names = |seen: &Seen| -> BTreeMap<u64, String> {
        seen.iter().map(|(entity, (name, _))| (*entity, name.clone())).collect()
    };
    assert_eq!(names(&originals), names(&left), "the originals are all there, and nothing else");
    all_move(&world, BALLOON).await;
}
