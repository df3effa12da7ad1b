//! Whether values of one schema can be read with another.
//!
//! Responsible for: comparing components and events field by field, by protobuf's rules for changing messages.
//! Not responsible for: durability and names, which may change; or what to do about a difference.

use std::collections::{HashMap, HashSet};

use prost_reflect::{Cardinality, FieldDescriptor, Kind, MessageDescriptor};
use spatialdb_types::ComponentId;

use crate::{error::SchemaError, schema::Schema};

/// What a world that runs would lose by going from `old` to `new`, as [`incompatibilities`] says it: also fields that are
/// gone, whose numbers could later come back with another meaning, components under another name, and the same of events.
pub fn losses(old: &Schema, new: &Schema) -> Vec<String> {
    let Comparison { mut found, removed, .. } = compared(old, new);
    found.extend(removed);
    for component in old.components() {
        if let Some(other) = new.component(component.id()).filter(|other| other.name() != component.name()) {
            found.push(format!("component {}: {} is now {}", component.id(), component.name(), other.name()));
        }
    }
    found.extend(lost_events(old, new));
    found
}

fn lost_events(old: &Schema, new: &Schema) -> Vec<String> {
    let mut comparison = Comparison::default();
    let mut lost = Vec::new();
    for event in old.events() {
        let (component, id, name) = (event.component(), event.id(), event.name());
        match new.event(component, id) {
            None => lost.push(format!("component {component}, event {id} {name}: removed")),
            Some(other) if other.name() != name => {
                lost.push(format!("component {component}, event {id}: {name} is now {}", other.name()));
            }
            Some(other) => comparison.component(component, &event.descriptor, &other.descriptor),
        }
    }
    lost.into_iter().chain(comparison.found).chain(comparison.removed).collect()
}

/// What is neither lost nor added, but other than before: names of fields, kinds that read each other.
pub fn changes(old: &Schema, new: &Schema) -> Vec<String> {
    compared(old, new).changed
}

/// What keeps values written with `old` from being read with `new`, a line for each difference, in order of component
/// id and field number. Empty when nothing does.
///
/// A removed field is none: its values are kept as unknown fields.
pub fn incompatibilities(old: &Schema, new: &Schema) -> Vec<String> {
    compared(old, new).found
}

fn compared(old: &Schema, new: &Schema) -> Comparison {
    let mut comparison = Comparison::default();
    for component in old.components() {
        let (id, name) = (component.id(), component.name());
        match new.component(id) {
            Some(other) => comparison.component(id, &component.descriptor, &other.descriptor),
            None => comparison.found.push(match new.components().iter().find(|new| new.name() == name) {
                Some(moved) => format!("component {id} {name}: its id is now {}", moved.id()),
                None => format!("component {id} {name}: removed"),
            }),
        }
    }
    comparison
}

/// What `new` has beyond `old`: full names of components and events, and of their fields as `component.field`.
pub fn additions(old: &Schema, new: &Schema) -> Vec<String> {
    let mut added = Vec::new();
    let fresh_fields = |name: &str, before: &MessageDescriptor, after: &MessageDescriptor| {
        let fresh = after.fields().filter(|field| before.get_field(field.number()).is_none());
        fresh.map(|field| format!("{name}.{}", field.name())).collect::<Vec<_>>()
    };
    for component in new.components() {
        match old.component(component.id()) {
            None => added.push(component.name().to_owned()),
            Some(before) => {
                added.extend(fresh_fields(component.name(), &before.descriptor, &component.descriptor));
            }
        }
    }
    for event in new.events() {
        match old.event(event.component(), event.id()) {
            None => added.push(event.name().to_owned()),
            Some(before) => added.extend(fresh_fields(event.name(), &before.descriptor, &event.descriptor)),
        }
    }
    added
}

/// Refuses a schema whose built-in components are others than ours: the engine itself reads and writes those. It may
/// lack some, as that of an older version does.
pub(crate) fn refuse_other_built_ins(ours: &Schema, theirs: &Schema) -> Result<(), SchemaError> {
    let mut comparison = Comparison::default();
    for other in theirs.components().iter().filter(|component| component.id().is_built_in()) {
        let (id, name) = (other.id(), other.name());
        let Some(component) = ours.component(id) else {
            comparison.found.push(format!("component {id} {name}: not known to this version"));
            continue;
        };
        // Values go both ways.
        comparison.component(id, &component.descriptor, &other.descriptor);
        comparison.component(id, &other.descriptor, &component.descriptor);
        if component.name() != name {
            comparison.found.push(format!("component {id}: {} is now {name}", component.name()));
        }
    }
    match comparison.found.into_iter().next() {
        Some(detail) => Err(SchemaError::BuiltInDiffers { detail }),
        None => Ok(()),
    }
}

