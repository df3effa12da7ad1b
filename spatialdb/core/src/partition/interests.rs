//! Entities that give views: which of them have changed, for the edge.
//!
//! Responsible for: noticing whatever changes Interest or PlayerOwner of an entity with both. Other writes cost one
//! comparison for each column. Not responsible for: what an Interest says.

use std::collections::BTreeSet;

use spatialdb_types::{ComponentId, EntityId};

use super::Partition;
use super::authority::player_of;
use crate::columns::{CreateRows, Op};
use crate::interest_book::{Gift, InterestChange};
use crate::message::{MovedEntity, Outbox};

/// What is to be told.
#[derive(Debug, Default)]
pub(super) struct Interests {
    /// Entities of which the edge may know something else than what is.
    noted: Vec<EntityId>,
    /// Entities that the edge knows from here; one that has moved on, until the new partition has told.
    told: BTreeSet<EntityId>,
    restarted: bool,
}

impl Interests {
    /// A column has been applied.
    pub(super) fn note(&mut self, op: &Op) {
        match op {
            Op::Values(column) if is_given_by(column.component) => self.noted.extend(&column.entities),
            Op::Create(rows) => self.note_created(rows),
            Op::Remove(column) => match column.component {
                Some(component) if is_given_by(component) => self.noted.extend(&column.entities),
                Some(_) => {}
                None => self.noted.extend(column.entities.iter().filter(|&e| self.told.contains(e))),
            },
            Op::Values(_) | Op::Positions(_) | Op::Events(_) | Op::Holds(_) => {}
        }
    }

    /// Entities have been made.
    pub(super) fn note_created(&mut self, rows: &CreateRows) {
        let has = |component| rows.columns.iter().any(|column| column.component == component);
        if has(ComponentId::INTEREST) && has(ComponentId::PLAYER_OWNER) {
            self.noted.extend(&rows.entities);
        }
    }

    /// An entity was put back, which has these components.
    pub(super) fn note_restored(&mut self, entity: EntityId, components: &[ComponentId]) {
        if [ComponentId::INTEREST, ComponentId::PLAYER_OWNER].iter().all(|c| components.contains(c)) {
            self.noted.push(entity);
        }
    }

    /// An entity has moved here.
    pub(super) fn note_arrived(&mut self, moved: &MovedEntity) {
        if moved.values.iter().any(|value| value.component == ComponentId::INTEREST) {
            self.noted.push(moved.entity);
        }
    }

    /// All is to be told again.
    pub(super) const fn restart(&mut self) {
        self.restarted = true;
    }

    /// Whether there is something to tell.
    pub(super) const fn has_news(&self) -> bool {
        self.restarted || !self.noted.is_empty()
    }

    /// The new partition of these entities has told of them.
    pub(super) fn moved(&mut self, entities: &[EntityId], outbox: &mut Outbox) {
        let told = entities.iter().filter(|entity| self.told.remove(entity));
        outbox.interests.extend(told.map(|&entity| InterestChange::Ended(entity)));
    }
}

impl Partition {
    /// Tells what has changed. Before anything else is sent to peers: so the edge hears the new partition of an entity
    /// after the old one, as far as it keeps the order.
    pub(super) fn tell_interests(&mut self, outbox: &mut Outbox) {
        if !self.interests.has_news() {
            return;
        }
        let mut noted = std::mem::take(&mut self.interests.noted);
        if std::mem::take(&mut self.interests.restarted) {
            outbox.interests.push(InterestChange::Restarted);
            noted.extend(std::mem::take(&mut self.interests.told));
        }
        noted.sort_unstable();
        noted.dedup();
        let clock = self.store.clock();
        for entity in noted.drain(..) {
            if let Some(gift) = self.gift(entity) {
                self.interests.told.insert(entity);
                outbox.interests.push(InterestChange::Given { entity, clock, gift });
            } else if !self.departed.contains_key(&entity) && self.interests.told.remove(&entity) {
                outbox.interests.push(InterestChange::Ended(entity));
            }
        }
        self.interests.noted = noted;
    }

    /// What an entity gives, if it is here and gives anything.
    fn gift(&self, entity: EntityId) -> Option<Gift> {
        let id = self.store.find(entity)?;
        let interest = self.store.value(id, ComponentId::INTEREST)?;
        let owner = player_of(&self.store, id)?;
        Some(Gift { owner: owner.into(), interest: interest.into() })
    }
}

