//! What a process prints, line by line, while it runs.

use std::{
    io::{BufRead, BufReader, Read},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Instant,
};

use crate::DEADLINE;

/// The lines of one stream of a process. Clones share them.
#[derive(Clone, Default)]
pub struct Log(Arc<Inner>);

#[derive(Default)]
struct Inner {
    lines: Mutex<Lines>,
    grown: Condvar,
}

#[derive(Default)]
struct Lines {
    lines: Vec<String>,
    ended: bool,
}

impl Log {
    /// Reads a stream to its end on a thread of its own.
    pub fn follow(stream: impl Read + Send + 'static) -> Self {
        let log = Self::default();
        let writer = log.clone();
        thread::spawn(move || {
            let mut reader = BufReader::new(stream);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
                writer.lock().lines.push(String::from_utf8_lossy(&line).trim_end().to_owned());
                line.clear();
                writer.0.grown.notify_all();
            }
            writer.lock().ended = true;
            writer.0.grown.notify_all();
        });
        log
    }

    /// The lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.lock().lines.clone()
    }

    /// The lines so far, as one text.
    pub fn text(&self) -> String {
        self.lock().lines.join("\n")
    }

    /// Waits for a line that `wanted` takes, and gives what it makes of it. `None` if the stream ends before.
    ///
    /// # Panics
    /// If it does not come within [`DEADLINE`].
    pub fn find<T>(&self, what: &str, mut wanted: impl FnMut(&str) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + DEADLINE;
        let mut seen = 0;
        let mut lines = self.lock();
        loop {
            while seen < lines.lines.len() {
                if let Some(found) = wanted(&lines.lines[seen]) {
                    return Some(found);
                }
                seen += 1;
            }
            if lines.ended {
                return None;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "not in time: {what}; it said:\n{}", lines.lines.join("\n"));
            lines = self.0.grown.wait_timeout(lines, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits for a line with `part` in it.
    ///
    /// # Panics
    /// If it does not come within [`DEADLINE`], or the stream ends before.
    pub fn wait_for(&self, part: &str) -> String {
        let found = self.find(part, |line| line.contains(part).then(|| line.to_owned()));
        found.unwrap_or_else(|| panic!("it ended without saying {part:?}:\n{}", self.text()))
    }

    /// Waits until all is read: the process, and all that inherited its stream, are gone.
    pub fn wait_for_end(&self) {
        self.find("the end of the stream", |_| None::<()>);
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.0.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
