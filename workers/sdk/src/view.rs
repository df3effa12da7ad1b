//! What a worker asks to see.
//!
//! Responsible for: building views, also for the Interest of an entity.
//! Not responsible for: which entities (`constraint.rs`).

use spatialdb_proto::v1::{self, bands::From as Center};
use spatialdb_types::{Box3, ComponentId, EntityId, Position, SpaceId, ViewId};

use crate::{Component, Constraint, constraint::point};

/// A live subscription: which entities, which of their components, how often. Or how many entities there are where.
///
/// ```
/// use spatialdb_sdk::{Band, Bands, Constraint, Densities, EntityId, SpaceId, View, ViewId, v1::Metadata};
///
/// // All that has Metadata, once a second; what is within 100 m of entity 1001 thirty times a second.
/// let bands = Bands::around_entity(EntityId(1001)).band(Band::new(100.0, 30.0).positions());
/// let near = View::new(ViewId(1), Constraint::has::<Metadata>()).rate_hz(1.0).bands(bands);
/// // How many entities of each Metadata.type there are, by squares of 10 km.
/// let crowds = View::of_densities(ViewId(2), Densities::new(SpaceId(0), 10_000.0).per_type());
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct View(v1::View);

impl View {
    /// Every component of the entities that match, as fast as the server publishes.
    ///
    /// `id` is chosen by the worker: unique in its session, not 0.
    pub fn new(id: ViewId, constraint: Constraint) -> Self {
        let constraint = Some(constraint.into_wire());
        Self(v1::View { view_id: id.0, constraint, ..Default::default() })
    }

    /// Counts by squares instead of entities: see [`Replica::densities`](crate::Replica::densities).
    pub fn of_densities(id: ViewId, densities: Densities) -> Self {
        Self(v1::View { view_id: id.0, densities: Some(densities.0), ..Default::default() })
    }

    /// Also sends `C`. A view that names no component sends all.
    pub fn component<C: Component>(mut self) -> Self {
        self.0.components.push(C::ID.0);
        self
    }

    /// Also sends positions. A view that names no component sends all.
    pub fn positions(mut self) -> Self {
        self.0.components.push(ComponentId::POSITION.0);
        self
    }

    /// At most this many frames a second.
    pub fn rate_hz(mut self, rate_hz: f64) -> Self {
        self.0.rate_hz = rate_hz;
        self
    }

