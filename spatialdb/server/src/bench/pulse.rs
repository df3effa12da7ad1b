//! A writer on a schedule: each of its entities so often a second, spread evenly over time.
//!
//! Responsible for: sending when it is time, whatever the server does, and telling of each update when that was.
//! Not responsible for: who looks on (`watch`).
//!
//! An update's height is the time at which it was due, in microseconds, so that its receiver knows how late it is. A
//! thread of its own, since the tasks of readers may keep a schedule waiting.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use spatialdb_proto::v1::{PositionColumn, Update, client_message::Body};
use spatialdb_types::Point3;
use tokio::{
    sync::watch,
    task::{JoinHandle, spawn_blocking},
    time::timeout,
};

use super::{
    error::BenchError,
    histogram::Histogram,
    link::{Link, Receiver, Sender},
    server::ServerProcess,
    walk::Walk,
    watch::Clock,
    world::SPACE,
};

/// Updates of each entity a second.
pub(super) const RATE_HZ: u64 = 20;

/// A message each.
const TICK: Duration = Duration::from_millis(1);

const TICKS_PER_STEP: u64 = 1000 / RATE_HZ;

const DECIDE_TIMEOUT: Duration = Duration::from_secs(15);

/// Which entities are written, and when.
#[derive(Clone)]
pub(super) struct Score {
    /// Where they go.
    pub(super) walk: Arc<Walk>,
    /// Their places in the walk.
    pub(super) places: Range<usize>,
}

/// A session that writes on a schedule, or rests.
pub(super) struct Pulse {
    score: Score,
    clock: Arc<Clock>,
    sender: Option<Sender>,
    beat: Option<Beat>,
    decided: watch::Receiver<u64>,
    receipts: JoinHandle<BenchError>,
    sent: Sent,
}

/// What was written so far.
#[derive(Clone, Default)]
pub(super) struct Sent {
    /// How many ticks there were.
    pub(super) ticks: u64,
    /// How late the tool itself was, in microseconds.
    pub(super) late_us: Histogram,
    // The last seq.
    seq: u64,
    // By place; empty before the first tick.
    stamps: Vec<Option<f64>>,
}

struct Beat {
    is_over: Arc<AtomicBool>,
    thread: thread::JoinHandle<Result<(Sender, Sent), BenchError>>,
}

impl Score {
    /// The places that a tick writes, and the step of the walk that they take.
    pub(super) fn tick(&self, tick: u64) -> (Range<usize>, u64) {
        let (step, part) = (tick / TICKS_PER_STEP + 1, tick % TICKS_PER_STEP);
        let border =
            |part: u64| self.places.start + self.places.len() * part as usize / TICKS_PER_STEP as usize;
        (border(part)..border(part + 1), step)
    }

    /// Where an entity is after a step, but for its height.
    pub(super) fn at(&self, place: usize, step: u64) -> Point3 {
        self.walk.round(self.walk.round_after(step))[place]
    }

    fn column(&self, tick: u64, stamp: f64) -> PositionColumn {
        let (places, step) = self.tick(tick);
        let at = |along: fn(Point3) -> f64| places.clone().map(|place| along(self.at(place, step))).collect();
        PositionColumn {
            space: SPACE.0,
            entities: places.clone().map(|place| place as u64 + 1).collect(),
            revisions: Vec::new(),
            x: at(|p| p.x),
            y: at(|p| p.y),
            z: vec![stamp; places.len()],
        }
    }
}

impl Pulse {
    /// Attaches the session; it rests.
    ///
    /// # Errors
    /// The server does not welcome it.
    pub(super) async fn attach(
        server: &ServerProcess,
        score: Score,
        clock: &Arc<Clock>,
    ) -> Result<Self, BenchError> {
        let Link { sender, receiver } = Link::attach(server, "pulse").await?;
        let (told, decided) = watch::channel(0);
        let receipts = tokio::spawn(hear(receiver, told));
        let clock = clock.clone();
        let sent = Sent { stamps: vec![None; score.places.len()], ..Sent::default() };
        Ok(Self { score, clock, sender: Some(sender), beat: None, decided, receipts, sent })
    }

    /// Writes from now on, where it has stopped.
    pub(super) fn start(&mut self) {
        let Some(sender) = self.sender.take() else { return };
        let is_over = Arc::new(AtomicBool::new(false));
        let (told, score, sent) = (is_over.clone(), self.score.clone(), self.sent.clone());
        let origin = self.clock.origin;
        let thread = thread::spawn(move || beat(sender, &score, sent, origin, &told));
        self.beat = Some(Beat { is_over, thread });
    }

