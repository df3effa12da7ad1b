//! A file of descriptors as the text of a `.proto` file.
//!
//! Responsible for: text that compiles to the same descriptors, with comments where they are known.
//! Not responsible for: groups of proto2, which no component may have; who checks that the text is right (`export`).

use std::{collections::HashMap, fmt::Write};

use prost_reflect::{
    Cardinality, DynamicMessage, EnumDescriptor, ExtensionDescriptor, FieldDescriptor, FileDescriptor, Kind,
    MessageDescriptor, ServiceDescriptor, Syntax,
};

use super::{
    names::type_name,
    option_text::{options, quoted},
};

// One more than the largest field number: what `max` means in a range.
const FIELD_END: u32 = 1 << 29;

/// The text of the file.
///
/// # Errors
/// What it has that cannot be said.
pub(super) fn proto_text(file: &FileDescriptor) -> Result<String, String> {
    let mut printer = Printer { file, comments: comments(file), text: String::new(), depth: 0 };
    printer.file()?;
    Ok(printer.text)
}

struct Printer<'a> {
    file: &'a FileDescriptor,
    comments: HashMap<Vec<i32>, String>,
    text: String,
    depth: usize,
}

impl Printer<'_> {
    fn file(&mut self) -> Result<(), String> {
        let proto = self.file.file_descriptor_proto();
        // The path of `syntax`.
        self.comment(&[12]);
        let syntax = if self.file.syntax() == Syntax::Proto3 { "proto3" } else { "proto2" };
        self.line(&format!("syntax = \"{syntax}\";"));
        if !self.file.package_name().is_empty() {
            self.gap();
            self.line(&format!("package {};", self.file.package_name()));
        }
        if !proto.dependency.is_empty() {
            self.gap();
        }
        for (index, import) in (0_i32..).zip(&proto.dependency) {
            let kind = match index {
                _ if proto.public_dependency.contains(&index) => "public ",
                _ if proto.weak_dependency.contains(&index) => "weak ",
                _ => "",
            };
            self.line(&format!("import {kind}{};", quoted(import)));
        }
        let told = options(&self.file.options())?;
        if !told.is_empty() {
            self.gap();
        }
        self.options(&told);
        self.extensions(self.file.extensions().collect())?;
        for message in self.file.messages() {
            self.gap();
            self.message(&message)?;
        }
        for found in self.file.enums() {
            self.gap();
            self.enumeration(&found)?;
        }
        for service in self.file.services() {
            self.gap();
            self.service(&service)?;
        }
        Ok(())
    }

    fn message(&mut self, message: &MessageDescriptor) -> Result<(), String> {
        self.comment(message.path());
        self.open(&format!("message {}", message.name()));
        self.options(&options(&message.options())?);
        let fields: Vec<FieldDescriptor> = in_order(message);
        let mut next = 0;
        // Entries of maps stand among the nested messages, where their fields stand among the fields.
        for inner in message.child_messages() {
            if inner.is_map_entry() {
                let owner = fields.iter().position(|field| field.kind().as_message() == Some(&inner));
                let end = owner.ok_or_else(|| format!("{} belongs to no map", inner.full_name()))? + 1;
                self.fields(fields.get(next..end).unwrap_or_default())?;
                next = next.max(end);
            } else {
                self.message(&inner)?;
            }
        }
        self.fields(&fields[next..])?;
        for inner in message.child_enums() {
            self.enumeration(&inner)?;
        }
        self.extensions(message.child_extensions().collect())?;
        for range in message.extension_ranges() {
            self.line(&format!("extensions {};", numbers(range.start, range.end)));
        }
        for range in message.reserved_ranges() {
            self.line(&format!("reserved {};", numbers(range.start, range.end)));
        }
        for name in message.reserved_names() {
            self.line(&format!("reserved {};", quoted(name)));
        }
        self.close();
        Ok(())
    }

    /// Fields, those of a oneof together.
    fn fields(&mut self, fields: &[FieldDescriptor]) -> Result<(), String> {
        let mut index = 0;
        while let Some(field) = fields.get(index) {
            let oneof = field.containing_oneof().filter(|oneof| !oneof.is_synthetic());
            let Some(oneof) = oneof else {
                self.field(field)?;
                index += 1;
                continue;
            };
            self.comment(oneof.path());
            self.open(&format!("oneof {}", oneof.name()));
            self.options(&options(&oneof.options())?);
            while let Some(field) =
                fields.get(index).filter(|f| f.containing_oneof().as_ref() == Some(&oneof))
            {
                self.field(field)?;
                index += 1;
            }
            self.close();
        }
        Ok(())
    }

    fn field(&mut self, field: &FieldDescriptor) -> Result<(), String> {
        if field.is_group() {
            return Err(format!("{} is a group, which cannot be written", field.full_name()));
        }
        self.comment(field.path());
        let proto = field.field_descriptor_proto();
        let scope = field.parent_message().full_name().to_owned();
        let kind = match field.kind() {
            Kind::Message(entry) if field.is_map() => {
                let (key, value) = (entry.map_entry_key_field(), entry.map_entry_value_field());
                format!("map<{}, {}>", type_name(&key.kind(), &scope), type_name(&value.kind(), &scope))
            }
            kind => type_name(&kind, &scope),
        };
        let is_proto3 = self.file.syntax() == Syntax::Proto3;
        let label = match field.cardinality() {
            _ if field.is_map() => "",
            Cardinality::Repeated => "repeated ",
            Cardinality::Required => "required ",
            Cardinality::Optional if proto.proto3_optional() => "optional ",
            Cardinality::Optional if is_proto3 || proto.oneof_index.is_some() => "",
            Cardinality::Optional => "optional ",
        };
        let brackets = brackets(field.name(), proto, &field.kind(), &field.options())?;
        self.line(&format!("{label}{kind} {} = {}{brackets};", field.name(), field.number()));
        Ok(())
    }

    fn extensions(&mut self, extensions: Vec<ExtensionDescriptor>) -> Result<(), String> {
        for extension in extensions {
            let scope = extension.parent_message().map_or_else(
                || extension.package_name().to_owned(),
                |message| message.full_name().to_owned(),
            );
            let proto = extension.field_descriptor_proto();
            let label = match extension.cardinality() {
                Cardinality::Repeated => "repeated ",
                _ if self.file.syntax() == Syntax::Proto3 && !proto.proto3_optional() => "",
                _ => "optional ",
            };
            let kind = type_name(&extension.kind(), &scope);
            let brackets = brackets(extension.name(), proto, &extension.kind(), &extension.options())?;
            self.gap();
            self.open(&format!(
                "extend {}",
                type_name(&Kind::Message(extension.containing_message()), &scope)
            ));
            self.comment(extension.path());
            self.line(&format!("{label}{kind} {} = {}{brackets};", extension.name(), extension.number()));
            self.close();
        }
        Ok(())
    }

    fn enumeration(&mut self, found: &EnumDescriptor) -> Result<(), String> {
        self.comment(found.path());
        self.open(&format!("enum {}", found.name()));
        self.options(&options(&found.options())?);
        let proto = found.enum_descriptor_proto();
        // By number they would be in another order.
        for (value, index) in proto.value.iter().zip(0..) {
            let path = [found.path(), &[2, index]].concat();
            self.comment(&path);
            let described = found.values().find(|described| described.name() == value.name());
            let told = described.map_or(Ok(Vec::new()), |described| options(&described.options()))?;
            self.line(&format!("{} = {}{};", value.name(), value.number(), bracketed(&told)));
        }
        for range in &proto.reserved_range {
            let (start, end) = (range.start(), range.end());
            let end_text = if end == i32::MAX { "max".to_owned() } else { end.to_string() };
            let range = if start == end { start.to_string() } else { format!("{start} to {end_text}") };
            self.line(&format!("reserved {range};"));
        }
        for name in &proto.reserved_name {
            self.line(&format!("reserved {};", quoted(name)));
        }
        self.close();
        Ok(())
    }

    fn service(&mut self, service: &ServiceDescriptor) -> Result<(), String> {
        self.comment(service.path());
        self.open(&format!("service {}", service.name()));
        self.options(&options(&service.options())?);
        for method in service.methods() {
            self.comment(method.path());
            let stream = |is_stream| if is_stream { "stream " } else { "" };
            let kind = |message| type_name(&Kind::Message(message), service.full_name());
            let line = format!(
                "rpc {}({}{}) returns ({}{})",
                method.name(),
                stream(method.is_client_streaming()),
                kind(method.input()),
                stream(method.is_server_streaming()),
                kind(method.output()),
            );
            let told = options(&method.options())?;
            if told.is_empty() {
                self.line(&format!("{line};"));
            } else {
                self.open(&line);
                self.options(&told);
                self.close();
            }
        }
        self.close();
        Ok(())
    }

    fn options(&mut self, told: &[String]) {
        for option in told {
            self.line(&format!("option {option};"));
        }
    }

    fn comment(&mut self, path: &[i32]) {
        if let Some(comment) = self.comments.remove(path) {
            for line in comment.trim_end().lines() {
                self.line(&format!("//{line}"));
            }
        }
    }

    fn open(&mut self, head: &str) {
        self.line(&format!("{head} {{"));
        self.depth += 1;
    }

    fn close(&mut self) {
        self.depth -= 1;
        self.line("}");
    }

    fn line(&mut self, line: &str) {
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "{:indent$}{line}", "", indent = 2 * self.depth);
    }

    fn gap(&mut self) {
        if self.depth == 0 {
            self.text.push('\n');
        }
    }
}

