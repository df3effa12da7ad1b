//! Constraints as text.

use std::fmt::Write;

use spatialdb_proto::v1::{self, Comparison, constraint::Kind, field_value::Kind as Value};
use spatialdb_schema::{Scalar, Schema};
use spatialdb_types::ComponentId;

use crate::number::shortest;

/// Stands for what has no text, and does not parse.
const NO_TEXT: &str = "?";

/// Beyond any constraint that a server takes: what is deeper has no text.
const DEPTH_MAX: usize = 100;

/// The constraint as text, one for all that mean the same in the same way: components by their full names, lengths in
/// metres without a unit, the space only if it is not 0.
///
/// Parsing it gives the same constraint, but for forms that mean the same: components are named by id, a list of one is
/// what it holds, an empty `and` is `all`, an open side is infinite. What no text can say (an empty constraint, a NaN
/// coordinate, a component that the schema lacks) is written in a way that does not parse.
pub fn to_text(constraint: &v1::Constraint, schema: &Schema) -> String {
    let mut printer = Printer { schema, text: String::new() };
    printer.constraint(constraint, DEPTH_MAX);
    printer.text
}

struct Printer<'a> {
    schema: &'a Schema,
    text: String,
}

impl Printer<'_> {
    fn constraint(&mut self, constraint: &v1::Constraint, levels_left: usize) {
        let Some(levels_left) = levels_left.checked_sub(1) else { return self.put(NO_TEXT) };
        match &constraint.kind {
            None => self.put(NO_TEXT),
            Some(Kind::All(_)) => self.put("all"),
            Some(Kind::HasComponent(id)) => {
                let name = self.name(*id, "");
                self.put(&format!("has {name}"));
            }
            Some(Kind::HasComponentNamed(name)) => {
                let name = self.name(0, name);
                self.put(&format!("has {name}"));
            }
            Some(Kind::And(list)) => self.list(&list.constraints, ["all", " and "], levels_left),
            Some(Kind::Or(list)) => self.list(&list.constraints, ["none", " or "], levels_left),
            Some(Kind::Not(inner)) => {
                self.put("not ");
                self.grouped(inner, levels_left);
            }
            Some(Kind::Box(shape)) => self.a_box(shape),
            Some(Kind::Sphere(sphere)) => {
                let center = sphere.center.unwrap_or(v1::Point { x: f64::NAN, y: f64::NAN, z: None });
                let numbers = [center.x, center.y, center.z.unwrap_or(0.0), sphere.radius_m];
                self.shape("sphere", &numbers, None, sphere.space);
            }
            Some(Kind::Cylinder(cylinder)) => {
                let numbers = [cylinder.center_x, cylinder.center_y, cylinder.radius_m];
                let heights = (cylinder.min_z, cylinder.max_z);
                self.shape("cylinder", &numbers, Some(heights), cylinder.space);
            }
            Some(Kind::Space(space)) => self.put(&format!("in space {}", space.space)),
            Some(Kind::EntityIds(ids)) => {
                let ids: Vec<String> = ids.entities.iter().map(u64::to_string).collect();
                self.put(&format!("id in ({})", ids.join(", ")));
            }
            Some(Kind::Near(near)) => {
                self.put(&format!("near {} within {}", near.entity, shortest(near.radius_m)));
            }
            Some(Kind::Owned(owned)) if owned.layer.is_empty() => self.put("owned"),
            Some(Kind::Owned(owned)) => self.put(&format!("owned in layer {}", quoted_text(&owned.layer))),
            Some(Kind::Field(test)) => self.test(test),
            // As it was written: whoever wrote it chose the words.
            Some(Kind::Text(text)) => self.put(&format!("({text})")),
        }
    }

    fn list(&mut self, constraints: &[v1::Constraint], [empty, between]: [&str; 2], levels_left: usize) {
        if let [one] = constraints {
            return self.constraint(one, levels_left);
        }
        if constraints.is_empty() {
            return self.put(empty);
        }
        for (index, constraint) in constraints.iter().enumerate() {
            self.put(if index == 0 { "" } else { between });
            self.grouped(constraint, levels_left);
        }
    }

    /// With parentheses if it is a list, though `and` binds closer than `or`: a reader need not know.
    fn grouped(&mut self, constraint: &v1::Constraint, levels_left: usize) {
        let mut inner = constraint;
        while let Some(Kind::And(list) | Kind::Or(list)) = &inner.kind {
            match &list.constraints[..] {
                [one] => inner = one,
                [] => break,
                _ => {
                    self.put("(");
                    self.constraint(inner, levels_left);
                    return self.put(")");
                }
            }
        }
        self.constraint(inner, levels_left);
    }

    fn a_box(&mut self, shape: &v1::Box) {
        let corner =
            |point: Option<v1::Point>, open: f64| point.unwrap_or(v1::Point { x: open, y: open, z: None });
        let (min, max) = (corner(shape.min, f64::NEG_INFINITY), corner(shape.max, f64::INFINITY));
        self.shape("box", &[min.x, min.y, max.x, max.y], Some((min.z, max.z)), shape.space);
    }

    fn shape(
        &mut self,
        word: &str,
        numbers: &[f64],
        heights: Option<(Option<f64>, Option<f64>)>,
        space: u32,
    ) {
        let mut arguments: Vec<String> = numbers.iter().copied().map(shortest).collect();
        let (from, to) = heights.unwrap_or((None, None));
        let bound = |z: Option<f64>| z.filter(|z| !z.is_infinite()).map(shortest).unwrap_or_default();
        let (from, to) = match (from, to) {
            // An infinite bound is written out where it leaves out all instead of nothing.
            (Some(f64::INFINITY), to) => ("inf".to_owned(), to.map(shortest).unwrap_or_default()),
            (from, Some(f64::NEG_INFINITY)) => (from.map(shortest).unwrap_or_default(), "-inf".to_owned()),
            (from, to) => (bound(from), bound(to)),
        };
        if !(from.is_empty() && to.is_empty()) {
            arguments.push(format!("{from}..{to}"));
        }
        self.put(&format!("{word}({})", arguments.join(", ")));
        if space != 0 {
            self.put(&format!(" in space {space}"));
        }
    }

    fn test(&mut self, test: &v1::FieldTest) {
        let name = self.name(test.component, &test.component_named);
        let scalar = self.schema.component_named(&name).ok().and_then(|found| found.scalar(&test.field).ok());
        let values: Vec<String> =
            test.values.iter().map(|value| value_text(value, scalar.as_ref())).collect();
        let sign = match test.comparison() {
            Comparison::Unspecified => NO_TEXT,
            Comparison::Equal => "=",
            Comparison::NotEqual => "!=",
            Comparison::Less => "<",
            Comparison::AtMost => "<=",
            Comparison::Greater => ">",
            Comparison::AtLeast => ">=",
            Comparison::In => return self.put(&format!("{name}.{} in ({})", test.field, values.join(", "))),
        };
        self.put(&format!("{name}.{} {sign} {}", test.field, values.join(", ")));
    }

    /// The full name of a component that is given by id, or by name.
    fn name(&self, id: u32, name: &str) -> String {
        let found = match name {
            "" => self.schema.component(ComponentId(id)),
            name => self.schema.component_named(name).ok(),
        };
        match found {
            Some(component) => component.name().to_owned(),
            None if name.is_empty() => id.to_string(),
            None => name.to_owned(),
        }
    }

    fn put(&mut self, text: &str) {
        self.text.push_str(text);
    }
}

fn value_text(value: &v1::FieldValue, scalar: Option<&Scalar>) -> String {
    match (&value.kind, scalar) {
        (None, _) => NO_TEXT.to_owned(),
        (Some(Value::Integer(number)), _) => number.to_string(),
        (Some(Value::Unsigned(number)), _) => number.to_string(),
        (Some(Value::Number(number)), _) => shortest(*number),
        (Some(Value::Boolean(truth)), _) => truth.to_string(),
        (Some(Value::Text(name)), Some(Scalar::Enum(names)))
            if names.iter().any(|(known, _)| known == name) =>
        {
            name.clone()
        }
        (Some(Value::Text(text)), _) => quoted_text(text),
        (Some(Value::Data(bytes)), _) => quoted_bytes(bytes),
    }
}

fn quoted_text(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => quoted.extend(c.escape_unicode()),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

fn quoted_bytes(bytes: &[u8]) -> String {
    let mut quoted = String::from("\"");
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => quoted.extend(['\\', byte as char]),
            b' '..=b'~' => quoted.push(byte as char),
            // Writing to a string does not fail.
            byte => _ = write!(quoted, "\\x{byte:02x}"),
        }
    }
    quoted + "\""
}
