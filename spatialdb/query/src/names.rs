//! Components by name, and the fields of them.

use spatialdb_schema::{Component, PathError, PathFault, Scalar, Schema};
use spatialdb_types::Reason;

use crate::error::{ParseError, Span, nearest, shown};

/// So many fields are listed where none is near.
const FIELDS_LISTED_MAX: usize = 12;

/// So many beginnings of a path are compared with all names of components, to say what was perhaps meant.
const BEGINNINGS_TRIED_MAX: usize = 3;

/// A field of a component, as a path names it.
pub(crate) struct Field<'a> {
    pub(crate) component: &'a Component,
    /// The path behind the component.
    pub(crate) path: String,
    pub(crate) scalar: Scalar,
}

/// The component of that full name, or short name if only one has it.
pub(crate) fn component<'a>(schema: &'a Schema, name: &str, span: Span) -> Result<&'a Component, ParseError> {
    schema.component_named(name).map_err(|error| {
        let message = event_of(schema, name).unwrap_or(error.detail);
        ParseError::new(span, message).because(Reason::ComponentUnknown)
    })
}

/// What to say of a name that is an event's.
fn event_of(schema: &Schema, name: &str) -> Option<String> {
    let is_named = |full: &str| full == name || full.rsplit('.').next() == Some(name);
    let event = schema.events().iter().find(|event| is_named(event.name()))?;
    let component = schema.component(event.component())?.name();
    Some(format!("{} is an event of {component}: entities have components", event.name()))
}

/// The field that a dotted path names: the longest beginning that names a component is the component.
pub(crate) fn field<'a>(schema: &'a Schema, path: &str, span: Span) -> Result<Field<'a>, ParseError> {
    let beginnings = beginnings(schema, path);
    let found = beginnings.iter().find_map(|&part| Some((part.len(), known(schema, part)?)));
    let Some((dot, component)) = found else { return Err(no_component(schema, path, &beginnings, span)) };
    let inner = &path[dot + 1..];
    match component.scalar(inner) {
        Ok(scalar) => Ok(Field { component, path: inner.to_owned(), scalar }),
        Err(error) => Err(no_field(component, inner, &error, span.start + dot + 1)),
    }
}

/// What may name a component at the start of a path, longest first. No longer than names of components are: a text made
/// of dots must not cost a search for each of them.
fn beginnings<'a>(schema: &Schema, path: &'a str) -> Vec<&'a str> {
    let dots = |name: &str| name.matches('.').count();
    let longest = schema.components().iter().map(|component| dots(component.name())).max().unwrap_or(0);
    let mut parts: Vec<&str> = path.match_indices('.').take(longest + 1).map(|(at, _)| &path[..at]).collect();
    parts.reverse();
    parts
}

/// The component, without a search for what was perhaps meant.
fn known<'a>(schema: &'a Schema, name: &str) -> Option<&'a Component> {
    let components = schema.components();
    let by_name = components.iter().find(|component| component.name() == name);
    let is_short = |component: &&Component| component.name().rsplit('.').next() == Some(name);
    by_name.or_else(|| {
        let mut short = components.iter().filter(is_short);
        short.next().filter(|_| short.next().is_none())
    })
}

fn no_component(schema: &Schema, path: &str, beginnings: &[&str], span: Span) -> ParseError {
    if let Some(component) = known(schema, path) {
        let message = format!("{} is a component: compare a field of it", component.name());
        return ParseError::new(span, message).expecting(listed(&component.field_names()));
    }
    let error = |part: &&str| {
        let part_span = Span { start: span.start, end: span.start + part.len() };
        component(schema, part, part_span).err()
    };
    let mut errors: Vec<ParseError> =
        beginnings.iter().take(BEGINNINGS_TRIED_MAX).filter_map(error).collect();
    // The one that was perhaps meant to be a component; else all but the name of the field.
    let says_more = |error: &ParseError| !error.message.ends_with('"');
    match errors.iter().position(says_more).or((!errors.is_empty()).then_some(0)) {
        Some(best) => errors.swap_remove(best),
        None => ParseError::new(span, "a field is named Component.field"),
    }
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
    let message = format!("{message} has no field {}", shown(name));
    let error = ParseError::new(span, message).because(Reason::FieldUnknown);
    // JSON has other names.
    let by_json = fields.iter().find(|(_, json)| json == name).map(|(field, _)| field.as_str());
    let names = || fields.iter().map(|(field, _)| field.as_str());
    if let Some(meant) = by_json.or_else(|| nearest(name, names())) {
        return error.hint(&format!("did you mean `{meant}`?"));
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
