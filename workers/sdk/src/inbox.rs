//! Events that wait for the worker to read them.
//!
//! Responsible for: their order and their bounds. Frames merge, refusals beyond a bound become counts.
//! Not responsible for: the changes of frames, which the replica keeps until the frame is read.

use std::collections::{BTreeMap, VecDeque};

use crate::{Event, FrameEvent, Rejected};

/// Answers that may wait before the session takes no new messages.
pub(crate) const EVENTS_MAX: usize = 4096;
/// Refusals that wait one by one; more become counts.
const REJECTIONS_MAX: usize = 4096;

/// What [`Inbox::next`] hands out.
#[derive(Debug, PartialEq)]
pub(crate) enum Next {
    /// An event as it is.
    Event(Event),
    /// A frame whose changes are to be taken from the replica now.
    Frame(FrameEvent),
}

#[derive(Debug, Default)]
pub(crate) struct Inbox {
    answers: VecDeque<Event>,
    rejected: VecDeque<Rejected>,
    collapsed: BTreeMap<String, u64>,
    frame: Option<FrameEvent>,
    /// The set of changes of `frame` goes on in a frame still to come.
    more: bool,
    ready: VecDeque<Event>,
}

impl Inbox {
    pub(crate) fn is_full(&self) -> bool {
        self.answers.len() + self.ready.len() >= EVENTS_MAX
    }

    pub(crate) fn push(&mut self, event: Event) {
        self.answers.push_back(event);
    }

    /// An event about the replica: to be read after the frame that brought it.
    pub(crate) fn push_after_frame(&mut self, event: Event) {
        self.ready.push_back(event);
    }

    pub(crate) fn reject(&mut self, rejected: Rejected) {
        if self.rejected.len() < REJECTIONS_MAX {
            self.rejected.push_back(rejected);
        } else {
            self.collapse(rejected.reason, 1);
        }
    }

    pub(crate) fn collapse(&mut self, reason: String, count: u64) {
        *self.collapsed.entry(reason).or_default() += count;
    }

    /// The replica has applied a frame. `more`: the frame is not whole without the next one.
    pub(crate) fn frame(&mut self, frame: FrameEvent, more: bool) {
        self.frame = Some(frame);
        self.more = more;
    }

    /// The replica is empty: what waits about it is void.
    pub(crate) fn reset(&mut self) {
        self.frame = None;
        self.more = false;
        self.ready.clear();
        self.push(Event::Reset);
    }

    pub(crate) fn next(&mut self) -> Option<Next> {
        if let Some(event) = self.answers.pop_front() {
            return Some(Next::Event(event));
        }
        if let Some(rejected) = self.rejected.pop_front() {
            return Some(Next::Event(Event::Rejected(rejected)));
        }
        if let Some((reason, count)) = self.collapsed.pop_first() {
            return Some(Next::Event(Event::RejectionsCollapsed { reason, count }));
        }
        match self.frame {
            Some(_) if self.more => None,
            Some(_) => self.frame.take().map(Next::Frame),
            None => self.ready.pop_front().map(Next::Event),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1;

    fn rejected(row: u32) -> Rejected {
        Rejected {
            ticket: None,
            column: 0,
            row,
            code: v1::ErrorCode::NotFound,
            reason: "ENTITY_NOT_FOUND".into(),
            entity: None,
            component: None,
            detail: String::new(),
        }
    }

    fn frame(frame: u64) -> FrameEvent {
        FrameEvent { frame, ..Default::default() }
    }

    #[test]
    fn frames_merge_and_wait_until_they_are_whole() {
        let mut inbox = Inbox::default();
        inbox.frame(frame(1), true);
        assert_eq!(inbox.next(), None);
        inbox.frame(frame(2), false);
        inbox.frame(frame(3), false);
        assert_eq!(inbox.next(), Some(Next::Frame(frame(3))));
        assert_eq!(inbox.next(), None);
    }

    #[test]
    fn what_follows_from_a_frame_is_read_after_it() {
        let mut inbox = Inbox::default();
        inbox.push_after_frame(Event::Reset);
        inbox.frame(frame(1), true);
        assert_eq!(inbox.next(), None);
        inbox.frame(frame(2), false);
        assert_eq!(inbox.next(), Some(Next::Frame(frame(2))));
        assert_eq!(inbox.next(), Some(Next::Event(Event::Reset)));
    }

    #[test]
    fn refusals_beyond_the_bound_become_counts() {
        let mut inbox = Inbox::default();
        (0..REJECTIONS_MAX as u32 + 5).for_each(|row| inbox.reject(rejected(row)));
        for row in 0..REJECTIONS_MAX as u32 {
            assert_eq!(inbox.next(), Some(Next::Event(Event::Rejected(rejected(row)))));
        }
        let rest = Event::RejectionsCollapsed { reason: "ENTITY_NOT_FOUND".into(), count: 5 };
        assert_eq!(inbox.next(), Some(Next::Event(rest)));
        assert_eq!(inbox.next(), None);
    }
}