// The order of the file, which numbers need not follow.
fn in_order(message: &MessageDescriptor) -> Vec<FieldDescriptor> {
    let fields = &message.descriptor_proto().field;
    fields.iter().filter_map(|field| message.get_field(field.number().cast_unsigned())).collect()
}

fn numbers(start: u32, end: u32) -> String {
    match end {
        FIELD_END => format!("{start} to max"),
        _ if end == start + 1 => start.to_string(),
        _ => format!("{start} to {}", end - 1),
    }
}

// What stands behind a field's number.
fn brackets(
    name: &str,
    proto: &prost_types::FieldDescriptorProto,
    kind: &Kind,
    message: &DynamicMessage,
) -> Result<String, String> {
    let mut told = Vec::new();
    if let Some(default) = &proto.default_value {
        told.push(match kind {
            Kind::String => format!("default = {}", quoted(default)),
            // It is escaped already.
            Kind::Bytes => format!("default = \"{default}\""),
            _ => format!("default = {default}"),
        });
    }
    if proto.json_name.as_ref().is_some_and(|json| *json != json_name(name)) {
        told.push(format!("json_name = {}", quoted(proto.json_name())));
    }
    told.extend(options(message)?);
    Ok(bracketed(&told))
}

fn bracketed(told: &[String]) -> String {
    if told.is_empty() { String::new() } else { format!(" [{}]", told.join(", ")) }
}

// What a compiler gives a field that says nothing.
fn json_name(name: &str) -> String {
    let mut json = String::new();
    let mut is_after_line = false;
    for c in name.chars() {
        match c {
            '_' => is_after_line = true,
            c if is_after_line => {
                json.push(c.to_ascii_uppercase());
                is_after_line = false;
            }
            c => json.push(c),
        }
    }
    json
}

fn comments(file: &FileDescriptor) -> HashMap<Vec<i32>, String> {
    let info = file.file_descriptor_proto().source_code_info.as_ref();
    let locations = info.into_iter().flat_map(|info| &info.location);
    locations
        .filter_map(|location| Some((location.path.clone(), location.leading_comments.clone()?)))
        .collect()
}
