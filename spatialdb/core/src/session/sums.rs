//! How many entities are in the squares of a view of densities, summed over partitions.
//!
//! A square may have entities of several partitions. What each has told is kept apart, so that it can tell again, from nothing,
//! after a restart or a change of the view; what the client was told is the sum, and only what changes in it is told on.

use std::collections::BTreeMap;
use std::sync::Arc;

use indexmap::IndexMap;
use rustc_hash::{FxBuildHasher, FxHashMap, FxHashSet};
use spatialdb_types::{PartitionId, ViewId};

use crate::interest::Densities;
use crate::message::DensityDelta;

/// Squares of one view, of one size and one type.
#[derive(Clone, Debug, PartialEq)]
pub struct DensityColumn {
    /// Which view.
    pub view: ViewId,
    /// The side of a square, metres.
    pub square_m: f64,
    /// The type that is counted; empty if they are not told apart, or of entities without.
    pub kind: Arc<str>,
    /// The number of the square, from west to east.
    pub x: Vec<i32>,
    /// From south to north.
    pub y: Vec<i32>,
    /// How many there are now.
    pub counts: Vec<u64>,
}

/// What a client was told of one view of densities.
#[derive(Debug)]
pub(super) struct Sums {
    view: ViewId,
    square_m: f64,
    kinds: Kinds,
    /// Squares that are not empty.
    totals: IndexMap<Key, u64, FxBuildHasher>,
    /// By partition.
    shares: Vec<Share>,
    sum: u64,
    /// Squares of another size, or counted otherwise, as the client still has them.
    stale: Vec<DensityColumn>,
}

/// A square and a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Key {
    kind: u32,
    x: i32,
    y: i32,
}

/// What one partition has told.
#[derive(Debug, Default)]
struct Share {
    /// Rises when it tells anew.
    fill: u32,
    /// How many, and in which fill that was told.
    rows: IndexMap<Key, (u32, u32), FxBuildHasher>,
}

/// Types by number, as long as a square has some.
#[derive(Debug, Default)]
struct Kinds {
    list: Vec<(Arc<str>, u32)>,
    ids: FxHashMap<Arc<str>, u32>,
    free: Vec<u32>,
}

impl Sums {
    pub(super) fn new(view: ViewId, densities: &Densities, partitions: usize) -> Self {
        Self {
            view,
            square_m: densities.square_m(),
            kinds: Kinds::default(),
            totals: IndexMap::default(),
            shares: (0..partitions).map(|_| Share::default()).collect(),
            sum: 0,
            stale: Vec::new(),
        }
    }

    /// How many squares are not empty, each type apart.
    pub(super) fn len(&self) -> usize {
        self.totals.len()
    }

    /// How many entities there are in all squares.
    pub(super) const fn sum(&self) -> u64 {
        self.sum
    }

    /// The view counts otherwise now: what was told is taken back with the first that is told.
    pub(super) fn start_over(&mut self, densities: &Densities) {
        let mut stale = std::mem::take(&mut self.stale);
        for (key, count) in &self.totals {
            self.column_of(key.kind, &mut stale).push(*key, *count);
        }
        *self = Self { stale, ..Self::new(self.view, densities, self.shares.len()) };
    }

    /// So many times must a square be doubled for at most that many of them to be left, as far as is known.
    pub(super) fn doublings_to(&self, squares_max: usize) -> u8 {
        let count = |doublings: u8| {
            let squares = self.totals.keys().map(|key| (key.kind, key.x >> doublings, key.y >> doublings));
            squares.collect::<FxHashSet<_>>().len()
        };
        (1..31).find(|&doublings| count(doublings) <= squares_max).unwrap_or(31)
    }

