//! What is written is what the world holds.

use serde_json::{Value, json};
use spatialdb_tests::{Launch, World, repository, run};

use super::{Driver, Kind, METADATA, POSITION, TAG, VITALS, made, probe};

fn full() -> Value {
    json!({"hp": 7, "label": "seven", "alive": true, "marks": [1, 2, 3], "seal": "AP8=", "awake": "yes",
        "legs": [{"name": "first", "metres": 1.5}], "stock": {"tea": "-1"}})
}

fn without(mut value: Value, field: &str) -> Value {
    value.as_object_mut().expect("an object").remove(field);
    value
}

fn update(entity: &str, component: &str, value: &Value) -> Value {
    json!({"op": "update", "entity": entity, "component": component, "value": value})
}

pub(crate) fn creates_and_retries(kind: Kind) {
    let world = probe();
    let mut driver = Driver::attach(kind, world.address(), "anna");
    assert_eq!(driver.subscribe(1, json!({"hasComponentNamed": VITALS})), 0);
    let ids = driver.create(json!([
        {"components": {POSITION: {"x": 1, "y": -2, "z": 3}, VITALS: full()}},
        {"components": {VITALS: {}}},
        {"components": {TAG: {}}},
        {"components": {}},
    ]));
    let numbers: Vec<u64> = ids.iter().map(|id| id.parse().expect("a number")).collect();
    assert!(numbers[0] >= 1000 && numbers.is_sorted() && numbers.len() == 4, "{ids:?}");
    driver.accepted();
    driver.sees_value(&ids[0], VITALS, &full());
    driver.sees_value(&ids[0], POSITION, &json!({"x": 1, "y": -2, "z": 3}));
    driver.sees_value(&ids[1], VITALS, &json!({}));
    assert_eq!(driver.replica().len(), 2);
    assert_eq!(super::wait(world.count(spatialdb_tests::all_made())), 64 + 4);
    driver.close();
}

pub(crate) fn ids_are_chosen_from_a_reserved_block(kind: Kind) {
    let world = probe();
    let mut driver = Driver::attach(kind, world.address(), "anna");
    let first = driver.ok(json!({"op": "reserve", "count": 10}))["first"].clone();
    let first: u64 = first.as_str().expect("a text").parse().expect("a number");
    let entity = |id: u64| json!({"id": id.to_string(), "components": {VITALS: {"hp": 1}}});
    let wanted = [(first + 3).to_string(), first.to_string()];
    // Sent twice, it happens once, and gets the same answer.
    for _ in 0..2 {
        assert_eq!(driver.create(json!([entity(first + 3), entity(first)])), wanted);
    }
    driver.accepted();
    assert_eq!(super::wait(world.count(spatialdb_tests::all_made())), 64 + 2);
    assert_eq!(
        driver.create(json!([entity(first + 1), entity(5)])),
        [(first + 1).to_string(), "0".to_owned()]
    );
    let refused = driver.decided();
    assert_eq!((refused.len(), refused[0].0.as_str(), refused[0].1.as_str()), (1, "ID_NOT_RESERVED", "5"));
    driver.close();
}

pub(crate) fn whole_values_replace_whole_values(kind: Kind) {
    let world = probe();
    let mut driver = Driver::attach(kind, world.address(), "anna");
    let ids = driver.create(json!([{"components": {VITALS: full(), METADATA: {"name": "one"}}}]));
    driver.subscribe(1, json!({"entityIds": {"entities": ids}}));
    for value in [json!({"hp": -5}), full(), json!({}), json!({"asleepS": 9, "marks": [-1, 0]})] {
        driver.ok(update(&ids[0], VITALS, &value));
        driver.accepted();
        driver.sees_value(&ids[0], VITALS, &value);
    }
    driver.sees_value(&ids[0], METADATA, &json!({"name": "one"}));
    driver.close();
}

pub(crate) fn each_field_is_set_to_nothing_alone(kind: Kind) {
    let world = probe();
    let mut driver = Driver::attach(kind, world.address(), "anna");
    let ids = driver.create(json!([{"components": {VITALS: full()}}]));
    driver.subscribe(1, json!({"entityIds": {"entities": ids}}));
    let partial = |fields: Value, value: Value| json!({"op": "update", "entity": ids[0], "component": VITALS, "value": value, "fields": fields});
    let nothing = [
        ("hp", json!(0)),
        ("label", json!("")),
        ("alive", json!(false)),
        ("marks", json!([])),
        ("seal", json!("")),
        ("legs", json!([])),
        ("stock", json!({})),
    ];
    for (field, value) in nothing {
        driver.ok(partial(json!([field]), json!({field: value})));
        driver.accepted();
        driver.sees_value(&ids[0], VITALS, &without(full(), field));
        driver.ok(update(&ids[0], VITALS, &full()));
    }
    // A field that the value lacks, the arm of a oneof that is not set, several at once.
    driver.ok(partial(json!(["awake", "hp"]), json!({"hp": 8})));
    driver.accepted();
    let mut left = without(full(), "awake");
    left["hp"] = json!(8);
    driver.sees_value(&ids[0], VITALS, &left);
    // What is not named stays, although the value has it.
    driver.ok(partial(json!(["label"]), json!({"hp": 99, "label": "new", "marks": [9]})));
    driver.accepted();
    left["label"] = json!("new");
    driver.sees_value(&ids[0], VITALS, &left);
    driver.close();
}

