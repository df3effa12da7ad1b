//! `spatialdb watch`: shows what changes in a running world, as it changes.
//!
//! Responsible for: the session, and when it ends. Not responsible for: what changed (`changes`, `squares`), lines (`lines`).

mod changes;
mod lines;
mod squares;

use std::future::pending;
use std::io::{self, Write};
use std::time::Duration;

use clap::Args;
use spatialdb_proto::v1::{
    self, ClientMessage, ServerMessage, client_message, constraint::Kind, server_message,
};
use spatialdb_schema::Schema;
use spatialdb_types::{ComponentId, Error, Reason};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::CliError;
use super::client::{Client, ClientArgs};
use super::signals::{Parent, Signals};
use changes::Changes;
use lines::Lines;
use squares::{SquareArgs, squares_of};

/// Tools may attach as this.
const WORKER_TYPE: &str = "watch";

const VIEW_ID: u64 = 1;

/// Hello, the view, the goodbye.
const QUEUE: usize = 3;

/// How long the world may take to say goodbye too.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(2);

const EXAMPLES: &str = "\
Each line is an entity: the time (UTC), + when it comes into view, ~ when it changes, - when it
leaves, ! when something happens to it (an event of the schema), its id, type and name, and the
values that are new. Ctrl-C ends it.
docs/query-language.md tells what a query can say.
With --densities each line is a square of the map: the time, how many entities are in it now, from
which corner to which it goes, and of which type they are if types are counted apart.

Examples:
  What flies around Paris, twice a second:
    spatialdb watch 'has earth.Aircraft and sphere(261km, 5431km, 50km)' --rate 2
  Where one entity is, ten times:
    spatialdb watch 'id = 10000000' --components Position --count 10
  Everything for a minute, for a script:
    spatialdb watch --for 1m --json
  How many aircraft, airports and cities there are around Paris, in squares of 50 km or more:
    spatialdb watch --densities 50000 --area 0,5200000,500000,5700000 --per-type";

/// Show entities that meet a condition, as they come, change and leave
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct WatchArgs {
    /// What to look at, as `has earth.Aircraft and box(0, 0, 10km, 10km)` [default: everything]
    #[arg(value_name = "QUERY")]
    query: Option<String>,

    /// Show these components [default: all]
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    components: Vec<String>,

    /// At most so many times a second; 0: as fast as the world publishes
    #[arg(long, value_name = "HZ", default_value_t = 0.0, allow_hyphen_values = true)]
    rate: f64,

    /// End after so many lines
    #[arg(long, value_name = "N")]
    count: Option<u64>,

    /// End after this time: 90, 90s, 5m
    #[arg(long = "for", value_name = "TIME", value_parser = parse_time)]
    time: Option<Duration>,

    #[command(flatten)]
    squares: SquareArgs,

    #[command(flatten)]
    client: ClientArgs,
}

fn parse_time(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string()),
        Err(_) => humantime::parse_duration(text).map_err(|error| error.to_string()),
    }
}

/// Shows what changes until a signal, or for as long as was asked.
pub(super) async fn run(args: WatchArgs) -> Result<(), CliError> {
    let mut signals = Signals::new(Parent::Ignored).map_err(CliError::Runtime)?;
    let client = Client::connect(&args.client).await?;
    let mut watch = Watch::attach(args, client).await?;
    let deadline = watch.args.time.and_then(|time| Instant::now().checked_add(time));
    let in_time = async {
        match deadline {
            Some(deadline) => sleep_until(deadline).await,
            None => pending().await,
        }
    };
    let ended = tokio::select! {
        ended = watch.follow() => ended,
        () = signals.stop_asked() => Ok(()),
        () = in_time => Ok(()),
    };
    watch.leave().await;
    ended
}

fn what_to_watch(args: &WatchArgs, lines: &Lines) -> v1::View {
    if let Some(densities) = args.squares.wanted() {
        return v1::View { densities: Some(densities), ..v1::View::default() };
    }
    let kind = args.query.clone().map_or(Kind::All(v1::All {}), Kind::Text);
    v1::View {
        constraint: Some(v1::Constraint { kind: Some(kind) }),
        components: lines.needed().into_iter().map(|component| component.0).collect(),
        ..v1::View::default()
    }
}

/// A session with one view.
struct Watch {
    args: WatchArgs,
    client: Client,
    schema: Schema,
    outgoing: mpsc::Sender<ClientMessage>,
    incoming: Streaming<ServerMessage>,
    changes: Changes,
    lines: Lines,
    /// Nothing was told of squares yet.
    is_first: bool,
}

