//! What of a partition is not in its log yet, and writing it there, in slices between other work.
//!
//! Of an entity all that changed is written at once, so each image is a state that it really had. Rows are swept in rounds: what
//! changes while one goes on is written by it, or by the next one.
//!
//! Responsible for: which images are written, and that none is missing. Not responsible for: when (the driver says how many at
//! once), or where they go.

use std::sync::Arc;

use spatialdb_types::{ComponentId, EntityId, Epoch, LayerId, Revision, SessionId};

use super::commits::ComingValue;
use super::{Partition, PublishSeq, RowId, Store};
use crate::log::{Classes, Form, LogWriter, SLICE_BYTES, StoredValue, encode_position};

/// What waits to be written.
#[derive(Debug)]
pub(super) struct Sweeping {
    /// What the next record says.
    record: Option<LogWriter>,
    /// Where the round goes on; `None`: none is under way.
    next: Option<usize>,
    /// The publish at which the last round began, or this one did.
    began: PublishSeq,
    /// The publish at which the one before began: what changed since is not known to be written.
    since: PublishSeq,
    /// How many records were taken.
    taken: u64,
}

impl Sweeping {
    /// The number of the last record that has anything; 0: none.
    pub(super) const fn last_record(&self) -> u64 {
        if self.record.is_some() { self.taken + 1 } else { self.taken }
    }

    /// The number of the record that is being made.
    pub(super) const fn record_number(&self) -> u64 {
        self.taken + 1
    }
}

impl Partition {
    /// A partition whose entities are to be written to a log.
    #[must_use]
    pub fn with_log(mut self, classes: &Arc<Classes>) -> Self {
        let (began, since) = (PublishSeq(0), PublishSeq(0));
        self.classes = Arc::clone(classes);
        self.sweeping = Some(Box::new(Sweeping { record: None, next: None, began, since, taken: 0 }));
        self.store.unswept = Some(Box::default());
        self
    }

    /// Writes images of up to so many entities that changed since they were written last. Returns whether the round is over: all
    /// that had changed when it began is written.
    pub fn sweep(&mut self, images_max: usize) -> bool {
        let Some(mut sweeping) = self.sweeping.take() else { return true };
        let mut row = sweeping.next.unwrap_or_else(|| {
            (sweeping.since, sweeping.began) = (sweeping.began, self.store.publish());
            0
        });
        let mut images = 0;
        sweeping.next = loop {
            let is_long = sweeping.record.as_ref().is_some_and(|record| record.len() >= SLICE_BYTES);
            if images == images_max || is_long {
                break Some(row);
            }
            let next = self.store.unswept.as_mut().and_then(|unswept| unswept.take_from(row));
            let Some(id) = next else { break None };
            row = id.0 as usize + 1;
            if self.store.live_row(id).is_some() {
                self.write_image(&mut sweeping, id);
                images += 1;
            }
        };
        let is_over = sweeping.next.is_none();
        self.sweeping = Some(sweeping);
        is_over
    }

    /// The number of the next record, from 1, and its body; `None`: there is nothing to write. Once it is on disk it is to be told to
    /// [`Partition::stored`].
    pub fn take_log_record(&mut self) -> Option<(u64, Vec<u8>)> {
        let sweeping = self.sweeping.as_mut()?;
        let body = sweeping.record.take()?.finish();
        sweeping.taken += 1;
        Some((sweeping.taken, body))
    }

    /// How many bytes the next record has so far.
    pub fn log_record_bytes(&self) -> usize {
        self.sweeping.as_ref().and_then(|sweeping| sweeping.record.as_ref()).map_or(0, LogWriter::len)
    }

    /// An entity is about to go to another partition, which knows nothing of what this one has written.
    pub(super) fn log_departure(&mut self, id: RowId) {
        let is_unswept = self.store.unswept.as_mut().is_some_and(|unswept| unswept.take(id));
        let Some(mut sweeping) = self.sweeping.take() else { return };
        if self.has_yet_to_walk(id) {
            self.write_whole(&mut sweeping.record, id);
        } else if is_unswept {
            self.write_image(&mut sweeping, id);
        }
        self.sweeping = Some(sweeping);
    }

