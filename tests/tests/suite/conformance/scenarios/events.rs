//! Events of entities: told once, to who looks.

use std::time::Instant;

use serde_json::{Value, json};
use spatialdb_tests::DEADLINE;

use super::{Driver, Kind, POSITION, VITALS, probe};

fn hit(entity: &str, power: i32) -> Value {
    json!({"op": "emit", "entity": entity, "event": "probe.Hit", "value": {"power": power, "by": "anna"}})
}

/// Waits for so many events. Gives entity and power of each.
fn events(driver: &mut Driver, count: usize) -> Vec<(String, f64)> {
    let (mut told, deadline) = (Vec::new(), Instant::now() + DEADLINE);
    while told.len() < count {
        let answer = driver.ok(json!({"op": "events"}));
        assert_eq!(answer["missed"], 0, "{answer}");
        for event in answer["events"].as_array().into_iter().flatten() {
            assert_eq!((&event["event"], &event["value"]["by"]), (&json!("probe.Hit"), &json!("anna")));
            let power = event["value"]["power"].as_f64().unwrap_or(0.0);
            told.push((event["entity"].as_str().expect("a text").to_owned(), power));
        }
        assert!(Instant::now() < deadline, "{count} events do not come: {told:?}");
    }
    told
}

pub(crate) fn events_are_told_once_to_who_has_them_in_view(kind: Kind) {
    let world = probe();
    let mut writer = Driver::attach(kind, world.address(), "writer");
    let mut viewer = Driver::attach(kind, world.address(), "viewer");
    let mut blind = Driver::attach(kind, world.address(), "blind");
    let entity = |x: i32| json!({"components": {POSITION: {"x": x, "y": 1}, VITALS: {"hp": 9}}});
    let ids = writer.create(json!([entity(1), entity(2), entity(5000)]));
    let square = json!({"box": {"min": {"x": -100, "y": -100}, "max": {"x": 100, "y": 100}}});
    assert_eq!(viewer.subscribe(1, square.clone()), 2);
    // Without the component there is no event either.
    blind.ok(json!({"op": "subscribe", "view": 1, "query": square, "components": [POSITION]}));

    for power in 1..=5 {
        writer.ok(hit(&ids[0], power));
        writer.ok(hit(&ids[2], power));
    }
    writer.accepted();
    writer.ok(hit(&ids[1], 6));
    writer.accepted();
    let mut told = events(&mut viewer, 6);
    assert_eq!(told.pop(), Some((ids[1].clone(), 6.0)));
    assert_eq!(told, (1..=5).map(|power| (ids[0].clone(), f64::from(power))).collect::<Vec<_>>());

    // Who sees an event sees what was written before.
    writer.ok(json!({"op": "update", "entity": ids[0], "component": VITALS, "value": {"hp": 3}}));
    writer.ok(hit(&ids[0], 7));
    assert_eq!(events(&mut viewer, 1), [(ids[0].clone(), 7.0)]);
    assert_eq!(viewer.replica()[&ids[0]][VITALS]["hp"], 3.0);
    assert_eq!(blind.ok(json!({"op": "events"}))["events"], json!([]));

    // To what is not there, or lacks the component, nothing happens.
    writer.ok(hit("1", 1));
    writer.ok(hit("4711", 1));
    let mut reasons: Vec<String> = writer.decided().into_iter().map(|refused| refused.0).collect();
    reasons.sort_unstable();
    assert_eq!(reasons, ["COMPONENT_NOT_FOUND", "ENTITY_NOT_FOUND"]);
    writer.close();
    viewer.close();
    blind.close();
}
