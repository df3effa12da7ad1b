//! Values of scalar fields, for those who compare them.
//!
//! Responsible for: how a field is encoded, its default, and whether a constant can be meant for it.
//! Not responsible for: reading it from a value (the core does).

use prost_reflect::{FieldDescriptor, Kind, Value};
use spatialdb_types::{Error, Reason};

use crate::component::Component;
use crate::scalar::{PathError, PathFault};

/// A scalar field of a component, messages around it included.
#[derive(Clone, Debug)]
pub struct ScalarField {
    /// The way to it: for each message the number of the field, and of the other fields of its oneof.
    pub steps: Vec<(u32, Vec<u32>)>,
    /// What it holds.
    pub kind: ScalarKind,
    /// What it has if it is not set.
    pub default: ScalarValue,
    descriptor: FieldDescriptor,
    component: String,
    path: String,
}

/// What a scalar field holds, and how it is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names of protobuf")]
pub enum ScalarKind {
    Bool,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Sint32,
    Sint64,
    Fixed32,
    Fixed64,
    Sfixed32,
    Sfixed64,
    Float,
    Double,
    String,
    Bytes,
    Enum,
}

/// A value of a scalar field.
#[derive(Clone, Debug, PartialEq)]
pub enum ScalarValue {
    /// Of a signed kind, or an enum.
    Signed(i64),
    /// Of an unsigned kind, or a bool.
    Unsigned(u64),
    /// Of `float` or `double`.
    Float(f64),
    /// Of `string` or `bytes`.
    Bytes(Vec<u8>),
}

/// A constant as somebody gives it.
#[derive(Clone, Debug, PartialEq)]
pub enum Constant {
    /// A whole number.
    Integer(i128),
    /// Any number.
    Number(f64),
    /// True or false.
    Bool(bool),
    /// Text, or the name of a value of an enum.
    Text(String),
    /// Bytes.
    Data(Vec<u8>),
}

impl Component {
    /// The scalar field of that name; dots lead into messages.
    ///
    /// # Errors
    /// `FIELD_UNKNOWN` naming the fields that there are, `QUERY_INVALID` if it is no scalar.
    pub fn scalar_field(&self, path: &str) -> Result<ScalarField, Error> {
        let way = self.way(path).map_err(|error| fault(self, path, &error))?;
        let step = |field: &FieldDescriptor| {
            let arms =
                field.containing_oneof().into_iter().flat_map(|oneof| oneof.fields().collect::<Vec<_>>());
            let rivals = arms.map(|arm| arm.number()).filter(|&number| number != field.number());
            (field.number(), rivals.collect())
        };
        let steps = way.iter().map(step).collect();
        let descriptor = way.into_iter().next_back().ok_or_else(|| {
            Error::new(Reason::QueryInvalid, format!("{}: the name of the field is empty", self.name()))
        })?;
        let kind = ScalarKind::of(&descriptor.kind());
        let default = kind.value(&descriptor.default_value());
        let (component, path) = (self.name().to_owned(), path.to_owned());
        Ok(ScalarField { steps, kind, default, descriptor, component, path })
    }
}

impl ScalarField {
    /// The constant as a value of the field.
    ///
    /// # Errors
    /// `QUERY_INVALID` if the field cannot have it.
    pub fn value_of(&self, constant: &Constant) -> Result<ScalarValue, Error> {
        let value = match (self.kind, constant) {
            (ScalarKind::Bool, Constant::Bool(v)) => Some(ScalarValue::Unsigned(u64::from(*v))),
            (ScalarKind::String, Constant::Text(v)) => Some(ScalarValue::Bytes(v.clone().into_bytes())),
            (ScalarKind::Bytes, Constant::Data(v)) => Some(ScalarValue::Bytes(v.clone())),
            (ScalarKind::Enum, Constant::Text(name)) => return self.enum_value(name),
            (ScalarKind::Float, Constant::Integer(v)) => Some(ScalarValue::Float(f64::from(*v as f32))),
            (ScalarKind::Double, Constant::Integer(v)) => Some(ScalarValue::Float(*v as f64)),
            // A float field holds the float that is nearest to what was meant.
            // None that is not infinite is nearest to a number beyond them.
            (ScalarKind::Float, Constant::Number(v)) if v.is_finite() && (*v as f32).is_infinite() => None,
            (ScalarKind::Float, Constant::Number(v)) => Some(ScalarValue::Float(f64::from(*v as f32))),
            (ScalarKind::Double, Constant::Number(v)) => Some(ScalarValue::Float(*v)),
            (kind, Constant::Integer(v)) => kind.integer(*v),
            _ => None,
        };
        value.ok_or_else(|| {
            let (component, path, kind) = (&self.component, &self.path, self.kind.name());
            let detail = format!("{component}, field {path} is of type {kind}: {constant} is none");
            Error::new(Reason::QueryInvalid, detail)
        })
    }

