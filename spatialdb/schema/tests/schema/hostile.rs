//! Descriptor sets from strangers: an error, never a panic.

use std::cell::Cell;

use proptest::prelude::*;
use prost::Message;
use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet, MessageOptions,
    field_descriptor_proto::{Label, Type},
};
use spatialdb_schema::Schema;

use crate::support::{OPTION, proto3};

fn refused(set: &FileDescriptorSet) -> String {
    let error = Schema::from_descriptor_set(&set.encode_to_vec()).expect_err("refused");
    error.to_string()
}

fn file(name: &str, imports: &[&str]) -> FileDescriptorProto {
    FileDescriptorProto {
        name: Some(name.to_owned()),
        syntax: Some("proto3".to_owned()),
        dependency: imports.iter().map(|&import| import.to_owned()).collect(),
        ..Default::default()
    }
}

fn set(file: impl IntoIterator<Item = FileDescriptorProto>) -> FileDescriptorSet {
    FileDescriptorSet { file: file.into_iter().collect() }
}

#[test]
fn broken_sets_are_named() {
    assert_eq!(
        refused(&set([file("a.proto", &["b.proto"])])),
        "schema descriptor set: file a.proto imports b.proto, which is not in the set"
    );
    assert_eq!(
        refused(&set([file("a.proto", &["b.proto"]), file("b.proto", &["a.proto"])])),
        "a.proto: is part of an import cycle; move what the files share into one of its own"
    );
    assert_eq!(
        refused(&set([file("a.proto", &[]), file("a.proto", &[])])),
        "schema descriptor set: file a.proto is there twice"
    );
    assert_eq!(refused(&set([file("", &[])])), "schema descriptor set: a file has no name");
    let many = (0..5000).map(|number| file(&format!("{number}.proto"), &[]));
    assert_eq!(refused(&set(many)), "schema descriptor set: more than 4096 files");
    let editions = FileDescriptorProto { syntax: Some("editions".to_owned()), ..file("e.proto", &[]) };
    assert!(refused(&set([editions])).starts_with("e.proto: protobuf editions are not supported"));
    let large = Schema::from_descriptor_set(&vec![0; (16 << 20) + 1]).unwrap_err().to_string();
    assert_eq!(large, "schema descriptor set: 16777217 bytes are more than 16777216");
}

#[test]
fn files_of_google_are_ours() {
    let mine = FileDescriptorProto { package: Some("google.protobuf".to_owned()), ..file("a.proto", &[]) };
    assert_eq!(
        refused(&set([mine])),
        "schema descriptor set: file a.proto claims the package google.protobuf"
    );
    assert_eq!(
        refused(&set([file("google/protobuf/new.proto", &[])])),
        "schema descriptor set: file google/protobuf/new.proto is none that this version knows"
    );
    // What it says does not matter.
    let any = set([file("google/protobuf/any.proto", &["nowhere.proto"])]);
    assert!(Schema::from_descriptor_set(&any.encode_to_vec()).is_ok());
}

/// As a file of an older version has them: ours stand for them.
#[test]
fn fewer_built_in_components_are_completed() {
    let built_in = Schema::built_in();
    let mut older = FileDescriptorSet::decode(built_in.descriptor_set()).unwrap();
    let components =
        older.file.iter_mut().find(|file| file.name() == "spatialdb/v1/components.proto").unwrap();
    let before = components.message_type.len();
    components.message_type.retain(|message| message.name() != "WorkerSession");
    assert_eq!(components.message_type.len(), before - 1);
    let schema = Schema::from_descriptor_set(&older.encode_to_vec()).unwrap();
    assert_eq!(schema.digest(), built_in.digest());
    let empty = set([file("spatialdb/v1/components.proto", &[])]);
    assert_eq!(Schema::from_descriptor_set(&empty.encode_to_vec()).unwrap().digest(), built_in.digest());
}