pub(crate) fn positions_are_written_whole(kind: Kind) {
    let world = probe();
    let mut driver = Driver::attach(kind, world.address(), "anna");
    driver.subscribe(1, json!({"entityIds": {"entities": ["1"]}}));
    let places = [
        json!({"x": 12.25, "y": -7.5, "z": 100}),
        json!({"x": 0.1, "y": 1e9}),
        json!({}),
        json!({"space": 7, "x": -1050}),
        json!({"z": -3}),
    ];
    for place in places {
        driver.ok(update("1", POSITION, &place));
        driver.accepted();
        driver.sees_value("1", POSITION, &place);
    }
    driver.close();
}

pub(crate) fn components_are_added_and_removed(kind: Kind) {
    let world = probe();
    let mut driver = Driver::attach(kind, world.address(), "anna");
    let ids = driver.create(json!([{"components": {TAG: {}}}]));
    driver.subscribe(1, json!({"entityIds": {"entities": ids}}));
    let add = |component: &str, value: Value| json!({"op": "add", "entity": ids[0], "component": component, "value": value});
    let remove = |component: &str| json!({"op": "remove", "entity": ids[0], "component": component});
    driver.ok(add(VITALS, json!({"hp": 3})));
    driver.ok(add(POSITION, json!({"x": 5})));
    driver.accepted();
    driver.sees_value(&ids[0], VITALS, &json!({"hp": 3}));
    driver.sees_value(&ids[0], POSITION, &json!({"x": 5}));
    // One that is there already gets the new value.
    driver.ok(add(VITALS, json!({"label": "again"})));
    driver.ok(remove(TAG));
    driver.accepted();
    driver.sees("one is gone and one is new", |replica| {
        replica[&ids[0]]
            == super::super::driver::floats(json!({VITALS: {"label": "again"}, POSITION: {"x": 5}}))
    });
    // In the order they were said.
    driver.ok(remove(VITALS));
    driver.ok(add(VITALS, json!({"hp": 1})));
    driver.ok(update(&ids[0], VITALS, &json!({"hp": 2})));
    driver.ok(remove(VITALS));
    driver.ok(remove(POSITION));
    driver.accepted();
    driver.sees("nothing is left", |replica| replica[&ids[0]] == json!({}));
    driver.close();
}

pub(crate) fn what_is_deleted_leaves(kind: Kind) {
    let world = probe();
    let mut driver = Driver::attach(kind, world.address(), "anna");
    assert_eq!(driver.subscribe(1, made()), 64);
    driver.ok(json!({"op": "delete", "entities": ["1", "64", "30"]}));
    driver.accepted();
    driver.sees("they leave", |replica| {
        replica.len() == 61 && ["1", "64", "30"].iter().all(|id| !replica.contains_key(*id))
    });
    assert_eq!(super::wait(world.count(spatialdb_tests::all_made())), 61);
    driver.close();
}

pub(crate) fn refusals_name_reason_entity_and_component(kind: Kind) {
    let world = probe();
    let mut driver = Driver::attach(kind, world.address(), "anna");
    let put = |op: &str, entity: &str, component: &str, value: Value| json!({"op": op, "entity": entity, "component": component, "value": value});
    let far = f64::powi(2.0, 41);
    let cases = [
        (put("update", "999", VITALS, json!({"hp": 1})), "ENTITY_NOT_FOUND", "999", VITALS),
        (put("update", "1", VITALS, json!({"hp": 1})), "COMPONENT_NOT_FOUND", "1", VITALS),
        (put("update", "999", POSITION, json!({"x": 1})), "ENTITY_NOT_FOUND", "999", POSITION),
        (put("update", "2", POSITION, json!({"x": far})), "POSITION_INVALID", "2", POSITION),
        (put("add", "999", TAG, json!({})), "ENTITY_NOT_FOUND", "999", TAG),
        (put("add", "3", POSITION, json!({"space": 4})), "SPACE_UNKNOWN", "", POSITION),
        (json!({"op": "remove", "entity": "1", "component": TAG}), "COMPONENT_NOT_FOUND", "1", TAG),
        (json!({"op": "delete", "entities": ["999"]}), "ENTITY_NOT_FOUND", "999", ""),
    ];
    for (operation, reason, entity, component) in cases {
        driver.ok(operation.clone());
        let refused = driver.decided();
        let [(said, whose, which)] = &refused[..] else { panic!("{operation}: {refused:?}") };
        assert_eq!((said.as_str(), whose.as_str()), (reason, entity), "{operation}");
        // A whole column may be refused, which names no row.
        assert!(which == component || which.is_empty() && reason == "SPACE_UNKNOWN", "{operation}: {which}");
    }
    // One bad row does not take the others with it.
    for entity in ["4", "999", "5"] {
        driver.ok(put("add", entity, VITALS, json!({"hp": 4})));
    }
    assert_eq!(driver.decided().len(), 1);
    assert_eq!(driver.subscribe(1, json!({"hasComponentNamed": VITALS})), 2);
    driver.close();
}

