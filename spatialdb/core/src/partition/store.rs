//! The store: one row per entity, its position in the row, its other components in tables.
//!
//! Responsible for: keeping rows, tables and the cell index in step, revisions, and what changed since the last
//! publish. Not responsible for: what a client asked, or who sees it.

use spatialdb_types::{ComponentId, EntityId, Position, Revision, SessionId, SpaceId};

use super::capturing::Keeping;
use super::census::Census;
use super::changes::Changes;
use super::grid::{CellKey, CellRow, Grid, NO_CELL, NOWHERE};
use super::row_bits::RowBits;
use super::row_map::RowMap;
use super::table::{SetId, Slot, Table, Tables};
use crate::interest::{Constraint, Subject, Values};

/// Where an entity's row is. Reused after the entity is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RowId(pub(crate) u32);

/// The number of a publish of this partition; 0 is before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PublishSeq(pub(crate) u64);

/// What every entity has; where it is stands in its cell.
#[derive(Debug)]
#[repr(align(64))] // A line of the processor's cache.
pub(crate) struct Row {
    pub(crate) entity: EntityId,
    cell: u32,
    cell_place: u32,
    set: SetId,
    index: u32,
    /// The publish since which it is in its cell with its set of components.
    pub(crate) cell_since: PublishSeq,
    /// The publish since which it is here with its set of components.
    pub(super) here_since: PublishSeq,
    /// The latest `changed_at` of anything on the entity, its set of components included.
    pub(crate) changed_at: PublishSeq,
    /// It moved here and the old partition may still forward writes.
    pub(crate) arriving: bool,
    /// There may be more to say of who may write it than where it is.
    pub(super) apart: bool,
    /// Commits of it wait for the disk.
    pub(super) commits: bool,
}

/// The entities of a partition.
#[derive(Debug)]
pub(crate) struct Store {
    ids: RowMap,
    pub(super) rows: Vec<Row>,
    free: Vec<RowId>,
    pub(crate) tables: Tables,
    pub(crate) grid: Grid,
    clock: Revision,
    /// Changes made now carry this; the next publish publishes it.
    publish: PublishSeq,
    dirty: Vec<RowId>,
    pub(super) changes: Changes,
    last_change: PublishSeq,
    /// What `last_change` was at the last publish.
    published_change: PublishSeq,
    /// While somebody asks for densities.
    pub(crate) census: Option<Box<Census>>,
    /// Rows that have changed since they were written; if there is a log.
    pub(super) unswept: Option<Box<RowBits>>,
    /// While a capture is under way.
    pub(super) keeping: Option<Box<Keeping>>,
    /// What is written now carries this; `None`: a revision of its own.
    planned: Option<Revision>,
}

impl Row {
    /// Its cell, and its place there.
    pub(crate) const fn place(&self) -> (u32, u32) {
        (self.cell, self.cell_place)
    }

    /// The cell that it is in.
    pub(crate) const fn cell(&self) -> u32 {
        self.cell
    }

    /// Whether it has a position.
    pub(crate) const fn is_placed(&self) -> bool {
        self.cell != NOWHERE
    }

    pub(crate) const fn set(&self) -> SetId {
        self.set
    }
}