#[test]
fn other_built_in_components_are_refused() {
    let built_in = Schema::built_in();
    let bytes = built_in.descriptor_set();
    // Position.y as a fixed64 (6) instead of a double (1): name y, number 3, optional, type 1.
    let y = [0x0a, 1, b'y', 0x18, 3, 0x20, 1, 0x28, 1];
    let at = bytes.windows(y.len()).position(|window| window == y).expect("Position.y");
    let mut changed = bytes.to_vec();
    changed[at + 8] = 6;
    let error = Schema::from_descriptor_set(&changed).unwrap_err().to_string();
    assert!(error.ends_with("component 1, spatialdb.v1.Position.y (3): double is now fixed64"), "{error}");
}

#[test]
fn map_entries_that_no_compiler_makes_are_refused() {
    let field = |name: &str, number, kind: Type| FieldDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(number),
        label: Some(Label::Optional as i32),
        r#type: Some(kind as i32),
        ..Default::default()
    };
    let entry = |fields| DescriptorProto {
        name: Some("Entry".to_owned()),
        field: fields,
        options: Some(MessageOptions { map_entry: Some(true), ..Default::default() }),
        ..Default::default()
    };
    let (key, value) = (field("key", 1, Type::String), field("value", 2, Type::Int32));
    let repeated = FieldDescriptorProto { label: Some(Label::Repeated as i32), ..value.clone() };
    for fields in [
        vec![],
        vec![key.clone()],
        vec![field("key", 1, Type::Double), value.clone()],
        vec![key.clone(), repeated],
        vec![key, value, field("more", 3, Type::Int32)],
    ] {
        let file = FileDescriptorProto { message_type: vec![entry(fields)], ..file("a.proto", &[]) };
        assert_eq!(refused(&set([file])), "schema descriptor set: Entry is no well-formed map entry");
    }
}

#[test]
fn mutated_sets_never_panic() {
    let schema = proto3(&format!(
        "import \"google/protobuf/struct.proto\";
         message C {{ {OPTION} map<string, Inner> a = 1; oneof o {{ int32 b = 2; Kind c = 3; }} optional int32 d = 4;
           google.protobuf.Struct e = 5; reserved 9; message Inner {{ repeated C next = 1; }} }}
         enum Kind {{ KIND_NONE = 0; reserved 7; }} service S {{ rpc Do(C) returns (C.Inner); }}"
    ))
    .unwrap();
    // The world's own file comes last; the others are known by then.
    let set = schema.descriptor_set();
    let files = FileDescriptorSet::decode(set).unwrap().file;
    let own = files.iter().find(|file| file.name() == "t.proto").unwrap();
    assert_eq!(own.message_type[0].name(), "C");
    let start = set.windows(7).rposition(|window| window == b"t.proto").expect("own file");
    let action = (start..set.len(), any::<u8>(), any::<u8>());
    let refused = Cell::new(0);
    proptest!(ProptestConfig::with_cases(4_000), |(actions in prop::collection::vec(action, 1..4))| {
        let mut bytes = set.to_vec();
        for (at, action, byte) in actions {
            match action % 8 {
                0 => bytes.truncate(at),
                1..=3 => if let Some(slot) = bytes.get_mut(at) { *slot ^= 1 << (byte % 8) },
                _ => if let Some(slot) = bytes.get_mut(at) { *slot = byte % 32 },
            }
        }
        match Schema::from_descriptor_set(&bytes) {
            Err(error) => { assert!(!error.to_string().is_empty()); refused.set(refused.get() + 1); }
            Ok(schema) => for component in schema.components() {
                // Whatever came of it is used.
                let _ = component.check(&[0x0a, 4, 0x0a, 2, b'a', b'b', 0x10, 1]);
                let _ = component.to_json(&[0x0a, 2, 0x12, 0, 0x18, 0]);
            },
        }
    });
    assert!(refused.get() > 1000, "{} refused", refused.get());
}
