//! Ids of a recording, and those that the world gives this time.
//!
//! A world that has gone on since, or that somebody else attends, gives other ids to what is created. What the recorded
//! worker says later of its entities must mean those of now.

use std::collections::BTreeMap;

use spatialdb_proto::v1::{
    ClientMessage, Column, Constraint, PositionColumn, ServerMessage, View, client_message::Body as Said,
    constraint::Kind, server_message::Body as Heard,
};

/// Ids that a message asked for, as they were given: the first of each run, and how many.
pub(super) struct Given {
    /// The message that asked.
    pub(super) seq: u64,
    runs: Vec<(u64, u64)>,
}

/// Which id stands for which.
#[derive(Debug, Default)]
pub(super) struct Ids {
    /// By the first id of a run: how many there are, and the first of now.
    runs: BTreeMap<u64, (u64, u64)>,
}

impl Given {
    /// Those of an answer, if it is one.
    pub(super) fn of(message: &ServerMessage) -> Option<Self> {
        match message.body.as_ref()? {
            Heard::Created(created) => {
                Some(Self { seq: created.seq, runs: created.entities.iter().map(|&id| (id, 1)).collect() })
            }
            Heard::IdsReserved(reserved) => {
                Some(Self { seq: reserved.seq, runs: vec![(reserved.first, u64::from(reserved.count))] })
            }
            _ => None,
        }
    }
}

impl Ids {
    /// What was given before is what is given now.
    pub(super) fn learn(&mut self, before: &Given, now: &Given) {
        for (&(before, count), &(now, _)) in before.runs.iter().zip(&now.runs) {
            // 0 is a row that was refused.
            if before != now && before != 0 && now != 0 {
                self.runs.insert(before, (count, now));
            }
        }
    }

    /// Has a message mean the entities of now.
    pub(super) fn translate(&self, message: &mut ClientMessage) {
        if self.runs.is_empty() {
            return;
        }
        match &mut message.body {
            Some(Said::Update(update)) => {
                self.columns(&mut update.positions, &mut update.columns);
                update.events.iter_mut().for_each(|column| self.all(&mut column.entities));
            }
            Some(Said::AddComponents(add)) => self.columns(&mut add.positions, &mut add.columns),
            Some(Said::RemoveComponents(remove)) => {
                remove.columns.iter_mut().for_each(|column| self.all(&mut column.entities));
            }
            Some(Said::Delete(delete)) => self.all(&mut delete.entities),
            // Entities of its columns are numbers of rows.
            Some(Said::Create(create)) => self.all(&mut create.entities),
            Some(Said::Subscribe(subscribe)) => self.view(subscribe.view.as_mut()),
            Some(Said::ChangeView(change)) => self.view(change.view.as_mut()),
            _ => {}
        }
    }

    fn columns(&self, positions: &mut [PositionColumn], columns: &mut [Column]) {
        positions.iter_mut().for_each(|column| self.all(&mut column.entities));
        columns.iter_mut().for_each(|column| self.all(&mut column.entities));
    }

    fn view(&self, view: Option<&mut View>) {
        let mut waiting: Vec<&mut Constraint> = Vec::new();
        waiting.extend(view.and_then(|view| view.constraint.as_mut()));
        while let Some(constraint) = waiting.pop() {
            match &mut constraint.kind {
                Some(Kind::EntityIds(ids)) => self.all(&mut ids.entities),
                Some(Kind::And(list) | Kind::Or(list)) => waiting.extend(&mut list.constraints),
                Some(Kind::Not(inner)) => waiting.push(inner),
                _ => {}
            }
        }
    }

    fn all(&self, entities: &mut [u64]) {
        for entity in entities {
            if let Some((first, (count, now))) = self.runs.range(..=*entity).next_back()
                && *entity - first < *count
            {
                *entity = now + (*entity - first);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use spatialdb_proto::v1::{Delete, EntityIds, EventColumn, Subscribe, Update};

    use super::*;

    #[test]
    fn ids_of_then_become_ids_of_now() {
        let mut ids = Ids::default();
        ids.learn(
            &Given { seq: 2, runs: vec![(10, 1), (11, 1), (0, 1)] },
            &Given { seq: 2, runs: vec![(70, 1), (0, 1), (72, 1)] },
        );
        ids.learn(&Given { seq: 3, runs: vec![(100, 5)] }, &Given { seq: 3, runs: vec![(300, 5)] });
        let delete = Delete { entities: vec![9, 10, 11, 99, 100, 104, 105], ..Delete::default() };
        let mut message = ClientMessage { seq: 4, body: Some(Said::Delete(delete)) };
        ids.translate(&mut message);
        let Some(Said::Delete(delete)) = message.body else { panic!("a delete") };
        assert_eq!(delete.entities, [9, 70, 11, 99, 300, 304, 105]);

        let one = Constraint { kind: Some(Kind::EntityIds(EntityIds { entities: vec![10, 5] })) };
        let not = Constraint { kind: Some(Kind::Not(Box::new(one))) };
        let view = View { constraint: Some(not), ..View::default() };
        let mut message =
            ClientMessage { seq: 5, body: Some(Said::Subscribe(Subscribe { view: Some(view) })) };
        ids.translate(&mut message);
        assert!(format!("{message:?}").contains("[70, 5]"), "{message:?}");

        let events = vec![EventColumn { entities: vec![10, 5], ..EventColumn::default() }];
        let body = Some(Said::Update(Update { events, ..Update::default() }));
        let mut message = ClientMessage { seq: 6, body };
        ids.translate(&mut message);
        assert!(format!("{message:?}").contains("[70, 5]"), "{message:?}");
    }
}
