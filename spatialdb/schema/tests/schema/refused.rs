//! Schemas that are refused: each error names file, line and advice.

use std::fs;

use spatialdb_schema::{Schema, SchemaError};
use spatialdb_types::{Error, Limits, Reason};

use crate::support::{OPTION, compile, directory, proto2, proto3};

/// The message of the error, with the directory cut out.
fn refused(result: Result<Schema, SchemaError>) -> String {
    let error = result.expect_err("refused");
    let text = error.to_string();
    assert_eq!(Error::from(error).reason, Reason::SchemaInvalid);
    match text.split_once("t.proto") {
        Some((before, after)) if before.starts_with('/') => format!("t.proto{after}"),
        _ => text,
    }
}

fn with_id(id: u32) -> String {
    format!("message C {{\n  option (spatialdb.v1.component) = {{ id: {id} }};\n}}")
}

#[test]
fn duplicate_ids_name_both_files_and_messages() {
    let head = "syntax = \"proto3\"; import \"spatialdb/v1/schema.proto\";\n";
    let directory = directory(&[
        ("a.proto", &format!("{head}package a; message One {{ {OPTION} }}")),
        ("b.proto", &format!("{head}\npackage b; message Two {{ {OPTION} }}")),
    ]);
    let error = Schema::compile(&[directory.path().to_owned()]).unwrap_err().to_string();
    let (a, b) = (directory.path().join("a.proto"), directory.path().join("b.proto"));
    assert_eq!(
        error,
        format!(
            "component id 1000 is used twice: a.One ({}:2) and b.Two ({}:3); give one another id",
            a.display(),
            b.display()
        )
    );
}

#[test]
fn ids_keep_their_range() {
    assert_eq!(refused(proto3(&with_id(0))), "t.proto:4: component t.C has id 0; give it an id from 1000");
    for id in [1, 3, 999] {
        assert_eq!(
            refused(proto3(&with_id(id))),
            format!(
                "t.proto:4: component t.C has id {id}, and 1..999 belong to spatialdb; give it an id from 1000"
            )
        );
    }
    assert_eq!(
        refused(proto3(&with_id(1 << 29))),
        "t.proto:4: component t.C has id 536870912, and the last id is 536870911"
    );
    // The package alone does not make a file ours.
    let text = with_id(7);
    let text =
        format!("syntax = \"proto3\"; package spatialdb.v1; import \"spatialdb/v1/schema.proto\";{text}");
    assert!(refused(compile(&[("t.proto", &text)])).contains("1..999 belong to spatialdb"));
}

#[test]
fn an_option_without_id_or_with_an_unknown_durability_is_refused() {
    let option = |value| format!("message C {{ option (spatialdb.v1.component) = {{ {value} }}; }}");
    assert!(refused(proto3(&option("durability: DURABILITY_DURABLE"))).contains("t.C has id 0"));
    assert!(refused(proto3(&option("id: 1000 durability: DURABILITY_ETERNAL"))).starts_with("t.proto:4: "));
}

#[test]
fn what_components_may_not_have_is_refused_where_it_stands() {
    let refused = |definitions: &str| refused(proto2(definitions));
    assert_eq!(
        refused(&format!("message C {{ {OPTION}\n  required int32 a = 1; }}")),
        "t.proto:5: t.C.a is required, used by component t.C, and partial updates could leave it out; make it optional"
    );
    assert_eq!(
        refused(&format!(
            "message C {{ {OPTION} optional Inner a = 1; }}\nmessage Inner {{ extensions 100 to 200; }}"
        )),
        "t.proto:5: t.Inner has extension ranges, used by component t.C, which components and events may not have; use ordinary \
         fields or a google.protobuf.Any"
    );
    assert_eq!(
        refused(&format!("message C {{ {OPTION}\n\n  repeated group Old = 1 {{ }} }}")),
        "t.proto:6: t.C.old is a group, used by component t.C, which components and events may not have; use a nested message"
    );
}

#[test]
fn too_many_components_name_the_limit() {
    let limit = Limits::default().schema_components_max;
    let built_in = Schema::built_in().components().len() as u64;
    let messages = |count: u64| {
        let message = |id| format!("message C{id} {{ option (spatialdb.v1.component) = {{ id: {id} }}; }}\n");
        (1000..1000 + count).map(message).collect::<String>()
    };
    assert!(proto3(&messages(limit - built_in)).is_ok());
    assert_eq!(
        refused(proto3(&messages(limit - built_in + 1))),
        format!("the schema has {} components, and schema_components_max is {limit}; remove some", limit + 1)
    );
}

