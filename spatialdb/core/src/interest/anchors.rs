//! Anchors: entities that views follow. Whichever partition has one tells the session where it is.

use spatialdb_types::{EntityId, Position};

use super::{DeltaBuilder, ViewSet};
use crate::partition::Store;

/// The anchors of one subscriber.
#[derive(Debug, Default)]
pub(super) struct Anchors {
    list: Vec<Anchor>,
    epoch: u64,
}

#[derive(Debug)]
struct Anchor {
    entity: EntityId,
    told: Told,
}

/// What the session was told from here.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Told {
    /// Nothing: the entity is not here, and another partition may have it.
    Nothing,
    /// Where it is, if it is anywhere.
    At(Option<Position>),
    /// It was deleted here, which is yet to be told.
    Deleted,
}

impl Told {
    /// The same as if nothing had been told.
    fn again(self) -> Self {
        match self {
            Self::Nothing | Self::At(Some(_)) => Self::Nothing,
            Self::Deleted | Self::At(None) => Self::Deleted,
        }
    }
}

impl Anchors {
    pub(super) fn set(&mut self, set: &ViewSet) {
        let mut before = std::mem::take(&mut self.list);
        if self.epoch != set.followed_epoch {
            self.epoch = set.followed_epoch;
            before.iter_mut().for_each(|anchor| anchor.told = anchor.told.again());
        }
        self.list = set
            .followed
            .iter()
            .map(|&entity| match before.iter().position(|anchor| anchor.entity == entity) {
                Some(i) => before.swap_remove(i),
                None => Anchor { entity, told: Told::Nothing },
            })
            .collect();
    }

    /// The entity goes to another partition, which will tell.
    pub(super) fn hand_over(&mut self, entity: EntityId) {
        self.set_told(entity, Told::Nothing);
    }

    /// The entity is deleted.
    pub(super) fn forget(&mut self, entity: EntityId) {
        self.set_told(entity, Told::Deleted);
    }

    /// Whether one was deleted here, which no change of a view would bring up.
    pub(super) fn is_owed(&self) -> bool {
        self.list.iter().any(|anchor| anchor.told == Told::Deleted)
    }

    fn set_told(&mut self, entity: EntityId, told: Told) {
        if let Some(anchor) = self.list.iter_mut().find(|anchor| anchor.entity == entity) {
            anchor.told = told;
        }
    }

    /// Tells what has changed.
    pub(super) fn tell(&mut self, store: &Store, builder: &mut DeltaBuilder) {
        for Anchor { entity, told } in &mut self.list {
            let position = match (store.find(*entity), *told) {
                (Some(id), _) => store.position(store.row(id)),
                (None, Told::Deleted) => None,
                (None, _) => continue,
            };
            if *told != Told::At(position) {
                *told = Told::At(position);
                builder.delta.anchors.push((*entity, position));
                builder.count_id();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use spatialdb_types::{
        ComponentId, EntityId, Limits, PartitionId, Position, Seq, SessionId, SpaceId, ViewId,
    };

    use crate::world::PartitionMap;
    use crate::{
        Batch, Constraint, CreateRows, Op, Outbox, Part, Partition, PlacedRows, Removes, View, ViewSet,
    };

    #[test]
    fn a_deleted_one_is_told_though_nothing_in_view_has_changed() {
        let (viewer, writer, followed) = (SessionId(5), SessionId(6), EntityId(1));
        let map = Arc::new(PartitionMap::new(1, 10.0, &[]));
        let mut partition = Partition::new(PartitionId(0), map, Limits::default());
        let positions =
            PlacedRows { index: vec![0], positions: vec![Position::new(SpaceId(0), 0.0, 0.0, 0.0)] };
        let rows = CreateRows { rows: vec![0], entities: vec![followed], positions, columns: Vec::new() };
        partition.load(&rows).expect("a new id");
        // It shows nothing: what is deleted is in nobody's view.
        let constraint = Constraint::Has(ComponentId(1000));
        let part = Part { constraint, components: Arc::new([]), interval_us: 0 };
        let views = [Arc::new(View::new(ViewId(1), part))];
        let followed_list = [followed];
        let set = ViewSet { views: views.into(), followed: followed_list.into(), followed_epoch: 1 };
        partition.set_views(viewer, 1, &set);
        let told = |partition: &mut Partition| {
            let mut outbox = Outbox::default();
            partition.publish(0, &mut outbox);
            partition.ready(viewer);
            let deltas = outbox.sessions.into_iter().filter(|(session, _)| *session == viewer);
            deltas.filter_map(|(_, message)| message.delta).flat_map(|d| d.anchors).collect::<Vec<_>>()
        };
        assert!(told(&mut partition)[0].1.is_some());
        let mut removes = Removes::new(0, None);
        removes.push(0, followed);
        let mut batch = Batch::new(writer, Seq(1));
        batch.ops.push(Op::Remove(removes));
        partition.apply(&batch, &mut Outbox::default());
        assert!(partition.has_unpublished());
        assert_eq!(told(&mut partition), [(followed, None)]);
        assert_eq!(told(&mut partition), []);
    }
}
