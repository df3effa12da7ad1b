//! Workers: they come, go, fall silent and are drained.

use std::collections::BTreeSet;

use spatialdb_types::{Epoch, Error, Reason, RegionId, SessionId};

use super::stall::Pace;
use super::{Issuer, IssuerOutbox, LossReason, Notice, Region, Said, Stand};
use crate::Micros;

/// A worker that attaches.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WorkerInfo {
    /// Its type: which layers it may serve.
    pub worker_type: String,
    /// Its name.
    pub name: String,
    /// So many regions it takes at most.
    pub regions_max: u32,
}

/// What the issuer knows of a worker.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Worker {
    pub(super) info: WorkerInfo,
    /// Reaches further into the past while the worker says nothing.
    heard_at: Micros,
    /// Since when the server does not read it.
    pub(super) unread_since: Option<Micros>,
    pub(super) is_silent: bool,
    pub(super) pace: Pace,
    pub(super) is_draining: bool,
    /// The highest epoch that it has processed, all that it wrote before being decided.
    pub(super) seen: Epoch,
    /// As it says: thousandths of what it can do.
    pub(super) load_reported: u32,
    /// Grants that it was not told of yet.
    pub(super) untold: BTreeSet<(Epoch, RegionId)>,
}

impl Worker {
    /// Whether it may get anything.
    pub(super) const fn is_willing(&self) -> bool {
        !self.is_silent && !self.pace.is_stalled && !self.is_draining
    }
}

impl Issuer {
    /// A worker is there.
    ///
    /// # Panics
    /// If the session is attached already.
    pub fn attach(&mut self, session: SessionId, info: WorkerInfo, now: Micros, outbox: &mut IssuerOutbox) {
        self.clock(now);
        let worker = Worker {
            info,
            heard_at: now,
            unread_since: None,
            is_silent: false,
            pace: Pace::default(),
            is_draining: false,
            seen: Epoch(0),
            load_reported: 0,
            untold: BTreeSet::new(),
        };
        assert!(self.workers.insert(session, worker).is_none(), "session {session} is attached twice");
        self.note_worker(session);
        self.player_comes(session, outbox);
        self.settle(outbox);
    }

    /// A worker's session is over: it loses all at once.
    pub fn detach(&mut self, session: SessionId, now: Micros, outbox: &mut IssuerOutbox) {
        self.clock(now);
        self.release_all(session, outbox);
        if self.workers.contains_key(&session) {
            self.take_all(session, LossReason::Ended, outbox);
            self.workers.remove(&session);
            self.note_worker(session);
        }
        self.settle(outbox);
    }

    /// What a worker says, now that all that it sent before is decided.
    pub fn hear(&mut self, session: SessionId, said: Said, now: Micros, outbox: &mut IssuerOutbox) {
        match said {
            Said::Seen(epoch) => self.seen(session, epoch, now, outbox),
            Said::Warmed(region) => self.warmed(session, region, now, outbox),
            Said::Flushed(region, epoch) => self.flushed(session, region, epoch, now, outbox),
        }
    }

    /// Anything came from a worker.
    pub fn heard(&mut self, session: SessionId, now: Micros, outbox: &mut IssuerOutbox) {
        self.clock(now);
        let Some(worker) = self.workers.get_mut(&session) else { return };
        worker.heard_at = now;
        if std::mem::take(&mut worker.is_silent) {
            self.note_worker(session);
        }
        self.settle(outbox);
    }

    /// How busy a worker says it is, in thousandths of what it can do.
    pub fn reported(&mut self, session: SessionId, load: u32) {
        if let Some(worker) = self.workers.get_mut(&session) {
            worker.load_reported = load;
        }
    }

    /// A worker has processed all grants up to an epoch, and all that it wrote before is decided.
    pub fn seen(&mut self, session: SessionId, epoch: Epoch, now: Micros, outbox: &mut IssuerOutbox) {
        self.clock(now);
        if let Some(worker) = self.workers.get_mut(&session).filter(|worker| worker.seen < epoch) {
            worker.seen = epoch;
            self.changed_workers.insert(session);
            self.is_restless = true;
        }
        self.settle(outbox);
    }

    /// The server stops reading a session, because something else is full: from now on silence is not the worker's.
    pub fn reading_paused(&mut self, session: SessionId, now: Micros) {
        self.clock(now);
        if let Some(worker) = self.workers.get_mut(&session) {
            worker.unread_since.get_or_insert(now);
        }
    }