#[test]
fn what_the_compiler_refuses_has_file_and_line() {
    let text = refused(proto3("message C {\n  int32 hp 1;\n}"));
    assert!(text.starts_with("t.proto:5: expected"), "{text}");
    let text = refused(proto3("message C {\n  Missing hp = 1;\n}"));
    assert!(text.starts_with("t.proto:5: name 'Missing' is not defined"), "{text}");
    let text = refused(proto3("import \"other/missing.proto\";"));
    assert_eq!(
        text,
        "t.proto:4: import 'other/missing.proto' not found; imports are relative to a schema directory, and \
         spatialdb/v1/* and google/protobuf/* are built in"
    );
    let text = refused(compile(&[("t.proto", "\nedition = \"2023\";\nmessage C {}")]));
    assert_eq!(text, "t.proto:2: protobuf editions are not supported; write `syntax = \"proto3\";` instead");
    let directory = directory(&[]);
    fs::write(directory.path().join("t.proto"), [0xff, 0xfe]).unwrap();
    let text = refused(Schema::compile(&[directory.path().to_owned()]));
    assert_eq!(text, "t.proto: file 't.proto' is not valid utf-8");
}

#[test]
fn an_import_cycle_is_refused() {
    let text = refused(compile(&[
        ("t.proto", "syntax = \"proto3\"; import \"u.proto\";"),
        ("u.proto", "syntax = \"proto3\"; import \"t.proto\";"),
    ]));
    assert_eq!(text, "t.proto: is part of an import cycle; move what the files share into one of its own");
}

#[test]
fn built_in_files_cannot_be_shadowed() {
    for name in ["spatialdb/v1/schema.proto", "spatialdb/v1/mine.proto", "google/protobuf/any.proto"] {
        let text = refused(compile(&[(name, "syntax = \"proto3\";")]));
        assert!(text.contains(&format!("{name}: {name} is built in; remove the file")), "{text}");
    }
}

#[test]
fn directories_are_named() {
    let empty = directory(&[("notes.txt", "")]);
    let path = empty.path().to_owned();
    assert_eq!(
        refused(Schema::compile(std::slice::from_ref(&path))),
        format!(
            "{}: no .proto file in it or below it; name the directory that holds the schema",
            path.display()
        )
    );
    let missing = path.join("missing");
    assert_eq!(
        refused(Schema::compile(std::slice::from_ref(&missing))),
        format!("{}: no such directory; name a directory with .proto files", missing.display())
    );
    let file = path.join("notes.txt");
    assert!(refused(Schema::compile(&[file])).contains("notes.txt: cannot be read"));
}

#[test]
fn one_import_path_in_two_directories_names_both() {
    let files = [("same.proto", "syntax = \"proto3\";")];
    let (first, second) = (directory(&files), directory(&files));
    let text = refused(Schema::compile(&[first.path().to_owned(), second.path().to_owned()]));
    let (first, second) = (first.path().join("same.proto"), second.path().join("same.proto"));
    assert_eq!(
        text,
        format!(
            "same.proto is in two directories: {} and {}; rename or remove one",
            first.display(),
            second.display()
        )
    );
}

#[test]
#[cfg(unix)]
fn a_link_that_points_upwards_ends() {
    let directory = directory(&[("t.proto", "syntax = \"proto3\";")]);
    std::os::unix::fs::symlink(directory.path(), directory.path().join("up")).unwrap();
    let error = Schema::compile(&[directory.path().to_owned()]).unwrap_err();
    assert!(matches!(error, SchemaError::DirectoryTooDeep { limit: 32, .. }), "{error}");
}

#[test]
fn another_meaning_of_the_option_number_is_refused() {
    let other = "syntax = \"proto3\"; import \"google/protobuf/descriptor.proto\";
        extend google.protobuf.MessageOptions { string mine = 50400; }";
    let text = refused(compile(&[("t.proto", other)]));
    assert!(text.contains("mine: has number 50400, which is spatialdb.v1.component"), "{text}");
}
