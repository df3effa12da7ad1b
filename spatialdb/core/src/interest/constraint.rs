//! Constraints: conditions on one entity, and which cells could hold entities that meet them.

use std::sync::Arc;

use spatialdb_types::{Box3, ComponentId, EntityId, Error, Limits, Point3, Position, Reason, SpaceId};

use super::FieldTest;
use super::followed::OwnedLayer;

/// A condition on one entity.
#[derive(Clone, Debug, PartialEq)]
pub enum Constraint {
    /// Every entity.
    All,
    /// Position inside a half-open box.
    Box {
        /// In this space.
        space: SpaceId,
        /// Inside this.
        bounds: Box3,
    },
    /// Position within a distance, inclusive.
    Sphere {
        /// In this space.
        space: SpaceId,
        /// From here.
        center: Point3,
        /// Metres.
        radius_m: f64,
    },
    /// Position within a distance over x and y, inclusive, and within a half-open height.
    Cylinder {
        /// In this space.
        space: SpaceId,
        /// From here; z does not matter.
        center: Point3,
        /// Metres.
        radius_m: f64,
        /// From this height.
        min_z: f64,
        /// To below this one.
        max_z: f64,
    },
    /// Position in a space.
    Space(SpaceId),
    /// One of these, sorted.
    Entities(Arc<[EntityId]>),
    /// Has the component.
    Has(ComponentId),
    /// A field of a component passes a comparison.
    Field(FieldTest),
    /// Position within a distance of an entity, inclusive. Sessions turn it into a sphere; by itself it holds for none.
    Near {
        /// This one.
        entity: EntityId,
        /// Metres.
        radius_m: f64,
    },
    /// In a region of these layers that the session owns or may get, or around it. Sessions turn it into boxes; by
    /// itself it holds for none.
    Owned(Arc<[OwnedLayer]>),
    /// All of them hold.
    And(Vec<Constraint>),
    /// One of them holds.
    Or(Vec<Constraint>),
    /// It does not hold.
    Not(Box<Constraint>),
}

/// What a constraint looks at.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// Which entity.
    pub entity: EntityId,
    /// Where it is.
    pub position: Option<Position>,
    /// What it has, by rising id.
    pub components: &'a [ComponentId],
    /// The value of each of them but Position.
    pub values: &'a dyn Values,
}

/// The values of an entity.
pub trait Values {
    /// The value of a component that the entity has.
    fn value(&self, component: ComponentId) -> Option<&[u8]>;
}

/// Where to look for entities that meet a constraint: a superset of them, without duplicates within one entry.
#[derive(Clone, Debug, PartialEq)]
pub enum Candidates {
    /// Anywhere.
    All,
    /// In the cells that this box touches; z does not matter.
    Cells(SpaceId, Box3),
    /// Among these ids.
    Entities(Arc<[EntityId]>),
}

impl Constraint {
    /// Whether the entity meets the constraint.
    pub fn matches(&self, subject: &Subject<'_>) -> bool {
        match self {
            Self::All => true,
            Self::Box { space, bounds } => {
                subject.position.is_some_and(|p| p.space == *space && bounds.contains(p.point))
            }
            Self::Sphere { space, center, radius_m } => subject.position.is_some_and(|p| {
                p.space == *space && p.point.distance_squared(*center) <= radius_m * radius_m
            }),
            Self::Cylinder { space, center, radius_m, min_z, max_z } => subject.position.is_some_and(|p| {
                let (dx, dy) = (p.point.x - center.x, p.point.y - center.y);
                p.space == *space
                    && dx * dx + dy * dy <= radius_m * radius_m
                    && (*min_z..*max_z).contains(&p.point.z)
            }),
            Self::Space(space) => subject.position.is_some_and(|p| p.space == *space),
            Self::Entities(ids) => ids.binary_search(&subject.entity).is_ok(),
            Self::Has(component) => subject.components.binary_search(component).is_ok(),
            Self::Field(test) if test.component == ComponentId::POSITION => {
                subject.position.is_some_and(|at| test.passes_position(at))
            }
            Self::Field(test) => subject.values.value(test.component).is_some_and(|value| test.passes(value)),
            Self::Near { .. } | Self::Owned(_) => false,
            Self::And(all) => all.iter().all(|c| c.matches(subject)),
            Self::Or(any) => any.iter().any(|c| c.matches(subject)),
            Self::Not(inner) => !inner.matches(subject),
        }
    }