    /// Takes what a partition tells. Adds what is other than the client was told.
    pub(super) fn hear(&mut self, from: PartitionId, delta: DensityDelta, told: &mut Vec<DensityColumn>) {
        let share = &mut self.shares[usize::from(from.0)];
        share.fill = share.fill.wrapping_add(u32::from(delta.begins_anew));
        let fill = share.fill;
        let mut columns = Vec::new();
        for rows in delta.rows {
            let kind = self.kinds.intern(&rows.kind);
            for ((&x, &y), &count) in rows.x.iter().zip(&rows.y).zip(&rows.counts) {
                self.set(from, Key { kind, x, y }, count, fill, &mut columns);
            }
            self.kinds.release(kind);
        }
        if delta.is_filled {
            self.sweep(from, fill, &mut columns);
        }
        self.take_back(&mut columns, told);
        told.extend(columns.into_iter().filter(|column| !column.x.is_empty()));
    }

    /// A partition has told all that it has: what it told before that counts no longer.
    fn sweep(&mut self, from: PartitionId, fill: u32, columns: &mut Vec<DensityColumn>) {
        let rows = &self.shares[usize::from(from.0)].rows;
        let old = |(&key, &(_, told_in)): (&Key, &(u32, u32))| (told_in != fill).then_some(key);
        let mut gone: Vec<Key> = rows.iter().filter_map(old).collect();
        gone.sort_unstable();
        for key in gone {
            self.set(from, key, 0, fill, columns);
        }
    }

    fn set(&mut self, from: PartitionId, key: Key, count: u32, fill: u32, columns: &mut Vec<DensityColumn>) {
        let rows = &mut self.shares[usize::from(from.0)].rows;
        let before = if count == 0 { rows.swap_remove(&key) } else { rows.insert(key, (count, fill)) };
        let before = before.map_or(0, |(count, _)| count);
        if before == count {
            return;
        }
        let old = self.totals.get(&key).copied().unwrap_or(0);
        let new = old + u64::from(count) - u64::from(before);
        self.sum = self.sum + u64::from(count) - u64::from(before);
        self.column_of(key.kind, columns).push(key, new);
        if new == 0 {
            self.totals.swap_remove(&key);
            self.kinds.release(key.kind);
        } else if self.totals.insert(key, new).is_none() {
            self.kinds.hold(key.kind);
        }
    }

    /// The column of a type, which is mostly the last one.
    fn column_of<'a>(&self, kind: u32, columns: &'a mut Vec<DensityColumn>) -> &'a mut DensityColumn {
        let (name, square_m) = (self.kinds.name(kind), self.square_m);
        let is_it = |column: &DensityColumn| column.square_m == square_m && column.kind == *name;
        let at = columns.iter().rposition(is_it).unwrap_or_else(|| {
            let (view, kind) = (self.view, name.clone());
            columns.push(DensityColumn { view, square_m, kind, x: vec![], y: vec![], counts: vec![] });
            columns.len() - 1
        });
        &mut columns[at]
    }

    /// Tells that there are none where the client still has some. Where `columns` tell of the very same square, they go
    /// without what it knows.
    fn take_back(&mut self, columns: &mut [DensityColumn], told: &mut Vec<DensityColumn>) {
        for mut stale in std::mem::take(&mut self.stale) {
            let same = |new: &&mut DensityColumn| (new.square_m, &new.kind) == (stale.square_m, &stale.kind);
            let Some(new) = columns.iter_mut().find(same) else {
                stale.counts.fill(0);
                told.push(stale);
                continue;
            };
            let known: FxHashMap<_, u64> = stale.rows().collect();
            let counted: FxHashSet<_> = new.rows().map(|(square, _)| square).collect();
            stale.retain(|square, _| !counted.contains(&square));
            new.retain(|square, count| known.get(&square) != Some(&count));
            stale.counts.fill(0);
            new.append(stale);
        }
    }
}

impl DensityColumn {
    fn push(&mut self, key: Key, count: u64) {
        self.x.push(key.x);
        self.y.push(key.y);
        self.counts.push(count);
    }

    fn rows(&self) -> impl Iterator<Item = ((i32, i32), u64)> {
        self.x.iter().zip(&self.y).zip(&self.counts).map(|((&x, &y), &count)| ((x, y), count))
    }

    fn append(&mut self, later: Self) {
        self.x.extend(later.x);
        self.y.extend(later.y);
        self.counts.extend(later.counts);
    }

