//! Events of components: taken, refused, and told apart.

use spatialdb_schema::{Schema, additions, incompatibilities, losses};
use spatialdb_types::{ComponentId, EventId};

use crate::support::{OPTION, compile, proto3};

fn with(events: &str) -> Schema {
    proto3(&format!("message C {{ {OPTION} }}\n{events}")).unwrap()
}

fn event(name: &str, id: u32, component: u32, fields: &str) -> String {
    format!(
        "message {name} {{ option (spatialdb.v1.event) = {{ id: {id}, component: {component} }}; {fields} }}\n"
    )
}

/// The error from the name of the file on.
fn refused(definitions: &str) -> String {
    let text = format!("message C {{ {OPTION} }}\n{definitions}");
    let error = proto3(&text).expect_err("refused").to_string();
    error.split_once("t.proto").map_or(error.clone(), |(_, after)| format!("t.proto{after}"))
}

#[test]
fn events_come_with_component_id_and_name() {
    let schema = with(&(event("B", 7, 1000, "") + &event("A", 7, 1, "") + &event("D", 1, 1000, "")));
    let again = Schema::from_descriptor_set(schema.descriptor_set()).unwrap();
    for schema in [&schema, &again] {
        let found = schema.events().iter().map(|e| (e.component().0, e.id().0, e.name())).collect::<Vec<_>>();
        assert_eq!(found, [(1, 7, "t.A"), (1000, 1, "t.D"), (1000, 7, "t.B")]);
        assert_eq!(schema.event(ComponentId(1000), EventId(7)).map(|event| event.name()), Some("t.B"));
        assert!(schema.event(ComponentId(1000), EventId(2)).is_none());
    }
    assert!(Schema::built_in().events().is_empty());
}

#[test]
fn a_payload_is_checked_like_a_value() {
    let schema = with(&event("Boom", 1, 1000, "double power = 1; string by = 2;"));
    let boom = schema.event(ComponentId(1000), EventId(1)).unwrap();
    assert_eq!(boom.check(&[]), Ok(0));
    assert_eq!(boom.check(&[0x12, 1, b'x', 0x18, 1]), Ok(1));
    let error = boom.check(&[0x12, 1, 0xff]).unwrap_err();
    assert_eq!(error.to_string(), "event t.Boom, field by: not valid UTF-8");
}

#[test]
fn bad_events_are_refused_with_file_message_and_advice() {
    assert_eq!(refused(&event("E", 0, 1000, "")), "t.proto:5: event t.E has id 0; give it an id from 1");
    assert_eq!(
        refused(&event("E", 1 << 29, 1000, "")),
        "t.proto:5: event t.E has id 536870912, and the last id is 536870911"
    );
    assert_eq!(
        refused(&event("E", 1, 1001, "")),
        "t.proto:5: event t.E is of component 1001, which the schema does not have; give it the id of one that it has"
    );
    let both = "message E { option (spatialdb.v1.component) = { id: 1001 };
        option (spatialdb.v1.event) = { id: 1, component: 1000 }; }";
    assert_eq!(refused(both), "t.proto:5: event t.E is a component too; give the event a message of its own");
    let twice = refused(&(event("E", 1, 1000, "") + &event("F", 1, 1000, "")));
    assert!(twice.ends_with("t.proto:6); give one another id"), "{twice}");
    let head = "syntax = \"proto2\"; package t; import \"spatialdb/v1/schema.proto\";";
    let text = format!(
        "{head} message C {{ {OPTION} }} message E {{ option (spatialdb.v1.event) = {{ id: 1, component: 1000 }};
        required int32 a = 1; }}"
    );
    let error = compile(&[("t.proto", &text)]).unwrap_err().to_string();
    assert!(error.contains("t.E.a is required, used by event t.E, "), "{error}");
}

#[test]
fn a_running_world_keeps_its_events() {
    let old = with(&(event("A", 1, 1000, "int32 a = 1;") + &event("B", 2, 1000, "")));
    let grown = with(
        &(event("A", 1, 1000, "int32 a = 1; int32 b = 2;")
            + &event("B", 2, 1000, "")
            + &event("D", 3, 1, "")),
    );
    assert_eq!(losses(&old, &grown), Vec::<String>::new());
    assert_eq!(additions(&old, &grown), ["t.D", "t.A.b"]);
    let other = with(&(event("A", 1, 1000, "string a = 1;") + &event("D", 2, 1000, "")));
    assert_eq!(
        losses(&old, &other),
        ["component 1000, event 2: t.B is now t.D", "component 1000, t.A.a (1): int32 is now string",]
    );
    assert_eq!(
        losses(&grown, &old),
        ["component 1, event 3 t.D: removed", "component 1000, t.A.b (2): removed"]
    );
    // They are not stored: values do not mind.
    assert_eq!(incompatibilities(&old, &other), Vec::<String>::new());
}
