//! `query`: boxes with about a hundred hits in a world of a million.
//!
//! Responsible for: the questions, what is right, and the order of the ways to ask. Not responsible for: each way
//! (`inside`, `pipelined`, `unary`), and the yardstick (`bare`).

mod bare;
mod inside;
mod pipelined;
mod unary;

use std::{sync::Arc, time::Duration};

use spatialdb_types::Point3;

use super::{
    BenchError, Plan, Report,
    area::Area,
    random::{Random, mix},
    server::ServerProcess,
    tools::Tools,
    walk::Walk,
    watch::Truth,
    world::WorldFiles,
};

/// Hits of a question, about.
const HITS: f64 = 100.0;

const QUESTIONS: usize = 2000;

/// What is asked, again and again, and what is right.
struct Exam {
    truth: Truth,
    questions: Vec<Question>,
}

struct Question {
    area: Area,
    expected: Tally,
}

/// What an answer adds up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    hits: u64,
    // The sum of what `mix` makes of ids: equal for the same set of entities, in any order.
    ids: u64,
}

/// How many questions were answered, all of them right.
#[derive(Clone, Copy, Default)]
struct Answered {
    count: u64,
    seconds: f64,
    // Of the process that answers.
    cpu_seconds: f64,
}

/// Runs the scenario.
///
/// # Errors
/// The server fails, or an answer is wrong.
pub(super) async fn run(plan: &Plan) -> Result<Report, BenchError> {
    let walk = Walk::new(plan.entities as usize);
    let exam = Arc::new(Exam::new(&walk));
    let time = Duration::from_secs(plan.seconds) / 4;
    let inside = inside::run(&exam, time)?;
    let bare = bare::run(&exam, time)?;
    let server = ServerProcess::start(&WorldFiles::of_walk(&walk)?, plan.partitions)?;
    drop(walk);
    let durability = Tools::connect(&server).await?.world().await?.durability;
    let pipelined = pipelined::run(&exam, &server, time).await?;
    let unary = unary::run(&exam, &server, time).await?;
    server.stop()?;

    let hits: u64 = exam.questions.iter().map(|question| question.expected.hits).sum();
    let mut report = Report::new(plan.scenario, durability)
        .figure("core_per_second", inside.per_second(), "1/s")
        .figure("core_cpu_us", inside.cpu_us(), "us")
        .figure("bare_grid_per_second", bare.per_second(), "1/s")
        .figure("core_share_of_bare_grid", inside.per_second() / bare.per_second(), "1");
    report = match pipelined {
        Some(answered) => report.figure("grpc_per_second", answered.per_second(), "1/s").figure(
            "grpc_server_cpu_us",
            answered.cpu_us(),
            "us",
        ),
        None => report.fact("ask", "refused by this server"),
    };
    Ok(report
        .figure("grpc_unary_per_second", unary.per_second(), "1/s")
        .figure("grpc_unary_server_cpu_us", unary.cpu_us(), "us")
        .figure("hits_per_query", hits as f64 / QUESTIONS as f64, "1")
        .fact("pipelined_in_flight", pipelined::IN_FLIGHT)
        .fact("unary_in_flight", unary::IN_FLIGHT)
        .fact("entities", plan.entities)
        .fact("partitions", plan.partitions))
}

impl Exam {
    fn new(walk: &Walk) -> Self {
        let truth = Truth::new(walk.round(0).to_vec());
        let mut random = Random::new(QUESTIONS as u64);
        let side_m = walk.side_of(HITS);
        let mut along = || random.unit() * (walk.side_m() - side_m);
        let mut question = |_| {
            let area = Area::Square { min: (along(), along()), side_m };
            let mut expected = Tally::default();
            truth.inside(&area).iter().for_each(|place| expected.add(u64::from(*place) + 1));
            Question { area, expected }
        };
        let questions = (0..QUESTIONS).map(&mut question).collect();
        Self { truth, questions }
    }

    /// The `n`-th question; they come again and again.
    fn question(&self, n: u64) -> &Question {
        &self.questions[n as usize % self.questions.len()]
    }

    /// Counts an entity of an answer to the `n`-th question.
    ///
    /// # Errors
    /// It is elsewhere, or should not be there.
    fn hit(&self, n: u64, tally: &mut Tally, entity: u64, at: Point3) -> Result<(), BenchError> {
        let place = usize::try_from(entity).unwrap_or(usize::MAX).wrapping_sub(1);
        let expected = self.truth.positions().get(place);
        tally.add(entity);
        if expected == Some(&at) && self.question(n).area.contains(place, at) {
            return Ok(());
        }
        let found = format!("entity {entity} at {at:?}; it is at {expected:?}");
        Err(BenchError::unexpected("an answer", format!("those in {:?}", self.question(n).area), found))
    }

    /// Compares an answer to the `n`-th question with what is right.
    ///
    /// # Errors
    /// They differ.
    fn check(&self, n: u64, tally: Tally, match_count: u64) -> Result<(), BenchError> {
        let expected = self.question(n).expected;
        if tally == expected && match_count == expected.hits {
            return Ok(());
        }
        let found = format!("{tally:?}, and {match_count} said to match");
        Err(BenchError::unexpected("an answer", format!("{expected:?}"), found))
    }
}

impl Tally {
    const fn add(&mut self, entity: u64) {
        self.hits += 1;
        self.ids = self.ids.wrapping_add(mix(entity));
    }
}

impl Answered {
    fn per_second(&self) -> f64 {
        (self.count as f64 / self.seconds).round()
    }

    fn cpu_us(&self) -> f64 {
        self.cpu_seconds * 1e6 / self.count.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_answer_is_found() {
        let walk = Walk::new(3000);
        let exam = Exam::new(&walk);
        let inside = exam.truth.inside(&exam.question(7).area);
        assert!((50..200).contains(&inside.len()), "{}", inside.len());
        let at = |place: u32| exam.truth.positions()[place as usize];
        let mut tally = Tally::default();
        for place in &inside {
            assert!(exam.check(7, tally, inside.len() as u64).is_err());
            exam.hit(7, &mut tally, u64::from(*place) + 1, at(*place)).expect("right");
        }
        assert!(exam.check(7, tally, inside.len() as u64).is_ok());
        assert!(exam.check(7, tally, 1).is_err());
        assert!(exam.hit(7, &mut tally, u64::from(inside[0]) + 1, at(inside[1])).is_err());
        let outside = (0..3000).find(|place| !inside.contains(place)).expect("one");
        assert!(exam.hit(7, &mut tally, u64::from(outside) + 1, at(outside)).is_err());
        assert!(exam.hit(7, &mut tally, u64::MAX, at(0)).is_err());
    }
}
