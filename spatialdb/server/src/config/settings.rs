//! Every setting with its value, and where the value comes from.
//!
//! Responsible for: the list that `spatialdb config show` prints.
//! Not responsible for: reading settings; what a file has and this list does not know is shown as it is written.

use std::{
    collections::BTreeSet,
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};

use super::{ConfigError, WorldConfig, environment, layers, places::Places, units};

/// One setting of a world.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// Its key, e.g. `server.listen`.
    pub key: String,
    /// Its value; null where it is chosen at the start of the world.
    pub value: Value,
    /// Where the value comes from.
    pub source: Source,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nobody said anything.
    Default,
    /// A line of the file.
    File(PathBuf, usize),
    /// A variable of the environment.
    Environment(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => f.write_str(name),
        }
    }
}

/// Every setting, from the defaults, the file (if any) and the environment.
///
/// # Errors
/// As [`WorldConfig::load_with`].
pub fn settings(
    file: Option<&Path>,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Vec<Setting>, ConfigError> {
    let config = WorldConfig::load_with(file, &variable)?;
    let text = file.map(std::fs::read_to_string).transpose().map_err(|source| ConfigError::Unreadable {
        file: file.unwrap_or(Path::new("")).to_owned(),
        source,
    })?;
    let places = Places::of(text.as_deref().unwrap_or_default());
    let source = |key: &str| {
        let name = environment::variable_of(key);
        if variable(&name).is_some_and(|value| !value.is_empty()) && environment::is_read(key) {
            return Source::Environment(name);
        }
        match (places.line_of(key).or_else(|| line_of_count(&places, key)), file) {
            (Some(line), Some(file)) => Source::File(file.to_owned(), line),
            _ => Source::Default,
        }
    };
    let mut settings: Vec<Setting> =
        known(&config).into_iter().map(|(key, value)| Setting { source: source(&key), key, value }).collect();
    let listed: BTreeSet<String> = settings.iter().map(|setting| setting.key.clone()).collect();
    let rest = places.values().filter(|(key, _)| {
        let is_part = |listed: &String| key.strip_prefix(listed.as_str()).is_some_and(|k| k.starts_with('.'));
        !listed.contains(*key) && !listed.iter().any(is_part)
    });
    settings.extend(rest.map(|(key, value)| Setting {
        key: key.to_owned(),
        value: Value::from(value),
        source: source(key),
    }));
    Ok(settings)
}

// `count` of workers says both `min` and `max`.
fn line_of_count(places: &Places, key: &str) -> Option<usize> {
    let workers = key.strip_suffix(".min").or_else(|| key.strip_suffix(".max"))?;
    if workers.starts_with("workers[") { places.line_of(&format!("{workers}.count")) } else { None }
}

fn known(config: &WorldConfig) -> Vec<(String, Value)> {
    let path = |path: &Option<PathBuf>| json!(path.as_ref().map(|path| path.display().to_string()));
    let paths = |paths: &[PathBuf]| json!(paths.iter().map(|p| p.display().to_string()).collect::<Vec<_>>());
    let mut known = vec![
        ("world.name", json!(config.name)),
        ("world.snapshot", path(&config.snapshot)),
        ("world.schema", paths(&config.schema_dirs)),
        ("world.cell_m", json!(config.cell_m)),
        ("server.listen", json!(config.listen.to_string())),
        ("server.hosts", json!(config.hosts)),
        ("server.origins", json!(config.origins)),
        ("server.tokens", path(&config.tokens)),
        ("server.partitions", json!(config.partitions)),
        ("server.publish_interval_max", duration(config.publish_interval_max)),
        ("views.shadow_check", json!(config.shadow_check)),
        ("tls.cert", path(&config.tls.cert)),
        ("tls.key", path(&config.tls.key)),
        ("tls.ca", path(&config.tls.ca)),
        ("tls.client_ca", path(&config.tls.client_ca)),
    ];
    let mut known: Vec<(String, Value)> =
        known.drain(..).map(|(key, value)| (key.to_owned(), value)).collect();
    known.extend(
        config.limits.entries().into_iter().map(|(name, value)| (format!("limits.{name}"), json!(value))),
    );
    for (worker_type, flags) in &config.flags {
        known.extend(flags.iter().map(|(name, value)| (format!("flags.{worker_type}.{name}"), json!(value))));
    }
    let authority = &config.authority;
    let micros = |us| duration(Duration::from_micros(us));
    known.push(("authority.lease_ttl".to_owned(), micros(authority.patience.lease_ttl)));
    known.push(("authority.rest".to_owned(), micros(authority.patience.rest)));
    known.push((
        "authority.stall_after".to_owned(),
        authority.patience.stall_after.map_or(Value::Null, micros),
    ));
    let stored = &config.durability;
    known.push(("durability.checkpoint_interval".to_owned(), duration(stored.checkpoint_interval)));
    known.push(("durability.checkpoint_every".to_owned(), duration(stored.checkpoint_every)));
    known.push(("durability.log_mib".to_owned(), json!(stored.log_bytes >> 20)));
    known.push(("durability.history".to_owned(), duration(stored.history)));
    known.push(("durability.history_mib".to_owned(), json!(stored.history_bytes >> 20)));
    known.extend(
        stored.named_classes().map(|(name, class)| (format!("durability.classes.{name}"), json!(class))),
    );
    let snapshots = &config.snapshots;
    known.push(("snapshots.directory".to_owned(), path(&snapshots.directory)));
    known.push(("snapshots.every".to_owned(), snapshots.every.map_or(Value::Null, duration)));
    known.push(("snapshots.keep".to_owned(), json!(snapshots.keep)));
    known.extend(layers::settings(&config.layers));
    for (index, worker) in config.workers.iter().enumerate() {
        let values = [
            ("type", json!(worker.worker_type)),
            ("name", json!(worker.name)),
            ("command", json!(worker.command)),
            ("min", json!(worker.min)),
            ("max", json!(worker.max)),
            ("env", json!(worker.env)),
            ("directory", json!(worker.directory.display().to_string())),
            ("scale_down_after", duration(worker.scale_down_after)),
            ("drain_timeout", duration(worker.drain_timeout)),
            ("stop_timeout", duration(worker.stop_timeout)),
            ("hung_after", duration(worker.hung_after)),
            ("restart_pause", duration(worker.restart.pause_first)),
            ("restart_pause_max", duration(worker.restart.pause_max)),
            ("start_failures_max", json!(worker.restart.quick_failures_max)),
        ];
        known.extend(values.map(|(key, value)| (format!("workers[{index}].{key}"), value)));
    }
    known
}

// As the file would say it.
fn duration(duration: Duration) -> Value {
    Value::from(units::duration_text(duration))
}
