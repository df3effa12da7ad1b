//! Typed writes, grouped into columns.
//!
//! Responsible for: collecting writes so that each message carries few columns, in an order that keeps what was
//! said about one entity in the order it was said.
//! Not responsible for: sending (`worker.rs`), creating entities (`create.rs`).

mod columns;

pub(crate) use self::columns::Columns;

use std::collections::BTreeMap;

use spatialdb_types::{ComponentId, EntityId, Position};

use crate::{
    Component, EventMessage,
    v1::{self, client_message::Body},
};

/// Writes to entities that exist. A worker keeps one and fills it again each tick.
///
/// # Shape
/// Sent as one message for each kind of write that is in it, in this order: added components, updates with events,
/// removed components, deleted entities. A batch with one kind of write is one message: all it says about one entity
/// shows in one frame.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    added: Columns,
    updates: Columns,
    removed: BTreeMap<ComponentId, Vec<u64>>,
    deleted: Vec<u64>,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves an entity that has a position. Units: metres.
    pub fn set_position(&mut self, entity: EntityId, position: Position) {
        self.updates.position(entity.0, position);
    }

    /// Replaces a component that the entity has by a whole value.
    pub fn update<C: Component>(&mut self, entity: EntityId, value: &C) {
        self.updates.value(entity.0, C::ID, &[], value.encode_to_vec().into());
    }

    /// Replaces only the named top-level fields, by number; the other fields of `value` are not sent. A named
    /// field at its default is cleared; repeated, map, message and oneof fields are replaced whole.
    ///
    /// Naming no field is a whole update.
    pub fn update_fields<C: Component>(&mut self, entity: EntityId, fields: &[u32], value: &C) {
        if fields.is_empty() {
            return self.update(entity, value);
        }
        self.updates.value(entity.0, C::ID, fields, crate::fields::encode_only(value, fields));
    }

    /// Tells an event of the entity to whoever has it and the event's component in view. It is not stored. Who sees the
    /// event sees the updates of the same batch before or with it; events of an entity come in order.
    pub fn emit<E: EventMessage>(&mut self, entity: EntityId, event: &E) {
        self.updates.event(entity.0, E::COMPONENT, E::ID, event.encode_to_vec().into());
    }

    /// Gives the entity a component; one that it already has gets the new value.
    pub fn add<C: Component>(&mut self, entity: EntityId, value: &C) {
        self.added.value(entity.0, C::ID, &[], value.encode_to_vec().into());
    }

    /// Gives the entity a position; one that it already has is replaced.
    pub fn add_position(&mut self, entity: EntityId, position: Position) {
        self.added.position(entity.0, position);
    }

    /// Takes the component away from the entity.
    pub fn remove<C: Component>(&mut self, entity: EntityId) {
        self.removed.entry(C::ID).or_default().push(entity.0);
    }

    /// Deletes the entity.
    pub fn delete(&mut self, entity: EntityId) {
        self.deleted.push(entity.0);
    }

    /// How many writes are in the batch.
    pub fn len(&self) -> usize {
        let removed: usize = self.removed.values().map(Vec::len).sum();
        self.added.rows() + self.updates.rows() + removed + self.deleted.len()
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets every write.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// How many messages the batch is.
    pub(crate) fn message_count(&self) -> usize {
        let kinds = [
            self.added.rows() == 0,
            self.updates.rows() == 0,
            self.removed.is_empty(),
            self.deleted.is_empty(),
        ];
        kinds.iter().filter(|empty| !**empty).count()
    }

    /// Rows and about how many bytes the largest of its messages has.
    pub(crate) fn largest_message(&self) -> (usize, usize) {
        let removed: usize = self.removed.values().map(Vec::len).sum();
        let rows = [self.added.rows(), self.updates.rows(), removed, self.deleted.len()];
        let ids = removed.max(self.deleted.len()) * columns::ID_BYTES_MAX;
        let bytes = [self.added.bytes(), self.updates.bytes(), ids];
        (rows.into_iter().fold(0, usize::max), bytes.into_iter().fold(0, usize::max))
    }

    /// The messages of the batch, which is empty afterwards.
    pub(crate) fn take_bodies(&mut self) -> Vec<Body> {
        let batch = std::mem::take(self);
        let mut bodies = Vec::with_capacity(batch.message_count());
        if batch.added.rows() > 0 {
            let (positions, columns, _) = batch.added.into_wire();
            bodies.push(Body::AddComponents(v1::AddComponents { authority_seen: 0, positions, columns }));
        }
        if batch.updates.rows() > 0 {
            let (positions, columns, events) = batch.updates.into_wire();
            bodies.push(Body::Update(v1::Update { authority_seen: 0, positions, columns, events }));
        }
        if !batch.removed.is_empty() {
            let columns = batch
                .removed
                .into_iter()
                .map(|(component, entities)| v1::ComponentEntities { component: component.0, entities })
                .collect();
            bodies.push(Body::RemoveComponents(v1::RemoveComponents { authority_seen: 0, columns }));
        }
        if !batch.deleted.is_empty() {
            bodies.push(Body::Delete(v1::Delete { authority_seen: 0, entities: batch.deleted }));
        }
        bodies
    }
}

