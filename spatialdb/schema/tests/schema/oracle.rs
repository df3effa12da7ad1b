//! The checker against `DynamicMessage`, on random and mutated payloads.

use proptest::prelude::*;
use prost::encoding::{WireType, encode_key, encode_varint};
use prost_reflect::{DescriptorPool, DynamicMessage, Kind, MessageDescriptor};
use spatialdb_schema::{Component, PayloadError, Schema};

use crate::support::{OPTION, proto2, proto3};

const FIELDS: &str = "double f1 = 1; float f2 = 2; int32 f3 = 3; int64 f4 = 4; uint32 f5 = 5; uint64 f6 = 6;
    sint32 f7 = 7; sint64 f8 = 8; fixed32 f9 = 9; fixed64 f10 = 10; sfixed32 f11 = 11; sfixed64 f12 = 12;
    bool f13 = 13; string f14 = 14; bytes f15 = 15; Kind f16 = 16; C f17 = 17; Inner f18 = 18;
    repeated double f19 = 19; repeated float f20 = 20; repeated int32 f21 = 21; repeated sint64 f22 = 22;
    repeated bool f23 = 23; repeated string f24 = 24; repeated bytes f25 = 25; repeated Kind f26 = 26;
    repeated C f27 = 27; repeated fixed64 f28 = 28 [packed = false]; map<string, C> map_29 = 29;
    map<int32, bytes> map_30 = 30; map<bool, double> map_31 = 31;
    oneof one { int32 f200 = 200; string f201 = 201; Inner f202 = 202; } optional int32 f536870911 = 536870911;";
const MORE: &str =
    "message Inner { string a = 1; repeated uint32 b = 2; } enum Kind { KIND_NONE = 0; KIND_ONE = 1; }";

// The same in proto2, where enums are closed and lists are not packed.
fn schemas() -> [(Component, MessageDescriptor); 2] {
    let three = proto3(&format!("message C {{ {OPTION} {FIELDS} }} {MORE}")).unwrap();
    let singular = |field: &str| {
        let labelled =
            ["repeated", "map", "oneof", "optional"].iter().any(|word| field.trim().starts_with(word));
        if labelled || field.trim().is_empty() { field.to_owned() } else { format!(" optional {field}") }
    };
    let (before, one) = FIELDS.split_once("oneof").unwrap();
    let fields = before.split(';').map(singular).collect::<Vec<_>>().join(";");
    let more = MORE.replacen("{ string a", "{ optional string a", 1);
    let two = proto2(&format!("message C {{ {OPTION} {fields} oneof{one} }} {more}")).unwrap();
    [with_descriptor(&three), with_descriptor(&two)]
}

fn with_descriptor(schema: &Schema) -> (Component, MessageDescriptor) {
    let pool = DescriptorPool::decode(schema.descriptor_set()).unwrap();
    (schema.component_named("t.C").unwrap().clone(), pool.get_message_by_name("t.C").unwrap())
}

/// Turns random bytes into a payload that mostly fits the schema.
struct Generator<'a> {
    entropy: &'a [u8],
}

impl Generator<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.entropy.split_first() else { return 0 };
        self.entropy = rest;
        *first
    }

    fn number(&mut self) -> u64 {
        // Small ones, huge ones, and those whose varints have every length.
        let bits = u32::from(self.byte()) % 65;
        let value = u64::from_le_bytes(std::array::from_fn(|_| self.byte()));
        value & 1_u64.checked_shl(bits).map_or(u64::MAX, |end| end - 1)
    }

    fn message(&mut self, message: &MessageDescriptor, depth: u32, out: &mut Vec<u8>) {
        let fields: Vec<_> = message.fields().collect();
        for _ in 0..self.byte() % 6 {
            let choice = self.byte();
            if choice > 240 || fields.is_empty() {
                self.unknown(out);
                continue;
            }
            let field = &fields[usize::from(choice) % fields.len()];
            let wire_type = field.kind().wire_type();
            if field.is_list() && wire_type != WireType::LengthDelimited && self.byte().is_multiple_of(2) {
                let mut packed = Vec::new();
                for _ in 0..self.byte() % 5 {
                    self.value(&field.kind(), depth, &mut packed);
                }
                encode_key(field.number(), WireType::LengthDelimited, out);
                delimited(&packed, out);
            } else {
                encode_key(field.number(), wire_type, out);
                self.value(&field.kind(), depth, out);
            }
        }
    }

    fn unknown(&mut self, out: &mut Vec<u8>) {
        let wire_types =
            [WireType::Varint, WireType::SixtyFourBit, WireType::LengthDelimited, WireType::ThirtyTwoBit];
        let wire_type = wire_types[usize::from(self.byte() % 4)];
        encode_key(100 + u32::from(self.byte()) % 90, wire_type, out);
        self.of_wire_type(wire_type, out);
    }

    fn value(&mut self, kind: &Kind, depth: u32, out: &mut Vec<u8>) {
        match kind {
            Kind::Message(inner) => {
                let mut bytes = Vec::new();
                if depth > 0 {
                    self.message(inner, depth - 1, &mut bytes);
                }
                delimited(&bytes, out);
            }
            Kind::String => {
                let text = ["", "plain", "ünïcode", "\u{0}"][usize::from(self.byte() % 4)];
                delimited(text.as_bytes(), out);
            }
            _ => self.of_wire_type(kind.wire_type(), out),
        }
    }

    fn of_wire_type(&mut self, wire_type: WireType, out: &mut Vec<u8>) {
        match wire_type {
            WireType::Varint => encode_varint(self.number(), out),
            WireType::SixtyFourBit => out.extend(self.number().to_le_bytes()),
            WireType::ThirtyTwoBit => out.extend((self.number() as u32).to_le_bytes()),
            _ => {
                let bytes: Vec<_> = (0..self.byte() % 5).map(|_| self.byte()).collect();
                delimited(&bytes, out);
            }
        }
    }
}

