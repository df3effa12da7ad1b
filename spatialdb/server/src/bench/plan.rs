//! What to measure: scenarios, their defaults, and which settings belong to which.

use std::fmt;

use spatialdb_types::Limits;

use crate::config::PARTITIONS_MAX;

/// A kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// Positions of many entities, as fast as they are taken.
    Ingest,
    /// One update in flight, from its writer to a viewer.
    Latency,
    /// From the start of the process to the first answer.
    Launch,
    /// Memory beyond the payload.
    Memory,
    /// Strangers at the door of a busy server.
    Handshakes,
}

/// What the user set; the rest comes from the scenario.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Request {
    /// Seconds to measure.
    pub(crate) seconds: Option<u64>,
    /// Sessions that write.
    pub(crate) streams: Option<u64>,
    /// Partitions of the server.
    pub(crate) partitions: Option<u64>,
    /// Entities of the world.
    pub(crate) entities: Option<u64>,
    /// Rows of a message.
    pub(crate) batch: Option<u64>,
    /// Calls of strangers a second.
    pub(crate) strangers: Option<u64>,
    /// Calls that a stranger's connection is used for.
    pub(crate) calls: Option<u64>,
}

/// A scenario with all its settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Which load.
    pub(crate) scenario: Scenario,
    /// Seconds to measure.
    pub(crate) seconds: u64,
    /// Sessions that write.
    pub(crate) streams: u64,
    /// Partitions of the server.
    pub(crate) partitions: u64,
    /// Entities of the world.
    pub(crate) entities: u64,
    /// Rows of a message.
    pub(crate) batch: u64,
    /// Calls of strangers a second.
    pub(crate) strangers: u64,
    /// Calls that a stranger's connection is used for.
    pub(crate) calls: u64,
}

/// Why a request is no plan.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PlanError {
    /// The scenario has no use for a setting.
    #[error("--{flag} does not apply to `{scenario}`; it belongs to: {belongs_to}")]
    NotForScenario {
        /// The setting.
        flag: &'static str,
        /// Which scenario.
        scenario: &'static str,
        /// The scenarios that have a use for it.
        belongs_to: String,
    },
    /// A number is too small or too large.
    #[error("--{flag} {value} is out of range: {least} to {most}")]
    OutOfRange {
        /// The setting.
        flag: &'static str,
        /// What was asked for.
        value: u64,
        /// The smallest that is right.
        least: u64,
        /// The largest that is right.
        most: u64,
    },
    /// There are fewer entities than streams.
    #[error("--streams {streams} is more than --entities {entities}: each stream writes entities of its own")]
    StreamsWithoutEntities {
        /// Streams.
        streams: u64,
        /// Entities.
        entities: u64,
    },
}

impl Scenario {
    /// Every scenario, in the order of `all`.
    pub(crate) const ALL: [Self; 5] =
        [Self::Ingest, Self::Latency, Self::Launch, Self::Memory, Self::Handshakes];

