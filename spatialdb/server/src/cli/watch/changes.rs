//! What frames tell, entity by entity.

use std::collections::{BTreeMap, btree_map::Entry};

use bytes::Bytes;
use prost::Message;
use spatialdb_proto::v1::{self, LeaveReason};
use spatialdb_types::{ComponentId, EventId};

/// Something that happened to one entity.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Event {
    pub(super) entity: u64,
    pub(super) what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum What {
    Enter(Values),
    Update(Values),
    Leave(LeaveReason),
    Happen(Happening),
}

/// An event of the schema.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Happening {
    pub(super) component: ComponentId,
    pub(super) event: EventId,
    pub(super) payload: Bytes,
}

/// The components that are told, whole. `None`: the entity no longer has it.
pub(super) type Values = BTreeMap<ComponentId, Option<Bytes>>;

/// What was told of entities of which more may follow: the values of one may be spread over frames.
#[derive(Debug, Default)]
pub(super) struct Changes {
    waiting: BTreeMap<u64, Change>,
}

#[derive(Debug, Default)]
struct Change {
    is_new: bool,
    values: Values,
    happenings: Vec<Happening>,
    /// The last frame that told something of it.
    frame: u64,
}

impl Changes {
    /// What has happened now, and will not be added to: leaves first, then by id.
    pub(super) fn take(&mut self, frame: &v1::Frame) -> Vec<Event> {
        for &entity in &frame.entered {
            self.change(entity, frame.frame).is_new = true;
        }
        for column in &frame.events {
            let (component, event) = (ComponentId(column.component), EventId(column.event));
            for (&entity, payload) in column.entities.iter().zip(&column.payloads) {
                let happening = Happening { component, event, payload: payload.clone() };
                self.change(entity, frame.frame).happenings.push(happening);
            }
        }
        let mut events = Vec::new();
        for left in &frame.left {
            for &entity in &left.entities {
                events.extend(self.waiting.remove(&entity).into_iter().flat_map(|c| c.events(entity)));
                events.push(Event { entity, what: What::Leave(left.reason()) });
            }
        }
        for gone in &frame.gone {
            for &entity in &gone.entities {
                self.put(entity, frame.frame, ComponentId(gone.component), None);
            }
        }
        for column in &frame.positions {
            for (row, &entity) in column.entities.iter().enumerate() {
                let axis = |axis: &[f64]| axis.get(row).copied().unwrap_or(0.0);
                let (x, y, z) = (axis(&column.x), axis(&column.y), axis(&column.z));
                let position = v1::Position { space: column.space, x, y, z }.encode_to_vec();
                self.put(entity, frame.frame, ComponentId::POSITION, Some(position.into()));
            }
        }
        for column in &frame.columns {
            for (&entity, value) in column.entities.iter().zip(&column.values) {
                self.put(entity, frame.frame, ComponentId(column.component), Some(value.clone()));
            }
        }
        let mut waiting = std::mem::take(&mut self.waiting);
        if frame.more {
            // One of which this frame told nothing is complete: what is told of one entity follows without a gap.
            self.waiting = waiting.extract_if(.., |_, change| change.frame == frame.frame).collect();
        }
        events.extend(waiting.into_iter().flat_map(|(entity, change)| change.events(entity)));
        events
    }

    fn change(&mut self, entity: u64, frame: u64) -> &mut Change {
        let change = match self.waiting.entry(entity) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Change::default()),
        };
        change.frame = frame;
        change
    }

    fn put(&mut self, entity: u64, frame: u64, component: ComponentId, value: Option<Bytes>) {
        self.change(entity, frame).values.insert(component, value);
    }
}

impl Change {
    /// The values first: what happened came with them or later.
    fn events(self, entity: u64) -> impl Iterator<Item = Event> {
        let change = match self {
            Self { is_new: true, values, .. } => Some(What::Enter(values)),
            Self { values, .. } => (!values.is_empty()).then_some(What::Update(values)),
        };
        let all = change.into_iter().chain(self.happenings.into_iter().map(What::Happen));
        all.map(move |what| Event { entity, what })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: ComponentId = ComponentId(1000);

    fn column(component: ComponentId, entity: u64) -> Vec<v1::Column> {
        let values = vec![Bytes::from_static(b"\x08\x01")];
        vec![v1::Column { component: component.0, entities: vec![entity], values, ..v1::Column::default() }]
    }

    fn frame(frame: u64, more: bool) -> v1::Frame {
        v1::Frame { frame, more, ..v1::Frame::default() }
    }

    fn entered(event: &Event) -> Option<(u64, usize)> {
        match &event.what {
            What::Enter(values) => Some((event.entity, values.len())),
            _ => None,
        }
    }

    #[test]
    fn what_is_spread_over_frames_is_one_event() {
        let mut changes = Changes::default();
        let first = v1::Frame { entered: vec![7], columns: column(TAG, 7), ..frame(1, true) };
        assert!(changes.take(&first).is_empty());
        let second = v1::Frame { columns: column(ComponentId::METADATA, 7), ..frame(2, true) };
        assert!(changes.take(&second).is_empty());
        // The fill goes on: what it is done with is told.
        let third = v1::Frame { entered: vec![8], ..frame(3, true) };
        let told = changes.take(&third);
        assert_eq!(told.iter().map(entered).collect::<Vec<_>>(), [Some((7, 2))]);
        let told = changes.take(&frame(4, false));
        assert_eq!(told.iter().map(entered).collect::<Vec<_>>(), [Some((8, 0))]);
    }

    #[test]
    fn updates_and_leaves_are_told_at_once() {
        let mut changes = Changes::default();
        let left = vec![v1::Left { reason: LeaveReason::Deleted.into(), entities: vec![9] }];
        let gone = vec![v1::ComponentEntities { component: TAG.0, entities: vec![7] }];
        let told = changes.take(&v1::Frame { left, gone, ..frame(1, false) });
        let lost = What::Update(Values::from([(TAG, None)]));
        let left = What::Leave(LeaveReason::Deleted);
        assert_eq!(told, [Event { entity: 9, what: left }, Event { entity: 7, what: lost }]);
    }

    #[test]
    fn what_happens_comes_behind_values_and_before_a_leave() {
        let happening = |event| Happening { component: TAG, event: EventId(event), payload: Bytes::new() };
        let events = |event, entities: &[u64]| v1::EventColumn {
            component: TAG.0,
            event,
            entities: entities.to_vec(),
            payloads: vec![Bytes::new(); entities.len()],
        };
        let mut changes = Changes::default();
        let left = vec![v1::Left { reason: LeaveReason::Deleted.into(), entities: vec![9] }];
        let first = v1::Frame { entered: vec![7], events: vec![events(1, &[7])], ..frame(1, true) };
        assert_eq!(changes.take(&first), []);
        let events = vec![events(2, &[9, 7])];
        let told = changes.take(&v1::Frame { events, left, columns: column(TAG, 7), ..frame(2, false) });
        let values = Values::from([(TAG, Some(Bytes::from_static(b"\x08\x01")))]);
        let expected = [
            (9, What::Happen(happening(2))),
            (9, What::Leave(LeaveReason::Deleted)),
            (7, What::Enter(values)),
            (7, What::Happen(happening(1))),
            (7, What::Happen(happening(2))),
        ];
        assert_eq!(told, expected.map(|(entity, what)| Event { entity, what }));
    }
}
