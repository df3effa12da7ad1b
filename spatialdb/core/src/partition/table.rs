//! Tables: entities with the same set of components, their values in columns.
//!
//! Responsible for: component sets and where values lie. Not responsible for: positions (they are in the row).

use std::sync::Arc;

use rustc_hash::FxHashMap;
use spatialdb_types::{ComponentId, Revision, SessionId};

use super::{PublishSeq, RowId};

/// An interned set of components.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SetId(pub(crate) u32);

/// A component of an entity.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) revision: Revision,
    pub(crate) changed_at: PublishSeq,
    pub(crate) value: Box<[u8]>,
    pub(crate) writer: SessionId,
    /// When the value was published that another session had written before `writer` did: who has not seen that does not
    /// know the value, though it wrote part of it.
    pub(crate) foreign_at: PublishSeq,
}

/// The entities of one set.
#[derive(Debug)]
pub(crate) struct Table {
    /// By rising id, Position included.
    pub(crate) components: Arc<[ComponentId]>,
    /// Parallel to the components other than Position.
    columns: Vec<Vec<Slot>>,
    /// Which row each index belongs to.
    rows: Vec<RowId>,
}

/// Every set that was ever seen, and its table.
#[derive(Debug)]
pub(crate) struct Tables {
    tables: Vec<Table>,
    ids: FxHashMap<Arc<[ComponentId]>, SetId>,
}

impl Slot {
    /// Replaces the value, in place where the length allows.
    pub(crate) fn set(&mut self, value: &[u8]) {
        if self.value.len() == value.len() {
            self.value.copy_from_slice(value);
        } else {
            self.value = value.into();
        }
    }
}

impl Table {
    fn first_column(&self) -> usize {
        usize::from(self.components.first() == Some(&ComponentId::POSITION))
    }

    /// Whether its entities have more than a position.
    pub(crate) fn has_values(&self) -> bool {
        !self.columns.is_empty()
    }

    /// Where the column of a component is.
    pub(crate) fn column(&self, component: ComponentId) -> Option<usize> {
        self.components.binary_search(&component).ok()?.checked_sub(self.first_column())
    }

    pub(crate) fn slot(&self, column: usize, index: u32) -> &Slot {
        &self.columns[column][index as usize]
    }

    pub(crate) fn slot_mut(&mut self, column: usize, index: u32) -> &mut Slot {
        &mut self.columns[column][index as usize]
    }

    /// The components other than Position, and their slots, of one entity.
    pub(crate) fn slots(&self, index: u32) -> impl Iterator<Item = (ComponentId, &Slot)> {
        let values = &self.components[self.first_column()..];
        values.iter().zip(&self.columns).map(move |(&c, column)| (c, &column[index as usize]))
    }

    /// Adds an entity with its slots, parallel to the components other than Position.
    pub(crate) fn push(&mut self, row: RowId, slots: impl IntoIterator<Item = Slot>) -> u32 {
        let mut count = 0;
        for (column, slot) in self.columns.iter_mut().zip(slots) {
            column.push(slot);
            count += 1;
        }
        assert_eq!(count, self.columns.len(), "one slot per component");
        self.rows.push(row);
        (self.rows.len() - 1) as u32
    }

    /// Takes an entity out. Returns its slots, and the row that took its index.
    pub(crate) fn swap_remove(&mut self, index: u32) -> (Vec<Slot>, Option<RowId>) {
        let i = index as usize;
        let slots = self.columns.iter_mut().map(|column| column.swap_remove(i)).collect();
        self.rows.swap_remove(i);
        (slots, self.rows.get(i).copied())
    }
}

impl Tables {
    /// Only the empty set, which is [`SetId`] 0.
    pub(crate) fn new() -> Self {
        let mut tables = Self { tables: Vec::new(), ids: FxHashMap::default() };
        tables.intern(&[]);
        tables
    }

    /// The id of a set, given by rising component ids.
    pub(crate) fn intern(&mut self, components: &[ComponentId]) -> SetId {
        if let Some(&id) = self.ids.get(components) {
            return id;
        }
        let id = SetId(self.tables.len() as u32);
        let components: Arc<[ComponentId]> = components.into();
        self.ids.insert(components.clone(), id);
        let mut table = Table { components, columns: Vec::new(), rows: Vec::new() };
        table.columns.resize_with(table.components.len() - table.first_column(), Vec::new);
        self.tables.push(table);
        id
    }

    /// The id of the set with one component more.
    pub(crate) fn with(&mut self, set: SetId, component: ComponentId) -> SetId {
        let mut components = self.get(set).components.to_vec();
        match components.binary_search(&component) {
            Ok(_) => return set,
            Err(at) => components.insert(at, component),
        }
        self.intern(&components)
    }

    /// The id of the set with one component less.
    pub(crate) fn without(&mut self, set: SetId, component: ComponentId) -> SetId {
        let mut components = self.get(set).components.to_vec();
        components.retain(|&c| c != component);
        self.intern(&components)
    }

    pub(crate) fn get(&self, set: SetId) -> &Table {
        &self.tables[set.0 as usize]
    }

    pub(crate) fn get_mut(&mut self, set: SetId) -> &mut Table {
        &mut self.tables[set.0 as usize]
    }
}
