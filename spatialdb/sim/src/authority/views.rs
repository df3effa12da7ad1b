//! Views of what a session owns, and workers that are told to get warm once they see what they may get.

use std::collections::BTreeMap;

use spatialdb_core::authority::issuer::{Change, Notice, Phase};
use spatialdb_core::authority::layers::Layers;
use spatialdb_core::{Constraint, EntityAuthority, OwnedLayer, View};
use spatialdb_types::{Box3, EntityId, LayerId, RegionId, Revision, SessionId, SpaceId, ViewId};

use super::Authority;
use crate::driver::Sim;
use crate::judge::Failure;
use crate::values;

/// The regions of a session: of which layer, and what lies in them.
pub(crate) type Regions = Vec<(LayerId, Inside)>;

/// What lies in a region.
#[derive(Clone, Debug)]
pub(crate) enum Inside {
    Box(SpaceId, Box3),
    /// What has no position.
    Nowhere,
    /// What belongs to a player.
    Player(String),
}

/// What sessions were asked to get warm for.
pub(super) type Asked = BTreeMap<(SessionId, RegionId), Sight>;

/// A region that a session was asked to get warm for.
#[derive(Debug)]
pub(super) struct Sight {
    /// What lay in it then, and since when it was there.
    there: BTreeMap<EntityId, Revision>,
    /// The views that the session had then.
    views: BTreeMap<ViewId, View>,
}

/// How far a view of a layer sees around its regions.
fn margin_m(layers: &Layers, layer: LayerId) -> f64 {
    let layer = layers.get(layer);
    2.0 * layer.border_hysteresis_m + 1.0
}

impl Sim {
    /// Some views of sessions that may own something are of what they own.
    pub(crate) fn owned_view(&mut self, a: usize, mut view: View) -> View {
        let Some(authority) = &mut self.authority else { return view };
        let worker_type = &self.actors[a].owner.worker_type;
        let layers = authority.layers.all().filter(|(_, layer)| layer.worker_type == *worker_type);
        let margin_m = |layer| margin_m(&authority.layers, layer);
        let layers: Vec<_> =
            layers.map(|(layer, _)| OwnedLayer { layer, margin_m: margin_m(layer) }).collect();
        if layers.is_empty() || !authority.rng.one_in(3) {
            return view;
        }
        let owned = Constraint::Owned(layers.into());
        let is_whole = view.parts.len() == 1 && authority.rng.percent(70);
        for part in &mut view.parts {
            let all = std::mem::replace(&mut part.constraint, owned.clone());
            if !is_whole {
                part.constraint = Constraint::And(vec![owned.clone(), all]);
            }
        }
        view
    }

    /// The regions that a session has, or may get, as the issuer knows it.
    pub(crate) fn regions_of(&self, session: SessionId) -> Regions {
        let Some(authority) = &self.authority else { return Regions::new() };
        let concerned = authority.issuer.keyframe().into_iter().filter_map(|change| match change {
            Change::Region(region) => {
                let is_own =
                    region.lease.owner == Some(session) || region.phase == Phase::HandingOver(session);
                let inside = match (region.player, region.space) {
                    (Some(player), _) => Inside::Player(player.to_string()),
                    (None, Some(space)) => Inside::Box(space, region.area),
                    (None, None) => Inside::Nowhere,
                };
                is_own.then_some((region.layer, inside))
            }
            _ => None,
        });
        concerned.collect()
    }

    /// A notice has come to a session.
    ///
    /// # Errors
    /// An entity is in two partitions.
    pub(super) fn session_hears(&mut self, a: usize, notice: Notice) -> Result<(), Failure> {
        let warm = match &notice {
            Notice::Warm(lease) => Some(lease.clone()),
            _ => None,
        };
        self.actors[a].session.notice(notice);
        let Some(lease) = warm else { return Ok(()) };
        let inside = |space, point| lease.space == Some(space) && lease.area.contains(point);
        let there = self.positions()?.into_iter();
        let there =
            there.filter(|(_, at, _)| inside(at.space, at.point)).map(|(entity, _, since)| (entity, since));
        let sight = Sight { there: there.collect(), views: self.actors[a].views.clone() };
        let session = self.actors[a].id;
        let asked = self.authority.as_mut().map(|authority| &mut authority.asked);
        asked.map(|asked| asked.insert((session, lease.region), sight));
        Ok(())
    }

    /// A worker hears that it is to get warm: it must see what has been there all the time, if it has a view of that.
    ///
    /// # Errors
    /// An entity that it does not see.
    pub(super) fn judge_warm(&mut self, a: usize, notice: &Notice) -> Result<(), Failure> {
        let (Notice::Warm(lease), Some(authority)) = (notice, &mut self.authority) else { return Ok(()) };
        let session = self.actors[a].id;
        let Some(asked) = authority.asked.remove(&(session, lease.region)) else { return Ok(()) };
        let is_of_it = |view: &View| match &view.parts[..] {
            [part] => {
                matches!(&part.constraint, Constraint::Owned(of) if of.iter().any(|of| of.layer == lease.layer))
            }
            _ => false,
        };
        let views = self.actors[a].views.iter();
        let mut views = views.filter(|(id, view)| asked.views.get(id) == Some(*view)).map(|(_, view)| view);
        if !views.any(is_of_it) {
            return Ok(());
        }
        let held = &self.actors[a].replica.held;
        let unseen = |entity: &EntityId, since: &Revision| {
            asked.there.get(entity) == Some(since) && !held.contains_key(entity)
        };
        let unseen = self.positions()?.into_iter().find(|(entity, _, since)| unseen(entity, since));
        unseen.map_or(Ok(()), |(entity, ..)| {
            let region = lease.region;
            let detail =
                format!("session {session} is told of region {region} before it sees entity {entity}");
            Err(Failure { judge: "warm", detail })
        })
    }
}

impl Sim {
    /// A worker hears that entities are its own from now on: as far as it sees them, it sees what was written before, by
    /// whomever. Its own of old may be missing where partitions restart.
    ///
    /// # Errors
    /// Something older than that.
    pub(super) fn judge_gained(&self, a: usize, words: &[EntityAuthority]) -> Result<(), Failure> {
        let actor = &self.actors[a];
        for word in words {
            let Some(shown) = actor.replica.held.get(&word.entity) else { continue };
            let state = self.partitions.iter().find_map(|partition| partition.entity(word.entity));
            for (component, revision, value) in state.into_iter().flat_map(|state| state.values) {
                // A partition that restarts says anew what belongs to whom: to the others nothing changes by that.
                let counts = self.plan.weights.restart == 0
                    || values::stamp_of(&value).is_some_and(|stamp| stamp.writer != actor.id);
                let Some((seen, _)) = shown.get(&component) else { continue };
                let is_old = counts && revision <= word.clock && *seen < revision;
                let is_its = self
                    .authority
                    .as_ref()
                    .is_some_and(|authority| authority.layers.get(word.layer).writes.contains(&component));
                // What it sees no longer, it may only just be about to hear so.
                if is_its && is_old && self.looks_at(a, word.entity)? {
                    let detail = format!(
                        "session {} is told that entity {} is its own, and sees component {component} at {seen}, not {revision}",
                        actor.id, word.entity
                    );
                    return Err(Failure { judge: "gained", detail });
                }
            }
        }
        Ok(())
    }
}

impl Authority {
    /// What a session was asked to get warm for does not matter any more.
    pub(super) fn forget_asked(&mut self, session: SessionId) {
        self.asked.retain(|(of, _), _| *of != session);
    }
}
