//! Settings from `SPATIALDB_*` variables; they win over the file.

use spatialdb_types::Limits;

use super::{ConfigError, PARTITIONS_MAX, WorldConfig, parse_publish_interval, section, units};

/// Changes the settings that the environment names.
pub(super) fn apply(
    config: &mut WorldConfig,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<(), ConfigError> {
    if let Some(listen) = read(&variable, "SPATIALDB_LISTEN", units::parse_address)? {
        config.listen = listen;
    }
    if let Some(partitions) = read(&variable, "SPATIALDB_PARTITIONS", parse_partitions)? {
        config.partitions = Some(partitions);
    }
    if let Some(interval) = read(&variable, "SPATIALDB_PUBLISH_INTERVAL_MAX", parse_publish_interval)? {
        config.publish_interval_max = interval;
    }
    for (name, _) in Limits::default().entries() {
        let key = format!("SPATIALDB_LIMITS_{}", name.to_ascii_uppercase());
        let value = read(&variable, &key, |text| section::parse_limit(name, text))?;
        if let (Some(value), Some(limit)) = (value, config.limits.get_mut(name)) {
            *limit = value;
        }
    }
    Ok(())
}

/// The variable that wins over a key.
pub(super) fn variable_of(key: &str) -> String {
    let name = key.strip_prefix("server.").unwrap_or(key);
    format!("SPATIALDB_{}", name.replace('.', "_").to_ascii_uppercase())
}

/// Whether there is a variable for the key.
pub(super) fn is_read(key: &str) -> bool {
    matches!(key, "server.listen" | "server.partitions" | "server.publish_interval_max")
        || key.starts_with("limits.")
}

// An empty variable counts as not set, as in `SPATIALDB_LISTEN= spatialdb launch`.
fn read<T>(
    variable: impl Fn(&str) -> Option<String>,
    key: &str,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<T>, ConfigError> {
    let Some(text) = variable(key).filter(|text| !text.is_empty()) else { return Ok(None) };
    parse(&text).map(Some).map_err(|rule| ConfigError::Value {
        origin: "environment".to_owned(),
        key: key.to_owned(),
        value: format!("{text:?}"),
        rule,
    })
}

fn parse_partitions(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|count| (1..=PARTITIONS_MAX).contains(count))
        .ok_or_else(|| format!("must be a whole number from 1 to {PARTITIONS_MAX}"))
}
