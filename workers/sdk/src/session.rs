//! The state of a worker's session, without I/O.
//!
//! Responsible for: sequence numbers and tickets, what is in flight, what must be said again after a reconnect,
//! turning server messages into replica and events.
//! Not responsible for: the connection (`connection.rs`), waiting (`worker.rs`).

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use spatialdb_types::{ComponentId, EntityId, Reason, ViewId};

use crate::{
    Answer, AskError, EntityEvent, Event, FrameEvent, Rejected, Replica, Ticket, Welcomed, WorkerError,
    authority::Authority,
    event::components_of,
    inbox::{Inbox, Next},
    v1::{self, client_message::Body, server_message},
};

/// A message sent and not decided.
#[derive(Debug)]
struct InFlight {
    seq: u64,
    ticket: Ticket,
    /// The view, if the message starts one.
    subscribes: Option<ViewId>,
    is_ask: bool,
}

/// A message that has an answer of its own and is repeated until it comes.
#[derive(Debug)]
struct Unanswered {
    seq: u64,
    body: Body,
}

/// A question, and what has come of its answer.
#[derive(Debug)]
struct Asked {
    ticket: Ticket,
    answer: Answer,
}

/// What the server asked for when it said goodbye.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Farewell {
    pub(crate) retry_after: Duration,
}

#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) replica: Replica,
    pub(crate) welcomed: Welcomed,
    pub(crate) inbox: Inbox,
    pub(crate) authority: Authority,
    last_seq: u64,
    last_ticket: u64,
    in_flight: VecDeque<InFlight>,
    unanswered: BTreeMap<Ticket, Unanswered>,
    /// By seq.
    asked: BTreeMap<u64, Asked>,
    views: BTreeMap<ViewId, v1::View>,
    /// Views that have not had their first fill.
    unfilled: BTreeSet<ViewId>,
    farewell: Option<Farewell>,
    proven: bool,
}

impl Session {
    pub(crate) fn new() -> Self {
        Self {
            replica: Replica::new(),
            welcomed: Welcomed::default(),
            inbox: Inbox::default(),
            authority: Authority::default(),
            last_seq: 0,
            last_ticket: 0,
            in_flight: VecDeque::new(),
            unanswered: BTreeMap::new(),
            asked: BTreeMap::new(),
            views: BTreeMap::new(),
            unfilled: BTreeSet::new(),
            farewell: None,
            proven: false,
        }
    }

    pub(crate) fn in_flight_len(&self) -> usize {
        self.in_flight.len()
    }

    pub(crate) fn unanswered_len(&self) -> usize {
        self.unanswered.len()
    }

    pub(crate) fn views_len(&self) -> usize {
        self.views.len()
    }

    pub(crate) fn has_view(&self, view: ViewId) -> bool {
        self.views.contains_key(&view)
    }

    /// Whether every view has had its first fill.
    pub(crate) fn is_filled(&self) -> bool {
        self.unfilled.is_empty()
    }

    /// Whether the session has had a frame since it was last asked: it works.
    pub(crate) fn take_proven(&mut self) -> bool {
        std::mem::take(&mut self.proven)
    }

    /// What the server's goodbye asked for, once.
    pub(crate) fn take_farewell(&mut self) -> Option<Farewell> {
        self.farewell.take()
    }

    /// A new connection is welcomed; Hello was its message 1. Returns what to send first: unanswered messages,
    /// then the views, so that the first fill shows what those messages did.
    pub(crate) fn begin(&mut self, welcomed: Welcomed) -> Vec<v1::ClientMessage> {
        assert!(self.in_flight.is_empty(), "a session begins with nothing in flight");
        self.welcomed = welcomed;
        self.authority.begin(&self.welcomed.layers);
        self.last_seq = 1;
        self.proven = false;
        self.farewell = None;
        let mut messages = Vec::with_capacity(self.unanswered.len() + self.views.len());
        for unanswered in self.unanswered.values_mut() {
            self.last_seq += 1;
            unanswered.seq = self.last_seq;
            name_seen(&mut unanswered.body, 0);
            messages.push(v1::ClientMessage { seq: self.last_seq, body: Some(unanswered.body.clone()) });
        }
        let views: Vec<v1::View> = self.views.values().cloned().collect();
        for view in views {
            messages.push(self.stamp(Body::Subscribe(v1::Subscribe { view: Some(view) })).0);
        }
        messages
    }

