//! The walk over a payload, on the hot path.
//!
//! Responsible for: whether bytes are a value of a message, and where they are not.
//! Not responsible for: building anything from them; the walk does not allocate unless it fails.
//!
//! Accepts what `prost_reflect::DynamicMessage` accepts, but for groups, and for maps whose wire type is wrong.

use spatialdb_types::Reason;

use crate::{
    shape::{Content, FieldShape, Shape, Shapes},
    wire::{self, Malformed, WireType},
};

/// How deep messages may nest below a component, as in every protobuf parser.
const DEPTH_MAX: u32 = 100;

/// What is wrong with a payload, and where.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) reason: Reason,
    pub(crate) detail: String,
    // Innermost first.
    path: Vec<String>,
    // Which of the packed values, until the field is known.
    element: usize,
}

impl Fault {
    #[cold]
    pub(crate) fn new(reason: Reason, detail: impl Into<String>) -> Box<Self> {
        Box::new(Self { reason, detail: detail.into(), path: Vec::new(), element: 0 })
    }

    #[cold]
    fn invalid(detail: impl Into<String>) -> Box<Self> {
        Self::new(Reason::PayloadInvalid, detail)
    }

    /// Path like `route.legs[3].name`; empty when the fault is in no field.
    pub(crate) fn field(&self) -> String {
        self.path.iter().rev().map(String::as_str).collect::<Vec<_>>().join(".")
    }

    /// The same fault, seen from the message whose field it is in. `before` are the message's bytes up to the field.
    #[cold]
    pub(crate) fn inside(mut self: Box<Self>, shape: &Shape, before: &[u8], number: u32) -> Box<Self> {
        let repeated = shape.field(number).filter(|field| field.repeated);
        let name = shape.name(number).map_or_else(|| format!("field {number}"), str::to_owned);
        self.path.push(match repeated {
            Some(field) => format!("{name}[{}]", values_of(field, number, before) + self.element),
            None => name,
        });
        self.element = 0;
        self
    }
}

impl From<Malformed> for Box<Fault> {
    #[cold]
    fn from(malformed: Malformed) -> Self {
        Fault::invalid(malformed.to_string())
    }
}

/// Checks a whole value. Gives the number of unknown fields, those of nested messages included.
#[inline]
pub(crate) fn check(shapes: &Shapes, root: u32, payload: &[u8]) -> Result<u32, Box<Fault>> {
    let mut walk = Walk { shapes, unknown: 0 };
    walk.message(shapes.shape(root), payload, DEPTH_MAX)?;
    Ok(walk.unknown)
}

struct Walk<'a> {
    shapes: &'a Shapes,
    unknown: u32,
}

impl Walk<'_> {
    fn message(&mut self, shape: &Shape, bytes: &[u8], depth: u32) -> Result<(), Box<Fault>> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let before = bytes.len() - rest.len();
            let (number, wire_type) = wire::key(&mut rest)?;
            if let Err(fault) = self.field(shape.field(number), wire_type, &mut rest, depth) {
                return Err(fault.inside(shape, &bytes[..before], number));
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn field(
        &mut self,
        field: Option<FieldShape>,
        wire_type: WireType,
        rest: &mut &[u8],
        depth: u32,
    ) -> Result<(), Box<Fault>> {
        let Some(field) = field else {
            self.unknown = self.unknown.saturating_add(1);
            return Ok(wire::skip(wire_type, rest)?);
        };
        let expected = field.content.wire_type();
        if wire_type == expected {
            return self.value(field.content, rest, depth);
        }
        if field.repeated && wire_type == WireType::Length {
            return packed(expected, wire::delimited(rest)?);
        }
        Err(Fault::invalid(format!("wire type {wire_type} where the schema has {expected}")))
    }

    #[inline(always)]
    fn value(&mut self, content: Content, rest: &mut &[u8], depth: u32) -> Result<(), Box<Fault>> {
        match content {
            Content::Varint => {
                wire::varint(rest)?;
            }
            Content::Fixed64 => wire::fixed::<8>(rest)?,
            Content::Fixed32 => wire::fixed::<4>(rest)?,
            Content::Bytes => {
                wire::delimited(rest)?;
            }
            Content::Utf8 => {
                let text = wire::delimited(rest)?;
                // The first test is the faster one for short text.
                if !text.is_ascii() && str::from_utf8(text).is_err() {
                    return Err(Fault::invalid("not valid UTF-8"));
                }
            }
            Content::Message(index) => {
                let Some(depth) = depth.checked_sub(1) else { return Err(too_deep()) };
                let bytes = wire::delimited(rest)?;
                self.message(self.shapes.shape(index), bytes, depth)?;
            }
            Content::MapEntry(index) => {
                let bytes = wire::delimited(rest)?;
                self.map_entry(self.shapes.shape(index), bytes, depth)?;
            }
        }
        Ok(())
    }

    // An entry is no level of its own, but at the last level it has no unknown fields: so prost has it.
    fn map_entry(&mut self, shape: &Shape, bytes: &[u8], depth: u32) -> Result<(), Box<Fault>> {
        let unknown = self.unknown;
        self.message(shape, bytes, depth)?;
        if depth == 0 && self.unknown != unknown {
            return Err(too_deep());
        }
        Ok(())
    }
}

#[cold]
fn too_deep() -> Box<Fault> {
    Fault::invalid(format!("messages nest deeper than {DEPTH_MAX}"))
}

fn packed(expected: WireType, bytes: &[u8]) -> Result<(), Box<Fault>> {
    let mut rest = bytes;
    let mut element = 0;
    while !rest.is_empty() {
        if let Err(malformed) = wire::skip(expected, &mut rest) {
            let mut fault: Box<Fault> = malformed.into();
            fault.element = element;
            return Err(fault);
        }
        element += 1;
    }
    Ok(())
}

// How many values of a repeated field there are in bytes that were found good.
fn values_of(field: FieldShape, wanted: u32, mut bytes: &[u8]) -> usize {
    let expected = field.content.wire_type();
    let mut count = 0;
    while let Ok((number, wire_type)) = wire::key(&mut bytes) {
        let start = bytes;
        if wire::skip(wire_type, &mut bytes).is_err() {
            break;
        }
        if number == wanted {
            count += if wire_type == expected { 1 } else { packed_len(expected, start) };
        }
    }
    count
}

fn packed_len(expected: WireType, mut rest: &[u8]) -> usize {
    let mut bytes = wire::delimited(&mut rest).unwrap_or_default();
    let mut count = 0;
    while !bytes.is_empty() && wire::skip(expected, &mut bytes).is_ok() {
        count += 1;
    }
    count
}