    /// Other rates nearby. What lies beyond the last band goes by the view's own rate.
    pub fn bands(mut self, bands: Bands) -> Self {
        self.0.bands = Some(bands.0);
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

/// Rates by distance. From band to band the radius rises, and the rate falls down to the view's.
#[derive(Clone, Debug, PartialEq)]
pub struct Bands(v1::Bands);

impl Bands {
    /// Bands around a place.
    pub fn around(place: Position) -> Self {
        Self(v1::Bands { from: Some(Center::Place(place_of(place))), bands: Vec::new() })
    }

    /// Bands around an entity, wherever it goes; without a position there are none.
    pub fn around_entity(entity: EntityId) -> Self {
        Self(v1::Bands { from: Some(Center::Entity(entity.0)), bands: Vec::new() })
    }

    /// The next band outwards.
    pub fn band(mut self, band: Band) -> Self {
        self.0.bands.push(band.0);
        self
    }
}

/// Of what a view matches, the entities at most so far away.
#[derive(Clone, Debug, PartialEq)]
pub struct Band(v1::Band);

impl Band {
    /// All that the view sends, within `radius_m` metres, at most `rate_hz` times a second; 0: as fast as the server
    /// publishes.
    pub fn new(radius_m: f64, rate_hz: f64) -> Self {
        Self(v1::Band { radius_m, rate_hz, components: Vec::new() })
    }

    /// Sends `C` at this rate. Those of bands further out are sent too, at their rates.
    pub fn component<C: Component>(mut self) -> Self {
        self.0.components.push(C::ID.0);
        self
    }

    /// Sends positions at this rate.
    pub fn positions(mut self) -> Self {
        self.0.components.push(ComponentId::POSITION.0);
        self
    }
}

/// How many entities there are in each square of a space.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Densities(v1::Densities);

impl Densities {
    /// Squares with sides of `square_m` metres: the server rounds up to the side of a cell times a power of two.
    pub fn new(space: SpaceId, square_m: f64) -> Self {
        Self(v1::Densities { space: space.0, square_m, ..Default::default() })
    }

    /// Only squares that touch the box; its heights do not matter.
    pub fn within(mut self, bounds: Box3) -> Self {
        (self.0.min, self.0.max) = (Some(point(bounds.min)), Some(point(bounds.max)));
        self
    }

    /// Counts each `Metadata.type` apart.
    pub fn per_type(mut self) -> Self {
        self.0.per_type = true;
        self
    }
}

/// The built-in component that gives the owner of an entity these views, for as long as the entity also has a
/// `PlayerOwner`. In them [`ITSELF`](crate::ITSELF) is the entity. Ids of the views do not matter, and own updates
/// cannot be asked for.
///
/// ```
/// use spatialdb_sdk::{Batch, Constraint, EntityId, ITSELF, View, ViewId, interest, v1::PlayerOwner};
///
/// let (player, mut batch) = (EntityId(1001), Batch::new());
/// batch.add(player, &interest([View::new(ViewId(1), Constraint::near(ITSELF, 500.0)).rate_hz(20.0)]));
/// batch.add(player, &PlayerOwner { name: "anna".into() });
/// ```
pub fn interest(views: impl IntoIterator<Item = View>) -> v1::Interest {
    let anonymous = |view: View| v1::View { view_id: 0, own_updates: false, ..view.0 };
    v1::Interest { views: views.into_iter().map(anonymous).collect() }
}

pub(crate) fn place_of(position: Position) -> v1::Place {
    v1::Place { space: position.space.0, point: Some(point(position.point)) }
}

#[cfg(test)]
mod tests {
    use spatialdb_types::Point3;

    use super::*;
    use crate::{ITSELF, v1::Metadata};

    #[test]
    fn a_view_says_rates_by_distance() {
        let bands = Bands::around(Position::new(SpaceId(7), 1.0, 2.0, 3.0))
            .band(Band::new(10.0, 0.0).positions())
            .band(Band::new(100.0, 5.0).component::<Metadata>());
        let view = View::new(ViewId(1), Constraint::all()).rate_hz(1.0).bands(bands).into_wire();
        let bands = view.bands.expect("bands");
        let place = v1::Place { space: 7, point: Some(v1::Point { x: 1.0, y: 2.0, z: Some(3.0) }) };
        assert_eq!(bands.from, Some(Center::Place(place)));
        let told: Vec<_> =
            bands.bands.iter().map(|b| (b.radius_m, b.rate_hz, b.components.as_slice())).collect();
        assert_eq!(told, [(10.0, 0.0, &[1][..]), (100.0, 5.0, &[2])]);
    }

    #[test]
    fn a_view_of_densities_has_no_constraint() {
        let (min, max) = (Point3::new(-1.0, -2.0, 0.0), Point3::new(f64::INFINITY, 2.0, 0.0));
        let counted = Densities::new(SpaceId(0), 100.0).within(Box3 { min, max }).per_type();
        let view = View::of_densities(ViewId(4), counted).rate_hz(2.0).into_wire();
        let densities = view.densities.expect("densities");
        assert_eq!((view.constraint, view.view_id, view.rate_hz), (None, 4, 2.0));
        assert_eq!((densities.square_m, densities.per_type), (100.0, true));
        assert_eq!(densities.max.map(|max| (max.x, max.y)), Some((f64::INFINITY, 2.0)));
    }

    #[test]
    fn an_interest_has_views_without_ids() {
        let bands = Bands::around_entity(ITSELF).band(Band::new(50.0, 20.0));
        let near = View::new(ViewId(9), Constraint::near(ITSELF, 500.0)).bands(bands).own_updates();
        let interest = interest([near]);
        assert_eq!((interest.views[0].view_id, interest.views[0].own_updates), (0, false));
        let bands = interest.views[0].bands.as_ref().expect("bands");
        assert_eq!(bands.from, Some(Center::Entity(0)));
    }
}
