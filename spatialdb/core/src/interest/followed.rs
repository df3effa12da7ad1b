//! What constraints follow: entities, and the regions of the session whose view it is. A session turns both into places.

use std::collections::BTreeSet;
use std::sync::Arc;

use spatialdb_types::{Box3, ComponentId, EntityId, LayerId, Position, SpaceId};

use super::Constraint;
use super::field::{Comparison, Encoding, FieldTest, Scalar, Step};

/// A layer whose regions a constraint follows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OwnedLayer {
    /// Which one.
    pub layer: LayerId,
    /// So far around each region, metres.
    pub margin_m: f64,
}

/// What constraints follow, as far as a session knows it.
pub(crate) trait Followed {
    /// Where an entity is.
    fn position(&self, entity: EntityId) -> Option<Position>;
    /// The regions of a layer that are its own or may become so.
    fn regions(&self, layer: LayerId) -> impl Iterator<Item = &Realm>;
}

/// What lies in a region.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Realm {
    /// What has its position there.
    Box(SpaceId, Box3),
    /// What has no position.
    Nowhere,
    /// What belongs to a player.
    Player(Arc<str>),
}

impl Constraint {
    /// Adds the entities that it follows.
    pub(crate) fn followed(&self, entities: &mut BTreeSet<EntityId>) {
        match self {
            Self::Near { entity, .. } => drop(entities.insert(*entity)),
            Self::And(list) | Self::Or(list) => list.iter().for_each(|c| c.followed(entities)),
            Self::Not(inner) => inner.followed(entities),
            _ => {}
        }
    }

    /// Whether it follows the session's own regions.
    pub(crate) fn follows_regions(&self) -> bool {
        match self {
            Self::Owned(_) => true,
            Self::And(list) | Self::Or(list) => list.iter().any(Self::follows_regions),
            Self::Not(inner) => inner.follows_regions(),
            _ => false,
        }
    }

    /// The constraint as of now: a sphere around each entity that it follows, boxes where the session's regions are.
    pub(crate) fn resolved(&self, followed: &impl Followed) -> Self {
        let all = |list: &[Self]| list.iter().map(|c| c.resolved(followed)).collect();
        match self {
            Self::Near { entity, radius_m } => {
                followed.position(*entity).map_or(Self::Or(Vec::new()), |at| sphere(at, *radius_m))
            }
            Self::Owned(layers) => {
                let around = |of: &OwnedLayer| {
                    let margin_m = of.margin_m;
                    followed
                        .regions(of.layer)
                        .map(move |realm| of_region(realm, margin_m))
                        .collect::<Vec<_>>()
                };
                Self::Or(layers.iter().flat_map(around).collect())
            }
            Self::And(list) => Self::And(all(list)),
            Self::Or(list) => Self::Or(all(list)),
            Self::Not(inner) => Self::Not(Box::new(inner.resolved(followed))),
            _ => self.clone(),
        }
    }
}

fn sphere(at: Position, radius_m: f64) -> Constraint {
    Constraint::Sphere { space: at.space, center: at.point, radius_m }
}

/// A region of a session, and around it.
fn of_region(realm: &Realm, margin_m: f64) -> Constraint {
    match realm {
        Realm::Box(space, area) => Constraint::Box { space: *space, bounds: area.grown(margin_m) },
        Realm::Nowhere => Constraint::Not(Box::new(Constraint::Has(ComponentId::POSITION))),
        Realm::Player(player) => Constraint::Field(FieldTest {
            component: ComponentId::PLAYER_OWNER,
            path: Arc::new([Step { field: 1, ..Step::default() }]),
            encoding: Encoding::Bytes,
            default: Scalar::Bytes(Box::default()),
            comparison: Comparison::Equal,
            values: Arc::new([Scalar::Bytes(player.as_bytes().into())]),
        }),
    }
}
