//! The flight worker is killed again and again: no aircraft is lost or doubled.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use rustix::process::Signal;
use spatialdb_proto::v1;
use spatialdb_tests::{Launch, METADATA, Process, World, binary, eventually, has, view};

const AIRCRAFT: u32 = 1003;
const WANTED: u64 = 50;

/// `earth.Aircraft`, as far as it matters here.
#[derive(Clone, PartialEq, Message)]
struct Aircraft {
    #[prost(string, tag = "1")]
    callsign: String,
    #[prost(int64, tag = "5")]
    arrives_unix_us: i64,
}

fn start(world: &World) -> Process {
    let mut command = std::process::Command::new(binary("spatialdb-flight"));
    command.args(["--aircraft", &WANTED.to_string()]);
    command.env_remove("RUST_LOG").env("SPATIALDB_ADDRESS", world.address());
    command.env("SPATIALDB_WORKER_TYPE", "flight").env("SPATIALDB_WORKER_NAME", "flight-1");
    Process::start(&mut command)
}

async fn fleet(world: &World) -> BTreeMap<u64, Aircraft> {
    let found = world.query(has(AIRCRAFT)).await;
    found
        .into_iter()
        .map(|(id, one)| (id, Aircraft::decode(one[&AIRCRAFT].bytes.clone()).expect("an aircraft")))
        .collect()
}

fn now_us() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_micros() as i64
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_killed_flight_worker_goes_on_with_the_same_aircraft() {
    let world = World::launch(Launch::earth());
    let mut viewer = world.attach("viewer").await;
    viewer.subscribe(view(1, has(AIRCRAFT))).await;
    let mut flight = start(&world);
    viewer.until("all are in the air", |viewer| viewer.replica.entities.len() as u64 == WANTED).await;
    let mut before = fleet(&world).await;
    for round in 0..5 {
        // At different moments of its start, too.
        if round % 2 == 0 {
            let seen = viewer.replica.value_count;
            viewer.until("they move", |viewer| viewer.replica.value_count > seen + 2 * WANTED).await;
        }
        flight.signal(Signal::KILL);
        flight.wait();
        flight = start(&world);
        flight.stderr.wait_for("attached");
    }
    let seen = viewer.replica.value_count;
    viewer.until("they move again", |viewer| viewer.replica.value_count > seen + 3 * WANTED).await;
    viewer.until("as many as wanted", |viewer| viewer.replica.entities.len() as u64 == WANTED).await;
    let after = fleet(&world).await;
    assert_eq!(after.len() as u64, WANTED);
    let callsigns: BTreeSet<_> = after.values().map(|aircraft| &aircraft.callsign).collect();
    assert_eq!(callsigns.len(), after.len(), "each once");
    let now = now_us();
    before.retain(|_, aircraft| aircraft.arrives_unix_us > now + 1_000_000);
    assert!(!before.is_empty());
    for (id, aircraft) in before {
        assert_eq!(
            after.get(&id).map(|found| &found.callsign),
            Some(&aircraft.callsign),
            "it is still there"
        );
    }
    let all_named = world.query(has(AIRCRAFT)).await.values().all(|one| one.contains_key(&METADATA));
    assert!(all_named);
    assert!(viewer.replica.entities.values().all(|one| one.contains_key(&spatialdb_tests::POSITION)));

    flight.signal(Signal::TERM);
    let done = flight.finish();
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert!(!done.stderr.contains(" ERROR ") && !done.stderr.contains(" WARN "), "{}", done.stderr);
    assert_eq!(fleet(&world).await.len() as u64, WANTED, "they stay in the world");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_world_starts_its_flight_worker_and_restarts_it() {
    let config = format!(
        "[[workers]]\ntype = \"flight\"\ncommand = [\"spatialdb-flight\", \"--aircraft\", \"{WANTED}\"]\n"
    );
    let world = World::launch(
        Launch::earth().config(&config).allow("worker failed at start").allow("will be restarted"),
    );
    let count = || async { (world.count(has(AIRCRAFT)).await == WANTED).then_some(()) };
    eventually("all are in the air", count).await;
    let session =
        world.session("it is attached", |one| one.worker_type == "flight" && one.frames_sent > 0).await;
    let pid: u32 = session.instance.strip_prefix("pid ").expect("it says so").parse().expect("a number");
    let ids: Vec<u64> = fleet(&world).await.into_keys().collect();
    let pid_of = rustix::process::Pid::from_raw(pid as i32).expect("a pid");
    rustix::process::kill_process(pid_of, Signal::KILL).expect("killed");
    let old = session.session_id;
    let again = world
        .session("it is back", |one| {
            one.worker_type == "flight" && one.session_id > old && one.updates_received > WANTED
        })
        .await;
    assert_eq!(again.name, "flight-1");
    let after: Vec<u64> = fleet(&world).await.into_keys().collect();
    assert_eq!(after.len() as u64, WANTED);
    // A few may have landed meanwhile, and others taken off.
    assert!(after.iter().filter(|id| ids.contains(id)).count() >= 45, "{ids:?} {after:?}");
    assert_eq!(
        world.sessions().await.iter().filter(|one: &&v1::SessionInfo| one.worker_type == "flight").count(),
        1
    );
}
