//! `balancer`: what one pass of the balancer costs in a large world that moves. In this process, on one thread: one partition,
//! the issuer, and workers that do at once what they are asked.
//!
//! Before it measures, the balancer splits the world until each worker has a region. Then a fifth of all entities move each
//! second, there are two passes a second as in a server, and what a pass asks of the partition is timed too. At last regions
//! are split, and the halves handed over, one after the other: what that asks of the partition, listing what the new owner got
//! and telling it so.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use spatialdb_core::{
    Batch, CreateRows, Micros, Op, Outbox, Partition, PartitionMap, PlacedRows, PositionWrites, Role,
    WriteMode,
    authority::{
        issuer::{Change, Issuer, IssuerOutbox, Loads, Notice, Patience, WorkerInfo},
        layers::{Layer, Layers},
        leases::Seen,
    },
};
use spatialdb_types::{ComponentId, EntityId, Limits, PartitionId, Position, RegionId, Seq, SessionId};

use super::{
    BenchError, Plan, Report,
    percentiles::Percentiles,
    walk::{CELL_M, Walk},
    world::SPACE,
};

const PARTITION: PartitionId = PartitionId(0);
const REGIONS: u64 = 64;
const PASSES_PER_SECOND: u64 = 2;
/// Entities that move in a second: one in so many.
const MOVES_ONE_IN: usize = 5;
const ROWS_OF_A_BATCH: usize = 4000;
const PASSES_TO_SPLIT_MAX: u64 = 2000;
const SPLITS: usize = 50;

/// A partition, the issuer, and its workers.
struct Rig {
    partition: Partition,
    issuer: Issuer,
    now: Micros,
}

/// What one pass cost.
struct Pass {
    /// Adding up the load, in the partition.
    sums: Duration,
    /// Deciding, in the issuer.
    decides: Duration,
    /// Doing what came of it, in the partition: mostly nothing.
    obeys: Duration,
}

/// Runs the scenario.
///
/// # Errors
/// The world is not split as it should be, or the load is not what there is.
pub(super) fn run(plan: &Plan) -> Result<Report, BenchError> {
    let walk = Walk::new(plan.entities as usize);
    let mut rig = Rig::new(&walk)?;
    rig.split()?;
    let mut passes = Vec::new();
    for n in 0..plan.seconds * PASSES_PER_SECOND {
        rig.move_some(&walk, n)?;
        passes.push(rig.pass(plan.entities)?);
    }
    let regions = rig.regions();
    rig.make_room()?;
    let splits = (0..SPLITS).map(|n| rig.split_one(n)).collect::<Result<Vec<_>, _>>()?;
    let splits = splits.iter().map(|time| time.as_micros() as u64).collect();
    let splits =
        Percentiles::of(splits).ok_or_else(|| BenchError::unexpected("balancer", "splits", "none"))?;
    let times = |of: fn(&Pass) -> Duration| {
        let micros = passes.iter().map(|pass| of(pass).as_micros() as u64).collect();
        Percentiles::of(micros).ok_or_else(|| BenchError::unexpected("balancer", "passes", "none"))
    };
    let ms = |micros: u64| micros as f64 / 1e3;
    let (pass, sums) = (times(|pass| pass.sums + pass.decides)?, times(|pass| pass.sums)?);
    let obeys = times(|pass| pass.obeys)?;
    Ok(Report::new(plan.scenario, "memory")
        .figure("pass_ms", ms(pass.at(0.99)), "ms")
        .figure("pass_ms_median", ms(pass.at(0.5)), "ms")
        .figure("partition_ms", ms(sums.at(0.99)), "ms")
        .figure("partition_ms_median", ms(sums.at(0.5)), "ms")
        .figure("orders_ms_max", ms(obeys.max()), "ms")
        .figure("split_ms", ms(splits.at(0.99)), "ms")
        .figure("split_ms_median", ms(splits.at(0.5)), "ms")
        .figure("regions", regions as f64, "1")
        .fact("passes", pass.count())
        .fact("moves_per_second", plan.entities / MOVES_ONE_IN as u64)
        .fact("entities", plan.entities))
}

