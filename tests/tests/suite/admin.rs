//! Who owns what, seen and steered from outside.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use spatialdb_proto::error_of_status;
use spatialdb_proto::v1::{
    self, RegionPhase, admin_service_client::AdminServiceClient, client_message::Body,
};
use spatialdb_tests::{
    Client, DEADLINE, Launch, Outcome, Process, World, binary, eventually, run, run_in, spatialdb,
};
use spatialdb_types::Reason;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use crate::owning::{hp, made};

/// One layer in both spaces; nobody is silent for too long, and nothing is joined by itself.
const LAND: &str = "[authority]\nlease_ttl = \"5m\"\nrest = \"1h\"\n\
    [[layers]]\nname = \"land\"\nworker_type = \"sim\"\nwith = [\"Position\"]\nwrites = [\"Position\", \"Vitals\"]\n";

type Admin = AdminServiceClient<Channel>;

/// What a watcher has put together.
#[derive(Debug, Default)]
struct Seen {
    number: u64,
    regions: BTreeMap<u64, v1::Region>,
    workers: BTreeMap<u64, v1::WorkerAuthority>,
    wanted: BTreeMap<String, v1::Wanted>,
}

impl Seen {
    fn take(&mut self, update: v1::AuthorityUpdate) {
        self.number += 1;
        assert_eq!(update.number, self.number, "no gaps");
        for region in update.regions {
            self.regions.insert(id(&region), region);
        }
        update.workers.into_iter().for_each(|worker| _ = self.workers.insert(worker.session_id, worker));
        update
            .wanted
            .into_iter()
            .for_each(|wanted| _ = self.wanted.insert(wanted.worker_type.clone(), wanted));
        for gone in update.regions_gone {
            assert!(self.regions.remove(&gone).is_some(), "it was told of region {gone}");
        }
        for gone in update.workers_gone {
            assert!(self.workers.remove(&gone).is_some(), "it was told of worker {gone}");
        }
    }

    /// Takes one complete update.
    async fn follow(&mut self, stream: &mut Streaming<v1::AuthorityUpdate>) {
        loop {
            let update = tokio::time::timeout(DEADLINE, stream.message()).await.expect("in time");
            let update = update.expect("no error").expect("it goes on");
            let is_complete = update.complete;
            self.take(update);
            if is_complete {
                return;
            }
        }
    }
}

fn id(region: &v1::Region) -> u64 {
    region.lease.as_ref().expect("a lease").region
}

fn owner(region: &v1::Region) -> &str {
    region.owner.as_ref().map_or("nobody", |owner| &owner.name)
}

fn reason(status: &Status) -> Reason {
    error_of_status(status).unwrap_or_else(|| panic!("an error of ours: {status:?}")).reason
}

async fn list(admin: &mut Admin) -> BTreeMap<u64, v1::Region> {
    let answer = admin.list_regions(v1::ListRegionsRequest::default()).await.expect("listed").into_inner();
    answer.regions.into_iter().map(|region| (id(&region), region)).collect()
}

/// The workers play along until all regions are as expected.
async fn settle(
    admin: &mut Admin,
    workers: &mut [&mut Client],
    what: &str,
    holds: impl Fn(&BTreeMap<u64, v1::Region>) -> bool,
) -> BTreeMap<u64, v1::Region> {
    let start = Instant::now();
    loop {
        for worker in workers.iter_mut() {
            while tokio::time::timeout(Duration::from_millis(10), worker.message()).await.is_ok() {}
            worker.report().await;
        }
        let regions = list(admin).await;
        if regions.values().all(|region| region.phase() == RegionPhase::Owned) && holds(&regions) {
            return regions;
        }
        assert!(start.elapsed() < DEADLINE, "not in time: {what}: {regions:#?}");
    }
}

/// The region of space 0 while there is but one.
fn first(regions: &BTreeMap<u64, v1::Region>) -> u64 {
    let found = regions.values().find(|region| region.lease.as_ref().expect("a lease").space == Some(0));
    id(found.expect("space 0 has a region"))
}

