//! Field numbers never change meaning: everything that `proto/golden/v1.txt` lists must still be there as listed.
//!
//! After adding to the wire: `UPDATE_GOLDEN=1 cargo test --release -p spatialdb-proto --test stable`, and commit the new
//! lines. Lines are never changed or taken out after a release.

use std::collections::BTreeSet;
use std::fs;

use prost::Message;
use prost_types::field_descriptor_proto::Label;
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorSet};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/v1.txt");

fn messages(scope: &str, list: &[DescriptorProto], lines: &mut BTreeSet<String>) {
    for message in list {
        let name = format!("{scope}.{}", message.name());
        for field in &message.field {
            let label = if field.label() == Label::Repeated { "repeated " } else { "" };
            let kind =
                if field.type_name().is_empty() { field.r#type().as_str_name() } else { field.type_name() };
            lines.insert(format!("field {name} {} = {label}{kind} {}", field.number(), field.name()));
        }
        messages(&name, &message.nested_type, lines);
        enums(&name, &message.enum_type, lines);
    }
}

fn enums(scope: &str, list: &[EnumDescriptorProto], lines: &mut BTreeSet<String>) {
    for kind in list {
        for value in &kind.value {
            lines.insert(format!("value {scope}.{} {} = {}", kind.name(), value.number(), value.name()));
        }
    }
}

fn wire() -> BTreeSet<String> {
    let set = FileDescriptorSet::decode(spatialdb_proto::FILE_DESCRIPTOR_SET).expect("our own descriptors");
    let mut lines = BTreeSet::new();
    for file in set.file.iter().filter(|file| file.package() == "spatialdb.v1") {
        messages(file.package(), &file.message_type, &mut lines);
        enums(file.package(), &file.enum_type, &mut lines);
        for service in &file.service {
            for method in &service.method {
                let stream = |streams| if streams { "stream " } else { "" };
                lines.insert(format!(
                    "method {}.{}.{} ({}{}) -> {}{}",
                    file.package(),
                    service.name(),
                    method.name(),
                    stream(method.client_streaming()),
                    method.input_type(),
                    stream(method.server_streaming()),
                    method.output_type()
                ));
            }
        }
    }
    lines
}

#[test]
fn nothing_on_the_wire_has_changed_meaning() {
    let wire = wire();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let text = wire.iter().fold(String::new(), |text, line| text + line + "\n");
        fs::write(GOLDEN, text).expect("the golden file can be written");
    }
    let text = fs::read_to_string(GOLDEN).expect("the golden file is there");
    let golden: BTreeSet<String> = text.lines().map(str::to_owned).collect();
    let lost: Vec<&String> = golden.difference(&wire).collect();
    assert!(lost.is_empty(), "changed or taken from the wire: {lost:#?}");
    let new: Vec<&String> = wire.difference(&golden).collect();
    assert!(new.is_empty(), "not in the golden file yet (see the head of this test): {new:#?}");
}
