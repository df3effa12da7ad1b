//! Events as lines: for people, or one JSON object each.

use std::collections::HashMap;
use std::io::{self, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use prost::Message;
use serde_json::{Map, Value, json};
use spatialdb_proto::v1::{self, LeaveReason};
use spatialdb_schema::Schema;
use spatialdb_types::{ComponentId, EventId};

use super::changes::{Event, Happening, Values, What};
use super::squares::Square;
use crate::cli::print;

/// A value for people is cut to this many characters.
const VALUE_CHARS_MAX: usize = 120;

/// What is printed, and how many lines there were.
pub(super) struct Lines {
    is_json: bool,
    /// What was asked for; empty: all components.
    asked: Vec<ComponentId>,
    /// So many lines are left; `None`: no limit.
    left: Option<u64>,
    /// Type and name of the entities in view; for people only.
    labels: HashMap<u64, String>,
    /// What components are called in lines for people.
    names: HashMap<ComponentId, String>,
}

impl Lines {
    pub(super) fn new(is_json: bool, asked: Vec<ComponentId>, count: Option<u64>) -> Self {
        Self { is_json, asked, left: count, labels: HashMap::new(), names: HashMap::new() }
    }

    /// The components to ask the world for: people are told type and name too. Empty: all.
    pub(super) fn needed(&self) -> Vec<ComponentId> {
        let mut needed = self.asked.clone();
        if !self.is_json && !needed.is_empty() && !needed.contains(&ComponentId::METADATA) {
            needed.push(ComponentId::METADATA);
        }
        needed
    }

    /// Whether as many lines are printed as were asked for.
    pub(super) fn are_enough(&self) -> bool {
        self.left == Some(0)
    }

    /// The schema is another one.
    pub(super) fn forget_names(&mut self) {
        self.names.clear();
    }

    /// Prints the events, as many as are left.
    ///
    /// # Errors
    /// stdout is gone.
    pub(super) fn print(&mut self, unix_time_us: i64, events: &[Event], schema: &Schema) -> io::Result<()> {
        let mut out = print::stdout();
        for event in events {
            if self.are_enough() {
                break;
            }
            let line = if self.is_json {
                Some(event_json(unix_time_us, event, schema).to_string())
            } else {
                self.line(unix_time_us, event, schema)
            };
            if let Some(line) = line {
                writeln!(out, "{line}")?;
                self.left = self.left.map(|left| left - 1);
            }
        }
        out.flush()
    }

    /// Prints how many entities are in squares, as many lines as are left.
    ///
    /// # Errors
    /// stdout is gone.
    pub(super) fn squares(&mut self, unix_time_us: i64, squares: &[Square]) -> io::Result<()> {
        let (mut out, time) = (print::stdout(), time(unix_time_us));
        for square in squares {
            if self.are_enough() {
                break;
            }
            if self.is_json {
                writeln!(out, "{}", square.json(&time))?;
            } else {
                writeln!(out, "{} {}", clock_of(&time), square.text())?;
            }
            self.left = self.left.map(|left| left - 1);
        }
        out.flush()
    }

    /// Prints that the view is filled: for scripts a line that does not count, as long as any are left.
    ///
    /// # Errors
    /// The stream is gone.
    pub(super) fn ready(&self, unix_time_us: i64, entities: u64) -> io::Result<()> {
        if !self.is_json {
            return writeln!(io::stderr(), "ready: {entities} in view");
        }
        self.for_scripts(&json!({ "event": "ready", "time": time(unix_time_us), "entities": entities }))
    }

    /// Prints that things happened which were not told, likewise.
    ///
    /// # Errors
    /// The stream is gone.
    pub(super) fn missed(
        &self,
        unix_time_us: i64,
        missed: &v1::EventsMissed,
        schema: &Schema,
    ) -> io::Result<()> {
        let name = event_name(ComponentId(missed.component), EventId(missed.event), schema);
        let count = missed.count;
        if !self.is_json {
            return writeln!(io::stderr(), "missed: {count} of {name}");
        }
        self.for_scripts(&json!({
            "event": "missed", "time": time(unix_time_us), "type": name, "count": count,
        }))
    }

    fn for_scripts(&self, line: &Value) -> io::Result<()> {
        if self.are_enough() {
            return Ok(());
        }
        let mut out = print::stdout();
        writeln!(out, "{line}")?;
        out.flush()
    }

    /// `None` if nothing happened that was asked for.
    fn line(&mut self, unix_time_us: i64, event: &Event, schema: &Schema) -> Option<String> {
        let entity = event.entity;
        if let What::Enter(values) | What::Update(values) = &event.what {
            self.learn(entity, values);
        }
        let (sign, told) = match &event.what {
            // Type and name stand in front already.
            What::Enter(values) => ('+', self.values(values, schema, &[ComponentId::METADATA])),
            What::Update(values) => ('~', self.values(values, schema, &[])),
            What::Leave(reason) => ('-', vec![leave_reason(*reason).replace('_', " ")]),
            What::Happen(happening) => ('!', vec![happening_text(happening, schema)]),
        };
        if told.is_empty() && sign == '~' {
            return None;
        }
        let label = match sign {
            '-' => self.labels.remove(&entity),
            _ => self.labels.get(&entity).cloned(),
        };
        let mut parts = vec![format!("{} {sign} {entity}", clock_of(&time(unix_time_us)))];
        parts.extend(label);
        parts.extend(told);
        Some(parts.join("  "))
    }

    fn learn(&mut self, entity: u64, values: &Values) {
        let Some(value) = values.get(&ComponentId::METADATA) else { return };
        let metadata = value.clone().and_then(|bytes| v1::Metadata::decode(bytes).ok()).unwrap_or_default();
        let quoted = format!("{:?}", metadata.name);
        let known =
            [print::plain(&metadata.r#type), if metadata.name.is_empty() { String::new() } else { quoted }];
        let known: Vec<String> = known.into_iter().filter(|part| !part.is_empty()).collect();
        if known.is_empty() {
            self.labels.remove(&entity);
        } else {
            self.labels.insert(entity, known.join(" "));
        }
    }

    /// The values that were asked for; where all were, all but these.
    fn values(&mut self, values: &Values, schema: &Schema, but: &[ComponentId]) -> Vec<String> {
        let mut texts = Vec::new();
        for (component, value) in values {
            let is_one_of_all = self.asked.is_empty() && !but.contains(component);
            if !is_one_of_all && !self.asked.contains(component) {
                continue;
            }
            let name = self.name(*component, schema);
            texts.push(match value {
                None => format!("{name} gone"),
                Some(bytes) => format!("{name} {}", short(*component, bytes, schema)),
            });
        }
        texts
    }

    /// The short name, if only one component has it.
    fn name(&mut self, component: ComponentId, schema: &Schema) -> &str {
        self.names.entry(component).or_insert_with(|| {
            let full = name_of(component, schema);
            let short = full.rsplit('.').next().unwrap_or_default();
            if schema.component_named(short).is_ok() { short.to_owned() } else { full }
        })
    }
}

fn event_json(unix_time_us: i64, event: &Event, schema: &Schema) -> Value {
    let (what, mut more) = match &event.what {
        What::Enter(values) => ("enter", values_json(values, schema)),
        What::Update(values) => ("update", values_json(values, schema)),
        What::Leave(reason) => {
            ("leave", Map::from_iter([("reason".to_owned(), leave_reason(*reason).into())]))
        }
        What::Happen(happening) => ("happening", happening_json(happening, schema)),
    };
    more.insert("event".to_owned(), what.into());
    more.insert("time".to_owned(), time(unix_time_us).into());
    more.insert("entity".to_owned(), event.entity.to_string().into());
    Value::Object(more)
}

fn values_json(values: &Values, schema: &Schema) -> Map<String, Value> {
    let (mut components, mut gone) = (Map::new(), Vec::new());
    for (component, value) in values {
        let name = name_of(*component, schema);
        match value {
            Some(bytes) => _ = components.insert(name, print::value_json(*component, bytes, schema)),
            None => gone.push(Value::from(name)),
        }
    }
    let mut map = Map::from_iter([("components".to_owned(), components.into())]);
    if !gone.is_empty() {
        map.insert("gone".to_owned(), gone.into());
    }
    map
}

fn name_of(component: ComponentId, schema: &Schema) -> String {
    schema.component(component).map_or_else(|| component.0.to_string(), |found| found.name().to_owned())
}

fn happening_json(happening: &Happening, schema: &Schema) -> Map<String, Value> {
    let name = event_name(happening.component, happening.event, schema);
    let value = print::event_json(happening.component, happening.event, &happening.payload, schema);
    Map::from_iter([("type".to_owned(), name.into()), ("value".to_owned(), value)])
}

/// With its short name, if it is the only event that has it.
fn happening_text(happening: &Happening, schema: &Schema) -> String {
    let name = event_name(happening.component, happening.event, schema);
    let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    let alike = schema.events().iter().filter(|event| last(event.name()) == last(&name)).count();
    let value = print::event_json(happening.component, happening.event, &happening.payload, schema);
    format!("{} {}", if alike == 1 { last(&name) } else { name }, cut(value.to_string()))
}

fn event_name(component: ComponentId, event: EventId, schema: &Schema) -> String {
    let found = schema.event(component, event);
    found.map_or_else(|| format!("{component}/{event}"), |found| found.name().to_owned())
}

/// The value as short JSON; a position without digits that nobody reads.
fn short(component: ComponentId, bytes: &Bytes, schema: &Schema) -> String {
    let position = (component == ComponentId::POSITION).then(|| v1::Position::decode(bytes.clone()));
    if let Some(Ok(at)) = position {
        let space = if at.space == 0 { String::new() } else { format!("\"space\":{},", at.space) };
        return format!("{{{space}\"x\":{:.1},\"y\":{:.1},\"z\":{:.1}}}", at.x, at.y, at.z);
    }
    cut(print::value_json(component, bytes, schema).to_string())
}

fn cut(text: String) -> String {
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

fn leave_reason(reason: LeaveReason) -> &'static str {
    match reason {
        LeaveReason::Deleted => "deleted",
        LeaveReason::Filtered => "filtered",
        LeaveReason::OutOfView | LeaveReason::Unspecified => "out_of_view",
    }
}

/// Of 2026-11-21T09:42:26.123456Z what a person reads.
fn clock_of(time: &str) -> &str {
    time.get(11..23).unwrap_or(time)
}

/// RFC 3339, in UTC.
fn time(unix_time_us: i64) -> String {
    let since = Duration::from_micros(u64::try_from(unix_time_us).unwrap_or(0));
    let time = UNIX_EPOCH.checked_add(since).unwrap_or_else(SystemTime::now);
    humantime::format_rfc3339_micros(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(kind: &str, name: &str) -> Values {
        let metadata = v1::Metadata { r#type: kind.to_owned(), name: name.to_owned() };
        Values::from([(ComponentId::METADATA, Some(metadata.encode_to_vec().into()))])
    }

    fn at(x: f64) -> Option<Bytes> {
        Some(v1::Position { x, ..v1::Position::default() }.encode_to_vec().into())
    }

    #[test]
    fn people_are_told_what_they_asked_for_and_who_it_is() {
        let schema = Schema::built_in();
        let mut lines = Lines::new(false, vec![ComponentId::POSITION], None);
        assert_eq!(lines.needed(), [ComponentId::POSITION, ComponentId::METADATA]);
        let mut line = |what| lines.line(1_000, &Event { entity: 7, what }, &schema);
        let mut first = metadata("post", "a \"b\"");
        first.insert(ComponentId::POSITION, at(1.25));
        let label = "post \"a \\\"b\\\"\"";
        let expected = format!("00:00:00.001 + 7  {label}  Position {{\"x\":1.2,\"y\":0.0,\"z\":0.0}}");
        assert_eq!(line(What::Enter(first)), Some(expected));
        assert_eq!(line(What::Update(metadata("post", ""))), None);
        let gone = What::Update(Values::from([(ComponentId::POSITION, None)]));
        assert_eq!(line(gone), Some("00:00:00.001 ~ 7  post  Position gone".to_owned()));
        let left = Some("00:00:00.001 - 7  post  out of view".to_owned());
        assert_eq!(line(What::Leave(LeaveReason::OutOfView)), left);
        assert!(lines.labels.is_empty());
    }

    #[test]
    fn scripts_are_told_all() {
        let schema = Schema::built_in();
        let values = Values::from([(ComponentId::POSITION, at(1.25)), (ComponentId::METADATA, None)]);
        let told = event_json(1_000, &Event { entity: 7, what: What::Update(values) }, &schema);
        let expected = json!({
            "event": "update", "time": "1970-01-01T00:00:00.001000Z", "entity": "7",
            "components": { "spatialdb.v1.Position": { "x": 1.25 } }, "gone": ["spatialdb.v1.Metadata"],
        });
        assert_eq!(told, expected);
    }
}