    /// Where to look for matches: every match is in one of the entries.
    pub fn candidates(&self) -> Vec<Candidates> {
        match self {
            Self::All | Self::Has(_) | Self::Field(_) | Self::Not(_) => vec![Candidates::All],
            Self::Near { .. } | Self::Owned(_) => Vec::new(),
            Self::Box { space, bounds } => vec![Candidates::Cells(*space, *bounds)],
            Self::Sphere { space, center, radius_m } | Self::Cylinder { space, center, radius_m, .. } => {
                vec![Candidates::Cells(*space, around(*center, *radius_m))]
            }
            Self::Space(space) => vec![Candidates::Cells(*space, Box3::EVERYWHERE)],
            Self::Entities(ids) => vec![Candidates::Entities(ids.clone())],
            Self::And(all) => all
                .iter()
                .map(Self::candidates)
                .min_by(|a, b| cost(a).total_cmp(&cost(b)))
                .unwrap_or(vec![Candidates::All]),
            Self::Or(any) => any_of(any.iter().flat_map(Self::candidates).collect()),
        }
    }

    /// How many conditions there are to look at, this one included.
    pub fn nodes(&self) -> u64 {
        match self {
            Self::And(list) | Self::Or(list) => 1 + list.iter().map(Self::nodes).sum::<u64>(),
            Self::Not(inner) => 1 + inner.nodes(),
            Self::Field(test) => 1 + test.values.len() as u64 / 8,
            _ => 1,
        }
    }

    /// Refuses what cannot be meant or would cost too much.
    ///
    /// # Errors
    /// `QUERY_INVALID` naming the part, or the limit that it passes.
    pub fn check(&self, limits: &Limits) -> Result<(), Error> {
        let mut cost = Cost::default();
        self.check_at(1, limits, &mut cost)
    }

    fn check_at(&self, depth: u64, limits: &Limits, cost: &mut Cost) -> Result<(), Error> {
        cost.nodes += 1;
        at_most("constraint_depth_max", depth, limits.constraint_depth_max)?;
        at_most("constraint_nodes_max", cost.nodes, limits.constraint_nodes_max)?;
        match self {
            Self::All | Self::Has(_) | Self::Space(_) | Self::Owned(_) => Ok(()),
            Self::Field(test) => {
                at_most("constraint_values_max", test.values.len() as u64, limits.constraint_values_max)
            }
            Self::Near { radius_m, .. } => check_near(*radius_m, limits),
            Self::Box { bounds, .. } => check_box(bounds),
            Self::Sphere { center, radius_m, .. } => check_round("sphere", *center, *radius_m, limits),
            Self::Cylinder { center, radius_m, min_z, max_z, .. } => {
                check_round("cylinder", *center, *radius_m, limits)?;
                check_range("cylinder", "z", *min_z, *max_z)
            }
            Self::Entities(ids) => {
                cost.entities += ids.len() as u64;
                at_most("constraint_entities_max", cost.entities, limits.constraint_entities_max)
            }
            Self::And(list) | Self::Or(list) => {
                list.iter().try_for_each(|c| c.check_at(depth + 1, limits, cost))
            }
            Self::Not(inner) => inner.check_at(depth + 1, limits, cost),
        }
    }
}

#[derive(Default)]
struct Cost {
    nodes: u64,
    entities: u64,
}