pub(crate) fn requests_that_cannot_be_are_refused(kind: Kind) {
    let world = probe();
    let mut driver = Driver::attach(kind, world.address(), "anna");
    let subscribe = |query: Value| json!({"op": "subscribe", "view": 1, "query": query, "components": []});
    let turned = json!({"box": {"min": {"x": 1}, "max": {"x": 0}}});
    assert_eq!(driver.refused(subscribe(turned.clone())), "QUERY_INVALID");
    assert_eq!(driver.refused(subscribe(json!({"sphere": {"center": {}, "radiusM": -1}}))), "QUERY_INVALID");
    assert_eq!(driver.refused(json!({"op": "reserve", "count": 0})), "LIMIT_REACHED");
    assert_eq!(driver.refused(json!({"op": "reserve", "count": (1 << 20) + 1})), "LIMIT_REACHED");
    let nobody = json!({"op": "update", "entity": "1", "component": "probe.Nobody", "value": {}});
    assert_eq!(driver.refused(nobody), "COMPONENT_UNKNOWN");
    // It goes on, under the same number of a view too. A change that is refused leaves the view as it is.
    assert_eq!(driver.subscribe(1, json!({"entityIds": {"entities": ["1", "2"]}})), 2);
    let change = json!({"op": "change_view", "view": 1, "query": turned, "components": []});
    assert_eq!(driver.refused(change), "QUERY_INVALID");
    driver.sees("the view is as it was", |replica| replica.len() == 2);
    driver.close();
}

pub(crate) fn numbers_of_64_bits_are_exact(kind: Kind) {
    let folder = tempfile::tempdir().expect("a folder");
    let next: u64 = (1 << 53) - 4096;
    let old = next - 1;
    let text = format!(
        "{{\"world\":\"far\",\"next_entity_id\":\"{next}\"}}\n{{\"id\":\"{old}\",\"components\":{{\"probe.Tag\":{{}}}}}}\n"
    );
    let lines = folder.path().join("far.jsonl");
    std::fs::write(&lines, text).expect("written");
    let snapshot = folder.path().join("far.snapshot");
    let schema = repository().join("tests/schema");
    let [lines, to, schema] = [&lines, &snapshot, &schema].map(|path| path.to_str().expect("text"));
    let done = run(&["snapshot", "convert", lines, to, "--schema", schema]);
    assert_eq!(done.code, Some(0), "{}", done.stderr);

    let world = World::launch(Launch::default().snapshot(snapshot));
    let mut driver = Driver::attach(kind, world.address(), "anna");
    assert_eq!(driver.subscribe(1, json!({"entityIds": {"entities": [old.to_string()]}})), 1);
    assert!(driver.replica().contains_key(&old.to_string()));
    let first = driver.ok(json!({"op": "reserve", "count": 2}))["first"].clone();
    let first: u64 = first.as_str().expect("a text").parse().expect("a number");
    assert!(first >= next && first % 2 != (first + 1) % 2);
    let stock = json!({"stock": {"most": i64::MAX.to_string(), "least": i64::MIN.to_string()}});
    let both = [first.to_string(), (first + 1).to_string()];
    let entity = |id: &String| json!({"id": id, "components": {VITALS: stock, POSITION: {"x": 1}}});
    assert_eq!(driver.create(json!([entity(&both[0]), entity(&both[1])])), both);
    assert_eq!(driver.subscribe(2, json!({"hasComponentNamed": VITALS})), 2);
    for id in &both {
        driver.sees_value(id, VITALS, &stock);
        driver.ok(update(id, POSITION, &json!({"y": 2})));
        driver.accepted();
        driver.sees_value(id, POSITION, &json!({"y": 2}));
    }
    driver.ok(update(&(1_u64 << 53).to_string(), POSITION, &json!({"y": 2})));
    assert_eq!(driver.decided().iter().map(|one| one.0.as_str()).collect::<Vec<_>>(), ["ENTITY_ID_INVALID"]);
    driver.close();
}
