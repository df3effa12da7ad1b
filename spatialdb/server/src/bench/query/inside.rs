//! Asking a partition in this process, on one thread: what the index can do.

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use spatialdb_core::{Constraint, CreateRows, Partition, PartitionMap, PlacedRows, Query, QueryAnswer};
use spatialdb_types::{Box3, EntityId, Limits, PartitionId, Point3, Position};

use super::{
    super::{area::Area, error::BenchError, procfs, walk::CELL_M, world::SPACE},
    Answered, Exam, Tally,
};

/// Loads a partition with the whole world and asks for that long. Each question is checked entity by entity once; while
/// the time runs it is the number of entities that is compared.
///
/// # Errors
/// An answer is wrong.
pub(super) fn run(exam: &Exam, time: Duration) -> Result<Answered, BenchError> {
    let partition = loaded(exam.truth.positions())?;
    let queries: Vec<Query> = exam.questions.iter().map(|question| query(&question.area)).collect();
    for (n, query) in (0..).zip(&queries) {
        check(exam, n, &partition.query(query))?;
    }
    let cpu_seconds = || procfs::cpu_seconds(std::process::id());
    let (started, cpu_before) = (Instant::now(), cpu_seconds()?);
    let mut count = 0;
    while started.elapsed() < time {
        for (query, question) in queries.iter().zip(&exam.questions) {
            let answer = black_box(partition.query(query));
            let (found, expected) = (answer.len() as u64, question.expected.hits);
            if (found, answer.match_count) != (expected, expected) {
                return Err(BenchError::unexpected("the core", expected.to_string(), found.to_string()));
            }
        }
        count += queries.len() as u64;
    }
    let seconds = started.elapsed().as_secs_f64();
    Ok(Answered { count, seconds, cpu_seconds: cpu_seconds()? - cpu_before })
}

fn check(exam: &Exam, n: u64, answer: &QueryAnswer) -> Result<(), BenchError> {
    let mut tally = Tally::default();
    for hit in answer.hits() {
        // Nowhere is no place of an entity.
        let at = hit.position().map_or(Point3::new(f64::NAN, 0.0, 0.0), |(at, _)| at.point);
        exam.hit(n, &mut tally, hit.entity().0, at)?;
    }
    exam.check(n, tally, answer.match_count)
}

fn loaded(positions: &[Point3]) -> Result<Partition, BenchError> {
    let count = positions.len() as u32;
    let placed: Vec<Position> = positions.iter().map(|p| Position { space: SPACE, point: *p }).collect();
    let map = Arc::new(PartitionMap::new(1, CELL_M, &placed));
    let rows = CreateRows {
        rows: (0..count).collect(),
        entities: (1..=u64::from(count)).map(EntityId).collect(),
        positions: PlacedRows { index: (0..count).collect(), positions: placed },
        columns: Vec::new(),
    };
    let mut partition = Partition::new(PartitionId(0), map, Limits::default());
    partition.reserve(positions.len());
    let doubled = |ids: Vec<EntityId>| BenchError::unexpected("the core", "new ids", format!("{ids:?}"));
    partition.load(&rows).map_err(doubled)?;
    Ok(partition)
}

fn query(area: &Area) -> Query {
    let bounds = area.bounds().unwrap_or(Box3 {
        min: Point3::new(f64::NEG_INFINITY, f64::NEG_INFINITY, f64::NEG_INFINITY),
        max: Point3::new(f64::INFINITY, f64::INFINITY, f64::INFINITY),
    });
    let constraint = Constraint::Box { space: SPACE, bounds };
    Query { constraint, components: Vec::new(), limit: usize::MAX, nearest_to: None }
}
