//! A worker's connection to a world.
//!
//! Responsible for: the one place where session, connection and time meet: waiting, back-pressure, reconnecting.
//! Not responsible for: protocol state (`session.rs`), transport (`connection.rs`), what the worker may write
//! (`worker/owned.rs`), a loop around it (`run.rs`).
//!
//! There is no task of its own behind a [`Worker`]: it moves when the worker calls it. While the worker does
//! not read, the transport's windows fill and the server conflates.

mod owned;

use std::{future::Future, pin::Pin, time::Duration};

use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tonic::Status;

use crate::{
    Answer, Ask, AskError, Backoff, Batch, Event, NewEntities, Replica, SendError, Ticket, View, ViewId,
    Welcomed, WorkerError, WorkerOptions,
    connection::{Connection, error_of, open},
    inbox::EVENTS_MAX,
    session::{Session, name_seen},
    v1::{self, client_message::Body},
};

// Views that one session may have; the server has a limit of its own.
const VIEWS_MAX: usize = 64;
// Room in the queue to the transport that heartbeats and goodbye have for themselves.
const LIVENESS_SLOTS: usize = 4;
// A batch is at most this many messages.
const BATCH_MESSAGES_MAX: usize = 4;
// How long a goodbye may take to be heard.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(2);

type Opening = Pin<Box<dyn Future<Output = Result<(Connection, Welcomed), WorkerError>> + Send>>;

/// What there is of a connection. Futures live here and not on the stack of a call, so that every call of
/// [`Worker`] may be dropped and called again.
enum Link {
    Up(Connection),
    Waiting(Pin<Box<Sleep>>),
    Opening(Opening),
    Stopped(Option<WorkerError>),
}

/// A worker's session with a world, across reconnects.
pub struct Worker {
    options: WorkerOptions,
    session: Session,
    backoff: Backoff,
    link: Link,
}

impl Worker {
    /// Connects, says Hello, checks the schema. A server that cannot be reached is tried again for
    /// `connect_patience`.
    ///
    /// # Errors
    /// When the server stays out of reach, refuses the worker, or has another schema.
    ///
    /// # Cancel safety
    /// Dropping the call gives up the attempt.
    pub async fn connect(mut options: WorkerOptions) -> Result<Self, WorkerError> {
        options.in_flight_messages_max = options.in_flight_messages_max.max(BATCH_MESSAGES_MAX);
        options.outgoing_messages_max = options.outgoing_messages_max.max(BATCH_MESSAGES_MAX);
        let mut backoff = Backoff::new(options.backoff, options.backoff_seed);
        let deadline = Instant::now() + options.connect_patience;
        let mut warned = false;
        let (connection, welcomed) = loop {
            let error = match open(options.clone(), queue_capacity(&options)).await {
                Ok(opened) => break opened,
                Err(error) => error,
            };
            let next = Instant::now() + backoff.next_delay();
            if error.is_final() || next > deadline {
                return Err(error);
            }
            if !std::mem::replace(&mut warned, true) {
                tracing::warn!(error = %error, "cannot connect yet, trying again");
            }
            sleep_until(next).await;
        };
        // From here on the worker keeps the name it has, also when the server gave it.
        options.name.clone_from(&welcomed.name);
        let mut worker = Self { options, session: Session::new(), backoff, link: Link::Stopped(None) };
        worker.begin(connection, welcomed);
        Ok(worker)
    }

    /// What the server said when it took the worker in, last time.
    pub fn welcomed(&self) -> &Welcomed {
        &self.session.welcomed
    }

    /// What the views show, as of the last frame received.
    pub fn replica(&self) -> &Replica {
        &self.session.replica
    }

    /// The number of the last message of what it may write, in this session.
    pub(crate) fn authority_seen(&self) -> u64 {
        self.session.authority.seen()
    }

    /// Whether the replica shows all that the views match: there is a session, and each view has had its first fill.
    pub fn is_ready(&self) -> bool {
        self.is_connected() && self.session.is_filled()
    }

