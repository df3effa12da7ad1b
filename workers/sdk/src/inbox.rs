//! Events that wait for the worker to read them.
//!
//! Responsible for: their order and their bounds. Frames merge; refusals, and events of entities, become counts beyond a
//! bound.
//! Not responsible for: the changes of frames, which the replica keeps until the frame is read.

use std::collections::{BTreeMap, VecDeque};

use spatialdb_types::ComponentId;

use crate::{Answer, AskError, EntityEvent, Event, EventsMissed, FrameEvent, Rejected, Ticket};

/// Answers that may wait before the session takes no new messages.
pub(crate) const EVENTS_MAX: usize = 4096;
/// Refusals that wait one by one; more become counts.
const REJECTIONS_MAX: usize = 4096;

/// Events of entities that wait one by one; more become counts.
const ENTITY_EVENTS_MAX: usize = 65_536;

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
    /// Of that frame.
    events: Vec<EntityEvent>,
    missed: BTreeMap<(ComponentId, u32), u64>,
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

    /// An event of an entity, to be read with the frame that brought it.
    pub(crate) fn happened(&mut self, event: EntityEvent) {
        if self.events.len() < ENTITY_EVENTS_MAX {
            self.events.push(event);
        } else {
            self.miss(event.component, event.event, 1);
        }
    }

    pub(crate) fn miss(&mut self, component: ComponentId, event: u32, count: u64) {
        *self.missed.entry((component, event)).or_default() += count;
    }

    /// The answer to a question, if it waits; it is not read as an event then.
    pub(crate) fn take_answer(&mut self, asked: Ticket) -> Option<Result<Answer, AskError>> {
        let is_it = |event: &Event| matches!(event, Event::Answered { ticket, .. } if *ticket == asked);
        let index = self.answers.iter().position(is_it)?;
        match self.answers.remove(index) {
            Some(Event::Answered { answer, .. }) => Some(answer),
            _ => None,
        }
    }

    /// The replica has applied a frame. `more`: the frame is not whole without the next one.
    pub(crate) fn frame(&mut self, frame: FrameEvent, more: bool) {
        self.frame = Some(frame);
        self.more = more;
    }

    /// Nothing is owned: what waits about that is void.
    pub(crate) fn disown(&mut self) {
        self.answers.retain(|event| !event.is_of_authority());
    }

    /// The replica is empty: what waits about it is void.
    pub(crate) fn reset(&mut self) {
        self.disown();
        self.frame = None;
        self.more = false;
        self.ready.clear();
        for EntityEvent { component, event, .. } in std::mem::take(&mut self.events) {
            self.miss(component, event, 1);
        }
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
            Some(_) => self.take_frame().map(Next::Frame),
            None => self.ready.pop_front().map(Next::Event),
        }
    }
}

impl Inbox {
    fn take_frame(&mut self) -> Option<FrameEvent> {
        let frame = self.frame.take()?;
        let events_missed = std::mem::take(&mut self.missed).into_iter();
        let missed = |((component, event), count)| EventsMissed { component, event, count };
        let events = std::mem::take(&mut self.events);
        Some(FrameEvent { events, events_missed: events_missed.map(missed).collect(), ..frame })
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
    fn events_of_entities_beyond_the_bound_and_before_a_reset_become_counts() {
        let happened = |entity| EntityEvent {
            entity: spatialdb_types::EntityId(entity),
            component: ComponentId(1001),
            event: 1,
            payload: Default::default(),
        };
        let missed = |count| EventsMissed { component: ComponentId(1001), event: 1, count };
        let next = |inbox: &mut Inbox| match inbox.next() {
            Some(Next::Frame(frame)) => (frame.events, frame.events_missed),
            other => panic!("{other:?}"),
        };
        let mut inbox = Inbox::default();
        inbox.happened(happened(1));
        inbox.frame(frame(1), false);
        inbox.happened(happened(2));
        inbox.frame(frame(2), false);
        assert_eq!(next(&mut inbox), (vec![happened(1), happened(2)], vec![]));
        (0..ENTITY_EVENTS_MAX as u64 + 3).for_each(|entity| inbox.happened(happened(entity)));
        inbox.frame(frame(3), false);
        let (events, lost) = next(&mut inbox);
        assert_eq!((events.len(), lost), (ENTITY_EVENTS_MAX, vec![missed(3)]));
        inbox.happened(happened(1));
        inbox.reset();
        inbox.frame(frame(1), false);
        assert_eq!(inbox.next(), Some(Next::Event(Event::Reset)));
        assert_eq!(next(&mut inbox), (vec![], vec![missed(1)]));
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
