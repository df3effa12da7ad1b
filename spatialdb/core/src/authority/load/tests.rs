use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::authority::issuer::SquareLoad;

const LAYER: LayerId = LayerId(0);

/// Cell 0 is of what has no position; the others lie beside each other.
fn in_a_row(cell: u32) -> Square {
    (cell > 0).then(|| (SpaceId(0), cell as i32 - 101, 0))
}

fn sums(loads: &Loads) -> BTreeMap<i32, u64> {
    let mut sums = BTreeMap::new();
    for square in loads.squares.values().flatten() {
        *sums.entry(square.x).or_default() += square.load;
    }
    sums
}

#[test]
fn two_partitions_add_up_once_their_squares_are_of_one_size() {
    let (mut a, mut b) = (LoadMap::new(10.0, 2, 2), LoadMap::new(10.0, 2, 100));
    for cell in [101, 102, 103, 104] {
        a.add(LAYER, cell);
        b.add(LAYER, cell);
    }
    assert!(a.add_to(&mut Loads::default(), in_a_row) && !b.add_to(&mut Loads::default(), in_a_row));
    a.coarsen(1);
    b.coarsen(1);
    let mut loads = Loads::default();
    a.add_to(&mut loads, in_a_row);
    b.add_to(&mut loads, in_a_row);
    assert_eq!((loads.side_m, sums(&loads)), (20.0, BTreeMap::from([(0, 4), (1, 4)])));
}

#[test]
fn however_far_apart_entities_are_there_is_an_end() {
    let mut map = LoadMap::new(1.0, 2, 4);
    for cell in 0..4 {
        map.add(LAYER, cell);
        map.add(LayerId(1), cell);
    }
    let far = |number| if number == 0 { i32::MIN } else { i32::MAX };
    let corner = |cell: u32| Some((SpaceId(0), far(cell % 2), far(cell / 2)));
    let mut loads = Loads::default();
    while map.add_to(&mut loads, corner) {
        loads = Loads::default();
        map.coarsen(map.doublings() + 1);
    }
    assert_eq!(map.doublings(), i32::BITS, "eight squares remain: four quarters of two layers");
    assert_eq!(loads.squares.values().flatten().map(|square| square.load).sum::<u64>(), 8);
}

/// Where an entity is: its space and square, or nowhere.
type Spot = Option<(u32, i32)>;

/// Entities, and cells whose numbers are used again for other squares, as those of a grid are.
struct World {
    map: LoadMap,
    spots: BTreeMap<u32, (LayerId, Spot)>,
    cells: Vec<Option<(u32, i32)>>,
    free: Vec<u32>,
}

impl World {
    fn new(squares_max: usize) -> Self {
        let (spots, cells) = (BTreeMap::new(), vec![None]);
        Self { map: LoadMap::new(7.0, 2, squares_max), spots, cells, free: Vec::new() }
    }

    fn cell_of(&self, spot: (u32, i32)) -> Option<u32> {
        self.cells.iter().position(|of| *of == Some(spot)).map(|cell| cell as u32)
    }

    fn leave(&mut self, entity: u32) -> Option<(LayerId, u32)> {
        let (layer, spot) = self.spots.remove(&entity)?;
        let Some(spot) = spot else { return Some((layer, 0)) };
        let cell = self.cell_of(spot).expect("it has a cell");
        if !self.spots.values().any(|(_, other)| *other == Some(spot)) {
            self.cells[cell as usize] = None;
            self.free.push(cell);
        }
        Some((layer, cell))
    }

    fn come(&mut self, entity: u32, layer: LayerId, spot: Spot) -> u32 {
        self.spots.insert(entity, (layer, spot));
        let Some(spot) = spot else { return 0 };
        self.cell_of(spot).unwrap_or_else(|| {
            let cell = self.free.pop().unwrap_or_else(|| {
                self.cells.push(None);
                self.cells.len() as u32 - 1
            });
            self.cells[cell as usize] = Some(spot);
            cell
        })
    }

