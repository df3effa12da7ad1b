//! Rounds: whole images of all entities, so that what the log says before them is superfluous.
//!
//! 1. A round begins by noting where the log stands. Whatever a partition sends carries the round: who hears of it begins it before it
//!    takes what was sent. So of what is told in the new part of one log, nothing later is told only in the old part of another.
//! 2. The partition walks all its rows, in slices. What leaves before it was walked is written to the log whole.
//! 3. It tells its peers that it has walked, behind its moves. When all have, everything that was on its way is somewhere: it sweeps once
//!    more. When that is on disk, in all partitions, the checkpoint counts.
//!
//! Responsible for: that nothing falls between. Not responsible for: when, where parts lie, and which checkpoint counts (the driver).

use super::{Partition, RowId};
use crate::log::{LogWriter, SLICE_BYTES};
use crate::message::{Outbox, PeerBody};

/// The round of a partition.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// From 1; 0: there was none.
    number: u64,
    /// The first record that the checkpoint does not make superfluous.
    begins: u64,
    /// How many other partitions have walked.
    walked: usize,
    stage: Stage,
}

/// How far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// None is under way.
    #[default]
    Over,
    /// From that row on.
    Walking(usize),
    /// Until all have walked.
    Waiting,
    /// So many sweeps are to be gone through.
    Sweeping(u8),
}

/// What a slice of a round left to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoundSlice {
    /// A part of the checkpoint.
    pub part: Option<Vec<u8>>,
    /// It is over.
    pub end: Option<RoundEnd>,
}

/// Where a round leaves a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoundEnd {
    /// Which round.
    pub round: u64,
    /// The first record that the checkpoint does not make superfluous.
    pub begins: u64,
    /// The checkpoint counts once this one is on disk; 0: at once.
    pub ends: u64,
}

impl Partition {
    /// The round that it began last; 0: none.
    pub const fn round(&self) -> u64 {
        self.round.number
    }

    /// Whether it has something to do for the round that it began last.
    pub fn is_in_round(&self) -> bool {
        match self.round.stage {
            Stage::Over => false,
            Stage::Waiting => self.has_heard_all(),
            Stage::Walking(_) | Stage::Sweeping(_) => true,
        }
    }

    /// Begins a round, unless it has.
    pub fn begin_round(&mut self, number: u64) {
        let Some(sweeping) = self.sweeping.as_ref().filter(|_| number > self.round.number) else { return };
        let next = sweeping.record_number();
        let begins = self.commits.oldest().map_or(next, |oldest| oldest.min(next));
        self.round = Round { number, begins, walked: 0, stage: Stage::Walking(0) };
    }

    /// Goes on with the round, by up to so many images.
    pub fn go_round(&mut self, images_max: usize, outbox: &mut Outbox) -> RoundSlice {
        match self.round.stage {
            Stage::Walking(row) => self.walk(row, images_max, outbox),
            Stage::Waiting if self.has_heard_all() => {
                // What is being swept may have begun before the last of it came.
                self.round.stage = Stage::Sweeping(if self.is_mid_sweep() { 2 } else { 1 });
                RoundSlice::default()
            }
            Stage::Sweeping(left) => {
                if !self.sweep(images_max) {
                    return RoundSlice::default();
                }
                if left > 1 {
                    self.round.stage = Stage::Sweeping(left - 1);
                    return RoundSlice::default();
                }
                self.round.stage = Stage::Over;
                let Round { number: round, begins, .. } = self.round;
                let ends = self.sweeping.as_ref().map_or(0, |sweeping| sweeping.last_record());
                RoundSlice { part: None, end: Some(RoundEnd { round, begins, ends }) }
            }
            Stage::Waiting | Stage::Over => RoundSlice::default(),
        }
    }

    /// Another partition has walked.
    pub(super) fn hear_walked(&mut self, round: u64) {
        if round == self.round.number {
            self.round.walked += 1;
        }
    }

    /// Whether all that leaves now has to be written, since it was not walked.
    pub(super) fn has_yet_to_walk(&self, id: RowId) -> bool {
        matches!(self.round.stage, Stage::Walking(row) if row <= id.0 as usize)
    }

    fn has_heard_all(&self) -> bool {
        self.round.walked + 1 == self.map.ids().count()
    }

    fn walk(&mut self, row: usize, images_max: usize, outbox: &mut Outbox) -> RoundSlice {
        let most = self.store.row_count().min(row.saturating_add(images_max));
        let (mut part, mut end): (Option<LogWriter>, usize) = (None, row);
        while end < most && part.as_ref().is_none_or(|part| part.len() < SLICE_BYTES) {
            let id = RowId(end as u32);
            if self.store.live_row(id).is_some() {
                self.write_whole(&mut part, id);
            }
            end += 1;
        }
        if end < self.store.row_count() {
            self.round.stage = Stage::Walking(end);
        } else {
            self.round.stage = Stage::Waiting;
            let others: Vec<_> = self.map.ids().filter(|id| *id != self.id).collect();
            others.into_iter().for_each(|to| self.send(to, PeerBody::Walked(self.round.number), outbox));
        }
        RoundSlice { part: part.map(LogWriter::finish), end: None }
    }
}
