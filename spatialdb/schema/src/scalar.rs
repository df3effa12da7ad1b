//! Fields by name, for whoever compares them.
//!
//! Responsible for: walking a dotted path into messages, and what the field at its end holds.
//! Not responsible for: reading the field out of a value.

use std::fmt;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use crate::component::Component;

/// What a field that can be compared holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// true or false.
    Bool,
    /// A whole number of this range, both ends included.
    Integer {
        /// The smallest.
        min: i64,
        /// The largest.
        max: u64,
    },
    /// A floating point number.
    Number,
    /// One of these names, each with its number. Another number of 32 bits may stand for a name that is not known here.
    Enum(Vec<(String, i32)>),
    /// UTF-8.
    Text,
    /// Bytes.
    Bytes,
}

/// Why a path leads to no field that can be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathError {
    /// Where in the path the fault is, in bytes.
    pub at: usize,
    /// How long the part at fault is, in bytes.
    pub length: usize,
    /// Why.
    pub fault: PathFault,
}

/// What is wrong with a part of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathFault {
    /// The message has no such field.
    Unknown {
        /// Full name of the message.
        message: String,
        /// Its fields, as the schema has them: proto name and JSON name.
        fields: Vec<(String, String)>,
    },
    /// The field is repeated, or a map.
    Repeated,
    /// The path ends at a message.
    Message {
        /// Full name of the message.
        message: String,
        /// Its fields.
        fields: Vec<String>,
    },
    /// The path goes on behind a field that is no message.
    Scalar,
}

impl Component {
    /// What the field at the end of a dotted path holds: `heading_deg`, `engine.rpm`.
    ///
    /// # Errors
    /// The first part of the path that leads nowhere, or is repeated, or a message at the end of it.
    pub fn scalar(&self, path: &str) -> Result<Scalar, PathError> {
        let fields = self.way(path)?;
        // The way ends at a scalar.
        Ok(fields.last().and_then(|field| scalar_of(field).ok()).unwrap_or(Scalar::Bytes))
    }

    /// The fields on a dotted path, the last of which is a scalar.
    ///
    /// # Errors
    /// As [`Component::scalar`].
    pub(crate) fn way(&self, path: &str) -> Result<Vec<FieldDescriptor>, PathError> {
        let (mut message, mut at, mut fields) = (self.descriptor.clone(), 0, Vec::new());
        loop {
            let (name, rest) =
                path[at..].split_once('.').map_or((&path[at..], None), |(name, rest)| (name, Some(rest)));
            let fail = |fault| Err(PathError { at, length: name.len(), fault });
            let Some(field) = message.get_field_by_name(name) else { return fail(unknown(&message)) };
            if field.is_list() || field.is_map() {
                return fail(PathFault::Repeated);
            }
            let kind = scalar_of(&field);
            fields.push(field);
            match (kind, rest) {
                (Ok(_), None) => return Ok(fields),
                (Ok(_), Some(_)) => return fail(PathFault::Scalar),
                (Err(inner), None) => {
                    let fields = inner.fields().map(|field| field.name().to_owned()).collect();
                    return fail(PathFault::Message { message: inner.full_name().to_owned(), fields });
                }
                (Err(inner), Some(_)) => {
                    message = inner;
                    at += name.len() + 1;
                }
            }
        }
    }

    /// The names of its fields, as the schema has them.
    pub fn field_names(&self) -> Vec<String> {
        self.descriptor.fields().map(|field| field.name().to_owned()).collect()
    }
}

fn unknown(message: &MessageDescriptor) -> PathFault {
    let names = |field: FieldDescriptor| (field.name().to_owned(), field.json_name().to_owned());
    PathFault::Unknown {
        message: message.full_name().to_owned(),
        fields: message.fields().map(names).collect(),
    }
}

/// What the field holds, or the message that it is.
fn scalar_of(field: &FieldDescriptor) -> Result<Scalar, MessageDescriptor> {
    Ok(match field.kind() {
        Kind::Bool => Scalar::Bool,
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
            Scalar::Integer { min: i32::MIN.into(), max: i32::MAX as u64 }
        }
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
            Scalar::Integer { min: i64::MIN, max: i64::MAX as u64 }
        }
        Kind::Uint32 | Kind::Fixed32 => Scalar::Integer { min: 0, max: u32::MAX.into() },
        Kind::Uint64 | Kind::Fixed64 => Scalar::Integer { min: 0, max: u64::MAX },
        Kind::Float | Kind::Double => Scalar::Number,
        Kind::Enum(kind) => {
            Scalar::Enum(kind.values().map(|value| (value.name().to_owned(), value.number())).collect())
        }
        Kind::String => Scalar::Text,
        Kind::Bytes => Scalar::Bytes,
        Kind::Message(message) => return Err(message),
    })
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("true or false"),
            Self::Integer { min, max } => write!(f, "a whole number from {min} to {max}"),
            Self::Number => f.write_str("a number"),
            Self::Enum(_) => f.write_str("a name of an enum"),
            Self::Text => f.write_str("a text"),
            Self::Bytes => f.write_str("bytes"),
        }
    }
}
