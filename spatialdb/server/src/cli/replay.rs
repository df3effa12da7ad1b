//! `spatialdb replay`: says to a world again what a worker said, and compares what becomes of it.

mod ids;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use spatialdb_proto::v1::{
    ClientMessage, Frame, ServerMessage, client_message, server_message,
    worker_service_client::WorkerServiceClient,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;

use super::client::{Client, ClientArgs};
use super::recording::{self, Record};
use super::{CliError, print};
use ids::{Given, Ids};

const QUEUE: usize = 16;
const MESSAGE_BYTES_MAX: usize = 1 << 30;

/// How long the world may take to give ids that the next messages need.
const IDS_TIMEOUT: Duration = Duration::from_secs(10);

const EXAMPLES: &str = "\
Best against a world that starts from the same snapshot: answers are then the same. Where the world gives other ids to
what the worker creates, later messages mean those. Exits with 1 if other rows are refused than when it was recorded.

Examples:
  spatialdb replay balloons.rec
  spatialdb replay balloons.rec --speed 10 --json";

/// Repeat a recorded session
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ReplayArgs {
    /// The recording
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// How many times as fast as it was; 0: as fast as it goes
    #[arg(long, default_value_t = 1.0, value_name = "FACTOR", value_parser = parse_speed)]
    speed: f64,

    #[command(flatten)]
    client: ClientArgs,
}

fn parse_speed(text: &str) -> Result<f64, String> {
    let speed: f64 = text.parse().map_err(|_| "a number is needed")?;
    if speed.is_finite() && speed >= 0.0 {
        Ok(speed)
    } else {
        Err("0 or a number above it is needed".to_owned())
    }
}

/// What a session told its worker, as far as it can be compared.
#[derive(Debug, Default, PartialEq, Eq)]
struct Heard {
    /// Refused rows: of which message, where, why.
    rejections: BTreeMap<(u64, u32, u32), String>,
    frames: u64,
    applied_seq: u64,
}

impl Heard {
    fn hear(&mut self, message: &ServerMessage) {
        let Some(server_message::Body::Frame(frame)) = &message.body else { return };
        let Frame { rejections, applied_seq, .. } = frame;
        self.frames += 1;
        self.applied_seq = *applied_seq;
        for one in rejections {
            self.rejections.insert((one.seq, one.column, one.row), one.reason.clone());
        }
    }
}

/// Says it all again.
pub(super) async fn run(args: ReplayArgs) -> Result<(), CliError> {
    let records = recording::read(&args.file)?;
    let mut before = Heard::default();
    records.iter().filter_map(|record| record.by_server.as_ref()).for_each(|message| before.hear(message));
    let channel = Client::channel(&args.client).await?;
    let mut world = WorkerServiceClient::new(channel)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let last_seq = records.iter().filter_map(|r| r.by_worker.as_ref()).map(|message| message.seq).max();
    let (sender, queue) = mpsc::channel(QUEUE);
    let token = args.client.token.clone().unwrap_or_default();
    let (give, given) = mpsc::unbounded_channel();
    tokio::spawn(say(records, args.speed, token, sender, given));
    let failed = |status: tonic::Status| CliError::of_status(&args.client.address, &status);
    let mut incoming = world.attach(ReceiverStream::new(queue)).await.map_err(failed)?.into_inner();
    let mut now = Heard::default();
    let listen = async {
        while let Some(message) = incoming.message().await? {
            now.hear(&message);
            // No more than what was asked for. Once all is said nobody waits for them.
            if let Some(ids) = Given::of(&message) {
                let _ = give.send(ids);
            }
        }
        Ok(())
    };
    // It ends by itself: the end of what is said is a goodbye.
    listen.await.map_err(failed)?;
    report(&args, last_seq.unwrap_or(0), &before, &now)
}

/// Sends what the worker said, at its times; then ends the stream, so that the server decides all of it and says goodbye.
async fn say(
    records: Vec<Record>,
    speed: f64,
    token: String,
    sender: mpsc::Sender<ClientMessage>,
    mut given: mpsc::UnboundedReceiver<Given>,
) {
    let started = Instant::now();
    let mut ids = Ids::default();
    for record in records {
        // What the worker said after it was given ids may be about them.
        if let Some(before) = record.by_server.as_ref().and_then(Given::of) {
            let same = async {
                while let Some(now) = given.recv().await {
                    if now.seq == before.seq {
                        return Some(now);
                    }
                }
                None
            };
            if let Ok(Some(now)) = timeout(IDS_TIMEOUT, same).await {
                ids.learn(&before, &now);
            }
        }
        let Some(mut message) = record.by_worker else { continue };
        ids.translate(&mut message);
        if let Some(client_message::Body::Hello(hello)) = &mut message.body {
            hello.token.clone_from(&token);
        }
        if speed > 0.0 {
            sleep_until(started + Duration::from_micros((record.at_us as f64 / speed) as u64)).await;
        }
        if sender.send(message).await.is_err() {
            return;
        }
    }
}

fn report(args: &ReplayArgs, last_seq: u64, before: &Heard, now: &Heard) -> Result<(), CliError> {
    let differ: Vec<_> = before
        .rejections
        .iter()
        .filter(|(row, reason)| now.rejections.get(row) != Some(reason))
        .map(|(row, reason)| (*row, Some(reason.as_str()), now.rejections.get(row).map(String::as_str)))
        .chain(
            now.rejections
                .iter()
                .filter(|(row, _)| !before.rejections.contains_key(row))
                .map(|(row, reason)| (*row, None, Some(reason.as_str()))),
        )
        .collect();
    let mut out = print::stdout();
    if args.client.json {
        let differ: Vec<_> = differ
            .iter()
            .map(|((seq, column, row), before, now)| {
                json!({ "seq": seq.to_string(), "column": column, "row": row, "before": before, "now": now })
            })
            .collect();
        let line = json!({
            "messages": last_seq, "frames_before": before.frames, "frames": now.frames,
            "rejections_before": before.rejections.len(), "rejections": now.rejections.len(), "differ": differ,
        });
        writeln!(out, "{line}")?;
    } else {
        writeln!(out, "{last_seq} messages said, {} frames heard ({} before)", now.frames, before.frames)?;
        writeln!(out, "{} rows refused ({} before)", now.rejections.len(), before.rejections.len())?;
        for ((seq, column, row), before, now) in &differ {
            let word = |reason: &Option<&str>| reason.unwrap_or("accepted").to_owned();
            writeln!(
                out,
                "message {seq}, column {column}, row {row}: {} before, {} now",
                word(before),
                word(now)
            )?;
        }
    }
    out.flush()?;
    if differ.is_empty() { Ok(()) } else { Err(CliError::ReplayDiffers { rows: differ.len() }) }
}
