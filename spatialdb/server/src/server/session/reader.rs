//! Reading a session: hello, then message after message in order.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use spatialdb_core::Outcome;
use spatialdb_core::authority::issuer::Said;
use spatialdb_proto::v1::{self, ClientMessage, ServerMessage, client_message::Body, server_message};
use spatialdb_proto::{Incoming, Outgoing, PROTOCOL_VERSION, status_of};
use spatialdb_types::{Epoch, Error, Reason, RegionId, Seq, ViewId};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use super::answers::{Answerer, Asked};
use super::intake::{self, Intake};
use super::task;
use crate::auth::Right;
use crate::server::access::{self, Caller};
use crate::server::edge::Edge;
use crate::server::port::{Event, Port, Stats};
use crate::server::supervised;
use crate::server::tools::{ask, view};

/// How long a connection may take to say hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// Answers that wait for the session's task; beyond it the session is read no further.
const ANSWER_QUEUE: usize = 64;

type Out = mpsc::Sender<Result<Outgoing, Status>>;

/// Waits for Hello, and begins.
pub(super) async fn run(edge: Arc<Edge>, caller: Caller, mut incoming: Streaming<Incoming>, out: Out) {
    let begun = match tokio::time::timeout(HELLO_TIMEOUT, incoming.message()).await {
        Ok(first) => begin(&edge, &caller, first, incoming, out.clone()),
        Err(_) => Err(Error::new(Reason::MessageUnexpected, "no Hello within 10 s")),
    };
    if let Err(error) = begun {
        // The client may be gone already.
        let _ = out.send(Err(caller.refuse(&error))).await;
    }
}

/// Begins a session by its first message. It lives on in two tasks of its own.
pub(super) fn begin(
    edge: &Arc<Edge>,
    caller: &Caller,
    first: Result<Option<Incoming>, Status>,
    incoming: Streaming<Incoming>,
    out: Out,
) -> Result<(), Error> {
    let hello = match first {
        Ok(Some(incoming)) => first_message(incoming.message)?,
        Ok(None) => return Err(Error::new(Reason::MessageUnexpected, "the stream ended before Hello")),
        Err(status) => return Err(broken(edge, &status)),
    };
    let (reader, session) = open(edge, caller, hello)?;
    tokio::spawn(session.run(out));
    tokio::spawn(reader.run(incoming));
    Ok(())
}

/// What a message that could not be read means. If the connection is gone nobody hears it.
fn broken(edge: &Edge, status: &Status) -> Error {
    let max = edge.limits.message_bytes_max;
    if status.code() == tonic::Code::OutOfRange {
        return Error::new(Reason::MessageTooLarge, format!("a message passes message_bytes_max = {max}"));
    }
    Error::new(Reason::MessageMalformed, format!("not a ClientMessage: {}", status.message()))
}

fn first_message(message: ClientMessage) -> Result<v1::Hello, Error> {
    match message {
        ClientMessage { seq: 1, body: Some(Body::Hello(hello)) } => Ok(hello),
        ClientMessage { body: Some(Body::Hello(_)), seq } => {
            Err(Error::new(Reason::SequenceGap, format!("the first message has seq {seq}; 1 is needed")))
        }
        _ => Err(Error::new(Reason::MessageUnexpected, "the first message of a session is Hello")),
    }
}