    /// Gives a message its number and notes what is owed for it.
    pub(crate) fn stamp(&mut self, body: Body) -> (v1::ClientMessage, Ticket) {
        self.last_seq += 1;
        self.last_ticket += 1;
        let (seq, ticket) = (self.last_seq, Ticket(self.last_ticket));
        match &body {
            Body::Create(_) | Body::ReserveIds(_) => {
                self.unanswered.insert(ticket, Unanswered { seq, body: body.clone() });
            }
            Body::Heartbeat(_) | Body::AuthorityReport(_) | Body::Hello(_) | Body::Goodbye(_) => {}
            other => {
                let is_ask = matches!(other, Body::Ask(_));
                if is_ask {
                    self.asked.insert(seq, Asked { ticket, answer: Answer::default() });
                }
                let subscribes = self.note_view(other);
                self.in_flight.push_back(InFlight { seq, ticket, subscribes, is_ask });
            }
        }
        (v1::ClientMessage { seq, body: Some(body) }, ticket)
    }

    fn note_view(&mut self, body: &Body) -> Option<ViewId> {
        match body {
            Body::Subscribe(v1::Subscribe { view: Some(view) }) => {
                self.views.insert(ViewId(view.view_id), view.clone());
                self.unfilled.insert(ViewId(view.view_id));
                return Some(ViewId(view.view_id));
            }
            Body::ChangeView(v1::ChangeView { view: Some(view) }) => {
                self.views.insert(ViewId(view.view_id), view.clone());
            }
            Body::EndView(end) => {
                self.views.remove(&ViewId(end.view_id));
                self.unfilled.remove(&ViewId(end.view_id));
                self.replica.end_view(ViewId(end.view_id));
            }
            _ => {}
        }
        None
    }

    /// The connection is gone. Returns the messages whose fate is unknown; questions are told of by themselves.
    pub(crate) fn lose(&mut self) -> Vec<Ticket> {
        self.disown();
        for Asked { ticket, .. } in std::mem::take(&mut self.asked).into_values() {
            self.inbox.push(Event::Answered { ticket, answer: Err(AskError::Lost) });
        }
        self.in_flight
            .drain(..)
            .filter(|message| message.subscribes.is_none() && !message.is_ask)
            .map(|message| message.ticket)
            .collect()
    }

    fn disown(&mut self) {
        self.authority.clear();
        self.inbox.disown();
    }

    /// Whether the answer to a question is still to come.
    pub(crate) fn awaits_answer(&self, ticket: Ticket) -> bool {
        self.asked.values().any(|asked| asked.ticket == ticket)
    }

    /// The next event to hand to the worker.
    pub(crate) fn next_event(&mut self) -> Option<Event> {
        Some(match self.inbox.next()? {
            Next::Event(event) => {
                if let Event::LossImminent { region, .. } = &event {
                    self.authority.report.hand(region.id, region.epoch);
                }
                event
            }
            Next::Frame(frame) => Event::Frame(FrameEvent { changes: self.replica.take_changes(), ..frame }),
        })
    }

