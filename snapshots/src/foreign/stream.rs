//! How far a reader is, for errors and progress.

use std::{
    cell::Cell,
    io::{self, Read},
    rc::Rc,
};

/// Lines and bytes read so far. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    lines: Rc<Cell<u64>>,
    bytes: Rc<Cell<u64>>,
    told: Rc<Cell<u64>>,
}

impl Progress {
    /// The line that comes next, from 1.
    pub(super) fn line(&self) -> u64 {
        self.lines.get() + 1
    }

    /// Bytes since this was asked last.
    pub(super) fn more_bytes(&self) -> u64 {
        let bytes = self.bytes.get();
        bytes - self.told.replace(bytes)
    }
}

/// Counts what is read through it.
pub(super) struct Counted<R> {
    inner: R,
    progress: Progress,
}

impl<R> Counted<R> {
    pub(super) fn new(inner: R, progress: &Progress) -> Self {
        Self { inner, progress: progress.clone() }
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let ends = buffer[..count].iter().filter(|byte| **byte == b'\n').count();
        self.progress.lines.set(self.progress.lines.get() + ends as u64);
        self.progress.bytes.set(self.progress.bytes.get() + count as u64);
        Ok(count)
    }
}