    fn retain(&mut self, keep: impl Fn((i32, i32), u64) -> bool) {
        let kept: Vec<_> = self.rows().filter(|&(square, count)| keep(square, count)).collect();
        (self.x, self.y) = kept.iter().map(|(square, _)| *square).unzip();
        self.counts = kept.into_iter().map(|(_, count)| count).collect();
    }
}

/// Adds squares that are told later: to the columns that are there, unless the view has had other squares since.
pub(super) fn append(columns: &mut Vec<DensityColumn>, later: Vec<DensityColumn>) {
    let mut open = OpenColumns::default();
    columns.iter().enumerate().for_each(|(at, column)| _ = open.place(column, at));
    for column in later {
        let at = open.place(&column, columns.len());
        match columns.get_mut(at) {
            Some(into) => into.append(column),
            None => columns.push(column),
        }
    }
}

/// The columns that may grow: of each view those of the size that was told last.
#[derive(Default)]
struct OpenColumns {
    sides: BTreeMap<ViewId, f64>,
    places: BTreeMap<(ViewId, Arc<str>), usize>,
}

impl OpenColumns {
    /// Where the squares of a column go: `new`, or where others like them are.
    fn place(&mut self, column: &DensityColumn, new: usize) -> usize {
        let (view, side) = (column.view, column.square_m);
        if self.sides.insert(view, side).is_some_and(|before| before != side) {
            self.places.retain(|(other, _), _| *other != view);
        }
        *self.places.entry((view, column.kind.clone())).or_insert(new)
    }
}

impl Kinds {
    fn name(&self, kind: u32) -> &Arc<str> {
        &self.list[kind as usize].0
    }

    /// The number of a type, held until it is released.
    fn intern(&mut self, name: &Arc<str>) -> u32 {
        if let Some(&kind) = self.ids.get(name) {
            self.hold(kind);
            return kind;
        }
        let kind = match self.free.pop() {
            Some(kind) => {
                self.list[kind as usize] = (name.clone(), 1);
                kind
            }
            None => {
                self.list.push((name.clone(), 1));
                (self.list.len() - 1) as u32
            }
        };
        self.ids.insert(name.clone(), kind);
        kind
    }

    fn hold(&mut self, kind: u32) {
        self.list[kind as usize].1 += 1;
    }

    fn release(&mut self, kind: u32) {
        let (name, held) = &mut self.list[kind as usize];
        *held -= 1;
        if *held == 0 {
            self.ids.remove(name);
            self.free.push(kind);
        }
    }
}

#[cfg(test)]
mod tests {
    use spatialdb_types::SpaceId;

    use super::*;
    use crate::message::DensityRows;

    const EAST: PartitionId = PartitionId(0);
    const WEST: PartitionId = PartitionId(1);

    fn densities(square_m: f64) -> Densities {
        let (min, max) = ((f64::NEG_INFINITY, f64::NEG_INFINITY), (f64::INFINITY, f64::INFINITY));
        Densities::new(SpaceId(0), min, max, square_m, 1.0).expect("valid")
    }

    fn sums() -> Sums {
        Sums::new(ViewId(7), &densities(1.0), 2)
    }

    fn delta(begins_anew: bool, rows: &[(&str, i32, u32)], is_filled: bool) -> DensityDelta {
        let row = |&(kind, x, count): &(&str, i32, u32)| DensityRows {
            kind: kind.into(),
            x: vec![x],
            y: vec![0],
            counts: vec![count],
        };
        let rows = rows.iter().map(row).collect();
        DensityDelta { view: ViewId(7), version: 1, begins_anew, rows, is_filled }
    }

    /// What the client is told: side, type, x and count.
    fn told(sums: &mut Sums, from: PartitionId, delta: DensityDelta) -> Vec<(f64, String, i32, u64)> {
        let mut columns = Vec::new();
        sums.hear(from, delta, &mut columns);
        let row = |c: &DensityColumn, i: usize| (c.square_m, c.kind.to_string(), c.x[i], c.counts[i]);
        columns.iter().flat_map(|c| (0..c.x.len()).map(move |i| row(c, i))).collect()
    }

