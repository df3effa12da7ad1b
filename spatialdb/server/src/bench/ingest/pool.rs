//! The messages of one stream: encoded once, sent again and again.
//!
//! Responsible for: which entities a stream owns, the order of its messages, what the store must hold after them.
//! Not responsible for: where entities go (`walk`).

use std::ops::Range;

use bytes::Bytes;
use spatialdb_core::PartitionMap;
use spatialdb_proto::v1::{PositionColumn, Update, client_message::Body};
use spatialdb_types::Point3;

use super::super::{
    link::prebuilt,
    walk::{Crossings, Walk},
    world::SPACE,
};

/// The messages of one stream. Message `n` (from 0) is batch `n % batches` of step `n / batches + 1`.
pub(super) struct Pool {
    entities: Range<usize>,
    batch_rows: usize,
    // By round, then by batch.
    messages: Vec<Vec<Bytes>>,
    // By the lower round of a step, then by batch.
    crossings: Vec<Vec<Crossings>>,
}

impl Pool {
    /// Encodes what the entities at these places of the walk will send, by a writer that has processed so many messages of
    /// what it owns.
    pub(super) fn new(
        walk: &Walk,
        map: &PartitionMap,
        entities: Range<usize>,
        batch_rows: usize,
        authority_seen: u64,
    ) -> Self {
        let batches: Vec<Range<usize>> = entities
            .clone()
            .step_by(batch_rows)
            .map(|first| first..(first + batch_rows).min(entities.end))
            .collect();
        let encode = |round| {
            let message = |batch: &Range<usize>| message(walk.round(round), batch.clone(), authority_seen);
            batches.iter().map(message).collect()
        };
        let cross = |round| batches.iter().map(|batch| walk.crossings(map, round, batch.clone())).collect();
        let messages = (0..walk.rounds()).map(encode).collect();
        let crossings = (0..walk.rounds() - 1).map(cross).collect();
        Self { entities, batch_rows, messages, crossings }
    }

    /// The body of message `n`.
    pub(super) fn message(&self, walk: &Walk, n: u64) -> Bytes {
        let (step, batch) = self.step(n);
        self.messages[walk.round_after(step)][batch].clone()
    }

    /// The rows of the first `n` messages.
    pub(super) fn rows(&self, n: u64) -> u64 {
        let (whole, rest) = (n / self.batches(), n % self.batches());
        let entities = self.entities.len() as u64;
        whole * entities + (rest * self.batch_rows as u64).min(entities)
    }

    /// The borders that the first `n` messages cross.
    pub(super) fn crossings(&self, walk: &Walk, n: u64) -> Crossings {
        let mut all = Crossings::default();
        for n in 0..n {
            let (step, batch) = self.step(n);
            let lower = walk.round_after(step).min(walk.round_after(step - 1));
            let found = self.crossings[lower][batch];
            all.cell += found.cell;
            all.partition += found.partition;
        }
        all
    }

    /// Writes where the entities are after the first `n` messages to their places in `positions`.
    pub(super) fn place(&self, walk: &Walk, n: u64, positions: &mut [Point3]) {
        let (step, batches_done) = self.step(n);
        let border = (self.entities.start + batches_done * self.batch_rows).min(self.entities.end);
        let done = self.entities.start..border;
        let rest = border..self.entities.end;
        positions[done.clone()].copy_from_slice(&walk.round(walk.round_after(step))[done]);
        positions[rest.clone()].copy_from_slice(&walk.round(walk.round_after(step - 1))[rest]);
    }

    fn batches(&self) -> u64 {
        self.messages[0].len() as u64
    }

    fn step(&self, n: u64) -> (u64, usize) {
        (n / self.batches() + 1, (n % self.batches()) as usize)
    }
}

fn message(positions: &[Point3], batch: Range<usize>, authority_seen: u64) -> Bytes {
    let rows = &positions[batch.clone()];
    let column = PositionColumn {
        space: SPACE.0,
        entities: batch.map(|place| place as u64 + 1).collect(),
        revisions: Vec::new(),
        x: rows.iter().map(|p| p.x).collect(),
        y: rows.iter().map(|p| p.y).collect(),
        z: rows.iter().map(|p| p.z).collect(),
    };
    prebuilt(Body::Update(Update { authority_seen, positions: vec![column], ..Update::default() }))
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use spatialdb_proto::v1::ClientMessage;

    use super::*;

    #[test]
    fn what_is_sent_is_what_must_be_there() {
        let walk = Walk::new(50);
        let map = walk.partition_map(2);
        let pool = Pool::new(&walk, &map, 10..45, 8, 0);
        let mut applied = walk.round(0).to_vec();
        let mut crossed = 0;
        for n in 0..200 {
            let mut expected = walk.round(0).to_vec();
            pool.place(&walk, n, &mut expected);
            assert_eq!(applied, expected, "after {n}");
            assert_eq!(pool.crossings(&walk, n).cell, crossed);

            let message = ClientMessage::decode(pool.message(&walk, n)).expect("a message");
            let Some(Body::Update(update)) = message.body else { panic!("an update") };
            let column = &update.positions[0];
            assert_eq!(pool.rows(n + 1) - pool.rows(n), column.entities.len() as u64);
            for (row, entity) in column.entities.iter().enumerate() {
                let place = *entity as usize - 1;
                let to = Point3::new(column.x[row], column.y[row], column.z[row]);
                let from = std::mem::replace(&mut applied[place], to);
                let cell = |p: Point3| ((p.x / 100.0).floor(), (p.y / 100.0).floor());
                crossed += u64::from(cell(from) != cell(to));
            }
        }
        assert_eq!(applied[..10], walk.round(0)[..10]);
        assert_eq!(applied[45..], walk.round(0)[45..]);
    }
}