#[derive(Debug, Default)]
struct Comparison {
    found: Vec<String>,
    removed: Vec<String>,
    changed: Vec<String>,
    // Pairs of messages that were compared, so that recursion ends and each difference is told once.
    seen: HashSet<(String, String)>,
}

impl Comparison {
    fn component(&mut self, id: ComponentId, old: &MessageDescriptor, new: &MessageDescriptor) {
        let mut waiting = vec![(old.clone(), new.clone())];
        while let Some((old, new)) = waiting.pop() {
            if self.seen.insert((old.full_name().to_owned(), new.full_name().to_owned())) {
                self.message(id, &old, &new, &mut waiting);
            }
        }
    }

    fn message(
        &mut self,
        id: ComponentId,
        old: &MessageDescriptor,
        new: &MessageDescriptor,
        waiting: &mut Vec<(MessageDescriptor, MessageDescriptor)>,
    ) {
        for before in old.fields() {
            let field = format!("component {id}, {} ({})", before.full_name(), before.number());
            let Some(after) = new.get_field(before.number()) else {
                self.removed.push(format!("{field}: removed"));
                continue;
            };
            if let Some(change) = change(&before, &after) {
                self.found.push(format!("{field}: {change}"));
                continue;
            }
            if before.name() != after.name() {
                self.changed.push(format!("{field}: now named {}", after.name()));
            }
            if before.cardinality() != after.cardinality() {
                self.changed.push(format!("{field}: now repeated"));
            } else if before.kind() != after.kind()
                && !matches!(before.kind(), Kind::Message(_) | Kind::Enum(_))
            {
                self.changed.push(format!("{field}: {:?} is now {:?}", before.kind(), after.kind()));
            }
            if let (Kind::Message(before), Kind::Message(after)) = (before.kind(), after.kind()) {
                waiting.push((before, after));
            }
        }
        self.joined_oneofs(id, old, new);
    }

    // Fields that could both be set, and now exclude each other.
    fn joined_oneofs(&mut self, id: ComponentId, old: &MessageDescriptor, new: &MessageDescriptor) {
        for oneof in new.oneofs() {
            let before: Vec<_> = oneof.fields().filter_map(|field| old.get_field(field.number())).collect();
            let mut homes = HashMap::new();
            for field in &before {
                // A field in no oneof is a home of its own.
                let home = field
                    .containing_oneof()
                    .map_or(field.full_name().to_owned(), |oneof| oneof.full_name().to_owned());
                homes.insert(home, field.number());
            }
            if homes.len() > 1 {
                let name = oneof.full_name();
                self.found.push(format!(
                    "component {id}, {name}: now a oneof of fields that could be set together"
                ));
            }
        }
    }
}

fn change(old: &FieldDescriptor, new: &FieldDescriptor) -> Option<String> {
    if old.is_map() != new.is_map() {
        return Some(if old.is_map() { "no longer a map" } else { "now a map" }.to_owned());
    }
    if old.cardinality() == Cardinality::Repeated && new.cardinality() != Cardinality::Repeated {
        return Some("no longer repeated".to_owned());
    }
    let (before, after) = (old.kind(), new.kind());
    (!readable(&before, &after)).then(|| format!("{before:?} is now {after:?}"))
}

/// Whether bytes of the first kind parse as the second.
fn readable(old: &Kind, new: &Kind) -> bool {
    match (old, new) {
        // Any text or message is bytes; not the other way round.
        (Kind::String | Kind::Message(_), Kind::Bytes) => true,
        (Kind::Message(_), Kind::Message(_)) => true,
        _ => family(old) == family(new),
    }
}

// Kinds of one family have the same bytes for the same small values.
fn family(kind: &Kind) -> u8 {
    match kind {
        Kind::Int32 | Kind::Int64 | Kind::Uint32 | Kind::Uint64 | Kind::Bool | Kind::Enum(_) => 0,
        Kind::Sint32 | Kind::Sint64 => 1,
        Kind::Fixed32 | Kind::Sfixed32 => 2,
        Kind::Fixed64 | Kind::Sfixed64 => 3,
        Kind::Float => 4,
        Kind::Double => 5,
        Kind::String => 6,
        Kind::Bytes => 7,
        Kind::Message(_) => 8,
    }
}
