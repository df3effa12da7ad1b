//! Applying a batch: column by column, row by row, in order.
//!
//! A row whose entity has moved away is forwarded; one whose entity is still arriving waits; one that cannot be
//! applied is refused alone.

mod run;

use std::ops::Range;

use spatialdb_types::{ComponentId, EntityId, PartitionId, Position, Reason, SessionId};

pub(super) use self::run::{Onward, Run};
use super::authority::{Kind, Standing};
use super::{Partition, PublishSeq, RowId, Slot, Store};
use crate::authority::leases::Refusal;
use crate::columns::{
    Batch, CreateRows, HoldAct, HoldWrites, Op, PositionWrites, Removes, ValueWrites, WriteMode,
};
use crate::events::{Event, EventWrites};
use crate::message::Outbox;
use crate::wire;

/// How many rows of a column are found before the first is written: what they touch stays in the processor's cache.
const AT_ONCE: usize = 128;

/// How a batch came here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// From a session: rows of arriving entities wait for what the old partition still forwards.
    Edge,
    /// Forwarded by the partition that the entities came from.
    Peer,
    /// A commit that is on disk: it was accepted before.
    Disk,
}

/// Where the entity of a row is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    Here(RowId),
    /// Here; what the batch says of it has to be on disk first.
    Commits(RowId),
    /// The row has to wait.
    Arriving,
    Departed(PartitionId),
    Nowhere,
}

impl Partition {
    /// Applies what one client message asks of this partition.
    pub fn apply(&mut self, batch: &Batch, outbox: &mut Outbox) {
        self.apply_from(batch, Source::Edge, outbox);
    }

    pub(super) fn apply_from(&mut self, batch: &Batch, source: Source, outbox: &mut Outbox) {
        let mut run = Run::new(batch, source, self);
        if let Some(authority) = &mut self.authority {
            authority.begin_batch(&self.store, batch.writer(), source);
        }
        for op in &batch.ops {
            match op {
                Op::Create(create) => self.create(create, &mut run),
                Op::Positions(column) => self.write_positions(column, &mut run),
                Op::Values(column) => {
                    self.write_values(column, &mut run);
                    if let Some(authority) = &mut self.authority {
                        authority.note_values(column.component, &column.entities);
                    }
                }
                Op::Remove(column) => self.remove(column, &mut run),
                Op::Events(column) => self.write_events(column, &mut run),
                Op::Holds(column) => self.write_holds(column, &mut run),
            }
            self.interests.note(op);
        }
        if let Some(authority) = &mut self.authority {
            authority.end_batch();
        }
        self.accept_commit(&mut run);
        self.end_run(batch, &mut run);
        self.lead(outbox);
        self.tell_interests(outbox);
        if let Some(authority) = &mut self.authority {
            outbox.authority.extend(authority.first_writes());
        }
        self.after_apply(run, outbox);
    }

    /// Keeps what was decided for whoever wrote it.
    pub(super) fn end_run(&mut self, batch: &Batch, run: &mut Run) {
        self.refusals = run.refusals.take();
        self.updates_applied += u64::from(run.decided);
        self.note_decided(batch, run.decided);
        if !run.outcome.is_empty() {
            let outcome = std::mem::take(&mut run.outcome);
            let max = self.limits.rejections_per_frame_max;
            self.outcomes.entry(batch.session).or_default().merge(outcome, max);
        }
    }

    fn locate(&self, entity: EntityId, run: &Run) -> Place {
        let Some(id) = self.store.find(entity) else {
            if self.commits.coming(entity).is_some() {
                return Place::Arriving;
            }
            return self.departed.get(&entity).map_or(Place::Nowhere, |&to| Place::Departed(to));
        };
        let row = self.store.row(id);
        match run.source {
            Source::Disk => Place::Here(id),
            Source::Edge if row.arriving => Place::Arriving,
            _ if row.commits => match self.commits.coming(entity) {
                Some(coming) if coming.is_closed => Place::Arriving,
                // By an earlier row of this message.
                Some(coming) if coming.is_deleted => Place::Nowhere,
                _ => Place::Commits(id),
            },
            _ if run.commits(entity) => Place::Commits(id),
            _ => Place::Here(id),
        }
    }

    /// Where the entities of a column are. Looked up ahead of applying it: these loads are independent of each other,
    /// so that the processor waits for many at once.
    fn locate_all(&mut self, entities: &[EntityId], run: &Run) -> Vec<Place> {
        let mut places = std::mem::take(&mut self.places);
        places.clear();
        places.extend(entities.iter().map(|&entity| self.locate(entity, run)));
        places
    }

