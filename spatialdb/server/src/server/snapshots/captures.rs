//! A capture of all partitions: one moment, and what they write of it.
//!
//! First every partition holds what sessions send; the last one to do so has all of them begin, and go on. So whatever a client was told
//! before another one wrote is captured with that. To pause, sessions are held back before, until nothing is under way, and until
//! all is captured.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use spatialdb_core::CaptureSlice;
use spatialdb_types::{EntityId, Error, Reason};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Mutex as TurnMutex, OwnedMutexGuard, oneshot};

use crate::server::edge::Edge;
use crate::server::partition::Control;

/// How long writes may be held back for a pause until nothing is under way any more.
const CALM_TIMEOUT: Duration = Duration::from_secs(10);

/// How often it is looked whether nothing is.
const CALM_POLL: Duration = Duration::from_millis(2);

/// The capture under way, as partitions see it.
#[derive(Default)]
pub(in crate::server) struct Captures {
    /// One at a time.
    turn: Arc<TurnMutex<()>>,
    state: Mutex<State>,
    /// Snapshots taken, and those that failed, since the start.
    pub(super) taken: AtomicU64,
    pub(super) failed: AtomicU64,
    /// Sessions are held back.
    paused: AtomicBool,
}

#[derive(Default)]
struct State {
    /// From 1.
    number: u64,
    /// How many partitions hold.
    held: usize,
    to: Option<UnboundedSender<Step>>,
}

/// What partitions have to say of a capture.
enum Step {
    /// All have begun.
    Begun,
    /// One has captured more.
    Slice(CaptureSlice),
}

/// All that there was at one moment.
pub(super) struct Captured {
    /// Whole images.
    pub(super) parts: Vec<Vec<u8>>,
    pub(super) entities: u64,
    /// Above every id that had been given.
    pub(super) next_entity_id: EntityId,
    /// The moment, in microseconds of Unix time.
    pub(super) unix_us: i64,
    /// From the moment on.
    pub(super) took: Duration,
    /// How long writes waited.
    pub(super) held: Duration,
}

impl Captures {
    pub(in crate::server) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    pub(in crate::server) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Whether sessions are held back.
    pub(in crate::server) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed)
    }

    /// A partition holds what sessions send. With the last one all begin.
    pub(in crate::server) fn held(&self, edge: &Edge, number: u64) {
        let mut state = self.state();
        if state.number != number || state.to.is_none() {
            return;
        }
        state.held += 1;
        if state.held == edge.partitions.len() {
            edge.partitions.iter().for_each(|partition| partition.tell(Control::Capture(number)));
            state.tell(Step::Begun);
        }
    }

    /// A partition has captured more.
    pub(in crate::server) fn give(&self, number: u64, slice: CaptureSlice) {
        let state = self.state();
        if state.number == number {
            state.tell(Step::Slice(slice));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn tell(&self, step: Step) {
        if let Some(to) = &self.to {
            // Whoever asked may have gone.
            let _ = to.send(step);
        }
    }
}

/// A capture that is under way until this is dropped: then partitions forget what they have not written.
struct UnderWay<'a> {
    edge: &'a Edge,
    number: u64,
    steps: UnboundedReceiver<Step>,
}

impl<'a> UnderWay<'a> {
    fn begin(edge: &'a Edge) -> Self {
        let (to, steps) = unbounded_channel();
        let mut state = edge.captures.state();
        state.number += 1;
        (state.held, state.to) = (0, Some(to));
        let number = state.number;
        drop(state);
        edge.partitions.iter().for_each(|partition| partition.tell(Control::Hold(number)));
        Self { edge, number, steps }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.edge.captures.state().to = None;
        self.edge.partitions.iter().for_each(|partition| partition.tell(Control::EndCapture(self.number)));
    }
}

/// Sessions are held back until this is dropped.
struct Pause<'a>(&'a Edge);

impl<'a> Pause<'a> {
    fn begin(edge: &'a Edge) -> Self {
        edge.captures.paused.store(true, Ordering::Relaxed);
        Self(edge)
    }

    /// Waits until nothing is on its way between partitions, or to the disk.
    async fn calm(&self) -> Result<(), Error> {
        let deadline = Instant::now() + CALM_TIMEOUT;
        // Between two partitions something may have been on its way while both were asked: not twice.
        let mut times = 0;
        while times < 2 {
            if Instant::now() > deadline {
                let detail = format!("the world has not come to rest within {} s", CALM_TIMEOUT.as_secs());
                return Err(Error::new(Reason::LimitReached, detail));
            }
            tokio::time::sleep(CALM_POLL).await;
            let mut answers = Vec::new();
            for partition in &self.0.partitions {
                let (answer, is_calm) = oneshot::channel();
                partition.tell(Control::Calm(answer));
                answers.push(is_calm);
            }
            let mut all = true;
            for answer in answers {
                all &= answer.await.map_err(|_| stopping())?;
            }
            times = if all { times + 1 } else { 0 };
        }
        Ok(())
    }
}

impl Drop for Pause<'_> {
    fn drop(&mut self) {
        self.0.captures.paused.store(false, Ordering::Relaxed);
        self.0.partitions.iter().for_each(|partition| partition.gauges.room.notify_waiters());
    }
}

/// The turn to make a snapshot: held until the file is made, or nobody works at it any more.
pub(super) type Turn = OwnedMutexGuard<()>;

/// Takes the turn.
pub(super) fn turn(edge: &Edge) -> Result<Turn, Error> {
    let busy = |_| Error::new(Reason::LimitReached, "another snapshot is being taken: one at a time");
    edge.captures.turn.clone().try_lock_owned().map_err(busy)
}

/// Waits for the turn.
pub(super) async fn next_turn(edge: &Edge) -> Turn {
    edge.captures.turn.clone().lock_owned().await
}

/// Captures all there is. `told` hears how many entities were captured so far.
///
/// # Errors
/// The world stops, or does not come to rest for a pause.
pub(super) async fn capture(
    edge: &Arc<Edge>,
    pauses: bool,
    mut told: impl FnMut(u64),
) -> Result<Captured, Error> {
    let asked = Instant::now();
    let pause = pauses.then(|| Pause::begin(edge));
    if let Some(pause) = &pause {
        pause.calm().await?;
    }
    let began = Instant::now();
    let mut under_way = UnderWay::begin(edge);
    let (mut moment, mut over) = (None, 0);
    let (mut parts, mut entities) = (Vec::new(), 0);
    while over < edge.partitions.len() {
        match under_way.steps.recv().await.ok_or_else(stopping)? {
            Step::Begun => {
                let next_entity_id = edge.world().ids.next();
                moment = Some((Instant::now(), edge.clock.unix_us(), next_entity_id));
            }
            Step::Slice(CaptureSlice { part, entities: more, is_over }) => {
                parts.extend(part);
                entities += more;
                over += usize::from(is_over);
                told(entities);
            }
        }
    }
    drop(under_way);
    drop(pause);
    let (at, unix_us, next_entity_id) = moment.ok_or_else(stopping)?;
    let held = if pauses { asked.elapsed() } else { at - began };
    Ok(Captured { parts, entities, next_entity_id, unix_us, took: at.elapsed(), held })
}

fn stopping() -> Error {
    Error::new(Reason::Draining, "the world is stopping")
}
