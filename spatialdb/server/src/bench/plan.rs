//! What to measure: scenarios, their defaults, and which settings belong to which.

use std::fmt;

use spatialdb_types::Limits;

use super::ingest::LAYERED_STREAMS_MAX;
use crate::config::PARTITIONS_MAX;

/// Rows of a message of several streams that write DURABLE components.
const DURABLE_BATCH: u64 = 64;

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
    /// The same shown to many.
    Fanout,
    /// Many viewers, each with a part of the world of its own.
    Crowd,
    /// Tens of thousands of small views over an ingest.
    Fences,
    /// Boxes in a large world, asked once each.
    Query,
    /// A viewer who does not read.
    Slow,
    /// Ingests of ever larger worlds.
    Scaling,
    /// Passes of the balancer over a large world.
    Balancer,
    /// A region goes from one worker to another, again and again.
    Handover,
    /// The owner of a region is killed, again and again.
    Failover,
    /// All workers are restarted, one by one.
    Rolling,
    /// A crowd gathers in one region.
    CrowdSplit,
    /// Nothing at all: what the machine adds to any time.
    Machine,
    /// Writes that are to be on disk.
    Durable,
    /// The server is killed and started again.
    Restart,
    /// Snapshots of a large world under load.
    LiveSnapshot,
    /// Bytes on disk for a byte of a DURABLE component.
    Amplification,
}