    /// Takes in one message of the server.
    ///
    /// # Errors
    /// When the server breaks the protocol, or ends the session for good.
    pub(crate) fn accept(&mut self, message: v1::ServerMessage) -> Result<(), WorkerError> {
        match message.body {
            Some(server_message::Body::Frame(frame)) => return self.accept_frame(frame),
            Some(server_message::Body::Reset(_)) => {
                self.replica.clear();
                self.authority.clear();
                self.inbox.reset();
            }
            Some(server_message::Body::Created(created)) => self.accept_created(&created),
            Some(server_message::Body::IdsReserved(reserved)) => self.accept_reserved(&reserved),
            Some(server_message::Body::Goodbye(goodbye)) => return self.accept_goodbye(goodbye),
            Some(server_message::Body::FlagsChanged(changed)) => {
                self.welcomed.flags = changed.flags.into_iter().collect();
                self.inbox.push(Event::FlagsChanged(self.welcomed.flags.clone()));
            }
            Some(server_message::Body::SchemaChanged(changed)) => {
                self.welcomed.components = components_of(changed.components);
                self.welcomed.schema_digest.clone_from(&changed.schema_digest);
                self.inbox.push(Event::SchemaChanged { schema_digest: changed.schema_digest });
            }
            Some(server_message::Body::Welcome(_)) => {
                return Err(protocol("a second Welcome in one session".to_owned()));
            }
            Some(server_message::Body::Answer(page)) => return self.accept_answer(page),
            Some(server_message::Body::Authority(message)) => {
                let events = self.authority.accept(message).map_err(protocol)?;
                events.into_iter().for_each(|event| self.inbox.push(event));
            }
            // Resumed keeps the replica; workers take hold of nothing; a message this SDK does not know is from a later version.
            Some(server_message::Body::Resumed(_) | server_message::Body::HoldTaken(_)) | None => {}
        }
        Ok(())
    }

    fn accept_frame(&mut self, mut frame: v1::Frame) -> Result<(), WorkerError> {
        // Squares of a view that was ended meanwhile may still have been on their way.
        frame.densities.retain(|column| self.views.contains_key(&ViewId(column.view_id)));
        self.replica.apply(&frame).map_err(|error| protocol(error.to_string()))?;
        self.proven = true;
        self.authority.now_us = frame.world_time_us;
        for rejection in frame.rejections {
            self.accept_rejection(rejection);
        }
        for collapsed in frame.rejections_collapsed {
            self.inbox.collapse(collapsed.reason, collapsed.count);
        }
        while self.in_flight.front().is_some_and(|message| message.seq <= frame.applied_seq) {
            self.in_flight.pop_front();
        }
        while let Some(asked) = self.asked.first_entry().filter(|asked| *asked.key() <= frame.applied_seq) {
            // Its answer would have come before; so its refusal is among those that are only counted.
            let (reason, detail) = (String::new(), "refused; the server only counts its refusals".to_owned());
            let (ticket, answer) = (asked.remove().ticket, Err(AskError::Refused { reason, detail }));
            self.inbox.push(Event::Answered { ticket, answer });
        }
        for column in frame.events {
            self.accept_events(column)?;
        }
        for missed in frame.events_missed {
            self.inbox.miss(ComponentId(missed.component), missed.event, missed.count);
        }
        for ready in frame.view_ready {
            let view = ViewId(ready.view_id);
            self.unfilled.remove(&view);
            self.inbox.push_after_frame(Event::ViewReady { view, entity_count: ready.entity_count });
        }
        let event = FrameEvent {
            frame: frame.frame,
            world_time_us: frame.world_time_us,
            unix_time_us: frame.unix_time_us,
            ..FrameEvent::default()
        };
        self.inbox.frame(event, frame.more);
        Ok(())
    }

    fn accept_events(&mut self, column: v1::EventColumn) -> Result<(), WorkerError> {
        let (component, event) = (ComponentId(column.component), column.event);
        if column.entities.len() != column.payloads.len() {
            let detail =
                format!("a column of event {event} of component {component} has arrays of different lengths");
            return Err(protocol(detail));
        }
        for (entity, payload) in column.entities.into_iter().zip(column.payloads) {
            self.inbox.happened(EntityEvent { entity: EntityId(entity), component, event, payload });
        }
        Ok(())
    }

