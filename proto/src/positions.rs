//! Columns of positions, which are most of what is sent: read and written many numbers at a time.

use bytes::{Buf, BufMut};
use prost::encoding::{DecodeContext, WireType, skip_field, uint32};
use prost::{DecodeError, Message};

use crate::packed::{doubles_len, encode_doubles, encode_varints, merge_doubles, merge_varints, varints_len};

/// Many positions of one space. x, y in metres as many as entities; z may be empty (0).
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)]
pub struct PositionColumn {
    pub space: u32,
    pub entities: Vec<u64>,
    pub revisions: Vec<u64>,
    pub x: Vec<f64>,
    pub y: Vec<f64>,
    pub z: Vec<f64>,
}

/// The numbers of the fields.
const SPACE: u32 = 1;
const ENTITIES: u32 = 2;
const REVISIONS: u32 = 3;
const X: u32 = 4;
const Y: u32 = 5;
const Z: u32 = 6;

impl Message for PositionColumn {
    fn encode_raw(&self, buffer: &mut impl BufMut) {
        if self.space != 0 {
            uint32::encode(SPACE, &self.space, buffer);
        }
        encode_varints(ENTITIES, &self.entities, buffer);
        encode_varints(REVISIONS, &self.revisions, buffer);
        encode_doubles(X, &self.x, buffer);
        encode_doubles(Y, &self.y, buffer);
        encode_doubles(Z, &self.z, buffer);
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buffer: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        match tag {
            SPACE => uint32::merge(wire_type, &mut self.space, buffer, context),
            ENTITIES => merge_varints(&mut self.entities, wire_type, buffer, context),
            REVISIONS => merge_varints(&mut self.revisions, wire_type, buffer, context),
            X => merge_doubles(&mut self.x, wire_type, buffer, context),
            Y => merge_doubles(&mut self.y, wire_type, buffer, context),
            Z => merge_doubles(&mut self.z, wire_type, buffer, context),
            _ => skip_field(wire_type, tag, buffer, context),
        }
    }

    fn encoded_len(&self) -> usize {
        let space = if self.space == 0 { 0 } else { uint32::encoded_len(SPACE, &self.space) };
        let varints = varints_len(ENTITIES, &self.entities) + varints_len(REVISIONS, &self.revisions);
        space + varints + doubles_len(X, &self.x) + doubles_len(Y, &self.y) + doubles_len(Z, &self.z)
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// The same, as prost makes it of its definition.
    #[derive(Clone, PartialEq, Message)]
    struct Derived {
        #[prost(uint32, tag = "1")]
        space: u32,
        #[prost(uint64, repeated, tag = "2")]
        entities: Vec<u64>,
        #[prost(uint64, repeated, tag = "3")]
        revisions: Vec<u64>,
        #[prost(double, repeated, tag = "4")]
        x: Vec<f64>,
        #[prost(double, repeated, tag = "5")]
        y: Vec<f64>,
        #[prost(double, repeated, tag = "6")]
        z: Vec<f64>,
    }

    /// With lists that are not packed, and a field that is not known.
    #[derive(Clone, PartialEq, Message)]
    struct Unpacked {
        #[prost(uint64, repeated, packed = "false", tag = "2")]
        entities: Vec<u64>,
        #[prost(double, repeated, packed = "false", tag = "4")]
        x: Vec<f64>,
        #[prost(string, tag = "99")]
        later: String,
    }

    fn derived(column: &PositionColumn) -> Derived {
        let PositionColumn { space, entities, revisions, x, y, z } = column.clone();
        Derived { space, entities, revisions, x, y, z }
    }

    fn number() -> impl Strategy<Value = u64> {
        (any::<u64>(), 0..64u32).prop_map(|(number, shift)| number >> shift)
    }

    prop_compose! {
        fn column()(
            space in 0..3u32,
            entities in vec(number(), 0..200),
            revisions in vec(number(), 0..200),
            (x, y, z) in (vec(-1e9..1e9, 0..200), vec(-1e9..1e9, 0..5), vec(-1e9..1e9, 0..200)),
        ) -> PositionColumn {
            PositionColumn { space, entities, revisions, x, y, z }
        }
    }

    proptest! {
        #[test]
        fn it_is_on_the_wire_what_prost_makes_of_it(column in column(), cut in 0..4000usize) {
            let bytes = column.encode_to_vec();
            prop_assert_eq!(&bytes, &derived(&column).encode_to_vec());
            prop_assert_eq!(bytes.len(), column.encoded_len());
            prop_assert_eq!(PositionColumn::decode(&*bytes), Ok(column.clone()));
            // In two pieces of memory.
            let (one, two) = bytes.split_at(cut.min(bytes.len()));
            let pieces = Bytes::copy_from_slice(one).chain(Bytes::copy_from_slice(two));
            prop_assert_eq!(PositionColumn::decode(pieces), Ok(column));
        }

        #[test]
        fn what_prost_cannot_read_cannot_be_read(column in column(), cut in 0..4000usize, byte in any::<u8>()) {
            let mut bytes = column.encode_to_vec();
            if cut < bytes.len() {
                bytes[cut] = byte;
            }
            bytes.truncate(cut + 40);
            let read = PositionColumn::decode(&*bytes);
            let by_prost = Derived::decode(&*bytes);
            prop_assert_eq!(read.is_ok(), by_prost.is_ok(), "{:?} {:?}", read, by_prost);
            if let (Ok(read), Ok(by_prost)) = (read, by_prost) {
                prop_assert_eq!(derived(&read).encode_to_vec(), by_prost.encode_to_vec());
            }
        }

        #[test]
        fn lists_need_not_be_packed(entities in vec(number(), 0..9), x in vec(-1e9..1e9, 0..9)) {
            let unpacked = Unpacked { entities: entities.clone(), x: x.clone(), later: "?".into() };
            let expected = PositionColumn { entities, x, ..PositionColumn::default() };
            prop_assert_eq!(PositionColumn::decode(&*unpacked.encode_to_vec()), Ok(expected));
        }
    }
}
