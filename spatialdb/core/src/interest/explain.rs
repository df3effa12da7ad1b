//! Why an entity meets a constraint or does not, in words with numbers: for people who wonder what they do not see.
//!
//! Responsible for: one check for each condition. Not responsible for: names of components and fields (the schema has them).

use spatialdb_types::{Box3, ComponentId, EntityId, Point3, Position, SpaceId};

use super::constraint::{Constraint, Subject};
use super::field::{Comparison, FieldTest, Scalar};

/// So many ids or constants are named; of more it is said how many there are.
const NAMED_MAX: usize = 5;

/// What the schema calls things.
pub trait Names {
    /// A component.
    fn component(&self, component: ComponentId) -> String;
    /// The field of a test, behind the component: `engine.rpm`.
    fn field(&self, test: &FieldTest) -> String;
    /// A value of that field.
    fn value(&self, test: &FieldTest, value: &Scalar) -> String;
}

/// A condition, and whether an entity meets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// The condition in words.
    pub text: String,
    /// How it is with the entity; empty where the parts say it.
    pub found: String,
    /// Whether the entity meets it.
    pub holds: bool,
    /// Of a condition that is made of others.
    pub parts: Vec<Check>,
}

impl Constraint {
    /// Whether the entity meets the constraint, and why or why not.
    pub fn explain(&self, subject: &Subject<'_>, names: &dyn Names) -> Check {
        self.explain_as(self, subject, names)
    }

    /// The same of a constraint that follows something. `now` is what a session has made of it: alike, but with places
    /// where it follows an entity or regions.
    pub fn explain_as(&self, now: &Self, subject: &Subject<'_>, names: &dyn Names) -> Check {
        let parts = |asked: &[Self], now: &[Self]| -> Vec<Check> {
            asked.iter().zip(now).map(|(asked, now)| asked.explain_as(now, subject, names)).collect()
        };
        match (self, now) {
            (Self::And(asked), Self::And(now)) => {
                let parts = parts(asked, now);
                let holds = parts.iter().all(|part| part.holds);
                let (text, found) =
                    if parts.is_empty() { ("all", "every entity meets it") } else { ("and", "") };
                Check { text: text.to_owned(), found: found.to_owned(), holds, parts }
            }
            (Self::Or(asked), Self::Or(now)) => {
                let parts = parts(asked, now);
                let holds = parts.iter().any(|part| part.holds);
                let (text, found) =
                    if parts.is_empty() { ("none", "no entity meets it") } else { ("or", "") };
                Check { text: text.to_owned(), found: found.to_owned(), holds, parts }
            }
            (Self::Not(asked), Self::Not(now)) => {
                let part = asked.explain_as(now, subject, names);
                Check { text: "not".to_owned(), found: String::new(), holds: !part.holds, parts: vec![part] }
            }
            _ => {
                let (text, found) = words(self, now, subject, names);
                Check { text, found, holds: now.matches(subject), parts: Vec::new() }
            }
        }
    }
}

/// What a single condition asks for, and how it is with the entity.
fn words(asked: &Constraint, now: &Constraint, subject: &Subject<'_>, names: &dyn Names) -> (String, String) {
    match (asked, now) {
        (Constraint::Near { entity, radius_m }, now) => near(*entity, *radius_m, now, subject),
        (Constraint::Owned(_), now) => owned(now, subject),
        (_, Constraint::All) => ("all".to_owned(), "every entity meets it".to_owned()),
        (_, Constraint::Box { space, bounds }) => {
            (box_text(*space, bounds), in_space(*space, subject, |at| beside(bounds, at)))
        }
        (_, Constraint::Sphere { space, center, radius_m }) => {
            let text = format!("sphere of {radius_m} m around {}{}", point(*center), space_text(*space));
            (text, in_space(*space, subject, |at| away(at, *center, *radius_m)))
        }
        (_, Constraint::Cylinder { space, center, radius_m, min_z, max_z }) => {
            let heights = match (min_z.is_finite(), max_z.is_finite()) {
                (false, false) => String::new(),
                _ => format!(", z from {} to {}", edge(*min_z), edge(*max_z)),
            };
            let Point3 { x, y, .. } = *center;
            let text = format!("cylinder of {radius_m} m around ({x}, {y}){heights}{}", space_text(*space));
            let flat = |at: Point3| {
                let far = away(Point3::new(at.x, at.y, 0.0), Point3::new(x, y, 0.0), *radius_m);
                if heights.is_empty() { far } else { format!("{far}, z is {}", at.z) }
            };
            (text, in_space(*space, subject, flat))
        }
        (_, Constraint::Space(space)) => {
            (format!("in space {space}"), in_space(*space, subject, |_| "it is".to_owned()))
        }
        (_, Constraint::Entities(ids)) => {
            let named: Vec<String> = ids.iter().take(NAMED_MAX).map(EntityId::to_string).collect();
            let holds = ids.binary_search(&subject.entity).is_ok();
            let found = if holds { "it is one of them" } else { "it is none of them" };
            (format!("id in ({})", listed(&named, ids.len())), found.to_owned())
        }
        (_, Constraint::Has(component)) => {
            let has = subject.components.binary_search(component).is_ok();
            let found = if has { "it has" } else { "it has not" };
            (format!("has component {}", names.component(*component)), found.to_owned())
        }
        (_, Constraint::Field(test)) => field(test, subject, names),
        // What follows something is one of the first two; what is made of others has parts.
        (_, Constraint::Near { .. } | Constraint::Owned(_)) => (String::new(), String::new()),
        (_, Constraint::And(_) | Constraint::Or(_) | Constraint::Not(_)) => (String::new(), String::new()),
    }
}

