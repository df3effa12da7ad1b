//! Entity id -> row.
//!
//! Ids are given in order, so most live in pages of rows found by two loads; a hash table would take a cache miss more
//! and four times the memory. Ids that are chosen far out go to a hash table all the same.

use rustc_hash::FxHashMap;
use spatialdb_types::EntityId;

use super::RowId;

const PAGE: usize = 512;

/// Ids below this have a place in a page: the list of pages then takes at most 4 MiB.
const DENSE_END: u64 = 1 << 28;

const NO_ROW: u32 = u32::MAX;

/// Where the rows of entities are.
#[derive(Debug, Default)]
pub(super) struct RowMap {
    pages: Vec<Option<Box<[u32; PAGE]>>>,
    sparse: FxHashMap<EntityId, RowId>,
}

impl RowMap {
    pub(super) fn get(&self, entity: EntityId) -> Option<RowId> {
        if entity.0 >= DENSE_END {
            return self.sparse.get(&entity).copied();
        }
        let page = self.pages.get(entity.0 as usize / PAGE)?.as_ref()?;
        let row = page[entity.0 as usize % PAGE];
        (row != NO_ROW).then_some(RowId(row))
    }

    /// Returns the row that the entity had.
    pub(super) fn insert(&mut self, entity: EntityId, row: RowId) -> Option<RowId> {
        if entity.0 >= DENSE_END {
            return self.sparse.insert(entity, row);
        }
        let at = entity.0 as usize / PAGE;
        if at >= self.pages.len() {
            self.pages.resize_with(at + 1, || None);
        }
        let page = self.pages[at].get_or_insert_with(|| Box::new([NO_ROW; PAGE]));
        let old = std::mem::replace(&mut page[entity.0 as usize % PAGE], row.0);
        (old != NO_ROW).then_some(RowId(old))
    }

    pub(super) fn remove(&mut self, entity: EntityId) {
        if entity.0 >= DENSE_END {
            self.sparse.remove(&entity);
        } else if let Some(Some(page)) = self.pages.get_mut(entity.0 as usize / PAGE) {
            page[entity.0 as usize % PAGE] = NO_ROW;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_and_far_ids_are_found_until_removed() {
        let mut map = RowMap::default();
        for id in [1, 511, 512, DENSE_END - 1, DENSE_END, (1 << 53) - 1] {
            let entity = EntityId(id);
            assert_eq!(map.get(entity), None);
            assert_eq!(map.insert(entity, RowId(7)), None);
            assert_eq!(map.insert(entity, RowId(8)), Some(RowId(7)));
            assert_eq!(map.get(entity), Some(RowId(8)));
            map.remove(entity);
            assert_eq!(map.get(entity), None);
        }
    }
}
