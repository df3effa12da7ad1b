//! In a world with layers an SDK knows what it owns.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use spatialdb_proto::v1;
use spatialdb_tests::{DEADLINE, Launch, World};

use super::{Driver, Kind, POSITION, TAG, VITALS, probe, reconnect::serve, wait};

const BODIES: &str = "[[layers]]\nname = \"bodies\"\nworker_type = \"conformance\"\nwith = [\"probe.Vitals\"]\n\
    writes = [\"Position\", \"probe.Vitals\"]\n";

const POSTS: &str = "[[layers]]\nname = \"posts\"\nworker_type = \"conformance\"\nwith = [\"Position\"]\n\
    writes = [\"Position\"]\n[authority]\nlease_ttl = \"1m\"\n";

/// A world with one layer of all entities, and what else is said of it.
fn with_bodies(more: &str) -> World {
    World::launch(Launch::probe().config(&format!("{BODIES}{more}")))
}

fn body(x: i32) -> Value {
    json!({"components": {POSITION: {"x": x, "y": 1}, VITALS: {"hp": 1}, TAG: {}}})
}

fn hp(entity: &str, hp: i32) -> Value {
    json!({"op": "update", "entity": entity, "component": VITALS, "value": {"hp": hp}})
}

fn owns(driver: &mut Driver, entity: &str, scope: &str) -> bool {
    driver.ok(json!({"op": "owns", "entity": entity, "scope": scope}))["owns"] == true
}

pub(crate) fn who_owns_an_entity_writes_it(kind: Kind) {
    let world = with_bodies("[authority]\nlease_ttl = \"1m\"\n");
    let mut owner = Driver::attach(kind, world.address(), "anna");
    let ids = owner.create(json!([body(1), body(2)]));
    owner.owns("bodies", 2);
    let scopes = ["bodies", VITALS, POSITION, TAG, "other"];
    assert_eq!(scopes.map(|scope| owns(&mut owner, &ids[0], scope)), [true, true, true, false, false]);
    owner.ok(hp(&ids[0], 7));
    owner.ok(json!({"op": "update", "entity": ids[1], "component": POSITION, "value": {"x": 5}}));
    owner.accepted();

    let mut other = Driver::start(kind, world.address());
    other.ok(json!({"op": "connect", "type": "other", "name": "bert"}));
    assert!(!owns(&mut other, &ids[0], VITALS));
    other.ok(hp(&ids[0], 8));
    assert_eq!(other.decided(), [("NOT_OWNER".to_owned(), ids[0].clone(), VITALS.to_owned())]);
    assert_eq!(other.told(), [""; 0]);

    owner.ok(json!({"op": "delete", "entities": [ids[1]]}));
    owner.accepted();
    assert_eq!(owner.owns("bodies", 1), ids[..1]);
    let told = owner.told();
    assert!(
        ["region_gained", "gained", "lost"].iter().all(|one| told.iter().any(|it| it == one)),
        "{told:?}"
    );
    owner.close();
    other.close();
}

pub(crate) fn in_an_open_world_anything_is_owned(kind: Kind) {
    let world = probe();
    let mut driver = Driver::attach(kind, world.address(), "anna");
    assert_eq!(driver.subscribe(1, json!({"entityIds": {"entities": ["1", "2"]}})), 2);
    let answer = driver.ok(json!({"op": "owned", "scope": POSITION}));
    assert_eq!((answer["entities"].as_array().map(Vec::len), &answer["regions"]), (Some(2), &json!([])));
    driver.owns("bodies", 2);
    assert!(owns(&mut driver, "77", VITALS) && owns(&mut driver, "77", "bodies"));
    driver.close();
}

/// Two regions are too much for one worker, as soon as there are two.
pub(crate) fn a_region_is_handed_over_behind_what_was_written(kind: Kind) {
    let world = with_bodies(
        "strategy = \"grid\"\ngrid = { x = 500, y = -1000, side_m = 500, columns = 2, rows = 1 }\nload_max = 2\n\
         [authority]\nlease_ttl = \"1m\"\nrest = \"0s\"\n",
    );
    let mut first = Driver::attach(kind, world.address(), "anna");
    let ids = first.create(json!([body(10), body(20), body(910), body(920)]));
    first.owns("bodies", 4);
    let writes: Vec<_> = ids.iter().map(|id| hp(id, 77)).collect();
    first.ok(json!({"op": "before_loss", "writes": writes}));
    first.told();

    let mut second = Driver::attach(kind, world.address(), "bert");
    second.subscribe(1, json!({"owned": {"layer": "bodies"}}));
    let deadline = Instant::now() + DEADLINE;
    let mut told = Vec::new();
    while !told.iter().any(|it| it == "region_lost handed_over") {
        told.extend(first.told());
        second.told();
        assert!(Instant::now() < deadline, "nothing is handed over: {told:?}");
    }
    let (theirs, ours) = (second.owns("bodies", 2), first.owns("bodies", 2));
    assert_eq!(told[..3], ["loss_imminent", "lost", "region_lost handed_over"], "{told:?}");
    for id in &theirs {
        // It was written before, so nobody who owns the entity later has not seen it.
        second.sees_value(id, VITALS, &json!({"hp": 77}));
        second.ok(hp(id, 5));
    }
    second.accepted();
    first.accepted();
    first.ok(hp(&theirs[0], 6));
    first.ok(hp(&ours[0], 6));
    assert_eq!(first.decided(), [("NOT_OWNER".to_owned(), theirs[0].clone(), VITALS.to_owned())]);
    first.close();
    // Who says goodbye leaves what it has to the other.
    second.owns("bodies", 4);
    second.close();
}

