//! What a partition knows of one entity, for whoever asks why things are as they are with it.
//!
//! Responsible for: all that decides who may write it, and who wrote it last. Not responsible for: words (`interest`
//! explains constraints, the edge the rest).

use spatialdb_types::{ComponentId, EntityId, LayerId, Position, Revision, SessionId};

use super::authority::{leader_of, player_of};
use super::refusals::Refused;
use super::{CellRow, Partition};
use crate::Micros;
use crate::authority::leases::{Belonging, Hold, Home, LeaseTable};
use crate::interest::{Subject, Values};
use crate::message::MovedValue;

/// An entity, who wrote it, and whose it is.
#[derive(Clone, Debug)]
pub struct Explained {
    /// Which entity.
    pub entity: EntityId,
    /// Where it is, the revision of that, and who moved it there.
    pub position: Option<(Position, Revision, SessionId)>,
    /// Its components, by rising id.
    pub components: Vec<ComponentId>,
    /// Their values and writers, but Position's.
    pub values: Vec<MovedValue>,
    /// It came here, and the partition before may still forward writes.
    pub is_arriving: bool,
    /// Whom its PlayerOwner names.
    pub player: Option<Box<str>>,
    /// Whom it follows, if it says so.
    pub follows: Option<EntityId>,
    /// It knows the regions of the world.
    pub knows_regions: bool,
    /// Where it belongs in each layer that has it; `None`: nothing is known of regions, or its player is not there.
    pub layers: Vec<(LayerId, Option<Belonging>)>,
    /// The components that tools hold.
    pub holds: Vec<(ComponentId, Hold)>,
}

impl Explained {
    /// Where it is.
    pub fn place(&self) -> Option<Position> {
        self.position.map(|(at, ..)| at)
    }

    /// The entity, as constraints look at it.
    pub fn subject(&self) -> Subject<'_> {
        let (entity, position) = (self.entity, self.place());
        Subject { entity, position, components: &self.components, values: self }
    }
}

impl Values for Explained {
    fn value(&self, component: ComponentId) -> Option<&[u8]> {
        self.values.iter().find(|value| value.component == component).map(|value| &*value.value)
    }
}

impl Partition {
    /// What is known of an entity, if it is here.
    pub fn explain(&self, entity: EntityId) -> Option<Explained> {
        let id = self.store.find(entity)?;
        let row = self.store.row(id);
        let CellRow { revision, mover, .. } = *self.store.in_cell(row);
        let at = self.store.position(row);
        let values = self.store.slots(row).map(|(component, slot)| MovedValue {
            component,
            revision: slot.revision,
            writer: slot.writer,
            value: slot.value.clone(),
        });
        let components = self.store.components(row);
        let (mut layers, mut holds) = (Vec::new(), Vec::new());
        if let Some(table) = self.lease_table() {
            let home = Home { at, player: player_of(&self.store, id) };
            let of = table.layers().layers_of(components);
            layers.extend(of.map(|layer| (layer, table.belonging(entity, layer, home))));
            holds = table.holds_of(entity).collect();
        }
        Some(Explained {
            entity,
            position: at.map(|at| (at, revision, mover)),
            components: components.to_vec(),
            values: values.collect(),
            is_arriving: row.arriving,
            player: player_of(&self.store, id).map(Box::from),
            follows: leader_of(&self.store, id),
            knows_regions: self.lease_table().is_some_and(LeaseTable::is_known),
            layers,
            holds,
        })
    }

    /// The last write of an entity that was refused here, if that is remembered.
    pub fn refused(&self, entity: EntityId) -> Option<&Refused> {
        self.refusals.as_ref()?.get(entity)
    }

    /// What is refused from now on is refused at that time.
    pub const fn set_time(&mut self, now: Micros) {
        self.now = now;
    }
}

#[cfg(test)]
mod tests;