#[cfg(test)]
mod tests {
    use spatialdb_types::SpaceId;

    use super::*;
    use crate::v1::Metadata;

    fn named(name: &str) -> Metadata {
        Metadata { r#type: "t".into(), name: name.into() }
    }

    #[test]
    fn one_kind_of_write_is_one_message_of_few_columns() {
        let mut batch = Batch::new();
        for entity in 1..=100 {
            batch.set_position(EntityId(entity), Position::new(SpaceId(0), 1.0, 2.0, 3.0));
            batch.update(EntityId(entity), &named("x"));
        }
        assert_eq!((batch.len(), batch.message_count()), (200, 1));
        let bodies = batch.take_bodies();
        let [Body::Update(update)] = bodies.as_slice() else { panic!("{bodies:?}") };
        assert_eq!((update.positions.len(), update.columns.len()), (1, 1));
        assert_eq!(update.positions[0].z.len(), 100);
        assert!(batch.is_empty());
    }

    #[test]
    fn kinds_go_out_in_the_documented_order() {
        let mut batch = Batch::new();
        batch.delete(EntityId(4));
        batch.remove::<Metadata>(EntityId(3));
        batch.set_position(EntityId(2), Position::default());
        batch.add(EntityId(1), &named("x"));
        assert_eq!(batch.message_count(), 4);
        let kinds: Vec<_> = batch
            .take_bodies()
            .iter()
            .map(|body| match body {
                Body::AddComponents(_) => "add",
                Body::Update(_) => "update",
                Body::RemoveComponents(_) => "remove",
                Body::Delete(_) => "delete",
                _ => "other",
            })
            .collect();
        assert_eq!(kinds, ["add", "update", "remove", "delete"]);
    }

    #[test]
    fn events_travel_behind_values_and_those_of_an_entity_keep_their_order() {
        #[derive(Clone, PartialEq, prost::Message)]
        struct Bang {
            #[prost(uint32, tag = "1")]
            power: u32,
        }
        #[derive(Clone, PartialEq, prost::Message)]
        struct Flash {}
        crate::event!(Bang, 1, 1001, "test.Bang");
        crate::event!(Flash, 2, 1001, "test.Flash");
        let mut batch = Batch::new();
        batch.emit(EntityId(1), &Bang { power: 3 });
        batch.emit(EntityId(2), &Flash {});
        batch.emit(EntityId(3), &Bang { power: 4 });
        batch.emit(EntityId(2), &Bang { power: 5 });
        batch.update(EntityId(1), &named("x"));
        assert_eq!((batch.len(), batch.message_count()), (5, 1));
        let bodies = batch.take_bodies();
        let [Body::Update(update)] = bodies.as_slice() else { panic!("{bodies:?}") };
        let events: Vec<_> =
            update.events.iter().map(|c| (c.component, c.event, c.entities.as_slice())).collect();
        assert_eq!(events, [(1001, 1, &[1, 3][..]), (1001, 2, &[2]), (1001, 1, &[2])]);
        assert_eq!(update.events[0].payloads[1].as_ref(), [8, 4]);
        assert_eq!(update.columns.len(), 1);
    }

    #[test]
    fn naming_fields_sends_only_them() {
        let mut batch = Batch::new();
        batch.update_fields(EntityId(1), &[2], &named("x"));
        let bodies = batch.take_bodies();
        let [Body::Update(update)] = bodies.as_slice() else { panic!("{bodies:?}") };
        assert_eq!(update.columns[0].fields, [2]);
        let value = <Metadata as prost::Message>::decode(update.columns[0].values[0].clone());
        assert_eq!(value, Ok(Metadata { name: "x".into(), ..Default::default() }));
    }
}
