//! The task of a session: hears what partitions and the reader say, and speaks to the worker.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use spatialdb_core::authority::issuer::Said;
use spatialdb_core::{Micros, Outcome, Rejection, Session, ToPartition};
use spatialdb_proto::Outgoing;
use spatialdb_proto::v1::{self, ServerMessage, server_message::Body};
use spatialdb_schema::Schema;
use spatialdb_types::{Error, PartitionId, Reason, Seq, SessionId};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::authority;
use super::frames::{self, Piece, Traffic};
use super::interests::{self, Interests};
use crate::server::edge::Edge;
use crate::server::partition::{Note, ViewSlots};
use crate::server::port::{Event, Stats};
use crate::server::supervised;
use crate::server::tools::describe;

/// How long a last word may wait for a connection that does not read.
const LAST_WORD_TIMEOUT: Duration = Duration::from_secs(1);

/// What the task listens to.
pub(super) struct Queues {
    pub(super) events: mpsc::UnboundedReceiver<Event>,
    pub(super) answers: mpsc::Receiver<ServerMessage>,
}

/// One session's voice.
pub(super) struct Task {
    edge: Arc<Edge>,
    session: Session,
    interests: Interests,
    stats: Arc<Stats>,
    queues: Queues,
    in_flight: Arc<Semaphore>,
    closed: CancellationToken,
    views: Arc<ViewSlots>,
    /// What the worker has to say to the issuer, once its messages up to that one are decided.
    said: VecDeque<(Seq, Said)>,
    /// When each of the machine's waiting deltas was published.
    published: VecDeque<Micros>,
    /// Goes before any frame.
    answer: Option<ServerMessage>,
    /// News of the world that go before anything else; only the newest of each kind waits.
    flags_changed: bool,
    schema_changed: Option<Arc<Schema>>,
    reader_ended: bool,
    /// A frame that was too large for one message.
    pieces: VecDeque<Piece>,
    frame: u64,
    released: Seq,
    end: Option<End>,
}

/// How the session ends.
enum End {
    /// The worker is done: what it sent is decided first.
    Finished,
    /// Told in a goodbye.
    Goodbye(Error),
    /// Told in the status of the stream.
    Broken(Status),
}

type Out = mpsc::Sender<Result<Outgoing, Status>>;

impl Task {
    pub(super) fn new(
        edge: Arc<Edge>,
        id: SessionId,
        stats: Arc<Stats>,
        queues: Queues,
        in_flight: Arc<Semaphore>,
        closed: CancellationToken,
    ) -> Self {
        let views = Arc::new(ViewSlots::new(edge.partitions.len()));
        let session = Session::new(id, edge.partitions.len() as u16, edge.limits.clone());
        Self {
            edge,
            session,
            interests: Interests::default(),
            stats,
            queues,
            in_flight,
            closed,
            views,
            said: VecDeque::new(),
            published: VecDeque::new(),
            answer: None,
            flags_changed: false,
            schema_changed: None,
            reader_ended: false,
            pieces: VecDeque::new(),
            frame: 0,
            released: Seq(0),
            end: None,
        }
    }

    /// Speaks until the session ends.
    pub(super) async fn run(mut self, out: Out) {
        let welcome = describe::welcome(&self.edge, self.session.id(), &self.stats);
        let greeted = out.send(message(Body::Welcome(welcome))).await.is_ok()
            && out.send(message(Body::Reset(v1::Reset {}))).await.is_ok();
        if greeted {
            self.serve(&out).await;
        }
        self.say_last_word(out).await;
        self.close();
    }

    async fn serve(&mut self, out: &Out) {
        while !self.is_over() {
            tokio::select! {
                biased;
                event = self.queues.events.recv() => match event {
                    Some(event) => self.hear(event),
                    None => return,
                },
                () = self.stats.page_turned.notified() => {
                    self.interests.read(&self.edge, &self.stats, &mut self.session);
                }
                answer = self.queues.answers.recv(), if self.answer.is_none() && !self.reader_ended => {
                    // None: its last event says why.
                    self.reader_ended = answer.is_none();
                    self.answer = answer;
                }
                permit = out.reserve(), if self.has_message() => match permit {
                    Ok(permit) => permit.send(Ok(self.next_message())),
                    Err(_) => return,
                },
                () = out.closed() => return,
            }
            while let Ok(event) = self.queues.events.try_recv() {
                self.hear(event);
            }
            self.after_events();
        }
    }

