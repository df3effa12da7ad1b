//! What a worker asks to see.
//!
//! Responsible for: building views and constraints without spelling out the wire types.
//! Not responsible for: evaluating them (the server does).

use std::ops::Range;

use spatialdb_proto::v1::{self, constraint::Kind};
use spatialdb_types::{Box3, EntityId, Point3, SpaceId, ViewId};

use crate::Component;

/// A condition on one entity.
#[derive(Clone, Debug, PartialEq)]
pub struct Constraint(v1::Constraint);

impl Constraint {
    /// Every entity.
    pub fn all() -> Self {
        Self::of(Kind::All(v1::All {}))
    }

    /// Has the component `C`.
    pub fn has<C: Component>() -> Self {
        Self::of(Kind::HasComponent(C::ID.0))
    }

    /// Position inside the half-open box. Infinite coordinates leave a side open.
    ///
    /// # Units
    /// Metres.
    pub fn in_box(space: SpaceId, bounds: Box3) -> Self {
        Self::of(Kind::Box(v1::Box {
            space: space.0,
            min: Some(point(bounds.min)),
            max: Some(point(bounds.max)),
        }))
    }

    /// Position at most `radius_m` metres from `center`.
    pub fn in_sphere(space: SpaceId, center: Point3, radius_m: f64) -> Self {
        Self::of(Kind::Sphere(v1::Sphere { space: space.0, center: Some(point(center)), radius_m }))
    }

    /// Position at most `radius_m` metres from `center` over x and y, and inside of the half-open height.
    ///
    /// # Units
    /// Metres. Infinite heights leave a side open.
    pub fn in_cylinder(space: SpaceId, center: Point3, radius_m: f64, height: Range<f64>) -> Self {
        Self::of(Kind::Cylinder(v1::Cylinder {
            space: space.0,
            center_x: center.x,
            center_y: center.y,
            radius_m,
            min_z: Some(height.start),
            max_z: Some(height.end),
        }))
    }

    /// Has a position in the space.
    pub fn in_space(space: SpaceId) -> Self {
        Self::of(Kind::Space(v1::Space { space: space.0 }))
    }

    /// One of these entities.
    pub fn entities(entities: impl IntoIterator<Item = EntityId>) -> Self {
        Self::of(Kind::EntityIds(v1::EntityIds { entities: entities.into_iter().map(|id| id.0).collect() }))
    }

    /// All of these hold.
    pub fn all_of(constraints: impl IntoIterator<Item = Self>) -> Self {
        Self::of(Kind::And(list(constraints)))
    }

    /// One of these holds.
    pub fn any_of(constraints: impl IntoIterator<Item = Self>) -> Self {
        Self::of(Kind::Or(list(constraints)))
    }

    /// `constraint` does not hold.
    pub fn none_of(constraint: Self) -> Self {
        Self::of(Kind::Not(Box::new(constraint.0)))
    }

    fn of(kind: Kind) -> Self {
        Self(v1::Constraint { kind: Some(kind) })
    }
}

fn point(point: Point3) -> v1::Point {
    v1::Point { x: point.x, y: point.y, z: Some(point.z) }
}

fn list(constraints: impl IntoIterator<Item = Constraint>) -> v1::ConstraintList {
    v1::ConstraintList { constraints: constraints.into_iter().map(|constraint| constraint.0).collect() }
}

/// A live subscription: which entities, which of their components, how often.
#[derive(Clone, Debug, PartialEq)]
pub struct View(v1::View);

impl View {
    /// Every component of the entities that match, as fast as the server publishes.
    ///
    /// `id` is chosen by the worker: unique in its session, not 0.
    pub fn new(id: ViewId, constraint: Constraint) -> Self {
        Self(v1::View { view_id: id.0, constraint: Some(constraint.0), ..Default::default() })
    }

    /// Also sends `C`. A view that names no component sends all.
    pub fn component<C: Component>(mut self) -> Self {
        self.0.components.push(C::ID.0);
        self
    }

    /// Also sends positions. A view that names no component sends all.
    pub fn positions(mut self) -> Self {
        self.0.components.push(spatialdb_types::ComponentId::POSITION.0);
        self
    }

    /// At most this many frames a second.
    pub fn rate_hz(mut self, rate_hz: f64) -> Self {
        self.0.rate_hz = rate_hz;
        self
    }

    /// Sends this session's own accepted updates back, so that the replica holds them.
    pub fn own_updates(mut self) -> Self {
        self.0.own_updates = true;
        self
    }

    /// The id the worker chose.
    pub fn id(&self) -> ViewId {
        ViewId(self.0.view_id)
    }

    pub(crate) fn into_wire(self) -> v1::View {
        self.0
    }
}
