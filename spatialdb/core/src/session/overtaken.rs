//! What is older than what another partition has told.
//!
//! An entity moves, and what its old partition said of it last may come after what its new one says. Few entities move
//! between two frames: rows are looked at only for those that did.

use spatialdb_types::{EntityId, PartitionId, Revision};

use super::{FrameBody, Session};
use crate::interest::Rows;

/// Beyond this many entities it is not known which ones they are.
const KNOWN_MAX: usize = 32;

/// Of one partition: the entities of which another one has told since, each with the other's counter then. What this one
/// says with a higher counter it says later.
#[derive(Debug, Default)]
pub(super) struct Overtaken {
    known: Vec<(EntityId, Revision)>,
    /// Any entity may be one of them until the counter is at this.
    any_until: Revision,
}

/// Entities of which a delta may tell what is too old.
pub(super) enum Doubt {
    Of(Vec<EntityId>),
    OfAny,
}

impl Overtaken {
    pub(super) fn note(&mut self, entity: EntityId, clock: Revision) {
        if self.known.len() < KNOWN_MAX {
            self.known.push((entity, clock));
        } else {
            let last = self.known.drain(..).map(|(_, clock)| clock).max();
            self.any_until = self.any_until.max(clock).max(last.unwrap_or_default());
        }
    }

    /// What is in doubt in a delta with this counter. Later ones have a higher one.
    pub(super) fn at(&mut self, clock: Revision) -> Doubt {
        self.known.retain(|&(_, later)| clock < later);
        if clock < self.any_until {
            return Doubt::OfAny;
        }
        Doubt::Of(self.known.iter().map(|&(entity, _)| entity).collect())
    }
}

impl Doubt {
    pub(super) fn add(&mut self, entity: EntityId) {
        if let Self::Of(entities) = self {
            entities.push(entity);
        }
    }

    /// Whether a row of such an entity is there.
    fn concerns(&self, body: &FrameBody) -> bool {
        match self {
            Self::Of(doubted) => {
                let is_doubted = |entities: &[EntityId]| entities.iter().any(|e| doubted.contains(e));
                !doubted.is_empty() && body.rows().any(is_doubted)
            }
            Self::OfAny => true,
        }
    }
}

impl Session {
    /// A partition has told of an entity that another one was the last to show, and may still tell older news of.
    pub(super) fn overtake(
        &mut self,
        other: PartitionId,
        by: PartitionId,
        clock: Revision,
        entity: EntityId,
        body: &mut FrameBody,
    ) {
        if other != by {
            self.partitions[usize::from(other.0)].overtaken.note(entity, clock);
            body.moved.push(entity);
        }
    }

    /// Takes out values of entities that another partition has shown later, or that are not in view.
    pub(super) fn drop_stale_rows(&self, from: PartitionId, doubt: &Doubt, body: &mut FrameBody) {
        if !doubt.concerns(body) {
            return;
        }
        let is_current = |entity: EntityId| self.held.get(&entity).is_some_and(|held| held.partition == from);
        for group in &mut body.positions {
            if !group.entities.iter().all(|&e| is_current(e)) {
                group.retain(is_current);
            }
        }
        for group in &mut body.columns {
            if !group.entities.iter().all(|&e| is_current(e)) {
                group.retain(is_current);
            }
        }
        for shared in std::mem::take(&mut body.shared) {
            match shared.rows() {
                rows if rows.entities().iter().all(|&e| is_current(e)) => body.shared.push(shared),
                Rows::Positions(rows) => {
                    let mut rows = rows.clone();
                    rows.retain(is_current);
                    body.positions.push(rows);
                }
                Rows::Values(rows) => {
                    let mut rows = rows.clone();
                    rows.retain(is_current);
                    body.columns.push(rows);
                }
            }
        }
        body.positions.retain(|group| !group.entities.is_empty());
        body.columns.retain(|group| !group.entities.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use spatialdb_types::{ComponentId, Limits, Point3, SessionId, SpaceId};

    use super::*;
    use crate::columns::PositionRows;
    use crate::message::{Delta, LeaveReason, Shape, ToSession};

    fn doubted(doubt: Doubt) -> Option<Vec<u64>> {
        match doubt {
            Doubt::Of(entities) => Some(entities.into_iter().map(|e| e.0).collect()),
            Doubt::OfAny => None,
        }
    }

    /// It left view in one partition before the other one, which had it, was heard.
    #[test]
    fn rows_of_what_never_entered_stay_out_until_the_counter_has_risen() {
        let mut session = Session::new(SessionId(1), 2, Limits::default());
        let mut say = |from, delta: Delta| {
            session.receive(
                PartitionId(from),
                ToSession { delta: Some(Box::new(delta)), ..ToSession::default() },
            );
            session.take_frame()
        };
        let entity = EntityId(7);
        let shape = || vec![Shape { entity, components: [ComponentId(1)].into() }];
        let rows = || {
            let mut rows = PositionRows::with_capacity(SpaceId(0), 1);
            rows.push(entity, Revision(3), Point3 { x: 1.0, y: 2.0, z: 3.0 });
            vec![rows]
        };
        let gone = vec![(entity, LeaveReason::OutOfView)];
        assert!(say(0, Delta { clock: Revision(50), left: gone, ..Delta::default() }).is_none());
        assert!(say(1, Delta { clock: Revision(10), entered: shape(), ..Delta::default() }).is_none());
        let late = Delta { clock: Revision(20), reshaped: shape(), positions: rows(), ..Delta::default() };
        assert!(say(1, late).is_none(), "it would be a row of an entity that is not in view");
        let back = Delta { clock: Revision(60), entered: shape(), positions: rows(), ..Delta::default() };
        let frame = say(1, back).expect("it is in view again");
        assert_eq!((&frame.entered[..], frame.positions.len()), (&[entity][..], 1));
    }

    #[test]
    fn what_was_overtaken_is_in_doubt_until_the_counter_has_risen() {
        let mut overtaken = Overtaken::default();
        overtaken.note(EntityId(1), Revision(10));
        overtaken.note(EntityId(2), Revision(20));
        assert_eq!(doubted(overtaken.at(Revision(5))), Some(vec![1, 2]));
        assert_eq!(doubted(overtaken.at(Revision(10))), Some(vec![2]));
        assert_eq!(doubted(overtaken.at(Revision(20))), Some(vec![]));
        (0..=KNOWN_MAX as u64).for_each(|n| overtaken.note(EntityId(n), Revision(30 + n)));
        assert_eq!(doubted(overtaken.at(Revision(30 + KNOWN_MAX as u64 - 1))), None);
        assert_eq!(doubted(overtaken.at(Revision(30 + KNOWN_MAX as u64))), Some(vec![]));
    }
}