    /// Writes no more, and waits until all is decided. Returns what was written so far.
    ///
    /// # Errors
    /// The session ended, a row was refused, or the server takes no more.
    pub(super) async fn stop(&mut self) -> Result<&Sent, BenchError> {
        if let Some(Beat { is_over, thread }) = self.beat.take() {
            is_over.store(true, Ordering::Relaxed);
            let ended =
                spawn_blocking(move || thread.join()).await.map_err(|crash| BenchError::crashed(&crash))?;
            let crash = |_| BenchError::unexpected("the load tool", "a thread that ends", "a panic");
            let (sender, sent) = ended.map_err(crash)??;
            (self.sender, self.sent) = (Some(sender), sent);
        }
        let last = self.sent.seq;
        let late =
            |_| BenchError::Timeout { what: "deciding the schedule".to_owned(), waited: DECIDE_TIMEOUT };
        let decided =
            timeout(DECIDE_TIMEOUT, self.decided.wait_for(|seq| *seq >= last)).await.map_err(late)?;
        let is_decided = decided.is_ok();
        drop(decided);
        if is_decided { Ok(&self.sent) } else { Err(self.failed().await) }
    }

    /// Waits until the session fails.
    pub(super) async fn failed(&mut self) -> BenchError {
        (&mut self.receipts).await.unwrap_or_else(|crash| BenchError::crashed(&crash))
    }

    /// Which entities it writes.
    pub(super) const fn score(&self) -> &Score {
        &self.score
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        if let Some(beat) = &self.beat {
            beat.is_over.store(true, Ordering::Relaxed);
        }
        self.receipts.abort();
    }
}

impl Sent {
    /// Writes where the entities of the score are now to their places in `positions`.
    pub(super) fn place(&self, score: &Score, positions: &mut [Point3]) {
        let last = self.ticks;
        for (place, stamp) in score.places.clone().zip(&self.stamps) {
            let Some(stamp) = stamp else { continue };
            // The step that is under way, if its turn has come; else the one before.
            let (next, step) = score.tick(last);
            let step = if place < next.start { step } else { step - 1 };
            let at = score.at(place, step);
            positions[place] = Point3::new(at.x, at.y, *stamp);
        }
    }
}

fn beat(
    mut sender: Sender,
    score: &Score,
    mut sent: Sent,
    origin: Instant,
    is_over: &AtomicBool,
) -> Result<(Sender, Sent), BenchError> {
    let mut due = origin.elapsed();
    while !is_over.load(Ordering::Relaxed) {
        due += TICK;
        if let Some(early) = due.checked_sub(origin.elapsed()) {
            thread::sleep(early);
        }
        sent.late_us.add(origin.elapsed().saturating_sub(due).as_micros() as u64);
        let stamp = due.as_micros() as f64;
        let (places, _) = score.tick(sent.ticks);
        let column = score.column(sent.ticks, stamp);
        sent.ticks += 1;
        if places.is_empty() {
            continue;
        }
        sent.seq = sender.send(Body::Update(Update { positions: vec![column], ..Update::default() }))?;
        places.for_each(|place| sent.stamps[place - score.places.start] = Some(stamp));
    }
    Ok((sender, sent))
}

// The writer's own frames must be read, or its session would be held back.
async fn hear(mut receiver: Receiver, told: watch::Sender<u64>) -> BenchError {
    loop {
        match receiver.frame().await {
            Ok(frame) => told.send_replace(frame.applied_seq),
            Err(error) => return error,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entity_has_its_turn_in_each_step() {
        let score = Score { walk: Arc::new(Walk::new(200)), places: 20..143 };
        let mut positions = score.walk.round(0).to_vec();
        let mut sent = Sent { stamps: vec![None; 123], ..Sent::default() };
        let mut rows = 0;
        for tick in 0..500 {
            let mut expected = score.walk.round(0).to_vec();
            sent.place(&score, &mut expected);
            assert_eq!(positions, expected, "after {tick}");

            let stamp = 1000.0 * tick as f64;
            let column = score.column(tick, stamp);
            for (row, entity) in column.entities.iter().enumerate() {
                let place = *entity as usize - 1;
                positions[place] = Point3::new(column.x[row], column.y[row], column.z[row]);
                sent.stamps[place - 20] = Some(stamp);
            }
            rows += column.entities.len() as u64;
            sent.ticks += 1;
        }
        assert_eq!(rows, 123 * 10);
    }
}
