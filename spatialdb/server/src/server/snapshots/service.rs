//! `spatialdb.v1.SnapshotService`: a snapshot for whoever asks.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use spatialdb_proto::v1::snapshot_service_server::SnapshotService;
use spatialdb_proto::v1::take_snapshot_response::Step;
use spatialdb_proto::{status_of, v1};
use spatialdb_snapshots::Summary;
use spatialdb_types::{EntityId, Error, ErrorCode, Reason};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{Sender, channel};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::captures::{Captured, Turn, capture, turn};
use super::file::{FileError, aside, write, write_past};
use super::wire;
use crate::progress::Progress as Bar;
use crate::server::durable::{DataDir, DataError};
use crate::server::edge::Edge;

/// Bytes of a piece of the file.
const PIECE_BYTES: usize = 256 << 10;

/// Pieces on their way to whoever asked.
const PIECES: usize = 4;

/// So many snapshots may be read at a time: each is a file until it was.
const TAKERS_MAX: usize = 4;

/// How often it is told how far it is.
const TOLD_EVERY: Duration = Duration::from_millis(200);

/// The service.
pub(in crate::server) struct Snapshots {
    edge: Arc<Edge>,
    /// Who may be sent one.
    places: Arc<Semaphore>,
}

type Answer = Result<v1::TakeSnapshotResponse, Status>;

/// How far it is.
#[derive(Default)]
struct Progress {
    captured: AtomicU64,
    written: AtomicU64,
    /// 0 until all are captured.
    entities: AtomicU64,
}

#[tonic::async_trait]
impl SnapshotService for Snapshots {
    type TakeSnapshotStream = ReceiverStream<Answer>;

