//! Owners as processes behind lines of their own, and what happens to them.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use spatialdb_tests::{Process, World, spatialdb};

use super::line::Line;

/// Longer than `lease_ttl`.
const LONG: Duration = Duration::from_millis(1800);

/// Much shorter.
const SHORT: Duration = Duration::from_millis(300);

/// What happens to a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Disturbance {
    /// SIGKILL, and a new process of the name.
    Kill,
    /// SIGSTOP, and SIGCONT before anybody notices.
    Pause,
    /// The same, but its regions are others' by then: it wakes and writes.
    Zombie,
    /// Nothing passes between it and the server until its regions are others'; then all that was on its way does.
    Cut,
}

impl Disturbance {
    /// All there are.
    pub(crate) const ALL: [Self; 4] = [Self::Kill, Self::Pause, Self::Zombie, Self::Cut];
}

/// A process that owns.
pub(crate) struct Worker {
    /// Of all its processes.
    pub(crate) name: String,
    entities: usize,
    line: Line,
    process: Process,
    /// Until then it is disturbed.
    until: Option<(Instant, Disturbance)>,
}

impl Worker {
    /// Starts one. Its tallies are for entities up to that id.
    pub(crate) async fn start(world: &World, name: String, entities: usize, tallies: &Path) -> Self {
        let line = Line::to(world.address()).await;
        let process = start(&name, &line, entities, tallies);
        Self { name, entities, line, process, until: None }
    }

    /// Whether something happens to it now.
    pub(crate) const fn is_disturbed(&self) -> bool {
        self.until.is_some()
    }

    /// Lets something happen to it.
    pub(crate) fn disturb(&mut self, kind: Disturbance, tallies: &Path) {
        let time = match kind {
            Disturbance::Kill => {
                self.process.signal(Signal::KILL);
                self.process.wait();
                self.process = start(&self.name, &self.line, self.entities, tallies);
                return;
            }
            Disturbance::Pause => SHORT,
            Disturbance::Zombie | Disturbance::Cut => LONG,
        };
        match kind {
            Disturbance::Cut => self.line.cut(),
            _ => self.process.signal(Signal::STOP),
        }
        self.until = Some((Instant::now() + time, kind));
    }

    /// What happens to it, if it is time to end that.
    pub(crate) fn due(&self) -> Option<Disturbance> {
        self.until.filter(|(until, _)| *until <= Instant::now()).map(|(_, kind)| kind)
    }

    /// Ends what happens to it.
    pub(crate) fn recover(&mut self) {
        match self.until.take() {
            Some((_, Disturbance::Cut)) => self.line.join(),
            Some(_) => self.process.signal(Signal::CONT),
            None => {}
        }
    }

    /// Sees that its process is there.
    ///
    /// # Panics
    /// If it has ended.
    pub(crate) fn check(&mut self) {
        assert!(self.process.is_running(), "{} ended: {}", self.name, self.process.stderr.text());
    }

    /// Asks it to end, and waits until it has.
    ///
    /// # Panics
    /// If it does not end well.
    pub(crate) fn end(mut self) {
        self.process.signal(Signal::TERM);
        assert_eq!(self.process.wait(), Some(0), "{}: {}", self.name, self.process.stderr.text());
    }
}

fn start(name: &str, line: &Line, entities: usize, tallies: &Path) -> Process {
    let mut command = spatialdb(&["bench-owner", "--entities", &entities.to_string(), "--tallies"]);
    command.arg(tallies).args(["--name", name, "--address", &line.address.to_string()]);
    Process::start(&mut command)
}
