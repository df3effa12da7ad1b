//! What a scenario found, for people and for scripts.

use std::{collections::BTreeMap, io};

use serde::Serialize;
use serde_json::{Number, Value};

use super::plan::Scenario;

/// The figures of one scenario. Its results were checked; wrong ones give an error instead.
pub(crate) struct Report {
    scenario: Scenario,
    durability: String,
    figures: Vec<Figure>,
    facts: BTreeMap<&'static str, Value>,
}

struct Figure {
    metric: &'static str,
    value: f64,
    unit: &'static str,
}

#[derive(Serialize)]
struct Line<'a> {
    scenario: &'static str,
    metric: &'static str,
    value: Value,
    unit: &'static str,
    durability: &'a str,
    checked: bool,
    #[serde(flatten)]
    facts: &'a BTreeMap<&'static str, Value>,
}

impl Report {
    /// A report without figures, of a server that promises this durability.
    pub(super) fn new(scenario: Scenario, durability: impl Into<String>) -> Self {
        Self { scenario, durability: durability.into(), figures: Vec::new(), facts: BTreeMap::new() }
    }

    /// Adds a figure.
    pub(super) fn figure(mut self, metric: &'static str, value: f64, unit: &'static str) -> Self {
        self.figures.push(Figure { metric, value, unit });
        self
    }

    /// Adds what the figures depend on.
    pub(super) fn fact(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.facts.insert(name, value.into());
        self
    }

    /// Writes one JSON object a figure.
    ///
    /// # Errors
    /// What they are written to is gone.
    pub(crate) fn write_json(&self, mut out: impl io::Write) -> io::Result<()> {
        for figure in &self.figures {
            let line = Line {
                scenario: self.scenario.name(),
                metric: figure.metric,
                value: json_number(figure.value),
                unit: figure.unit,
                durability: &self.durability,
                checked: true,
                facts: &self.facts,
            };
            serde_json::to_writer(&mut out, &line)?;
            writeln!(out)?;
        }
        Ok(())
    }

    /// Writes the facts and a line a figure.
    ///
    /// # Errors
    /// What they are written to is gone.
    pub(crate) fn write_human(&self, mut out: impl io::Write) -> io::Result<()> {
        let facts: Vec<String> = self.facts.iter().map(|(name, value)| format!("{name} {value}")).collect();
        writeln!(out, "{} (results checked, durability {})", self.scenario.name(), self.durability)?;
        for figure in &self.figures {
            let unit = if figure.unit == "1" { "" } else { figure.unit };
            writeln!(out, "  {:<28} {:>16} {unit}", figure.metric, human_number(figure.value))?;
        }
        writeln!(out, "  with {}", facts.join(", "))
    }
}

// Whole numbers without a point.
fn json_number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 9e15 {
        return Value::from(value as i64);
    }
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

fn human_number(value: f64) -> String {
    if value.abs() < 1000.0 {
        let digits = format!("{value:.4}");
        return digits.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    let digits = format!("{:.0}", value.abs());
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if value < 0.0 { format!("-{grouped}") } else { grouped }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report::new(Scenario::Ingest, "memory")
            .figure("updates_per_second", 2_100_000.0, "1/s")
            .figure("server_cpu_seconds", 12.5, "s")
            .fact("entities", 100_000)
    }

    #[test]
    fn a_line_a_figure() {
        let mut out = Vec::new();
        report().write_json(&mut out).expect("memory");
        let text = String::from_utf8(out).expect("text");
        let expected = concat!(
            r#"{"scenario":"ingest","metric":"updates_per_second","value":2100000,"unit":"1/s","#,
            r#""durability":"memory","checked":true,"entities":100000}"#
        );
        assert_eq!(text.lines().next(), Some(expected));
        assert!(text.lines().nth(1).is_some_and(|line| line.contains(r#""value":12.5"#)));
        assert_eq!(text.lines().count(), 2);
    }

    #[test]
    fn people_get_groups_of_digits() {
        assert_eq!(human_number(2_100_000.0), "2,100,000");
        assert_eq!(human_number(-1234.4), "-1,234");
        assert_eq!(human_number(999.0), "999");
        assert_eq!(human_number(0.12345), "0.1235");
        let mut out = Vec::new();
        report().write_human(&mut out).expect("memory");
        let text = String::from_utf8(out).expect("text");
        assert!(text.contains("2,100,000 1/s") && text.contains("entities 100000"), "{text}");
    }
}
