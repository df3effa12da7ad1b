//! `fences`: what an ingest loses while tens of thousands of small balls are watched.
//!
//! Responsible for: the balls, how many moves cross their borders, and the comparison. Not responsible for: the ingest
//! (`ingest`), its viewers (`watch`).
//!
//! Two servers with the same world, one with fences, take turns: the speed of a shared machine drifts more within a
//! minute than what is measured. The server whose turn it is not has nothing to do.

use std::{sync::Arc, time::Duration};

use spatialdb_types::{Limits, Point3};

use super::{
    BenchError, Plan, Report,
    area::{Area, Squares},
    ingest::{Ingest, Onlooker, Ownership, Setup, Span},
    percentiles::median,
    random::Random,
    walk::Walk,
    watch::{Clock, Wish},
};

/// Two or three entities are in each.
const RADIUS_M: f64 = 30.0;

const CROSSINGS_LEAST_PERCENT: f64 = 20.0;

/// Pairs of a span without fences and one with them.
const PAIRS: u32 = 5;

/// At the start of each span: what was idle wakes up.
const RAMP: Duration = Duration::from_millis(200);

const WARM_UP: Duration = Duration::from_secs(1);

/// Runs the scenario.
///
/// # Errors
/// A server fails, too few moves cross a border, or the results are wrong.
pub(super) async fn run(plan: &Plan) -> Result<Report, BenchError> {
    let walk = Arc::new(Walk::flat(plan.entities as usize));
    let balls = balls(&walk, plan.views);
    let crossing_percent = crossing_percent(&walk, &balls)?;
    let setup = Setup { plan, walk, reserved: 0, onlooker: Onlooker::Everything, ownership: Ownership::Open };
    let mut free = Ingest::start(&setup, Ok).await?;
    let mut fenced = Ingest::start(&setup, Ok).await?;
    let rate_hz = plan.view_hz as f64;
    let wish = |balls: &[Area]| Wish { views: balls.iter().map(|ball| (*ball, rate_hz)).collect() };
    let wishes: Vec<Wish> = balls.chunks(Limits::default().session_views_max as usize).map(wish).collect();
    fenced.watch(&Clock::start(), "fence", &wishes).await?;
    let span = Duration::from_secs(plan.seconds) / (2 * PAIRS);
    let (mut without, mut with, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    run_alone(&mut free, WARM_UP).await?;
    run_alone(&mut fenced, WARM_UP).await?;
    for _ in 0..PAIRS {
        without.push(run_alone(&mut free, span).await?);
        with.push(run_alone(&mut fenced, span).await?);
        let last = without.len() - 1;
        ratios.push(with[last].rows_per_second() / without[last].rows_per_second());
    }
    free.end(|_| ()).await?;
    let ended = fenced.end(|_| ()).await?;
    let of = |spans: &[Span], value: fn(&Span) -> f64| median(spans.iter().map(value).collect());
    Ok(Report::new(plan.scenario, ended.durability)
        .figure("ratio", median(ratios), "1")
        .figure("updates_per_second", of(&with, Span::rows_per_second).round(), "1/s")
        .figure("free_updates_per_second", of(&without, Span::rows_per_second).round(), "1/s")
        .figure("server_cpu_ns_per_update", of(&with, Span::server_cpu_ns_per_update), "ns")
        .figure("free_server_cpu_ns_per_update", of(&without, Span::server_cpu_ns_per_update), "ns")
        .figure("crossing_percent", crossing_percent, "%")
        .figure("view_rows_per_second", of(&with, |span| span.told.rows as f64 / span.seconds).round(), "1/s")
        .figure("view_frames_per_second", of(&with, |s| s.told.frames as f64 / s.seconds).round(), "1/s")
        .fact("views", plan.views)
        .fact("sessions", wishes.len())
        .fact("radius_m", RADIUS_M)
        .fact("view_hz", plan.view_hz)
        .fact("entities", plan.entities)
        .fact("streams", plan.streams)
        .fact("partitions", plan.partitions)
        .fact("batch", plan.batch)
        .fact("pairs", PAIRS))
}

/// One of two that take turns.
///
/// # Errors
/// A writer or viewer failed.
pub(super) async fn run_alone(ingest: &mut Ingest, time: Duration) -> Result<Span, BenchError> {
    ingest.run_for(RAMP).await?;
    let span = ingest.run_for(time).await?;
    ingest.pause().await?;
    Ok(span)
}

fn balls(walk: &Walk, views: u64) -> Vec<Area> {
    let mut random = Random::new(views);
    let mut along = || random.unit() * walk.side_m();
    let mut ball = |_| Area::Ball { center: Point3::new(along(), along(), 0.0), radius_m: RADIUS_M };
    (0..views).map(&mut ball).collect()
}

// How many moves enter or leave at least one ball.
fn crossing_percent(walk: &Walk, balls: &[Area]) -> Result<f64, BenchError> {
    let mut near = Squares::over(walk.round(0));
    for (number, ball) in (0..).zip(balls) {
        if let Some(bounds) = ball.bounds() {
            near.put(number, &bounds);
        }
    }
    let around = |place: usize, at: Point3| {
        let balls = near.near(at).iter().filter(move |ball| balls[**ball as usize].contains(place, at));
        balls.collect::<Vec<_>>()
    };
    let (mut moves, mut crossings) = (0_u64, 0_u64);
    for round in 0..walk.rounds() - 1 {
        for (place, (from, to)) in walk.round(round).iter().zip(walk.round(round + 1)).enumerate() {
            moves += 1;
            crossings += u64::from(around(place, *from) != around(place, *to));
        }
    }
    let percent = crossings as f64 * 100.0 / moves.max(1) as f64;
    if percent < CROSSINGS_LEAST_PERCENT {
        let (what, least_percent) = ("cross the border of a view", CROSSINGS_LEAST_PERCENT);
        return Err(BenchError::TooEasy { what, percent, least_percent });
    }
    Ok(percent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crossings_are_those_of_brute_force() {
        let walk = Walk::flat(2000);
        let balls = balls(&walk, 600);
        let (mut moves, mut crossings) = (0, 0);
        for round in 0..walk.rounds() - 1 {
            for (place, (from, to)) in walk.round(round).iter().zip(walk.round(round + 1)).enumerate() {
                moves += 1;
                let is_crossed = |ball: &Area| ball.contains(place, *from) != ball.contains(place, *to);
                crossings += u32::from(balls.iter().any(is_crossed));
            }
        }
        let expected = f64::from(crossings) * 100.0 / f64::from(moves);
        let found = crossing_percent(&walk, &balls).expect("enough");
        assert!((found - expected).abs() < 1e-9, "{found} {expected}");
        assert!(crossing_percent(&walk, &balls[..20]).is_err());
    }
}
