//! What was captured, as a snapshot file.

use std::io;
use std::path::Path;

use spatialdb_core::log::{Image, LogError, decode_position, images};
use spatialdb_schema::Schema;
use spatialdb_snapshots::{Entity, Header, SnapshotError, SortedWriter, SpaceEntry, Summary, WriterOptions};
use spatialdb_types::{ComponentId, EntityId, SpaceId};
use thiserror::Error;
use tokio::sync::oneshot;

use super::captures::Captured;
use crate::server::durable::{About, Recovered};
use crate::server::edge::WorldInfo;

/// Fast: a snapshot of a running world is made beside it, on the same cores.
const ZSTD_LEVEL: i32 = 1;

/// On a busy machine a third of what a thread of the world gets; on one that is not, all there is.
const NICE: i32 = 5;

/// Why there is no file.
#[derive(Debug, Error)]
pub(crate) enum FileError {
    /// It cannot be written.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// A bug of spatialdb.
    #[error("what a partition captured does not read: {0}")]
    Image(#[from] LogError),
}

/// Writes the file; it has its name once it is whole and on disk. `written` is called after each entity.
pub(super) fn write(
    path: &Path,
    info: &WorldInfo,
    schema: &Schema,
    captured: &Captured,
    written: impl FnMut(),
) -> Result<Summary, FileError> {
    let mut writer = begin(path, &info.name, &info.spaces, schema, captured.next_entity_id)?;
    for part in &captured.parts {
        // What stands for a session is not there without it.
        let is_session = |image: &Image<'_>| {
            image.values.iter().any(|value| value.component == ComponentId::WORKER_SESSION)
        };
        for image in images(part)?.images.into_iter().filter(|image| !is_session(image)) {
            let values = image.values.iter().map(|value| (value.component, value.bytes));
            writer.push(entity(image.entity, values));
        }
    }
    Ok(writer.finish(written)?)
}

/// Writes a file of a moment that is past.
pub(crate) fn write_past(
    path: &Path,
    about: &About,
    schema: &Schema,
    past: &Recovered,
    written: impl FnMut(),
) -> Result<Summary, FileError> {
    let next = EntityId(past.given.entity_ids);
    let mut writer = begin(path, &about.name, &about.spaces(), schema, next)?;
    for merged in &past.entities {
        let values = merged.values.iter().map(|(component, value)| (*component, &*value.bytes));
        writer.push(entity(merged.entity, values));
    }
    Ok(writer.finish(written)?)
}

fn begin<'a>(
    path: &Path,
    name: &str,
    spaces: &[(SpaceId, String)],
    schema: &Schema,
    next: EntityId,
) -> Result<SortedWriter<&'a [u8]>, SnapshotError> {
    let spaces = spaces.iter().map(|(id, name)| SpaceEntry { id: id.0, name: name.clone() });
    let header = Header::new(name, spaces.collect(), schema);
    let options =
        WriterOptions { zstd_level: ZSTD_LEVEL, next_entity_id: next.0, ..WriterOptions::default() };
    SortedWriter::create(path, header, options)
}

fn entity<'a>(id: EntityId, values: impl Iterator<Item = (ComponentId, &'a [u8])>) -> Entity<&'a [u8]> {
    let (mut position, mut others) = (None, Vec::with_capacity(values.size_hint().0));
    for (component, bytes) in values {
        if component == ComponentId::POSITION {
            position = decode_position(bytes);
        } else {
            others.push((component, bytes));
        }
    }
    Entity { id, position, values: others }
}

/// Does something on a thread that others go before: a snapshot can wait, who writes meanwhile cannot.
pub(super) async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let (done, result) = oneshot::channel();
    let run = move || {
        // If the system does not want it, it is as fast as any.
        let _ = rustix::process::setpriority_process(None, NICE);
        // Whoever asked may have gone.
        let _ = done.send(work());
    };
    std::thread::Builder::new().name("snapshot".to_owned()).spawn(run)?;
    result.await.map_err(|_| io::Error::other("writing a snapshot has failed"))
}
