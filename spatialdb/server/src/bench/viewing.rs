//! One schedule, many viewers: what `fanout` and `crowd` have in common.
//!
//! Responsible for: the server, the writer, the span that is measured, and whether each delivery is accounted for.
//! Not responsible for: who sees what.

use std::{sync::Arc, time::Duration};

use spatialdb_proto::v1::World;
use tokio::time::sleep;

use super::{
    area::Area,
    error::BenchError,
    plan::Plan,
    procfs,
    pulse::{Pulse, Score, Sent},
    report::Report,
    server::ServerProcess,
    tools::Tools,
    walk::Walk,
    watch::{Clock, Told, Truth, Watch, Watched, Wish},
    world::WorldFiles,
};

const WARM_UP: Duration = Duration::from_secs(1);

/// The span whose delays count.
const MEASURED: usize = 0;

/// What came of it, once every replica was right.
pub(super) struct Viewing {
    durability: String,
    partitions: usize,
    seconds: f64,
    told: Told,
    server_cpu_seconds: f64,
    client_cpu_seconds: f64,
    published: u64,
    watched: Watched,
    sent: Sent,
    connections: usize,
}

/// Runs all entities of the walk on their schedule before viewers who each see an area.
///
/// # Errors
/// The server fails, a frame breaks a rule, or a replica is wrong in the end.
pub(super) async fn view(
    plan: &Plan,
    walk: &Arc<Walk>,
    areas: &[Area],
    time: Duration,
) -> Result<Viewing, BenchError> {
    let files = WorldFiles::of_walk(walk)?.with_sessions(areas.len() as u64)?;
    let server = ServerProcess::start(&files, plan.partitions)?;
    let World { durability, partitions, .. } = Tools::connect(&server).await?.world().await?;
    let clock = Clock::start();
    let before = Truth::new(walk.round(0).to_vec());
    let wishes: Vec<Wish> = areas.iter().map(|area| Wish::one(*area, plan.view_hz as f64)).collect();
    let mut watch = Watch::start(&server, &clock, "viewer", &wishes, &before).await?;
    let score = Score { walk: walk.clone(), places: 0..walk.round(0).len() };
    let mut pulse = Pulse::attach(&server, score, &clock).await?;
    pulse.start();
    go_on(&mut watch, &mut pulse, WARM_UP).await?;

    let read = |watch: &Watch| {
        let (server, client) = (server.cpu_seconds()?, procfs::cpu_seconds(std::process::id())?);
        Ok::<_, BenchError>((clock.origin.elapsed().as_secs_f64(), watch.told(), server, client))
    };
    clock.count(Some(MEASURED));
    let from = read(&watch)?;
    go_on(&mut watch, &mut pulse, time).await?;
    let to = read(&watch)?;
    clock.count(None);

    let sent = pulse.stop().await?.clone();
    let mut positions = walk.round(0).to_vec();
    sent.place(pulse.score(), &mut positions);
    let connections = watch.connections();
    let watched = watch.finish(Arc::new(Truth::new(positions))).await?;
    let published = deliveries(pulse.score(), sent.ticks, areas);
    if watched.told.rows > published {
        let found = watched.told.rows.to_string();
        return Err(BenchError::unexpected("the viewers", format!("at most {published} deliveries"), found));
    }
    drop(pulse);
    server.stop()?;
    Ok(Viewing {
        durability,
        partitions: partitions.len(),
        seconds: to.0 - from.0,
        told: to.1.since(&from.1),
        server_cpu_seconds: to.2 - from.2,
        client_cpu_seconds: to.3 - from.3,
        published,
        watched,
        sent,
        connections,
    })
}

async fn go_on(watch: &mut Watch, pulse: &mut Pulse, time: Duration) -> Result<(), BenchError> {
    tokio::select! {
        () = sleep(time) => Ok(()),
        error = watch.failed() => Err(error),
        error = pulse.failed() => Err(error),
    }
}

// What viewers who miss nothing are told: each update to each viewer in whose area it ends.
fn deliveries(score: &Score, ticks: u64, areas: &[Area]) -> u64 {
    let walk = &score.walk;
    let seen_by: Vec<Vec<u64>> = (0..walk.rounds())
        .map(|round| {
            let at = walk.round(round);
            let sees =
                |place: usize| areas.iter().filter(|area| area.contains(place, at[place])).count() as u64;
            (0..at.len()).map(sees).collect()
        })
        .collect();
    let of_tick = |tick| {
        let (mut places, step) = score.tick(tick);
        let seen_by = &seen_by[walk.round_after(step)];
        places.by_ref().map(|place| seen_by[place]).sum::<u64>()
    };
    (0..ticks).map(of_tick).sum()
}

impl Viewing {
    /// Rows of positions in the span.
    pub(super) const fn deliveries(&self) -> f64 {
        self.told.rows as f64
    }

    /// Rows a second.
    pub(super) fn deliveries_per_second(&self) -> f64 {
        self.deliveries() / self.seconds
    }

    /// Of the server, in the span.
    pub(super) const fn server_cpu_seconds(&self) -> f64 {
        self.server_cpu_seconds
    }

    /// Milliseconds from an update's schedule to its receipt.
    pub(super) fn delay_ms(&self, share: f64) -> f64 {
        self.watched.delays_us[MEASURED].at(share) as f64 / 1e3
    }

    /// A report that starts with these figures, followed by what any of them depends on.
    pub(super) fn report(&self, plan: &Plan, figures: &[(&'static str, f64, &'static str)]) -> Report {
        let report = Report::new(plan.scenario, self.durability.clone());
        let conflated = (self.published - self.watched.told.rows) as f64;
        let report =
            figures.iter().fold(report, |report, (metric, value, unit)| report.figure(metric, *value, unit));
        report
            .figure("conflated_percent", conflated * 100.0 / self.published.max(1) as f64, "%")
            .figure(
                "repeated_percent",
                self.watched.repeats as f64 * 100.0 / self.published.max(1) as f64,
                "%",
            )
            .figure("frames_per_second", (self.told.frames as f64 / self.seconds).round(), "1/s")
            .figure("rows_per_frame", self.deliveries() / (self.told.frames as f64).max(1.0), "1")
            .figure("server_cpu_seconds", self.server_cpu_seconds, "s")
            .figure("client_cpu_seconds", self.client_cpu_seconds, "s")
            .figure("writer_late_p99_ms", self.sent.late_us.at(0.99) as f64 / 1e3, "ms")
            .fact("connections", self.connections)
            .fact("entities", plan.entities)
            .fact("partitions", self.partitions)
            .fact("view_hz", plan.view_hz)
            .fact("seconds", self.seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_update_in_an_area_is_a_delivery() {
        let score = Score { walk: Arc::new(Walk::new(100)), places: 0..100 };
        let side_m = score.walk.side_m();
        let half = Area::Square { min: (0.0, 0.0), side_m: side_m / 2.0 };
        assert_eq!(deliveries(&score, 125, &[Area::Everything, Area::FirstIds(10)]), 250 + 30);
        let mut expected = 0;
        for tick in 0..125 {
            let (places, step) = score.tick(tick);
            for place in places {
                let at = score.at(place, step);
                expected += u64::from(at.x < side_m / 2.0 && at.y < side_m / 2.0);
            }
        }
        assert_eq!(deliveries(&score, 125, &[half]), expected);
    }
}