    /// Whether there is a session now.
    pub fn is_connected(&self) -> bool {
        matches!(self.link, Link::Up(_))
    }

    /// Messages sent and not yet decided by the server.
    pub fn in_flight(&self) -> usize {
        self.session.in_flight_len()
    }

    /// The next thing that happened; waits for it. Reconnects when the connection is gone.
    ///
    /// # Errors
    /// When the session has ended for good: the worker was replaced by a newer session of its name, or is
    /// refused in a way that connecting again cannot help. Later calls return [`WorkerError::Stopped`].
    ///
    /// # Cancel safety
    /// Safe: nothing is lost when the call is dropped, e.g. by `tokio::select!`.
    pub async fn next_event(&mut self) -> Result<Event, WorkerError> {
        // Who asks for the next event has done what it wanted to do about the last.
        self.session.authority.flush_handed();
        self.report_if(self.session.authority.report.is_urgent());
        loop {
            if let Some(event) = self.session.next_event() {
                return Ok(event);
            }
            self.step().await?;
        }
    }

    /// Sends the batch, which is empty afterwards. Waits while the server is behind, and takes in frames
    /// meanwhile, so that the replica may change and [`Self::next_event`] then has the news.
    ///
    /// # Errors
    /// When nothing of the batch was sent; it is then unchanged.
    ///
    /// # Cancel safety
    /// Safe: a dropped call has sent nothing and the batch is unchanged.
    pub async fn send(&mut self, batch: &mut Batch) -> Result<Vec<Ticket>, SendError> {
        self.send_as(batch, self.authority_seen()).await
    }

    /// Sends a batch of a worker that knew so much of what it may write when it filled the batch: what comes while it waits
    /// does not count.
    pub(crate) async fn send_as(&mut self, batch: &mut Batch, seen: u64) -> Result<Vec<Ticket>, SendError> {
        loop {
            match self.try_send_as(batch, seen) {
                Err(SendError::Full { .. }) => self.wait_for_room(batch.message_count()).await,
                sent => return sent,
            }
        }
    }

    /// Sends the batch, which is empty afterwards, if that needs no waiting.
    ///
    /// # Errors
    /// [`SendError::Full`] while the server is behind, and as [`Self::send`]. The batch is then unchanged.
    pub fn try_send(&mut self, batch: &mut Batch) -> Result<Vec<Ticket>, SendError> {
        self.try_send_as(batch, self.authority_seen())
    }

    fn try_send_as(&mut self, batch: &mut Batch, seen: u64) -> Result<Vec<Ticket>, SendError> {
        self.check_size(batch.largest_message())?;
        self.check_room(batch.message_count())?;
        let mut send = |mut body: Body| {
            name_seen(&mut body, seen);
            self.put(body)
        };
        batch.take_bodies().into_iter().map(&mut send).collect()
    }

    /// Creates entities. Answered by [`Event::Created`]; repeated by itself after a reconnect.
    ///
    /// # Errors
    /// When it was not sent.
    ///
    /// # Cancel safety
    /// A dropped call has sent nothing.
    pub async fn create(&mut self, new: NewEntities) -> Result<Ticket, SendError> {
        new.check_ids()?;
        self.check_size(new.size())?;
        self.send_body(new.into_body()).await
    }

    /// Asks for a block of entity ids. Answered by [`Event::IdsReserved`]; repeated by itself after a
    /// reconnect.
    ///
    /// # Errors
    /// When it was not sent.
    ///
    /// # Cancel safety
    /// A dropped call has sent nothing.
    pub async fn reserve_ids(&mut self, count: u32) -> Result<Ticket, SendError> {
        self.send_body(Body::ReserveIds(v1::ReserveIds { count })).await
    }