    /// Brings what cells know of the rows into the processor's cache, for the same reason.
    fn fetch_cells(&self, places: &[Place]) {
        let revision = |place: &Place| match place {
            Place::Here(id) => self.store.in_cell(self.store.row(*id)).revision.0,
            _ => 0,
        };
        std::hint::black_box(places.iter().map(revision).fold(0, u64::wrapping_add));
        if let Some(authority) = &self.authority {
            let here =
                places.iter().filter_map(|place| if let Place::Here(id) = place { Some(*id) } else { None });
            authority.fetch(&self.store, here);
        }
    }

    fn create(&mut self, create: &CreateRows, run: &mut Run) {
        if self.commit_creation(create, run) {
            return;
        }
        let authority = &mut self.authority;
        create_each(&mut self.store, create, run.session, |store, index, entity, created| {
            run.decided += 1;
            match (created, &mut *authority) {
                (None, _) => run.reject(0, create.rows[index], entity, ComponentId(0), Reason::EntityExists),
                (Some(id), Some(authority)) => authority.created(store, id),
                (Some(_), None) => {}
            }
        });
    }

    fn write_positions(&mut self, column: &PositionWrites, run: &mut Run) {
        let mut park = PositionWrites::new(column.column, column.mode, column.space);
        for start in (0..column.entities.len()).step_by(AT_ONCE) {
            let end = column.entities.len().min(start + AT_ONCE);
            self.write_some_positions(column, start..end, &mut park, run);
        }
        if !park.rows.is_empty() {
            run.park.ops.push(Op::Positions(park));
        }
    }

    fn write_some_positions(
        &mut self,
        column: &PositionWrites,
        range: Range<usize>,
        park: &mut PositionWrites,
        run: &mut Run,
    ) {
        let places = self.locate_all(&column.entities[range.clone()], run);
        self.fetch_cells(&places);
        for (i, &place) in range.zip(&places) {
            let (row, entity) = (column.rows[i], column.entities[i]);
            match place {
                Place::Here(id) => {
                    run.decided += 1;
                    let kind = match self.check_move(id, run) {
                        Ok(kind) => kind,
                        Err(why) => {
                            run.refuse(column.column, row, entity, ComponentId::POSITION, &why);
                            continue;
                        }
                    };
                    let at = Position { space: column.space, point: column.point(i) };
                    match self.write_position(id, at, column.mode, run.session, kind) {
                        Some(false) => {}
                        Some(true) => run.crossed.push(entity),
                        None => run.reject(
                            column.column,
                            row,
                            entity,
                            ComponentId::POSITION,
                            Reason::ComponentNotFound,
                        ),
                    }
                }
                Place::Commits(id) => {
                    let at = Position { space: column.space, point: column.point(i) };
                    let kind = self.check_move(id, run).map(drop);
                    let accepted = kind.map(|()| self.commit_position(id, at, column.mode, run));
                    if run.accepts(column.column, row, entity, ComponentId::POSITION, accepted) {
                        run.forward_position(Onward::Disk, column, i);
                    }
                }
                Place::Arriving => park.push(row, entity, column.point(i)),
                Place::Departed(to) => run.forward_position(Onward::Peer(to), column, i),
                Place::Nowhere => run.not_found(column.column, row, entity, ComponentId::POSITION),
            }
        }
        self.places = places;
    }

    /// `kind`: see [`Partition::check_move`]. Returns whether the entity is in another cell now, `None`
    /// if it has no position to update.
    fn write_position(
        &mut self,
        id: RowId,
        at: Position,
        mode: WriteMode,
        writer: SessionId,
        kind: Option<Kind>,
    ) -> Option<bool> {
        if !self.store.row(id).is_placed() {
            if mode == WriteMode::Update {
                return None;
            }
            let before = self.standing(id, None);
            self.store.add_component(id, ComponentId::POSITION, None);
            let crossed = self.store.move_to(id, at, writer);
            self.note_changed(id, before);
            return Some(crossed);
        }
        let before = self.standing(id, kind);
        let crossed = self.store.move_to(id, at, writer);
        if kind.is_none() || crossed {
            self.note_moved(id, before, kind);
        }
        Some(crossed)
    }