fn at_most(name: &str, value: u64, limit: u64) -> Result<(), Error> {
    if value <= limit {
        return Ok(());
    }
    Err(Error::new(Reason::QueryInvalid, format!("the constraint passes {name} = {limit}")))
}

fn check_box(bounds: &Box3) -> Result<(), Error> {
    let (a, b) = (bounds.min, bounds.max);
    for (axis, min, max) in [("x", a.x, b.x), ("y", a.y, b.y), ("z", a.z, b.z)] {
        check_range("box", axis, min, max)?;
    }
    Ok(())
}

fn check_range(what: &str, axis: &str, min: f64, max: f64) -> Result<(), Error> {
    if min <= max {
        return Ok(());
    }
    let detail = format!("{what}: {axis} runs from {min} to {max}; min <= max is needed, no NaN");
    Err(Error::new(Reason::QueryInvalid, detail))
}

fn check_near(radius_m: f64, limits: &Limits) -> Result<(), Error> {
    let max = radius_max(limits);
    if (0.0..=max).contains(&radius_m) {
        return Ok(());
    }
    let detail = format!("near: radius_m = {radius_m}; 0 to 4 * position_abs_m_max = {max} is needed");
    Err(Error::new(Reason::QueryInvalid, detail))
}

/// Beyond this, squares of distances lose their meaning; no entity is further out than `position_abs_m_max`.
fn radius_max(limits: &Limits) -> f64 {
    4.0 * limits.position_abs_m_max as f64
}

fn check_round(what: &str, center: Point3, radius_m: f64, limits: &Limits) -> Result<(), Error> {
    let max = radius_max(limits);
    let Point3 { x, y, z } = center;
    if [x, y, z].iter().all(|v| v.abs() <= max) && (0.0..=max).contains(&radius_m) {
        return Ok(());
    }
    let detail = format!(
        "{what}: radius_m = {radius_m} around ({x}, {y}, {z}); finite numbers up to 4 * position_abs_m_max = {max} and radius_m >= 0 are needed"
    );
    Err(Error::new(Reason::QueryInvalid, detail))
}

/// A half-open box that holds a closed ball, with room for the rounding of distances.
fn around(center: Point3, radius_m: f64) -> Box3 {
    let reach = radius_m * (1.0 + 1e-9);
    let up = |v: f64| (v + reach).next_up();
    let down = |v: f64| (v - reach).next_down();
    Box3 {
        min: Point3::new(down(center.x), down(center.y), down(center.z)),
        max: Point3::new(up(center.x), up(center.y), up(center.z)),
    }
}

/// Beyond this many places to look, places that overlap could cost more than looking everywhere once.
const PLACES_MAX: usize = 16;

fn any_of(all: Vec<Candidates>) -> Vec<Candidates> {
    if all.len() <= PLACES_MAX && !all.contains(&Candidates::All) {
        return all;
    }
    vec![hull(&all).unwrap_or(Candidates::All)]
}

/// One place that holds all of them, if they are boxes of one space.
fn hull(all: &[Candidates]) -> Option<Candidates> {
    let boxes = all.iter().map(|place| match place {
        Candidates::Cells(space, bounds) => Some((*space, *bounds)),
        Candidates::All | Candidates::Entities(_) => None,
    });
    let mut boxes = boxes.collect::<Option<Vec<_>>>()?.into_iter();
    let (space, first) = boxes.next()?;
    boxes
        .try_fold(first, |hull, (of, bounds)| (of == space).then(|| hull.united(&bounds)))
        .map(|bounds| Candidates::Cells(space, bounds))
}

