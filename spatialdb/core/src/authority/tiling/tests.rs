use proptest::prelude::*;

use super::*;

const fn at(x: f64, y: f64) -> Point3 {
    Point3::new(x, y, 0.0)
}

const fn cut_x(at: f64) -> Cut {
    Cut { axis: Axis::X, at }
}

fn halves() -> Tiling {
    let mut tiling = Tiling::new(RegionId(1));
    tiling.split(RegionId(1), cut_x(10.0), RegionId(2), Half::High).expect("split");
    tiling
}

#[test]
fn a_border_belongs_to_the_high_side() {
    let tiling = halves();
    assert_eq!(tiling.find(at(9.999, 5.0)), RegionId(1));
    assert_eq!(tiling.find(at(10.0, 5.0)), RegionId(2));
    assert_eq!(tiling.find(at(-1e300, 1e300)), RegionId(1));
}

#[test]
fn the_named_half_is_the_new_one() {
    let mut tiling = halves();
    tiling.split(RegionId(2), Cut { axis: Axis::Y, at: 0.0 }, RegionId(3), Half::Low).expect("split");
    assert_eq!(tiling.find(at(11.0, -1.0)), RegionId(3));
    assert_eq!(tiling.find(at(11.0, 0.0)), RegionId(2));
}

#[test]
fn a_square_is_whole_unless_a_border_runs_through_it() {
    let tiling = halves();
    let square = |x: f64| Box3 { min: at(x, 0.0), max: at(x + 4.0, 4.0) };
    assert_eq!(tiling.find_whole(&square(6.0)), Some(RegionId(1)));
    assert_eq!(tiling.find_whole(&square(10.0)), Some(RegionId(2)));
    assert_eq!(tiling.find_whole(&square(8.0)), None);
    assert_eq!(tiling.find_all(&square(8.0)), [RegionId(1), RegionId(2)]);
    assert_eq!(tiling.find_all(&square(6.0)), [RegionId(1)], "the box ends where region 2 begins");
}

#[test]
fn what_lies_evenly_in_a_box_is_shared_out_by_area() {
    let mut tiling = halves();
    tiling.split(RegionId(2), Cut { axis: Axis::Y, at: 1.0 }, RegionId(3), Half::High).expect("split");
    let shares = |x: f64, amount: u64| {
        let mut shares = Vec::new();
        let square = Box3 { min: at(x, 0.0), max: at(x + 4.0, 4.0) };
        tiling.share_out(&square, amount, &mut |region, share| shares.push((region.0, share)));
        shares
    };
    assert_eq!(shares(9.0, 1600), [(1, 400), (2, 300), (3, 900)]);
    assert_eq!(shares(0.0, 7), [(1, 7)]);
    assert_eq!(shares(9.0, 1), [(1, 0), (2, 0), (3, 1)], "nothing is lost");
    let most: u64 = shares(9.0, u64::MAX).iter().map(|(_, share)| share).sum();
    assert_eq!(most, u64::MAX);
}

#[test]
fn a_strip_moves_the_border_both_ways() {
    for (strip, of, half, keep, border) in [
        (cut_x(7.0), RegionId(1), Half::High, RegionId(2), 7.0),
        (cut_x(12.0), RegionId(2), Half::Low, RegionId(1), 12.0),
    ] {
        let mut tiling = halves();
        tiling.split(of, strip, RegionId(3), half).expect("a strip");
        tiling.join(RegionId(3), keep).expect("joined");
        assert_eq!(tiling.siblings(), [(RegionId(1), RegionId(2), cut_x(border))]);
    }
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let mut tiling = halves();
    let before = tiling.clone();
    for place in [10.0, 9.0, f64::NAN, f64::INFINITY] {
        let error = tiling.split(RegionId(2), cut_x(place), RegionId(3), Half::Low).expect_err("outside");
        assert_eq!(error.reason, Reason::RegionShape);
        assert!(error.detail.contains("region 2"), "{error}");
    }
    let error = tiling.split(RegionId(7), cut_x(1.0), RegionId(3), Half::Low).expect_err("unknown");
    assert_eq!(error.reason, Reason::RegionNotFound);
    assert_eq!(tiling.join(RegionId(7), RegionId(1)).expect_err("unknown").reason, Reason::RegionNotFound);
    assert_eq!(tiling, before);
    tiling.split(RegionId(1), Cut { axis: Axis::Y, at: 0.0 }, RegionId(3), Half::Low).expect("split");
    let error = tiling.join(RegionId(3), RegionId(2)).expect_err("a corner would remain");
    assert_eq!(error.reason, Reason::RegionShape);
}

