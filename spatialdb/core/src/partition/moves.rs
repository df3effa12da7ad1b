//! Moves of entities between partitions.
//!
//! 1. The old partition takes the entity out, remembers where it went, and sends `Move`. Writes that still come
//!    are forwarded, in order.
//! 2. The new one inserts it as *arriving*, answers every session that held it, and sends `Moved`. While it is
//!    arriving, forwarded writes apply at once, direct ones wait.
//! 3. On `Moved` the old one asks the edge to route new writes to the new one and to give a fence back.
//! 4. When the fence is back, every write under the old route has been forwarded: the old one forgets the entity and
//!    sends `Settled`; the new one applies what waited. Only now may the entity move on.

use std::collections::VecDeque;

use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;
use spatialdb_types::{ComponentId, EntityId, PartitionId};

use super::apply::{Onward, Run, Source};
use super::{CellRow, Partition, PublishSeq, RowId, Slot};
use crate::columns::Batch;
use crate::message::{
    Delta, Holder, LeaveReason, MovedEntity, MovedValue, Outbox, PeerBody, PeerMessage, RouteChange,
    ToSession,
};

/// Moves under way.
#[derive(Debug, Default)]
pub(super) struct Moves {
    /// Entities that lie in another partition by now: arriving ones, and those of which commits wait.
    overhang: Vec<EntityId>,
    /// Writes that wait for an arriving entity to settle, in order.
    parked: Vec<Batch>,
    parked_rows: u64,
    fences: VecDeque<(u64, PartitionId, Vec<EntityId>)>,
    next_fence: u64,
}

/// An entity that is about to go.
struct Leaving {
    entity: EntityId,
    home: PartitionId,
    holders: Vec<Holder>,
}

impl Moves {
    /// How many rows wait for moves to settle.
    pub(super) const fn parked_rows(&self) -> u64 {
        self.parked_rows
    }
}

impl Partition {
    /// Takes a message of another partition.
    pub fn peer(&mut self, from: PartitionId, message: PeerMessage, outbox: &mut Outbox) {
        if self.waits_behind_closed(from, &message.body) {
            return self.park_peer(from, message);
        }
        self.store.raise_clock(message.clock);
        self.begin_round(message.round);
        self.begin_capture(message.capture, outbox);
        match message.body {
            PeerBody::Move(entities) => {
                self.cuts.note_arrivals(from, &entities);
                let arrived = self.receive(from, entities, outbox);
                self.capture_arrivals(message.capture, &arrived);
            }
            PeerBody::Cut(cut, query) => self.hear_cut(from, cut, &query, outbox),
            PeerBody::Forward(batch) => self.apply_from(&batch, Source::Peer, outbox),
            PeerBody::Moved(entities) => {
                let token = self.moves.next_fence;
                self.moves.next_fence += 1;
                outbox.routes.push(RouteChange::Set(entities.clone(), from));
                outbox.routes.push(RouteChange::Fence(token));
                self.interests.moved(&entities, outbox);
                self.moves.fences.push_back((token, from, entities));
            }
            PeerBody::Settled(entities) => self.settled(&entities, outbox),
            PeerBody::Walked(round) => self.hear_walked(round),
            PeerBody::Capturing(capture) => self.hear_capturing(capture),
            PeerBody::Follows(words) => self.hear_follows(from, message.clock, words, outbox),
        }
    }

    /// A fence of [`RouteChange::Fence`] came back.
    pub fn fence(&mut self, token: u64, outbox: &mut Outbox) {
        let Some((expected, to, entities)) = self.moves.fences.pop_front() else {
            panic!("fence {token} came back to partition {} without being asked for", self.id);
        };
        assert_eq!(expected, token, "fences come back in order");
        for entity in &entities {
            self.departed.remove(entity);
        }
        self.send(to, PeerBody::Settled(entities), outbox);
    }

    pub(super) fn after_apply(&mut self, run: Run, outbox: &mut Outbox) {
        if !run.deleted.is_empty() {
            outbox.routes.push(RouteChange::Clear(run.deleted));
        }
        for (to, batch) in run.forwards {
            if let Onward::Peer(to) = to {
                self.send(to, PeerBody::Forward(batch), outbox);
            }
        }
        if !run.park.ops.is_empty() {
            self.moves.parked_rows += run.park.row_count() as u64;
            self.moves.parked.push(run.park);
        }
        self.send_home(run.crossed, outbox);
    }

