//! A stream that writes: many messages on their way, but never more than a bound that are not decided.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{sync::watch, time::sleep};

use super::{
    super::{error::BenchError, link::Link, walk::Walk},
    pool::Pool,
};

/// Rows of one stream that are sent and not decided.
const ROWS_IN_FLIGHT_MAX: u64 = 40_000;

/// How often a stream that keeps a pace looks whether it is time.
const TICK: Duration = Duration::from_millis(1);

/// What a writer is to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Mode {
    /// Send nothing.
    Pause,
    /// Send as fast as rows are decided.
    Run,
    /// Send so many rows a second, if they are decided as fast.
    Pace(f64),
    /// End once all is decided.
    Stop,
}

/// What a writer and its observer share.
#[derive(Default)]
pub(super) struct Shared {
    /// Messages that were sent.
    pub(super) sent: AtomicU64,
    /// Messages that the server has decided.
    pub(super) applied: AtomicU64,
    /// Whether it pauses, and all is decided.
    pub(super) is_idle: AtomicBool,
}

/// How many messages may be sent by now.
struct Pace {
    mode: Mode,
    begun: Instant,
    sent_before: u64,
}

/// Sends as it is told until it is to stop and all is decided. Returns how many messages were sent.
///
/// # Errors
/// The session ends, or a row is refused.
pub(super) async fn write(
    link: Link,
    walk: Arc<Walk>,
    pool: Arc<Pool>,
    shared: Arc<Shared>,
    mut modes: watch::Receiver<Mode>,
) -> Result<u64, BenchError> {
    let Link { mut sender, mut receiver } = link;
    let window = (ROWS_IN_FLIGHT_MAX / pool.rows(1)).clamp(2, 256);
    let (mut sent, mut applied) = (0, 0);
    // Messages before the first update: Hello.
    let mut seq_before = None;
    let mut pace = Pace::new(*modes.borrow_and_update(), sent);
    loop {
        while sent - applied < window && pace.is_due(&pool, sent) {
            let seq = sender.send_prebuilt(pool.message(&walk, sent))?;
            seq_before.get_or_insert(seq - 1);
            sent += 1;
        }
        shared.sent.store(sent, Ordering::Relaxed);
        shared.is_idle.store(pace.mode == Mode::Pause && applied == sent, Ordering::Release);
        if pace.mode == Mode::Stop && applied == sent {
            return Ok(sent);
        }
        tokio::select! {
            biased;
            frame = receiver.frame(), if applied < sent => {
                let decided = frame?.applied_seq;
                applied = decided.saturating_sub(seq_before.unwrap_or(decided));
                shared.applied.store(applied, Ordering::Relaxed);
            }
            // Nobody is there to tell another mode: the scenario has failed, and says why.
            changed = modes.changed() => match changed {
                Ok(()) => pace = Pace::new(*modes.borrow_and_update(), sent),
                Err(_) => return Ok(sent),
            },
            () = sleep(TICK), if matches!(pace.mode, Mode::Pace(_)) => {}
        }
    }
}

impl Pace {
    fn new(mode: Mode, sent: u64) -> Self {
        Self { mode, begun: Instant::now(), sent_before: sent }
    }

    fn is_due(&self, pool: &Pool, sent: u64) -> bool {
        match self.mode {
            Mode::Pause | Mode::Stop => false,
            Mode::Run => true,
            Mode::Pace(rows_per_second) => {
                let rows = pool.rows(sent) - pool.rows(self.sent_before);
                (rows as f64) < self.begun.elapsed().as_secs_f64() * rows_per_second
            }
        }
    }
}
