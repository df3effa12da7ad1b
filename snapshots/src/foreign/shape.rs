//! What a field takes, as far as a cell of a table must know.
//!
//! Responsible for: finding a field by its path, and its kind.
//! Not responsible for: the values themselves (`cell`); `spatialdb-schema` checks them once more.

use prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor};
use spatialdb_schema::Schema;

/// What one field takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Text,
    Bool,
    Float,
    Whole,
    Enum,
    /// A message or a map: only JSON can say it.
    Json,
}

/// A field of a component, and how to get there.
#[derive(Clone, Debug)]
pub(super) struct FieldPath {
    pub(super) names: Vec<String>,
    pub(super) shape: Shape,
    pub(super) is_list: bool,
}

/// The messages of a schema, with their fields.
pub(super) struct Messages {
    pool: DescriptorPool,
}

impl Messages {
    pub(super) fn new(schema: &Schema) -> Self {
        // A schema has checked the set that it was made from.
        Self { pool: DescriptorPool::decode(schema.descriptor_set()).unwrap_or_default() }
    }

    pub(super) fn message(&self, name: &str) -> Option<MessageDescriptor> {
        self.pool.get_message_by_name(name)
    }

    /// The field at `a.b.c` below a component; names as in the `.proto` file or as in JSON.
    pub(super) fn field(&self, component: &str, path: &str) -> Result<FieldPath, String> {
        let mut message =
            self.message(component).ok_or_else(|| format!("{component} is not in the schema"))?;
        let mut names = Vec::new();
        let mut steps = path.split('.').peekable();
        while let Some(step) = steps.next() {
            let field = find(&message, step)?;
            names.push(field.name().to_owned());
            if steps.peek().is_none() {
                return Ok(FieldPath { names, shape: shape(&field), is_list: field.is_list() });
            }
            message = match field.kind() {
                Kind::Message(inner) if !field.is_list() && !field.is_map() => inner,
                _ => return Err(format!("{step} is no message, so it has no fields")),
            };
        }
        Err("a field is expected".to_owned())
    }
}

fn find(message: &MessageDescriptor, name: &str) -> Result<FieldDescriptor, String> {
    message.get_field_by_name(name).or_else(|| message.get_field_by_json_name(name)).ok_or_else(|| {
        let known: Vec<_> = message.fields().map(|field| field.name().to_owned()).collect();
        format!("{} has no field {name}; it has {}", message.full_name(), known.join(", "))
    })
}

fn shape(field: &FieldDescriptor) -> Shape {
    if field.is_map() {
        return Shape::Json;
    }
    match field.kind() {
        Kind::Double | Kind::Float => Shape::Float,
        Kind::Bool => Shape::Bool,
        Kind::String | Kind::Bytes => Shape::Text,
        Kind::Enum(_) => Shape::Enum,
        Kind::Message(_) => Shape::Json,
        _ => Shape::Whole,
    }
}
