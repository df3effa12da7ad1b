//! Building a delta, bounded in size.

use std::sync::Arc;

use spatialdb_types::{ComponentId, EntityId, Point3, Revision, SpaceId};

use super::SharedRows;
use crate::columns::{PositionRows, ValueRows};
use crate::events::Event;
use crate::message::Delta;

/// About what one id, and one row without its value, take on the wire.
const ID_BYTES: usize = 8;
const ROW_BYTES: usize = 16;

/// About what a square and how many are in it take on the wire.
const SQUARE_BYTES: usize = 8;

/// How many conditions may be looked at for one delta: a few milliseconds. What is left is looked at in the next
/// publish, so that a view that is hard to match does not hold up the partition.
pub(super) const WORK_MAX: u64 = 1 << 20;

/// A delta that tells when it is full.
pub(crate) struct DeltaBuilder {
    pub(crate) delta: Delta,
    bytes: usize,
    bytes_max: usize,
    /// Kept for events.
    reserved: usize,
    work: u64,
    /// So many rows are about to be told.
    expected: usize,
}

impl DeltaBuilder {
    /// A delta that is full at about nine tenths of `frame_bytes_max`: the entity that fills it still fits, unless it
    /// is very large.
    pub(crate) fn new(clock: Revision, frame_bytes_max: usize) -> Self {
        let bytes_max = frame_bytes_max / 10 * 9;
        Self {
            delta: Delta { clock, ..Delta::default() },
            bytes: 0,
            bytes_max,
            reserved: 0,
            work: 0,
            expected: 0,
        }
    }

    /// Keeps so much for events, up to half of it all.
    pub(crate) fn reserve(&mut self, bytes: usize) {
        self.reserved = bytes.min(self.bytes_max / 2);
    }

    /// So many rows are about to be told, as far as is known.
    pub(crate) const fn expect(&mut self, rows: usize) {
        self.expected = rows;
    }

    /// All else has been told.
    pub(crate) const fn open_reserve(&mut self) {
        self.reserved = 0;
    }

    pub(crate) const fn is_full(&self) -> bool {
        self.bytes + self.reserved >= self.bytes_max || self.work >= WORK_MAX
    }

    /// Whether as much is in it as squares may take: the rest is for entities.
    pub(crate) const fn is_half_full(&self) -> bool {
        self.bytes * 2 >= self.bytes_max || self.work * 2 >= WORK_MAX
    }

    /// Whether that much more fits; of nothing at all anything does.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        self.bytes + bytes + self.reserved <= self.bytes_max || self.bytes == 0
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.bytes += event.bytes();
        self.delta.events.push(event);
    }

    /// Tells rows that others are told too.
    pub(crate) fn share(&mut self, rows: &Arc<SharedRows>) {
        self.bytes += rows.wire_bytes();
        self.delta.shared.push(rows.clone());
    }

    /// Counts conditions that were looked at.
    pub(crate) const fn spend(&mut self, conditions: u64) {
        self.work += conditions;
    }

    /// Counts an id that was pushed to one of the delta's lists.
    pub(crate) const fn count_id(&mut self) {
        self.bytes += ID_BYTES;
    }

    /// Counts a square that was told.
    pub(crate) const fn count_square(&mut self) {
        self.bytes += SQUARE_BYTES;
    }

    pub(crate) fn position(&mut self, entity: EntityId, revision: Revision, space: SpaceId, at: Point3) {
        self.bytes += ROW_BYTES + 24;
        let groups = &mut self.delta.positions;
        let group = match groups.iter().position(|g| g.space == space) {
            Some(i) => &mut groups[i],
            None => {
                groups.push(PositionRows::with_capacity(space, self.expected));
                groups.last_mut().expect("just pushed")
            }
        };
        group.push(entity, revision, at);
    }

    pub(crate) fn value(
        &mut self,
        component: ComponentId,
        entity: EntityId,
        revision: Revision,
        value: &[u8],
    ) {
        self.bytes += ROW_BYTES + value.len();
        let groups = &mut self.delta.columns;
        let group = match groups.iter().position(|g| g.component == component) {
            Some(i) => &mut groups[i],
            None => {
                groups.push(ValueRows { component, ..ValueRows::default() });
                groups.last_mut().expect("just pushed")
            }
        };
        group.push(entity, revision, value);
    }
}
