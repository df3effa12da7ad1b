//! The shape in which a layer begins in a space.

use spatialdb_types::{Box3, RegionId, SpaceId};

use super::{GridShape, PinnedBox, Strategy};
use crate::authority::tiling::{Axis, Cut, Half, Tiling};

/// A region of a grid has a side of so much at least.
const GRID_SIDE_M_MIN: f64 = 0.001;

/// A first tiling, and which of its regions are pinned boxes, by their index.
pub(crate) struct Shape {
    pub(crate) tiling: Tiling,
    pub(crate) pinned: Vec<(RegionId, usize)>,
}

/// The tiling with which a layer begins in a space; `None`: it has no regions.
pub(crate) fn first_shape(
    strategy: &Strategy,
    space: SpaceId,
    mut next: impl FnMut() -> RegionId,
) -> Option<Shape> {
    let first = next();
    let mut shape = Shape { tiling: Tiling::new(first), pinned: Vec::new() };
    match strategy {
        Strategy::Balanced | Strategy::Single => {}
        Strategy::Client => return None,
        Strategy::Grid(grid) => {
            let columns = cut_evenly(&mut shape.tiling, first, Axis::X, grid, &mut next);
            for column in columns {
                cut_evenly(&mut shape.tiling, column, Axis::Y, grid, &mut next);
            }
        }
        Strategy::Pinned(boxes) => {
            let here = |(_, pinned): &(usize, &PinnedBox)| pinned.space == space;
            let boxes = boxes.iter().enumerate().filter(here).map(|(i, pinned)| (i, pinned.area)).collect();
            cut_around(&mut shape, first, boxes, &mut next);
        }
    }
    Some(shape)
}

/// Cuts a region into the columns or rows of a grid. Returns them in order.
fn cut_evenly(
    tiling: &mut Tiling,
    region: RegionId,
    axis: Axis,
    grid: &GridShape,
    next: &mut impl FnMut() -> RegionId,
) -> Vec<RegionId> {
    let (first, count) = if axis == Axis::X { (grid.x, grid.columns) } else { (grid.y, grid.rows) };
    let mut parts = vec![region];
    for i in 0..count.saturating_sub(1) {
        let (last, new) = (parts[parts.len() - 1], next());
        let cut = Cut { axis, at: f64::from(i).mul_add(grid.side_m, first) };
        tiling.split(last, cut, new, Half::High).expect("cuts of a grid rise");
        parts.push(new);
    }
    parts
}

/// Cuts a region until each part is all in one box or in none. Prefers cuts that cut no box.
fn cut_around(
    shape: &mut Shape,
    region: RegionId,
    boxes: Vec<(usize, Box3)>,
    next: &mut impl FnMut() -> RegionId,
) {
    let area = shape.tiling.bounds(region).expect("it was just made");
    let mut cuts = Vec::new();
    for (_, pinned) in &boxes {
        for axis in [Axis::X, Axis::Y] {
            let ((min, max), (from, to)) = (axis.range(&area), axis.range(pinned));
            cuts.extend(
                [from, to].into_iter().filter(|at| min < *at && *at < max).map(|at| Cut { axis, at }),
            );
        }
    }
    let crosses = |cut: &Cut, (_, pinned): &(usize, Box3)| {
        let (from, to) = cut.axis.range(pinned);
        from < cut.at && cut.at < to
    };
    let best = cuts.iter().min_by_key(|cut| boxes.iter().filter(|pinned| crosses(cut, pinned)).count());
    let Some(&cut) = best else {
        shape.pinned.extend(boxes.first().map(|(index, _)| (region, *index)));
        return;
    };
    let new = next();
    shape.tiling.split(region, cut, new, Half::High).expect("the cut lies inside");
    let low = boxes.iter().filter(|(_, b)| cut.axis.range(b).0 < cut.at).copied().collect();
    let high = boxes.into_iter().filter(|(_, b)| cut.axis.range(b).1 > cut.at).collect();
    cut_around(shape, region, low, next);
    cut_around(shape, new, high, next);
}

