//! From the wire's field tests to the core's.

use spatialdb_core::interest::{Comparison, Encoding, FieldTest, Scalar, Step};
use spatialdb_proto::v1::{self, field_value::Kind};
use spatialdb_schema::{Constant, ScalarKind, ScalarValue, Schema};
use spatialdb_types::{ComponentId, Error, Reason};

use super::query::invalid;

/// The test, its field found in the schema and its constants turned into what the field holds.
///
/// # Errors
/// `COMPONENT_UNKNOWN`, `FIELD_UNKNOWN`, or `QUERY_INVALID` naming the part.
pub(super) fn test_of(schema: &Schema, wire: &v1::FieldTest) -> Result<FieldTest, Error> {
    let component = match (wire.component, wire.component_named.as_str()) {
        (0, "") => return Err(invalid("a field test names no component")),
        (0, name) => schema.component_named(name)?,
        (id, "") => schema.component(ComponentId(id)).ok_or_else(|| {
            Error::new(Reason::ComponentUnknown, format!("the schema has no component {id}"))
        })?,
        _ => return Err(invalid("a field test names its component by id or by name, not by both")),
    };
    let field = component.scalar_field(&wire.field)?;
    let comparison = match wire.comparison() {
        v1::Comparison::Unspecified => {
            return Err(invalid(&format!("field {}: {} is no comparison", wire.field, wire.comparison)));
        }
        v1::Comparison::Equal => Comparison::Equal,
        v1::Comparison::NotEqual => Comparison::NotEqual,
        v1::Comparison::Less => Comparison::Less,
        v1::Comparison::AtMost => Comparison::AtMost,
        v1::Comparison::Greater => Comparison::Greater,
        v1::Comparison::AtLeast => Comparison::AtLeast,
        v1::Comparison::In => Comparison::In,
    };
    let needs_order = !matches!(comparison, Comparison::Equal | Comparison::NotEqual | Comparison::In);
    if needs_order && !field.is_ordered() {
        let detail = format!("field {}: values of {} have no order", wire.field, field.kind.name());
        return Err(invalid(&detail));
    }
    if comparison != Comparison::In && wire.values.len() != 1 {
        let detail = format!("field {}: {} values; this comparison takes one", wire.field, wire.values.len());
        return Err(invalid(&detail));
    }
    let values = wire.values.iter().map(|value| Ok(scalar(field.value_of(&constant(value)?)?)));
    Ok(FieldTest {
        component: component.id(),
        path: field
            .steps
            .iter()
            .map(|(field, rivals)| Step { field: *field, rivals: rivals.as_slice().into() })
            .collect(),
        encoding: encoding(field.kind),
        default: scalar(field.default.clone()),
        comparison,
        values: values.collect::<Result<_, Error>>()?,
    })
}

fn constant(wire: &v1::FieldValue) -> Result<Constant, Error> {
    Ok(match wire.kind.as_ref().ok_or_else(|| invalid("a value of a field test is empty"))? {
        Kind::Integer(v) => Constant::Integer(i128::from(*v)),
        Kind::Unsigned(v) => Constant::Integer(i128::from(*v)),
        Kind::Number(v) => Constant::Number(*v),
        Kind::Boolean(v) => Constant::Bool(*v),
        Kind::Text(v) => Constant::Text(v.clone()),
        Kind::Data(v) => Constant::Data(v.to_vec()),
    })
}

fn scalar(value: ScalarValue) -> Scalar {
    match value {
        ScalarValue::Signed(v) => Scalar::Signed(v),
        ScalarValue::Unsigned(v) => Scalar::Unsigned(v),
        ScalarValue::Float(v) => Scalar::Float(v),
        ScalarValue::Bytes(v) => Scalar::Bytes(v.into()),
    }
}

const fn encoding(kind: ScalarKind) -> Encoding {
    match kind {
        ScalarKind::Int32 | ScalarKind::Int64 | ScalarKind::Enum => Encoding::Varint,
        ScalarKind::Bool | ScalarKind::Uint32 | ScalarKind::Uint64 => Encoding::UnsignedVarint,
        ScalarKind::Sint32 | ScalarKind::Sint64 => Encoding::ZigZag,
        ScalarKind::Fixed32 => Encoding::Fixed32,
        ScalarKind::Fixed64 => Encoding::Fixed64,
        ScalarKind::Sfixed32 => Encoding::SignedFixed32,
        ScalarKind::Sfixed64 => Encoding::SignedFixed64,
        ScalarKind::Float => Encoding::Float,
        ScalarKind::Double => Encoding::Double,
        ScalarKind::String | ScalarKind::Bytes => Encoding::Bytes,
    }
}
