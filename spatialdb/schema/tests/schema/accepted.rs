//! Schemas that are taken.

use spatialdb_schema::{Durability, Schema};
use spatialdb_types::{ComponentId, Reason};

use crate::support::{OPTION, compile, directory, proto2, proto3};

const WORLD: &[(&str, &str)] = &[
    (
        "earth/city.proto",
        "syntax = \"proto3\"; package earth; import \"spatialdb/v1/schema.proto\"; import \"common/money.proto\";
         import \"google/protobuf/timestamp.proto\"; import \"spatialdb/v1/components.proto\";
         // A comment.
         message City { option (spatialdb.v1.component) = { id: 1001 durability: DURABILITY_DURABLE };
           string name = 1; common.Money budget = 2; google.protobuf.Timestamp founded = 3;
           spatialdb.v1.Position centre = 4; }",
    ),
    (
        "common/money.proto",
        "syntax = \"proto3\"; package common; import \"spatialdb/v1/schema.proto\";
         message Money { option (spatialdb.v1.component).id = 536870911;
           option (spatialdb.v1.component).durability = DURABILITY_VOLATILE; int64 cents = 1; }
         message Plain { message Inner { option (spatialdb.v1.component) = { id: 1000 }; } }",
    ),
];

#[test]
fn the_built_in_schema_has_the_built_in_components() {
    let schema = Schema::built_in();
    let names: Vec<_> =
        schema.components().iter().map(|component| (component.id(), component.name())).collect();
    assert_eq!(
        names,
        [
            (ComponentId::POSITION, "spatialdb.v1.Position"),
            (ComponentId::METADATA, "spatialdb.v1.Metadata"),
            (ComponentId::INTEREST, "spatialdb.v1.Interest"),
            (ComponentId::PLAYER_OWNER, "spatialdb.v1.PlayerOwner"),
            (ComponentId::WORKER_SESSION, "spatialdb.v1.WorkerSession"),
            (ComponentId::FOLLOWS, "spatialdb.v1.Follows"),
        ]
    );
    assert_eq!(Schema::compile(&[]).unwrap().digest(), schema.digest());
}

#[test]
fn components_come_with_id_name_and_durability() {
    let schema = compile(WORLD).unwrap();
    let found: Vec<_> =
        schema.components().iter().map(|one| (one.id().0, one.name(), one.durability())).collect();
    assert_eq!(
        found,
        [
            (1, "spatialdb.v1.Position", Durability::Checkpointed),
            (2, "spatialdb.v1.Metadata", Durability::Checkpointed),
            (3, "spatialdb.v1.Interest", Durability::Checkpointed),
            (4, "spatialdb.v1.PlayerOwner", Durability::Checkpointed),
            (6, "spatialdb.v1.WorkerSession", Durability::Volatile),
            (7, "spatialdb.v1.Follows", Durability::Checkpointed),
            (1000, "common.Plain.Inner", Durability::Checkpointed),
            (1001, "earth.City", Durability::Durable),
            (536_870_911, "common.Money", Durability::Volatile),
        ]
    );
    for component in schema.components() {
        assert_eq!(schema.component(component.id()).unwrap().name(), component.name());
    }
    assert!(schema.component(ComponentId(1002)).is_none());
}

#[test]
fn a_descriptor_set_gives_the_same_schema() {
    let schema = compile(WORLD).unwrap();
    let again = Schema::from_descriptor_set(schema.descriptor_set()).unwrap();
    assert_eq!(again.descriptor_set(), schema.descriptor_set());
    assert_eq!(again.digest(), schema.digest());
    assert_eq!(again.digest().len(), 64);
    assert_eq!(format!("{:?}", again.components()), format!("{:?}", schema.components()));
    assert_ne!(schema.digest(), Schema::built_in().digest());
}

#[test]
fn an_empty_descriptor_set_is_the_built_in_schema() {
    let schema = Schema::from_descriptor_set(&[]).unwrap();
    assert_eq!(schema.digest(), Schema::built_in().digest());
}

#[test]
fn the_digest_knows_fields_and_not_comments_or_directories() {
    let text = |comment, kind| format!("{comment} message C {{ {OPTION} {kind} a = 1; }}");
    let schema = proto3(&text("", "int32")).unwrap();
    assert_eq!(proto3(&text("// Words.\n", "int32")).unwrap().digest(), schema.digest());
    assert_ne!(proto3(&text("", "int64")).unwrap().digest(), schema.digest());
}

#[test]
fn two_directories_are_one_schema() {
    let (first, second) = (directory(&WORLD[..1]), directory(&WORLD[1..]));
    let paths = [first.path().to_owned(), second.path().to_owned()];
    let schema = Schema::compile(&paths).unwrap();
    let reversed = Schema::compile(&[paths[1].clone(), paths[0].clone()]).unwrap();
    assert_eq!(schema.digest(), compile(WORLD).unwrap().digest());
    assert_eq!(schema.digest(), reversed.digest());
}

#[test]
fn proto2_is_taken() {
    let schema = proto2(&format!(
        "message C {{ {OPTION} optional int32 hp = 1 [default = 7]; repeated int32 list = 2; }}
         message Unused {{ required int32 a = 1; extensions 100 to 200; }}"
    ))
    .unwrap();
    assert_eq!(schema.component_named("C").unwrap().check(&[8, 1, 16, 1, 18, 1, 1]), Ok(0));
}

#[test]
fn components_are_found_by_name_and_id() {
    let schema = compile(WORLD).unwrap();
    for name in ["earth.City", "City", "1001"] {
        assert_eq!(schema.component_named(name).unwrap().name(), "earth.City");
    }
    let near = |name: &str| {
        let error = schema.component_named(name).unwrap_err();
        assert_eq!(error.reason, Reason::ComponentUnknown);
        error.detail
    };
    assert_eq!(near("city"), "no component is named \"city\"; near: earth.City");
    assert_eq!(near("earth.Citty"), "no component is named \"earth.Citty\"; near: earth.City");
    assert_eq!(near("1002"), "no component is named \"1002\"");
    assert!(near(&"x".repeat(1 << 20)).len() < 1000);
}

#[test]
fn an_ambiguous_short_name_names_the_components() {
    let schema = proto3(
        "message A { message C { option (spatialdb.v1.component) = { id: 1000 }; } }
         message B { message C { option (spatialdb.v1.component) = { id: 1001 }; } }",
    )
    .unwrap();
    let error = schema.component_named("C").unwrap_err();
    assert_eq!(error.detail, "component \"C\" may be any of t.A.C, t.B.C: use the full name");
}
