use std::collections::BTreeMap;

use spatialdb_types::{EntityId, Position, SessionId, SpaceId};

use super::*;
use crate::partition::Slot;

const WRITER: SessionId = SessionId(1);

/// Some thousands of steps of one row at a time; `step` gives the same numbers again and again.
struct World {
    store: Store,
    limits: Limits,
    seed: u64,
}

impl World {
    fn new(emptied_kept: usize) -> Self {
        let mut store = Store::new(10.0);
        (store.grid.tuning.counted_at_once, store.grid.tuning.emptied_kept) = (7, emptied_kept);
        Self { store, limits: Limits { density_types_max: 4, ..Limits::default() }, seed: 7 }
    }

    fn below(&mut self, n: u64) -> u64 {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.seed >> 33) % n
    }

    fn at(&mut self) -> Position {
        let mut side = || self.below(400) as f64 - 200.0;
        let (x, y) = (side(), side());
        Position::new(SpaceId(self.below(2) as u32), x, y, 0.0)
    }

    fn metadata(&mut self) -> Vec<u8> {
        let kind = b"abcdef"[self.below(6) as usize];
        vec![0x0a, 1, kind]
    }

    /// Something happens to one of 60 entities.
    fn step(&mut self) {
        let entity = EntityId(1 + self.below(60));
        let Some(id) = self.store.find(entity) else {
            let (at, value) = (self.at(), self.metadata());
            let slot = self.store.new_slot(&value, WRITER);
            let set = self.store.tables.intern(&[ComponentId::POSITION, ComponentId::METADATA]);
            self.store.insert(entity, set, [slot], Some((at, WRITER)));
            return;
        };
        let has = |world: &Self, c| world.store.components(world.store.row(id)).contains(&c);
        match self.below(8) {
            0 => _ = self.store.remove(id),
            1 if has(self, ComponentId::POSITION) => self.store.remove_component(id, ComponentId::POSITION),
            2 if has(self, ComponentId::METADATA) => self.store.remove_component(id, ComponentId::METADATA),
            3..=4 => {
                let value = self.metadata();
                if has(self, ComponentId::METADATA) {
                    let slot = self.store.write_slot(id, ComponentId::METADATA, WRITER);
                    slot.expect("it has one").set(&value);
                } else {
                    let slot: Slot = self.store.new_slot(&value, WRITER);
                    self.store.add_component(id, ComponentId::METADATA, Some(slot));
                }
            }
            _ => {
                if !has(self, ComponentId::POSITION) {
                    self.store.add_component(id, ComponentId::POSITION, None);
                }
                let at = self.at();
                self.store.move_to(id, at, WRITER);
            }
        }
    }

    fn publish(&mut self) {
        self.store.update_census(&self.limits);
        self.check();
        self.store.finish_publish();
    }

    fn census(&self) -> &Census {
        self.store.census.as_ref().expect("somebody counts")
    }

    fn check(&self) {
        let census = self.census();
        assert_eq!(census.check_rows(&self.store, 0..self.store.row_count() as u32), None);
        assert_eq!(census.check_squares(&self.store, 0..census.places()), None);
    }
}

type Counts = BTreeMap<(i32, i32, String), u32>;

fn area(level: u8) -> Area {
    Area { space: SpaceId(0), level, x: (i32::MIN, i32::MAX), y: (-4, 3) }
}

/// Adds what a walk finds, a few squares at a time.
fn walk(census: &Census, area: &Area, since: PublishSeq, counts: &mut Counts) {
    let (mut cursor, mut is_over) = (0, false);
    while !is_over {
        let mut left = 40;
        is_over = census.walk(area, since, &mut cursor, &mut |square| {
            left -= 1;
            if left == 0 {
                return false;
            }
            let all = (UNTYPED, square.all);
            for (kind, tally) in std::iter::once(&all).chain(&square.kinds) {
                if square.level == area.level && tally.changed_at > since {
                    let name = if *kind == UNTYPED { "all" } else { census.kind_name(*kind) };
                    counts.insert((square.x, square.y, name.to_owned()), tally.count);
                }
            }
            true
        });
    }
}

fn told(counts: &Counts) -> Counts {
    counts.iter().filter(|(_, count)| **count > 0).map(|(key, count)| (key.clone(), *count)).collect()
}

