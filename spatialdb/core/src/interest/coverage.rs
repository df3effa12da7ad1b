//! Coverage: what a constraint says of many entities at once, by where they are and what they have.

use spatialdb_types::{Box3, ComponentId, Point3, SpaceId};

use super::Constraint;

/// A cell as far as constraints can tell: everything in it is in this box, its far side included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Extent {
    pub(crate) space: SpaceId,
    pub(crate) min: Point3,
    pub(crate) max: Point3,
}

/// Entities that are looked at together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crowd<'a> {
    /// Where they are.
    pub(crate) place: Place<'a>,
    /// What each of them has, by rising id; `None`: not the same.
    pub(crate) components: Option<&'a [ComponentId]>,
}

/// Where entities are that are looked at together.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place<'a> {
    /// In a cell.
    Cell(&'a Extent),
    /// Without a position.
    Nowhere,
    /// Here and there.
    Anywhere,
}

/// Which of the entities in a crowd meet a constraint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coverage {
    /// None of them, whatever they are.
    Nothing,
    /// Each has to be looked at.
    Cut,
    /// All of them, whatever they are.
    Everything,
}

/// The share by which round shapes are taken to be smaller (or larger) than they are, so that rounding never makes
/// them cover what they do not.
const ROUNDING: f64 = 1e-12;

impl Constraint {
    /// Whether knowing what entities have may tell more of them.
    pub(crate) fn asks_for_components(&self) -> bool {
        match self {
            Self::Has(_) => true,
            Self::And(list) | Self::Or(list) => list.iter().any(Self::asks_for_components),
            Self::Not(inner) => inner.asks_for_components(),
            _ => false,
        }
    }

    /// What it says of the entities in a crowd.
    pub(crate) fn coverage(&self, crowd: &Crowd<'_>) -> Coverage {
        match self {
            Self::All => Coverage::Everything,
            Self::Box { space, bounds } => in_space(crowd, *space, |cell| of_box(bounds, cell)),
            Self::Sphere { space, center, radius_m } => in_space(crowd, *space, |cell| {
                let (near, far) = distances(*center, cell);
                of_round(near, far, *radius_m)
            }),
            Self::Cylinder { space, center, radius_m, min_z, max_z } => in_space(crowd, *space, |cell| {
                let flat = |z| Point3::new(center.x, center.y, z);
                let flattened = Extent {
                    min: Point3 { z: 0.0, ..cell.min },
                    max: Point3 { z: 0.0, ..cell.max },
                    ..*cell
                };
                let (near, far) = distances(flat(0.0), &flattened);
                let column = Box3 {
                    min: Point3::new(f64::NEG_INFINITY, f64::NEG_INFINITY, *min_z),
                    max: Point3::new(f64::INFINITY, f64::INFINITY, *max_z),
                };
                both(of_round(near, far, *radius_m), of_box(&column, cell))
            }),
            Self::Space(space) => in_space(crowd, *space, |_| Coverage::Everything),
            Self::Has(component) => crowd.components.map_or(Coverage::Cut, |components| {
                if components.binary_search(component).is_ok() {
                    Coverage::Everything
                } else {
                    Coverage::Nothing
                }
            }),
            Self::Entities(_) | Self::Field(_) => Coverage::Cut,
            Self::Near { .. } | Self::Owned(_) => Coverage::Nothing,
            Self::And(all) => all.iter().map(|c| c.coverage(crowd)).fold(Coverage::Everything, both),
            Self::Or(any) => {
                opposite(any.iter().map(|c| opposite(c.coverage(crowd))).fold(Coverage::Everything, both))
            }
            Self::Not(inner) => opposite(inner.coverage(crowd)),
        }
    }
}

fn in_space(crowd: &Crowd<'_>, space: SpaceId, of: impl FnOnce(&Extent) -> Coverage) -> Coverage {
    match crowd.place {
        Place::Cell(cell) if cell.space == space => of(cell),
        Place::Cell(_) | Place::Nowhere => Coverage::Nothing,
        Place::Anywhere => Coverage::Cut,
    }
}

fn both(a: Coverage, b: Coverage) -> Coverage {
    match (a, b) {
        (Coverage::Nothing, _) | (_, Coverage::Nothing) => Coverage::Nothing,
        (Coverage::Everything, Coverage::Everything) => Coverage::Everything,
        _ => Coverage::Cut,
    }
}

fn opposite(of: Coverage) -> Coverage {
    match of {
        Coverage::Nothing => Coverage::Everything,
        Coverage::Cut => Coverage::Cut,
        Coverage::Everything => Coverage::Nothing,
    }
}

fn of_box(bounds: &Box3, cell: &Extent) -> Coverage {
    let axes = |p: Point3| [p.x, p.y, p.z];
    let (low, high, min, max) = (axes(bounds.min), axes(bounds.max), axes(cell.min), axes(cell.max));
    if (0..3).any(|i| max[i] < low[i] || high[i] <= min[i]) {
        Coverage::Nothing
    } else if (0..3).all(|i| low[i] <= min[i] && max[i] < high[i]) {
        Coverage::Everything
    } else {
        Coverage::Cut
    }
}

