//! Making one sequence of what several partitions say.

use std::sync::Arc;

use rustc_hash::FxHashSet;
use spatialdb_types::{ComponentId, EntityId, PartitionId, Revision, ViewId};

use super::sums::Sums;
use super::{FrameBody, HeldEntity, Session, ToPartition, ViewState, is_given};
use crate::interest::View;
use crate::message::{Delta, DensityDelta, Filled, LeaveReason, Shape};

impl Session {
    /// What a delta changes in what the session has been shown.
    pub(super) fn merge(&mut self, from: PartitionId, delta: Delta) -> FrameBody {
        let mut body = FrameBody { more: delta.more, deltas: 1, ..FrameBody::default() };
        self.tombstones.hear(from, delta.clock);
        self.authority.lost().hear(from, delta.clock);
        let mut doubt = self.partitions[usize::from(from.0)].overtaken.at(delta.clock);
        let were_seen: Vec<bool> = delta.events.iter().map(|event| self.sees(event)).collect();
        for entity in delta.overlapping {
            self.overlap(from, delta.clock, entity);
        }
        for shape in delta.entered.into_iter().chain(delta.arrived) {
            let entity = shape.entity;
            if let Some(later) = self.later(from, delta.clock, entity) {
                // Rows of it, here or in later deltas that are still older than that, are too old as well.
                self.partitions[usize::from(from.0)].overtaken.note(entity, later);
                doubt.add(entity);
            } else {
                self.shown(from, delta.clock, shape, &mut body);
            }
        }
        for shape in delta.reshaped {
            self.reshaped(from, &shape, &mut body);
        }
        for (entity, reason) in delta.left {
            self.left(from, delta.clock, entity, reason, &mut body);
        }
        body.positions = delta.positions;
        body.columns = delta.columns;
        body.shared = delta.shared;
        self.drop_stale_rows(from, &doubt, &mut body);
        let mut moved = false;
        for (entity, position) in delta.anchors {
            moved |= self.anchors.hear(from, delta.clock, entity, position);
        }
        // Before the fill is counted: it was of another place.
        if moved {
            self.follow();
        }
        if let Some(filled) = delta.filled {
            self.filled(from, &filled, &mut body);
        }
        for density in delta.densities {
            self.counted(from, density, &mut body);
        }
        self.bound_squares(&mut body);
        body.missed.merge(delta.missed);
        for (event, was_seen) in delta.events.into_iter().zip(were_seen) {
            self.tell(from, event, was_seen, &mut body);
        }
        if let Some(token) = delta.flushed {
            self.flushed(from, token, &mut body);
        }
        body
    }

    /// An entity that the partition shows whole, and nobody has said something later of.
    fn shown(&mut self, from: PartitionId, clock: Revision, shape: Shape, body: &mut FrameBody) {
        let Shape { entity, components } = shape;
        if let Some(seen) = &mut self.partitions[usize::from(from.0)].keyframe {
            seen.insert(entity);
        }
        self.tombstones.remove(entity);
        let held = HeldEntity { partition: from, clock, components: components.clone() };
        match self.held.insert(entity, held) {
            Some(before) => {
                tell_gone(&before.components, &components, entity, body);
                self.overtake(before.partition, from, clock, entity, body);
            }
            None => body.entered.push(entity),
        }
    }

    fn reshaped(&mut self, from: PartitionId, shape: &Shape, body: &mut FrameBody) {
        if let Some(held) = self.held.get_mut(&shape.entity)
            && held.partition == from
        {
            let before = std::mem::replace(&mut held.components, shape.components.clone());
            tell_gone(&before, &shape.components, shape.entity, body);
        }
    }

    fn left(
        &mut self,
        from: PartitionId,
        clock: Revision,
        entity: EntityId,
        reason: LeaveReason,
        body: &mut FrameBody,
    ) {
        if self.is_stale(from, clock, entity) {
            return;
        }
        if let Some(held) = self.held.swap_remove(&entity) {
            body.left.push((entity, reason));
            self.end_overlap(entity, &held, body);
            self.overtake(held.partition, from, clock, entity, body);
        }
        self.tombstones.bury(from, clock, entity, self.flush.token);
    }

    /// Whether another partition has said something later of the entity.
    pub(super) fn is_stale(&self, from: PartitionId, clock: Revision, entity: EntityId) -> bool {
        self.later(from, clock, entity).is_some()
    }

    /// With which counter another partition has said something later of the entity.
    fn later(&self, from: PartitionId, clock: Revision, entity: EntityId) -> Option<Revision> {
        let held = self.held.get(&entity).map(|held| (held.partition, held.clock));
        let (by, known) = held.or_else(|| self.tombstones.get(entity))?;
        (by != from && clock < known).then_some(known)
    }

    fn filled(&mut self, from: PartitionId, filled: &Filled, body: &mut FrameBody) {
        let was_known = self.knows_views(from);
        self.partitions[usize::from(from.0)].filled = filled.version;
        if filled.version == self.version
            && let Some(seen) = self.partitions[usize::from(from.0)].keyframe.take()
        {
            self.drop_unseen(from, &seen, body);
        }
        if !was_known && self.knows_views(from) && self.awaits_all(from) {
            self.outbox.push((from, ToPartition::ShowAll));
        }
        for &(view, count) in &filled.counts {
            let Some(state) = self.views.get_mut(&view) else { continue };
            // A count of the view that this one has replaced.
            if state.view.version > filled.version {
                continue;
            }
            let Some(at) = state.awaited.iter().position(|&p| p == from) else { continue };
            state.awaited.swap_remove(at);
            state.count += count;
            if state.awaited.is_empty() && !is_given(view) {
                body.view_ready.push((view, state.count));
            }
        }
    }

