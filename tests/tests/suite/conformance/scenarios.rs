//! What every SDK must do. Each scenario has a world of its own.

mod doors;
mod events;
mod owners;
mod questions;
mod reconnect;
mod views;
mod writes;

use std::future::Future;

use serde_json::{Value, json};
use spatialdb_proto::v1;
use spatialdb_tests::{World, repository, run};

pub(crate) use self::{
    doors::{a_locked_world_lets_in_who_has_a_token, it_comes_in_encrypted},
    events::events_are_told_once_to_who_has_them_in_view,
    owners::{
        a_drained_worker_gives_all_away, a_region_is_handed_over_behind_what_was_written,
        in_an_open_world_anything_is_owned, what_was_owned_goes_with_the_connection,
        who_has_nothing_to_do_does_not_stand_still, who_is_silent_loses_what_it_has,
        who_owns_an_entity_writes_it,
    },
    questions::questions_are_answered,
    reconnect::it_comes_back_after_the_server_was_killed,
    views::{
        a_changed_view_shows_what_it_matches_now, a_view_shows_only_its_components,
        a_view_tells_of_enter_update_and_leave, an_interest_is_a_component_like_others,
        an_interest_shows_its_owner_what_it_sees, densities_count_by_square_and_type,
        every_constraint_selects, many_entities_arrive_whole, own_updates_come_back_when_asked_for,
        rates_go_by_distance, what_is_near_an_entity_follows_it,
    },
    writes::{
        components_are_added_and_removed, creates_and_retries, each_field_is_set_to_nothing_alone,
        ids_are_chosen_from_a_reserved_block, numbers_of_64_bits_are_exact, positions_are_written_whole,
        refusals_name_reason_entity_and_component, requests_that_cannot_be_are_refused,
        what_is_deleted_leaves, whole_values_replace_whole_values,
    },
};
use super::{
    driver::{Driver, Kind},
    probe,
};

const VITALS: &str = "probe.Vitals";
const TAG: &str = "probe.Tag";
const POSITION: &str = "spatialdb.v1.Position";
const METADATA: &str = "spatialdb.v1.Metadata";
const INTEREST: &str = "spatialdb.v1.Interest";
const OWNER: &str = "spatialdb.v1.PlayerOwner";

/// What is in the world but for the entities that stand for sessions.
fn made() -> Value {
    json!({"not": {"hasComponentNamed": "spatialdb.v1.WorkerSession"}})
}

/// Runs what is asynchronous in the harness.
fn wait<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.expect("a runtime").block_on(future)
}

fn session(world: &World, name: &str) -> v1::SessionInfo {
    wait(world.session("the session is there", |session| session.name == name))
}

pub(crate) fn attaches_under_a_name_and_says_goodbye(kind: Kind) {
    let world = probe();
    let mut named = Driver::start(kind, world.address());
    let reason = named.refused(json!({"op": "connect", "type": "no good", "name": ""}));
    assert_eq!(reason, "NAME_INVALID");
    let answer = named.ok(json!({"op": "connect", "type": "conformance", "name": "anna"}));
    assert_eq!(answer["name"], "anna");
    let listed = session(&world, "anna");
    assert_eq!(answer["session"], listed.session_id.to_string());
    assert_eq!(listed.worker_type, "conformance");

    let mut nameless = Driver::start(kind, world.address());
    let given = nameless.ok(json!({"op": "connect", "type": "conformance", "name": ""}));
    let name = given["name"].as_str().expect("a text");
    assert!(!name.is_empty() && name != "anna", "{given}");
    assert_eq!(given["session"], session(&world, name).session_id.to_string());

    named.close();
    nameless.close();
    wait(spatialdb_tests::eventually("both are gone", || async {
        world.sessions().await.is_empty().then_some(())
    }));
}