    fn enum_value(&self, name: &str) -> Result<ScalarValue, Error> {
        let Kind::Enum(of) = self.descriptor.kind() else { return Ok(self.default.clone()) };
        match of.get_value_by_name(name) {
            Some(value) => Ok(ScalarValue::Signed(i64::from(value.number()))),
            None => {
                let names: Vec<String> = of.values().map(|v| v.name().to_owned()).collect();
                let (component, path) = (&self.component, &self.path);
                let detail = format!(
                    "{component}, field {path}: {} has no {name}; there are {}",
                    of.name(),
                    names.join(", ")
                );
                Err(Error::new(Reason::QueryInvalid, detail))
            }
        }
    }

    /// Whether its values have an order that can be meant.
    pub fn is_ordered(&self) -> bool {
        !matches!(self.kind, ScalarKind::Bool | ScalarKind::Enum)
    }
}

impl ScalarKind {
    fn of(kind: &Kind) -> Self {
        match kind {
            Kind::Bool => Self::Bool,
            Kind::Int32 => Self::Int32,
            Kind::Int64 => Self::Int64,
            Kind::Uint32 => Self::Uint32,
            Kind::Uint64 => Self::Uint64,
            Kind::Sint32 => Self::Sint32,
            Kind::Sint64 => Self::Sint64,
            Kind::Fixed32 => Self::Fixed32,
            Kind::Fixed64 => Self::Fixed64,
            Kind::Sfixed32 => Self::Sfixed32,
            Kind::Sfixed64 => Self::Sfixed64,
            Kind::Float => Self::Float,
            Kind::Double => Self::Double,
            Kind::String => Self::String,
            Kind::Bytes | Kind::Message(_) => Self::Bytes,
            Kind::Enum(_) => Self::Enum,
        }
    }

    /// The word of a `.proto` file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::Uint32 => "uint32",
            Self::Uint64 => "uint64",
            Self::Sint32 => "sint32",
            Self::Sint64 => "sint64",
            Self::Fixed32 => "fixed32",
            Self::Fixed64 => "fixed64",
            Self::Sfixed32 => "sfixed32",
            Self::Sfixed64 => "sfixed64",
            Self::Float => "float",
            Self::Double => "double",
            Self::String => "string",
            Self::Bytes => "bytes",
            Self::Enum => "an enum",
        }
    }

    fn integer(self, v: i128) -> Option<ScalarValue> {
        let signed = |v: i64| ScalarValue::Signed(v);
        match self {
            Self::Int32 | Self::Sint32 | Self::Sfixed32 | Self::Enum => {
                i32::try_from(v).ok().map(|v| signed(i64::from(v)))
            }
            Self::Int64 | Self::Sint64 | Self::Sfixed64 => i64::try_from(v).ok().map(signed),
            Self::Uint32 | Self::Fixed32 => {
                u32::try_from(v).ok().map(|v| ScalarValue::Unsigned(u64::from(v)))
            }
            Self::Uint64 | Self::Fixed64 => u64::try_from(v).ok().map(ScalarValue::Unsigned),
            _ => None,
        }
    }

    fn value(self, value: &Value) -> ScalarValue {
        match value {
            Value::Bool(v) => ScalarValue::Unsigned(u64::from(*v)),
            Value::I32(v) | Value::EnumNumber(v) => ScalarValue::Signed(i64::from(*v)),
            Value::I64(v) => ScalarValue::Signed(*v),
            Value::U32(v) => ScalarValue::Unsigned(u64::from(*v)),
            Value::U64(v) => ScalarValue::Unsigned(*v),
            Value::F32(v) => ScalarValue::Float(f64::from(*v)),
            Value::F64(v) => ScalarValue::Float(*v),
            Value::String(v) => ScalarValue::Bytes(v.clone().into_bytes()),
            Value::Bytes(v) => ScalarValue::Bytes(v.to_vec()),
            _ => ScalarValue::Bytes(Vec::new()),
        }
    }
}

impl std::fmt::Display for Constant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Integer(v) => write!(f, "{v}"),
            Self::Number(v) => write!(f, "{v}"),
            Self::Bool(v) => write!(f, "{v}"),
            Self::Text(v) => write!(f, "{v:?}"),
            Self::Data(v) => write!(f, "{} bytes", v.len()),
        }
    }
}

fn fault(component: &Component, path: &str, error: &PathError) -> Error {
    let name = &path[error.at..error.at + error.length];
    let (reason, what) = match &error.fault {
        PathFault::Unknown { message, fields } => {
            let names: Vec<String> = fields.iter().map(|(name, _)| name.clone()).collect();
            (Reason::FieldUnknown, format!("{message} has no field {name:?}; its fields are {}", list(names)))
        }
        PathFault::Repeated => {
            (Reason::QueryInvalid, format!("{name} is repeated; only single values compare"))
        }
        PathFault::Message { fields, .. } => {
            (Reason::QueryInvalid, format!("{name} is a message with the fields {}", list(fields.clone())))
        }
        PathFault::Scalar => (Reason::QueryInvalid, format!("{name} is no message: nothing is in it")),
    };
    Error::new(reason, format!("{}, field {path:?}: {what}", component.name()))
}

fn list(mut names: Vec<String>) -> String {
    if names.len() > 16 {
        names.truncate(16);
        names.push("...".to_owned());
    }
    names.join(", ")
}