    /// Asks once, of the world as it is at one moment. Answered by [`Event::Answered`], or by [`Self::answer`]. Several
    /// questions may be on their way. [`Constraint::near`](crate::Constraint::near) is for views: ask for a sphere.
    ///
    /// ```no_run
    /// use spatialdb_sdk::{Ask, Constraint, Point3, Position, SpaceId, Worker, v1::Metadata};
    ///
    /// # async fn example(worker: &mut Worker) -> Result<(), Box<dyn std::error::Error>> {
    /// let paris = Position { space: SpaceId(0), point: Point3::new(261_000.0, 5_431_000.0, 0.0) };
    /// let nearest = Ask::new(Constraint::text("has City")).component::<Metadata>().nearest_to(paris).limit(5);
    /// let nearest = worker.ask(nearest).await?;
    /// let all = worker.ask(Ask::count(Constraint::text("has City"))).await?;
    /// for found in worker.answer(nearest).await?.entities {
    ///     println!("{:?} at {:?} m", found.get::<Metadata>()?, found.distance_m);
    /// }
    /// println!("of {} cities", worker.answer(all).await?.match_count);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When it was not sent.
    ///
    /// # Cancel safety
    /// A dropped call has sent nothing.
    pub async fn ask(&mut self, ask: Ask) -> Result<Ticket, SendError> {
        self.send_body(Body::Ask(ask.into_wire())).await
    }

    /// Waits for the answer to a question, whole, and takes in frames meanwhile.
    ///
    /// # Errors
    /// When the server refuses the question, or the connection is lost: the question is not asked again.
    ///
    /// # Cancel safety
    /// Safe: the answer of a dropped call can be asked for again, and comes as an event otherwise.
    pub async fn answer(&mut self, ticket: Ticket) -> Result<Answer, AskError> {
        loop {
            if let Some(answer) = self.session.inbox.take_answer(ticket) {
                return answer;
            }
            if !self.session.awaits_answer(ticket) {
                return Err(AskError::NotAsked(ticket));
            }
            // What ended the session has told so to all questions, and `next_event` tells why.
            let Link::Up(connection) = &mut self.link else { return Err(AskError::Lost) };
            let received = connection.incoming.message().await;
            self.received(received);
        }
    }

    /// Starts a view, or replaces the one with the same id. Its fill ends with [`Event::ViewReady`]. Views are
    /// subscribed again after a reconnect.
    ///
    /// # Errors
    /// When it was not sent.
    ///
    /// # Cancel safety
    /// A dropped call has sent nothing.
    pub async fn subscribe(&mut self, view: View) -> Result<Ticket, SendError> {
        let body = if self.session.has_view(view.id()) {
            Body::ChangeView(v1::ChangeView { view: Some(view.into_wire()) })
        } else if self.session.views_len() < VIEWS_MAX {
            Body::Subscribe(v1::Subscribe { view: Some(view.into_wire()) })
        } else {
            return Err(SendError::TooManyViews { view: view.id(), limit: VIEWS_MAX });
        };
        self.send_body(body).await
    }

    /// Ends a view: what only it showed leaves.
    ///
    /// # Errors
    /// When it was not sent.
    ///
    /// # Cancel safety
    /// A dropped call has sent nothing.
    pub async fn end_view(&mut self, view: ViewId) -> Result<Ticket, SendError> {
        self.send_body(Body::EndView(v1::EndView { view_id: view.0 })).await
    }

    /// Says that the worker's own loop runs: its load (0 idle, 1 full) and how long the last tick took. Call it
    /// about once a second from that loop. Does nothing while there is no session or no room.
    pub fn heartbeat(&mut self, load: f64, tick: Duration) {
        let seen_frame = self.session.replica.frame();
        let tick_ms = tick.as_secs_f64() * 1000.0;
        if let Link::Up(connection) = &self.link
            && connection.outgoing.capacity() > 0
        {
            let sent = self.put(Body::Heartbeat(v1::Heartbeat { load, tick_ms, seen_frame }));
            debug_assert!(sent.is_ok(), "there was room");
        }
        self.report_if(self.session.authority.report.is_due());
    }

