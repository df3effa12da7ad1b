//! Captures: all entities of all partitions as they were at one moment, while the world goes on.
//!
//! 1. All partitions begin a capture before any of them applies anything further. What was on its way between them then is part of it:
//!    what they send carries the capture that they have begun, and an entity that arrives from before is written as it arrives.
//! 2. A partition walks its rows, in slices. What is about to change or go, and was not walked, is written before that.
//! 3. At its beginning it tells its peers, behind what it sent before. When a partition has walked, and has heard that of all others, it
//!    is done.
//!
//! Responsible for: every entity being written once, as it was. Not responsible for: that moment (the driver), or where the images go.

use spatialdb_types::{ComponentId, EntityId, Epoch};

use super::row_bits::RowBits;
use super::{Partition, RowId, Store};
use crate::Micros;
use crate::log::{Form, LogWriter, StoredValue, encode_position};
use crate::message::{Outbox, PeerBody};

/// The capture of a partition.
#[derive(Debug, Default)]
pub(super) struct Capture {
    /// From 1; 0: there was none.
    number: u64,
    is_under_way: bool,
    /// How many other partitions have begun it.
    begun: usize,
}

/// What of a store is not captured yet.
#[derive(Debug)]
pub(super) struct Keeping {
    /// From that row on; rows before are written.
    next: usize,
    /// Up to that row; further ones were not there.
    end: usize,
    /// Of those between: they are written, or were not there.
    written: RowBits,
    part: Option<LogWriter>,
    /// Of how many entities.
    entities: u64,
    /// The time of the world at that moment.
    now: Micros,
}

/// What a slice of a capture gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CaptureSlice {
    /// Whole images of all components, as [`crate::log::images`] reads them. Grants are not told.
    pub part: Option<Vec<u8>>,
    /// How many images that are.
    pub entities: u64,
    /// These were the last of this partition.
    pub is_over: bool,
}

impl Partition {
    /// The capture that it began last; 0: none.
    pub const fn capture(&self) -> u64 {
        self.capture.number
    }

    /// Whether it has something to do for the capture that it began last.
    pub fn is_capturing(&self) -> bool {
        let is_waiting = self.store.keeping.as_ref().is_some_and(|keeping| keeping.waits());
        self.capture.is_under_way && (!is_waiting || self.have_all_begun())
    }

    /// Begins a capture, unless it has. One that is under way is given up.
    pub fn begin_capture(&mut self, number: u64, outbox: &mut Outbox) {
        if number <= self.capture.number {
            return;
        }
        self.capture = Capture { number, is_under_way: true, begun: 0 };
        let (next, end, written) = (0, self.store.row_count(), RowBits::default());
        let (part, entities, now) = (None, 0, self.now);
        self.store.keeping = Some(Box::new(Keeping { next, end, written, part, entities, now }));
        let others: Vec<_> = self.map.ids().filter(|id| *id != self.id).collect();
        others.into_iter().for_each(|to| self.send(to, PeerBody::Capturing(number), outbox));
    }

    /// Nobody wants the capture any more, if it is still under way.
    pub fn end_capture(&mut self, number: u64) {
        if number == self.capture.number {
            self.capture.is_under_way = false;
            self.store.keeping = None;
        }
    }

    /// Goes on with the capture, by up to so many images, and what had to be written since.
    pub fn go_capture(&mut self, images_max: usize) -> CaptureSlice {
        let is_all_here = self.have_all_begun();
        let Some(keeping) = self.store.keeping.as_ref().filter(|_| self.capture.is_under_way) else {
            return CaptureSlice::default();
        };
        let (next, end) = (keeping.next, keeping.end.min(keeping.next.saturating_add(images_max)));
        (next..end).for_each(|row| self.store.keep(RowId(row as u32)));
        let Some(keeping) = &mut self.store.keeping else { return CaptureSlice::default() };
        keeping.next = end;
        let part = keeping.part.take().map(LogWriter::finish);
        let entities = std::mem::take(&mut keeping.entities);
        let is_over = keeping.next == keeping.end && is_all_here;
        if is_over {
            self.end_capture(self.capture.number);
        }
        CaptureSlice { part, entities, is_over }
    }

    /// Another partition has begun it.
    pub(super) fn hear_capturing(&mut self, number: u64) {
        if number == self.capture.number {
            self.capture.begun += 1;
        }
    }

    /// Entities that have arrived belong to a capture that their sender had not begun.
    pub(super) fn capture_arrivals(&mut self, senders: u64, entities: &[EntityId]) {
        if senders >= self.capture.number {
            return;
        }
        for id in entities.iter().filter_map(|entity| self.store.find(*entity)).collect::<Vec<_>>() {
            self.store.write_kept(id);
        }
    }

    fn have_all_begun(&self) -> bool {
        self.capture.begun + 1 == self.map.ids().count()
    }
}

impl Keeping {
    /// Whether nothing is to be written until others have begun.
    const fn waits(&self) -> bool {
        self.next == self.end && self.part.is_none()
    }

    /// There is another entity in the row from now on.
    pub(super) fn note_inserted(&mut self, id: RowId) {
        if (self.next..self.end).contains(&(id.0 as usize)) {
            self.written.note(id);
        }
    }

    fn wants(&self, id: RowId) -> bool {
        (self.next..self.end).contains(&(id.0 as usize)) && !self.written.has(id)
    }
}

impl Store {
    /// An entity is about to change or go: it is written as it is, if a capture needs it.
    pub(super) fn keep(&mut self, id: RowId) {
        if self.keeping.as_ref().is_some_and(|keeping| keeping.wants(id)) {
            self.write_kept(id);
        }
    }

    fn write_kept(&mut self, id: RowId) {
        let Some(mut keeping) = self.keeping.take() else { return };
        keeping.written.note(id);
        if let Some(row) = self.live_row(id) {
            let part = keeping.part.get_or_insert_with(|| LogWriter::new(self.clock(), keeping.now));
            part.image(row.entity, Form::Whole(self.clock()));
            keeping.entities += 1;
            if let Some(at) = self.position(row) {
                let within = self.in_cell(row);
                let (revision, writer, bytes) = (within.revision, within.mover, &encode_position(at));
                let component = ComponentId::POSITION;
                part.value(&StoredValue { component, revision, writer, epoch: Epoch(0), bytes });
            }
            for (component, slot) in self.slots(row) {
                let (revision, writer, bytes) = (slot.revision, slot.writer, &*slot.value);
                part.value(&StoredValue { component, revision, writer, epoch: Epoch(0), bytes });
            }
        }
        self.keeping = Some(keeping);
    }
}