fn of_round(near: f64, far: f64, radius_m: f64) -> Coverage {
    let squared = radius_m * radius_m;
    if near > squared * (1.0 + ROUNDING) {
        Coverage::Nothing
    } else if far <= squared * (1.0 - ROUNDING) {
        Coverage::Everything
    } else {
        Coverage::Cut
    }
}

/// The squares of the smallest and the largest distance from a point to a cell.
fn distances(from: Point3, cell: &Extent) -> (f64, f64) {
    let axis = |from: f64, min: f64, max: f64| {
        let near = if from < min {
            min - from
        } else if from > max {
            from - max
        } else {
            0.0
        };
        (near, (from - min).abs().max((max - from).abs()))
    };
    let x = axis(from.x, cell.min.x, cell.max.x);
    let y = axis(from.y, cell.min.y, cell.max.y);
    let z = axis(from.z, cell.min.z, cell.max.z);
    let squares = |a: f64, b: f64, c: f64| a * a + b * b + c * c;
    (squares(x.0, y.0, z.0), squares(x.1, y.1, z.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPACE: SpaceId = SpaceId(0);

    fn cell(x: f64, y: f64) -> Extent {
        Extent { space: SPACE, min: Point3::new(x, y, -1.0), max: Point3::new(x + 1.0, y + 1.0, 1.0) }
    }

    /// What a constraint says of a cell; `None`: of entities without a position.
    trait Of {
        fn of(&self, cell: Option<&Extent>) -> Coverage;
    }

    impl Of for Constraint {
        fn of(&self, cell: Option<&Extent>) -> Coverage {
            self.coverage(&Crowd { place: cell.map_or(Place::Nowhere, Place::Cell), components: None })
        }
    }

    #[test]
    fn what_entities_have_decides_where_it_is_known() {
        let has = Constraint::Has(ComponentId(5));
        let both = Constraint::And(vec![has.clone(), within(1.8)]);
        let of = |constraint: &Constraint, components: Option<&[ComponentId]>, place| {
            constraint.coverage(&Crowd { place, components })
        };
        let here = cell(0.0, 0.0);
        assert_eq!(of(&has, None, Place::Anywhere), Coverage::Cut);
        assert_eq!(of(&has, Some(&[ComponentId(5)]), Place::Anywhere), Coverage::Everything);
        assert_eq!(of(&both, Some(&[ComponentId(5)]), Place::Anywhere), Coverage::Cut);
        assert_eq!(of(&both, Some(&[ComponentId(5)]), Place::Cell(&here)), Coverage::Everything);
        assert_eq!(of(&both, Some(&[]), Place::Anywhere), Coverage::Nothing);
        assert!(both.asks_for_components() && !within(1.0).asks_for_components());
    }

    fn within(radius_m: f64) -> Constraint {
        Constraint::Sphere { space: SPACE, center: Point3::default(), radius_m }
    }

    #[test]
    fn boxes_cover_what_lies_inside_but_their_far_side() {
        let bounds = |side| Box3 { min: Point3::new(0.0, 0.0, -1.0), max: Point3::new(side, side, 1.5) };
        let side = |side| Constraint::Box { space: SPACE, bounds: bounds(side) };
        assert_eq!(side(1.5).of(Some(&cell(0.0, 0.0))), Coverage::Everything);
        assert_eq!(side(1.0).of(Some(&cell(0.0, 0.0))), Coverage::Cut);
        assert_eq!(side(1.0).of(Some(&cell(1.0, 0.0))), Coverage::Nothing);
        assert_eq!(side(1.0).of(None), Coverage::Nothing);
    }

    #[test]
    fn balls_cover_a_cell_as_far_as_it_goes_up() {
        assert_eq!(within(1.8).of(Some(&cell(0.0, 0.0))), Coverage::Everything);
        assert_eq!(within(1.7).of(Some(&cell(0.0, 0.0))), Coverage::Cut);
        assert_eq!(within(1.8).of(Some(&cell(2.0, 0.0))), Coverage::Nothing);
        let tall = Extent { max: Point3::new(1.0, 1.0, 5.0), ..cell(0.0, 0.0) };
        assert_eq!(within(1.8).of(Some(&tall)), Coverage::Cut);
    }

    #[test]
    fn combinations_cover_what_their_parts_do() {
        let (here, far) = (cell(0.0, 0.0), cell(9.0, 0.0));
        let not = |c| Constraint::Not(Box::new(c));
        assert_eq!(not(within(1.8)).of(Some(&here)), Coverage::Nothing);
        assert_eq!(not(within(1.8)).of(None), Coverage::Everything);
        let either = Constraint::Or(vec![within(1.7), within(1.8)]);
        assert_eq!(either.of(Some(&here)), Coverage::Everything);
        assert_eq!(either.of(Some(&far)), Coverage::Nothing);
        let ring = Constraint::And(vec![within(20.0), not(within(1.8))]);
        assert_eq!((ring.of(Some(&here)), ring.of(Some(&far))), (Coverage::Nothing, Coverage::Everything));
        assert_eq!(Constraint::And(vec![]).of(None), Coverage::Everything);
        assert_eq!(Constraint::Or(vec![]).of(None), Coverage::Nothing);
    }
}
