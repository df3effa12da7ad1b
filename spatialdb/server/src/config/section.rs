//! One table of a settings file: takes keys out one by one, and refuses what is left.

use std::{collections::BTreeMap, fmt::Display, ops::RangeInclusive, path::Path, time::Duration};

use toml::{Table, Value};

use super::{ConfigError, units};

// Two names further apart than this share nothing worth a hint.
const HINT_SIMILARITY_MIN: f64 = 0.7;

// Limits travel to workers in numbers that must survive a double.
const LIMIT_END: u64 = spatialdb_types::ID_END;

/// A table being read.
pub(super) struct Section {
    // The file, for errors.
    origin: String,
    // The key of this table; empty for the whole file.
    path: String,
    rest: Table,
    // Every key that was asked for: the known ones.
    known: Vec<String>,
}

impl Section {
    /// The whole file.
    pub(super) fn root(file: &Path, table: Table) -> Self {
        Self { origin: file.display().to_string(), path: String::new(), rest: table, known: Vec::new() }
    }

    /// The table under `key`; empty if there is none.
    pub(super) fn section(&mut self, key: &str) -> Result<Self, ConfigError> {
        let found = self.section_if_any(key)?;
        Ok(found.unwrap_or_else(|| self.child(self.key(key), Table::new())))
    }

