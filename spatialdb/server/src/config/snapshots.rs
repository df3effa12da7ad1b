//! `[snapshots]`: snapshots that a running world takes of itself.
//!
//! Responsible for: reading it, and its bounds. Not responsible for: taking them (`crate::server::snapshots`).

use std::{
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{ConfigError, section::Section};

const EVERY_RANGE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(31 * 24 * 3600);
const KEEP_RANGE: RangeInclusive<usize> = 1..=10_000;

/// Snapshots that a running world takes of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotsConfig {
    /// The folder they are kept in. Absolute, or relative to the current folder.
    pub directory: Option<PathBuf>,
    /// One is taken this often; `None`: none is.
    pub every: Option<Duration>,
    /// So many are kept, the newest.
    pub keep: usize,
}

impl Default for SnapshotsConfig {
    fn default() -> Self {
        Self { directory: None, every: None, keep: 24 }
    }
}

impl SnapshotsConfig {
    /// Where, and how often.
    pub fn plan(&self) -> Option<(&Path, Duration)> {
        self.directory.as_deref().zip(self.every)
    }
}

/// Reads `[snapshots]`; folders are relative to that of the file.
pub(super) fn read(mut section: Section, folder: &Path) -> Result<SnapshotsConfig, ConfigError> {
    let mut config = SnapshotsConfig::default();
    let directory = section.text("directory")?;
    config.directory = directory.as_ref().map(|directory| folder.join(directory));
    config.every = section.duration("every", EVERY_RANGE)?;
    if let Some(keep) = section.count("keep", KEEP_RANGE)? {
        config.keep = keep;
    }
    if config.every.is_some() && directory.is_none() {
        return Err(section.wrong(
            "directory",
            "unset",
            "must name the folder to keep them in, if `every` is set",
        ));
    }
    if let Some(directory) = directory.filter(|_| config.every.is_none()) {
        let rule = "is of no use without `every`, which says how often one is taken";
        return Err(section.wrong("directory", format!("{directory:?}"), rule));
    }
    section.finish()?;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::super::WorldConfig;
    use super::*;

    fn parse(text: &str) -> Result<SnapshotsConfig, String> {
        let parsed = WorldConfig::parse(Path::new("worlds/w.toml"), &format!("[snapshots]\n{text}"));
        parsed.map(|config| config.snapshots).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_set_counts() {
        assert_eq!(parse(""), Ok(SnapshotsConfig::default()));
        let config = parse("directory = \"kept\"\nevery = \"15m\"\nkeep = 3").expect("valid");
        assert_eq!(config.plan(), Some((Path::new("worlds/kept"), Duration::from_secs(900))));
        assert_eq!(config.keep, 3);
    }

    #[test]
    fn what_is_no_use_is_refused() {
        let cases = [
            ("every = \"1h\"", "must name the folder"),
            ("directory = \"kept\"", "is of no use without `every`"),
            ("directory = \"kept\"\nevery = \"1ms\"", "must be from 1s to 744h"),
            ("directory = \"kept\"\nevery = \"1h\"\nkeep = 0", "snapshots.keep = 0"),
            ("at = \"noon\"", "snapshots.at: no such setting"),
        ];
        for (text, expected) in cases {
            let error = parse(text).expect_err(text);
            assert!(error.contains(expected), "{error}");
        }
    }
}