/// Registers the session with the world.
pub(super) fn open(
    edge: &Arc<Edge>,
    caller: &Caller,
    hello: v1::Hello,
) -> Result<(Reader, task::Task), Error> {
    if edge.draining.load(Ordering::SeqCst) {
        return Err(Error::new(Reason::Draining, "the server is stopping"));
    }
    if hello.protocol_min > PROTOCOL_VERSION || hello.protocol_max < PROTOCOL_VERSION {
        let (min, max) = (hello.protocol_min, hello.protocol_max);
        let detail = format!("the worker speaks {min} to {max}, this server {PROTOCOL_VERSION}");
        return Err(Error::new(Reason::ProtocolUnsupported, detail));
    }
    if hello.instance.len() > 256 {
        return Err(Error::new(Reason::NameInvalid, "instance: at most 256 bytes are taken"));
    }
    let principal = edge.access.principal(caller, &hello.token, &hello.worker_type)?;
    access::check_sessions(edge, &principal)?;
    // Named and reachable in one step: whoever replaces this session must find it.
    let mut world = edge.world();
    let holder = world.names.holder(&hello.worker_type, &hello.name).and_then(|old| edge.sessions.get(&old));
    // Whoever may attach as that type may take over a worker of the server's own.
    let is_other = |port: &Port| port.stats.principal.name != principal.name && !port.stats.principal.is_own;
    if holder.is_some_and(|port| is_other(&port)) {
        let detail = format!("{}: a session of another principal has this name", hello.name);
        return Err(Error::new(Reason::NotPermitted, detail));
    }
    let attached = world.names.attach(&hello.worker_type, &hello.name)?;
    let connected = edge.clock.unix_us();
    let stats = Arc::new(Stats::new(principal, &attached.owner, hello.instance, connected));
    let (port, events) = Port::new(stats.clone());
    if let Some(old) = attached.replaced.and_then(|old| edge.sessions.get(&old)) {
        old.send(Event::Replaced);
    }
    edge.sessions.insert(attached.session, port.clone());
    edge.interests.open(edge, attached.session, &stats.name);
    stats.heard_at.store(edge.clock.now(), Ordering::Relaxed);
    edge.authority.open(edge, attached.session, &stats);
    supervised::open(edge, attached.session, &stats);
    drop(world);
    edge.roster.note_change();
    if let Some(log) = &edge.log {
        log.note_attached(stats.attached(attached.session));
    }
    if edge.draining.load(Ordering::SeqCst) {
        // It may have come too late to be told with the others.
        port.send(Event::Drain);
    }
    tracing::info!(
        session_id = attached.session.0,
        worker_type = stats.worker_type,
        name = stats.name,
        principal = stats.principal.name,
        "session opened"
    );
    let (answers, answer_queue) = mpsc::channel(ANSWER_QUEUE);
    let in_flight = Arc::new(Semaphore::new(edge.limits.session_messages_in_flight_max as usize));
    let closed = CancellationToken::new();
    let task = task::Task::new(
        edge.clone(),
        attached.session,
        stats,
        task::Queues { events, answers: answer_queue },
        in_flight.clone(),
        closed.clone(),
    );
    let intake = Intake::new(edge.clone(), attached.session, attached.owner, port.clone());
    let reader = Reader {
        edge: edge.clone(),
        intake,
        port,
        answers,
        questions: None,
        in_flight,
        closed,
        last: Seq(1),
        seen_epoch: Epoch(0),
    };
    Ok((reader, task))
}

/// Reads the messages of one session.
pub(super) struct Reader {
    edge: Arc<Edge>,
    intake: Intake,
    port: Port,
    answers: mpsc::Sender<ServerMessage>,
    /// To the answerer of the session's questions, from the first on.
    questions: Option<mpsc::Sender<Asked>>,
    in_flight: Arc<Semaphore>,
    closed: CancellationToken,
    last: Seq,
    /// The highest grant that it has processed.
    seen_epoch: Epoch,
}

impl Reader {
    async fn run(mut self, mut stream: Streaming<Incoming>) {
        self.welcome();
        let closed = self.closed.clone();
        tokio::select! {
            () = closed.cancelled() => {}
            end = self.read(&mut stream) => self.port.send(end),
        }
    }

    /// Reads until the session ends, and says how.
    async fn read(&mut self, stream: &mut Streaming<Incoming>) -> Event {
        loop {
            let message = match stream.message().await {
                Ok(Some(message)) => message,
                Ok(None) => return Event::Ended,
                Err(status) => return Event::Broken(status_of(&broken(&self.edge, &status))),
            };
            match self.take(message).await {
                Ok(None) => {}
                Ok(Some(end)) => return end,
                Err(error) => return Event::Broken(status_of(&error)),
            }
        }
    }

    /// Hello is decided.
    pub(super) fn welcome(&self) {
        self.port.send(Event::Received { seq: Seq(1), rows: 0, refused: Outcome::default() });
    }

    /// Takes messages in that did not come by a stream.
    ///
    /// # Errors
    /// What breaks the protocol: the session ends.
    pub(super) async fn receive(&mut self, messages: Vec<Incoming>) -> Result<(), Status> {
        let closed = self.closed.clone();
        let over = || status_of(&Error::new(Reason::SessionNotFound, "the session is over"));
        for message in messages {
            let taken = tokio::select! {
                () = closed.cancelled() => return Err(over()),
                taken = self.take(message) => taken,
            };
            match taken {
                Ok(None) => {}
                Ok(Some(end)) => self.port.send(end),
                Err(error) => {
                    let status = status_of(&error);
                    self.port.send(Event::Broken(status.clone()));
                    return Err(status);
                }
            }
        }
        Ok(())
    }

