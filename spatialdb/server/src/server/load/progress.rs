//! Showing how far loading has come, if it takes more than a second.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const PATIENCE: Duration = Duration::from_secs(1);

/// Counts loaded entities, and shows them to a person who waits.
pub(super) struct Progress {
    started: Instant,
    loaded: AtomicU64,
    bar: ProgressBar,
    is_wanted: bool,
    is_shown: AtomicBool,
}

impl Progress {
    /// `is_wanted`: somebody looks at stderr.
    pub(super) fn new(entities: u64, is_wanted: bool) -> Self {
        let bar = ProgressBar::with_draw_target(Some(entities), ProgressDrawTarget::hidden());
        if let Ok(style) =
            ProgressStyle::with_template("loading {bar:40} {human_pos}/{human_len} entities, {eta} left")
        {
            bar.set_style(style);
        }
        Self {
            started: Instant::now(),
            loaded: AtomicU64::new(0),
            bar,
            is_wanted,
            is_shown: AtomicBool::new(false),
        }
    }

    pub(super) fn add(&self, entities: u64) {
        let loaded = self.loaded.fetch_add(entities, Ordering::Relaxed) + entities;
        if self.is_wanted && self.started.elapsed() > PATIENCE {
            if !self.is_shown.swap(true, Ordering::Relaxed) {
                self.bar.set_draw_target(ProgressDrawTarget::stderr());
            }
            self.bar.set_position(loaded);
        }
    }

    /// Says that all is loaded. A load that fails says nothing: its error is told, alone.
    pub(super) fn finish(self) {
        let entity_count = self.loaded.load(Ordering::Relaxed);
        let elapsed_ms = self.started.elapsed().as_millis() as u64;
        tracing::info!(entity_count, elapsed_ms, "snapshot loaded");
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