pub(crate) fn a_newer_session_of_the_name_replaces_it(kind: Kind) {
    let world = probe();
    let mut first = Driver::attach(kind, world.address(), "anna");
    first.subscribe(1, made());
    let mut second = Driver::attach(kind, world.address(), "anna");
    // It hears of it sooner or later, and does not come back: the newer one stays.
    let deadline = std::time::Instant::now() + spatialdb_tests::DEADLINE;
    loop {
        let update = json!({"op": "update", "entity": "1", "component": POSITION, "value": {}});
        if first.ask(update).get("error").is_some()
            || first.ask(json!({"op": "decided"})).get("error").is_some()
        {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "the older session goes on");
    }
    assert_eq!(second.subscribe(1, made()), 64);
    second.accepted();
    second.close();
}

pub(crate) fn heartbeats_show(kind: Kind) {
    let world = probe();
    let mut driver = Driver::attach(kind, world.address(), "anna");
    driver.ok(json!({"op": "heartbeat", "load": 0.625, "tick_ms": 12.5}));
    driver.accepted();
    let shown = wait(world.session("the heartbeat has come", |session| session.load > 0.0));
    assert_eq!((shown.load, shown.tick_ms), (0.625, 12.5));
    driver.close();
}

pub(crate) fn a_component_that_is_added_is_usable(kind: Kind) {
    let world = probe();
    let mut driver = Driver::attach(kind, world.address(), "anna");
    let before = driver.ok(json!({"op": "schema"}))["digest"].clone();
    let folder = tempfile::tempdir().expect("a folder");
    let text = std::fs::read_to_string(repository().join("tests/schema/probe.proto")).expect("there");
    let more = "message Mood { option (spatialdb.v1.component) = { id: 1500 }; string word = 1; }\n";
    std::fs::write(folder.path().join("probe.proto"), text + more).expect("written");
    let path = folder.path().to_str().expect("text");
    let done = run(&["schema", "apply", path, "--address", world.address()]);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let deadline = std::time::Instant::now() + spatialdb_tests::DEADLINE;
    while driver.ok(json!({"op": "schema"}))["components"]["1500"] != "probe.Mood" {
        assert!(std::time::Instant::now() < deadline, "the new component does not come");
    }
    assert_ne!(driver.ok(json!({"op": "schema"}))["digest"], before);
    // What was known still is.
    driver.subscribe(1, json!({"hasComponentNamed": VITALS}));
    let id = driver.create(json!([{"components": {VITALS: {"hp": 3}}}])).remove(0);
    driver.sees_value(&id, VITALS, &json!({"hp": 3}));
    driver.close();
}

pub(crate) fn flags_and_schema_are_known(kind: Kind) {
    let world = probe();
    let set = |name: &str, value: &str| {
        let flags = [(name.to_owned(), value.to_owned())].into();
        let request =
            v1::SetFlagsRequest { worker_type: "conformance".to_owned(), flags, ..Default::default() };
        wait(async { world.tools().await.set_flags(request).await.expect("set") });
    };
    set("speed", "fast");
    let mut driver = Driver::attach(kind, world.address(), "anna");
    assert_eq!(driver.ok(json!({"op": "flags"}))["flags"], json!({"speed": "fast"}));
    set("colour", "");
    let deadline = std::time::Instant::now() + spatialdb_tests::DEADLINE;
    while driver.ok(json!({"op": "flags"}))["flags"] != json!({"speed": "fast", "colour": ""}) {
        assert!(std::time::Instant::now() < deadline, "the new flag does not come");
    }

    let answer = driver.ok(json!({"op": "schema"}));
    let schema = wait(async { world.tools().await.get_schema(v1::GetSchemaRequest {}).await });
    let schema = schema.expect("a schema").into_inner();
    assert_eq!(answer["digest"], schema.digest);
    let known = answer["components"].as_object().expect("components");
    assert_eq!(known.len(), schema.components.len());
    for component in schema.components {
        assert_eq!(known[&component.id.to_string()], component.name);
    }
    driver.close();
}