pub(crate) fn who_is_silent_loses_what_it_has(kind: Kind) {
    let world = with_bodies("[authority]\nlease_ttl = \"1s\"\n");
    let mut silent = Driver::attach(kind, world.address(), "anna");
    let id = silent.create(json!([body(1)])).remove(0);
    silent.owns("bodies", 1);
    let mut other = Driver::attach(kind, world.address(), "bert");
    let deadline = Instant::now() + DEADLINE;
    while !owns(&mut other, &id, "bodies") {
        other.ok(json!({"op": "heartbeat", "load": 0.5, "tick_ms": 1}));
        std::thread::sleep(Duration::from_millis(50));
        assert!(Instant::now() < deadline, "the silent one keeps it");
    }
    other.ok(hp(&id, 2));
    other.accepted();
    silent.owns("bodies", 0);
    let told = silent.told();
    assert!(told.iter().any(|it| it == "region_lost silent"), "{told:?}");
    silent.close();
    other.close();
}

pub(crate) fn who_has_nothing_to_do_does_not_stand_still(kind: Kind) {
    let world = with_bodies("[authority]\nlease_ttl = \"1m\"\nstall_after = \"1s\"\n");
    let mut idle = Driver::attach(kind, world.address(), "anna");
    idle.create(json!([body(1)]));
    idle.owns("bodies", 1);
    idle.told();
    let (start, mut told) = (Instant::now(), Vec::new());
    // Its loop runs: it takes what comes, which is the answers to its heartbeats.
    while start.elapsed() < Duration::from_secs(3) {
        idle.ok(json!({"op": "heartbeat", "load": 0.5, "tick_ms": 1}));
        told.extend(idle.told());
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(told.is_empty(), "{told:?}");
    idle.owns("bodies", 1);
    idle.close();
}

pub(crate) fn a_drained_worker_gives_all_away(kind: Kind) {
    let world = with_bodies("[authority]\nlease_ttl = \"1m\"\n");
    let mut first = Driver::attach(kind, world.address(), "anna");
    let id = first.create(json!([body(1)])).remove(0);
    first.owns("bodies", 1);
    first.told();
    let mut second = Driver::attach(kind, world.address(), "bert");
    let request = v1::DrainWorkerRequest { name: "anna".to_owned(), ..Default::default() };
    wait(async { world.admin().await.drain_worker(request).await.expect("drained") });
    let deadline = Instant::now() + DEADLINE;
    let mut told = Vec::new();
    while !told.iter().any(|it| it == "drained") {
        told.extend(first.told());
        second.told();
        assert!(Instant::now() < deadline, "it is not drained: {told:?}");
    }
    assert_eq!((told.first(), told.last()), (Some(&"draining".to_owned()), Some(&"drained".to_owned())));
    assert!(told.iter().any(|it| it == "loss_imminent") && first.owns("bodies", 0).is_empty(), "{told:?}");
    second.owns("bodies", 1);
    second.ok(hp(&id, 3));
    second.accepted();
    first.close();
    second.close();
}

pub(crate) fn what_was_owned_goes_with_the_connection(kind: Kind) {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, address) = serve(&folder, "127.0.0.1:0", POSTS);
    let mut driver = Driver::attach(kind, &address, "anna");
    driver.owns("posts", 64);
    let place = |x: i32| json!({"op": "update", "entity": "1", "component": POSITION, "value": {"x": x}});
    driver.ok(place(5));
    driver.accepted();
    drop(server);
    driver.owns("posts", 0);
    let (server, _) = serve(&folder, &address, POSTS);
    driver.ok(json!({"op": "wait_reconnected"}));
    driver.owns("posts", 64);
    driver.ok(place(7));
    driver.accepted();
    driver.close();
    drop(server);
}
