//! Telling one row: what a subscriber does not know of it.
//!
//! Responsible for: which parts a row matches, and what enters, leaves or is new with it. Not responsible for: which rows to
//! look at (`fill`, `increment`).

use spatialdb_types::{ComponentId, SessionId, SpaceId};

use super::DeltaBuilder;
use super::held::Held;
use super::lane::{Mask, NEVER, bits};
use super::stance::Stance;
use super::subscriber::{Aim, Subscriber};
use crate::message::{LeaveReason, Shape};
use crate::partition::{CellRow, PublishSeq, RowId, Store};

/// A row as a subscriber sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen<'a> {
    pub(super) row: &'a CellRow,
    /// Where it lies.
    pub(super) space: Option<SpaceId>,
    /// The parts that it matches.
    pub(super) mask: Mask,
    /// Its place among the rows in view; `None`: it is not in view.
    pub(super) place: Option<usize>,
}

impl Subscriber {
    /// Which of the parts a row of a space matches.
    pub(super) fn mask(&self, store: &Store, row: &CellRow, space: Option<SpaceId>, of: Mask) -> Mask {
        let (mut mask, mut open) = (0, 0);
        for bit in bits(of) {
            match self.areas[bit].contains(space, row.point) {
                Some(is_inside) => mask |= u64::from(is_inside) << bit,
                None => open |= 1 << bit,
            }
        }
        if open != 0 {
            mask |= store.with_cell_row(row, space, |subject| {
                let matches = |bit: &usize| self.parts[*bit].part().constraint.matches(subject);
                bits(open).filter(matches).fold(0, |mask, bit| mask | 1 << bit)
            });
        }
        mask
    }

    /// Looks at one row, and tells what the session does not know of it.
    pub(super) fn examine(&mut self, store: &Store, id: RowId, aim: &Aim, builder: &mut DeltaBuilder) {
        let row = store.row(id);
        let of = self.touched.parts_in(&store.grid, row.cell());
        let nodes = |bit: usize| self.parts[bit].part().constraint.nodes();
        builder.spend(bits(of).map(nodes).sum());
        let (in_cell, space) = (store.in_cell(row), store.grid.space(row.cell()));
        let mask = self.mask(store, in_cell, space, of);
        let seen = Seen { row: in_cell, space, mask, place: self.held.find(id) };
        self.tell(store, &seen, aim, builder);
    }

    /// Tells what the session does not know of a row.
    pub(super) fn tell(&mut self, store: &Store, seen: &Seen<'_>, aim: &Aim, builder: &mut DeltaBuilder) {
        let Seen { row, space, mask, place } = *seen;
        let is_due = |lanes: Mask| aim.recheck || lanes & aim.due != 0;
        if mask == 0 {
            let held = place.and_then(|place| self.held.get_at(place));
            let known = held.map(|held| self.stances.get(held.stance));
            if known.is_some_and(|known| known.is_none_or(|known| is_due(known.lanes))) {
                self.held.remove(row.id);
                builder.delta.left.push((row.entity, LeaveReason::OutOfView));
                builder.count_id();
            }
            return;
        }
        let stance = self.stances.intern(store, &self.parts, row.set, mask);
        let Some(wanted) = self.stances.get(stance) else { return };
        let session = self.session();
        let mut entry = place.and_then(|place| self.held.get_at(place));
        let held = entry.as_deref().copied();
        let known = held.map(|held| self.stances.get(held.stance));
        let is_same = held.is_some_and(|held| held.stance == stance);
        match known {
            // Not in view yet, or only in another partition.
            None | Some(None) if !is_due(wanted.lanes) => return,
            Some(Some(known)) if !is_due(known.lanes | wanted.lanes) => return,
            _ => {}
        }
        let known = known.flatten();
        let told_at = held.map_or(NEVER, |held| held.told_at);
        // In this very run.
        let told_now = if told_at >= aim.stamp { told_at } else { NEVER };
        if is_same && told_now != NEVER && told_now >= store.row(row.id).changed_at {
            return;
        }
        if !is_same && known.is_none_or(|known| known.wanted != wanted.wanted) {
            let shape = Shape { entity: row.entity, components: wanted.wanted.clone() };
            let delta = &mut builder.delta;
            match (held, known) {
                (None, _) => delta.entered.push(shape),
                (Some(_), None) => delta.arrived.push(shape),
                (Some(_), Some(_)) => delta.reshaped.push(shape),
            }
            if held.is_some_and(|held| held.overlaps) {
                delta.overlapping.push(row.entity);
            }
            // Who moved here has heard of all that happened here.
            if !held.is_some_and(|held| held.is_owed()) {
                self.events.note_gain(row.id, known.map(|known| &known.wanted));
            }
            builder.count_id();
        }
        let was_withheld = held.is_some_and(|held| held.withheld);
        let is_anew = held.is_some_and(|held| held.anew);
        let catches_up = is_anew || (was_withheld && wanted.wants_own);
        let mut withheld = was_withheld && known.is_some() && !catches_up;
        let mut tell = Telling { session, row, space, builder };
        for (&component, pair) in wanted.wanted.iter().zip(&wanted.pairs) {
            let told = |known: &Stance| known.told(component, &self.lanes, aim.due, told_now);
            let told = known.filter(|_| !catches_up).and_then(told);
            if is_same && !catches_up && aim.due & (1 << pair.lane) == 0 {
                continue;
            }
            let skips_own = known.is_some() && !pair.own;
            withheld |= tell.component(store, component, told, skips_own);
        }
        let now = Held { stance, told_at: store.publish(), withheld, anew: false, overlaps: false };
        match &mut entry {
            Some(held) => **held = now,
            None => self.held.insert(row.id, now),
        }
    }
}

/// Telling what is new of one row.
struct Telling<'a, 'b> {
    session: SessionId,
    row: &'a CellRow,
    space: Option<SpaceId>,
    builder: &'b mut DeltaBuilder,
}

impl Telling<'_, '_> {
    /// Tells a component that changed after `told` (`None`: it was not told). Returns whether it is withheld because the
    /// session wrote it itself, knowing what it wrote over.
    fn component(
        &mut self,
        store: &Store,
        component: ComponentId,
        told: Option<PublishSeq>,
        skips_own: bool,
    ) -> bool {
        let row = self.row;
        let since = told.unwrap_or(NEVER);
        let is_own = |writer: SessionId, foreign_at: PublishSeq| {
            skips_own && told.is_some() && writer == self.session && foreign_at <= since
        };
        if component == ComponentId::POSITION {
            let Some(space) = self.space.filter(|_| row.moved_at > since) else { return false };
            if is_own(row.mover, NEVER) {
                return true;
            }
            self.builder.position(row.entity, row.revision, space, row.point);
            return false;
        }
        let Some(slot) = store.slot(store.row(row.id), component) else { return false };
        if slot.changed_at <= since {
            return false;
        }
        if is_own(slot.writer, slot.foreign_at) {
            return true;
        }
        self.builder.value(component, row.entity, slot.revision, &slot.value);
        false
    }
}
