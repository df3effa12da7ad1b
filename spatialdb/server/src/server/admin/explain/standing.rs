//! Whose an entity is in each layer, and why.

use spatialdb_core::Explained;
use spatialdb_core::authority::layers::Layer;
use spatialdb_core::authority::leases::{Belonging, Why};
use spatialdb_proto::v1;
use spatialdb_types::ComponentId;

use super::component_name;
use super::origin::session_ref;
use crate::server::admin::wire;
use crate::server::authority::Picture;
use crate::server::edge::Edge;

/// The layers that have the entity, and why others have not.
pub(super) fn standings(edge: &Edge, known: &Explained) -> (Vec<v1::LayerStanding>, Vec<v1::LayerLack>) {
    let picture = edge.authority.picture();
    let has = known.layers.iter().map(|(layer, belonging)| {
        let layer = edge.layers.get(*layer);
        let (name, is_known) = (layer.name.clone(), known.knows_regions);
        let mut standing = v1::LayerStanding { layer: name, ..Default::default() };
        if layer.is_client() {
            standing.player = known.player.as_deref().unwrap_or_default().to_owned();
            standing.why = if is_known { v1::Belonging::Player } else { v1::Belonging::Unspecified }.into();
        }
        match belonging {
            Some(belonging) => belongs(edge, &picture, standing, belonging),
            None => standing,
        }
    });
    let lacking = edge.layers.all().filter(|(_, layer)| !layer.has(&known.components));
    let lacking = lacking.map(|(_, layer)| lack(edge, layer, &known.components));
    (has.collect(), lacking.collect())
}

fn belongs(
    edge: &Edge,
    picture: &Picture,
    standing: v1::LayerStanding,
    belonging: &Belonging,
) -> v1::LayerStanding {
    let state = picture.regions.get(&belonging.region);
    let (why, lies_in, outside_m, hysteresis_m) = match belonging.why {
        Why::LiesIn => (v1::Belonging::LiesIn, None, 0.0, 0.0),
        Why::Nowhere => (v1::Belonging::Nowhere, None, 0.0, 0.0),
        Why::Player => (v1::Belonging::Player, None, 0.0, 0.0),
        Why::Kept { lies_in, outside_m, hysteresis_m } => {
            (v1::Belonging::Kept, Some(lies_in), outside_m, hysteresis_m)
        }
        Why::Follows(lies_in) => {
            (v1::Belonging::Follows, lies_in.filter(|lies_in| *lies_in != belonging.region), 0.0, 0.0)
        }
    };
    let differs = state.is_some_and(|state| state.lease != belonging.lease);
    let worker = belonging.lease.owner.and_then(|owner| picture.workers.get(&owner));
    v1::LayerStanding {
        region: state.map(|state| wire::region(&edge.layers, picture, state, Vec::new())),
        why: why.into(),
        lies_in: lies_in.unwrap_or_default().0,
        outside_m,
        hysteresis_m,
        partition_epoch: if differs { belonging.lease.epoch.0 } else { 0 },
        partition_owner: belonging.lease.owner.filter(|_| differs).map(|owner| session_ref(edge, owner)),
        grant_unseen: worker.is_some_and(|worker| worker.seen < belonging.lease.epoch),
        gain_unseen: belonging.is_unseen,
        ..standing
    }
}

fn lack(edge: &Edge, layer: &Layer, components: &[ComponentId]) -> v1::LayerLack {
    let is_there = |component: &&ComponentId| components.binary_search(component).is_ok();
    let name = |component: &ComponentId| component_name(edge, *component);
    v1::LayerLack {
        layer: layer.name.clone(),
        missing: layer.with.iter().filter(|component| !is_there(component)).map(name).collect(),
        unwanted: layer.without.iter().filter(is_there).map(name).collect(),
    }
}
