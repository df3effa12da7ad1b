//! `spatialdb.v1.SnapshotService`: a snapshot for whoever asks.

use std::fs::File;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use spatialdb_proto::v1::snapshot_service_server::SnapshotService;
use spatialdb_proto::v1::take_snapshot_response::Step;
use spatialdb_proto::{status_of, v1};
use spatialdb_snapshots::Summary;
use spatialdb_types::{Error, Reason};
use tokio::sync::mpsc::{Sender, channel};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::captures::{Captured, capture, turn};
use super::file::write;
use crate::server::edge::Edge;

/// Bytes of a piece of the file.
const PIECE_BYTES: usize = 256 << 10;

/// Pieces on their way to whoever asked.
const PIECES: usize = 4;

/// How often it is told how far it is.
const TOLD_EVERY: Duration = Duration::from_millis(200);

/// The service.
pub(in crate::server) struct Snapshots {
    edge: Arc<Edge>,
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
        // Refused at once, and not in the stream.
        drop(turn(&self.edge).map_err(|error| status_of(&error))?);
        let pauses = request.into_inner().pause;
        let (to, answers) = channel(PIECES);
        let edge = self.edge.clone();
        tokio::spawn(async move {
            let taken = tokio::select! {
                taken = take(&edge, pauses, &to) => taken,
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
                    edge.captures.failed.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(%error, "no snapshot");
                    // As above.
                    let _ = to.send(Err(status_of(&error))).await;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(answers)))
    }
}

impl Snapshots {
    pub(in crate::server) const fn new(edge: Arc<Edge>) -> Self {
        Self { edge }
    }
}

/// Takes one, and sends it.
async fn take(edge: &Arc<Edge>, pauses: bool, to: &Sender<Answer>) -> Result<v1::SnapshotTaken, Error> {
    let _turn = turn(edge)?;
    let progress = Arc::new(Progress::default());
    let work = async {
        let captured = capture(edge, pauses, |so_far| progress.captured.store(so_far, Ordering::Relaxed));
        let captured = captured.await?;
        progress.entities.store(captured.entities, Ordering::Relaxed);
        let (edge, progress) = (edge.clone(), progress.clone());
        let written = tokio::task::spawn_blocking(move || put(&edge, captured, &progress)).await;
        written.map_err(|error| Error::new(Reason::Internal, error.to_string()))?
    };
    let (mut file, summary, captured) = tokio::select! {
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
    Ok(v1::SnapshotTaken {
        digest: summary.digest,
        entities: summary.totals.entity_count,
        bytes: summary.file_bytes,
        unix_time_us: captured.unix_us,
        capture_us: captured.took.as_micros() as u64,
        held_us: captured.held.as_micros() as u64,
    })
}

/// Writes the file where nobody else sees it.
fn put(edge: &Edge, captured: Captured, progress: &Progress) -> Result<(File, Summary, Captured), Error> {
    let folder = tempfile::tempdir().map_err(|error| unwritable(&error))?;
    let path = folder.path().join("taken.snapshot");
    let schema = edge.schema();
    let written = || _ = progress.written.fetch_add(1, Ordering::Relaxed);
    let summary = write(&path, &edge.info, &schema, &captured, written);
    let summary = summary.map_err(|error| unwritable(&error))?;
    // It is open when its folder goes: it is gone once it was read.
    let file = File::open(&path).map_err(|error| unwritable(&error))?;
    Ok((file, summary, Captured { parts: Vec::new(), ..captured }))
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