impl Strategy {
    /// Whether it makes sense where no entity is further out than `out_m`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn check(&self, spaces: &[SpaceId], regions_max: u32, out_m: f64) -> Result<(), String> {
        match self {
            Self::Balanced | Self::Single | Self::Client => Ok(()),
            Self::Grid(grid) => grid.check(spaces, regions_max, out_m),
            Self::Pinned(boxes) => self.check_pinned(boxes, spaces, regions_max, out_m),
        }
    }

    fn check_pinned(
        &self,
        boxes: &[PinnedBox],
        spaces: &[SpaceId],
        regions_max: u32,
        out_m: f64,
    ) -> Result<(), String> {
        for (i, pinned) in boxes.iter().enumerate() {
            pinned.check(spaces, out_m).map_err(|why| format!("pinned box {i}: {why}"))?;
            let meets = |other: &PinnedBox| other.space == pinned.space && overlap(&other.area, &pinned.area);
            if let Some(j) = boxes[..i].iter().position(meets) {
                return Err(format!("pinned boxes {j} and {i} overlap"));
            }
        }
        let mut count = 0;
        for &space in spaces {
            let next = || {
                count += 1;
                RegionId(count)
            };
            first_shape(self, space, next);
        }
        if count > u64::from(regions_max) {
            return Err(format!(
                "its boxes make {count} regions of all spaces, over regions_max = {regions_max}"
            ));
        }
        Ok(())
    }
}

impl GridShape {
    fn check(&self, spaces: &[SpaceId], regions_max: u32, out_m: f64) -> Result<(), String> {
        let is_number = self.x.is_finite() && self.y.is_finite() && self.side_m.is_finite();
        let far = |first: f64, count: u32| f64::from(count).mul_add(self.side_m, first);
        let is_exact = far(self.x, self.columns) + self.side_m > far(self.x, self.columns)
            && far(self.y, self.rows) + self.side_m > far(self.y, self.rows);
        let Self { x, y, side_m, columns, rows } = self;
        if !is_number || *side_m <= 0.0 || *columns == 0 || *rows == 0 {
            let what = format!("{columns} x {rows} regions of {side_m} m, first cuts at ({x}, {y})");
            return Err(format!("its grid has {what}: at least 1 x 1 with a side over 0 m are needed"));
        }
        let is_out = |first: f64, count: u32| first.abs() > out_m || far(first, count).abs() > out_m;
        if *side_m < GRID_SIDE_M_MIN || is_out(*x, *columns) || is_out(*y, *rows) {
            let what = format!("{columns} x {rows} regions of {side_m:e} m, first cuts at ({x:e}, {y:e})");
            return Err(format!(
                "its grid has {what}: sides are at least {GRID_SIDE_M_MIN} m, and no entity is further out than {out_m:e} m"
            ));
        }
        if !is_exact {
            let what = format!("cuts {side_m} m apart, the first ones at ({x}, {y})");
            return Err(format!("its grid has {what}: so far out coordinates are not that exact"));
        }
        let count = u64::from(self.columns) * u64::from(self.rows) * spaces.len() as u64;
        if count > u64::from(regions_max) {
            return Err(format!(
                "its grid has {count} regions in all spaces, over regions_max = {regions_max}"
            ));
        }
        Ok(())
    }
}

impl PinnedBox {
    fn check(&self, spaces: &[SpaceId], out_m: f64) -> Result<(), String> {
        if !spaces.contains(&self.space) {
            return Err(format!("no space {}", self.space));
        }
        let is_range = |axis: Axis| {
            let (from, to) = axis.range(&self.area);
            from < to
        };
        if !(is_range(Axis::X) && is_range(Axis::Y)) {
            return Err(format!("{:?} to {:?} is empty", self.area.min, self.area.max));
        }
        let is_out = |axis: Axis| {
            let (from, to) = axis.range(&self.area);
            from > out_m || to < -out_m
        };
        if is_out(Axis::X) || is_out(Axis::Y) {
            return Err(format!("no entity is further out than {out_m:e} m, where it lies"));
        }
        Ok(())
    }
}

fn overlap(a: &Box3, b: &Box3) -> bool {
    a.min.x < b.max.x && b.min.x < a.max.x && a.min.y < b.max.y && b.min.y < a.max.y
}

#[cfg(test)]
mod tests {
    use spatialdb_types::Point3;

    use super::*;

    const SPACE: SpaceId = SpaceId(0);

