//! Where each key stands in a settings file.
//!
//! Responsible for: the line of every key, as people name it: `server.listen`, `workers[0].command`.
//! Not responsible for: what the keys mean.

use std::{collections::BTreeMap, ops::Range};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// The keys of a file with their lines, and values as they are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Places(BTreeMap<String, Place>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    line: usize,
    // `None` for a table.
    value: Option<String>,
}

impl Places {
    /// Of a text that is TOML; of any other it knows nothing.
    pub(super) fn of(text: &str) -> Self {
        let mut places = Self::default();
        if let Ok(table) = DeTable::parse(text) {
            places.add_table("", table.get_ref(), text);
        }
        places
    }

    /// The line of the key, or of the table that it would be in.
    pub(super) fn line(&self, key: &str) -> Option<usize> {
        let mut key = key;
        loop {
            if let Some(place) = self.0.get(key) {
                return Some(place.line);
            }
            key = &key[..key.rfind('.')?];
        }
    }

    /// The line of exactly that key.
    pub(super) fn line_of(&self, key: &str) -> Option<usize> {
        self.0.get(key).map(|place| place.line)
    }

    /// Every key with a value of its own, as it is written.
    pub(super) fn values(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().filter_map(|(key, place)| Some((key.as_str(), place.value.as_deref()?)))
    }

    fn add_table(&mut self, path: &str, table: &DeTable<'_>, text: &str) {
        for (key, value) in table {
            let name = key.get_ref();
            let path = if path.is_empty() { name.to_string() } else { format!("{path}.{name}") };
            self.add(path, &key.span(), value, text);
        }
    }

    fn add(&mut self, path: String, at: &Range<usize>, value: &Spanned<DeValue<'_>>, text: &str) {
        let line = line_of(text, at);
        let written = text.get(value.span()).unwrap_or_default().to_owned();
        match value.get_ref() {
            DeValue::Table(table) => {
                self.add_table(&path, table, text);
                self.0.insert(path, Place { line, value: None });
            }
            DeValue::Array(values) if values.iter().any(|value| value.get_ref().is_table()) => {
                for (index, value) in values.iter().enumerate() {
                    self.add(format!("{path}[{index}]"), &value.span(), value, text);
                }
                self.0.insert(path, Place { line, value: None });
            }
            _ => _ = self.0.insert(path, Place { line, value: Some(written) }),
        }
    }
}

fn line_of(text: &str, at: &Range<usize>) -> usize {
    1 + text.as_bytes()[..at.start.min(text.len())].iter().filter(|byte| **byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_the_line_that_they_stand_on() {
        let text = "top = 1\n[a]\nb = [\n 1]\nc.d = 2\n\n[[w]]\nx = 1\n\n[[w]]\nenv = { K = \"v\" }\n";
        let places = Places::of(text);
        let lines: Vec<_> = ["top", "a.b", "a.c.d", "w[0].x", "w[1].env.K", "w[1]", "a"]
            .into_iter()
            .map(|key| places.line_of(key))
            .collect();
        assert_eq!(lines, [1, 3, 5, 8, 11, 10, 2].map(Some));
        // What is missing would be in the table.
        assert_eq!((places.line("w[1].type"), places.line("nothing.x")), (Some(10), None));
        assert!(places.values().any(|(key, value)| (key, value) == ("w[1].env.K", "\"v\"")));
        assert_eq!(Places::of("= broken").line("a"), None);
    }
}
