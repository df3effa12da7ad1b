//! What was captured, as a snapshot file.

use std::path::Path;

use spatialdb_core::log::{Image, LogError, decode_position, images};
use spatialdb_schema::Schema;
use spatialdb_snapshots::{Entity, Header, SnapshotError, SortedWriter, SpaceEntry, Summary, WriterOptions};
use spatialdb_types::ComponentId;
use thiserror::Error;

use super::captures::Captured;
use crate::server::edge::WorldInfo;

/// Fast: a snapshot of a running world is made beside it, on the same cores.
const ZSTD_LEVEL: i32 = 1;

/// Why there is no file.
#[derive(Debug, Error)]
pub(super) enum FileError {
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
    let spaces = info.spaces.iter().map(|(id, name)| SpaceEntry { id: id.0, name: name.clone() });
    let header = Header::new(info.name.clone(), spaces.collect(), schema);
    let next_entity_id = captured.next_entity_id.0;
    let options = WriterOptions { zstd_level: ZSTD_LEVEL, next_entity_id, ..WriterOptions::default() };
    let mut writer = SortedWriter::create(path, header, options)?;
    for part in &captured.parts {
        // What stands for a session is not there without it.
        let is_session = |image: &Image<'_>| {
            image.values.iter().any(|value| value.component == ComponentId::WORKER_SESSION)
        };
        for image in images(part)?.images.into_iter().filter(|image| !is_session(image)) {
            let is_position = |component: ComponentId| component == ComponentId::POSITION;
            let position = image.values.first().filter(|value| is_position(value.component));
            let values = image.values.iter().filter(|value| !is_position(value.component));
            writer.push(Entity {
                id: image.entity,
                position: position.and_then(|value| decode_position(value.bytes)),
                values: values.map(|value| (value.component, value.bytes)).collect(),
            });
        }
    }
    Ok(writer.finish(written)?)
}