    async fn take_snapshot(
        &self,
        request: Request<v1::TakeSnapshotRequest>,
    ) -> Result<Response<Self::TakeSnapshotStream>, Status> {
        let many = |_| {
            let detail = format!("{TAKERS_MAX} snapshots are on their way to others: no more at a time");
            status_of(&Error::new(Reason::LimitReached, detail))
        };
        let place = self.places.clone().try_acquire_owned().map_err(many)?;
        // Refused at once, and not in the stream.
        drop(turn(&self.edge).map_err(|error| status_of(&error))?);
        let request = request.into_inner();
        let (to, answers) = channel(PIECES);
        let edge = self.edge.clone();
        tokio::spawn(async move {
            let _place = place;
            let taken = tokio::select! {
                taken = take(&edge, request, &to) => taken,
                // Whoever asked has gone.
                () = to.closed() => return,
            };
            match taken {
                Ok(taken) => {
                    edge.captures.taken.fetch_add(1, Ordering::Relaxed);
                    tracing::info!(
                        taken.digest,
                        taken.entities,
                        taken.capture_us,
                        taken.held_us,
                        "snapshot taken"
                    );
                    send(&to, Step::Taken(taken)).await;
                }
                Err(error) => {
                    // Else whoever asked has asked for what is not.
                    if matches!(
                        error.reason.code(),
                        ErrorCode::Unavailable | ErrorCode::DataLoss | ErrorCode::Internal
                    ) {
                        edge.captures.failed.fetch_add(1, Ordering::Relaxed);
                        tracing::warn!(%error, "no snapshot");
                    }
                    // As above.
                    let _ = to.send(Err(status_of(&error))).await;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(answers)))
    }

    async fn get_entity_log(
        &self,
        request: Request<v1::GetEntityLogRequest>,
    ) -> Result<Response<v1::GetEntityLogResponse>, Status> {
        let v1::GetEntityLogRequest { entity, last } = request.into_inner();
        let data = kept(&self.edge).map_err(|error| status_of(&error))?;
        // It may read all that is kept.
        let place = self.edge.queries.clone().acquire_owned().await;
        let place = place.map_err(|_| status_of(&Error::new(Reason::Draining, "the world is stopping")))?;
        let read = tokio::task::spawn_blocking(move || {
            let _place = place;
            data.entity_log(EntityId(entity))
        });
        let read = read.await.map_err(|error| Error::new(Reason::Internal, error.to_string()));
        let log = read.and_then(|log| log.map_err(|error| of_data(&error)));
        log.map(|log| Response::new(wire::entity_log(&log, last))).map_err(|error| status_of(&error))
    }
}

impl Snapshots {
    pub(in crate::server) fn new(edge: Arc<Edge>) -> Self {
        Self { edge, places: Arc::new(Semaphore::new(TAKERS_MAX)) }
    }
}

/// Takes one, and sends it.
async fn take(
    edge: &Arc<Edge>,
    request: v1::TakeSnapshotRequest,
    to: &Sender<Answer>,
) -> Result<v1::SnapshotTaken, Error> {
    let turn = turn(edge)?;
    let progress = Arc::new(Progress::default());
    let v1::TakeSnapshotRequest { pause: pauses, at_unix_time_us } = request;
    let work = async {
        if at_unix_time_us != 0 {
            let (data, progress) = (kept(edge)?, progress.clone());
            let edge = edge.clone();
            return on_a_thread(turn, move || put_past(&edge, &data, at_unix_time_us, &progress)).await;
        }
        let captured = capture(edge, pauses, |so_far| progress.captured.store(so_far, Ordering::Relaxed));
        let captured = captured.await?;
        progress.entities.store(captured.entities, Ordering::Relaxed);
        let (edge, progress) = (edge.clone(), progress.clone());
        on_a_thread(turn, move || put(&edge, &captured, &progress)).await
    };
    let Made { mut file, summary, mut taken } = tokio::select! {
        made = work => made?,
        () = tell(edge, &progress, to) => unreachable!("it is told for ever"),
    };
    loop {
        let read = tokio::task::spawn_blocking(move || {
            let mut piece = vec![0; PIECE_BYTES];
            let read = file.read(&mut piece)?;
            piece.truncate(read);
            Ok::<_, std::io::Error>((file, piece))
        });
        let read = read.await.map_err(|error| Error::new(Reason::Internal, error.to_string()))?;
        let (same, piece) = read.map_err(|error| unwritable(&error))?;
        file = same;
        if piece.is_empty() {
            break;
        }
        send(to, Step::Piece(piece.into())).await;
    }
    (taken.digest, taken.entities) = (summary.digest, summary.totals.entity_count);
    taken.bytes = summary.file_bytes;
    Ok(taken)
}

/// A file that nobody else sees.
struct Made {
    /// Open; it has no name.
    file: File,
    summary: Summary,
    taken: v1::SnapshotTaken,
}

/// The turn is over when the work is, whether somebody waits for it or not: what it needs is there only once.
async fn on_a_thread<T: Send + 'static>(
    turn: Turn,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let work = move || {
        let _turn = turn;
        work()
    };
    aside(work).await.map_err(|error| Error::new(Reason::Internal, error.to_string()))?
}

/// Writes what was captured.
fn put(edge: &Edge, captured: &Captured, progress: &Progress) -> Result<Made, Error> {
    let written = || _ = progress.written.fetch_add(1, Ordering::Relaxed);
    let taken = v1::SnapshotTaken {
        unix_time_us: captured.unix_us,
        capture_us: captured.took.as_micros() as u64,
        held_us: captured.held.as_micros() as u64,
        ..v1::SnapshotTaken::default()
    };
    made(taken, |path| write(path, &edge.info, &edge.schema(), captured, written))
}

/// Writes the world as it was.
fn put_past(edge: &Edge, data: &DataDir, unix_us: i64, progress: &Progress) -> Result<Made, Error> {
    let (past, about) = data.at(unix_us, &Bar::new("reading", 0, false)).map_err(|error| of_data(&error))?;
    progress.entities.store(past.entities.len() as u64, Ordering::Relaxed);
    let written = || _ = progress.written.fetch_add(1, Ordering::Relaxed);
    let taken = v1::SnapshotTaken { unix_time_us: unix_us, ..v1::SnapshotTaken::default() };
    // The schema may have grown since the world was launched.
    made(taken, |path| write_past(path, &about, &edge.schema(), &past, written))
}

fn made(
    taken: v1::SnapshotTaken,
    write: impl FnOnce(&Path) -> Result<Summary, FileError>,
) -> Result<Made, Error> {
    let folder = tempfile::tempdir().map_err(|error| unwritable(&error))?;
    let path = folder.path().join("taken.snapshot");
    let summary = write(&path).map_err(|error| unwritable(&error))?;
    // It is open when its folder goes: it is gone once it was read.
    let file = File::open(&path).map_err(|error| unwritable(&error))?;
    Ok(Made { file, summary, taken })
}

/// The directory that the world is kept in.
fn kept(edge: &Edge) -> Result<Arc<DataDir>, Error> {
    let in_memory =
        || Error::new(Reason::HistoryMissing, "the world is in memory: nothing of its past is kept");
    edge.log.as_ref().map(|status| status.data.clone()).ok_or_else(in_memory)
}

fn of_data(error: &DataError) -> Error {
    let reason = match error {
        DataError::TooEarly { .. } => Reason::HistoryMissing,
        DataError::Record { .. } | DataError::About { .. } | DataError::Cut(_) => Reason::SnapshotCorrupt,
        _ => Reason::StorageFailed,
    };
    Error::new(reason, error.to_string())
}

/// Tells how far it is, for ever.
async fn tell(edge: &Edge, progress: &Progress, to: &Sender<Answer>) {
    loop {
        tokio::time::sleep(TOLD_EVERY).await;
        let all = progress.entities.load(Ordering::Relaxed);
        let done = if all == 0 { &progress.captured } else { &progress.written };
        let (done, writing) = (done.load(Ordering::Relaxed), all > 0);
        let entities = if writing { all } else { edge.entity_count() };
        send(to, Step::Progress(v1::SnapshotProgress { done, entities, writing })).await;
    }
}

async fn send(to: &Sender<Answer>, step: Step) {
    // Whoever asked may have gone.
    let _ = to.send(Ok(v1::TakeSnapshotResponse { step: Some(step) })).await;
}

fn unwritable(error: &dyn std::error::Error) -> Error {
    Error::new(Reason::StorageFailed, format!("the snapshot cannot be written: {error}"))
}
