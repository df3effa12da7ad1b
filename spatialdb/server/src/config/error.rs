//! What can be wrong with settings.

use std::{io, path::PathBuf};

use super::places::Places;

/// A setting that cannot be used. Shown as it is: it names file or variable, key, value and rule.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: cannot be read: {source}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not TOML.
    #[error("{}:{line}: {message}", file.display())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What the parser says.
        message: String,
    },
    /// The file has a key that means nothing.
    #[error("{origin}: {key}: no such setting{}", hint(nearest.as_deref()))]
    UnknownKey {
        /// The file and the line.
        origin: String,
        /// The key with its section.
        key: String,
        /// The known key that looks most like it.
        nearest: Option<String>,
    },
    /// A key that must be there is not.
    #[error("{origin}: {key}: missing: {rule}")]
    Missing {
        /// The file and the line.
        origin: String,
        /// The key with its section.
        key: String,
        /// What it must hold.
        rule: String,
    },
    /// A value breaks a rule.
    #[error("{origin}: {key} = {value}: {rule}")]
    Value {
        /// The file and the line, or `environment`, or `command line`.
        origin: String,
        /// The key with its section, the variable or the flag.
        key: String,
        /// The value as given.
        value: String,
        /// What it must be.
        rule: String,
    },
    /// Values do not go together.
    #[error("{origin}: {detail}")]
    Together {
        /// The file and the line.
        origin: String,
        /// Which, and why not.
        detail: String,
    },
}

impl ConfigError {
    /// The same, with the line of the key behind the file.
    pub(super) fn at_line(mut self, places: &Places) -> Self {
        if let Self::UnknownKey { origin, key, .. }
        | Self::Missing { origin, key, .. }
        | Self::Value { origin, key, .. } = &mut self
            && let Some(line) = places.line(key)
        {
            *origin = format!("{origin}:{line}");
        }
        self
    }
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}
