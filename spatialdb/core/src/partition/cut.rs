//! Queries over all partitions at one consistent cut: every entity is in it exactly once, those on their way too.
//!
//! There is no moment that all partitions share. But each of them answers for what it holds when it first hears of the
//! query, from the edge or from a peer, and tells every peer so, behind all that it moved to it before. What arrives
//! from a peer that has not told yet was on its way at the cut: the receiver answers for it.
//!
//! Cuts are numbered, and the edge begins one when the last is answered or given up.

use std::sync::Arc;

use spatialdb_types::PartitionId;

use super::{Partition, Query, QueryAnswer};
use crate::interest::Subject;
use crate::message::{MovedEntity, Outbox, PeerBody};

/// The cuts of one partition.
#[derive(Debug, Default)]
pub(super) struct Cuts {
    /// The newest that was begun: an older one that is heard of again is over.
    begun: u64,
    open: Option<OpenCut>,
}

/// Answered but for what is on its way.
#[derive(Debug)]
struct OpenCut {
    queries: Arc<[Query]>,
    /// Parallel to the queries.
    answers: Vec<QueryAnswer>,
    /// The peers that have not told of the cut.
    awaited: Vec<PartitionId>,
}

impl Cuts {
    /// After a restart: the answer that was not given is lost, and the edge gives the cut up.
    pub(super) fn forget_answer(&mut self) {
        self.open = None;
    }

    /// Counts what was on its way at the cut.
    pub(super) fn note_arrivals(&mut self, from: PartitionId, entities: &[MovedEntity]) {
        let Some(open) = self.open.as_mut().filter(|open| open.awaited.contains(&from)) else { return };
        for moved in entities {
            let components = moved.components();
            let position = moved.position.map(|(at, ..)| at);
            let subject = Subject { entity: moved.entity, position, components: &components, values: moved };
            let answers = open.answers.iter_mut();
            for (query, answer) in open.queries.iter().zip(answers).filter(|(_, a)| !a.is_postponed) {
                let is_near = query.nearest_to.is_none() || query.distance_squared(position).is_some();
                if is_near && query.constraint.matches(&subject) {
                    note_arrival(query, moved, answer);
                }
            }
        }
    }
}

fn note_arrival(query: &Query, moved: &MovedEntity, answer: &mut QueryAnswer) {
    answer.match_count += 1;
    // Of an order it is not known yet whether it is among the nearest: whoever merges the answers sees to that.
    if answer.len() < query.limit || (query.nearest_to.is_some() && query.limit > 0) {
        let position = moved.position.map(|(at, revision, _)| (at, revision));
        let values = moved.values.iter().map(|value| (value.component, value.revision, &*value.value));
        answer.push(query, moved.entity, position, values);
    }
}

impl Partition {
    /// Takes part in queries over all partitions, all at one cut. The answers come in [`Outbox::answers`]; where they would
    /// take too much memory together, all but the first may be postponed. `cut` is above 0 and rises from cut to cut.
    pub fn cut(&mut self, cut: u64, queries: &Arc<[Query]>, outbox: &mut Outbox) {
        if cut <= self.cuts.begun {
            return;
        }
        let awaited: Vec<PartitionId> = self.map.ids().filter(|&id| id != self.id).collect();
        for &peer in &awaited {
            self.send(peer, PeerBody::Cut(cut, queries.clone()), outbox);
        }
        let mut bytes = 0;
        let mut answer = |query| {
            let is_too_much = bytes > self.store.grid.tuning.answer_bytes_at_once;
            let answer = if is_too_much { QueryAnswer::postponed() } else { self.query(query) };
            bytes += answer.bytes();
            answer
        };
        let answers = queries.iter().map(&mut answer).collect();
        self.cuts = Cuts { begun: cut, open: Some(OpenCut { queries: queries.clone(), answers, awaited }) };
        self.answer_cut(outbox);
    }

    /// A peer has answered for what it holds.
    pub(super) fn hear_cut(
        &mut self,
        from: PartitionId,
        cut: u64,
        queries: &Arc<[Query]>,
        outbox: &mut Outbox,
    ) {
        self.cut(cut, queries, outbox);
        if let Some(open) = self.cuts.open.as_mut().filter(|_| cut == self.cuts.begun) {
            open.awaited.retain(|&peer| peer != from);
            self.answer_cut(outbox);
        }
    }

    fn answer_cut(&mut self, outbox: &mut Outbox) {
        if let Some(open) = self.cuts.open.take_if(|open| open.awaited.is_empty()) {
            outbox.answers.push((self.cuts.begun, open.answers));
        }
    }
}
