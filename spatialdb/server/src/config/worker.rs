//! `[[workers]]`: the programs that start and stop with a world.
//!
//! Responsible for: their keys, defaults and ranges.
//! Not responsible for: whether a program exists (`cli`), how many run at a time (`supervisor`).

use std::{
    collections::{BTreeMap, HashSet},
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use toml::Value;

use super::{ConfigError, section::Section, units};
use crate::supervisor::RestartPolicy;

// Enough for any one machine; a typing mistake must not start a million processes.
const COUNT_MAX: usize = 256;

// As long as the protocol lets a name be.
const NAME_BYTES_MAX: usize = 64;

const WAIT_MAX: Duration = Duration::from_secs(24 * 60 * 60);
const SCALE_DOWN_AFTER_DEFAULT: Duration = Duration::from_secs(30);

const DRAIN_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

const STOP_TIMEOUT_LEAST: Duration = Duration::from_millis(10);
const STOP_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

const HUNG_AFTER_LEAST: Duration = Duration::from_millis(100);
const HUNG_AFTER_DEFAULT: Duration = Duration::from_secs(30);

const RESTART_PAUSE_RANGE: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(600);

const START_FAILURES_LARGEST: usize = 1_000_000;

const COMMAND_RULE: &str = "must be a program and its arguments: \"prog --flag\" or [\"prog\", \"--flag\"]";

/// One kind of worker to run.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkerConfig {
    /// The worker type it will say it is.
    pub worker_type: String,
    /// What its processes are called, before `-1`, `-2`, ...
    pub name: String,
    /// The program and its arguments; never empty.
    pub command: Vec<String>,
    /// As few processes run, if nobody asks for more.
    pub min: usize,
    /// As many processes run at most, those that are about to end among them. Not below `min`.
    pub max: usize,
    /// Variables to set, beyond those of the server.
    pub env: BTreeMap<String, String>,
    /// Where it runs; a program with a `/` in it is looked up from here.
    pub directory: PathBuf,
    /// For how long fewer must have been enough before one goes.
    pub scale_down_after: Duration,
    /// How long the server may take to free one that has to go of what it works on.
    pub drain_timeout: Duration,
    /// How long it may take to stop before it is killed.
    pub stop_timeout: Duration,
    /// For how long its session may say nothing, or stand still, after it lost all that it owned for that, before it is
    /// ended and started again.
    pub hung_after: Duration,
    /// When one that failed is started again, and when no more.
    pub restart: RestartPolicy,
}

impl WorkerConfig {
    /// The name of one of its processes; numbers run from 1 to `max`.
    pub fn process_name(&self, number: usize) -> String {
        format!("{}-{number}", self.name)
    }
}

/// Reads every `[[workers]]` table.
pub(super) fn read_all(sections: Vec<Section>, folder: &Path) -> Result<Vec<WorkerConfig>, ConfigError> {
    let mut names = HashSet::new();
    let mut workers = Vec::with_capacity(sections.len());
    for mut section in sections {
        let worker = read(&mut section, folder)?;
        if !names.insert((worker.worker_type.clone(), worker.name.clone())) {
            let rule = "must differ from that of the other workers of this type: set `name`, or `count`";
            return Err(section.wrong("name", Value::from(worker.name), rule));
        }
        section.finish()?;
        workers.push(worker);
    }
    Ok(workers)
}

