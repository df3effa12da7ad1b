//! Players: a layer whose regions are theirs, and its judge.

use std::collections::{BTreeMap, BTreeSet};

use spatialdb_core::authority::issuer::Change;
use spatialdb_core::authority::layers::{Layer, Strategy};
use spatialdb_types::{ComponentId, LayerId, SessionId};

use super::judge::fail;
use super::{OWNED, OWNED_BY_PLAYERS};
use crate::driver::Sim;
use crate::interests::TYPES;
use crate::judge::Failure;
use crate::rng::Rng;
use crate::values;

/// A layer of players, of all that has a PlayerOwner, or that component besides.
pub(super) fn layer(rng: &mut Rng, besides: ComponentId) -> Layer {
    let mut with = vec![ComponentId::PLAYER_OWNER];
    if rng.one_in(3) {
        with.push(besides);
    }
    let writes = vec![OWNED[OWNED_BY_PLAYERS]];
    Layer { with, strategy: Strategy::Client, ..Layer::new("players", TYPES[rng.index(TYPES.len())], writes) }
}

impl Sim {
    /// What belongs to a player is owned by a session of that name, and whoever has one has a region.
    ///
    /// # Errors
    /// What is not.
    pub(super) fn judge_players(&self) -> Result<(), Failure> {
        let Some(authority) = &self.authority else { return Ok(()) };
        let mut owners: BTreeMap<(LayerId, String), Option<SessionId>> = BTreeMap::new();
        let mut sessions: BTreeMap<SessionId, (String, String, bool)> = BTreeMap::new();
        for change in authority.issuer.keyframe() {
            match change {
                Change::Region(region) => {
                    let key = region.player.map(|player| (region.layer, player.to_string()));
                    owners.extend(key.map(|key| (key, region.lease.owner)));
                }
                Change::Worker(w) => {
                    let is_willing = !w.is_silent && !w.is_stalled && !w.is_draining;
                    sessions.insert(w.session, (w.worker_type, w.name, is_willing));
                }
                _ => {}
            }
        }
        for (layer, rule) in authority.layers.all().filter(|(_, layer)| layer.is_client()) {
            let players = sessions.values().filter(|(worker_type, ..)| *worker_type == rule.worker_type);
            let here: BTreeSet<String> = players.map(|(_, name, _)| name.clone()).collect();
            let told: BTreeSet<String> =
                owners.keys().filter(|(of, _)| *of == layer).map(|(_, name)| name.clone()).collect();
            if here != told {
                return fail("players", format!("layer {layer} has regions of {told:?}, there are {here:?}"));
            }
        }
        for ((layer, player), owner) in &owners {
            let worker_type = &authority.layers.get(*layer).worker_type;
            let may = |(of, name, is_willing): &(String, String, bool)| {
                *is_willing && of == worker_type && name == player
            };
            let is_right = match owner {
                Some(owner) => {
                    sessions.get(owner).is_some_and(|(of, name, _)| of == worker_type && name == player)
                }
                None => !sessions.values().any(may),
            };
            if !is_right {
                return fail(
                    "players",
                    format!("the region of {player} in layer {layer} is owned by {owner:?}"),
                );
            }
        }
        for partition in &self.partitions {
            for &entity in self.model.entities.keys() {
                let Some((_, layers)) = partition.authority_of(entity) else { continue };
                let state = partition.entity(entity).expect("it is here");
                let name =
                    state.values.iter().find(|(component, ..)| *component == ComponentId::PLAYER_OWNER);
                let name = name.and_then(|(.., value)| values::owner_in(value)).unwrap_or_default();
                for layer in layers.into_iter().filter(|layer| authority.layers.get(*layer).is_client()) {
                    let owner = partition.region_of(entity, layer).and_then(|(_, lease)| lease.owner);
                    if owner != owners.get(&(layer, name.to_string())).copied().flatten() {
                        let detail =
                            format!("entity {entity} of {name:?} in layer {layer} is owned by {owner:?}");
                        return fail("players", detail);
                    }
                }
            }
        }
        Ok(())
    }
}