    /// Whether the batch that is being applied may write a component of an entity.
    ///
    /// # Errors
    /// Why not.
    fn check(&mut self, id: RowId, component: ComponentId, run: &Run) -> Result<(), Refusal> {
        let Some(authority) = run.is_checked(&mut self.authority) else { return Ok(()) };
        authority.check(&self.store, id, component, &run.writer, run.role)
    }

    /// Whether it may move an entity. Returns of which kind its cell is, if a move to another one of that kind changes no more
    /// than that.
    ///
    /// # Errors
    /// Why not.
    fn check_move(&mut self, id: RowId, run: &Run) -> Result<Option<Kind>, Refusal> {
        let Some(authority) = run.is_checked(&mut self.authority) else { return Ok(None) };
        authority.check_move(&self.store, id, &run.writer, run.role)
    }

    /// Whether it may delete an entity.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn check_delete(&mut self, id: RowId, run: &Run) -> Result<(), Refusal> {
        let Some(authority) = run.is_checked(&mut self.authority) else { return Ok(()) };
        authority.check_delete(&self.store, id, &run.writer, run.role)
    }

    /// What decides who may write an entity, unless anybody may; `kind`: see [`Partition::check_move`].
    fn standing(&self, id: RowId, kind: Option<Kind>) -> Option<Standing> {
        self.authority.as_ref().map(|_| Standing::of(&self.store, id, kind))
    }

    fn note_moved(&mut self, id: RowId, before: Option<Standing>, kind: Option<Kind>) {
        if let (Some(authority), Some(before)) = (&mut self.authority, before)
            && !kind.is_some_and(|kind| authority.walked(&mut self.store, id, before.cell(), kind))
        {
            authority.changed(&mut self.store, id, before);
        }
    }

    fn note_changed(&mut self, id: RowId, before: Option<Standing>) {
        if let (Some(authority), Some(before)) = (&mut self.authority, before) {
            authority.changed(&mut self.store, id, before);
        }
    }

    /// An entity may be another player's now.
    fn note_player(&mut self, id: RowId) {
        if let Some(authority) = &mut self.authority {
            authority.note_player(&mut self.store, id);
        }
    }

    fn write_values(&mut self, column: &ValueWrites, run: &mut Run) {
        let cleared = column.cleared.clone();
        let mut park = ValueWrites::new(column.column, column.mode, column.component, cleared);
        let places = self.locate_all(&column.entities, run);
        for (i, (&entity, &place)) in column.entities.iter().zip(&places).enumerate() {
            let row = column.rows[i];
            match place {
                Place::Here(id) => {
                    run.decided += 1;
                    if let Err(why) = self.check(id, column.component, run) {
                        run.refuse(column.column, row, entity, column.component, &why);
                    } else if let Err(reason) = self.write_value(id, column, i, run) {
                        run.reject(column.column, row, entity, column.component, reason);
                    } else if column.component == ComponentId::PLAYER_OWNER {
                        self.note_player(id);
                    }
                }
                Place::Commits(id) => {
                    let checked = self.check(id, column.component, run);
                    let accepted = checked.map(|()| self.commit_value(id, column, i, run));
                    if run.accepts(column.column, row, entity, column.component, accepted) {
                        run.forward_value(Onward::Disk, column, i);
                    }
                }
                Place::Arriving => park.push(row, entity, column.value(i)),
                Place::Departed(to) => run.forward_value(Onward::Peer(to), column, i),
                Place::Nowhere => run.not_found(column.column, row, entity, column.component),
            }
        }
        self.places = places;
        if !park.rows.is_empty() {
            run.park.ops.push(Op::Values(park));
        }
    }

    /// # Errors
    /// Why the row is refused; nothing has changed then.
    fn write_value(
        &mut self,
        id: RowId,
        column: &ValueWrites,
        i: usize,
        run: &mut Run,
    ) -> Result<(), Reason> {
        let component = column.component;
        let Some(old) = self.store.value(id, component) else {
            if column.mode == WriteMode::Update {
                return Err(Reason::ComponentNotFound);
            }
            let slot = self.store.new_slot(column.value(i), run.session);
            let before = self.standing(id, None);
            self.store.add_component(id, component, Some(slot));
            self.note_changed(id, before);
            return Ok(());
        };
        let new = match &column.cleared {
            None => column.value(i),
            Some(cleared) => {
                run.scratch.clear();
                wire::replace_fields(old, cleared, column.value(i), &mut run.scratch);
                // The payload alone was checked at the edge; what remains of the old value may make it too large.
                if run.scratch.len() as u64 > self.limits.value_bytes_max {
                    return Err(Reason::ValueTooLarge);
                }
                &run.scratch
            }
        };
        if let Some(slot) = self.store.write_slot(id, component, run.session) {
            slot.set(new);
            if column.cleared.is_none() {
                // Who wrote the whole value knows it, whatever was there before.
                slot.foreign_at = PublishSeq(0);
            }
        }
        Ok(())
    }

    fn write_events(&mut self, column: &EventWrites, run: &mut Run) {
        let component = column.kind.component;
        let mut park = EventWrites::new(column.column, column.kind);
        let places = self.locate_all(&column.entities, run);
        for (i, (&entity, &place)) in column.entities.iter().zip(&places).enumerate() {
            let row = column.rows[i];
            match place {
                Place::Here(id) => {
                    run.decided += 1;
                    if let Err(why) = self.check(id, component, run) {
                        run.refuse(column.column, row, entity, component, &why);
                        continue;
                    }
                    let has = self.store.components(self.store.row(id)).binary_search(&component).is_ok();
                    if !has {
                        run.reject(column.column, row, entity, component, Reason::ComponentNotFound);
                        continue;
                    }
                    let (revision, payload) = (self.store.tick(), column.payload(i).into());
                    let (kind, writer) = (column.kind, run.session);
                    self.note_event(id, Event { entity, kind, writer, revision, payload });
                }
                Place::Commits(id) => {
                    let accepted =
                        self.check(id, component, run).map(|()| self.commit_event(id, component, run));
                    if run.accepts(column.column, row, entity, component, accepted) {
                        run.forward_event(Onward::Disk, column, i);
                    }
                }
                Place::Arriving => park.push(row, entity, column.payload(i)),
                Place::Departed(to) => run.forward_event(Onward::Peer(to), column, i),
                Place::Nowhere => run.not_found(column.column, row, entity, component),
            }
        }
        self.places = places;
        if !park.rows.is_empty() {
            run.park.ops.push(Op::Events(park));
        }
    }

    fn write_holds(&mut self, column: &HoldWrites, run: &mut Run) {
        let mut park = HoldWrites::new(column.column);
        for (i, &entity) in column.entities.iter().enumerate() {
            let (row, (component, act)) = (column.rows[i], column.acts[i]);
            match (self.locate(entity, run), act) {
                (Place::Here(id) | Place::Commits(id), _) => {
                    run.decided += 1;
                    let Some(authority) = &mut self.authority else { continue };
                    if let Err(why) = authority.hold(&mut self.store, id, component, act) {
                        run.refuse(column.column, row, entity, component, &why);
                    }
                }
                (Place::Arriving, _) => park.push(row, entity, component, act),
                (Place::Departed(to), _) => run.forward_hold(Onward::Peer(to), column, i),
                (Place::Nowhere, HoldAct::Take(_)) => run.not_found(column.column, row, entity, component),
                // It went with its entity.
                (Place::Nowhere, HoldAct::Release(_)) => run.decided += 1,
            }
        }
        if !park.rows.is_empty() {
            run.park.ops.push(Op::Holds(park));
        }
    }

    fn remove(&mut self, column: &Removes, run: &mut Run) {
        let component = column.component.unwrap_or_default();
        let mut park = Removes::new(column.column, column.component);
        for (i, &entity) in column.entities.iter().enumerate() {
            let row = column.rows[i];
            match self.locate(entity, run) {
                Place::Here(id)
                    if column.component.is_none() && run.source != Source::Disk && self.has_durable(id) =>
                {
                    self.commit_removal_of(id, column, i, run);
                }
                Place::Commits(id) => self.commit_removal_of(id, column, i, run),
                Place::Here(id) => {
                    run.decided += 1;
                    self.remove_one(id, column, i, run);
                }
                Place::Arriving => park.push(row, entity),
                Place::Departed(to) => run.forward_remove(Onward::Peer(to), column, i),
                Place::Nowhere => run.not_found(column.column, row, entity, component),
            }
        }
        if !park.rows.is_empty() {
            run.park.ops.push(Op::Remove(park));
        }
    }

    fn commit_removal_of(&mut self, id: RowId, column: &Removes, i: usize, run: &mut Run) {
        let accepted = match column.component {
            None => self.check_delete(id, run).map(|()| self.commit_deletion(id, run)),
            Some(component) => {
                self.check(id, component, run).map(|()| self.commit_removal(id, component, run))
            }
        };
        let component = column.component.unwrap_or_default();
        if run.accepts(column.column, column.rows[i], column.entities[i], component, accepted) {
            run.forward_remove(Onward::Disk, column, i);
        }
    }

    fn remove_one(&mut self, id: RowId, column: &Removes, i: usize, run: &mut Run) {
        let entity = column.entities[i];
        match column.component {
            None => {
                if let Err(why) = self.check_delete(id, run) {
                    return run.refuse(column.column, column.rows[i], entity, ComponentId(0), &why);
                }
                if let Some(authority) = &mut self.authority {
                    authority.leaves(&self.store, id, true);
                }
                self.queue_events();
                self.forget_everywhere(id, entity);
                self.store.remove(id);
                if run.source != Source::Disk {
                    self.log_deleted(entity);
                }
                run.deleted.push(entity);
            }
            Some(component) => {
                if let Err(why) = self.check(id, component, run) {
                    return run.refuse(column.column, column.rows[i], entity, component, &why);
                }
                let has = self.store.components(self.store.row(id)).binary_search(&component).is_ok();
                if !has {
                    run.reject(column.column, column.rows[i], entity, component, Reason::ComponentNotFound);
                    return;
                }
                let before = self.standing(id, None);
                self.store.remove_component(id, component);
                self.note_changed(id, before);
                if component == ComponentId::POSITION {
                    run.crossed.push(entity);
                }
            }
        }
    }
}