    /// # Errors
    /// Only what breaks the protocol: the session ends.
    async fn take(&mut self, Incoming { message, is_too_deep }: Incoming) -> Result<Option<Event>, Error> {
        // Given back by the task when the message is decided.
        match self.in_flight.acquire().await {
            Ok(permit) => permit.forget(),
            Err(_) => return Ok(Some(Event::Ended)),
        }
        let seq = Seq(message.seq);
        if seq.0 != self.last.0 + 1 {
            let detail = format!("seq {seq} came after {}", self.last);
            return Err(Error::new(Reason::SequenceGap, detail));
        }
        self.last = seq;
        // A library may answer by itself what its worker's loop does not hear any more.
        if !matches!(message.body, Some(Body::AuthorityReport(_))) {
            self.port.stats.heard_at.store(self.edge.clock.now(), Ordering::Relaxed);
        }
        if is_too_deep {
            let max = self.edge.limits.constraint_depth_max;
            let detail = format!(
                "the message is nested deeper than protobuf reads; a constraint goes up to constraint_depth_max = {max}"
            );
            self.intake.refuse(seq, &Error::new(Reason::QueryInvalid, detail));
            return Ok(None);
        }
        let Some(body) = message.body else {
            return Err(Error::new(Reason::MessageUnexpected, format!("message {seq} has no known body")));
        };
        if !matches!(body, Body::Heartbeat(_)) {
            self.port.stats.said.fetch_add(1, Ordering::Relaxed);
        }
        if let Err(error) = self.permit(&body) {
            if let Body::Create(create) = &body {
                let rows = intake::row_count(create).min(self.edge.limits.message_rows_max as usize);
                let created = v1::Created { seq: seq.0, entities: vec![0; rows] };
                self.answer(server_message::Body::Created(created)).await;
            }
            self.intake.refuse(seq, &error);
            return Ok(None);
        }
        if let Err(error) = self.note_seen(seq, &body) {
            self.intake.refuse(seq, &error);
            return Ok(None);
        }
        match body {
            Body::Hello(_) => return Err(Error::new(Reason::MessageUnexpected, "a second Hello")),
            Body::Update(update) => {
                self.wait_for_room().await;
                self.intake.update(seq, &update);
            }
            Body::AddComponents(add) => {
                self.wait_for_room().await;
                self.intake.add_components(seq, &add);
            }
            Body::Delete(delete) => {
                self.wait_for_room().await;
                self.intake.delete(seq, &delete);
            }
            Body::RemoveComponents(remove) => {
                self.wait_for_room().await;
                self.intake.remove_components(seq, &remove);
            }
            Body::Create(create) => {
                self.wait_for_room().await;
                // Room for the answer first: it goes before the rows, so that it is told before they are decided.
                let room = self.answers.clone().reserve_owned().await.ok();
                self.intake.create(seq, &create, |created| {
                    let body = Some(server_message::Body::Created(created));
                    room.map(|room| room.send(ServerMessage { body }));
                });
            }
            Body::ReserveIds(reserve) => match self.intake.reserve_ids(seq, &reserve) {
                Ok(reserved) => {
                    self.answer(server_message::Body::IdsReserved(reserved)).await;
                    self.intake.decided(seq);
                }
                Err(error) => self.intake.refuse(seq, &error),
            },
            Body::Subscribe(v1::Subscribe { view }) => self.view(seq, view, Event::Subscribe),
            Body::ChangeView(v1::ChangeView { view }) => self.view(seq, view, Event::ChangeView),
            Body::EndView(v1::EndView { view_id }) => self.port.send(Event::EndView(seq, ViewId(view_id))),
            Body::Ask(ask) => self.ask(seq, ask).await,
            Body::Heartbeat(heartbeat) => self.heartbeat(seq, &heartbeat),
            Body::AuthorityReport(report) => self.report(seq, &report),
            Body::TakeHold(take) => {
                self.wait_for_room().await;
                // Room for the answer first: it goes before the hold is decided.
                let room = self.answers.clone().reserve_owned().await.ok();
                let tell = |taken| {
                    let body = Some(server_message::Body::HoldTaken(taken));
                    room.map(|room| room.send(ServerMessage { body }));
                };
                if let Err(error) = self.intake.take_hold(seq, &take, tell) {
                    self.intake.refuse(seq, &error);
                }
            }
            Body::EndHold(end) => self.intake.end_hold(seq, Epoch(end.epoch)),
            Body::Goodbye(goodbye) => {
                self.intake.decided(seq);
                tracing::debug!(reason = goodbye.reason, detail = goodbye.detail, "worker said goodbye");
                return Ok(Some(Event::Ended));
            }
        }
        Ok(None)
    }

    /// Whether the session's principal may say that.
    fn permit(&self, body: &Body) -> Result<(), Error> {
        let principal = &self.port.stats.principal;
        match body {
            Body::Create(_) | Body::ReserveIds(_) => principal.check(Right::Create),
            Body::Delete(_) => principal.check(Right::Delete),
            Body::Update(_) | Body::AddComponents(_) | Body::RemoveComponents(_) => principal.check_write(),
            Body::Subscribe(_) => {
                principal.check(Right::Query).and_then(|()| access::check_views(&self.edge, principal))
            }
            Body::ChangeView(_) | Body::Ask(_) => principal.check(Right::Query),
            Body::TakeHold(_) => principal.check(Right::Edit),
            Body::EndView(_)
            | Body::Heartbeat(_)
            | Body::AuthorityReport(_)
            | Body::EndHold(_)
            | Body::Goodbye(_)
            | Body::Hello(_) => Ok(()),
        }
    }

