//! Field tests: comparing a scalar field of a component with constants, straight from its encoded bytes.

use std::cmp::Ordering;
use std::sync::Arc;

use spatialdb_types::{ComponentId, Position};

use super::Subject;
use crate::wire::{self, Field};

/// A comparison of one scalar field.
///
/// What the field is comes from the schema, so that this crate needs none: whoever makes the test says how the bytes are
/// to be read, and gives constants of the same kind.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldTest {
    /// An entity without it never passes.
    pub component: ComponentId,
    /// The way through messages to the field: at least one step.
    pub path: Arc<[Step]>,
    /// How the field is encoded.
    pub encoding: Encoding,
    /// What it has if it is not set.
    pub default: Scalar,
    /// How it is compared.
    pub comparison: Comparison,
    /// With what: one constant, or any number for [`Comparison::In`].
    pub values: Arc<[Scalar]>,
}

/// A step into a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// The number of the field.
    pub field: u32,
    /// The other fields of its oneof: one that comes later clears it.
    pub rivals: Box<[u32]>,
}

/// How a scalar is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// `int32`, `int64`, enums.
    Varint,
    /// `uint32`, `uint64`, `bool`.
    UnsignedVarint,
    /// `sint32`, `sint64`.
    ZigZag,
    /// `fixed32`.
    Fixed32,
    /// `sfixed32`.
    SignedFixed32,
    /// `fixed64`.
    Fixed64,
    /// `sfixed64`.
    SignedFixed64,
    /// `float`.
    Float,
    /// `double`.
    Double,
    /// `string`, `bytes`.
    Bytes,
}

/// A value of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// Of a signed kind.
    Signed(i64),
    /// Of an unsigned kind.
    Unsigned(u64),
    /// Of a floating-point kind.
    Float(f64),
    /// Text or bytes; ordered byte by byte.
    Bytes(Box<[u8]>),
}

/// How two values compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Equal.
    Equal,
    /// Not equal.
    NotEqual,
    /// Less.
    Less,
    /// Less or equal.
    AtMost,
    /// Greater.
    Greater,
    /// Greater or equal.
    AtLeast,
    /// Equal to one of several.
    In,
}

impl FieldTest {
    /// Whether a value of the component passes.
    pub fn passes(&self, value: &[u8]) -> bool {
        self.holds_for(self.read(value))
    }

    /// What the field has; `None`: the entity lacks the component.
    pub(super) fn found(&self, subject: &Subject<'_>) -> Option<Scalar> {
        if self.component == ComponentId::POSITION {
            return subject.position.map(|at| self.read_position(at).into());
        }
        subject.values.value(self.component).map(|value| self.read(value).into())
    }

    fn read<'a>(&'a self, value: &'a [u8]) -> Read<'a> {
        let mut found = None;
        seek(value, &self.path, &mut found);
        found.and_then(|field| self.encoding.read(field)).unwrap_or_else(|| self.default.read())
    }

    /// Whether a position passes: it is not stored encoded.
    pub(super) fn passes_position(&self, at: Position) -> bool {
        self.holds_for(self.read_position(at))
    }

    fn read_position(&self, at: Position) -> Read<'static> {
        match self.path.first().map_or(0, |step| step.field) {
            1 => Read::Unsigned(u64::from(at.space.0)),
            2 => Read::Float(at.point.x),
            3 => Read::Float(at.point.y),
            _ => Read::Float(at.point.z),
        }
    }

    fn holds_for(&self, read: Read<'_>) -> bool {
        self.values.iter().any(|constant| self.comparison.holds(read.order(constant.read())))
    }
}

impl Comparison {
    /// `order` is `None` where there is none: NaN differs from everything.
    fn holds(self, order: Option<Ordering>) -> bool {
        match self {
            Self::Equal | Self::In => order == Some(Ordering::Equal),
            Self::NotEqual => order != Some(Ordering::Equal),
            Self::Less => order == Some(Ordering::Less),
            Self::AtMost => order.is_some_and(Ordering::is_le),
            Self::Greater => order == Some(Ordering::Greater),
            Self::AtLeast => order.is_some_and(Ordering::is_ge),
        }
    }
}

/// A scalar as it lies in a value.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Read<'a> {
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Bytes(&'a [u8]),
}

impl Read<'_> {
    fn order(self, other: Read<'_>) -> Option<Ordering> {
        match (self, other) {
            (Read::Signed(a), Read::Signed(b)) => Some(a.cmp(&b)),
            (Read::Unsigned(a), Read::Unsigned(b)) => Some(a.cmp(&b)),
            (Read::Float(a), Read::Float(b)) => a.partial_cmp(&b),
            (Read::Bytes(a), Read::Bytes(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }
}

impl From<Read<'_>> for Scalar {
    fn from(read: Read<'_>) -> Self {
        match read {
            Read::Signed(v) => Self::Signed(v),
            Read::Unsigned(v) => Self::Unsigned(v),
            Read::Float(v) => Self::Float(v),
            Read::Bytes(v) => Self::Bytes(v.into()),
        }
    }
}

impl Scalar {
    fn read(&self) -> Read<'_> {
        match self {
            Self::Signed(v) => Read::Signed(*v),
            Self::Unsigned(v) => Read::Unsigned(*v),
            Self::Float(v) => Read::Float(*v),
            Self::Bytes(v) => Read::Bytes(v),
        }
    }
}