    /// The table under `key`, if there is one.
    pub(super) fn section_if_any(&mut self, key: &str) -> Result<Option<Self>, ConfigError> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Table(table)) => Ok(Some(self.child(self.key(key), table))),
            Some(value) => {
                let written =
                    if self.path.is_empty() { format!("[{key}]") } else { format!("{key} = {{ .. }}") };
                Err(self.wrong(key, &value, format!("must be a table: {written}")))
            }
        }
    }

    /// The tables under `[[key]]`.
    pub(super) fn sections(&mut self, key: &str) -> Result<Vec<Self>, ConfigError> {
        let hint = if key == "workers" { "; flags of a worker type are [flags.TYPE]" } else { "" };
        let outer = self.path.split_once('[').map_or(String::new(), |(outer, _)| format!("{outer}."));
        let rule = format!("must be tables: [[{outer}{key}]]{hint}");
        let values = match self.take(key) {
            None => return Ok(Vec::new()),
            Some(Value::Array(values)) => values,
            Some(value) => return Err(self.wrong(key, &value, rule)),
        };
        let mut sections = Vec::with_capacity(values.len());
        for (index, value) in values.into_iter().enumerate() {
            match value {
                Value::Table(table) => {
                    sections.push(self.child(format!("{}[{index}]", self.key(key)), table));
                }
                value => return Err(self.wrong(key, &value, rule)),
            }
        }
        Ok(sections)
    }

    /// A string.
    pub(super) fn text(&mut self, key: &str) -> Result<Option<String>, ConfigError> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(value) => Err(self.wrong(key, &value, "must be a string")),
        }
    }

    /// A list of strings.
    pub(super) fn texts(&mut self, key: &str) -> Result<Option<Vec<String>>, ConfigError> {
        let Some(value) = self.take(key) else { return Ok(None) };
        value
            .as_array()
            .and_then(|values| values.iter().map(|value| value.as_str().map(str::to_owned)).collect())
            .map(Some)
            .ok_or_else(|| self.wrong(key, &value, "must be a list of strings"))
    }

    /// A table of strings.
    pub(super) fn text_map(&mut self, key: &str) -> Result<BTreeMap<String, String>, ConfigError> {
        let Some(value) = self.take(key) else { return Ok(BTreeMap::new()) };
        value
            .as_table()
            .and_then(|table| {
                table.iter().map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
            })
            .ok_or_else(|| self.wrong(key, &value, "must be a table of strings: { NAME = \"value\" }"))
    }

    /// Tables of strings: every key of this table names one.
    pub(super) fn text_maps(mut self) -> Result<BTreeMap<String, BTreeMap<String, String>>, ConfigError> {
        let keys: Vec<String> = self.rest.keys().cloned().collect();
        keys.into_iter().map(|key| self.text_map(&key).map(|map| (key, map))).collect()
    }

    /// A number, whole or not.
    pub(super) fn number(&mut self, key: &str) -> Result<Option<f64>, ConfigError> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Float(number)) => Ok(Some(number)),
            Some(Value::Integer(number)) => Ok(Some(number as f64)),
            Some(value) => Err(self.wrong(key, &value, "must be a number")),
        }
    }

    /// A whole number in a range.
    pub(super) fn count(
        &mut self,
        key: &str,
        range: RangeInclusive<usize>,
    ) -> Result<Option<usize>, ConfigError> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let rule = || format!("must be a whole number from {} to {}", range.start(), range.end());
        value
            .as_integer()
            .and_then(|number| usize::try_from(number).ok())
            .filter(|number| range.contains(number))
            .map(Some)
            .ok_or_else(|| self.wrong(key, &value, rule()))
    }

    /// A string that `parse` understands.
    pub(super) fn parsed<T>(
        &mut self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        parse(&text).map(Some).map_err(|rule| self.wrong(key, Value::from(text.as_str()), rule))
    }

    /// A number from 0 on, of metres.
    pub(super) fn metres(&mut self, key: &str) -> Result<Option<f64>, ConfigError> {
        let Some(metres) = self.number(key)? else { return Ok(None) };
        if !(metres.is_finite() && metres >= 0.0) {
            return Err(self.wrong(key, metres, "must be a number of metres from 0 on"));
        }
        Ok(Some(metres))
    }

    /// A duration in a range.
    pub(super) fn duration(
        &mut self,
        key: &str,
        range: RangeInclusive<Duration>,
    ) -> Result<Option<Duration>, ConfigError> {
        let between = |text: &str| {
            let (min, max) = (units::duration_text(*range.start()), units::duration_text(*range.end()));
            let duration = units::parse_duration(text)?;
            if range.contains(&duration) { Ok(duration) } else { Err(format!("must be from {min} to {max}")) }
        };
        self.parsed(key, between)
    }

    /// Refuses keys that mean nothing here, though they would elsewhere.
    pub(super) fn refuse(&mut self, keys: &[&str], rule: &str) -> Result<(), ConfigError> {
        for key in keys {
            if let Some(value) = self.take(key) {
                return Err(self.wrong(key, value, rule));
            }
        }
        Ok(())
    }

    /// The value of a key as it stands, taken out.
    pub(super) fn take(&mut self, key: &str) -> Option<Value> {
        self.known.push(key.to_owned());
        self.rest.remove(key)
    }

    /// The error of a value that breaks a rule.
    pub(super) fn wrong(&self, key: &str, value: impl Display, rule: impl Into<String>) -> ConfigError {
        ConfigError::Value {
            origin: self.origin.clone(),
            key: self.key(key),
            value: value.to_string(),
            rule: rule.into(),
        }
    }

    /// The error of a key that must be there.
    pub(super) fn missing(&self, key: &str, rule: impl Into<String>) -> ConfigError {
        ConfigError::Missing { origin: self.origin.clone(), key: self.key(key), rule: rule.into() }
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// A key that nobody asked for.
    pub(super) fn finish(self) -> Result<(), ConfigError> {
        let Some(key) = self.rest.keys().next() else { return Ok(()) };
        Err(ConfigError::UnknownKey {
            origin: self.origin.clone(),
            key: self.key(key),
            nearest: nearest(key, &self.known),
        })
    }

    fn child(&self, path: String, rest: Table) -> Self {
        Self { origin: self.origin.clone(), path, rest, known: Vec::new() }
    }

    fn key(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

/// A limit: a whole number above 0; one of bytes may have a unit.
pub(super) fn read_limit(section: &mut Section, name: &str) -> Result<Option<u64>, ConfigError> {
    let Some(value) = section.take(name) else { return Ok(None) };
    let limit = match &value {
        Value::Integer(number) => u64::try_from(*number).ok(),
        Value::String(text) => {
            Some(parse_limit(name, text).map_err(|rule| section.wrong(name, &value, rule))?)
        }
        _ => None,
    };
    limit
        .filter(|limit| (1..LIMIT_END).contains(limit))
        .map(Some)
        .ok_or_else(|| section.wrong(name, &value, "must be a whole number above 0 and below 2^53"))
}

/// A limit written as text.
///
/// # Errors
/// The rule that the text breaks.
pub(super) fn parse_limit(name: &str, text: &str) -> Result<u64, String> {
    let limit = if name.ends_with("_bytes_max") {
        units::parse_bytes(text)?
    } else {
        text.trim().parse().map_err(|_| "must be a whole number".to_owned())?
    };
    if (1..LIMIT_END).contains(&limit) { Ok(limit) } else { Err("must be above 0 and below 2^53".to_owned()) }
}

fn nearest(key: &str, known: &[String]) -> Option<String> {
    known
        .iter()
        .map(|name| (strsim::jaro_winkler(key, name), name))
        .filter(|(similarity, _)| *similarity >= HINT_SIMILARITY_MIN)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name.clone())
}