    fn row(side: f64, kind: &str, x: i32, count: u64) -> (f64, String, i32, u64) {
        (side, kind.to_owned(), x, count)
    }

    #[test]
    fn what_partitions_tell_is_added_up_and_only_what_changes_is_told() {
        let mut sums = sums();
        assert_eq!(told(&mut sums, EAST, delta(true, &[("", 3, 5)], true)), [row(1.0, "", 3, 5)]);
        let west = delta(true, &[("", 3, 2), ("a", 3, 1)], true);
        assert_eq!(told(&mut sums, WEST, west), [row(1.0, "", 3, 7), row(1.0, "a", 3, 1)]);
        assert_eq!((sums.sum(), sums.len()), (8, 2));
        // It begins anew, and has one square less.
        assert_eq!(told(&mut sums, WEST, delta(true, &[("", 3, 2)], false)), []);
        assert_eq!(told(&mut sums, WEST, delta(false, &[], true)), [row(1.0, "a", 3, 0)]);
        assert_eq!(told(&mut sums, EAST, delta(false, &[("", 3, 0)], false)), [row(1.0, "", 3, 2)]);
        assert_eq!((sums.sum(), sums.len(), sums.kinds.ids.len()), (2, 1, 1));
    }

    #[test]
    fn squares_of_another_size_take_the_place_of_those_before() {
        let mut sums = sums();
        told(&mut sums, EAST, delta(true, &[("", 3, 5), ("", 4, 1)], true));
        sums.start_over(&densities(2.0));
        assert_eq!(sums.len(), 0);
        let all = [row(1.0, "", 3, 0), row(1.0, "", 4, 0), row(2.0, "", 1, 5)];
        assert_eq!(told(&mut sums, WEST, delta(true, &[("", 1, 5)], true)), all);
        // Of the same size, what the client knows is not told again.
        sums.start_over(&densities(2.0));
        assert_eq!(
            told(&mut sums, EAST, delta(true, &[("", 1, 5), ("b", 1, 5)], true)),
            [row(2.0, "b", 1, 5)]
        );
    }

    #[test]
    fn there_is_one_column_of_each_type_and_size() {
        let mut sums = sums();
        told(&mut sums, EAST, delta(true, &[("", 3, 5), ("", 4, 1)], true));
        sums.start_over(&densities(1.0));
        assert_eq!(told(&mut sums, WEST, delta(true, &[("", 9, 1), ("", 4, 2)], true)).len(), 3);
        sums.start_over(&densities(1.0));
        let mut columns = Vec::new();
        sums.hear(EAST, delta(true, &[("", 9, 3)], true), &mut columns);
        let columns: Vec<_> = columns.iter().map(|c| (&c.x[..], &c.counts[..])).collect();
        assert_eq!(columns, [(&[9, 4][..], &[3, 0][..])]);
    }

    #[test]
    fn squares_are_doubled_as_often_as_it_takes() {
        let mut sums = sums();
        let rows: Vec<_> = (-8..8).map(|x| ("", x, 1)).collect();
        told(&mut sums, EAST, delta(true, &rows, true));
        assert_eq!([15, 8, 4, 2, 1].map(|max| sums.doublings_to(max)), [1, 1, 2, 3, 31]);
    }

    #[test]
    fn columns_grow_until_the_view_has_other_squares() {
        let column = |square_m, kind: &str, x| DensityColumn {
            view: ViewId(1),
            square_m,
            kind: kind.into(),
            x: vec![x],
            y: vec![0],
            counts: vec![1],
        };
        let mut columns = vec![column(1.0, "", 1), column(1.0, "a", 1)];
        append(
            &mut columns,
            vec![column(1.0, "", 2), column(2.0, "", 3), column(1.0, "", 4), column(1.0, "", 5)],
        );
        let all: Vec<_> = columns.iter().map(|c| (c.square_m, &*c.kind, &c.x[..])).collect();
        assert_eq!(all, [(1.0, "", &[1, 2][..]), (1.0, "a", &[1]), (2.0, "", &[3]), (1.0, "", &[4, 5])]);
    }
}