fn read(section: &mut Section, folder: &Path) -> Result<WorkerConfig, ConfigError> {
    let worker_type = section
        .parsed("type", parse_name)?
        .ok_or_else(|| section.missing("type", "a worker needs a type, like \"flight\""))?;
    let name = section.parsed("name", parse_name)?.unwrap_or_else(|| worker_type.clone());
    let longest = NAME_BYTES_MAX - "-256".len();
    if name.len() > longest {
        let rule = format!("must be at most {longest} characters, so that -1, -2, ... fit behind it");
        return Err(section.wrong("name", Value::from(name), rule));
    }
    let directory = section.text("directory")?.unwrap_or_default();
    let (min, max) = read_range(section)?;
    let mut duration = |key, least: Duration, default| {
        section.duration(key, least..=WAIT_MAX).map(|duration| duration.unwrap_or(default))
    };
    let scale_down_after = duration("scale_down_after", Duration::ZERO, SCALE_DOWN_AFTER_DEFAULT)?;
    let drain_timeout = duration("drain_timeout", Duration::ZERO, DRAIN_TIMEOUT_DEFAULT)?;
    let stop_timeout = duration("stop_timeout", STOP_TIMEOUT_LEAST, STOP_TIMEOUT_DEFAULT)?;
    let hung_after = duration("hung_after", HUNG_AFTER_LEAST, HUNG_AFTER_DEFAULT)?;
    let restart = read_restart(section)?;
    Ok(WorkerConfig {
        worker_type,
        name,
        command: read_command(section)?,
        min,
        max,
        env: section.text_map("env")?,
        directory: folder.join(directory),
        scale_down_after,
        drain_timeout,
        stop_timeout,
        hung_after,
        restart,
    })
}

fn read_restart(section: &mut Section) -> Result<RestartPolicy, ConfigError> {
    let mut policy = RestartPolicy::default();
    if let Some(pause) = section.duration("restart_pause", RESTART_PAUSE_RANGE)? {
        policy.pause_first = pause;
    }
    if let Some(pause) = section.duration("restart_pause_max", RESTART_PAUSE_RANGE)? {
        policy.pause_max = pause;
    }
    if policy.pause_max < policy.pause_first {
        let shown = units::duration_text(policy.pause_max);
        return Err(section.wrong(
            "restart_pause_max",
            format!("{shown:?}"),
            "must be at least `restart_pause`",
        ));
    }
    if let Some(count) = section.count("start_failures_max", 1..=START_FAILURES_LARGEST)? {
        policy.quick_failures_max = count as u32;
    }
    Ok(policy)
}

// `count = n` is min = max = n. Where one of the two is missing it is 1, or what the other one makes of that.
fn read_range(section: &mut Section) -> Result<(usize, usize), ConfigError> {
    let count = section.count("count", 0..=COUNT_MAX)?;
    let min = section.count("min", 0..=COUNT_MAX)?;
    let max = section.count("max", 0..=COUNT_MAX)?;
    match (count, min, max) {
        (Some(count), None, None) => Ok((count, count)),
        (Some(count), ..) => {
            let rule =
                format!("`min` or `max` is set too: leave out `count`, which means min = max = {count}");
            Err(section.wrong("count", count, rule))
        }
        (None, Some(min), Some(max)) if min > max => {
            Err(section.wrong("min", min, format!("must be at most `max`, which is {max}")))
        }
        (None, min, max) => {
            let one = max.unwrap_or(1).min(1);
            let min = min.unwrap_or(one);
            Ok((min, max.unwrap_or_else(|| min.max(1))))
        }
    }
}

fn read_command(section: &mut Section) -> Result<Vec<String>, ConfigError> {
    let value = section.take("command").ok_or_else(|| section.missing("command", COMMAND_RULE))?;
    let words: Option<Vec<String>> = match &value {
        Value::String(text) => shlex::split(text),
        Value::Array(values) => values.iter().map(|value| value.as_str().map(str::to_owned)).collect(),
        _ => None,
    };
    let usable = |words: &Vec<String>| words.first().is_some_and(|program| !program.is_empty());
    words.filter(usable).ok_or_else(|| section.wrong("command", &value, COMMAND_RULE))
}

/// The name of a worker, a worker type or a layer.
///
/// # Errors
/// The rule that the text breaks.
pub(super) fn parse_name(text: &str) -> Result<String, String> {
    let allowed = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '_' | '-' | '.');
    if (1..=NAME_BYTES_MAX).contains(&text.len()) && text.chars().all(allowed) {
        Ok(text.to_owned())
    } else {
        Err(format!("must be 1 to {NAME_BYTES_MAX} characters of a-z, 0-9, '_', '-' and '.'"))
    }
}
