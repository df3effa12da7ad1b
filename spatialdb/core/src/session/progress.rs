//! How far a session's messages are decided.

use std::collections::VecDeque;

use spatialdb_types::Seq;

/// Counts undecided rows per message. Rows may be decided in any order, by several partitions.
#[derive(Debug, Default)]
pub(super) struct Progress {
    applied: Seq,
    /// Undecided rows of the messages after `applied`, in order.
    open: VecDeque<u32>,
    rows: u64,
}

impl Progress {
    pub(super) fn received(&mut self, seq: Seq, rows: u32) {
        assert_eq!(seq.0, self.applied.0 + self.open.len() as u64 + 1, "messages come without gaps");
        self.open.push_back(rows);
        self.rows += u64::from(rows);
        self.advance();
    }

    pub(super) fn decided(&mut self, seq: Seq, rows: u32) {
        if rows == 0 {
            return;
        }
        let open = &mut self.open[(seq.0 - self.applied.0 - 1) as usize];
        *open -= rows;
        self.rows -= u64::from(rows);
        self.advance();
    }

    pub(super) const fn applied(&self) -> Seq {
        self.applied
    }

    /// The message that comes next.
    pub(super) fn next(&self) -> Seq {
        Seq(self.applied.0 + self.open.len() as u64 + 1)
    }

    pub(super) const fn rows(&self) -> u64 {
        self.rows
    }

    pub(super) fn messages(&self) -> usize {
        self.open.len()
    }

    fn advance(&mut self) {
        while self.open.front() == Some(&0) {
            self.open.pop_front();
            self.applied.0 += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn applied_rises_only_without_gaps() {
        let mut progress = Progress::default();
        progress.received(Seq(1), 3);
        progress.received(Seq(2), 1);
        progress.received(Seq(3), 0);
        progress.decided(Seq(2), 1);
        progress.decided(Seq(1), 2);
        assert_eq!((progress.applied(), progress.rows(), progress.messages()), (Seq(0), 1, 3));
        progress.decided(Seq(1), 1);
        assert_eq!((progress.applied(), progress.rows(), progress.messages()), (Seq(3), 0, 0));
    }
}