    fn is_over(&self) -> bool {
        match self.end {
            None => false,
            Some(End::Finished) => self.session.messages_in_flight() == 0 && !self.has_message(),
            Some(End::Goodbye(_) | End::Broken(_)) => true,
        }
    }

    fn hear(&mut self, event: Event) {
        match event {
            Event::Received { seq, rows, refused } => {
                self.session.received(seq, rows);
                self.session.refused(refused);
            }
            Event::Answered(outcome) => self.session.refused(outcome),
            Event::Subscribe(seq, view) => {
                let result = self.session.subscribe(view);
                self.decide(seq, result);
            }
            Event::ChangeView(seq, view) => {
                let result = self.session.change_view(view);
                self.decide(seq, result);
            }
            Event::EndView(seq, view) => {
                let result = self.session.end_view(view);
                self.decide(seq, result);
            }
            Event::Partition { from, at, message } => {
                if self.session.receive(from, message) {
                    self.published.push_back(at);
                }
            }
            Event::Notice(notice) => self.session.notice(notice),
            Event::Sight(entity, answer) => {
                // Whoever asked may have gone.
                let _ = answer.send(self.session.sight(entity));
            }
            Event::Said(seq, said) => self.said.push_back((seq, said)),
            Event::FlagsChanged => self.flags_changed = true,
            Event::SchemaChanged(schema) => self.schema_changed = Some(schema),
            Event::Ended => self.end = Some(End::Finished),
            Event::Broken(status) => self.end = Some(End::Broken(status)),
            Event::Revoked => {
                let detail = "the token has expired or was revoked";
                self.end = Some(End::Goodbye(Error::new(Reason::TokenInvalid, detail)));
            }
            Event::Replaced => {
                let detail = format!("a newer session is {} {}", self.stats.worker_type, self.stats.name);
                self.end = Some(End::Goodbye(Error::new(Reason::SessionReplaced, detail)));
            }
            Event::Drain => {
                self.end = Some(End::Goodbye(Error::new(Reason::Draining, "the server is stopping")));
            }
        }
    }

    /// A message that the session machine decides by itself.
    fn decide(&mut self, seq: Seq, result: Result<(), Error>) {
        self.session.received(seq, 0);
        if let Err(error) = result {
            let rejections = vec![Rejection::of_message(seq, error)];
            self.session.refused(Outcome { rejections, ..Outcome::default() });
        }
    }

    /// Passes a message of the machine on.
    fn tell(&self, to: PartitionId, message: ToPartition) {
        let partition = self.edge.partition(to);
        match message {
            ToPartition::SetViews(version, views) => {
                if self.views.put(to, (version, views)) {
                    partition.note(&self.edge, Note::Views(self.session.id(), self.views.clone()));
                }
            }
            message => partition.note(&self.edge, Note::Session(self.session.id(), message)),
        }
    }

    /// Passes on what the machine wants sent, and tells how it stands.
    fn after_events(&mut self) {
        interests::tell_left_out(&self.edge, &self.stats, &mut self.session);
        let outbox: Vec<_> = self.session.drain_outbox().collect();
        outbox.into_iter().for_each(|(to, message)| self.tell(to, message));
        let applied = self.session.applied();
        if applied > self.released {
            self.in_flight.add_permits((applied.0 - self.released.0) as usize);
            self.released = applied;
        }
        while let Some((_, said)) = self.said.pop_front_if(|(seq, _)| *seq <= applied) {
            self.edge.authority.hear(&self.edge, self.session.id(), said);
        }
        let stats = &self.stats;
        let front = if self.session.has_frame() { self.published.front().copied().unwrap_or(0) } else { 0 };
        stats.waiting_since.store(front, Ordering::Relaxed);
        stats.views.store(self.session.view_count() as u64, Ordering::Relaxed);
        stats.entities_in_view.store(self.session.entities_in_view() as u64, Ordering::Relaxed);
        stats.rows_in_flight.store(self.session.rows_in_flight(), Ordering::Relaxed);
        stats.applied.store(applied.0, Ordering::Relaxed);
    }

    fn has_message(&self) -> bool {
        self.session.has_authority()
            || self.flags_changed
            || self.schema_changed.is_some()
            || self.answer.is_some()
            || !self.pieces.is_empty()
            || self.session.has_frame()
    }

