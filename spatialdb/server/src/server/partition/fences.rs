//! Fences: when all that was queued under older routes has been applied.

use std::collections::VecDeque;

use crossbeam_channel::Receiver;
use spatialdb_core::Batch;

use crate::server::routes::Routes;

/// The fences of one partition.
#[derive(Debug, Default)]
pub(super) struct Fences {
    /// Asked for; readers of older routes may still be putting batches in the queue.
    asked: Vec<u64>,
    /// Nobody is; each passes when that many batches more have been applied.
    armed: VecDeque<(usize, u64)>,
    applied: usize,
}

impl Fences {
    /// The routes have been changed: from here on the fence is looked for.
    pub(super) fn ask(&mut self, token: u64) {
        self.asked.push(token);
    }

    /// Whether a fence waits.
    pub(super) fn are_open(&self) -> bool {
        !self.asked.is_empty() || !self.armed.is_empty()
    }

    /// Places the asked fences behind what is in the queue, if nobody is still queueing under older routes.
    ///
    /// A quiet moment of the gate is looked for, never waited for. Should there be none for long, moves pile up, the
    /// edge holds back, and then there is one.
    pub(super) fn arm(&mut self, routes: &Routes, queue: &Receiver<Batch>) {
        if self.asked.is_empty() || !routes.is_clear() {
            return;
        }
        let behind = self.applied + queue.len();
        self.armed.extend(self.asked.drain(..).map(|token| (behind, token)));
    }

    /// A batch of the queue has been applied.
    pub(super) const fn batch_applied(&mut self) {
        self.applied += 1;
    }

    /// The next fence that has been passed.
    pub(super) fn next_passed(&mut self) -> Option<u64> {
        let &(behind, token) = self.armed.front()?;
        if self.applied < behind {
            return None;
        }
        self.armed.pop_front();
        Some(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use spatialdb_types::{Seq, SessionId};

    #[test]
    fn a_fence_passes_behind_what_was_queued() {
        let (send, queue) = crossbeam_channel::unbounded();
        let (routes, mut fences) = (Routes::new(), Fences::default());
        for _ in 0..2 {
            send.send(Batch::new(SessionId(1), Seq(1))).expect("open");
        }
        fences.ask(7);
        let reader = routes.enter();
        fences.arm(&routes, &queue);
        assert_eq!(fences.next_passed(), None);
        drop(reader);
        fences.arm(&routes, &queue);
        queue.recv().expect("first");
        fences.batch_applied();
        assert_eq!(fences.next_passed(), None);
        queue.recv().expect("second");
        fences.batch_applied();
        assert_eq!(fences.next_passed(), Some(7));
        assert!(!fences.are_open());
    }
}
