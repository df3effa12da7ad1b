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
