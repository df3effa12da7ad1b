//! Entities of players: in a layer of strategy `client` an entity belongs to whom its PlayerOwner names, wherever it lies.
//!
//! Responsible for: which entities are whose, noticing when that changes, and what it means to owners. Not responsible for:
//! who plays under a name (`authority::issuer`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use spatialdb_types::{ComponentId, EntityId, LayerId, RegionId};

use super::Authority;
use crate::authority::layers::Layers;
use crate::authority::leases::Home;
use crate::message::Word;
use crate::partition::{RowId, Store};
use crate::wire::{self, Field};

/// Whose entities here are. Bounded by the entities with PlayerOwner in such layers.
#[derive(Debug, Default)]
pub(super) struct Players {
    /// Some layer has regions of players.
    is_used: bool,
    of: BTreeMap<EntityId, Owned>,
    entities: BTreeMap<Arc<str>, BTreeSet<EntityId>>,
}

/// An entity of a player.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Owned {
    player: Arc<str>,
    /// By rising id.
    layers: Arc<[LayerId]>,
}

impl Players {
    pub(super) fn new(layers: &Layers) -> Self {
        Self { is_used: layers.all().any(|(_, layer)| layer.is_client()), ..Self::default() }
    }

    /// Where a row is, and whose, if that matters.
    pub(super) fn home<'a>(&self, store: &'a Store, id: RowId) -> Home<'a> {
        let player = if self.is_used { player_of(store, id) } else { None };
        Home { at: store.position(store.row(id)), player }
    }

    /// The entity is in these layers now, and that player's. Returns how it was before.
    fn set(&mut self, entity: EntityId, now: Option<Owned>) -> Option<Owned> {
        let before = match &now {
            Some(now) => self.of.insert(entity, now.clone()),
            None => self.of.remove(&entity),
        };
        if let Some(Owned { player, .. }) = &before
            && let Some(entities) = self.entities.get_mut(player)
        {
            entities.remove(&entity);
            if entities.is_empty() {
                self.entities.remove(player);
            }
        }
        if let Some(Owned { player, .. }) = now {
            self.entities.entry(player).or_default().insert(entity);
        }
        before
    }

    fn of_player(&self, player: &str, layer: LayerId) -> impl Iterator<Item = EntityId> {
        let all = self.entities.get(player).into_iter().flatten();
        all.filter(move |entity| self.of[entity].layers.contains(&layer)).copied()
    }
}

impl Owned {
    fn is_in(&self, layer: LayerId, player: &str) -> bool {
        *self.player == *player && self.layers.contains(&layer)
    }
}

impl Authority {
    /// An entity is here now: made, or come from another partition.
    pub(super) fn enter_player(&mut self, store: &Store, id: RowId) {
        if self.players.is_used {
            let now = self.owned(store, id);
            self.players.set(store.row(id).entity, now);
        }
    }

    /// An entity is about to be gone from here.
    pub(super) fn leave_player(&mut self, entity: EntityId) {
        if self.players.is_used {
            self.players.set(entity, None);
        }
    }

    /// The PlayerOwner of an entity may name somebody else than before, or the entity may be in other layers.
    pub(in crate::partition) fn note_player(&mut self, store: &mut Store, id: RowId) {
        if !self.players.is_used {
            return;
        }
        let (entity, owned) = (store.row(id).entity, self.owned(store, id));
        if self.players.of.get(&entity) == owned.as_ref() {
            return;
        }
        let now = store.tick();
        let before = self.players.set(entity, owned.clone());
        let is_same =
            |a: &Option<Owned>, layer, player: &str| a.as_ref().is_some_and(|a| a.is_in(layer, player));
        if let Some(Owned { player, layers }) = &before {
            let home = Home { player: Some(player), ..Home::default() };
            for &layer in layers.iter().filter(|&&layer| !is_same(&owned, layer, player)) {
                let region = self.table.region_of(entity, layer, home);
                self.tell_lost(entity, layer, region, now);
                self.table.left(entity, layer);
            }
        }
        if let Some(Owned { player, layers }) = &owned {
            let home = Home { player: Some(player), ..Home::default() };
            for &layer in layers.iter().filter(|&&layer| !is_same(&before, layer, player)) {
                let crossing = self.table.entered(entity, layer, home, now);
                crossing.iter().for_each(|crossing| self.news.push_crossing(entity, crossing, now));
                if !self.table.is_known() {
                    self.news.push_unknown(entity, layer, now, []);
                }
            }
        }
        store.set_apart(id, self.table.is_apart(entity));
    }

    /// The owner of a player's region is told what belongs to it. Returns whether it is one.
    pub(super) fn tell_player(&mut self, store: &mut Store, region: RegionId, word: Word) -> bool {
        let Some(of) = self.table.player_of(region) else { return false };
        if let Some(region) = self.table.known(region) {
            let now = store.tick();
            for entity in self.players.of_player(&of.player, of.layer) {
                self.news.push(entity, of.layer, region, word, now);
            }
        }
        true
    }

    fn owned(&mut self, store: &Store, id: RowId) -> Option<Owned> {
        let layers = Arc::clone(&self.rules(store, store.row(id).set()).of_players);
        if layers.is_empty() {
            return None;
        }
        Some(Owned { player: player_of(store, id)?.into(), layers })
    }
}

/// Whose an entity is: field 1 of its PlayerOwner. Nobody is called nothing.
pub(in crate::partition) fn player_of(store: &Store, id: RowId) -> Option<&str> {
    name_in(store.value(id, ComponentId::PLAYER_OWNER)?)
}

fn name_in(player_owner: &[u8]) -> Option<&str> {
    let names = wire::fields(player_owner).filter_map(|(number, field)| match field {
        Field::Bytes(name) if number == 1 => Some(name),
        _ => None,
    });
    names.last().and_then(|name| str::from_utf8(name).ok()).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests;