fn delimited(bytes: &[u8], out: &mut Vec<u8>) {
    encode_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn generate(message: &MessageDescriptor, entropy: &[u8]) -> Vec<u8> {
    let mut payload = Vec::new();
    Generator { entropy }.message(message, 6, &mut payload);
    payload
}

fn mutate(payload: &mut Vec<u8>, mutations: &[(u16, u8, u8)]) {
    for (at, action, byte) in mutations {
        let at = usize::from(*at) % (payload.len() + 1);
        match action % 4 {
            0 => payload.truncate(at),
            1 => payload.insert(at, *byte),
            2 if at < payload.len() => payload[at] = *byte,
            _ if at < payload.len() => payload[at] ^= 1 << (byte % 8),
            _ => {}
        }
    }
}

/// The two differences that we want: no groups, and maps only with their own wire type.
fn stricter_by_design(error: &PayloadError) -> bool {
    let last = error.field.rsplit('.').next().unwrap_or_default();
    let map = last.starts_with("map_") && error.detail.starts_with("wire type");
    map || error.detail == "groups are not supported"
}

fn compare(component: &Component, descriptor: &MessageDescriptor, payload: &[u8]) -> bool {
    let theirs = DynamicMessage::decode(descriptor.clone(), payload);
    match (component.check(payload), theirs) {
        (Ok(_), Ok(_)) => true,
        (Err(_), Err(_)) => false,
        (Err(ours), Ok(_)) if stricter_by_design(&ours) => false,
        (ours, theirs) => panic!("{payload:02x?}: checker {ours:?}, DynamicMessage {theirs:?}"),
    }
}

#[test]
fn the_checker_takes_what_dynamic_message_takes() {
    let schemas = schemas();
    let mutations = prop::collection::vec((any::<u16>(), any::<u8>(), any::<u8>()), 0..4);
    let entropy = prop::collection::vec(any::<u8>(), 0..300);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(20_000));
    let counts = std::cell::Cell::new((0, 0));
    runner
        .run(&(entropy, mutations), |(entropy, mutations)| {
            for (component, descriptor) in &schemas {
                let mut payload = generate(descriptor, &entropy);
                assert!(component.check(&payload).is_ok(), "generated payloads fit: {payload:02x?}");
                mutate(&mut payload, &mutations);
                let (taken, refused) = counts.get();
                counts.set(match compare(component, descriptor, &payload) {
                    true => (taken + 1, refused),
                    false => (taken, refused + 1),
                });
            }
            Ok(())
        })
        .unwrap();
    let (taken, refused) = counts.get();
    // A generator that makes one kind only would prove nothing.
    assert!(taken > 5_000 && refused > 5_000, "{taken} taken, {refused} refused");
}

#[test]
fn the_checker_takes_what_dynamic_message_takes_of_noise() {
    let schemas = schemas();
    proptest!(ProptestConfig::with_cases(20_000), |(payload in prop::collection::vec(any::<u8>(), 0..24))| {
        for (component, descriptor) in &schemas {
            compare(component, descriptor, &payload);
        }
    });
}

#[test]
fn both_end_at_the_same_depth() {
    let schemas = schemas();
    // Levels of f17, with a map entry that has an unknown field, or a plain one, at the bottom.
    let bottoms: [&[u8]; 4] =
        [&[], &[0xea, 1, 2, 0x18, 1], &[0xea, 1, 2, 0x12, 0], &[0xea, 1, 3, 0x0a, 1, b'k']];
    for (component, descriptor) in &schemas {
        for bottom in bottoms {
            let mut payload = bottom.to_vec();
            let mut taken = 0;
            for _ in 0..110 {
                taken += usize::from(compare(component, descriptor, &payload));
                let mut outer = Vec::new();
                encode_key(17, WireType::LengthDelimited, &mut outer);
                delimited(&payload, &mut outer);
                payload = outer;
            }
            assert!((100..=101).contains(&taken), "{taken} levels with {bottom:02x?}");
        }
    }
}