impl Rig {
    /// A world where the walk starts, and nobody owns anything.
    fn new(walk: &Walk) -> Result<Self, BenchError> {
        let limits = Limits::default();
        let placed: Vec<Position> =
            walk.round(0).iter().map(|point| Position { space: SPACE, point: *point }).collect();
        let count = placed.len() as u32;
        let layer = Layer {
            // A quarter more than each would have if all had the same.
            load_max: (u64::from(count) * 5 / 4 / REGIONS).max(1),
            regions_max: REGIONS as u32,
            ..Layer::new("all", "bench", vec![ComponentId::POSITION])
        };
        let refused =
            |error: spatialdb_types::Error| BenchError::unexpected("layers", "a layer", error.detail);
        let layers = Layers::new(vec![layer], &[SPACE], &limits, |id| id.to_string()).map_err(refused)?;
        let layers = Arc::new(layers);
        let map = Arc::new(PartitionMap::new(1, CELL_M, &placed));
        let mut partition = Partition::new(PARTITION, map, limits.clone()).with_layers(&layers);
        partition.reserve(placed.len());
        let rows = CreateRows {
            rows: (0..count).collect(),
            entities: (1..=u64::from(count)).map(EntityId).collect(),
            positions: PlacedRows { index: (0..count).collect(), positions: placed },
            columns: Vec::new(),
        };
        let doubled = |ids: Vec<EntityId>| BenchError::unexpected("balancer", "new ids", format!("{ids:?}"));
        partition.load(&rows).map_err(doubled)?;
        let issuer = Issuer::new(&layers, &[SPACE], [PARTITION], Patience::default(), &limits);
        let mut rig = Self { partition, issuer, now: 0 };
        let mut outbox = IssuerOutbox::default();
        rig.issuer.partition_started(PARTITION, &mut outbox);
        for worker in 1..=REGIONS as u32 {
            let info = WorkerInfo {
                worker_type: "bench".to_owned(),
                name: format!("bench-{worker}"),
                regions_max: u32::MAX,
            };
            rig.issuer.attach(SessionId(worker), info, 0, &mut outbox);
        }
        rig.obey(outbox);
        Ok(rig)
    }

    /// Passes until every worker could have a region.
    fn split(&mut self) -> Result<(), BenchError> {
        for _ in 0..PASSES_TO_SPLIT_MAX {
            if self.regions() == REGIONS {
                return Ok(());
            }
            let (loads, outbox) = (self.loads(), &mut IssuerOutbox::default());
            self.issuer.balance(&loads, self.now, outbox);
            self.obey(std::mem::take(outbox));
            self.tick();
        }
        let found = format!("{} after {PASSES_TO_SPLIT_MAX} passes", self.regions());
        Err(BenchError::unexpected("balancer", format!("{REGIONS} regions"), found))
    }

    /// What moves in the time of a pass.
    fn move_some(&mut self, walk: &Walk, pass: u64) -> Result<(), BenchError> {
        let stride = MOVES_ONE_IN * PASSES_PER_SECOND as usize;
        let points = walk.round(walk.round_after(pass / stride as u64 + 1));
        let movers: Vec<usize> = (pass as usize % stride..points.len()).step_by(stride).collect();
        let mut outbox = Outbox::default();
        for chunk in movers.chunks(ROWS_OF_A_BATCH) {
            let along =
                |of: fn(&spatialdb_types::Point3) -> f64| chunk.iter().map(|i| of(&points[*i])).collect();
            let writes = PositionWrites {
                column: 0,
                mode: WriteMode::Update,
                space: SPACE,
                rows: (0..chunk.len() as u32).collect(),
                entities: chunk.iter().map(|i| EntityId(*i as u64 + 1)).collect(),
                x: along(|p| p.x),
                y: along(|p| p.y),
                z: along(|p| p.z),
            };
            let ops = vec![Op::Positions(writes)];
            let (session, seen) = (SessionId(0), Seen::default());
            self.partition.apply(&Batch { session, seen, role: Role::Server, seq: Seq(1), ops }, &mut outbox);
        }
        self.partition.publish(self.now, &mut outbox);
        let refused = outbox.sessions.iter().map(|(_, told)| told.outcome.rejections.len()).sum::<usize>();
        if refused > 0 {
            return Err(BenchError::unexpected("the core", "every move", format!("{refused} refused")));
        }
        Ok(())
    }

    /// Makes one of two regions, so that there may be another one.
    fn make_room(&mut self) -> Result<(), BenchError> {
        let regions = self.region_ids();
        let pairs = regions.iter().flat_map(|gone| regions.iter().map(move |keep| (*gone, *keep)));
        for (gone, keep) in pairs {
            let mut outbox = IssuerOutbox::default();
            if self.issuer.merge(gone, keep, self.now, &mut outbox).is_ok() {
                self.obey(outbox);
                return Ok(());
            }
        }
        Err(BenchError::unexpected("the issuer", "two halves of one cut", "none"))
    }