    /// Its name on the command line and in results.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Latency => "latency",
            Self::Launch => "launch",
            Self::Memory => "memory",
            Self::Handshakes => "handshakes",
        }
    }

    const fn has(self, flag: Flag) -> bool {
        match flag {
            Flag::Partitions | Flag::Entities => true,
            Flag::Seconds => matches!(self, Self::Ingest | Self::Latency | Self::Handshakes),
            Flag::Streams | Flag::Batch => matches!(self, Self::Ingest | Self::Handshakes),
            Flag::Strangers | Flag::Calls => matches!(self, Self::Handshakes),
        }
    }

    const fn default_of(self, flag: Flag) -> u64 {
        match (flag, self) {
            (Flag::Seconds, Self::Handshakes) => 20,
            (Flag::Seconds, _) => 10,
            (Flag::Strangers, _) => 2200,
            (Flag::Calls, _) => 16,
            (Flag::Streams | Flag::Partitions, _) => 2,
            (Flag::Batch, _) => 4000,
            (Flag::Entities, Self::Ingest | Self::Handshakes) => 100_000,
            (Flag::Entities, Self::Latency) => 10_000,
            (Flag::Entities, Self::Launch | Self::Memory) => 1_000_000,
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flag {
    Seconds,
    Streams,
    Partitions,
    Entities,
    Batch,
    Strangers,
    Calls,
}

impl Flag {
    const ALL: [Self; 7] = [
        Self::Seconds,
        Self::Streams,
        Self::Partitions,
        Self::Entities,
        Self::Batch,
        Self::Strangers,
        Self::Calls,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Streams => "streams",
            Self::Partitions => "partitions",
            Self::Entities => "entities",
            Self::Batch => "batch",
            Self::Strangers => "strangers",
            Self::Calls => "calls",
        }
    }

    const fn of(self, request: &Request) -> Option<u64> {
        match self {
            Self::Seconds => request.seconds,
            Self::Streams => request.streams,
            Self::Partitions => request.partitions,
            Self::Entities => request.entities,
            Self::Batch => request.batch,
            Self::Strangers => request.strangers,
            Self::Calls => request.calls,
        }
    }

    fn most(self) -> u64 {
        match self {
            Self::Seconds => 3600,
            Self::Streams => 64,
            Self::Partitions => PARTITIONS_MAX as u64,
            Self::Entities => 10_000_000,
            Self::Batch => Limits::default().message_rows_max,
            Self::Strangers => 100_000,
            Self::Calls => 1_000_000,
        }
    }
}

impl Plan {
    /// A scenario with what the request sets.
    ///
    /// # Errors
    /// A setting is out of range, or does not belong to the scenario.
    pub(crate) fn of(scenario: Scenario, request: &Request) -> Result<Self, PlanError> {
        if let Some(flag) = Flag::ALL.into_iter().find(|f| f.of(request).is_some() && !scenario.has(*f)) {
            return Err(not_for(flag, scenario.name()));
        }
        Self::with(scenario, request)
    }

    /// Every scenario. `seconds` and `partitions` go to those that have a use for them.
    ///
    /// # Errors
    /// A setting is out of range, or means something else in each scenario.
    pub(crate) fn all(request: &Request) -> Result<Vec<Self>, PlanError> {
        let common = [Flag::Seconds, Flag::Partitions];
        if let Some(flag) = Flag::ALL.into_iter().find(|f| f.of(request).is_some() && !common.contains(f)) {
            return Err(not_for(flag, "all"));
        }
        Scenario::ALL.into_iter().map(|scenario| Self::with(scenario, request)).collect()
    }

    fn with(scenario: Scenario, request: &Request) -> Result<Self, PlanError> {
        let value = |flag: Flag| match flag.of(request) {
            Some(value) if !(1..=flag.most()).contains(&value) => {
                Err(PlanError::OutOfRange { flag: flag.name(), value, least: 1, most: flag.most() })
            }
            Some(value) => Ok(value),
            None => Ok(scenario.default_of(flag)),
        };
        let plan = Self {
            scenario,
            seconds: value(Flag::Seconds)?,
            streams: value(Flag::Streams)?,
            partitions: value(Flag::Partitions)?,
            entities: value(Flag::Entities)?,
            batch: value(Flag::Batch)?,
            strangers: value(Flag::Strangers)?,
            calls: value(Flag::Calls)?,
        };
        if scenario.has(Flag::Streams) && plan.streams > plan.entities {
            let Self { streams, entities, .. } = plan;
            return Err(PlanError::StreamsWithoutEntities { streams, entities });
        }
        Ok(plan)
    }
}

fn not_for(flag: Flag, scenario: &'static str) -> PlanError {
    let belongs_to: Vec<&str> =
        Scenario::ALL.into_iter().filter(|s| s.has(flag)).map(Scenario::name).collect();
    PlanError::NotForScenario { flag: flag.name(), scenario, belongs_to: belongs_to.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_set_comes_from_the_scenario() {
        let request = Request { streams: Some(4), ..Request::default() };
        let plan = Plan::of(Scenario::Ingest, &request).expect("a plan");
        assert_eq!((plan.streams, plan.partitions, plan.entities), (4, 2, 100_000));
        let plans = Plan::all(&Request { seconds: Some(3), ..Request::default() }).expect("plans");
        assert_eq!(plans.iter().map(|plan| plan.scenario).collect::<Vec<_>>(), Scenario::ALL);
        assert_eq!((plans[0].seconds, plans[3].entities), (3, 1_000_000));
    }

    #[test]
    fn a_setting_that_does_not_apply_is_named() {
        let refused =
            |scenario, request: Request| Plan::of(scenario, &request).expect_err("refused").to_string();
        let batch = Request { batch: Some(10), ..Request::default() };
        assert_eq!(
            refused(Scenario::Latency, batch),
            "--batch does not apply to `latency`; it belongs to: ingest, handshakes"
        );
        let seconds = Request { seconds: Some(10), ..Request::default() };
        assert_eq!(
            refused(Scenario::Memory, seconds),
            "--seconds does not apply to `memory`; it belongs to: ingest, latency, handshakes"
        );
        let entities = Request { entities: Some(10), ..Request::default() };
        let error = Plan::all(&entities).expect_err("refused").to_string();
        assert!(error.starts_with("--entities does not apply to `all`"), "{error}");
    }

    #[test]
    fn a_number_out_of_range_is_named_with_the_range() {
        let refused =
            |request: Request| Plan::of(Scenario::Ingest, &request).expect_err("refused").to_string();
        let batch = Request { batch: Some(65_537), ..Request::default() };
        assert_eq!(refused(batch), "--batch 65537 is out of range: 1 to 65536");
        let seconds = Request { seconds: Some(0), ..Request::default() };
        assert_eq!(refused(seconds), "--seconds 0 is out of range: 1 to 3600");
        let few = Request { entities: Some(3), streams: Some(4), ..Request::default() };
        assert_eq!(
            refused(few),
            "--streams 4 is more than --entities 3: each stream writes entities of its own"
        );
    }
}