    fn accept_answer(&mut self, mut page: v1::Answer) -> Result<(), WorkerError> {
        let (seq, last) = (page.seq, std::mem::take(&mut page.last));
        let Some(asked) = self.asked.get_mut(&seq) else { return Ok(()) };
        asked.answer.add(page).map_err(protocol)?;
        if last && let Some(Asked { ticket, answer }) = self.asked.remove(&seq) {
            self.inbox.push(Event::Answered { ticket, answer: Ok(answer) });
        }
        Ok(())
    }

    fn accept_rejection(&mut self, rejection: v1::Rejection) {
        if let Some(Asked { ticket, .. }) = self.asked.remove(&rejection.seq) {
            let answer = Err(AskError::Refused { reason: rejection.reason, detail: rejection.detail });
            return self.inbox.push(Event::Answered { ticket, answer });
        }
        let in_flight = self.in_flight.iter().find(|message| message.seq == rejection.seq);
        if let Some(view) = in_flight.and_then(|message| message.subscribes) {
            // It was never started: do not start it again after a reconnect.
            self.views.remove(&view);
            self.unfilled.remove(&view);
        }
        let ticket = in_flight.map(|message| message.ticket).or_else(|| self.unanswered_of(rejection.seq));
        self.inbox.reject(Rejected {
            ticket,
            column: rejection.column,
            row: rejection.row,
            code: rejection.code(),
            entity: (rejection.entity != 0).then_some(EntityId(rejection.entity)),
            component: (rejection.component != 0).then_some(ComponentId(rejection.component)),
            reason: rejection.reason,
            detail: rejection.detail,
        });
    }

    fn unanswered_of(&self, seq: u64) -> Option<Ticket> {
        self.unanswered.iter().find(|(_, message)| message.seq == seq).map(|(ticket, _)| *ticket)
    }

    fn accept_created(&mut self, created: &v1::Created) {
        let Some(ticket) = self.unanswered_of(created.seq) else { return };
        let Some(Unanswered { body: Body::Create(create), .. }) = self.unanswered.remove(&ticket) else {
            return;
        };
        let entities = created.entities.iter().map(|id| (*id != 0).then_some(EntityId(*id))).collect();
        self.inbox.push(Event::Created { ticket, request_id: create.request_id, entities });
    }

    fn accept_reserved(&mut self, reserved: &v1::IdsReserved) {
        let Some(ticket) = self.unanswered_of(reserved.seq) else { return };
        self.unanswered.remove(&ticket);
        let (first, count) = (EntityId(reserved.first), reserved.count);
        self.inbox.push(Event::IdsReserved { ticket, first, count });
    }

    fn accept_goodbye(&mut self, goodbye: v1::Goodbye) -> Result<(), WorkerError> {
        if goodbye.reason == Reason::SessionReplaced.name() {
            return Err(WorkerError::Replaced { detail: goodbye.detail });
        }
        let retry_after = Duration::from_millis(u64::from(goodbye.retry_after_ms));
        self.farewell = Some(Farewell { retry_after });
        let (reason, detail) = (goodbye.reason, goodbye.detail);
        self.inbox.push(Event::Goodbye { reason, detail, retry_after });
        Ok(())
    }
}

/// Has a write say how much of what it may write its worker knew.
pub(crate) fn name_seen(body: &mut Body, seen: u64) {
    match body {
        Body::Update(update) => update.authority_seen = seen,
        Body::Create(create) => create.authority_seen = seen,
        Body::Delete(delete) => delete.authority_seen = seen,
        Body::AddComponents(add) => add.authority_seen = seen,
        Body::RemoveComponents(remove) => remove.authority_seen = seen,
        _ => {}
    }
}

fn protocol(detail: String) -> WorkerError {
    WorkerError::Protocol { detail }
}