    /// Ends the session politely: what was sent before is still applied. `reason` may be empty.
    pub async fn goodbye(mut self, reason: &str) {
        let body = v1::Goodbye { reason: reason.to_owned(), ..Default::default() };
        let Link::Up(connection) = &self.link else { return };
        if connection.outgoing.capacity() == 0 || self.put(Body::Goodbye(body)).is_err() {
            return;
        }
        let Link::Up(Connection { outgoing, mut incoming }) = self.link else { return };
        drop(outgoing);
        let heard = timeout(GOODBYE_TIMEOUT, async { while let Ok(Some(_)) = incoming.message().await {} });
        if heard.await.is_err() {
            tracing::warn!(
                limit_ms = GOODBYE_TIMEOUT.as_millis(),
                "the server did not end the session in time"
            );
        }
    }

    /// Moves the link one step on.
    async fn step(&mut self) -> Result<(), WorkerError> {
        match &mut self.link {
            Link::Up(connection) => {
                // What the worker has seen is said once for all that is at hand.
                let is_due = self.session.authority.report.is_due() && connection.outgoing.capacity() > 0;
                let received = tokio::select! {
                    biased;
                    received = connection.incoming.message() => Some(received),
                    () = std::future::ready(()), if is_due => None,
                };
                match received {
                    Some(received) => self.received(received),
                    None => self.report_if(true),
                }
            }
            Link::Waiting(sleep) => {
                sleep.await;
                self.link =
                    Link::Opening(Box::pin(open(self.options.clone(), queue_capacity(&self.options))));
            }
            Link::Opening(opening) => match opening.await {
                Ok((connection, welcomed)) => {
                    self.session.inbox.push(Event::Reconnected(welcomed.clone()));
                    self.begin(connection, welcomed);
                }
                Err(error) => self.fail(error),
            },
            Link::Stopped(error) => return Err(error.take().unwrap_or(WorkerError::Stopped)),
        }
        Ok(())
    }

    fn begin(&mut self, connection: Connection, welcomed: Welcomed) {
        let messages = self.session.begin(welcomed);
        for message in messages {
            let sent = connection.outgoing.try_send(message);
            // The queue is made to hold all of them; a transport that already broke is noticed when reading.
            debug_assert!(!matches!(sent, Err(tokio::sync::mpsc::error::TrySendError::Full(_))));
        }
        self.link = Link::Up(connection);
    }

    fn received(&mut self, received: Result<Option<v1::ServerMessage>, Status>) {
        let accepted = match received {
            Ok(Some(message)) => self.session.accept(message),
            Ok(None) => Err(WorkerError::Unreachable {
                address: self.options.address.clone(),
                detail: "the server closed the stream".to_owned(),
            }),
            Err(status) => Err(error_of(&self.options.address, &status)),
        };
        if self.session.take_proven() {
            self.backoff.reset();
        }
        self.report_if(self.session.authority.report.is_urgent());
        if let Err(error) = accepted {
            self.fail(error);
        }
    }

    /// Says what is due of what the worker may write. Without room it stays due.
    fn report_if(&mut self, is_wanted: bool) {
        if let Link::Up(connection) = &self.link
            && is_wanted
            && connection.outgoing.capacity() > 0
        {
            let seen = self.authority_seen();
            let report = self.session.authority.report.take(seen);
            let sent = self.put(Body::AuthorityReport(report));
            debug_assert!(sent.is_ok(), "there was room");
        }
    }

    /// Gives up the connection, for now or for good.
    fn fail(&mut self, error: WorkerError) {
        let lost = self.session.lose();
        if error.is_final() {
            self.link = Link::Stopped(Some(error));
            return;
        }
        if matches!(error, WorkerError::Protocol { .. }) {
            tracing::error!(error = %error, "the session cannot go on");
        }
        let asked = self.session.take_farewell().map(|farewell| farewell.retry_after).unwrap_or_default();
        let retry_in = self.backoff.next_delay().max(asked);
        // Attempts that fail while already disconnected are no news.
        if self.is_connected() {
            self.session.inbox.push(Event::Disconnected { error: error.to_string(), lost, retry_in });
        } else {
            tracing::debug!(error = %error, retry_in_ms = retry_in.as_millis(), "still disconnected");
        }
        self.link = Link::Waiting(Box::pin(sleep_until(Instant::now() + retry_in)));
    }

