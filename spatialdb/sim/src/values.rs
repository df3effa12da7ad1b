//! Values that tell who wrote them.
//!
//! Every value has a stamp, in field 15; every position has one in the low bits of z. So a judge that finds a value
//! anywhere knows which write it came from, without asking the machines.

use std::collections::BTreeMap;

use spatialdb_types::{ComponentId, Point3, SessionId};

use crate::rng::Rng;

/// The field that carries the stamp.
pub(crate) const STAMP_FIELD: u32 = 15;
/// The other fields a value may have.
pub(crate) const FIELDS: [u32; 4] = [1, 2, 3, 4];
const POSITION_STAMPS: f64 = (1u64 << 26) as f64;

/// A value taken apart: the bytes of each field, tag included.
pub(crate) type Fields = BTreeMap<u32, Vec<u8>>;

/// Which write something came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stamp {
    /// Who wrote; 0 for what was loaded.
    pub(crate) writer: SessionId,
    /// The number of the write, unique in a run up to 2^16.
    pub(crate) number: u32,
}

/// The types that entities have.
const TYPES: [&str; 6] = ["", "a", "b", "cc", "dd", "eee"];

/// Random fields of a component with a stamp: for a whole value any of them, otherwise only `allowed` ones.
pub(crate) fn random_fields(rng: &mut Rng, component: ComponentId, stamp: Stamp, allowed: &[u32]) -> Fields {
    let mut fields = Fields::new();
    for &field in allowed.iter().filter(|&&f| f != STAMP_FIELD) {
        if rng.percent(60) {
            let bytes = match field {
                1 if component == ComponentId::METADATA => text(field, TYPES[rng.index(TYPES.len())]),
                3 => random_text(field, rng),
                _ => number(field, rng.below(1 << 20)),
            };
            fields.insert(field, bytes);
        }
    }
    fields.extend([stamped(stamp)]);
    fields
}

fn stamped(stamp: Stamp) -> (u32, Vec<u8>) {
    (STAMP_FIELD, number(STAMP_FIELD, u64::from(stamp.writer.0) << 32 | u64::from(stamp.number)))
}

/// An Interest or Follows: a seed of views, or a leader, in field 1.
pub(crate) fn numbered(one: u64, stamp: Stamp) -> Vec<u8> {
    encode(&BTreeMap::from([(1, number(1, one)), stamped(stamp)]))
}

/// The number in an Interest or Follows.
pub(crate) fn number_in(value: &[u8]) -> Option<u64> {
    Some(varint(parse(value)?.get(&1)?.get(1..)?)?.0)
}

/// A PlayerOwner: a name in field 1, none if it is empty.
pub(crate) fn owner(name: &str, stamp: Stamp) -> Vec<u8> {
    let mut fields = Fields::from([stamped(stamp)]);
    if !name.is_empty() {
        fields.insert(1, [&[1 << 3 | 2, name.len() as u8], name.as_bytes()].concat());
    }
    encode(&fields)
}

/// The name in a PlayerOwner, if it has one.
pub(crate) fn owner_in(value: &[u8]) -> Option<String> {
    String::from_utf8(parse(value)?.get(&1)?.get(2..)?.to_vec()).ok()
}

/// The bytes of a value.
pub(crate) fn encode(fields: &Fields) -> Vec<u8> {
    fields.values().flatten().copied().collect()
}

/// Takes a value apart; `None` if it is not one of ours or has a field twice.
pub(crate) fn parse(mut bytes: &[u8]) -> Option<Fields> {
    let mut fields = Fields::new();
    while !bytes.is_empty() {
        let (tag, start) = varint(bytes)?;
        let length = match tag & 7 {
            0 => start + varint(&bytes[start..])?.1,
            2 => {
                let (length, prefix) = varint(&bytes[start..])?;
                start + prefix + length as usize
            }
            _ => return None,
        };
        let field = bytes.get(..length)?;
        if fields.insert((tag >> 3) as u32, field.to_vec()).is_some() {
            return None;
        }
        bytes = &bytes[length..];
    }
    Some(fields)
}

/// Which write a value came from.
pub(crate) fn stamp_of(value: &[u8]) -> Option<Stamp> {
    let fields = parse(value)?;
    let (stamp, _) = varint(fields.get(&STAMP_FIELD)?.get(1..)?)?;
    Some(Stamp { writer: SessionId((stamp >> 32) as u32), number: stamp as u32 })
}

/// The z that carries the stamp near `z`.
pub(crate) fn stamped_z(z: f64, stamp: Stamp) -> f64 {
    let low = u64::from(stamp.writer.0 % 1024) << 16 | u64::from(stamp.number % 65_536);
    z.floor() + low as f64 / POSITION_STAMPS
}

/// The type in a value of `Metadata`.
pub(crate) fn type_of(value: &[u8]) -> String {
    let field = parse(value).and_then(|fields| fields.get(&1).cloned()).unwrap_or_default();
    String::from_utf8(field.get(2..).unwrap_or_default().to_vec()).expect("a short text")
}

/// Who wrote a position.
pub(crate) fn position_writer(point: Point3) -> SessionId {
    let low = ((point.z - point.z.floor()) * POSITION_STAMPS) as u64;
    SessionId((low >> 16) as u32)
}

fn number(field: u32, value: u64) -> Vec<u8> {
    let mut out = vec![(field << 3) as u8];
    put_varint(value, &mut out);
    out
}

fn random_text(field: u32, rng: &mut Rng) -> Vec<u8> {
    let length = rng.below(24);
    text(field, &(0..length).map(|_| char::from(b'a' + rng.below(26) as u8)).collect::<String>())
}

fn text(field: u32, text: &str) -> Vec<u8> {
    let mut out = vec![(field << 3 | 2) as u8];
    put_varint(text.len() as u64, &mut out);
    out.extend_from_slice(text.as_bytes());
    out
}

fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0;
    for (i, &byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            return Some((value, i + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_come_back() {
        let mut rng = Rng::new(3);
        for number in [0, 1, 77, 65_535] {
            let stamp = Stamp { writer: SessionId(9), number };
            let value = encode(&random_fields(&mut rng, ComponentId(1000), stamp, &FIELDS));
            assert_eq!(stamp_of(&value), Some(stamp));
            let point = Point3::new(0.0, 0.0, stamped_z(41.5, stamp));
            assert_eq!(position_writer(point), SessionId(9));
        }
    }

    #[test]
    fn a_field_twice_is_noticed() {
        assert_eq!(parse(&[0x08, 1, 0x08, 2]), None);
        assert_eq!(parse(&[0x08]), None);
    }
}
