//! Types of entities by number: a bounded list, whose places are given to other types when nobody is of theirs.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use spatialdb_types::Limits;

use crate::partition::PublishSeq;

/// The number of a type in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct KindId(pub(crate) u16);

/// Types are not counted.
pub(crate) const UNTYPED: KindId = KindId(u16::MAX);

/// Of no type.
const NONE: KindId = KindId(0);

/// Of a type that has no number of its own: counted together.
const OTHER: KindId = KindId(1);

/// What those are called.
const OTHER_NAME: &str = "*";

/// The types of one partition.
#[derive(Debug)]
pub(super) struct Kinds {
    list: Vec<Kind>,
    ids: FxHashMap<Arc<str>, KindId>,
}

#[derive(Debug)]
struct Kind {
    name: Arc<str>,
    rows: u32,
    /// When the last row left.
    left_at: PublishSeq,
}

impl Kind {
    fn new(name: &str) -> Self {
        Self { name: name.into(), rows: 0, left_at: PublishSeq(0) }
    }
}

impl Kinds {
    pub(super) fn new() -> Self {
        let ids = [("".into(), NONE), (OTHER_NAME.into(), OTHER)];
        Self { list: vec![Kind::new(""), Kind::new(OTHER_NAME)], ids: ids.into_iter().collect() }
    }

    pub(super) fn name(&self, kind: KindId) -> &Arc<str> {
        &self.list[usize::from(kind.0)].name
    }

    /// The number of a type. It may have been another's until the publish that is returned too.
    pub(super) fn intern(&mut self, name: &str, limits: &Limits) -> (KindId, PublishSeq) {
        if let Some(&kind) = self.ids.get(name) {
            return (kind, PublishSeq(0));
        }
        if name.len() as u64 > limits.density_type_bytes_max {
            return (OTHER, PublishSeq(0));
        }
        let named = self.list.len() as u64 - 2;
        if named < limits.density_types_max.min(u64::from(u16::MAX) - 2) {
            let kind = KindId(self.list.len() as u16);
            self.list.push(Kind::new(name));
            self.ids.insert(self.name(kind).clone(), kind);
            return (kind, PublishSeq(0));
        }
        // The one that has been without rows for longest.
        let free = (2..self.list.len()).filter(|&i| self.list[i].rows == 0);
        let Some(place) = free.min_by_key(|&i| self.list[i].left_at) else { return (OTHER, PublishSeq(0)) };
        let left_at = self.list[place].left_at;
        let kind = KindId(place as u16);
        self.ids.remove(&self.list[place].name);
        self.list[place] = Kind::new(name);
        self.ids.insert(self.name(kind).clone(), kind);
        (kind, left_at)
    }

    /// A row is of another type now.
    pub(super) fn shift(&mut self, from: KindId, to: KindId, publish: PublishSeq) {
        if from != UNTYPED {
            let kind = &mut self.list[usize::from(from.0)];
            kind.rows -= 1;
            if kind.rows == 0 {
                kind.left_at = publish;
            }
        }
        if to != UNTYPED {
            self.list[usize::from(to.0)].rows += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_beyond_the_limit_are_counted_together_until_a_place_is_free() {
        let limits = Limits { density_types_max: 2, density_type_bytes_max: 5, ..Limits::default() };
        let mut kinds = Kinds::new();
        let add = |kinds: &mut Kinds, name: &str| {
            let (kind, reused) = kinds.intern(name, &limits);
            kinds.shift(UNTYPED, kind, PublishSeq(1));
            (kinds.name(kind).to_string(), kind, reused)
        };
        assert_eq!(add(&mut kinds, "").1, NONE);
        let (name, first, _) = add(&mut kinds, "car");
        assert_eq!(name, "car");
        add(&mut kinds, "ship");
        assert_eq!(add(&mut kinds, "car").1, first);
        assert_eq!(add(&mut kinds, "plane").0, "*");
        assert_eq!(add(&mut kinds, "bicycle").0, "*");
        kinds.shift(first, UNTYPED, PublishSeq(7));
        assert_eq!(add(&mut kinds, "plane").0, "*");
        kinds.shift(first, UNTYPED, PublishSeq(8));
        assert_eq!(add(&mut kinds, "plane"), ("plane".to_owned(), first, PublishSeq(8)));
        assert_eq!(add(&mut kinds, "car").0, "*");
    }
}
