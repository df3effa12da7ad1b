//! What a session sees, kept from its frames alone, and judged on the way.
//!
//! Responsible for: applying frames; that none breaks what the protocol promises of every frame.
//! Not responsible for: whether the result is what the views ask for (tests compare it with a query).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use prost::Message;
use spatialdb_proto::v1;

use crate::POSITION;

/// A component value with its revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// Rises with each write.
    pub revision: u64,
    /// The message; a position is a `spatialdb.v1.Position`.
    pub bytes: Bytes,
}

/// Something that happened to an entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Of which component.
    pub component: u32,
    /// Which event of it.
    pub event: u32,
    /// To which entity.
    pub entity: u64,
    /// The message.
    pub payload: Bytes,
    /// The component's value when it came; `None` if the entity left with the same frame.
    pub value: Option<Bytes>,
}

/// The entities in view and their components.
#[derive(Debug, Default)]
pub struct Replica {
    /// By entity, then component.
    pub entities: BTreeMap<u64, BTreeMap<u32, Value>>,
    /// How often entities entered and left so far.
    pub entered_count: u64,
    /// See `entered_count`.
    pub left_count: u64,
    /// Values received so far.
    pub value_count: u64,
    /// Of these, values that were in view already, at the same revision.
    pub repeated_count: u64,
    /// How many entities are in squares: by view, side (its bits), type, x and y.
    pub squares: BTreeMap<(u64, u64, String, i32, i32), u64>,
    /// Squares told so far.
    pub square_count: u64,
    /// Entities that were deleted while in view.
    pub deleted: BTreeSet<u64>,
    /// Every event so far, in order.
    pub events: Vec<Event>,
    /// How many more there were, by component and event.
    pub missed: BTreeMap<(u32, u32), u64>,
    /// The last frame did not end its set of changes.
    pub more: bool,
    frame: u64,
    applied_seq: u64,
    world_time_us: i64,
    bytes_max: usize,
    // Also of what is no longer in view: revisions never start again.
    revisions: HashMap<(u64, u32), u64>,
}