    /// A partition tells how many entities are in squares.
    fn counted(&mut self, from: PartitionId, delta: DensityDelta, body: &mut FrameBody) {
        let Some(state) = self.views.get_mut(&delta.view) else { return };
        // Of a view that this one has replaced.
        if state.view.version != delta.version {
            return;
        }
        let Some(sums) = &mut state.sums else { return };
        let (view, is_filled) = (delta.view, delta.is_filled);
        sums.hear(from, delta, &mut body.densities);
        let Some(at) = state.awaited.iter().position(|&p| is_filled && p == from) else { return };
        state.awaited.swap_remove(at);
        if state.awaited.is_empty() {
            body.view_ready.push((view, sums.sum()));
        }
    }

    /// Gives views of densities larger squares until they are no more than they may be.
    fn bound_squares(&mut self, body: &mut FrameBody) {
        let max = self.limits.session_density_squares_max as usize;
        let mut has_changed = false;
        loop {
            let sums = || self.views.values().filter_map(|state| state.sums.as_ref());
            let all: usize = sums().map(Sums::len).sum();
            if all <= max {
                break;
            }
            let can_grow = |state: &ViewState| state.asked.densities.as_ref()?.coarser(1);
            let candidates = self.views.iter().filter(|(_, state)| can_grow(state).is_some());
            let size = |state: &ViewState| state.sums.as_ref().map_or(0, Sums::len);
            // Of the largest ones the last; one that was emptied here already is not told again.
            let largest = candidates.filter(|(_, s)| size(s) > 0).max_by_key(|(_, s)| size(s));
            let Some((&id, state)) = largest else { break };
            let others = all - size(state);
            let doublings = state.sums.as_ref().map_or(1, |s| s.doublings_to(max.saturating_sub(others)));
            self.coarsen(id, doublings);
            // It is ready when the larger ones are told.
            let waiting = self.frames.iter_mut().map(|(_, frame)| &mut frame.view_ready);
            let untold = waiting.chain([&mut body.view_ready, &mut self.filled_early]);
            let is_untold =
                |ready: &mut Vec<(ViewId, u64)>| ready.extract_if(.., |(view, _)| *view == id).count() > 0;
            // All of them: it is in one at most.
            if untold.map(is_untold).fold(false, |any, is| any | is) {
                self.await_all(id);
            }
            has_changed = true;
        }
        if has_changed {
            self.send_views();
        }
    }

    fn coarsen(&mut self, id: ViewId, doublings: u8) {
        let version = self.version + 1;
        let Some(ViewState { asked, view, awaited, sums: Some(sums), .. }) = self.views.get_mut(&id) else {
            return;
        };
        let Some(densities) = asked.densities.as_mut() else { return };
        let coarser = (1..=doublings).rev().find_map(|doublings| densities.coarser(doublings));
        *densities = coarser.unwrap_or_else(|| densities.clone());
        sums.start_over(densities);
        *view = Arc::new(View { version, ..asked.clone() });
        // Its first fill is not over: then only that of the larger squares counts.
        if !awaited.is_empty() {
            self.await_all(id);
        }
    }

    fn await_all(&mut self, view: ViewId) {
        let all = self.all().collect();
        if let Some(state) = self.views.get_mut(&view) {
            state.awaited = all;
        }
    }

    /// After a keyframe: what the restarted partition no longer shows has left.
    fn drop_unseen(&mut self, from: PartitionId, seen: &FxHashSet<EntityId>, body: &mut FrameBody) {
        let gone: Vec<(EntityId, Revision)> = self
            .held
            .iter()
            .filter(|(entity, held)| held.partition == from && !seen.contains(*entity))
            .map(|(&entity, held)| (entity, held.clock))
            .collect();
        for (entity, clock) in gone {
            body.left.push((entity, LeaveReason::OutOfView));
            if let Some(held) = self.held.swap_remove(&entity) {
                self.end_overlap(entity, &held, body);
            }
            // Not the keyframe's counter: the entity may have moved on before, and its new partition's may be lower.
            self.tombstones.bury(from, clock, entity, self.flush.token);
        }
    }

    fn flushed(&mut self, from: PartitionId, token: u64, body: &mut FrameBody) {
        if token != self.flush.token {
            return;
        }
        self.flush.awaited.retain(|&p| p != from);
        if self.flush.awaited.is_empty() {
            self.tombstones.flushed(token);
            self.authority.lost().flushed(token);
            self.authority.gone().flushed(token);
            self.end_overlaps(token, body);
        }
    }

    pub(super) fn start_flush(&mut self) {
        let (lost, gone) = (self.authority.lost().are_many(), self.authority.gone().are_many());
        let is_needed = self.tombstones.are_many() || lost || gone || !self.overlaps.is_empty();
        if !is_needed || !self.flush.awaited.is_empty() {
            return;
        }
        self.flush.token += 1;
        self.flush.awaited = self.all().collect();
        let token = self.flush.token;
        self.outbox.extend(self.all().map(|p| (p, ToPartition::Flush(token))));
    }
}

/// Tells which components the session no longer sees.
fn tell_gone(
    before: &Arc<[ComponentId]>,
    after: &Arc<[ComponentId]>,
    entity: EntityId,
    body: &mut FrameBody,
) {
    if Arc::ptr_eq(before, after) {
        return;
    }
    for &component in before.iter().filter(|c| after.binary_search(c).is_err()) {
        match body.gone.iter_mut().find(|(c, _)| *c == component) {
            Some((_, entities)) => entities.push(entity),
            None => body.gone.push((component, vec![entity])),
        }
    }
}
