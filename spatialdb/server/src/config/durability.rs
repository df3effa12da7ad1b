//! `[durability]`: what of a world with a data directory is on disk, and when.
//!
//! Responsible for: reading it, and its bounds. Not responsible for: what happens then (`crate::server::durable`).

use std::{collections::BTreeMap, ops::RangeInclusive, time::Duration};

use spatialdb_core::log::Classes;
use spatialdb_schema::{Durability, Schema};

use super::{ConfigError, section::Section};

const INTERVAL_RANGE: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(60);
const ROUND_RANGE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(24 * 3600);
const HISTORY_RANGE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(365 * 24 * 3600);
const LOG_MIB_RANGE: RangeInclusive<usize> = 1..=1 << 20;

/// What is on disk, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DurabilityConfig {
    /// What is not DURABLE is written this often: a crash loses no more of it.
    pub checkpoint_interval: Duration,
    /// A checkpoint is taken this often, if anything was written since.
    pub checkpoint_every: Duration,
    /// And when the logs have so many bytes since the last one.
    pub log_bytes: u64,
    /// How far back the world can be rebuilt as it was.
    pub history: Duration,
    /// What that may take on disk, about.
    pub history_bytes: u64,
    /// Classes of components of this world, by name, instead of those of the schema.
    classes: BTreeMap<String, Durability>,
}

impl Default for DurabilityConfig {
    fn default() -> Self {
        Self {
            checkpoint_interval: Duration::from_secs(1),
            checkpoint_every: Duration::from_secs(300),
            log_bytes: 512 << 20,
            history: Duration::from_secs(600),
            history_bytes: 1 << 30,
            classes: BTreeMap::new(),
        }
    }
}

impl DurabilityConfig {
    /// Which promise holds for which component of the schema.
    ///
    /// # Errors
    /// A component that the schema does not have.
    pub(crate) fn classes(&self, schema: &Schema) -> Result<Classes, ConfigError> {
        for name in self.classes.keys() {
            schema.component_named(name).map_err(|error| ConfigError::Value {
                origin: "world.toml".to_owned(),
                key: format!("durability.classes.{name}"),
                value: format!("{:?}", self.classes[name].name()),
                rule: error.detail,
            })?;
        }
        let of = |class: Durability| {
            schema.components().iter().filter(move |component| {
                let set = self.classes.iter().find(|(name, _)| {
                    schema.component_named(name).is_ok_and(|found| found.id() == component.id())
                });
                set.map_or_else(|| component.durability(), |(_, class)| *class) == class
            })
        };
        let ids = |class| of(class).map(spatialdb_schema::Component::id).collect::<Vec<_>>();
        Ok(Classes::new(ids(Durability::Volatile), ids(Durability::Durable)))
    }

    /// What is set, by name.
    pub(crate) fn named_classes(&self) -> impl Iterator<Item = (&str, &'static str)> {
        self.classes.iter().map(|(name, class)| (name.as_str(), class.name()))
    }
}

/// Reads `[durability]`.
pub(super) fn read(mut section: Section) -> Result<DurabilityConfig, ConfigError> {
    let mut config = DurabilityConfig::default();
    if let Some(interval) = section.duration("checkpoint_interval", INTERVAL_RANGE)? {
        config.checkpoint_interval = interval;
    }
    if let Some(every) = section.duration("checkpoint_every", ROUND_RANGE)? {
        config.checkpoint_every = every;
    }
    if let Some(mib) = section.count("log_mib", LOG_MIB_RANGE)? {
        config.log_bytes = (mib as u64) << 20;
    }
    if let Some(history) = section.duration("history", HISTORY_RANGE)? {
        config.history = history;
    }
    if let Some(mib) = section.count("history_mib", LOG_MIB_RANGE)? {
        config.history_bytes = (mib as u64) << 20;
    }
    for (component, class) in section.text_map("classes")? {
        let Some(known) = Durability::from_name(&class) else {
            let rule = "must be \"volatile\", \"checkpointed\" or \"durable\"";
            return Err(section.wrong(&format!("classes.{component}"), format!("{class:?}"), rule));
        };
        config.classes.insert(component, known);
    }
    section.finish()?;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::WorldConfig;
    use super::*;

    fn parse(text: &str) -> Result<DurabilityConfig, String> {
        let parsed = WorldConfig::parse(Path::new("w.toml"), &format!("[durability]\n{text}"));
        parsed.map(|config| config.durability).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_set_counts() {
        assert_eq!(parse(""), Ok(DurabilityConfig::default()));
        let text = "checkpoint_interval = \"250ms\"\ncheckpoint_every = \"1m\"\nlog_mib = 64\n[durability.classes]\nMetadata = \"durable\"";
        let config = parse(text).expect("valid");
        assert_eq!(config.checkpoint_interval, Duration::from_millis(250));
        assert_eq!((config.checkpoint_every, config.log_bytes), (Duration::from_secs(60), 64 << 20));
        let schema = Schema::built_in();
        let metadata = schema.component_named("Metadata").expect("built in").id();
        assert!(config.classes(&schema).expect("known").is_durable(metadata));
        assert!(!DurabilityConfig::default().classes(&schema).expect("known").is_durable(metadata));
    }

    #[test]
    fn what_is_no_use_is_refused() {
        let cases = [
            ("checkpoint_interval = \"1ms\"", "must be from 10ms to 1m"),
            ("log_mib = 0", "durability.log_mib = 0"),
            (
                "[durability.classes]\nMetadata = \"safe\"",
                "must be \"volatile\", \"checkpointed\" or \"durable\"",
            ),
            ("fsync = false", "durability.fsync: no such setting"),
        ];
        for (text, expected) in cases {
            let error = parse(text).expect_err(text);
            assert!(error.contains(expected), "{error}");
        }
        let unknown = parse("[durability.classes]\nHealth = \"durable\"").expect("read");
        let error = unknown.classes(&Schema::built_in()).expect_err("unknown").to_string();
        assert!(error.contains("durability.classes.Health"), "{error}");
    }
}
