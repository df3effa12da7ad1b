//! Workers that say they live and stand still.
//!
//! Heartbeats may go on while the loop behind them hangs. What shows that loop the wire has anyway: all that a worker says
//! besides, the frames that it says to have processed, and what its ticks take. Who has nothing to do shows nothing either:
//! so only time counts in which something waits for the worker, and it is judged when it says the next time that it lives.

use spatialdb_types::SessionId;

use super::{Issuer, IssuerOutbox, LossReason, Region, Stand};
use crate::Micros;

/// What a worker has shown of its own loop so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Signs {
    /// How many heartbeats came.
    pub beats: u64,
    /// How many other messages came.
    pub said: u64,
    /// What it says that its last tick took: any number that changes when that does.
    pub tick: u64,
    /// The last frame that it says to have processed; 0: it names none.
    pub frame_seen: u64,
    /// The last frame that it was sent.
    pub frame_sent: u64,
}

/// How a worker has stood, if it is asked how long it may stand still.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Pace {
    signs: Signs,
    noted_at: Micros,
    /// Something waited for it when it was looked at last.
    is_awaited: bool,
    /// For how long something has waited since it went on last.
    stood: Micros,
    pub(super) is_stalled: bool,
}

impl Signs {
    /// Whether its loop has gone on since.
    const fn is_step_after(&self, before: &Self) -> bool {
        self.said > before.said || self.frame_seen > before.frame_seen || self.tick != before.tick
    }

    /// Whether there are frames that it should have processed.
    const fn has_unseen(&self) -> bool {
        0 < self.frame_seen && self.frame_seen < self.frame_sent
    }
}

impl Issuer {
    /// What a worker has shown of its loop by now. To be told at every tick.
    pub fn noted(&mut self, session: SessionId, signs: Signs, now: Micros, outbox: &mut IssuerOutbox) {
        self.clock(now);
        let Some(stall_after) = self.patience.stall_after else { return };
        let is_awaited = signs.has_unseen() || self.awaits(session);
        let tick_max = self.patience.tick_max;
        let Some(worker) = self.workers.get_mut(&session) else { return };
        let pace = &mut worker.pace;
        let is_beat = signs.beats > pace.signs.beats;
        let was_stalled = pace.is_stalled;
        if signs.is_step_after(&pace.signs) || worker.unread_since.is_some() {
            (pace.stood, pace.is_stalled) = (0, false);
        } else if pace.is_awaited {
            pace.stood += now.saturating_sub(pace.noted_at).min(tick_max);
        }
        pace.is_stalled |= is_beat && pace.stood >= stall_after;
        (pace.signs, pace.noted_at, pace.is_awaited) = (signs, now, is_awaited);
        let is_stalled = pace.is_stalled;
        if is_stalled == was_stalled {
            return;
        }
        if is_stalled {
            self.take_all(session, LossReason::Stalled, outbox);
        }
        self.note_worker(session);
        self.settle(outbox);
    }

    /// Whether a worker has been told of something that it should have answered: of a region that is its own, or that it
    /// should get warm for.
    fn awaits(&self, session: SessionId) -> bool {
        let Some(worker) = self.workers.get(&session) else { return false };
        let is_unseen = |region: &Region| {
            matches!(region.stand, Stand::Owned { owner, .. } if owner == session)
                && region.epoch > worker.seen
        };
        let is_cold = |region: &Region| region.handover().is_some_and(|h| h.to == session && !h.is_warm);
        self.regions.iter().any(|(id, region)| {
            is_cold(region) || is_unseen(region) && !worker.untold.contains(&(region.epoch, *id))
        })
    }
}
