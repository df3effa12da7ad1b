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
            if let Some(new) = columns.iter_mut().find(same) {
                let known: FxHashMap<_, u64> = stale.rows().collect();
                let counted: FxHashSet<_> = new.rows().map(|(square, _)| square).collect();
                stale.retain(|square, _| !counted.contains(&square));
                new.retain(|square, count| known.get(&square) != Some(&count));
            }
            stale.counts.fill(0);
            told.extend((!stale.x.is_empty()).then_some(stale));
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

    fn retain(&mut self, keep: impl Fn((i32, i32), u64) -> bool) {
        let kept: Vec<_> = self.rows().filter(|&(square, count)| keep(square, count)).collect();
        (self.x, self.y) = kept.iter().map(|(square, _)| *square).unzip();
        self.counts = kept.into_iter().map(|(_, count)| count).collect();
    }
}

/// Adds squares that are told later.
pub(super) fn append(columns: &mut Vec<DensityColumn>, later: Vec<DensityColumn>) {
    let name = |c: &DensityColumn| (c.view, c.square_m.to_bits(), c.kind.clone());
    let mut places: BTreeMap<_, usize> = columns.iter().enumerate().map(|(i, c)| (name(c), i)).collect();
    for column in later {
        match places.get(&name(&column)) {
            Some(&at) => {
                columns[at].x.extend(column.x);
                columns[at].y.extend(column.y);
                columns[at].counts.extend(column.counts);
            }
            None => {
                places.insert(name(&column), columns.len());
                columns.push(column);
            }
        }
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