#[test]
fn an_edge_names_every_neighbour() {
    let mut tiling = halves();
    tiling.split(RegionId(2), Cut { axis: Axis::Y, at: 5.0 }, RegionId(3), Half::High).expect("split");
    let edges = tiling.edges(RegionId(1));
    let (inf, side) = (f64::INFINITY, Side::East);
    let south = Edge { side, at: 10.0, from: -inf, to: 5.0, other: RegionId(2) };
    assert_eq!(edges, [south, Edge { side, at: 10.0, from: 5.0, to: inf, other: RegionId(3) }]);
    assert_eq!(tiling.edges(RegionId(9)), []);
}

/// One random change. Numbers choose among what is there.
#[derive(Clone, Debug)]
enum Change {
    Split { pick: usize, axis: Axis, at: i32, half: Half },
    Join { pick: usize, other: usize },
    Shift { pick: usize, by: i32 },
}

fn change() -> impl Strategy<Value = Change> {
    let axis = prop_oneof![Just(Axis::X), Just(Axis::Y)];
    let half = prop_oneof![Just(Half::Low), Just(Half::High)];
    prop_oneof![
        3 => (any::<usize>(), axis, -20..20, half)
            .prop_map(|(pick, axis, at, half)| Change::Split { pick, axis, at, half }),
        1 => (any::<usize>(), any::<usize>()).prop_map(|(pick, other)| Change::Join { pick, other }),
        2 => (any::<usize>(), -5..5).prop_map(|(pick, by)| Change::Shift { pick, by }),
    ]
}

fn apply(tiling: &mut Tiling, change: &Change, next: &mut u64) {
    let regions = tiling.regions();
    let new = RegionId(*next);
    *next += 1;
    match *change {
        Change::Split { pick, axis, at, half } => {
            let region = regions[pick % regions.len()].0;
            let _ = tiling.split(region, Cut { axis, at: f64::from(at) }, new, half);
        }
        Change::Join { pick, other } => {
            let (gone, keep) = (regions[pick % regions.len()].0, regions[other % regions.len()].0);
            let can = tiling.can_join(gone, keep);
            assert_eq!(tiling.join(gone, keep).is_ok(), can);
        }
        Change::Shift { pick, by } => {
            let siblings = tiling.siblings();
            if siblings.is_empty() {
                return;
            }
            let (low, high, cut) = siblings[pick % siblings.len()];
            let to = Cut { axis: cut.axis, at: cut.at + f64::from(by) };
            let (from, half, keep) = if by < 0 { (low, Half::High, high) } else { (high, Half::Low, low) };
            if tiling.split(from, to, new, half).is_ok() {
                tiling.join(new, keep).expect("a strip beside the border");
                assert!(tiling.siblings().contains(&(low, high, to)));
            }
        }
    }
}

/// Borders stand on whole numbers from -30 to 30: these points meet every box, its inside and its borders.
fn check(tiling: &Tiling) {
    let regions = tiling.regions();
    let places: Vec<f64> = (-62..=62).map(|i| f64::from(i) / 2.0).chain([-1e9, 1e9]).collect();
    for &x in &places {
        for &y in &places {
            let holders: Vec<_> = regions.iter().filter(|(_, area)| area.contains(at(x, y))).collect();
            assert_eq!(holders.len(), 1, "({x}, {y}) is in {holders:?}");
            assert_eq!(tiling.find(at(x, y)), holders[0].0);
        }
    }
    for &(region, area) in &regions {
        assert_eq!(tiling.bounds(region), Some(area));
        assert_eq!(tiling.find_whole(&area), Some(region));
        for edge in tiling.edges(region) {
            let back = Edge { side: edge.side.opposite(), other: region, ..edge };
            assert!(tiling.edges(edge.other).contains(&back), "{edge:?} of {region} is not seen from beyond");
        }
        let open = Side::ALL.iter().filter(|side| side.of(&area).is_finite());
        for side in open {
            let edges: Vec<_> = tiling.edges(region).into_iter().filter(|edge| edge.side == *side).collect();
            let (from, to) = side.axis().other().range(&area);
            let ends: Vec<f64> = edges.iter().flat_map(|edge| [edge.from, edge.to]).collect();
            let mut sorted = ends;
            sorted.sort_by(f64::total_cmp);
            assert_eq!((sorted.first(), sorted.last()), (Some(&from), Some(&to)), "{side:?} of {region}");
            assert!(sorted[1..sorted.len() - 1].chunks(2).all(|pair| pair[0] == pair[1]), "{edges:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn every_point_is_in_exactly_one_region(changes in prop::collection::vec(change(), 0..24)) {
        let mut tiling = Tiling::new(RegionId(1));
        let mut next = 2;
        for change in &changes {
            apply(&mut tiling, change, &mut next);
            let ids: std::collections::BTreeSet<_> = tiling.regions().into_iter().map(|(id, _)| id).collect();
            prop_assert_eq!(ids.len(), tiling.regions().len(), "no region twice");
        }
        check(&tiling);
    }
}