/// Makes the entities of `create` one by one, telling for each index its row, unless it is there already.
pub(super) fn create_each(
    store: &mut Store,
    create: &CreateRows,
    writer: SessionId,
    mut each: impl FnMut(&Store, usize, EntityId, Option<RowId>),
) {
    let places = places_of(create);
    let (starts, values) = values_of(create);
    let mut components = Vec::new();
    for (index, &entity) in create.entities.iter().enumerate() {
        if store.find(entity).is_some() {
            each(store, index, entity, None);
            continue;
        }
        let own = &values[starts[index] as usize..starts[index + 1] as usize];
        components.clear();
        components.extend(places[index].map(|_| ComponentId::POSITION));
        components.extend(own.iter().map(|&(column, _)| create.columns[column as usize].component));
        let set = store.tables.intern(&components);
        let slots: Vec<Slot> = own
            .iter()
            .map(|&(column, i)| store.new_slot(create.columns[column as usize].value(i as usize), writer))
            .collect();
        let at = places[index].map(|place| (create.positions.positions[place as usize], writer));
        let id = store.insert(entity, set, slots, at);
        each(store, index, entity, Some(id));
    }
}

/// For each entity, the index of its position.
fn places_of(create: &CreateRows) -> Vec<Option<u32>> {
    let mut places = vec![None; create.entities.len()];
    for (i, &index) in create.positions.index.iter().enumerate() {
        places[index as usize] = Some(i as u32);
    }
    places
}