impl Watch {
    async fn attach(args: WatchArgs, mut client: Client) -> Result<Self, CliError> {
        let schema = client.schema().await?;
        let asked = args.components.iter().map(|name| Ok(schema.component_named(name)?.id()));
        let asked: Vec<ComponentId> = asked.collect::<Result<_, Error>>()?;
        let lines = Lines::new(args.client.json, asked.clone(), args.count);
        let (outgoing, queue) = mpsc::channel(QUEUE);
        let hello = client_message::Body::Hello(v1::Hello {
            protocol_min: 1,
            protocol_max: 1,
            worker_type: WORKER_TYPE.to_owned(),
            instance: format!("spatialdb watch, process {}", std::process::id()),
            ..v1::Hello::default()
        });
        let view = v1::View { view_id: VIEW_ID, rate_hz: args.rate, ..what_to_watch(&args, &lines) };
        let subscribe = client_message::Body::Subscribe(v1::Subscribe { view: Some(view) });
        for (seq, body) in [(1, hello), (2, subscribe)] {
            // The queue holds both.
            let _ = outgoing.try_send(ClientMessage { seq, body: Some(body) });
        }
        let incoming = client.sessions().attach(ReceiverStream::new(queue)).await;
        let incoming = incoming.map_err(|status| client.failed(&status))?.into_inner();
        Ok(Self {
            args,
            client,
            schema,
            outgoing,
            incoming,
            changes: Changes::default(),
            lines,
            is_first: true,
        })
    }

    /// Shows what changes, until as many lines are printed as were asked for.
    ///
    /// # Cancel safety
    /// Lines are printed whole.
    async fn follow(&mut self) -> Result<(), CliError> {
        while !self.lines.are_enough() {
            let message = self.incoming.message().await.map_err(|status| self.lost(&status))?;
            match message.and_then(|message| message.body) {
                Some(server_message::Body::Frame(frame)) => self.show(&frame)?,
                Some(server_message::Body::SchemaChanged(_)) => {
                    self.schema = self.client.schema().await?;
                    self.lines.forget_names();
                }
                Some(server_message::Body::Goodbye(v1::Goodbye { reason, detail, .. })) => {
                    return Err(self.ended(format!("the world said goodbye: {reason}: {detail}")));
                }
                Some(_) => {}
                None => return Err(self.ended("the world ended the session".to_owned())),
            }
        }
        Ok(())
    }

    fn show(&mut self, frame: &v1::Frame) -> Result<(), CliError> {
        if let Some(rejection) = frame.rejections.first() {
            let reason = Reason::from_name(&rejection.reason).unwrap_or(Reason::QueryInvalid);
            let error = CliError::Refused(Error::new(reason, rejection.detail.clone()));
            return Err(error.with_place(self.args.query.as_deref(), &self.schema));
        }
        if self.is_first && !frame.densities.is_empty() {
            self.is_first = false;
            if let Some(remark) = self.args.squares.remark(frame) {
                writeln!(io::stderr(), "{remark}")?;
            }
        }
        let events = self.changes.take(frame);
        self.lines.print(frame.unix_time_us, &events, &self.schema)?;
        self.lines.squares(frame.unix_time_us, &squares_of(frame))?;
        for missed in &frame.events_missed {
            self.lines.missed(frame.unix_time_us, missed, &self.schema)?;
        }
        for ready in &frame.view_ready {
            self.lines.ready(frame.unix_time_us, ready.entity_count)?;
        }
        Ok(())
    }

    fn ended(&self, cause: String) -> CliError {
        CliError::Lost { address: self.client.address().to_owned(), cause }
    }

    fn lost(&self, status: &Status) -> CliError {
        match spatialdb_proto::error_of_status(status) {
            Some(error) => CliError::Refused(error),
            None => self.ended(format!("the connection is lost: {}", super::error::deepest_cause(status))),
        }
    }

    /// Says goodbye, and waits a little for the answer: then the world has heard it.
    async fn leave(mut self) {
        let goodbye = client_message::Body::Goodbye(v1::Goodbye::default());
        // A session that has ended needs none.
        let _ = self.outgoing.try_send(ClientMessage { seq: 3, body: Some(goodbye) });
        let heard = async { while let Ok(Some(_)) = self.incoming.message().await {} };
        let _ = timeout(GOODBYE_TIMEOUT, heard).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_or_have_a_unit() {
        assert_eq!(parse_time("1.5"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse_time("2m"), Ok(Duration::from_secs(120)));
        assert!(parse_time("-1").is_err() && parse_time("soon").is_err() && parse_time("nan").is_err());
    }
}