    fn next_message(&mut self) -> Outgoing {
        if let Some(message) = self.session.take_authority() {
            // Whoever hears it may name it from now on.
            self.stats.seen().note(&message);
            return outgoing(Body::Authority(authority::message(&self.edge.layers, message)));
        }
        if let Some(schema) = self.schema_changed.take() {
            return outgoing(Body::SchemaChanged(describe::schema_changed(&schema)));
        }
        if std::mem::take(&mut self.flags_changed) {
            let flags = self.edge.flags.of(&self.stats.worker_type);
            return outgoing(Body::FlagsChanged(v1::FlagsChanged { flags }));
        }
        if let Some(answer) = self.answer.take() {
            return answer.into();
        }
        if self.pieces.is_empty()
            && let Some(body) = self.session.take_frame()
        {
            (0..body.deltas).for_each(|_| self.note_staleness());
            let max = self.edge.limits.frame_bytes_max as usize;
            let outcome = &body.outcome;
            let refused = outcome.rejections.iter().map(|rejection| (rejection.reason, 1));
            for (reason, count) in
                refused.chain(outcome.collapsed.iter().map(|(reason, count)| (*reason, *count)))
            {
                metrics::counter!("spatialdb_session_rejections_total", "reason" => reason.name())
                    .increment(count);
            }
            if !body.events.is_empty() {
                metrics::counter!("spatialdb_session_events_total").increment(body.events.len() as u64);
            }
            if !body.missed.is_empty() {
                let missed = body.missed.counts().map(|(_, count)| count).sum();
                metrics::counter!("spatialdb_session_events_missed_total").increment(missed);
            }
            let mut traffic = Traffic::default();
            self.pieces.extend(frames::pieces_of(body, max, &mut traffic));
            self.edge.traffic.note(traffic.encoded, traffic.sent);
        }
        self.frame += 1;
        self.stats.frames_sent.fetch_add(1, Ordering::Relaxed);
        let (number, clock) = (self.frame, &self.edge.clock);
        let piece = self.pieces.pop_front().unwrap_or_default();
        if self.pieces.is_empty() {
            self.session.frame_sent();
        }
        piece.into_message(|frame| {
            frame.frame = number;
            frame.world_time_us = clock.now() as i64;
            frame.unix_time_us = clock.unix_us();
        })
    }

    fn note_staleness(&mut self) {
        let Some(published) = self.published.pop_front() else { return };
        let staleness = self.edge.clock.now().saturating_sub(published);
        self.stats.last_staleness_us.store(staleness as i64, Ordering::Relaxed);
        metrics::histogram!("spatialdb_session_frame_staleness_seconds").record(staleness as f64 / 1e6);
    }

    async fn say_last_word(&mut self, out: Out) {
        let goodbye = |error: &Error| {
            let (reason, detail) = (error.reason.name().to_owned(), error.detail.clone());
            message(Body::Goodbye(v1::Goodbye { reason, detail, retry_after_ms: 0 }))
        };
        let word = match self.end.take() {
            Some(End::Finished) => message(Body::Goodbye(v1::Goodbye::default())),
            Some(End::Goodbye(error)) => goodbye(&error),
            Some(End::Broken(status)) => Err(status),
            None => return,
        };
        // A connection that does not read loses its last word, nothing else.
        let _ = tokio::time::timeout(LAST_WORD_TIMEOUT, out.send(word)).await;
    }

    fn close(mut self) {
        let id = self.session.id();
        self.session.end();
        let outbox: Vec<_> = self.session.drain_outbox().collect();
        outbox.into_iter().for_each(|(to, message)| self.tell(to, message));
        self.edge.sessions.remove(&id);
        self.edge.interests.close(id);
        self.edge.authority.close(&self.edge, id, &self.stats);
        supervised::close(&self.edge, id, &self.stats);
        self.edge.world().names.detach(id);
        self.edge.roster.note_change();
        self.closed.cancel();
        tracing::info!(
            session_id = id.0,
            worker_type = self.stats.worker_type,
            name = self.stats.name,
            "session closed"
        );
    }
}

fn message(body: Body) -> Result<Outgoing, Status> {
    Ok(outgoing(body))
}

fn outgoing(body: Body) -> Outgoing {
    ServerMessage { body: Some(body) }.into()
}