    /// Starts the move of those entities that lie in another partition by now.
    fn send_home(&mut self, entities: Vec<EntityId>, outbox: &mut Outbox) {
        let mut leaving: IndexMap<RowId, Leaving, FxBuildHasher> = IndexMap::default();
        for entity in entities {
            let Some(id) = self.store.find(entity) else { continue };
            let row = self.store.row(id);
            let home = self.map.home(entity, self.store.position(row));
            if home == self.id {
                continue;
            }
            if row.arriving || row.commits {
                self.moves.overhang.push(entity);
                continue;
            }
            leaving.insert(id, Leaving { entity, home, holders: Vec::new() });
        }
        if leaving.is_empty() {
            return;
        }
        leaving.values().for_each(|leaving| self.queue_last_events(leaving.entity));
        // What a subscriber holds is looked at for all of them at once.
        for subscriber in self.subscribers.values_mut() {
            for (&id, leaving) in &mut leaving {
                leaving.holders.extend(subscriber.hand_over(id, leaving.entity));
            }
        }
        let mut moves: Vec<(PartitionId, Vec<MovedEntity>)> = Vec::new();
        for (id, Leaving { entity, home, holders }) in leaving {
            let moved = self.take(id, holders);
            self.departed.insert(entity, home);
            match moves.iter_mut().find(|(to, _)| *to == home) {
                Some((_, list)) => list.push(moved),
                None => moves.push((home, vec![moved])),
            }
        }
        for (to, list) in moves {
            self.send(to, PeerBody::Move(list), outbox);
        }
    }

    fn take(&mut self, id: RowId, holders: Vec<Holder>) -> MovedEntity {
        self.log_departure(id);
        let row = self.store.row(id);
        let (entity, components) = (row.entity, self.store.components(row).to_vec());
        let authority = self.authority.as_mut().map(|authority| authority.leaves(&self.store, id, false));
        let CellRow { revision, mover, .. } = *self.store.in_cell(row);
        let position = self.store.position(row).map(|at| (at, revision, mover));
        let (_, slots) = self.store.remove(id);
        let values = components
            .iter()
            .filter(|&&c| c != ComponentId::POSITION)
            .zip(slots)
            .map(|(&component, slot)| MovedValue {
                component,
                revision: slot.revision,
                writer: slot.writer,
                value: slot.value,
            })
            .collect();
        MovedEntity { entity, position, values, holders, authority: authority.unwrap_or_default() }
    }

    fn receive(
        &mut self,
        from: PartitionId,
        entities: Vec<MovedEntity>,
        outbox: &mut Outbox,
    ) -> Vec<EntityId> {
        let arrived: Vec<EntityId> = entities.iter().map(|moved| moved.entity).collect();
        for moved in entities {
            self.receive_one(moved, outbox);
        }
        self.lead(outbox);
        self.tell_interests(outbox);
        self.send(from, PeerBody::Moved(arrived.clone()), outbox);
        arrived
    }

    fn receive_one(&mut self, moved: MovedEntity, outbox: &mut Outbox) {
        self.interests.note_arrived(&moved);
        let set = self.store.tables.intern(&moved.components());
        let changed_at = self.store.publish();
        let slots = moved.values.into_iter().map(|v| Slot {
            revision: v.revision,
            changed_at,
            value: v.value,
            writer: v.writer,
            foreign_at: PublishSeq(0),
        });
        let at = moved.position.map(|(at, _, writer)| (at, writer));
        let id = self.store.insert(moved.entity, set, slots, at);
        if let Some((_, revision, _)) = moved.position {
            self.store.set_position_revision(id, revision);
        }
        self.store.set_arriving(id, true);
        if let Some(authority) = &mut self.authority {
            authority.arrived(&mut self.store, id, &moved.authority);
        }
        for holder in moved.holders {
            let session = holder.session;
            match self.subscribers.get_mut(&session) {
                Some(subscriber) => subscriber.take_over(id, holder, &self.limits),
                // It has no views here, or is gone: the answer that is owed is a leave.
                None => {
                    let left = vec![(moved.entity, LeaveReason::OutOfView)];
                    let (clock, events) = (self.store.clock(), holder.events);
                    let delta = Delta { clock, left, events, ..Delta::default() };
                    outbox
                        .sessions
                        .push((session, ToSession { delta: Some(Box::new(delta)), ..Default::default() }));
                }
            }
        }
    }

    fn settled(&mut self, entities: &[EntityId], outbox: &mut Outbox) {
        let mut deleted = Vec::new();
        for &entity in entities {
            match self.store.find(entity) {
                Some(id) => self.store.set_arriving(id, false),
                // A forwarded delete: the old partition's route came after ours was cleared.
                None => deleted.push(entity),
            }
        }
        if !deleted.is_empty() {
            outbox.routes.push(RouteChange::Clear(deleted));
        }
        self.unpark(outbox);
    }

    /// What waits for other entities is parked again, in order.
    pub(super) fn unpark(&mut self, outbox: &mut Outbox) {
        self.moves.parked_rows = 0;
        for batch in std::mem::take(&mut self.moves.parked) {
            self.apply_from(&batch, Source::Edge, outbox);
        }
        self.send_overhang(outbox);
    }

    /// Entities that lie in another partition, and could not go before, do.
    pub(super) fn send_overhang(&mut self, outbox: &mut Outbox) {
        let overhang = std::mem::take(&mut self.moves.overhang);
        self.send_home(overhang, outbox);
    }

    pub(super) fn send(&mut self, to: PartitionId, body: PeerBody, outbox: &mut Outbox) {
        let (clock, round, capture) = (self.store.clock(), self.round(), self.capture());
        outbox.peers.push((to, PeerMessage { clock, round, capture, body }));
    }
}