    /// An entity is made, moved, or deleted. As in a partition, it has left its cell before it is in the new one.
    fn put(&mut self, entity: u32, layer: LayerId, to: Option<Spot>) {
        let is_there = self.spots.get(&entity).is_some_and(|(_, spot)| Some(*spot) == to);
        if is_there {
            return;
        }
        match (self.leave(entity), to) {
            (Some((layer, from)), Some(to)) => {
                let to = self.come(entity, layer, to);
                self.map.shift(layer, from, to);
            }
            (Some((layer, from)), None) => self.map.remove(layer, from),
            (None, Some(to)) => {
                let to = self.come(entity, layer, to);
                self.map.add(layer, to);
            }
            (None, None) => {}
        }
    }

    fn look(&mut self) -> (Loads, bool) {
        let mut loads = Loads::default();
        let cells = &self.cells;
        let is_too_much = self.map.add_to(&mut loads, |cell| {
            let (space, x) = cells[cell as usize]?;
            Some((SpaceId(space), x, -x))
        });
        (loads, is_too_much)
    }

    /// The same by looking at each entity.
    fn expected(&self) -> Loads {
        let doublings = self.map.doublings();
        let wider = |number: i32| (i64::from(number) >> doublings) as i32;
        let mut squares: BTreeMap<(LayerId, SpaceId, i32, i32), u64> = BTreeMap::new();
        let mut loads = Loads { side_m: 7.0 * f64::from(doublings).exp2(), ..Loads::default() };
        for (layer, spot) in self.spots.values() {
            match spot {
                Some((space, x)) => {
                    *squares.entry((*layer, SpaceId(*space), wider(*x), wider(-*x))).or_default() += 1;
                }
                None => *loads.nowhere.entry(*layer).or_default() += 1,
            }
        }
        for ((layer, space, x, y), load) in squares {
            loads.squares.entry((layer, space)).or_default().push(SquareLoad { x, y, load });
        }
        loads
    }
}

#[derive(Clone, Debug)]
enum Step {
    Put(u32, u16, Option<Spot>),
    Look,
    Coarsen,
}

fn step() -> impl Strategy<Value = Step> {
    let spot = prop_oneof![6 => (0_u32..2, -9_i32..9).prop_map(Some), 1 => Just(None)];
    let to = prop_oneof![8 => spot.prop_map(Some), 1 => Just(None)];
    prop_oneof![
        12 => (0_u32..12, 0_u16..2, to).prop_map(|(entity, layer, to)| Step::Put(entity, layer, to)),
        3 => Just(Step::Look),
        1 => Just(Step::Coarsen),
    ]
}

proptest! {
    #[test]
    fn sums_are_what_is_there(steps in prop::collection::vec(step(), 1..120), squares_max in 1_usize..12) {
        let mut world = World::new(squares_max);
        for step in steps.into_iter().chain([Step::Look]) {
            match step {
                Step::Put(entity, layer, to) => world.put(entity, LayerId(layer), to),
                Step::Coarsen => world.map.coarsen(world.map.doublings() + 1),
                Step::Look => {
                    let (mut loads, is_too_much) = world.look();
                    loads.squares.values_mut().for_each(|squares| squares.sort_unstable());
                    loads.squares.retain(|_, squares| !squares.is_empty());
                    let expected = world.expected();
                    let count = expected.squares.values().flatten().count();
                    let is_last = world.map.doublings() == i32::BITS;
                    prop_assert_eq!(&loads, &expected);
                    prop_assert_eq!(is_too_much, count > squares_max && !is_last);
                }
            }
        }
        let entities: Vec<u32> = world.spots.keys().copied().collect();
        entities.into_iter().for_each(|entity| world.put(entity, LAYER, None));
        prop_assert!(world.look().0.squares.values().all(Vec::is_empty));
    }
}