fn is_refused(outcome: &Outcome) -> bool {
    outcome.rejections.first().is_some_and(|rejection| rejection.reason == Reason::NotOwner.name())
}

const fn at_x(region: u64, x: f64) -> v1::SplitRegionRequest {
    v1::SplitRegionRequest { region, at: Some(v1::split_region_request::At::X(x)) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_region_is_split_by_hand_and_merged_again() {
    let world = World::launch(Launch::probe().config(LAND));
    let mut admin = world.admin().await;
    let mut ann = Client::attach(&world, "sim", "ann").await;
    settle(&mut admin, &mut [&mut ann], "Ann has all", |regions| regions.len() == 2).await;
    let mut bob = Client::attach(&world, "sim", "bob").await;
    let old = first(&list(&mut admin).await);
    let new = admin.split_region(at_x(old, 100.0)).await.expect("split").into_inner().new_region;
    let regions = settle(&mut admin, &mut [&mut ann, &mut bob], "Bob has the east", |regions| {
        regions.get(&new).is_some_and(|region| owner(region) == "bob")
    })
    .await;
    assert_eq!((regions.len(), owner(&regions[&old])), (3, "ann"));
    let side = |region: u64| regions[&region].lease.clone().expect("a lease");
    assert_eq!((side(old).max_x, side(new).min_x, side(new).max_x), (100.0, 100.0, f64::INFINITY));
    assert_eq!((side(old).min_x, &*side(new).layer, side(new).space), (f64::NEG_INFINITY, "land", Some(0)));
    assert!(side(new).epoch > side(old).epoch);

    let made = made(&mut ann, &[(50.0, 0.0), (200.0, 0.0)]).await;
    ann.until("Ann has the west", |client| client.owned.owns("land", made[0])).await;
    bob.until("Bob has the east", |client| client.owned.owns("land", made[1])).await;
    let writes = [hp(&ann, made[0], 1), hp(&ann, made[1], 2)];
    let [own, other] = writes;
    assert_eq!(ann.write(own).await, Outcome::default());
    assert!(is_refused(&ann.write(other).await));
    let own = hp(&bob, made[1], 3);
    assert_eq!(bob.write(own).await, Outcome::default());

    let borders = v1::ListRegionsRequest { layer: "land".to_owned(), borders: true };
    let listed = admin.list_regions(borders).await.expect("listed").into_inner().regions;
    let of_new = listed.iter().find(|region| id(region) == new).expect("there");
    let border = &of_new.lease.as_ref().expect("a lease").borders[0];
    assert_eq!(
        (border.side(), border.region, border.session_id),
        (v1::Side::West, old, ann.welcome.session_id)
    );

    admin.merge_regions(v1::MergeRegionsRequest { gone: new, keep: old }).await.expect("merged");
    let regions =
        settle(&mut admin, &mut [&mut ann, &mut bob], "they are one", |regions| regions.len() == 2).await;
    let whole = regions[&old].lease.clone().expect("a lease");
    assert_eq!((whole.max_x, owner(&regions[&old])), (f64::INFINITY, "ann"));
    let own = hp(&ann, made[1], 4);
    assert_eq!(ann.write(own).await, Outcome::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn without_a_place_the_cut_shares_out_the_load() {
    let world = World::launch(Launch::probe().config(LAND));
    let mut admin = world.admin().await;
    let mut ann = Client::attach(&world, "sim", "ann").await;
    let old = first(&settle(&mut admin, &mut [&mut ann], "Ann has all", |_| true).await);
    let places: Vec<(f64, f64)> = (0..400).map(|n| (5000.0 + 100.0 * f64::from(n), 0.0)).collect();
    made(&mut ann, &places).await;
    let request = v1::SplitRegionRequest { region: old, at: None };
    let new = eventually("the load is counted", || {
        let mut admin = admin.clone();
        async move { admin.split_region(request).await.ok() }
    })
    .await;
    let new = new.into_inner().new_region;
    let regions = settle(&mut admin, &mut [&mut ann], "Ann has both", |regions| regions.len() == 3).await;
    let cut = regions[&new].lease.clone().expect("a lease").min_x;
    assert!((20_000.0..30_000.0).contains(&cut), "{cut}");
    let loads = [old, new].map(|region| regions[&region].load);
    assert!(loads[0] > 150 && loads[1] > 150, "{loads:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_pinned_region_keeps_its_shape_and_its_worker() {
    let world = World::launch(Launch::probe().config(LAND));
    let mut admin = world.admin().await;
    let mut ann = Client::attach(&world, "sim", "ann").await;
    let region = first(&settle(&mut admin, &mut [&mut ann], "Ann has all", |_| true).await);
    let mut bob = Client::attach(&world, "sim", "bob").await;
    let pin = v1::PinRegionRequest { region, worker: String::new() };
    let pinned = admin.pin_region(pin).await.expect("pinned").into_inner();
    assert_eq!(pinned.pin, Some(v1::RegionPin::default()));
    let refused = admin.split_region(at_x(region, 0.0)).await.expect_err("it keeps its shape");
    assert_eq!(reason(&refused), Reason::RegionShape);

    let pin = v1::PinRegionRequest { region, worker: "bob".to_owned() };
    admin.pin_region(pin).await.expect("pinned");
    let is_bobs = |regions: &BTreeMap<u64, v1::Region>| owner(&regions[&region]) == "bob";
    settle(&mut admin, &mut [&mut ann, &mut bob], "it is Bob's", is_bobs).await;
    let wrong = v1::PinRegionRequest { region, worker: "no such name".to_owned() };
    assert_eq!(reason(&admin.pin_region(wrong).await.expect_err("refused")), Reason::NameInvalid);
    let free = admin.unpin_region(v1::UnpinRegionRequest { region }).await.expect("unpinned").into_inner();
    assert_eq!(free.pin, None);
    admin.split_region(at_x(region, 0.0)).await.expect("it may change again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_drained_worker_hands_over_all_and_is_told_to_end() {
    let world = World::launch(Launch::probe().config(LAND));
    let mut admin = world.admin().await;
    let mut ann = Client::attach(&world, "sim", "ann").await;
    settle(&mut admin, &mut [&mut ann], "Ann has all", |_| true).await;
    let entity = made(&mut ann, &[(50.0, 0.0)]).await[0];
    let mut bob = Client::attach(&world, "sim", "bob").await;
    let address = world.address().to_owned();
    let drain = Process::start(&mut spatialdb(&["drain", "ann", "--address", &address]));
    let all_bobs =
        |regions: &BTreeMap<u64, v1::Region>| regions.values().all(|region| owner(region) == "bob");
    settle(&mut admin, &mut [&mut ann, &mut bob], "Bob has all", all_bobs).await;
    ann.until("Ann knows", |client| client.owned.is_drained && client.owned.regions.is_empty()).await;
    let late = hp(&ann, entity, 1);
    assert!(is_refused(&ann.write(late).await));
    bob.until("Bob has the entity", |client| client.owned.owns("land", entity)).await;
    let own = hp(&bob, entity, 2);
    assert_eq!(bob.write(own).await, Outcome::default());

    let wanted = admin.get_wanted(v1::GetWantedRequest {}).await.expect("told").into_inner();
    let wanted = wanted.types.first().expect("a type").clone();
    assert_eq!((wanted.wanted, wanted.connected, wanted.draining, &*wanted.surplus), (1, 2, 1, ""));
    drain.stdout.wait_for("ann has no region left");
    drop(ann);
    let done = drain.finish();
    assert_eq!((done.code, done.stdout.lines().last()), (Some(0), Some("ann has gone")), "{}", done.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_watcher_sees_what_is_listed() {
    let world = World::launch(Launch::probe().config(LAND));
    let mut admin = world.admin().await;
    let stream = admin.watch_authority(v1::WatchAuthorityRequest {}).await.expect("watched");
    let (mut stream, mut seen) = (stream.into_inner(), Seen::default());
    let keyframe = stream.message().await.expect("no error").expect("a keyframe");
    assert!(keyframe.keyframe && keyframe.complete && !keyframe.open);
    assert_eq!((keyframe.regions.len(), keyframe.workers.len(), keyframe.wanted.len()), (2, 0, 1));
    assert!(keyframe.regions.iter().all(|region| region.phase() == RegionPhase::Unowned));
    seen.take(keyframe);

    let mut ann = Client::attach(&world, "sim", "ann").await;
    let mut bob = Client::attach(&world, "sim", "bob").await;
    let old = first(&settle(&mut admin, &mut [&mut ann, &mut bob], "all have owners", |_| true).await);
    let new = admin.split_region(at_x(old, 0.0)).await.expect("split").into_inner().new_region;
    settle(&mut admin, &mut [&mut ann, &mut bob], "three regions", |regions| regions.len() == 3).await;
    admin.merge_regions(v1::MergeRegionsRequest { gone: new, keep: old }).await.expect("merged");
    settle(&mut admin, &mut [&mut ann, &mut bob], "two regions", |regions| regions.len() == 2).await;
    drop(bob);
    let listed = settle(&mut admin, &mut [&mut ann], "Ann has all", |regions| {
        regions.values().all(|region| owner(region) == "ann")
    })
    .await;
    while seen.regions != listed || seen.workers.len() != 1 || seen.wanted["sim"].connected != 1 {
        seen.follow(&mut stream).await;
    }
    let worker = &seen.workers[&ann.welcome.session_id];
    assert_eq!(
        (&*worker.name, &*worker.worker_type, worker.silent, worker.draining),
        ("ann", "sim", false, false)
    );
    // Who comes late sees the same at once.
    let stream = admin.watch_authority(v1::WatchAuthorityRequest {}).await.expect("watched");
    let mut late = Seen::default();
    late.follow(&mut stream.into_inner()).await;
    assert_eq!((&late.regions, &late.workers, late.wanted), (&seen.regions, &seen.workers, seen.wanted));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_watcher_that_does_not_read_costs_nothing_and_stops_nobody() {
    let world = World::launch(Launch::probe().config(LAND));
    let mut admin = world.admin().await;
    let mut ann = Client::attach(&world, "sim", "ann").await;
    let region = first(&settle(&mut admin, &mut [&mut ann], "Ann has all", |_| true).await);
    let mut asleep = Vec::new();
    for _ in 0..100 {
        asleep.push(admin.watch_authority(v1::WatchAuthorityRequest {}).await.expect("watched").into_inner());
    }
    let mut awake = Seen::default();
    let mut stream = admin.watch_authority(v1::WatchAuthorityRequest {}).await.expect("watched").into_inner();
    awake.follow(&mut stream).await;
    let before = world.memory_bytes();
    for round in 0..1000 {
        let worker = format!("ann-{round}-{}", "x".repeat(40));
        admin.pin_region(v1::PinRegionRequest { region, worker }).await.expect("pinned");
    }
    let last = format!("ann-999-{}", "x".repeat(40));
    let pinned = |seen: &Seen| seen.regions[&region].pin.as_ref().map(|pin| pin.worker.clone());
    while pinned(&awake).as_deref() != Some(&last) {
        awake.follow(&mut stream).await;
    }
    assert!(awake.number < 1000, "what came too fast was told together: {}", awake.number);
    let grown = world.memory_bytes().saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes");
    let mut seen = Seen::default();
    while seen.regions.is_empty() || pinned(&seen).as_deref() != Some(&last) {
        seen.follow(&mut asleep[99]).await;
    }
    assert_eq!(seen.regions, awake.regions);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn as_many_watch_as_the_limit_says_and_all_hear_that_the_server_stops() {
    let mut world =
        World::launch(Launch::probe().config(LAND).config("[limits]\nauthority_watchers_max = 2\n"));
    let mut admin = world.admin().await;
    let mut streams = Vec::new();
    for _ in 0..2 {
        streams
            .push(admin.watch_authority(v1::WatchAuthorityRequest {}).await.expect("watched").into_inner());
    }
    let refused = admin.watch_authority(v1::WatchAuthorityRequest {}).await.expect_err("too many");
    assert_eq!(reason(&refused), Reason::LimitReached);
    assert!(refused.message().contains("authority_watchers_max = 2"), "{refused}");
    streams.pop();
    eventually("a place is free again", || {
        let mut admin = admin.clone();
        async move { admin.watch_authority(v1::WatchAuthorityRequest {}).await.ok() }
    })
    .await;
    let mut stream = streams.pop().expect("a stream");
    Seen::default().follow(&mut stream).await;
    let start = Instant::now();
    world.terminate();
    let end = loop {
        if let Err(status) = stream.message().await {
            break status;
        }
    };
    assert_eq!(reason(&end), Reason::Draining);
    assert_eq!(world.stop(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(2), "nobody waits for watchers: {:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_is_not_there_or_cannot_be_is_refused_by_name() {
    let world = World::launch(Launch::probe().config(LAND));
    let mut admin = world.admin().await;
    let mut ann = Client::attach(&world, "sim", "ann").await;
    let regions = settle(&mut admin, &mut [&mut ann], "Ann has all", |_| true).await;
    let region = first(&regions);
    let other = *regions.keys().find(|other| **other != region).expect("of space 7");
    let _stranger = Client::attach(&world, "other", "eve").await;

    for region in [0, 99, u64::MAX] {
        let unknown = Reason::RegionNotFound;
        assert_eq!(reason(&admin.split_region(at_x(region, 0.0)).await.expect_err("no region")), unknown);
        let request = v1::SplitRegionRequest { region, at: None };
        assert_eq!(reason(&admin.split_region(request).await.expect_err("no region")), unknown);
        let request = v1::MergeRegionsRequest { gone: region, keep: region };
        assert_eq!(reason(&admin.merge_regions(request).await.expect_err("no region")), unknown);
        let request = v1::PinRegionRequest { region, worker: String::new() };
        assert_eq!(reason(&admin.pin_region(request).await.expect_err("no region")), unknown);
        let request = v1::UnpinRegionRequest { region };
        assert_eq!(reason(&admin.unpin_region(request).await.expect_err("no region")), unknown);
    }
    for x in [f64::INFINITY, f64::NAN, f64::NEG_INFINITY] {
        let refused = admin.split_region(at_x(region, x)).await.expect_err("no cut");
        assert_eq!(reason(&refused), Reason::RegionShape, "{x}");
    }
    for (gone, keep) in [(region, region), (region, other)] {
        let refused =
            admin.merge_regions(v1::MergeRegionsRequest { gone, keep }).await.expect_err("no halves");
        assert_eq!(reason(&refused), Reason::RegionShape);
    }
    for (name, worker_type) in [("nobody", ""), ("", ""), ("eve", ""), ("ann", "other")] {
        let request = v1::DrainWorkerRequest { name: name.to_owned(), worker_type: worker_type.to_owned() };
        let refused = admin.drain_worker(request).await.expect_err("no worker");
        assert_eq!(reason(&refused), Reason::WorkerNotFound, "{name}");
    }
    let request = v1::ListRegionsRequest { layer: "sea".to_owned(), borders: false };
    let refused = admin.list_regions(request).await.expect_err("no layer");
    assert!(reason(&refused) == Reason::RegionNotFound && refused.message().contains("land"), "{refused}");
    let done = run(&["split", "99", "--address", world.address()]);
    assert_eq!((done.code, &*done.stderr), (Some(1), "error: REGION_NOT_FOUND: no region 99"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_open_world_says_so() {
    let world = World::launch(Launch::probe());
    let mut admin = world.admin().await;
    let listed = admin.list_regions(v1::ListRegionsRequest::default()).await.expect("told").into_inner();
    assert!(listed.open && listed.regions.is_empty());
    let wanted = admin.get_wanted(v1::GetWantedRequest {}).await.expect("told").into_inner();
    assert!(wanted.open && wanted.types.is_empty());
    let stream = admin.watch_authority(v1::WatchAuthorityRequest {}).await.expect("watched");
    let keyframe = stream.into_inner().message().await.expect("no error").expect("a keyframe");
    assert!(keyframe.open && keyframe.complete && keyframe.regions.is_empty());
    let refused = admin.split_region(at_x(1, 0.0)).await.expect_err("no regions");
    assert!(refused.message().contains("the world is open"), "{refused}");
    for command in ["regions", "wanted"] {
        let done = run(&[command, "--address", world.address()]);
        assert_eq!((done.code, &*done.stdout), (Some(0), ""));
        assert!(done.stderr.starts_with("the world is open"), "{}", done.stderr);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_command_line_steers_too() {
    let world = World::launch(Launch::probe().config(LAND));
    let mut admin = world.admin().await;
    let ask = |args: &[&str]| {
        let done = run(&[args, &["--address", world.address()]].concat());
        assert_eq!(done.code, Some(0), "{args:?}: {}", done.stderr);
        done.stdout
    };
    assert_eq!(
        ask(&["wanted"]),
        "type  wanted  connected  draining  surplus\nsim        1          0         0"
    );
    let mut ann = Client::attach(&world, "sim", "ann").await;
    let region = first(&settle(&mut admin, &mut [&mut ann], "Ann has all", |_| true).await).to_string();
    let table = ask(&["regions", "--layer", "land"]);
    let row = table.lines().find(|line| line.trim_start().starts_with(&*region)).expect("a row");
    let words: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(words[..7], [&*region, "land", "0", "(...,", "...)-(...,", "...)", "ann"], "{table}");
    let split = ask(&["split", &region, "--x", "-32"]);
    let new =
        split.rsplit_once("region ").and_then(|(_, rest)| rest.split_once(' ')).expect("an id").0.to_owned();
    settle(&mut admin, &mut [&mut ann], "three", |regions| regions.len() == 3).await;
    assert_eq!(
        ask(&["pin", &new, "--worker", "ann"]),
        format!("region {new} keeps its shape, and is for ann only")
    );
    let json: Vec<serde_json::Value> =
        ask(&["regions", "--json"]).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let shown = json.iter().find(|shown| shown["region"] == *new).expect("there");
    assert_eq!((&shown["min"][0], &shown["max"][0]), (&(-32.0).into(), &serde_json::Value::Null));
    assert_eq!((&shown["pinned_to"], &shown["owner"]["name"]), (&"ann".into(), &"ann".into()));
    assert_eq!(
        ask(&["pin", &new, "--worker", "eve"]),
        format!(
            "region {new} keeps its shape, and is for eve only; eve cannot have it now, ann keeps it until then"
        )
    );
    let json: serde_json::Value = serde_json::from_str(&ask(&["pin", &new, "--json"])).expect("JSON");
    assert_eq!((&json["owner"]["name"], &json["next"]), (&"ann".into(), &serde_json::Value::Null));
    assert_eq!(ask(&["unpin", &new]), format!("region {new} is not pinned any more"));
    let done = run(&["pin", &new, "--worker", ""]);
    assert_eq!(done.code, Some(2), "{}", done.stderr);
    let merged = ask(&["merge", &new, &region, "--no-wait"]);
    assert_eq!(merged, format!("region {new} becomes part of region {region}"));
    settle(&mut admin, &mut [&mut ann], "two", |regions| regions.len() == 2).await;
    let borders = ask(&["regions", "--borders"]);
    assert_eq!(borders.lines().count(), 3, "neither has a neighbour: {borders}");
    let done = run(&["split", &region, "--x", "1", "--y", "2"]);
    assert_eq!(done.code, Some(2), "{}", done.stderr);
}

/// The processes play no part; sessions of their names do.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn one_that_is_not_wanted_any_more_is_drained_before_it_is_told_to_end() {
    let script = "trap 'echo bye; exit 0' TERM; echo pid $$; while :; do sleep 0.05; done";
    let workers = format!(
        "load_max = 150\nhandover_timeout = \"30s\"\n[[workers]]\ntype = \"sim\"\nmin = 1\nmax = 2\n\
         scale_down_after = \"100ms\"\ndrain_timeout = \"50s\"\ncommand = [\"sh\", \"-c\", '''{script}''']\n"
    );
    let world = World::launch(Launch::probe().config(&format!("{LAND}{workers}")));
    let mut admin = world.admin().await;
    world.log().wait_for("sim-1 | pid");
    let mut one = Client::attach(&world, "sim", "sim-1").await;
    settle(&mut admin, &mut [&mut one], "the first has all", |_| true).await;
    let places: Vec<(f64, f64)> = (0..150).map(|n| (5000.0 + 100.0 * f64::from(n), 0.0)).collect();
    let entities = made(&mut one, &places).await;
    world.log().wait_for("sim-2 | pid");
    let mut two = Client::attach(&world, "sim", "sim-2").await;
    let has_two =
        |regions: &BTreeMap<u64, v1::Region>| regions.values().any(|region| owner(region) == "sim-2");
    settle(&mut admin, &mut [&mut one, &mut two], "the second has something", has_two).await;

    let mut tool = Client::attach(&world, "tool", "").await;
    let delete = Body::Delete(v1::Delete { entities, ..v1::Delete::default() });
    assert_eq!(tool.write(delete).await, Outcome::default());
    world.log().wait_for("worker is no longer wanted: draining it");
    two.until("it is told", |client| client.owned.is_drained).await;
    // It does not let go yet.
    let patience = Instant::now() + Duration::from_millis(500);
    while Instant::now() < patience {
        let _ = tokio::time::timeout(Duration::from_millis(10), one.message()).await;
        one.report().await;
    }
    assert!(!world.log().text().contains("sim-2 | bye"));
    let all_ones =
        |regions: &BTreeMap<u64, v1::Region>| regions.values().all(|region| owner(region) == "sim-1");
    settle(&mut admin, &mut [&mut one, &mut two], "the first has all again", all_ones).await;
    world.log().wait_for("sim-2 | bye");
    assert!(!world.log().text().contains("was not drained in time"));
}

/// The processes play no part; sessions of their names do.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_managed_worker_that_says_nothing_is_ended_and_started_again() {
    let script = "trap 'echo bye; exit 0' TERM; echo pid $$; while :; do sleep 0.05; done";
    let workers = format!(
        "[[workers]]\ntype = \"sim\"\nhung_after = \"500ms\"\n\
         command = [\"sh\", \"-c\", '''{script}''']\n"
    );
    let land = LAND.replace("5m", "750ms");
    let launch = Launch::probe().config(&format!("{land}{workers}"));
    let world = World::launch(launch.allow("does nothing: ending it").allow("will be restarted"));
    world.log().wait_for("sim-1 | pid");
    let mut one = Client::attach(&world, "sim", "sim-1").await;
    one.until("it has all", |client| !client.owned.regions.is_empty()).await;
    let silent_at = Instant::now();
    world.log().wait_for("worker is attached and does nothing: ending it");
    assert!(silent_at.elapsed() >= Duration::from_millis(500));
    world.log().wait_for("sim-1 | bye");
    drop(one);
    let mut starts = 0;
    let second = world.log().find("a second start", |line| {
        starts += usize::from(line.contains("sim-1 | pid"));
        (starts == 2).then_some(())
    });
    assert_eq!(second, Some(()));
}

/// The processes play no part; sessions of their names do.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_managed_worker_that_is_drained_ends_though_nobody_takes_what_it_has() {
    let script = "trap 'echo bye; exit 0' TERM; echo pid $$; while :; do sleep 0.05; done";
    let workers = format!(
        "[[workers]]\ntype = \"sim\"\ndrain_timeout = \"300ms\"\n\
         command = [\"sh\", \"-c\", '''{script}''']\n"
    );
    let launch = Launch::probe().config(&format!("{LAND}{workers}"));
    let world = World::launch(launch.allow("was drained and has not ended in time"));
    world.log().wait_for("sim-1 | pid");
    let mut one = Client::attach(&world, "sim", "sim-1").await;
    one.until("it has all", |client| !client.owned.regions.is_empty()).await;
    let request = v1::DrainWorkerRequest { name: "sim-1".to_owned(), ..Default::default() };
    let wrong = v1::DrainWorkerRequest { worker_type: "other".to_owned(), ..request.clone() };
    let refused = world.admin().await.drain_worker(wrong).await.expect_err("of another type");
    assert!(
        refused.message().contains("of type other is named \"sim-1\": there is one of type sim"),
        "{refused}"
    );
    world.admin().await.drain_worker(request).await.expect("it is there");
    world.log().wait_for("worker was drained and has not ended in time: ending it");
    world.log().wait_for("sim-1 | bye");
    assert!(!one.owned.regions.is_empty(), "there was nobody else");
    drop(one);
    let mut starts = 0;
    let second = world.log().find("a second start", |line| {
        starts += usize::from(line.contains("sim-1 | pid"));
        (starts == 2).then_some(())
    });
    assert_eq!(second, Some(()));
}

/// Restarting a worker of `[[workers]]` is draining it: it ends well, and comes back as long as it is wanted. The processes play
/// no part in the session of their name.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_managed_worker_that_was_drained_by_hand_starts_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let flag = folder.path().join("end");
    let script = format!("echo pid $$; while [ ! -e {0} ]; do sleep 0.05; done; rm {0}", flag.display());
    let workers = format!("[[workers]]\ntype = \"sim\"\ncommand = [\"sh\", \"-c\", '''{script}''']\n");
    let world = World::launch(Launch::probe().config(&format!("{LAND}{workers}")));
    let mut admin = world.admin().await;
    let first = world.log().wait_for("sim-1 | pid");
    let mut one = Client::attach(&world, "sim", "sim-1").await;
    settle(&mut admin, &mut [&mut one], "it has all", |_| true).await;
    let address = world.address().to_owned();
    let drain = Process::start(&mut spatialdb(&["drain", "sim-1", "--address", &address, "--no-wait"]));
    assert_eq!(drain.finish().code, Some(0));
    one.until("it is told", |client| client.owned.is_drained).await;
    drop(one);
    std::fs::write(&flag, "").expect("written");
    world.log().wait_for("worker was drained and has ended, will be restarted");
    let again = |text: String| text.lines().filter(|line| line.contains("sim-1 | pid")).count();
    let patience = Instant::now() + Duration::from_secs(10);
    while again(world.log().text()) < 2 {
        assert!(Instant::now() < patience, "only {first}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Nobody drains it this time.
    std::fs::write(&flag, "").expect("written");
    world.log().wait_for("worker ended by itself, without failure");
}

/// A managed flight worker, and one that is started by hand in its place.
async fn replaced(config: &str, token: &str) {
    let workers = "[[workers]]\ntype = \"flight\"\ncommand = [\"spatialdb-flight\", \"--aircraft\", \"5\"]\n";
    // It ends, as whoever is replaced does.
    let ends = ["worker failed at start", "will be restarted", "the worker has failed"];
    let launch = Launch::earth().config(&format!("{config}{workers}"));
    let world = World::launch(ends.into_iter().fold(launch, Launch::allow));
    world.log().wait_for("flight-1 | ");
    world.log().wait_for("session opened");
    let mut command = std::process::Command::new(binary("spatialdb-flight"));
    command.args(["--aircraft", "5", "--replace", "flight-1"]).env("SPATIALDB_ADDRESS", world.address());
    command.env_remove("RUST_LOG").env_remove("SPATIALDB_WORKER_NAME").env("SPATIALDB_TOKEN", token);
    let by_hand = Process::start(&mut command);
    by_hand.stderr.wait_for("attached");
    world.log().wait_for("taken over by one that was started by hand");
    let opened = |world: &World| world.log().text().matches("session opened").count();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(opened(&world), 2, "its own process stays stopped: {}", world.log().text());
    drop(by_hand);
    world.log().wait_for("started by hand has gone: starting its own process");
    eventually("its own process", || async { (opened(&world) == 3).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_worker_started_by_hand_takes_the_place_of_a_managed_one() {
    replaced("", "").await;
}

/// Here the server knows for certain who is who.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn with_tokens_whoever_may_attach_as_a_type_takes_the_place_of_a_managed_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let made = run_in(folder.path(), &["token", "new", "--worker", "flight"]);
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let tokens = folder.path().join("tokens.toml");
    replaced(&format!("[server]\ntokens = {tokens:?}\n"), &made.stdout).await;
}