    fn shape(strategy: &Strategy) -> Shape {
        let mut last = 0;
        let next = || {
            last += 1;
            RegionId(last)
        };
        first_shape(strategy, SPACE, next).expect("regions")
    }

    fn pinned(x: (f64, f64), y: (f64, f64)) -> PinnedBox {
        let area = Box3 { min: Point3::new(x.0, y.0, 0.0), max: Point3::new(x.1, y.1, 0.0) };
        PinnedBox { space: SPACE, area, worker: None }
    }

    #[test]
    fn a_grid_has_columns_and_rows() {
        let grid = GridShape { x: 0.0, y: 100.0, side_m: 10.0, columns: 3, rows: 2 };
        let tiling = shape(&Strategy::Grid(grid)).tiling;
        assert_eq!(tiling.regions().len(), 6);
        let at = |x, y| tiling.find(Point3::new(x, y, 0.0));
        assert_eq!(at(-5.0, 0.0), at(-1e6, -1e6));
        assert_ne!(at(-5.0, 0.0), at(0.0, 0.0));
        assert_ne!(at(9.0, 0.0), at(10.0, 0.0));
        assert_ne!(at(50.0, 99.0), at(50.0, 100.0));
        let none = GridShape { columns: 0, ..grid };
        assert!(Strategy::Grid(none).check(&[SPACE], 64, 1e12).is_err());
        for wrong in [GridShape { side_m: 1e-300, ..grid }, GridShape { x: 2e12, ..grid }] {
            let error = Strategy::Grid(wrong).check(&[SPACE], 64, 1e12).expect_err("no world is like that");
            assert!(error.len() < 200 && error.contains("1e12"), "{error}");
        }
        assert!(
            Strategy::Grid(GridShape { side_m: 1e-30, x: 1e9, ..grid }).check(&[SPACE], 64, 1e12).is_err()
        );
        let error = Strategy::Grid(grid).check(&[SPACE], 5, 1e12).expect_err("6 regions");
        assert!(error.contains("regions_max = 5"), "{error}");
    }

    #[test]
    fn pinned_boxes_are_regions_of_their_own() {
        // A pinwheel: no first cut leaves all four whole.
        let boxes = vec![
            pinned((0.0, 2.0), (0.0, 1.0)),
            pinned((2.0, 3.0), (0.0, 2.0)),
            pinned((1.0, 3.0), (2.0, 3.0)),
            pinned((0.0, 1.0), (1.0, 3.0)),
        ];
        let strategy = Strategy::Pinned(boxes.clone());
        strategy.check(&[SPACE], 64, 1e12).expect("they do not overlap");
        let shape = shape(&strategy);
        for (region, area) in shape.tiling.regions() {
            let index = shape.pinned.iter().find(|(id, _)| *id == region).map(|(_, index)| *index);
            let within = |b: &Box3| {
                area.min.x >= b.min.x
                    && area.max.x <= b.max.x
                    && area.min.y >= b.min.y
                    && area.max.y <= b.max.y
            };
            assert_eq!(index, boxes.iter().position(|b| within(&b.area)), "{region} {area:?}");
            assert!(index.is_some() || !boxes.iter().any(|b| overlap(&b.area, &area)));
        }
        let doubled = Strategy::Pinned(vec![boxes[0].clone(), pinned((1.0, 5.0), (0.5, 0.6))]);
        assert!(doubled.check(&[SPACE], 64, 1e12).expect_err("they overlap").contains("0 and 1"));
        assert!(
            strategy.check(&[SPACE], 4, 1e12).expect_err("four, and around them").contains("regions_max = 4")
        );
        let outside = Strategy::Pinned(vec![pinned((2e12, 3e12), (0.0, 1.0))]);
        assert!(outside.check(&[SPACE], 64, 1e12).expect_err("nothing is there").contains("1e12"));
        assert!(Strategy::Pinned(vec![pinned((1.0, 1.0), (0.0, 1.0))]).check(&[SPACE], 64, 1e12).is_err());
        let elsewhere = PinnedBox { space: SpaceId(4), ..boxes[0].clone() };
        assert!(
            Strategy::Pinned(vec![elsewhere])
                .check(&[SPACE], 64, 1e12)
                .expect_err("no space")
                .contains("space 4")
        );
    }
}
