//! Which changes of a schema break values.

use spatialdb_schema::{Schema, incompatibilities};

use crate::support::{OPTION, proto3};

const MORE: &str =
    "message M { int32 a = 1; } message N { int32 a = 1; string more = 2; } message W { string a = 1; }
    message R { R next = 1; int32 a = 2; } message S { S next = 1; sint32 a = 2; } enum E { E_ZERO = 0; }";

fn with(fields: &str) -> Schema {
    proto3(&format!("message C {{ {OPTION} {fields} }} {MORE}")).unwrap()
}

fn changed(old: &str, new: &str) -> Vec<String> {
    incompatibilities(&with(old), &with(new))
}

#[test]
fn what_protobuf_allows_is_allowed() {
    for (old, new) in [
        ("int32 a = 1;", "uint64 renamed = 1;"),
        ("int64 a = 1;", "E a = 1;"),
        ("bool a = 1;", "int32 a = 1;"),
        ("fixed64 a = 1;", "sfixed64 a = 1;"),
        ("string a = 1;", "bytes a = 1;"),
        ("M a = 1;", "bytes a = 1;"),
        ("M a = 1;", "N a = 1;"),
        ("N a = 1;", "M a = 1;"),
        ("int32 a = 1;", "repeated int32 a = 1;"),
        ("int32 a = 1;", "oneof o { int32 a = 1; string b = 2; }"),
        ("oneof o { int32 a = 1; string b = 2; }", "int32 a = 1; string b = 2;"),
        ("int32 a = 1; int32 b = 2;", "int32 b = 2; reserved 1;"),
        ("map<string, M> a = 1;", "map<string, N> a = 1;"),
        ("R a = 1;", "R a = 1;"),
    ] {
        assert_eq!(changed(old, new), Vec::<String>::new(), "{old} to {new}");
    }
}

#[test]
fn what_protobuf_forbids_is_told() {
    for (old, new, told) in [
        ("int32 a = 1;", "string a = 1;", "component 1000, t.C.a (1): int32 is now string"),
        ("int32 a = 1;", "sint32 a = 1;", "component 1000, t.C.a (1): int32 is now sint32"),
        ("int32 a = 1;", "fixed32 a = 1;", "component 1000, t.C.a (1): int32 is now fixed32"),
        ("float a = 1;", "double a = 1;", "component 1000, t.C.a (1): float is now double"),
        ("float a = 1;", "fixed32 a = 1;", "component 1000, t.C.a (1): float is now fixed32"),
        ("bytes a = 1;", "string a = 1;", "component 1000, t.C.a (1): bytes is now string"),
        ("bytes a = 1;", "M a = 1;", "component 1000, t.C.a (1): bytes is now t.M"),
        ("repeated int32 a = 1;", "int32 a = 1;", "component 1000, t.C.a (1): no longer repeated"),
        ("map<string, M> a = 1;", "repeated M a = 1;", "component 1000, t.C.a (1): no longer a map"),
        ("repeated M a = 1;", "map<string, M> a = 1;", "component 1000, t.C.a (1): now a map"),
        ("map<string, M> a = 1;", "map<string, W> a = 1;", "component 1000, t.M.a (1): int32 is now string"),
        (
            "map<int32, M> a = 1;",
            "map<string, M> a = 1;",
            "component 1000, t.C.AEntry.key (1): int32 is now string",
        ),
        ("repeated M a = 1;", "repeated W a = 1;", "component 1000, t.M.a (1): int32 is now string"),
        ("R a = 1;", "S a = 1;", "component 1000, t.R.a (2): int32 is now sint32"),
        (
            "int32 a = 1; string b = 2;",
            "oneof o { int32 a = 1; string b = 2; }",
            "component 1000, t.C.o: now a oneof of fields that could be set together",
        ),
    ] {
        assert_eq!(changed(old, new), [told], "{old} to {new}");
    }
}

#[test]
fn components_that_went_or_moved_are_told() {
    let old = with("");
    assert_eq!(incompatibilities(&old, &Schema::built_in()), ["component 1000 t.C: removed"]);
    assert_eq!(incompatibilities(&Schema::built_in(), &old), Vec::<String>::new());
    let moved = proto3("message C { option (spatialdb.v1.component) = { id: 1001 }; }").unwrap();
    assert_eq!(incompatibilities(&old, &moved), ["component 1000 t.C: its id is now 1001"]);
    let renamed = proto3(&format!("message Other {{ {OPTION} }}")).unwrap();
    assert_eq!(incompatibilities(&old, &renamed), Vec::<String>::new());
}