const fn is_given_by(component: ComponentId) -> bool {
    matches!(component, ComponentId::INTEREST | ComponentId::PLAYER_OWNER)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use spatialdb_types::{Limits, PartitionId, Position, Revision, Seq, SessionId, SpaceId};

    use super::*;
    use crate::columns::{Batch, CreateColumn, PositionWrites, Removes, ValueWrites, WriteMode};
    use crate::message::RouteChange;
    use crate::world::PartitionMap;

    const CAR: EntityId = EntityId(7);
    const INTEREST: ComponentId = ComponentId::INTEREST;
    const OWNER: ComponentId = ComponentId::PLAYER_OWNER;

    fn partition() -> Partition {
        let map = Arc::new(PartitionMap::new(1, 10.0, &[]));
        Partition::new(PartitionId(0), map, Limits::default())
    }

    fn owner(name: &str) -> Vec<u8> {
        [&[0x0a, name.len() as u8], name.as_bytes()].concat()
    }

    fn batch(op: Op) -> Batch {
        Batch { ops: vec![op], ..Batch::new(SessionId(1), Seq(1)) }
    }

    fn made(values: &[(ComponentId, Vec<u8>)]) -> CreateRows {
        let column = |(component, value): &(ComponentId, Vec<u8>)| {
            let mut column = CreateColumn::new(*component);
            column.push(0, value);
            column
        };
        let columns = values.iter().map(column).collect();
        CreateRows { rows: vec![0], entities: vec![CAR], columns, ..CreateRows::default() }
    }

    fn write(component: ComponentId, value: &[u8]) -> Op {
        let mut writes = ValueWrites::new(0, WriteMode::Add, component, None);
        writes.push(0, CAR, value);
        Op::Values(writes)
    }

    fn removed(component: Option<ComponentId>) -> Op {
        let mut removes = Removes::new(0, component);
        removes.push(0, CAR);
        Op::Remove(removes)
    }

    /// What is told after a write: owner and interest, or `None` for an end.
    fn told(partition: &mut Partition, op: Op) -> Vec<Option<(String, Vec<u8>)>> {
        let mut outbox = Outbox::default();
        partition.apply(&batch(op), &mut outbox);
        tell(outbox)
    }

    fn tell(outbox: Outbox) -> Vec<Option<(String, Vec<u8>)>> {
        let tell = |change| match change {
            InterestChange::Given { entity: CAR, gift, .. } => {
                Some((gift.owner.to_string(), gift.interest.to_vec()))
            }
            InterestChange::Ended(CAR) => None,
            other => panic!("{other:?}"),
        };
        outbox.interests.into_iter().map(tell).collect()
    }

    fn gives(name: &str, interest: u8) -> Vec<Option<(String, Vec<u8>)>> {
        vec![Some((name.to_owned(), vec![interest]))]
    }

    #[test]
    fn only_what_concerns_an_entity_with_both_is_told() {
        let mut partition = partition();
        assert_eq!(told(&mut partition, Op::Create(made(&[(INTEREST, vec![1])]))), []);
        assert_eq!(told(&mut partition, write(INTEREST, &[2])), []);
        assert_eq!(told(&mut partition, write(OWNER, &owner("ann"))), gives("ann", 2));
        assert_eq!(told(&mut partition, write(ComponentId::METADATA, &[])), []);
        assert_eq!(told(&mut partition, write(INTEREST, &[3])), gives("ann", 3));
        assert_eq!(told(&mut partition, write(OWNER, &owner("bob"))), gives("bob", 3));
        // Nobody is called nothing.
        assert_eq!(told(&mut partition, write(OWNER, &[])), [None]);
        assert_eq!(told(&mut partition, write(OWNER, &owner("bob"))), gives("bob", 3));
        assert_eq!(told(&mut partition, removed(Some(ComponentId::METADATA))), []);
        assert_eq!(told(&mut partition, removed(Some(OWNER))), [None]);
        assert_eq!(told(&mut partition, removed(None)), []);
        let both = made(&[(INTEREST, vec![1]), (OWNER, owner("ann"))]);
        assert_eq!(told(&mut partition, Op::Create(both)), gives("ann", 1));
        assert_eq!(told(&mut partition, removed(None)), [None]);
    }

    #[test]
    fn what_is_loaded_is_told_with_the_first_publish_and_all_again_after_a_restart() {
        let mut partition = partition();
        let both = made(&[(INTEREST, vec![1]), (OWNER, owner("ann"))]);
        partition.load(&both).expect("loaded once");
        let publish = |partition: &mut Partition| {
            let mut outbox = Outbox::default();
            assert!(partition.has_unpublished());
            partition.publish(0, &mut outbox);
            assert!(!partition.has_unpublished());
            outbox
        };
        assert_eq!(tell(publish(&mut partition)), gives("ann", 1));
        partition.restart();
        let mut outbox = publish(&mut partition);
        assert_eq!(outbox.interests.remove(0), InterestChange::Restarted);
        assert_eq!(tell(outbox), gives("ann", 1));
    }

    /// A move over a border: the new partition tells before the old one takes its own back.
    #[test]
    fn a_move_is_told_by_the_new_partition_first() {
        let at = |x| Position::new(SpaceId(0), x, 0.0, 0.0);
        let map = Arc::new(PartitionMap::new(2, 10.0, &[at(-50.0), at(50.0)]));
        let partition = |id| Partition::new(PartitionId(id), map.clone(), Limits::default());
        let (mut west, mut east) = (partition(0), partition(1));
        let mut both = made(&[(INTEREST, vec![1]), (OWNER, owner("ann"))]);
        both.positions.index.push(0);
        both.positions.positions.push(at(-50.0));
        west.load(&both).expect("loaded once");
        west.publish(0, &mut Outbox::default());

        let mut outbox = Outbox::default();
        let mut moves = PositionWrites::new(0, WriteMode::Update, SpaceId(0));
        moves.push(0, CAR, at(50.0).point);
        west.apply(&batch(Op::Positions(moves)), &mut outbox);
        assert_eq!(outbox.interests, []);
        let (_, message) = outbox.peers.pop().expect("a move");
        // A late write to it is not news of this partition any longer.
        assert_eq!(told(&mut west, write(INTEREST, &[2])), []);

        let mut outbox = Outbox::default();
        east.peer(PartitionId(0), message, &mut outbox);
        let InterestChange::Given { clock, .. } = outbox.interests[0] else { panic!("given") };
        assert!(clock > Revision(1));
        let (_, moved) = outbox.peers.pop().expect("an answer");
        assert_eq!(tell(outbox), gives("ann", 1));

        let mut outbox = Outbox::default();
        west.peer(PartitionId(1), moved, &mut outbox);
        assert!(matches!(outbox.routes[1], RouteChange::Fence(_)));
        assert_eq!(tell(outbox), [None]);
    }
}
