//! The mapping file: which column or property goes to which field.
//!
//! Responsible for: its keys, and where each stands, for errors.
//! Not responsible for: whether a component has such a field (`plan`).

use std::{
    collections::BTreeMap,
    fmt, fs,
    ops::Range,
    path::{Path, PathBuf},
};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};
use toml::Spanned;

use super::map_error::MapError;

/// A mapping as its file says it.
#[derive(Clone, Debug)]
pub struct MapFile {
    pub(super) keys: Keys,
    path: PathBuf,
    text: String,
}

/// The keys of a mapping file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Keys {
    /// The name of the world.
    pub(super) world: Option<String>,
    pub(super) csv: CsvKeys,
    pub(super) entity: EntityKeys,
    pub(super) position: Option<Spanned<PositionKeys>>,
    /// By component, then by field.
    pub(super) components: BTreeMap<Spanned<String>, BTreeMap<Spanned<String>, Rule>>,
    pub(super) spatialos: SpatialOsKeys,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct CsvKeys {
    pub(super) delimiter: Spanned<String>,
    /// Without a header columns are called 1, 2, 3.
    pub(super) header: bool,
}

impl Default for CsvKeys {
    fn default() -> Self {
        Self { delimiter: Spanned::new(0..0, ",".to_owned()), header: true }
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct EntityKeys {
    pub(super) id: Option<Spanned<Rule>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct PositionKeys {
    pub(super) longitude: Option<Spanned<Rule>>,
    pub(super) latitude: Option<Spanned<Rule>>,
    pub(super) x: Option<Spanned<Rule>>,
    pub(super) y: Option<Spanned<Rule>>,
    pub(super) z: Option<Spanned<Rule>>,
    pub(super) space: u32,
    pub(super) round_m: Option<Spanned<f64>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SpatialOsKeys {
    pub(super) components: Vec<SpatialOsComponent>,
}

/// One component of SpatialOS: its number is used in a binary snapshot, its name in JSON.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SpatialOsComponent {
    pub(super) id: Option<u32>,
    pub(super) name: Option<String>,
    /// The component of this world.
    pub(super) to: Spanned<String>,
}

/// Where the value of one field comes from.
#[derive(Clone, Debug, Default)]
pub(super) struct Rule(pub(super) RuleKeys);

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RuleKeys {
    pub(super) column: Option<String>,
    pub(super) constant: Option<toml::Value>,
    /// For a cell that is empty or missing.
    pub(super) default: Option<toml::Value>,
    /// Other values for those in the column.
    pub(super) values: BTreeMap<String, toml::Value>,
    pub(super) scale: Option<f64>,
    pub(super) offset: Option<f64>,
    /// What stands between the values of a list.
    pub(super) split: Option<String>,
}

impl<'de> Deserialize<'de> for Rule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RuleVisitor;
        impl<'de> Visitor<'de> for RuleVisitor {
            type Value = Rule;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a column, or { column = NAME, ... }, or { constant = VALUE }")
            }
            fn visit_str<E>(self, column: &str) -> Result<Rule, E> {
                Ok(Rule(RuleKeys { column: Some(column.to_owned()), ..RuleKeys::default() }))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Rule, A::Error> {
                RuleKeys::deserialize(MapAccessDeserializer::new(map)).map(Rule)
            }
        }
        deserializer.deserialize_any(RuleVisitor)
    }
}

impl MapFile {
    /// Reads a mapping file.
    ///
    /// # Errors
    /// It cannot be read, is no TOML, or has a key that means nothing.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, MapError> {
        let path = path.as_ref();
        let text = fs::read_to_string(path)
            .map_err(|source| MapError::Unreadable { file: path.to_owned(), source })?;
        Self::parse(path, &text)
    }

    /// Takes the text of a mapping file.
    ///
    /// # Errors
    /// It is no TOML, or has a key that means nothing.
    pub fn parse(path: impl AsRef<Path>, text: &str) -> Result<Self, MapError> {
        let path = path.as_ref().to_owned();
        let keys = toml::from_str(text).map_err(|error| MapError::Syntax {
            file: path.clone(),
            line: error.span().map_or(1, |span| line_of(text, &span)),
            reason: error.message().to_owned(),
        })?;
        Ok(Self { keys, path, text: text.to_owned() })
    }

    /// A mapping that maps nothing.
    pub(super) fn empty() -> Self {
        Self { keys: Keys::default(), path: PathBuf::new(), text: String::new() }
    }

    /// The error of a key that says what cannot be done.
    pub(super) fn wrong(
        &self,
        span: Range<usize>,
        key: impl Into<String>,
        reason: impl Into<String>,
    ) -> MapError {
        MapError::Rule {
            file: self.path.clone(),
            line: line_of(&self.text, &span),
            key: key.into(),
            reason: reason.into(),
        }
    }
}

fn line_of(text: &str, span: &Range<usize>) -> usize {
    1 + text.as_bytes()[..span.start.min(text.len())].iter().filter(|byte| **byte == b'\n').count()
}
