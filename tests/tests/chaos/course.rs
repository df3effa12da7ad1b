//! What happened, and how many writes were refused after it.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use spatialdb_tests::{World, http_get};

use super::worker::Disturbance;

/// Keeps what happens.
pub(crate) struct Course {
    begun: Instant,
    last: Option<Event>,
    refused: u64,
    /// How often what happened, and how many rows were refused between that and what happened next.
    pub(crate) events: BTreeMap<Event, (u32, u64)>,
}

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    /// A worker is disturbed.
    Begins(Disturbance),
    /// It goes on as if nothing had been.
    Ends(Disturbance),
}

impl Course {
    /// Begins.
    pub(crate) fn new(world: &World) -> Self {
        Self { begun: Instant::now(), last: None, refused: refused(world), events: BTreeMap::new() }
    }

    /// How long ago it began.
    pub(crate) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// This is about to happen to a worker.
    pub(crate) fn next(&mut self, world: &World, event: Event, name: &str) {
        self.count(world);
        // Shown if the test fails.
        eprintln!("{:>9.3?} {event:?} {name}, {} rows refused so far", self.elapsed(), self.refused);
        self.events.entry(event).or_default().0 += 1;
        self.last = Some(event);
    }

    /// What was refused so far belongs to what happened last.
    pub(crate) fn count(&mut self, world: &World) {
        let before = std::mem::replace(&mut self.refused, refused(world));
        if let Some(last) = self.last {
            self.events.entry(last).or_default().1 += self.refused - before;
        }
    }

    /// How many rows were refused after such an event.
    pub(crate) fn refused_after(&self, event: Event) -> u64 {
        self.events.get(&event).map_or(0, |(_, refused)| *refused)
    }
}

/// How many rows were refused so far, for whatever reasons.
fn refused(world: &World) -> u64 {
    let (_, text) = http_get(world.address(), "/metrics");
    let counts = text.lines().filter(|line| line.starts_with("spatialdb_session_rejections_total{"));
    let count = |line: &str| line.rsplit(' ').next().and_then(|count| count.parse::<u64>().ok());
    counts.map(|line| count(line).unwrap_or_else(|| panic!("no count: {line}"))).sum::<u64>()
}
