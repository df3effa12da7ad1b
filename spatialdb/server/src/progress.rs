//! A bar on stderr for a person who waits: it appears once work has taken more than a second.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Work that is done sooner shows nothing.
const PATIENCE: Duration = Duration::from_secs(1);

/// Counts what is done; several threads may. It disappears when dropped.
pub(crate) struct Progress {
    started: Instant,
    done: AtomicU64,
    bar: ProgressBar,
    is_wanted: bool,
    is_shown: AtomicBool,
}

impl Progress {
    /// `is_wanted`: somebody looks at stderr.
    pub(crate) fn new(label: &'static str, total: u64, is_wanted: bool) -> Self {
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden());
        let style = ProgressStyle::with_template("{msg} {wide_bar} {percent}% {eta} left");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message(label);
        let (done, is_shown) = (AtomicU64::new(0), AtomicBool::new(false));
        Self { started: Instant::now(), done, bar, is_wanted, is_shown }
    }

    /// So much more is done.
    pub(crate) fn add(&self, amount: u64) {
        let done = self.done.fetch_add(amount, Ordering::Relaxed) + amount;
        if self.is_wanted && self.started.elapsed() > PATIENCE {
            self.bar.set_position(done);
            if !self.is_shown.swap(true, Ordering::Relaxed) {
                self.bar.set_draw_target(ProgressDrawTarget::stderr());
                self.bar.tick();
            }
        }
    }

    /// The bar for what comes after this; it counts the time from the start of this.
    pub(crate) fn then(&self, label: &'static str, total: u64) -> Self {
        self.bar.finish_and_clear();
        let mut next = Self::new(label, total, self.is_wanted);
        next.started = self.started;
        next
    }

    /// How much was done, and in what time.
    pub(crate) fn so_far(&self) -> (u64, Duration) {
        (self.done.load(Ordering::Relaxed), self.started.elapsed())
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