/// For each entity, its values as (column, index in column) by rising component, the last one where a component is
/// given twice. Entity `e` has `values[starts[e]..starts[e + 1]]`.
fn values_of(create: &CreateRows) -> (Vec<u32>, Vec<(u32, u32)>) {
    let mut order: Vec<u32> = (0..create.columns.len() as u32).collect();
    order.sort_by_key(|&c| create.columns[c as usize].component);
    let mut all: Vec<(u32, u32, u32)> =
        Vec::with_capacity(create.columns.iter().map(|c| c.index.len()).sum());
    for &column in &order {
        let rows = create.columns[column as usize].index.iter().enumerate();
        all.extend(rows.map(|(i, &entity)| (entity, column, i as u32)));
    }
    // Stable: within an entity the order of components stays, and of equal components the last comes last.
    all.sort_by_key(|&(entity, ..)| entity);
    let mut starts = vec![0; create.entities.len() + 1];
    let mut values: Vec<(u32, u32)> = Vec::with_capacity(all.len());
    let mut previous = None;
    for (entity, column, i) in all {
        let component = create.columns[column as usize].component;
        if previous == Some((entity, component)) {
            values.pop();
            starts[entity as usize + 1] -= 1;
        }
        previous = Some((entity, component));
        values.push((column, i));
        starts[entity as usize + 1] += 1;
    }
    for e in 0..create.entities.len() {
        starts[e + 1] += starts[e];
    }
    (starts, values)
}
