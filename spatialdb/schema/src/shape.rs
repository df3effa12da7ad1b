//! The flat tables that payloads are checked against.
//!
//! Responsible for: compiling message descriptors into tables, once; refusing what components may not have.
//! Not responsible for: walking payloads.

use std::collections::HashMap;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use crate::{error::SchemaError, places::Places, wire::WireType};

// Field numbers below this are looked up by index.
const DENSE_END: u32 = 128;

/// What the bytes of one field are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Varint,
    Fixed64,
    Fixed32,
    Bytes,
    Utf8,
    /// A nested message, as index into [`Shapes`].
    Message(u32),
    /// An entry of a map, as index into [`Shapes`].
    MapEntry(u32),
}

impl Content {
    /// The wire type of one value that is not packed.
    #[inline]
    pub(crate) fn wire_type(self) -> WireType {
        match self {
            Self::Varint => WireType::Varint,
            Self::Fixed64 => WireType::Fixed64,
            Self::Fixed32 => WireType::Fixed32,
            Self::Bytes | Self::Utf8 | Self::Message(_) | Self::MapEntry(_) => WireType::Length,
        }
    }
}

/// What the checker knows of a field.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FieldShape {
    pub(crate) content: Content,
    pub(crate) repeated: bool,
}

/// One message.
#[derive(Debug, Default)]
pub(crate) struct Shape {
    /// By field number, as far as [`DENSE_END`].
    dense: Box<[Option<FieldShape>]>,
    /// The other fields, by field number.
    sparse: Box<[(u32, FieldShape)]>,
    /// Names of all fields, by field number. Only read for errors.
    names: Box<[(u32, Box<str>)]>,
}

impl Shape {
    /// The field of that number.
    #[inline]
    pub(crate) fn field(&self, number: u32) -> Option<FieldShape> {
        match self.dense.get(number as usize) {
            Some(field) => *field,
            None => self.sparse_field(number),
        }
    }

    fn sparse_field(&self, number: u32) -> Option<FieldShape> {
        let at = self.sparse.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        Some(self.sparse[at].1)
    }

    /// The name of the field of that number.
    pub(crate) fn name(&self, number: u32) -> Option<&str> {
        let at = self.names.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        Some(&self.names[at].1)
    }
}

/// Every message that a component or event reaches.
#[derive(Debug, Default)]
pub(crate) struct Shapes(Vec<Shape>);

impl Shapes {
    /// The message of that index.
    #[inline]
    pub(crate) fn shape(&self, index: u32) -> &Shape {
        &self.0[index as usize]
    }
}

/// Compiles messages into one table.
#[derive(Debug)]
pub(crate) struct Builder<'a> {
    places: &'a Places,
    indexes: HashMap<String, u32>,
    waiting: Vec<MessageDescriptor>,
    shapes: Shapes,
}

impl<'a> Builder<'a> {
    /// An empty table; `places` is for errors.
    pub(crate) fn new(places: &'a Places) -> Self {
        Self { places, indexes: HashMap::new(), waiting: Vec::new(), shapes: Shapes::default() }
    }

    /// Adds a component or event, as `root` says, and all it reaches, and gives its index.
    pub(crate) fn add(
        &mut self,
        root: &'static str,
        component: &MessageDescriptor,
    ) -> Result<u32, SchemaError> {
        let first = self.index(component);
        while let Some(message) = self.waiting.pop() {
            self.refuse_unsupported(root, component, &message)?;
            let index = self.index(&message);
            self.shapes.0[index as usize] = self.compile(&message);
        }
        Ok(first)
    }

    /// The finished table.
    pub(crate) fn finish(self) -> Shapes {
        self.shapes
    }

    fn index(&mut self, message: &MessageDescriptor) -> u32 {
        if let Some(index) = self.indexes.get(message.full_name()) {
            return *index;
        }
        let index = self.shapes.0.len() as u32;
        self.shapes.0.push(Shape::default());
        self.indexes.insert(message.full_name().to_owned(), index);
        self.waiting.push(message.clone());
        index
    }

    fn compile(&mut self, message: &MessageDescriptor) -> Shape {
        let mut fields: Vec<_> =
            message.fields().map(|field| (field.number(), self.field(&field), field.name().into())).collect();
        fields.sort_by_key(|(number, _, _): &(u32, FieldShape, Box<str>)| *number);
        let low = fields.iter().map(|(number, _, _)| *number).filter(|number| *number < DENSE_END);
        let mut dense = vec![None; low.max().map_or(0, |last| last as usize + 1)];
        let mut sparse = Vec::new();
        for (number, field, _) in &fields {
            match dense.get_mut(*number as usize) {
                Some(slot) => *slot = Some(*field),
                None => sparse.push((*number, *field)),
            }
        }
        let names = fields.into_iter().map(|(number, _, name)| (number, name)).collect();
        Shape { dense: dense.into(), sparse: sparse.into(), names }
    }

    fn field(&mut self, field: &FieldDescriptor) -> FieldShape {
        let content = match field.kind() {
            Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => Content::Fixed64,
            Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => Content::Fixed32,
            Kind::Int32 | Kind::Int64 | Kind::Uint32 | Kind::Uint64 => Content::Varint,
            Kind::Sint32 | Kind::Sint64 | Kind::Bool | Kind::Enum(_) => Content::Varint,
            Kind::String => Content::Utf8,
            Kind::Bytes => Content::Bytes,
            Kind::Message(entry) if field.is_map() => Content::MapEntry(self.index(&entry)),
            Kind::Message(message) => Content::Message(self.index(&message)),
        };
        FieldShape { content, repeated: field.is_list() || field.is_map() }
    }

    fn refuse_unsupported(
        &self,
        root: &'static str,
        component: &MessageDescriptor,
        message: &MessageDescriptor,
    ) -> Result<(), SchemaError> {
        let unsupported = |place, thing, advice| {
            Err(SchemaError::Unsupported {
                place,
                thing,
                root,
                component: component.full_name().to_owned(),
                advice,
            })
        };
        if message.extension_ranges().len() > 0 {
            let thing = format!("{} has extension ranges", message.full_name());
            let advice =
                "which components and events may not have; use ordinary fields or a google.protobuf.Any";
            return unsupported(self.places.message(message), thing, advice);
        }
        for field in message.fields() {
            if field.is_group() {
                let thing = format!("{} is a group", field.full_name());
                let advice = "which components and events may not have; use a nested message";
                return unsupported(self.places.field(&field), thing, advice);
            }
            if field.is_required() {
                let thing = format!("{} is required", field.full_name());
                let advice = "and partial updates could leave it out; make it optional";
                return unsupported(self.places.field(&field), thing, advice);
            }
        }
        Ok(())
    }
}