impl Replica {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, ..Self::default() }
    }

    /// The position, if it has one in view.
    pub fn position(&self, entity: u64) -> Option<v1::Position> {
        self.component(entity, POSITION)
    }

    /// The component, read as `T`, if it is in view.
    ///
    /// # Panics
    /// If it is no `T`.
    pub fn component<T: Message + Default>(&self, entity: u64, component: u32) -> Option<T> {
        let value = self.entities.get(&entity)?.get(&component)?;
        Some(T::decode(value.bytes.clone()).expect("the server sends what fits the schema"))
    }

    /// The ids in view.
    pub fn ids(&self) -> Vec<u64> {
        self.entities.keys().copied().collect()
    }

    /// The number of the last frame.
    pub const fn last_frame(&self) -> u64 {
        self.frame
    }

    /// Takes a frame.
    ///
    /// # Panics
    /// If it breaks what the protocol promises.
    pub fn apply(&mut self, frame: &v1::Frame) {
        assert_eq!(frame.frame, self.frame + 1, "frames are numbered without gaps");
        assert!(frame.encoded_len() <= self.bytes_max, "a frame has {} bytes", frame.encoded_len());
        assert!(frame.applied_seq >= self.applied_seq, "applied_seq went back");
        assert!(frame.world_time_us >= self.world_time_us, "world time went back");
        (self.frame, self.applied_seq, self.world_time_us) =
            (frame.frame, frame.applied_seq, frame.world_time_us);
        self.more = frame.more;
        let left: BTreeSet<u64> = frame.left.iter().flat_map(|left| left.entities.iter().copied()).collect();
        let leaves_with = |entity: &u64| left.contains(entity);
        for &entity in &frame.entered {
            self.entered_count += 1;
            let old = self.entities.insert(entity, BTreeMap::new());
            assert!(old.is_none(), "entity {entity} entered twice in a row");
        }
        for left in &frame.left {
            self.leave(left);
        }
        for gone in &frame.gone {
            for entity in &gone.entities {
                let components = self.entities.get_mut(entity).expect("gone from an entity in view");
                let old = components.remove(&gone.component);
                assert!(old.is_some(), "entity {entity}: component {} gone twice", gone.component);
            }
        }
        frame.positions.iter().for_each(|column| self.positions(column));
        frame.columns.iter().for_each(|column| self.values(column));
        frame.densities.iter().for_each(|column| self.densities(column));
        frame.events.iter().for_each(|column| self.events(column, leaves_with));
        for missed in &frame.events_missed {
            *self.missed.entry((missed.component, missed.event)).or_default() += missed.count;
        }
    }

    fn densities(&mut self, column: &v1::DensityColumn) {
        assert!(column.x.len() == column.counts.len() && column.y.len() == column.counts.len());
        for ((&x, &y), &count) in column.x.iter().zip(&column.y).zip(&column.counts) {
            self.square_count += 1;
            let key = (column.view_id, column.square_m.to_bits(), column.r#type.clone(), x, y);
            let before = match count {
                0 => self.squares.remove(&key),
                _ => self.squares.insert(key, count),
            };
            assert_ne!(
                before.unwrap_or(0),
                count,
                "square ({x}, {y}) of view {} is told twice",
                column.view_id
            );
        }
    }

    fn events(&mut self, column: &v1::EventColumn, leaves_with: impl Fn(&u64) -> bool) {
        assert_eq!(column.payloads.len(), column.entities.len());
        for (&entity, payload) in column.entities.iter().zip(&column.payloads) {
            let (component, event, payload) = (column.component, column.event, payload.clone());
            let value = self.entities.get(&entity).and_then(|held| held.get(&component));
            let value = value.map(|value| value.bytes.clone());
            assert!(
                value.is_some() || leaves_with(&entity),
                "event {event} of {entity} came without component {component} in view"
            );
            self.events.push(Event { component, event, entity, payload, value });
        }
    }

    fn leave(&mut self, left: &v1::Left) {
        for entity in &left.entities {
            self.left_count += 1;
            assert!(self.entities.remove(entity).is_some(), "entity {entity} left twice in a row");
            match left.reason() {
                v1::LeaveReason::Deleted => _ = self.deleted.insert(*entity),
                v1::LeaveReason::OutOfView => {}
                other => panic!("entity {entity} left for {other:?}"),
            }
        }
    }

    fn positions(&mut self, column: &v1::PositionColumn) {
        let count = column.entities.len();
        for (what, length) in
            [("x", column.x.len()), ("y", column.y.len()), ("revisions", column.revisions.len())]
        {
            assert_eq!(length, count, "{what}");
        }
        assert!(column.z.is_empty() || column.z.len() == count);
        for row in 0..count {
            let z = column.z.get(row).copied().unwrap_or(0.0);
            let at = v1::Position { space: column.space, x: column.x[row], y: column.y[row], z };
            let bytes = at.encode_to_vec().into();
            self.put(column.entities[row], POSITION, Value { revision: column.revisions[row], bytes });
        }
    }

    fn values(&mut self, column: &v1::Column) {
        assert_ne!(column.component, POSITION, "Position travels in its own column");
        assert!(column.fields.is_empty(), "frames carry whole values");
        assert_eq!(column.values.len(), column.entities.len());
        assert_eq!(column.revisions.len(), column.entities.len());
        for (row, bytes) in column.values.iter().enumerate() {
            let value = Value { revision: column.revisions[row], bytes: bytes.clone() };
            self.put(column.entities[row], column.component, value);
        }
    }

    fn put(&mut self, entity: u64, component: u32, value: Value) {
        self.value_count += 1;
        let components = self.entities.get_mut(&entity).expect("values come for entities in view only");
        let before = self.revisions.insert((entity, component), value.revision).unwrap_or(0);
        assert!(
            value.revision >= before && value.revision > 0,
            "entity {entity}, component {component}: revision {} after {before}",
            value.revision
        );
        // One that changes partition or comes into view again may be told again, as it was.
        if let Some(held) = components.get(&component).filter(|held| held.revision == value.revision) {
            assert_eq!(
                held.bytes, value.bytes,
                "entity {entity}, component {component}: one revision, two values"
            );
            self.repeated_count += 1;
        }
        components.insert(component, value);
    }
}
