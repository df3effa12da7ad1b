//! What workers print: cut into lines, named, kept for when one fails.

use std::{
    collections::VecDeque,
    io::{self, IsTerminal, Write},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::io::{AsyncRead, AsyncReadExt};

// A longer line is shown in pieces.
const LINE_BYTES_MAX: usize = 8 << 10;

// Enough for the end of a Python traceback.
const LAST_LINES_MAX: usize = 20;

// ANSI colours that read well on dark and light; each worker keeps one.
const COLOURS: [u8; 6] = [36, 33, 35, 32, 34, 31];

/// Takes (worker name, line) of all workers. Must be quick.
pub type LineSink = Arc<dyn Fn(&str, &str) + Send + Sync>;

/// Prints lines to stderr as `name | line`, the name in colour on a terminal.
pub fn print_lines() -> LineSink {
    let colour = io::stderr().is_terminal();
    Arc::new(move |name, line| {
        let text = if colour {
            let code = COLOURS[name.bytes().map(usize::from).sum::<usize>() % COLOURS.len()];
            format!("\x1b[{code}m{name}\x1b[0m | {line}\n")
        } else {
            format!("{name} | {line}\n")
        };
        // Nothing can be told to anyone when stderr is gone.
        let _ = io::stderr().lock().write_all(text.as_bytes());
    })
}

/// Sends lines to the log, with the name as a field.
pub fn log_lines() -> LineSink {
    Arc::new(|worker, line| tracing::info!(worker, line, "worker output"))
}

/// The last lines of one process.
#[derive(Clone, Default)]
pub(super) struct LastLines(Arc<Mutex<VecDeque<String>>>);

impl LastLines {
    fn push(&self, line: &str) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == LAST_LINES_MAX {
            lines.pop_front();
        }
        lines.push_back(line.to_owned());
    }

    /// The lines, oldest first, each on one of its own.
    pub(super) fn text(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(|line| format!("\n    {line}")).collect()
    }
}

/// Reads a stream to its end, line by line.
pub(super) async fn read_lines(
    name: String,
    mut stream: impl AsyncRead + Unpin,
    sink: LineSink,
    last: LastLines,
) {
    let mut cutter = LineCutter::default();
    let mut buffer = vec![0; LINE_BYTES_MAX];
    let show = |line: &str| {
        last.push(line);
        sink(&name, line);
    };
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        cutter.push(&buffer[..count], show);
    }
    cutter.finish(show);
}

// Cuts bytes into lines of bounded length.
#[derive(Default)]
struct LineCutter {
    rest: Vec<u8>,
}

impl LineCutter {
    fn push(&mut self, bytes: &[u8], mut show: impl FnMut(&str)) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.rest.extend_from_slice(piece);
            if self.rest.ends_with(b"\n") || self.rest.len() >= LINE_BYTES_MAX {
                self.finish(&mut show);
            }
        }
    }

    fn finish(&mut self, mut show: impl FnMut(&str)) {
        if !self.rest.is_empty() {
            let line = String::from_utf8_lossy(&self.rest);
            show(line.trim_end_matches(['\r', '\n']));
            self.rest.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(pieces: &[&[u8]]) -> Vec<String> {
        let mut lines = Vec::new();
        let mut cutter = LineCutter::default();
        for piece in pieces {
            cutter.push(piece, |line| lines.push(line.to_owned()));
        }
        cutter.finish(|line| lines.push(line.to_owned()));
        lines
    }

    #[test]
    fn lines_are_cut_wherever_reads_end() {
        assert_eq!(cut(&[b"a\nb", b"c\r\n", b"\nd"]), ["a", "bc", "", "d"]);
        assert_eq!(cut(&[b"\xff\n"]), ["\u{fffd}"]);
    }

    #[test]
    fn a_line_without_end_is_bounded() {
        let long = vec![b'x'; LINE_BYTES_MAX];
        let lines = cut(&[&long, &long]);
        assert_eq!(lines.len(), 2);
        assert!(lines.iter().all(|line| line.len() <= LINE_BYTES_MAX));
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        let last = LastLines::default();
        (0..100).for_each(|number| last.push(&number.to_string()));
        assert_eq!(last.text().lines().filter(|line| !line.is_empty()).count(), LAST_LINES_MAX);
        assert!(last.text().ends_with("\n    99"));
    }
}
