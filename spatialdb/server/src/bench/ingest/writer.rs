//! A stream that writes: many messages on their way, but never more than a bound that are not decided.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use super::{
    super::{error::BenchError, link::Link, walk::Walk},
    pool::Pool,
};

/// Rows of one stream that are sent and not decided.
const ROWS_IN_FLIGHT_MAX: u64 = 40_000;

/// What a writer and its observer share.
#[derive(Default)]
pub(super) struct Shared {
    /// Messages that the server has decided.
    pub(super) applied: AtomicU64,
    /// Whether to send no more.
    pub(super) stop: AtomicBool,
}

/// Sends until told to stop, then waits until all is decided. Returns how many messages were sent.
///
/// # Errors
/// The session ends, or a row is refused.
pub(super) async fn write(
    link: Link,
    walk: Arc<Walk>,
    pool: Arc<Pool>,
    shared: Arc<Shared>,
) -> Result<u64, BenchError> {
    let Link { mut sender, mut receiver } = link;
    let window = (ROWS_IN_FLIGHT_MAX / pool.rows(1)).clamp(2, 256);
    let (mut sent, mut applied) = (0, 0);
    // Messages before the first update: Hello.
    let mut seq_before = None;
    loop {
        while !shared.stop.load(Ordering::Relaxed) && sent - applied < window {
            let seq = sender.send_prebuilt(pool.message(&walk, sent))?;
            seq_before.get_or_insert(seq - 1);
            sent += 1;
        }
        if applied == sent {
            return Ok(sent);
        }
        let decided = receiver.frame().await?.applied_seq;
        applied = decided.saturating_sub(seq_before.unwrap_or(decided));
        shared.applied.store(applied, Ordering::Relaxed);
    }
}
