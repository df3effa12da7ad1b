//! The yardstick: the same questions to a table of cells that can do nothing else, on one thread. What the machine gives at
//! this hour; the core is to be judged beside it.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use spatialdb_types::{Box3, Point3};

use super::{
    super::{error::BenchError, procfs, walk::CELL_M},
    Answered, Exam,
};

/// The entities by cell: nothing can be moved in it, and it ends where the world does.
struct BareGrid {
    per_side: usize,
    cells: Vec<Vec<(Point3, u64)>>,
}

/// Asks for that long.
///
/// # Errors
/// An answer is wrong.
pub(super) fn run(exam: &Exam, time: Duration) -> Result<Answered, BenchError> {
    let grid = BareGrid::of(exam.truth.positions());
    let areas: Vec<Box3> = exam.questions.iter().filter_map(|question| question.area.bounds()).collect();
    let cpu_seconds = || procfs::cpu_seconds(std::process::id());
    let (started, cpu_before) = (Instant::now(), cpu_seconds()?);
    let mut count = 0;
    while started.elapsed() < time {
        for (area, question) in areas.iter().zip(&exam.questions) {
            let (found, expected) = (black_box(grid.inside(area)).len() as u64, question.expected.hits);
            if found != expected {
                let found = found.to_string();
                return Err(BenchError::unexpected("the bare grid", expected.to_string(), found));
            }
        }
        count += areas.len() as u64;
    }
    let seconds = started.elapsed().as_secs_f64();
    Ok(Answered { count, seconds, cpu_seconds: cpu_seconds()? - cpu_before })
}

impl BareGrid {
    fn of(points: &[Point3]) -> Self {
        let far = points.iter().fold(0.0_f64, |far, at| far.max(at.x).max(at.y));
        let per_side = Self::cell(far) + 1;
        let mut cells = vec![Vec::new(); per_side * per_side];
        for (id, &at) in (1..).zip(points) {
            cells[Self::cell(at.y) * per_side + Self::cell(at.x)].push((at, id));
        }
        Self { per_side, cells }
    }

    fn cell(along: f64) -> usize {
        (along / CELL_M) as usize
    }

    fn inside(&self, area: &Box3) -> Vec<u64> {
        let last = |along: f64| Self::cell(along).min(self.per_side - 1);
        let mut found = Vec::new();
        for y in Self::cell(area.min.y)..=last(area.max.y) {
            let row = &self.cells[y * self.per_side..][..self.per_side];
            for (at, id) in row[Self::cell(area.min.x)..=last(area.max.x)].iter().flatten() {
                if area.contains(*at) {
                    found.push(*id);
                }
            }
        }
        found
    }
}
