//! Moments of the past, and where it is kept.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::CliError;
use crate::server::{DataDir, LaunchError};

/// A moment, in microseconds of Unix time: `2026-11-23T08:00:00Z`, or `10m`, which is ten minutes ago.
///
/// # Errors
/// The rule that the text breaks.
pub(super) fn parse_moment(text: &str) -> Result<i64, String> {
    let micros = |at: SystemTime| at.duration_since(UNIX_EPOCH).map(|since| since.as_micros() as i64);
    if let Ok(at) = humantime::parse_rfc3339_weak(text) {
        return match micros(at) {
            Ok(1..) if at <= SystemTime::now() => Ok(micros(at).unwrap_or_default()),
            Ok(1..) => Err("lies in the future".to_owned()),
            _ => Err("lies before 1970".to_owned()),
        };
    }
    let rule = "must be a time like 2026-11-23T08:00:00Z (UTC), or how long ago it was, like 90s, 10m or 2h";
    let ago: Duration = humantime::parse_duration(text).map_err(|_| rule.to_owned())?;
    let at = SystemTime::now().checked_sub(ago).ok_or_else(|| rule.to_owned())?;
    micros(at).map_err(|_| rule.to_owned())
}

/// A data directory that no server has open, with a world in it.
///
/// # Errors
/// A server has it, there is no world, or it is damaged.
pub(super) fn open(directory: &Path) -> Result<DataDir, CliError> {
    let missing = |path: PathBuf| {
        CliError::Usage(format!(
            "there is no world in {}: `spatialdb launch SNAPSHOT --data-dir` makes one",
            path.display()
        ))
    };
    // Opening one that is empty would make it one.
    if !directory.join("db").is_dir() {
        return Err(missing(directory.to_owned()));
    }
    let data = DataDir::open(directory).map_err(LaunchError::from)?;
    if data.found().is_none() {
        return Err(missing(directory.to_owned()));
    }
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_told_in_two_ways() {
        assert_eq!(parse_moment("2026-11-23T08:00:01.5Z"), Ok(1_795_420_801_500_000));
        assert_eq!(parse_moment("2026-11-23 08:00:01"), Ok(1_795_420_801_000_000));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_micros() as i64;
        let ago = now - parse_moment("10m").expect("ago");
        assert!((599_000_000..601_000_000).contains(&ago), "{ago}");
        assert_eq!(parse_moment("2999-01-01T00:00:00Z"), Err("lies in the future".to_owned()));
        assert_eq!(parse_moment("1970-01-01T00:00:00Z"), Err("lies before 1970".to_owned()));
        for wrong in ["yesterday", "10", "", "-5m"] {
            assert!(parse_moment(wrong).expect_err(wrong).contains("must be"), "{wrong}");
        }
    }
}