    /// Whether some rows were looked at, and others are to be, for images of what changed.
    pub(super) fn is_mid_sweep(&self) -> bool {
        self.sweeping.as_ref().is_some_and(|sweeping| sweeping.next.is_some())
    }

    /// All that is here is known to be on disk: it was loaded from there, or put there by whoever calls this.
    pub fn forget_changes(&mut self) {
        if let Some(unswept) = &mut self.store.unswept {
            unswept.clear();
        }
    }

    /// Writes all of an entity, whether it has changed or not.
    pub(super) fn write_whole(&mut self, record: &mut Option<LogWriter>, id: RowId) {
        let as_of = self.as_of(id);
        let (clock, now) = (self.store.clock(), self.now);
        self.write_row(record.get_or_insert_with(|| LogWriter::new(clock, now)), id, as_of, None);
    }

    /// The revision as of which an entity is as the store says. Commits that wait are of later, and on their way to the disk already.
    fn as_of(&mut self, id: RowId) -> Revision {
        let coming = self.commits.coming(self.store.row(id).entity).map(|coming| coming.as_of);
        coming.unwrap_or_else(|| self.store.tick())
    }

    /// An entity was deleted.
    pub(super) fn log_deleted(&mut self, entity: EntityId) {
        let (clock, now) = (self.store.clock(), self.now);
        if let Some(sweeping) = &mut self.sweeping {
            sweeping.record.get_or_insert_with(|| LogWriter::new(clock, now)).image(entity, Form::Gone);
        }
    }

    /// Whether something of an entity is not in the log.
    pub(super) fn is_unswept(&self, entity: EntityId) -> bool {
        let unswept = self.store.unswept.as_ref();
        self.store.find(entity).is_some_and(|id| unswept.is_some_and(|unswept| unswept.has(id)))
    }

    /// All of an entity is in the log.
    pub(super) fn forget_unswept(&mut self, entity: EntityId) {
        if let (Some(id), Some(unswept)) = (self.store.find(entity), &mut self.store.unswept) {
            unswept.take(id);
        }
    }

    /// Writes how entities will be, as of a revision. Returns the number of the record.
    pub(super) fn log_commit(&mut self, entities: &[EntityId], revision: Revision) -> u64 {
        let Some(mut sweeping) = self.sweeping.take() else { return 0 };
        for &entity in entities {
            self.write_coming(&mut sweeping, entity, revision);
            self.forget_unswept(entity);
        }
        let number = sweeping.record_number();
        // What waits needs a record to wait for.
        let (clock, now) = (self.store.clock(), self.now);
        sweeping.record.get_or_insert_with(|| LogWriter::new(clock, now));
        self.sweeping = Some(sweeping);
        number
    }

