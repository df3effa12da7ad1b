//! `[authority]`: how patient the world is with its workers.
//!
//! Responsible for: reading it, and its bounds. Not responsible for: what happens then (`spatialdb_core::authority`).

use std::{ops::RangeInclusive, time::Duration};

use spatialdb_core::{Micros, authority::issuer::Patience};

use super::{ConfigError, section::Section};

// Of a shorter time a tick that comes late could be most.
const LEASE_TTL_TICKS_MIN: u64 = 3;
const LEASE_TTL_LONGEST: Duration = Duration::from_secs(600);

const REST_RANGE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3600);

const STALL_AFTER_LONGEST: Duration = Duration::from_secs(3600);

/// How long workers are waited for before others get what they have.
///
/// # Units
/// Microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuthorityConfig {
    /// Of workers that say nothing or stand still, and of regions that have changed.
    pub patience: Patience,
}

/// Reads `[authority]`.
pub(super) fn read(mut section: Section) -> Result<AuthorityConfig, ConfigError> {
    let mut config = AuthorityConfig::default();
    let patience = &mut config.patience;
    let tick = Duration::from_micros(patience.tick_max);
    let shortest = Duration::from_micros(patience.tick_max * LEASE_TTL_TICKS_MIN);
    if let Some(lease_ttl) = section.duration("lease_ttl", shortest..=LEASE_TTL_LONGEST)? {
        patience.lease_ttl = micros(lease_ttl);
    }
    if let Some(rest) = section.duration("rest", REST_RANGE)? {
        patience.rest = micros(rest);
    }
    patience.stall_after = section.duration("stall_after", tick..=STALL_AFTER_LONGEST)?.map(micros);
    section.finish()?;
    Ok(config)
}

/// What the ranges of settings allow fits by far.
pub(super) fn micros(duration: Duration) -> Micros {
    duration.as_micros() as Micros
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::WorldConfig;
    use super::*;

    fn parse(text: &str) -> Result<AuthorityConfig, String> {
        let parsed = WorldConfig::parse(Path::new("w.toml"), &format!("[authority]\n{text}"));
        parsed.map(|config| config.authority).map_err(|error| error.to_string())
    }

    #[test]
    fn it_is_patient_unless_told() {
        assert_eq!(parse(""), Ok(AuthorityConfig { patience: Patience::default() }));
        let told = parse("lease_ttl = \"750ms\"\nrest = \"0s\"\nstall_after = \"1m\"").expect("valid");
        assert_eq!((told.patience.lease_ttl, told.patience.rest), (750_000, 0));
        assert_eq!(told.patience.tick_max, Patience::default().tick_max);
        assert_eq!(told.patience.stall_after, Some(60_000_000));
    }

    #[test]
    fn what_is_no_use_is_refused() {
        let cases = [
            ("lease_ttl = \"700ms\"", "w.toml:2: authority.lease_ttl = \"700ms\": must be from 750ms to 10m"),
            ("lease_ttl = \"11m\"", "w.toml:2: authority.lease_ttl = \"11m\": must be from 750ms to 10m"),
            ("lease_ttl = 3", "w.toml:2: authority.lease_ttl = 3: must be a string"),
            ("rest = \"2h\"", "w.toml:2: authority.rest = \"2h\": must be from 0s to 1h"),
            ("stall_after = \"1ms\"", "w.toml:2: authority.stall_after = \"1ms\": must be from 250ms to 1h"),
            ("tick_max = \"1s\"", "w.toml:2: authority.tick_max: no such setting"),
            (
                "leese_ttl = \"1s\"",
                "w.toml:2: authority.leese_ttl: no such setting; did you mean `lease_ttl`?",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text).expect_err("refused"), expected, "{text}");
        }
    }
}