impl Store {
    pub(crate) fn new(cell_m: f64) -> Self {
        Self {
            ids: RowMap::default(),
            rows: Vec::new(),
            free: Vec::new(),
            tables: Tables::new(),
            grid: Grid::new(cell_m),
            clock: Revision(0),
            publish: PublishSeq(1),
            dirty: Vec::new(),
            changes: Changes::default(),
            last_change: PublishSeq(0),
            published_change: PublishSeq(0),
            census: None,
            unswept: None,
            keeping: None,
            planned: None,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len() - self.free.len()
    }

    pub(crate) fn reserve(&mut self, entities: usize) {
        self.rows.reserve_exact(entities);
    }

    /// Rows, free ones included.
    pub(crate) fn row_count(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn find(&self, entity: EntityId) -> Option<RowId> {
        self.ids.get(entity)
    }

    pub(crate) fn row(&self, id: RowId) -> &Row {
        &self.rows[id.0 as usize]
    }

    /// The row as its cell knows it.
    pub(crate) fn in_cell(&self, row: &Row) -> &CellRow {
        self.grid.row(row.cell, row.cell_place)
    }

    /// Where an entity is.
    pub(crate) fn position(&self, row: &Row) -> Option<Position> {
        let space = self.grid.space(row.cell)?;
        Some(Position { space, point: self.in_cell(row).point })
    }

    /// The row, unless it is free.
    pub(crate) fn live_row(&self, id: RowId) -> Option<&Row> {
        self.rows.get(id.0 as usize).filter(|row| row.entity.0 != 0)
    }

    pub(crate) fn set_arriving(&mut self, id: RowId, arriving: bool) {
        self.rows[id.0 as usize].arriving = arriving;
    }

    pub(super) fn set_commits(&mut self, id: RowId, commits: bool) {
        self.rows[id.0 as usize].commits = commits;
    }

    pub(super) fn set_apart(&mut self, id: RowId, apart: bool) {
        self.rows[id.0 as usize].apart = apart;
    }

    pub(crate) fn table_of(&self, row: &Row) -> &Table {
        self.tables.get(row.set)
    }

    pub(crate) fn slots(&self, row: &Row) -> impl Iterator<Item = (ComponentId, &Slot)> {
        self.table_of(row).slots(row.index)
    }

    /// The components that the entity has, by rising id.
    pub(crate) fn components(&self, row: &Row) -> &[ComponentId] {
        &self.table_of(row).components
    }

    /// Whether the entity meets the constraint.
    pub(crate) fn matches(&self, row: &Row, constraint: &Constraint) -> bool {
        self.with_subject(row, |subject| constraint.matches(subject))
    }

    /// Asks something of the entity.
    pub(crate) fn with_subject<T>(&self, row: &Row, ask: impl FnOnce(&Subject<'_>) -> T) -> T {
        self.with_cell_row(self.in_cell(row), self.grid.space(row.cell), ask)
    }

    /// The same of an entity in a cell of a space. Its row is not looked at unless a value is asked for.
    pub(crate) fn with_cell_row<T>(
        &self,
        row: &CellRow,
        space: Option<SpaceId>,
        ask: impl FnOnce(&Subject<'_>) -> T,
    ) -> T {
        let table = self.tables.get(row.set);
        let position = space.map(|space| Position { space, point: row.point });
        let values = RowValues { store: self, table, id: row.id };
        ask(&Subject { entity: row.entity, position, components: &table.components, values: &values })
    }

    /// The revision counter: every revision given so far is at most this.
    pub(crate) const fn clock(&self) -> Revision {
        self.clock
    }

    /// Makes the counter rise above another partition's.
    pub(crate) fn raise_clock(&mut self, other: Revision) {
        self.clock = Revision(self.clock.0.max(other.0) + 1);
    }

    /// The publish that will show the changes made now.
    pub(crate) const fn publish(&self) -> PublishSeq {
        self.publish
    }

    /// The last publish that has or will have something to show.
    pub(crate) const fn last_change(&self) -> PublishSeq {
        self.last_change
    }

    /// Who has been told all as of this publish lacks only what is in [`Store::dirty`].
    pub(crate) const fn published_change(&self) -> PublishSeq {
        self.published_change
    }

    /// The rows that changed since the last publish; some may be free by now.
    pub(crate) fn dirty(&self) -> &[RowId] {
        &self.dirty
    }

    /// Changes made from now on belong to the next publish.
    pub(crate) fn finish_publish(&mut self) {
        self.publish.0 += 1;
        self.published_change = self.last_change;
        self.dirty.clear();
        self.changes.clear();
        self.grid.finish_publish();
    }

    /// Makes an entity, with slots parallel to the values of the set, at a position that `writer` gives it if the set has
    /// one. The id must be unused here.
    pub(crate) fn insert(
        &mut self,
        entity: EntityId,
        set: SetId,
        slots: impl IntoIterator<Item = Slot>,
        at: Option<(Position, SessionId)>,
    ) -> RowId {
        let id = self.free.pop().unwrap_or(RowId(self.rows.len() as u32));
        if let Some(keeping) = &mut self.keeping {
            keeping.note_inserted(id);
        }
        // A row that was freed since the last publish is among the changed ones already.
        let changed_at = self.rows.get(id.0 as usize).map_or(PublishSeq(0), |free| free.changed_at);
        let index = self.tables.get_mut(set).push(id, slots);
        let row = Row {
            entity,
            cell: NO_CELL,
            cell_place: 0,
            set,
            index,
            cell_since: self.publish,
            here_since: self.publish,
            changed_at,
            arriving: false,
            apart: false,
            commits: false,
        };
        match self.rows.get_mut(id.0 as usize) {
            Some(free) => *free = row,
            None => self.rows.push(row),
        }
        let before = self.ids.insert(entity, id);
        assert!(before.is_none(), "entity {entity} is inserted twice");
        match at {
            Some((at, writer)) => {
                self.move_to(id, at, writer);
            }
            None => self.enter_nowhere(id),
        }
        self.note_dirty(id);
        id
    }

    /// Takes an entity out with its slots, parallel to the values of its set.
    pub(crate) fn remove(&mut self, id: RowId) -> (Row, Vec<Slot>) {
        self.keep(id);
        self.leave_cell(id);
        let (set, index) = (self.row(id).set, self.row(id).index);
        let slots = self.leave_table(set, index);
        let gone = Row { entity: EntityId(0), ..*self.row(id) };
        let row = std::mem::replace(&mut self.rows[id.0 as usize], gone);
        self.ids.remove(row.entity);
        self.free.push(id);
        (row, slots)
    }

    /// A slot whose value is written now.
    pub(crate) fn new_slot(&mut self, value: &[u8], writer: SessionId) -> Slot {
        let foreign_at = PublishSeq(0);
        Slot { revision: self.stamp(), changed_at: self.publish, value: value.into(), writer, foreign_at }
    }

    /// Moves an entity that has a position. Returns whether it is in another cell now.
    pub(crate) fn move_to(&mut self, id: RowId, at: Position, writer: SessionId) -> bool {
        self.keep(id);
        let revision = self.stamp();
        let publish = self.publish;
        let key = self.grid.key(at.space, at.point.x, at.point.y);
        let (cell, place) = self.row(id).place();
        let within = if cell == NO_CELL { None } else { self.grid.change_at(key, cell, place, publish) };
        let crossed = within.is_none();
        if let Some(within) = within {
            (within.point, within.revision) = (at.point, revision);
            (within.moved_at, within.mover) = (publish, writer);
        } else {
            if cell != NO_CELL {
                self.grid.note_departure(cell, id, publish);
                self.leave_cell(id);
            }
            let moved =
                CellRow { point: at.point, revision, moved_at: publish, mover: writer, ..CellRow::NOBODY };
            self.enter_cell(id, Some(key), moved);
        }
        self.note_dirty(id);
        crossed
    }

    /// Gives a position the revision that it had elsewhere.
    pub(crate) fn set_position_revision(&mut self, id: RowId, revision: Revision) {
        let (cell, place) = (self.row(id).cell, self.row(id).cell_place);
        self.grid.row_mut(cell, place).revision = revision;
    }

    /// Gives an entity a component it lacks; its slot is given for every component but Position.
    pub(crate) fn add_component(&mut self, id: RowId, component: ComponentId, slot: Option<Slot>) {
        self.keep(id);
        let (set, index) = (self.row(id).set, self.row(id).index);
        let mut slots = self.leave_table(set, index);
        let wider = self.tables.with(set, component);
        if let Some(slot) = slot {
            let at = self.tables.get(wider).column(component).expect("just added");
            slots.insert(at, slot);
        }
        self.enter_table(id, wider, slots);
        self.note_value(id, component);
    }

    /// Takes a component that the entity has.
    pub(crate) fn remove_component(&mut self, id: RowId, component: ComponentId) {
        self.keep(id);
        let (set, index) = (self.row(id).set, self.row(id).index);
        let column = self.tables.get(set).column(component);
        let mut slots = self.leave_table(set, index);
        if component == ComponentId::POSITION {
            self.grid.note_departure(self.row(id).cell, id, self.publish);
            self.leave_cell(id);
            self.enter_nowhere(id);
        } else {
            slots.remove(column.expect("the entity has it"));
        }
        let narrower = self.tables.without(set, component);
        self.enter_table(id, narrower, slots);
        self.note_value(id, component);
    }

    /// The value of a component, if the entity has it.
    pub(crate) fn value(&self, id: RowId, component: ComponentId) -> Option<&[u8]> {
        Some(&self.slot(self.row(id), component)?.value)
    }

    /// The slot of a component, if the entity has it.
    pub(crate) fn slot(&self, row: &Row, component: ComponentId) -> Option<&Slot> {
        let table = self.table_of(row);
        Some(table.slot(table.column(component)?, row.index))
    }

    /// The slot of a component, if the entity has it, marked as written now by `writer`.
    pub(crate) fn write_slot(
        &mut self,
        id: RowId,
        component: ComponentId,
        writer: SessionId,
    ) -> Option<&mut Slot> {
        self.keep(id);
        let (set, index) = (self.row(id).set, self.row(id).index);
        let column = self.tables.get(set).column(component)?;
        let revision = self.stamp();
        self.touch(id);
        self.note_value(id, component);
        let slot = self.tables.get_mut(set).slot_mut(column, index);
        slot.revision = revision;
        if slot.writer != writer {
            slot.foreign_at = slot.changed_at;
        }
        slot.changed_at = self.publish;
        slot.writer = writer;
        Some(slot)
    }

    /// The next revision.
    pub(crate) const fn tick(&mut self) -> Revision {
        self.clock.0 += 1;
        self.clock
    }

    /// What is written from now on carries that revision, or one of its own.
    pub(super) const fn plan_revision(&mut self, revision: Option<Revision>) {
        self.planned = revision;
    }

    /// The revision of what is written now.
    const fn stamp(&mut self) -> Revision {
        // Whatever the revision, the counter tells what came when.
        let now = self.tick();
        match self.planned {
            Some(revision) => revision,
            None => now,
        }
    }

    /// Whether the session was the last to write anything of the entity.
    pub(crate) fn has_last_word(&self, id: RowId, session: SessionId) -> bool {
        let row = self.row(id);
        self.in_cell(row).mover == session || self.slots(row).any(|(_, slot)| slot.writer == session)
    }

    /// Something on the entity changed.
    pub(crate) fn touch(&mut self, id: RowId) {
        let (cell, place) = self.row(id).place();
        self.grid.change(cell, place, self.publish);
        self.note_dirty(id);
    }

    /// The same, if its cell knows.
    fn note_dirty(&mut self, id: RowId) {
        if let Some(unswept) = &mut self.unswept {
            unswept.note(id);
        }
        let row = &mut self.rows[id.0 as usize];
        if row.changed_at < self.publish {
            row.changed_at = self.publish;
            self.last_change = self.publish;
            self.dirty.push(id);
        }
    }

    fn enter_nowhere(&mut self, id: RowId) {
        self.enter_cell(id, None, CellRow::NOBODY);
    }

    /// `moved` says where it is.
    fn enter_cell(&mut self, id: RowId, key: Option<CellKey>, moved: CellRow) {
        let row = &mut self.rows[id.0 as usize];
        let within = CellRow { entity: row.entity, id, set: row.set, ..moved };
        (row.cell, row.cell_place) = self.grid.insert(key, within, self.publish);
        row.cell_since = self.publish;
        self.note_place(id);
    }

    fn leave_cell(&mut self, id: RowId) {
        self.note_place(id);
        let row = &mut self.rows[id.0 as usize];
        let (cell, place) = (std::mem::replace(&mut row.cell, NO_CELL), row.cell_place);
        if let (_, Some(other)) = self.grid.remove(cell, place, self.publish) {
            self.rows[other.0 as usize].cell_place = place;
        }
    }

    /// For the census: it is, or will be, in another cell.
    fn note_place(&mut self, id: RowId) {
        if let Some(census) = &mut self.census {
            census.note(id);
        }
    }

    fn note_value(&mut self, id: RowId, component: ComponentId) {
        if let Some(census) = &mut self.census {
            census.note_value(id, component);
        }
    }

    fn leave_table(&mut self, set: SetId, index: u32) -> Vec<Slot> {
        let (slots, other) = self.tables.get_mut(set).swap_remove(index);
        if let Some(other) = other {
            self.rows[other.0 as usize].index = index;
        }
        slots
    }

    fn enter_table(&mut self, id: RowId, set: SetId, slots: Vec<Slot>) {
        let index = self.tables.get_mut(set).push(id, slots);
        let row = &mut self.rows[id.0 as usize];
        (row.set, row.index) = (set, index);
        self.grid.change(row.cell, row.cell_place, self.publish).set = set;
        (row.cell_since, row.here_since) = (self.publish, self.publish);
        self.touch(id);
    }
}

/// The values of one row.
struct RowValues<'a> {
    store: &'a Store,
    table: &'a Table,
    id: RowId,
}

impl Values for RowValues<'_> {
    fn value(&self, component: ComponentId) -> Option<&[u8]> {
        let column = self.table.column(component)?;
        Some(&self.table.slot(column, self.store.row(self.id).index).value)
    }
}