/// What the user set; the rest comes from the scenario.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Request {
    /// Seconds to measure.
    pub(crate) seconds: Option<u64>,
    /// Sessions that write.
    pub(crate) streams: Option<u64>,
    /// Partitions of the server; 0: as many as it finds right.
    pub(crate) partitions: Option<u64>,
    /// Entities of the world.
    pub(crate) entities: Option<u64>,
    /// Rows of a message.
    pub(crate) batch: Option<u64>,
    /// Calls of strangers a second.
    pub(crate) strangers: Option<u64>,
    /// Calls that a stranger's connection is used for.
    pub(crate) calls: Option<u64>,
    /// Views besides the load.
    pub(crate) views: Option<u64>,
    /// Regions on a side of the grid of each stream's layer.
    pub(crate) layers: Option<u64>,
    /// Sessions that look on.
    pub(crate) viewers: Option<u64>,
    /// Frames a second that each of them asks for.
    pub(crate) view_hz: Option<u64>,
    /// The load in percent of the most that the server takes.
    pub(crate) load_percent: Option<u64>,
    /// The load in rows a second.
    pub(crate) rate: Option<u64>,
    /// 1: in a data directory.
    pub(crate) data_dir: Option<u64>,
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
    /// Partitions of the server; 0: as many as it finds right.
    pub(crate) partitions: u64,
    /// Entities of the world.
    pub(crate) entities: u64,
    /// Rows of a message.
    pub(crate) batch: u64,
    /// Calls of strangers a second.
    pub(crate) strangers: u64,
    /// Calls that a stranger's connection is used for.
    pub(crate) calls: u64,
    /// Views besides the load; 0: none.
    pub(crate) views: u64,
    /// Regions on a side of the grid of each stream's layer; 0: the world is open.
    pub(crate) layers: u64,
    /// Sessions that look on; 0: several numbers of them, one after the other.
    pub(crate) viewers: u64,
    /// Frames a second that each of them asks for; 0: as fast as the server publishes.
    pub(crate) view_hz: u64,
    /// The load in percent of the most that the server takes; 0: no load, or `rate`.
    pub(crate) load_percent: u64,
    /// The load in rows a second; 0: no load, or `load_percent`.
    pub(crate) rate: u64,
    /// 1: in a data directory.
    pub(crate) data_dir: u64,
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
    /// There are not enough kinds of entities for a layer for each stream.
    #[error("--streams {streams} is more than {most}, as many as may have layers of their own")]
    StreamsWithLayers {
        /// Streams.
        streams: u64,
        /// As many may be.
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
    /// Every scenario.
    pub(crate) const ALL: [Self; 21] = [
        Self::Machine,
        Self::Ingest,
        Self::Latency,
        Self::Launch,
        Self::Memory,
        Self::Handshakes,
        Self::Fanout,
        Self::Crowd,
        Self::Fences,
        Self::Query,
        Self::Slow,
        Self::Scaling,
        Self::Balancer,
        Self::Handover,
        Self::Failover,
        Self::Rolling,
        Self::CrowdSplit,
        Self::Durable,
        Self::Restart,
        Self::LiveSnapshot,
        Self::Amplification,
    ];

    /// Its name on the command line and in results.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Latency => "latency",
            Self::Launch => "launch",
            Self::Memory => "memory",
            Self::Handshakes => "handshakes",
            Self::Fanout => "fanout",
            Self::Crowd => "crowd",
            Self::Fences => "fences",
            Self::Query => "query",
            Self::Slow => "slow",
            Self::Scaling => "scaling",
            Self::Balancer => "balancer",
            Self::Handover => "handover",
            Self::Failover => "failover",
            Self::Rolling => "rolling",
            Self::CrowdSplit => "crowd-split",
            Self::Machine => "machine",
            Self::Durable => "durable",
            Self::Restart => "restart",
            Self::LiveSnapshot => "live-snapshot",
            Self::Amplification => "amplification",
        }
    }

    /// Whether it takes minutes, and so is run only by its name.
    const fn is_long(self) -> bool {
        matches!(self, Self::Slow | Self::Scaling | Self::CrowdSplit)
    }

    const fn has(self, flag: Flag) -> bool {
        match flag {
            Flag::Partitions => !matches!(self, Self::Balancer | Self::Machine),
            Flag::Entities => !matches!(self, Self::Scaling | Self::Machine),
            Flag::Seconds => !matches!(
                self,
                Self::Launch | Self::Memory | Self::Handover | Self::Failover | Self::Rolling | Self::Restart
            ),
            Flag::Streams | Flag::Batch => {
                matches!(
                    self,
                    Self::Ingest
                        | Self::Handshakes
                        | Self::Fences
                        | Self::Slow
                        | Self::Scaling
                        | Self::Durable
                        | Self::LiveSnapshot
                        | Self::Amplification
                )
            }
            Flag::Strangers | Flag::Calls => matches!(self, Self::Handshakes),
            Flag::Views => matches!(self, Self::Ingest | Self::Fences),
            Flag::Layers | Flag::DataDir => matches!(self, Self::Ingest),
            Flag::Viewers => matches!(self, Self::Fanout | Self::Crowd),
            Flag::ViewHz => matches!(self, Self::Fanout | Self::Crowd | Self::Fences),
            Flag::Load | Flag::Rate => matches!(self, Self::Latency),
        }
    }

    const fn default_of(self, flag: Flag) -> u64 {
        match (flag, self) {
            (Flag::Seconds, Self::Handshakes | Self::Fences | Self::Scaling) => 20,
            (Flag::Seconds, Self::Fanout | Self::Query) => 12,
            (Flag::Seconds, Self::Slow | Self::CrowdSplit) => 60,
            (Flag::Seconds, Self::LiveSnapshot) => 4,
            (Flag::Streams, Self::Amplification) => 64,
            (Flag::Batch, Self::Amplification) => DURABLE_BATCH,
            (Flag::Seconds, Self::Balancer) => 50,
            (Flag::Seconds, _) => 10,
            (Flag::Strangers, _) => 2200,
            (Flag::Calls, _) => 16,
            (Flag::Partitions, Self::Fanout) => 0,
            (Flag::Streams | Flag::Batch, Self::Durable) => 1,
            (Flag::Streams | Flag::Partitions, _) => 2,
            (Flag::Batch, _) => 4000,
            (Flag::Views, Self::Fences) => 23_000,
            (Flag::Viewers, Self::Crowd) => 1000,
            (Flag::Views | Flag::Layers | Flag::Viewers | Flag::ViewHz, _) => 0,
            (Flag::Load | Flag::Rate | Flag::DataDir, _) => 0,
            (Flag::Entities, Self::Latency | Self::Durable | Self::Amplification) => 10_000,
            (
                Flag::Entities,
                Self::Launch
                | Self::Memory
                | Self::Query
                | Self::Balancer
                | Self::Restart
                | Self::LiveSnapshot,
            ) => 1_000_000,
            (
                Flag::Entities,
                Self::Fanout | Self::Crowd | Self::Handover | Self::Failover | Self::Rolling,
            ) => 1000,
            (Flag::Entities, Self::CrowdSplit) => 5000,
            (Flag::Entities, _) => 100_000,
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
    Views,
    Layers,
    Viewers,
    ViewHz,
    Load,
    Rate,
    DataDir,
}

impl Flag {
    const ALL: [Self; 14] = [
        Self::Seconds,
        Self::Streams,
        Self::Partitions,
        Self::Entities,
        Self::Batch,
        Self::Strangers,
        Self::Calls,
        Self::Views,
        Self::Layers,
        Self::Viewers,
        Self::ViewHz,
        Self::Load,
        Self::Rate,
        Self::DataDir,
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
            Self::Views => "views",
            Self::Layers => "layers",
            Self::Viewers => "viewers",
            Self::ViewHz => "view-hz",
            Self::Load => "load",
            Self::Rate => "rate",
            Self::DataDir => "data-dir",
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
            Self::Views => request.views,
            Self::Layers => request.layers,
            Self::Viewers => request.viewers,
            Self::ViewHz => request.view_hz,
            Self::Load => request.load_percent,
            Self::Rate => request.rate,
            Self::DataDir => request.data_dir,
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
            // In sessions that a server has room for, and all of one principal.
            Self::Views => 60_000,
            Self::Layers => 8,
            Self::Viewers => 100_000,
            Self::ViewHz => Limits::default().view_rate_hz_max,
            Self::Load => 100,
            Self::Rate => 1_000_000_000,
            Self::DataDir => 1,
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

    /// Every scenario that does not take minutes. `seconds` and `partitions` go to those that have a use for them.
    ///
    /// # Errors
    /// A setting is out of range, or means something else in each scenario.
    pub(crate) fn all(request: &Request) -> Result<Vec<Self>, PlanError> {
        let common = [Flag::Seconds, Flag::Partitions];
        if let Some(flag) = Flag::ALL.into_iter().find(|f| f.of(request).is_some() && !common.contains(f)) {
            return Err(not_for(flag, "all"));
        }
        let all = Scenario::ALL.into_iter().filter(|scenario| !scenario.is_long());
        all.map(|scenario| Self::with(scenario, request)).collect()
    }

    /// Whether the world is in a data directory.
    pub(crate) const fn is_kept(&self) -> bool {
        self.data_dir > 0
    }

    /// Whether others write meanwhile.
    pub(crate) const fn has_load(&self) -> bool {
        self.load_percent > 0 || self.rate > 0
    }

    fn with(scenario: Scenario, request: &Request) -> Result<Self, PlanError> {
        let value = |flag: Flag| match flag.of(request) {
            Some(value) if !(1..=flag.most()).contains(&value) => {
                Err(PlanError::OutOfRange { flag: flag.name(), value, least: 1, most: flag.most() })
            }
            Some(value) => Ok(value),
            None => Ok(scenario.default_of(flag)),
        };
        let mut plan = Self {
            scenario,
            seconds: value(Flag::Seconds)?,
            streams: value(Flag::Streams)?,
            partitions: value(Flag::Partitions)?,
            entities: value(Flag::Entities)?,
            batch: value(Flag::Batch)?,
            strangers: value(Flag::Strangers)?,
            calls: value(Flag::Calls)?,
            views: value(Flag::Views)?,
            layers: value(Flag::Layers)?,
            viewers: value(Flag::Viewers)?,
            view_hz: value(Flag::ViewHz)?,
            load_percent: value(Flag::Load)?,
            rate: value(Flag::Rate)?,
            data_dir: value(Flag::DataDir)?,
        };
        if scenario == Scenario::Durable && plan.streams > 1 && request.batch.is_none() {
            plan.batch = DURABLE_BATCH;
        }
        if plan.has_load() && request.entities.is_none() {
            plan.entities = Scenario::Ingest.default_of(Flag::Entities);
        }
        if plan.layers > 0 && plan.streams > LAYERED_STREAMS_MAX {
            return Err(PlanError::StreamsWithLayers { streams: plan.streams, most: LAYERED_STREAMS_MAX });
        }
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
        let names: Vec<&str> = plans.iter().map(|plan| plan.scenario.name()).collect();
        let expected = [
            "machine",
            "ingest",
            "latency",
            "launch",
            "memory",
            "handshakes",
            "fanout",
            "crowd",
            "fences",
            "query",
            "balancer",
            "handover",
            "failover",
            "rolling",
            "durable",
            "restart",
            "live-snapshot",
            "amplification",
        ];
        assert_eq!(names, expected);
        assert_eq!((plans[0].seconds, plans[4].entities), (3, 1_000_000));
        let plan = Plan::of(Scenario::Fences, &Request::default()).expect("a plan");
        assert_eq!((plan.views, plan.viewers, plan.view_hz, plan.entities), (23_000, 0, 0, 100_000));
        let plan = Plan::of(Scenario::Slow, &Request::default()).expect("a plan");
        assert_eq!((plan.seconds, plan.streams), (60, 2));
    }

    #[test]
    fn a_load_takes_a_larger_world() {
        let of = |request: Request| Plan::of(Scenario::Latency, &request).expect("a plan");
        let calm = of(Request::default());
        assert_eq!((calm.has_load(), calm.entities), (false, 10_000));
        let laden = of(Request { load_percent: Some(50), ..Request::default() });
        assert_eq!((laden.has_load(), laden.entities, laden.load_percent), (true, 100_000, 50));
        let small = of(Request { rate: Some(5000), entities: Some(500), ..Request::default() });
        assert_eq!((small.has_load(), small.entities, small.rate), (true, 500, 5000));
    }

    #[test]
    fn a_setting_that_does_not_apply_is_named() {
        let refused =
            |scenario, request: Request| Plan::of(scenario, &request).expect_err("refused").to_string();
        let batch = Request { batch: Some(10), ..Request::default() };
        assert_eq!(
            refused(Scenario::Latency, batch),
            "--batch does not apply to `latency`; it belongs to: ingest, handshakes, fences, slow, scaling, durable, \
             live-snapshot, amplification"
        );
        let seconds = Request { seconds: Some(10), ..Request::default() };
        assert_eq!(
            refused(Scenario::Memory, seconds),
            "--seconds does not apply to `memory`; it belongs to: machine, ingest, latency, handshakes, fanout, crowd, \
             fences, query, slow, scaling, balancer, crowd-split, durable, live-snapshot, amplification"
        );
        let layers = Request { layers: Some(4), streams: Some(4), ..Request::default() };
        assert_eq!(
            refused(Scenario::Ingest, layers),
            "--streams 4 is more than 3, as many as may have layers of their own"
        );
        let viewers = Request { viewers: Some(5), ..Request::default() };
        assert_eq!(
            refused(Scenario::Fences, viewers),
            "--viewers does not apply to `fences`; it belongs to: fanout, crowd"
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
