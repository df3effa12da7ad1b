//! Groups at rest: who follows belongs to the regions of its leader.

use std::collections::BTreeMap;

use spatialdb_types::{ComponentId, EntityId, LayerId, RegionId};

use super::Authority;
use super::judge::fail;
use crate::driver::Sim;
use crate::judge::Failure;
use crate::values;

/// An entity, as the judge sees it.
#[derive(Debug, Default)]
struct Member {
    /// `None`: it has no Follows.
    follows: Option<EntityId>,
    /// By layer: where it belongs, and where it would by itself.
    regions: BTreeMap<LayerId, (Option<RegionId>, bool)>,
}

impl Sim {
    /// Followers belong to the regions of their leaders, and whoever has none to where it lies.
    ///
    /// # Errors
    /// Who does not.
    pub(super) fn judge_groups(&self) -> Result<(), Failure> {
        let Some(authority) = &self.authority else { return Ok(()) };
        let members = self.members(authority);
        for (entity, member) in &members {
            let leader = member.follows.filter(|leader| leader != entity);
            let leader = leader.and_then(|leader| members.get(&leader)).filter(|of| of.follows.is_none());
            for (layer, (region, is_apart)) in &member.regions {
                let led = leader.and_then(|leader| leader.regions.get(layer));
                let is_right = led.map_or(!is_apart, |(led, _)| led == region);
                if !is_right {
                    let (follows, led) = (member.follows, led.map(|(led, _)| led));
                    let detail = format!(
                        "entity {entity} of layer {layer} is in region {region:?}, follows {follows:?}, which is in {led:?}"
                    );
                    return fail("groups", detail);
                }
            }
        }
        Ok(())
    }

    fn members(&self, authority: &Authority) -> BTreeMap<EntityId, Member> {
        let mut members = BTreeMap::new();
        for partition in &self.partitions {
            let Some(table) = partition.lease_table() else { continue };
            for &entity in self.model.entities.keys() {
                let Some((_, layers)) = partition.authority_of(entity) else { continue };
                let state = partition.entity(entity).expect("it is here");
                let follows = state.values.iter().find(|(component, ..)| *component == ComponentId::FOLLOWS);
                let follows =
                    follows.map(|(.., value)| EntityId(values::number_in(value).unwrap_or_default()));
                let region = |layer: LayerId| {
                    // Where nothing keeps an entity in a region that it left, only a leader takes it elsewhere.
                    let keeps = authority.layers.get(layer).border_hysteresis_m > 0.0;
                    let region = partition.region_of(entity, layer).map(|(region, _)| region);
                    (layer, (region, !keeps && table.own_region(entity, layer).is_some()))
                };
                // What is a player's is that wherever its leader goes.
                let placed = layers.into_iter().filter(|layer| !authority.layers.get(*layer).is_client());
                let regions = placed.map(region).collect();
                members.insert(entity, Member { follows, regions });
            }
        }
        members
    }
}