    /// The server reads the session again.
    pub fn reading_resumed(&mut self, session: SessionId, now: Micros) {
        self.clock(now);
        if let Some(worker) = self.workers.get_mut(&session)
            && let Some(since) = worker.unread_since.take()
        {
            worker.heard_at = (worker.heard_at + (now - since)).min(now);
        }
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Micros, outbox: &mut IssuerOutbox) {
        self.clock(now);
        let until = |worker: &Worker| worker.heard_at + self.patience.lease_ttl;
        let is_late =
            |worker: &Worker| !worker.is_silent && worker.unread_since.is_none() && until(worker) <= now;
        let late: Vec<_> =
            self.workers.iter().filter(|(_, w)| is_late(w)).map(|(session, _)| *session).collect();
        for session in late {
            if let Some(worker) = self.workers.get_mut(&session) {
                worker.is_silent = true;
            }
            self.take_all(session, LossReason::Silent, outbox);
            self.note_worker(session);
        }
        self.end_promises();
        self.hurry_handovers(outbox);
        self.release_late(outbox);
        self.settle(outbox);
    }

    /// When [`Issuer::tick`] has something to do if nothing else happens.
    pub fn next_due(&self) -> Option<Micros> {
        let counts = |worker: &&Worker| !worker.is_silent && worker.unread_since.is_none();
        let silences = self.workers.values().filter(counts).map(|w| w.heard_at + self.patience.lease_ttl);
        let handovers = self.regions.values().filter_map(|region| Some(region.handover()?.deadline));
        silences.chain(handovers).chain(self.next_release()).chain(self.promises.until()).min()
    }

    /// A worker gets nothing more, and what it has goes to others, as far as there are others.
    ///
    /// # Errors
    /// [`Reason::WorkerNotFound`]; that too if it is a player, whose entities can go to nobody else.
    pub fn drain(&mut self, session: SessionId, now: Micros, outbox: &mut IssuerOutbox) -> Result<(), Error> {
        self.clock(now);
        let not_found = || Error::new(Reason::WorkerNotFound, format!("no worker has session {session}"));
        let worker = self.workers.get_mut(&session).ok_or_else(not_found)?;
        if let Some((region, _)) =
            self.regions.iter().find(|(_, r)| r.player.is_some() && r.concerns(session))
        {
            let detail = format!(
                "session {session} is player {}: nobody else may own region {region}; it is free when the session ends",
                worker.info.name
            );
            return Err(Error::new(Reason::WorkerNotFound, detail));
        }
        if !std::mem::replace(&mut worker.is_draining, true) {
            outbox.sessions.push((session, Notice::Drain));
            self.leave_out(session, outbox);
            self.note_worker(session);
        }
        self.settle(outbox);
        Ok(())
    }

    pub(super) fn note_worker(&mut self, session: SessionId) {
        self.changed_workers.insert(session);
        (self.is_restless, self.is_room) = (true, true);
    }

    /// It is called at least every `tick_max`. In more time than that it did not run, and nobody could be heard.
    pub(super) fn clock(&mut self, now: Micros) {
        let uncounted = now.saturating_sub(self.now).saturating_sub(self.patience.tick_max);
        for worker in self.workers.values_mut().filter(|_| uncounted > 0) {
            worker.heard_at = (worker.heard_at + uncounted).min(now);
        }
        self.now = self.now.max(now);
    }

    /// Takes all from a session, and what it would have got.
    pub(super) fn take_all(&mut self, session: SessionId, why: LossReason, outbox: &mut IssuerOutbox) {
        self.leave_out(session, outbox);
        let owned = self.regions.iter().filter(|(_, region)| region.owner() == Some(session));
        let owned: Vec<_> = owned.map(|(id, region)| (*id, region.handover().map(|h| h.to))).collect();
        for (region, next) in owned {
            self.revoke(region, next, why, outbox);
        }
    }

    /// A session gets nothing of what it was about to get.
    fn leave_out(&mut self, session: SessionId, outbox: &mut IssuerOutbox) {
        let concerned = |region: &Region| region.concerns(session) && region.owner() != Some(session);
        let concerned: Vec<_> =
            self.regions.iter().filter(|(_, r)| concerned(r)).map(|(id, _)| *id).collect();
        for region in concerned {
            match &mut self.region_mut(region).stand {
                Stand::Revoking { next, .. } => {
                    *next = None;
                    self.is_room = true;
                    outbox.sessions.push((session, Notice::Cool(region)));
                }
                _ => self.call_off(region, outbox),
            }
        }
    }
}