#[test]
fn whoever_is_told_what_changed_knows_what_a_walk_through_everything_finds() {
    for emptied_kept in [0, 3, 10_000] {
        let mut world = World::new(emptied_kept);
        (0..100).for_each(|_| world.step());
        world.store.watch_squares(1, 0);
        let levels = [0, 1, 3, TOP_LEVEL];
        let mut known: Vec<(PublishSeq, Counts)> = vec![Default::default(); levels.len()];
        let (mut lost, mut found) = (0, 0);
        for round in 0..300 {
            if round == 40 {
                world.store.watch_squares(1, 1);
            }
            if round == 250 {
                world.store.unwatch_squares(1, 1);
                known.iter_mut().for_each(|known| *known = Default::default());
            }
            (0..world.below(20)).for_each(|_| world.step());
            let publish = world.store.publish();
            world.publish();
            let is_typed = (40..250).contains(&round);
            if !world.census().is_ready(is_typed) {
                assert!(round < 60);
                continue;
            }
            for (&level, (since, counts)) in levels.iter().zip(&mut known) {
                // The larger squares are told less often.
                if round % (u64::from(level) + 1) != 0 {
                    continue;
                }
                if world.census().remembers(*since) {
                    found += 1;
                } else {
                    lost += 1;
                    (*since, *counts) = Default::default();
                }
                walk(world.census(), &area(level), *since, counts);
                *since = publish;
                let mut all = Counts::new();
                walk(world.census(), &area(level), PublishSeq(0), &mut all);
                assert_eq!(told(counts), told(&all), "level {level}, round {round}");
                let sum = |all: bool| {
                    told(counts).iter().filter(|(k, _)| (k.2 == "all") == all).map(|(_, c)| c).sum::<u32>()
                };
                assert!(!is_typed || sum(true) == sum(false));
            }
        }
        assert!(found > 200 && (lost > 20) == (emptied_kept < 10), "{found} found, {lost} lost");
    }
}

#[test]
fn what_nobody_is_told_of_is_forgotten() {
    let mut world = World::new(0);
    world.store.watch_squares(1, 1);
    for _ in 0..200 {
        (0..20).for_each(|_| world.step());
        world.publish();
    }
    while let Some(id) = (1..=60).find_map(|id| world.store.find(EntityId(id))) {
        world.store.remove(id);
    }
    world.publish();
    assert_eq!((world.census().square_count(), world.census().squares.occupied()), (0, 0));
    world.store.unwatch_squares(1, 1);
    assert!(world.store.census.is_none());
}

#[test]
fn a_step_within_a_cell_is_not_noted() {
    let mut world = World::new(10);
    let set = world.store.tables.intern(&[ComponentId::POSITION]);
    let at = |x: f64| Position::new(SpaceId(0), x, 5.0, 0.0);
    let id = world.store.insert(EntityId(1), set, [], Some((at(1.0), WRITER)));
    world.store.watch_squares(1, 0);
    world.publish();
    world.store.move_to(id, at(9.0), WRITER);
    assert!(!world.census().is_pending());
    world.store.move_to(id, at(11.0), WRITER);
    assert!(world.census().is_pending());
    // The square that holds both cells counts what it counted.
    let before = world.store.publish();
    world.publish();
    let mut counts = Counts::new();
    walk(world.census(), &area(1), PublishSeq(before.0 - 1), &mut counts);
    assert_eq!(counts, Counts::new());
    walk(world.census(), &area(0), PublishSeq(before.0 - 1), &mut counts);
    let all = |x: i32| (x, 0, "all".to_owned());
    assert_eq!(counts, Counts::from([(all(0), 0), (all(1), 1)]));
}

#[test]
fn a_type_is_the_last_one_that_a_value_has() {
    assert_eq!(type_of(None), "");
    assert_eq!(type_of(Some(&[])), "");
    assert_eq!(type_of(Some(&[0x12, 1, b'n', 0x0a, 2, b'h', b'i'])), "hi");
    assert_eq!(type_of(Some(&[0x0a, 1, b'a', 0x0a, 1, b'b'])), "b");
    assert_eq!(type_of(Some(&[0x08, 1, 0x0a, 200])), "");
}

#[test]
fn a_wrong_count_is_found() {
    let mut world = World::new(10);
    (0..50).for_each(|_| world.step());
    world.store.watch_squares(1, 0);
    while !world.store.census.as_ref().is_some_and(|census| census.is_ready(false)) {
        world.publish();
    }
    let mut census = world.store.census.take().expect("somebody counts");
    census.miscount(crate::partition::CellKey { space: SpaceId(0), x: 2, y: 2 });
    let found = census.check_squares(&world.store, 0..census.places());
    assert!(found.is_some_and(|found| found.contains("its parts")));
}
