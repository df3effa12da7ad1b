//! Components by name, and the fields of them.

use spatialdb_schema::{Component, PathError, PathFault, Scalar, Schema};
use spatialdb_types::Reason;

use crate::error::{ParseError, Span, nearest, shown};

/// So many fields are listed where none is near.
const FIELDS_LISTED_MAX: usize = 12;

/// A field of a component, as a path names it.
pub(crate) struct Field<'a> {
    pub(crate) component: &'a Component,
    /// The path behind the component.
    pub(crate) path: String,
    pub(crate) scalar: Scalar,
}

/// The component of that full name, or short name if only one has it.
pub(crate) fn component<'a>(schema: &'a Schema, name: &str, span: Span) -> Result<&'a Component, ParseError> {
    schema
        .component_named(name)
        .map_err(|error| ParseError::new(span, error.detail).because(Reason::ComponentUnknown))
}

/// The field that a dotted path names: the longest beginning that names a component is the component.
pub(crate) fn field<'a>(schema: &'a Schema, path: &str, span: Span) -> Result<Field<'a>, ParseError> {
    let dots: Vec<usize> = path.match_indices('.').map(|(at, _)| at).rev().collect();
    let found = dots.iter().find_map(|&dot| Some((dot, schema.component_named(&path[..dot]).ok()?)));
    let Some((dot, component)) = found else { return Err(no_component(schema, path, &dots, span)) };
    let inner = &path[dot + 1..];
    match component.scalar(inner) {
        Ok(scalar) => Ok(Field { component, path: inner.to_owned(), scalar }),
        // A whole path that is a component looks like a field of another, if that is named like its package.
        Err(error) => Err(no_field(component, inner, &error, span.start + dot + 1)),
    }
}

fn no_component(schema: &Schema, path: &str, dots: &[usize], span: Span) -> ParseError {
    if let Ok(component) = schema.component_named(path) {
        let message = format!("{} is a component: compare a field of it", component.name());
        return ParseError::new(span, message).expecting(listed(&component.field_names()));
    }
    let part = |dot: usize| Span { start: span.start, end: span.start + dot };
    let errors =
        dots.iter().filter_map(|&dot| Some((dot, component(schema, &path[..dot], part(dot)).err()?)));
    let mut errors: Vec<(usize, ParseError)> = errors.collect();
    // The part that was perhaps meant to be one; else all but the last name.
    let suggests = |(_, error): &(usize, ParseError)| {
        !error.message.starts_with("no component") || error.message.contains("; near: ")
    };
    let best = errors.iter().position(suggests).unwrap_or(0);
    if errors.is_empty() {
        return ParseError::new(span, "a field is named Component.field");
    }
    errors.swap_remove(best).1
}

fn no_field(component: &Component, path: &str, error: &PathError, start: usize) -> ParseError {
    let span = Span { start: start + error.at, end: start + error.at + error.length };
    let name = &path[error.at..error.at + error.length];
    match &error.fault {
        PathFault::Unknown { message, fields } => unknown_field(message, fields, name, span),
        PathFault::Repeated => {
            let message = format!("{} is repeated: only single fields are compared", shown(name));
            ParseError::new(span, message)
        }
        PathFault::Message { message, fields } => {
            ParseError::new(span, format!("{} is a message, {message}: compare a field of it", shown(name)))
                .expecting(listed(fields))
        }
        PathFault::Scalar => {
            ParseError::new(span, format!("{} of {} is no message", shown(name), component.name()))
        }
    }
}

fn unknown_field(message: &str, fields: &[(String, String)], name: &str, span: Span) -> ParseError {
    let error = ParseError::new(span, format!("{message} has no field {}", shown(name)));
    // JSON has other names.
    let by_json = fields.iter().find(|(_, json)| json == name).map(|(field, _)| field.as_str());
    let names = || fields.iter().map(|(field, _)| field.as_str());
    if let Some(meant) = by_json.or_else(|| nearest(name, names())) {
        return ParseError { message: format!("{}; did you mean `{meant}`?", error.message), ..error };
    }
    error.expecting(listed(&names().map(str::to_owned).collect::<Vec<_>>()))
}

/// The names, as many as a line takes.
pub(crate) fn listed(names: &[String]) -> String {
    match names {
        [] => "nothing: it has no fields".to_owned(),
        [one] => one.clone(),
        names if names.len() > FIELDS_LISTED_MAX => {
            format!("one of {} and others", names[..FIELDS_LISTED_MAX].join(", "))
        }
        names => format!("one of {}", names.join(", ")),
    }
}