/// A rough order of how many entities would be looked at.
fn cost(candidates: &[Candidates]) -> f64 {
    let one = |c: &Candidates| match c {
        Candidates::All => f64::INFINITY,
        Candidates::Cells(_, b) => 1e3 + (b.max.x - b.min.x) * (b.max.y - b.min.y),
        Candidates::Entities(ids) => ids.len() as f64,
    };
    candidates.iter().map(one).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct NoValues;

    impl Values for NoValues {
        fn value(&self, _: ComponentId) -> Option<&[u8]> {
            None
        }
    }

    fn subject(x: f64) -> Subject<'static> {
        let position = Some(Position::new(SpaceId(0), x, 0.0, 0.0));
        let components = &[ComponentId(1), ComponentId(1000)];
        Subject { entity: EntityId(7), position, components, values: &NoValues }
    }

    #[test]
    fn spheres_are_closed_and_boxes_half_open() {
        let sphere = Constraint::Sphere { space: SpaceId(0), center: Point3::default(), radius_m: 2.0 };
        assert!(sphere.matches(&subject(2.0)));
        assert!(!sphere.matches(&subject(2.000001)));
        let Candidates::Cells(_, bounds) = sphere.candidates()[0] else { panic!("cells") };
        assert!(bounds.contains(Point3::new(2.0, 0.0, 0.0)));
    }

    #[test]
    fn cylinders_are_round_and_closed_over_x_and_y_and_half_open_in_height() {
        let cylinder = |min_z, max_z| Constraint::Cylinder {
            space: SpaceId(0),
            center: Point3::new(0.0, 0.0, 1e6),
            radius_m: 2.0,
            min_z,
            max_z,
        };
        assert!(cylinder(f64::NEG_INFINITY, f64::INFINITY).matches(&subject(2.0)));
        assert!(!cylinder(f64::NEG_INFINITY, f64::INFINITY).matches(&subject(2.000001)));
        assert!(cylinder(0.0, 1.0).matches(&subject(0.0)) && !cylinder(-1.0, 0.0).matches(&subject(0.0)));
        assert!(Constraint::Space(SpaceId(0)).matches(&subject(0.0)));
        assert!(!Constraint::Space(SpaceId(1)).matches(&subject(0.0)));
    }

    #[test]
    fn and_looks_where_it_is_cheapest() {
        let ids: Arc<[EntityId]> = Arc::new([EntityId(7)]);
        let both =
            Constraint::And(vec![Constraint::Has(ComponentId(1000)), Constraint::Entities(ids.clone())]);
        assert_eq!(both.candidates(), vec![Candidates::Entities(ids)]);
        assert!(both.matches(&subject(0.0)));
        assert!(!Constraint::Not(Box::new(both)).matches(&subject(0.0)));
        assert!(Constraint::And(vec![]).matches(&subject(0.0)));
        assert!(!Constraint::Or(vec![]).matches(&subject(0.0)));
    }

    #[test]
    fn nonsense_is_refused() {
        let limits = Limits::default();
        let flat = Box3 { min: Point3::new(1.0, 0.0, 0.0), max: Point3::new(0.0, 1.0, 1.0) };
        let mut deep = Constraint::All;
        for _ in 0..limits.constraint_depth_max {
            deep = Constraint::Not(Box::new(deep));
        }
        let sphere = |radius_m| Constraint::Sphere { space: SpaceId(0), center: Point3::default(), radius_m };
        let cylinder = |radius_m, min_z, max_z| Constraint::Cylinder {
            space: SpaceId(0),
            center: Point3::default(),
            radius_m,
            min_z,
            max_z,
        };
        for bad in [cylinder(-1.0, 0.0, 1.0), cylinder(1.0, 1.0, 0.0), cylinder(1.0, f64::NAN, 1.0)] {
            assert_eq!(bad.check(&limits).expect_err("refused").reason, Reason::QueryInvalid);
        }
        for bad in [Constraint::Box { space: SpaceId(0), bounds: flat }, sphere(f64::NAN), sphere(-1.0), deep]
        {
            assert_eq!(bad.check(&limits).expect_err("refused").reason, Reason::QueryInvalid);
        }
        assert_eq!(sphere(0.0).check(&limits), Ok(()));
    }
}