    async fn send_body(&mut self, mut body: Body) -> Result<Ticket, SendError> {
        name_seen(&mut body, self.authority_seen());
        loop {
            match self.check_room(1) {
                Ok(()) => return self.put(body),
                Err(SendError::Full { .. }) => self.wait_for_room(1).await,
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether `messages` more may be sent now.
    fn check_room(&self, messages: usize) -> Result<(), SendError> {
        let Link::Up(connection) = &self.link else { return Err(SendError::Disconnected) };
        let options = &self.options;
        if self.session.inbox.is_full() {
            return Err(SendError::EventsUnread { limit: EVENTS_MAX });
        }
        let full = |limit_name, limit| Err(SendError::Full { limit_name, limit });
        if self.in_flight_full(messages) {
            return full("in_flight_messages_max", options.in_flight_messages_max);
        }
        if self.session.unanswered_len() >= options.unanswered_messages_max {
            return full("unanswered_messages_max", options.unanswered_messages_max);
        }
        if connection.outgoing.is_closed() {
            // The transport broke; the cause comes from reading.
            return full("outgoing_messages_max", 0);
        }
        if connection.outgoing.capacity() < reserved_slots(options) + messages {
            return full("outgoing_messages_max", options.outgoing_messages_max);
        }
        Ok(())
    }

    fn in_flight_full(&self, messages: usize) -> bool {
        self.session.in_flight_len() + messages > self.options.in_flight_messages_max
    }

    /// Reads one message of the server, or finds that the transport took some of ours.
    async fn wait_for_room(&mut self, messages: usize) {
        let for_server = self.in_flight_full(messages)
            || self.session.unanswered_len() >= self.options.unanswered_messages_max;
        let slots = reserved_slots(&self.options) + messages;
        let Link::Up(connection) = &mut self.link else { return };
        let for_server = for_server || connection.outgoing.is_closed();
        let received = tokio::select! {
            received = connection.incoming.message() => received,
            _ = connection.outgoing.reserve_many(slots), if !for_server => return,
        };
        self.received(received);
    }

    fn check_size(&self, (rows, bytes): (usize, usize)) -> Result<(), SendError> {
        for (limit_name, value) in [("message_rows_max", rows), ("message_bytes_max", bytes)] {
            let (value, limit) = (value as u64, self.session.welcomed.limits.get(limit_name));
            if let Some(limit) = limit.filter(|limit| value > **limit) {
                return Err(SendError::TooLarge { limit_name, value, limit: *limit });
            }
        }
        Ok(())
    }

    /// Numbers the message and hands it to the transport, which has room.
    fn put(&mut self, body: Body) -> Result<Ticket, SendError> {
        let Link::Up(connection) = &self.link else { return Err(SendError::Disconnected) };
        let (message, ticket) = self.session.stamp(body);
        // A transport that broke just now is noticed when reading, and the message is then among the lost.
        let sent = connection.outgoing.try_send(message);
        debug_assert!(
            !matches!(sent, Err(tokio::sync::mpsc::error::TrySendError::Full(_))),
            "room was checked"
        );
        Ok(ticket)
    }
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker")
            .field("options", &self.options)
            .field("connected", &self.is_connected())
            .finish_non_exhaustive()
    }
}

/// Slots of the queue that only a new session and liveness use.
fn reserved_slots(options: &WorkerOptions) -> usize {
    VIEWS_MAX + options.unanswered_messages_max + LIVENESS_SLOTS
}

fn queue_capacity(options: &WorkerOptions) -> usize {
    reserved_slots(options) + options.outgoing_messages_max
}
