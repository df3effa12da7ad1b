//! The views of `--views`: boxes anywhere, some in each session.

use super::super::{area::Area, random::Random, walk::Walk, watch::Wish};

const VIEWS_PER_SESSION: u64 = 10;
const ENTITIES_PER_VIEW: f64 = 100.0;
const SLOW_VIEW_HZ: f64 = 10.0;

/// That many views; every other one is slow.
pub(super) fn wishes(views: u64, walk: &Walk) -> Vec<Wish> {
    let mut random = Random::new(views);
    let side_m = walk.side_of(ENTITIES_PER_VIEW);
    let mut view = |n: u64| {
        let mut along = || random.unit() * (walk.side_m() - side_m);
        let area = Area::Square { min: (along(), along()), side_m };
        (area, if n.is_multiple_of(2) { 0.0 } else { SLOW_VIEW_HZ })
    };
    let all: Vec<(Area, f64)> = (0..views).map(&mut view).collect();
    all.chunks(VIEWS_PER_SESSION as usize).map(|views| Wish { views: views.to_vec() }).collect()
}