    /// What the worker knew when it wrote goes with what it wrote.
    ///
    /// # Errors
    /// `AUTHORITY_SEEN_INVALID`.
    fn note_seen(&mut self, seq: Seq, body: &Body) -> Result<(), Error> {
        let number = match body {
            Body::Update(update) => update.authority_seen,
            Body::Create(create) => create.authority_seen,
            Body::Delete(delete) => delete.authority_seen,
            Body::AddComponents(add) => add.authority_seen,
            Body::RemoveComponents(remove) => remove.authority_seen,
            Body::AuthorityReport(report) => report.authority_seen,
            _ => return Ok(()),
        };
        // In an open world nobody is told anything, so nobody has to have seen it.
        if !self.edge.authority.concerns(&self.port.stats.worker_type) {
            return Ok(());
        }
        let seen = self.port.stats.seen().seen(number)?;
        if seen.epoch > self.seen_epoch {
            self.seen_epoch = seen.epoch;
            self.port.send(Event::Said(seq, Said::Seen(seen.epoch)));
        }
        self.intake.note_seen(seen);
        Ok(())
    }

    /// Holds the worker back. Silence is not its own meanwhile.
    async fn wait_for_room(&self) {
        let stats = &self.port.stats;
        stats.is_unread.store(true, Ordering::Relaxed);
        self.edge.wait_for_room().await;
        stats.heard_at.store(self.edge.clock.now(), Ordering::Relaxed);
        // Nor has it stood still: it goes on with what it wanted to say.
        stats.said.fetch_add(1, Ordering::Relaxed);
        stats.is_unread.store(false, Ordering::Relaxed);
    }

    fn report(&self, seq: Seq, report: &v1::AuthorityReport) {
        if let Err(error) = self.intake.check_rows(report.flushed.len() + report.warmed.len()) {
            return self.intake.refuse(seq, &error);
        }
        // Nobody else could have been asked to flush or to warm anything.
        if !self.edge.authority.concerns(&self.port.stats.worker_type) {
            return self.intake.decided(seq);
        }
        let flushed =
            report.flushed.iter().map(|grant| Said::Flushed(RegionId(grant.region), Epoch(grant.epoch)));
        let warmed = report.warmed.iter().map(|&region| Said::Warmed(RegionId(region)));
        flushed.chain(warmed).for_each(|said| self.port.send(Event::Said(seq, said)));
        self.intake.decided(seq);
    }

    async fn answer(&self, body: server_message::Body) {
        // The task is gone if the session is over.
        let _ = self.answers.send(ServerMessage { body: Some(body) }).await;
    }

    /// Has a question answered beside what else the session does.
    async fn ask(&mut self, seq: Seq, ask: v1::Ask) {
        let query = match ask::question_of(&self.edge, ask) {
            Ok(query) => query,
            Err(error) => return self.intake.refuse(seq, &error),
        };
        // Decided when it is answered.
        self.port.send(Event::Received { seq, rows: 1, refused: Outcome::default() });
        let (edge, port, answers) = (&self.edge, &self.port, &self.answers);
        let start = || Answerer::start(edge.clone(), port.clone(), answers.clone());
        // The answerer is gone if the session is over.
        let _ = self.questions.get_or_insert_with(start).send(Asked { seq, query }).await;
    }

    fn view(&self, seq: Seq, view: Option<v1::View>, event: fn(Seq, spatialdb_core::View) -> Event) {
        match view::view_of(&self.edge, &self.port.stats.worker_type, view) {
            Ok(view) => self.port.send(event(seq, view)),
            Err(error) => self.intake.refuse(seq, &error),
        }
    }

    fn heartbeat(&self, seq: Seq, heartbeat: &v1::Heartbeat) {
        if !(heartbeat.load.is_finite() && heartbeat.tick_ms.is_finite()) {
            let detail = format!(
                "heartbeat: load = {}, tick_ms = {}: finite numbers are needed",
                heartbeat.load, heartbeat.tick_ms
            );
            return self.intake.refuse(seq, &Error::new(Reason::MessageMalformed, detail));
        }
        let stats = &self.port.stats;
        stats.load.store(heartbeat.load.to_bits(), Ordering::Relaxed);
        stats.tick_ms.store(heartbeat.tick_ms.to_bits(), Ordering::Relaxed);
        stats.frame_seen.fetch_max(heartbeat.seen_frame, Ordering::Relaxed);
        stats.heartbeat_at.store(self.edge.clock.now().max(1), Ordering::Relaxed);
        stats.beats.fetch_add(1, Ordering::Release);
        self.intake.decided(seq);
    }
}
