//! Components by name.
//!
//! Responsible for: full names, short names and decimal ids, and what to suggest when none fits.
//! Not responsible for: lookups on the hot path, which go by id.

use spatialdb_types::{Error, Reason};

use crate::component::Component;

// Names that may be mistyped by so many characters are suggested.
const DISTANCE_MAX: usize = 2;
const SUGGESTIONS_MAX: usize = 5;

/// The component of that full name, unique short name or decimal id.
pub(crate) fn find<'a>(components: &'a [Component], name: &str) -> Result<&'a Component, Error> {
    if let Some(component) = components.iter().find(|component| component.name() == name) {
        return Ok(component);
    }
    let mut short = components.iter().filter(|component| short_name(component) == name);
    match (short.next(), short.next()) {
        (Some(component), None) => return Ok(component),
        (Some(first), Some(second)) => return Err(ambiguous(name, &[first, second], short)),
        (None, _) => {}
    }
    let id = name.parse::<u32>().ok();
    let by_id = components.iter().find(|component| Some(component.id().0) == id);
    by_id.ok_or_else(|| unknown(components, name))
}

fn short_name(component: &Component) -> &str {
    component.name().rsplit('.').next().unwrap_or_default()
}

fn ambiguous<'a>(name: &str, first: &[&'a Component], rest: impl Iterator<Item = &'a Component>) -> Error {
    let first = first.iter().map(|component| component.name());
    let names: Vec<_> = first.chain(rest.map(Component::name)).take(SUGGESTIONS_MAX).collect();
    Error::new(
        Reason::ComponentUnknown,
        format!("component {name:?} may be any of {}: use the full name", names.join(", ")),
    )
}

fn unknown(components: &[Component], name: &str) -> Error {
    // Names come from outside; a comparison costs the product of the lengths.
    let shown: String = name.chars().take(128).collect();
    let mut near: Vec<_> = components
        .iter()
        .filter_map(|component| Some((distance_to(component, &shown)?, component.name())))
        .collect();
    near.sort_unstable();
    let near: Vec<_> = near.into_iter().map(|(_, name)| name).take(SUGGESTIONS_MAX).collect();
    let detail = match near.as_slice() {
        [] => format!("no component is named {shown:?}"),
        near => format!("no component is named {shown:?}; near: {}", near.join(", ")),
    };
    Error::new(Reason::ComponentUnknown, detail)
}

// How far a name is from a component's full or short name; `None` if not near.
fn distance_to(component: &Component, name: &str) -> Option<usize> {
    let name = name.to_lowercase();
    let short = short_name(component).to_lowercase();
    let full = component.name().to_lowercase();
    let typed_short = name.rsplit('.').next().unwrap_or_default();
    [distance(&name, &short), distance(&name, &full), distance(typed_short, &short)]
        .into_iter()
        .min()
        .filter(|distance| *distance <= DISTANCE_MAX)
}

// Levenshtein's.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (index, a) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (column, b) in b.iter().enumerate() {
            let replace = diagonal + usize::from(a != *b);
            diagonal = row[column + 1];
            row[column + 1] = replace.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn distances_are_levenshteins() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("same", "same"), 0);
    }
}