    /// Splits a region in two and hands one half over, then makes it whole again. Returns what the first took in the partition.
    fn split_one(&mut self, n: usize) -> Result<Duration, BenchError> {
        let refused =
            |error: spatialdb_types::Error| BenchError::unexpected("the issuer", "a split", error.detail);
        let (loads, mut outbox) = (self.loads(), IssuerOutbox::default());
        let placed = |change| match change {
            Change::Region(region) if region.space.is_some() => Some(region.region),
            _ => None,
        };
        let regions: Vec<RegionId> = self.issuer.keyframe().into_iter().filter_map(placed).collect();
        let region = regions[n % regions.len()];
        let new = self.issuer.split_by_load(region, &loads, self.now, &mut outbox).map_err(refused)?;
        let obeys = self.obey(outbox);
        let (start, mut told) = (Instant::now(), Outbox::default());
        self.partition.publish(self.now, &mut told);
        let time = obeys + start.elapsed();
        let words = told.sessions.iter().filter_map(|(_, told)| told.authority.as_ref());
        if words.map(|news| news.changes.len()).sum::<usize>() == 0 {
            return Err(BenchError::unexpected("a new owner", "word of what it got", "none"));
        }
        let mut outbox = IssuerOutbox::default();
        self.issuer.merge(new, region, self.now, &mut outbox).map_err(refused)?;
        self.obey(outbox);
        self.partition.publish(self.now, &mut Outbox::default());
        Ok(time)
    }

    fn pass(&mut self, entities: u64) -> Result<Pass, BenchError> {
        self.tick();
        let start = Instant::now();
        let loads = self.loads();
        let sums = start.elapsed();
        let mut outbox = IssuerOutbox::default();
        self.issuer.balance(&loads, self.now, &mut outbox);
        let decides = start.elapsed() - sums;
        let counted: u64 = loads.squares.values().flatten().map(|square| square.load).sum();
        if counted != entities {
            return Err(BenchError::unexpected("the load", entities.to_string(), counted.to_string()));
        }
        Ok(Pass { sums, decides, obeys: self.obey(outbox) })
    }

    fn loads(&mut self) -> Loads {
        let mut loads = Loads::default();
        if self.partition.add_load_to(&mut loads) {
            self.partition.coarsen_load(self.partition.load_doublings() + 1);
        }
        loads
    }

    /// Time passes, and everybody is heard.
    fn tick(&mut self) {
        self.now += 1_000_000 / PASSES_PER_SECOND;
        let mut outbox = IssuerOutbox::default();
        for worker in 1..=REGIONS as u32 {
            self.issuer.heard(SessionId(worker), self.now, &mut outbox);
        }
        self.issuer.tick(self.now, &mut outbox);
        self.obey(outbox);
    }

    /// The partition and the workers do what they are told, until nothing more comes of it. Returns the partition's time.
    fn obey(&mut self, mut outbox: IssuerOutbox) -> Duration {
        let mut time = Duration::ZERO;
        while !outbox.partitions.is_empty() || !outbox.sessions.is_empty() {
            let IssuerOutbox { partitions, sessions, .. } = std::mem::take(&mut outbox);
            let (start, mut told) = (Instant::now(), Outbox::default());
            partitions.iter().for_each(|(_, order)| self.partition.order(order, &mut told));
            time += start.elapsed();
            for answer in told.authority {
                self.issuer.answer(PARTITION, answer, self.now, &mut outbox);
            }
            for (session, notice) in sessions {
                match notice {
                    Notice::Gained(lease) => self.issuer.seen(session, lease.epoch, self.now, &mut outbox),
                    Notice::Warm(lease) => self.issuer.warmed(session, lease.region, self.now, &mut outbox),
                    Notice::LossImminent(region, epoch, _) => {
                        self.issuer.flushed(session, region, epoch, self.now, &mut outbox);
                    }
                    _ => {}
                }
            }
        }
        time
    }

    fn regions(&self) -> u64 {
        self.region_ids().len() as u64
    }

    fn region_ids(&self) -> Vec<RegionId> {
        let id = |change| if let Change::Region(region) = change { Some(region.region) } else { None };
        self.issuer.keyframe().into_iter().filter_map(id).collect()
    }
}