impl Encoding {
    /// `None`: the field has another wire type.
    fn read(self, field: Field<'_>) -> Option<Read<'_>> {
        Some(match (self, field) {
            (Self::Varint, Field::Varint(v)) => Read::Signed(v as i64),
            (Self::UnsignedVarint, Field::Varint(v)) => Read::Unsigned(v),
            (Self::ZigZag, Field::Varint(v)) => Read::Signed((v >> 1) as i64 ^ -((v & 1) as i64)),
            (Self::Fixed32, Field::Fixed32(v)) => Read::Unsigned(u64::from(v)),
            (Self::SignedFixed32, Field::Fixed32(v)) => Read::Signed(i64::from(v as i32)),
            (Self::Fixed64, Field::Fixed64(v)) => Read::Unsigned(v),
            (Self::SignedFixed64, Field::Fixed64(v)) => Read::Signed(v as i64),
            (Self::Float, Field::Fixed32(v)) => Read::Float(f64::from(f32::from_bits(v))),
            (Self::Double, Field::Fixed64(v)) => Read::Float(f64::from_bits(v)),
            (Self::Bytes, Field::Bytes(v)) => Read::Bytes(v),
            _ => return None,
        })
    }
}

/// Finds the last occurrence of the field at the end of the path, as a decoder would.
fn seek<'a>(message: &'a [u8], path: &[Step], found: &mut Option<Field<'a>>) {
    let Some((step, deeper)) = path.split_first() else { return };
    for (number, field) in wire::fields(message) {
        if number == step.field {
            match (deeper, field) {
                ([], field) => *found = Some(field),
                (_, Field::Bytes(inner)) => seek(inner, deeper, found),
                _ => {}
            }
        } else if step.rivals.contains(&number) {
            *found = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(path: &[u32], encoding: Encoding, comparison: Comparison, values: &[Scalar]) -> FieldTest {
        let path = path.iter().map(|&field| Step { field, rivals: Box::default() }).collect();
        let default = match encoding {
            Encoding::Bytes => Scalar::Bytes(Box::default()),
            Encoding::Float | Encoding::Double => Scalar::Float(0.0),
            Encoding::UnsignedVarint | Encoding::Fixed32 | Encoding::Fixed64 => Scalar::Unsigned(0),
            _ => Scalar::Signed(0),
        };
        FieldTest { component: ComponentId(1000), path, encoding, default, comparison, values: values.into() }
    }

    #[test]
    fn the_last_value_counts_and_what_is_not_set_has_its_default() {
        let is = |n| test(&[1], Encoding::Varint, Comparison::Equal, &[Scalar::Signed(n)]);
        assert!(is(0).passes(&[]));
        assert!(is(6).passes(&[0x08, 5, 0x08, 6]) && !is(5).passes(&[0x08, 5, 0x08, 6]));
        let minus_one = [&[0x08][..], &[0xff; 9], &[1]].concat();
        assert!(is(-1).passes(&minus_one));
        // Not of its wire type.
        assert!(is(0).passes(&[0x0d, 1, 2, 3, 4]));
    }

    #[test]
    fn paths_lead_into_messages_that_are_merged() {
        let inner = test(&[2, 1], Encoding::ZigZag, Comparison::Less, &[Scalar::Signed(-2)]);
        assert!(inner.passes(&[0x12, 2, 0x08, 5]));
        assert!(inner.passes(&[0x12, 2, 0x08, 5, 0x12, 0]));
        assert!(!inner.passes(&[0x12, 2, 0x08, 5, 0x12, 2, 0x08, 1]));
        assert!(!inner.passes(&[]));
    }

    #[test]
    fn an_arm_of_a_oneof_is_cleared_by_a_later_one() {
        let mut arm = test(&[1], Encoding::UnsignedVarint, Comparison::Greater, &[Scalar::Unsigned(0)]);
        arm.path = [Step { field: 1, rivals: [2].into() }].into();
        assert!(arm.passes(&[0x10, 7, 0x08, 1]));
        assert!(!arm.passes(&[0x08, 1, 0x10, 7]));
    }

    #[test]
    fn nan_differs_from_everything() {
        let nan = [&[0x09][..], &f64::NAN.to_le_bytes()].concat();
        let one = [Scalar::Float(1.0)];
        let passes = |comparison| test(&[1], Encoding::Double, comparison, &one).passes(&nan);
        assert!(passes(Comparison::NotEqual));
        for never in [Comparison::Equal, Comparison::Less, Comparison::AtLeast, Comparison::In] {
            assert!(!passes(never));
        }
    }

    #[test]
    fn text_compares_by_its_bytes() {
        let at_least = |text: &str| {
            let value = Scalar::Bytes(text.as_bytes().into());
            test(&[1], Encoding::Bytes, Comparison::AtLeast, &[value])
        };
        let value = [0x0a, 2, b'm', b'n'];
        assert!(
            at_least("mn").passes(&value) && at_least("m").passes(&value) && !at_least("n").passes(&value)
        );
        let one_of = test(
            &[1],
            Encoding::Bytes,
            Comparison::In,
            &[Scalar::Bytes((*b"x").into()), Scalar::Bytes((*b"mn").into())],
        );
        assert!(one_of.passes(&value) && !one_of.passes(&[]));
    }
}
