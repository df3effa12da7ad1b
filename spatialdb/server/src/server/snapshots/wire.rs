//! What was written of an entity, as messages.

use prost::Message;
use spatialdb_core::log::decode_position;
use spatialdb_proto::v1;
use spatialdb_types::ComponentId;

use crate::server::durable::{EntityLog, Written, WrittenWhat};

const LAST_DEFAULT: u32 = 1000;
const LAST_MAX: u32 = 100_000;

/// An answer has no more bytes, about: earlier writes are left out.
const BYTES_MAX: usize = 32 << 20;

/// What a write takes beside its value, at most, but for names.
const ROW_BYTES: usize = 128;

/// The last so many writes; 0: as many as by default.
pub(crate) fn entity_log(log: &EntityLog, last: u32) -> v1::GetEntityLogResponse {
    let last = if last == 0 { LAST_DEFAULT } else { last.min(LAST_MAX) };
    let bytes_of = |written: &Written| match &written.what {
        WrittenWhat::Value { bytes, .. } => bytes.len() + ROW_BYTES,
        WrittenWhat::Removed(_) | WrittenWhat::Deleted => ROW_BYTES,
    };
    let mut bytes = 0;
    let newest = log.written.iter().rev().take(last as usize);
    let fits = newest.take_while(|written| {
        bytes += bytes_of(written);
        bytes <= BYTES_MAX
    });
    let left_out = log.written.len() - fits.count();
    let writes = log.written[left_out..].iter().map(|written| write(log, written)).collect();
    v1::GetEntityLogResponse { begins_unix_time_us: log.begins_unix_us, writes, left_out: left_out as u64 }
}

fn write(log: &EntityLog, Written { unix_us, what }: &Written) -> v1::EntityWrite {
    let at = v1::EntityWrite { unix_time_us: *unix_us, ..v1::EntityWrite::default() };
    match what {
        WrittenWhat::Deleted => at,
        WrittenWhat::Removed(component) => v1::EntityWrite { component: component.0, removed: true, ..at },
        WrittenWhat::Value { component, revision, writer, epoch, bytes } => {
            let session = log.sessions.get(writer).cloned().unwrap_or_default();
            v1::EntityWrite {
                component: component.0,
                revision: revision.0,
                session_id: writer.0,
                worker_type: session.worker_type,
                worker_name: session.name,
                epoch: epoch.0,
                value: value(*component, bytes).into(),
                ..at
            }
        }
    }
}

/// As the wire has it.
fn value(component: ComponentId, bytes: &[u8]) -> Vec<u8> {
    let position = decode_position(bytes).filter(|_| component == ComponentId::POSITION);
    position.map_or_else(
        || bytes.to_vec(),
        |at| v1::Position { space: at.space.0, x: at.point.x, y: at.point.y, z: at.point.z }.encode_to_vec(),
    )
}