fn near(entity: EntityId, radius_m: f64, now: &Constraint, subject: &Subject<'_>) -> (String, String) {
    let text = format!("near entity {entity}, within {radius_m} m");
    match now {
        Constraint::Sphere { space, center, radius_m } => {
            let found = in_space(*space, subject, |at| away(at, *center, *radius_m));
            (format!("{text}: it is at {}{}", point(*center), space_text(*space)), found)
        }
        _ => (text, format!("entity {entity} does not exist, or has no position")),
    }
}

fn owned(now: &Constraint, subject: &Subject<'_>) -> (String, String) {
    let text = "owned: in or around a region of the session".to_owned();
    let Constraint::Or(regions) = now else { return (text, "only views of a session know".to_owned()) };
    let found = match regions.iter().filter(|region| region.matches(subject)).count() {
        0 if regions.is_empty() => "it owns no region".to_owned(),
        0 => format!("{} of its {}", nearest(regions, subject), counted(regions.len(), "region")),
        count => format!("it is, in {} of {}", count, counted(regions.len(), "region")),
    };
    (text, found)
}

/// How far it is from the nearest of these boxes.
fn nearest(regions: &[Constraint], subject: &Subject<'_>) -> String {
    let distance = |region: &Constraint| match (region, subject.position) {
        (Constraint::Box { space, bounds }, Some(at)) if *space == at.space => {
            let out = |v: f64, min: f64, max: f64| (min - v).max(v - max).max(0.0);
            let x = out(at.point.x, bounds.min.x, bounds.max.x);
            Some(x.hypot(out(at.point.y, bounds.min.y, bounds.max.y)))
        }
        _ => None,
    };
    let nearest = regions.iter().filter_map(distance).min_by(f64::total_cmp);
    nearest.map_or("it is in none".to_owned(), |m| format!("it is {m:.1} m outside of the nearest"))
}

fn field(test: &FieldTest, subject: &Subject<'_>, names: &dyn Names) -> (String, String) {
    let component = names.component(test.component);
    let constants: Vec<String> =
        test.values.iter().take(NAMED_MAX).map(|value| names.value(test, value)).collect();
    let constants = listed(&constants, test.values.len());
    let sign = match test.comparison {
        Comparison::Equal => "=",
        Comparison::NotEqual => "!=",
        Comparison::Less => "<",
        Comparison::AtMost => "<=",
        Comparison::Greater => ">",
        Comparison::AtLeast => ">=",
        Comparison::In => "in",
    };
    let constants = if test.comparison == Comparison::In { format!("({constants})") } else { constants };
    let text = format!("{component}.{} {sign} {constants}", names.field(test));
    let found = test.found(subject).map(|value| format!("it is {}", names.value(test, &value)));
    (text, found.unwrap_or_else(|| format!("it has no {component}")))
}

/// What is found of an entity that has to be in a space.
fn in_space(space: SpaceId, subject: &Subject<'_>, found: impl Fn(Point3) -> String) -> String {
    match subject.position {
        None => "it has no position".to_owned(),
        Some(Position { space: other, .. }) if other != space => format!("it is in space {other}"),
        Some(at) => found(at.point),
    }
}

/// Rounded, unless that would hide on which side of the radius it is.
fn away(at: Point3, center: Point3, radius_m: f64) -> String {
    let distance = at.distance_squared(center).sqrt();
    if (distance - radius_m).abs() < 0.1 {
        format!("{distance} m away")
    } else {
        format!("{distance:.1} m away")
    }
}

/// On which sides of a box it is outside.
fn beside(bounds: &Box3, at: Point3) -> String {
    let (min, max) = (bounds.min, bounds.max);
    let axes = [("x", at.x, min.x, max.x), ("y", at.y, min.y, max.y), ("z", at.z, min.z, max.z)];
    let out = axes.iter().filter_map(|&(axis, v, min, max)| match () {
        () if v < min => Some(format!("{axis} = {v} is below {min}")),
        () if v >= max => Some(format!("{axis} = {v} is not below {max}")),
        () => None,
    });
    let out: Vec<String> = out.collect();
    if out.is_empty() { format!("it is at {}", point(at)) } else { out.join(", ") }
}

fn box_text(space: SpaceId, bounds: &Box3) -> String {
    let (min, max) = (bounds.min, bounds.max);
    let corner = |at: Point3| format!("({}, {})", edge(at.x), edge(at.y));
    let heights = match (min.z.is_finite(), max.z.is_finite()) {
        (false, false) => String::new(),
        _ => format!(", z from {} to {}", edge(min.z), edge(max.z)),
    };
    format!("box from {} to {}{heights}{}", corner(min), corner(max), space_text(space))
}

/// A side of a box; nothing stands for one that is open.
fn edge(at: f64) -> String {
    if at.is_finite() { at.to_string() } else { "...".to_owned() }
}

fn point(at: Point3) -> String {
    format!("({}, {}, {})", at.x, at.y, at.z)
}

/// Nothing for the space that is meant without saying so.
fn space_text(space: SpaceId) -> String {
    if space == SpaceId(0) { String::new() } else { format!(" in space {space}") }
}

fn listed(named: &[String], count: usize) -> String {
    let others = count - named.len();
    if others == 0 { named.join(", ") } else { format!("{} and {others} others", named.join(", ")) }
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

#[cfg(test)]
mod tests;