    fn write_coming(&mut self, sweeping: &mut Sweeping, entity: EntityId, revision: Revision) {
        let Some(coming) = self.commits.coming(entity) else { return };
        let (clock, now) = (self.store.clock(), self.now);
        let Sweeping { record, since, .. } = sweeping;
        let record = record.get_or_insert_with(|| LogWriter::new(clock, now));
        if coming.is_deleted {
            return record.image(entity, Form::Gone);
        }
        let id = self.store.find(entity);
        let row = id.map(|id| self.store.row(id));
        let is_whole = coming.is_reshaped || row.is_none_or(|row| row.here_since >= *since);
        let is_told = |changed_at: PublishSeq| is_whole || changed_at >= *since;
        // Of what waits already the rest was told before.
        let is_coming = |value: &ComingValue| is_whole || value.revision == revision;
        let mut values: Vec<(ComponentId, Revision, SessionId, &[u8])> = Vec::new();
        let position = row.and_then(|row| self.store.position(row)).map(encode_position);
        if let (Some(row), Some(bytes)) = (row, &position) {
            let within = self.store.in_cell(row);
            if is_told(within.moved_at) {
                values.push((ComponentId::POSITION, within.revision, within.mover, bytes));
            }
        }
        let slots = row.into_iter().flat_map(|row| self.store.slots(row));
        let slots = slots.filter(|(_, slot)| is_told(slot.changed_at));
        values.extend(slots.map(|(component, slot)| (component, slot.revision, slot.writer, &*slot.value)));
        values.retain(|(component, ..)| coming.values.binary_search_by_key(component, |(c, _)| *c).is_err());
        let to_come =
            coming.values.iter().filter_map(|(component, value)| Some((*component, value.as_ref()?)));
        let to_come = to_come.filter(|(_, value)| is_coming(value));
        values.extend(
            to_come.map(|(component, value)| (component, value.revision, value.writer, &*value.bytes)),
        );
        values.retain(|(component, ..)| !self.classes.is_volatile(*component));
        values.sort_unstable_by_key(|(component, ..)| *component);
        let form = match (is_whole, values.is_empty()) {
            (false, true) => return,
            (false, false) => Form::Part,
            (true, false) => Form::Whole(revision),
            (true, true) => Form::Absent(revision),
        };
        record.image(entity, form);
        for (component, revision, writer, bytes) in values {
            let epoch = id.map_or(Epoch(0), |id| self.epoch_of(&self.store, id, component, writer));
            record.value(&StoredValue { component, revision, writer, epoch, bytes });
        }
    }

    fn write_image(&mut self, sweeping: &mut Sweeping, id: RowId) {
        let as_of = self.as_of(id);
        let (clock, now) = (self.store.clock(), self.now);
        let Sweeping { record, since, .. } = sweeping;
        let since = Some(*since).filter(|since| self.store.row(id).here_since < *since);
        self.write_row(record.get_or_insert_with(|| LogWriter::new(clock, now)), id, as_of, since);
    }

    /// What of a row has changed since that publish; `None`: all of it.
    fn write_row(&self, record: &mut LogWriter, id: RowId, as_of: Revision, since: Option<PublishSeq>) {
        let row = self.store.row(id);
        let components = self.store.components(row);
        let is_stored = |component: &ComponentId| !self.classes.is_volatile(*component);
        let form = match (since, components.iter().any(is_stored)) {
            (Some(_), _) => Form::Part,
            (None, true) => Form::Whole(as_of),
            (None, false) => Form::Absent(as_of),
        };
        record.image(row.entity, form);
        let is_told = |changed_at: PublishSeq| since.is_none_or(|since| changed_at >= since);
        if let Some(at) = self.store.position(row).filter(|_| is_stored(&ComponentId::POSITION)) {
            let within = self.store.in_cell(row);
            if is_told(within.moved_at) {
                let bytes = encode_position(at);
                let (component, revision, writer) = (ComponentId::POSITION, within.revision, within.mover);
                let epoch = self.epoch_of(&self.store, id, component, writer);
                record.value(&StoredValue { component, revision, writer, epoch, bytes: &bytes });
            }
        }
        let slots = self.store.slots(row).filter(|(c, slot)| is_stored(c) && is_told(slot.changed_at));
        for (component, slot) in slots {
            let (revision, writer, bytes) = (slot.revision, slot.writer, &*slot.value);
            let epoch = self.epoch_of(&self.store, id, component, writer);
            record.value(&StoredValue { component, revision, writer, epoch, bytes });
        }
    }

    /// Under which grant the writer has what it wrote, if it still has it.
    fn epoch_of(&self, store: &Store, id: RowId, component: ComponentId, writer: SessionId) -> Epoch {
        let layer_of = |components: &[ComponentId]| -> Option<LayerId> {
            self.authority.as_ref()?.layers().layer_of(component, components)
        };
        let row = store.row(id);
        let lease = layer_of(store.components(row)).and_then(|layer| self.region_of(row.entity, layer));
        lease.filter(|(_, lease)| lease.owner == Some(writer)).map_or(Epoch(0), |(_, lease)| lease.epoch)
    }
}
