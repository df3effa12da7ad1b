//! What each worker has, summed up once for many questions.

use std::collections::BTreeMap;

use spatialdb_types::{LayerId, RegionId, SessionId};

use super::{Issuer, Region};
use crate::authority::layers::Strategy;

/// What all workers have, or are about to get, at one moment.
#[derive(Debug, Default)]
pub(super) struct Burdens {
    of: BTreeMap<SessionId, Burden>,
    /// Of layers with one owner: the regions that workers have who may keep them.
    single: BTreeMap<LayerId, Vec<(RegionId, SessionId)>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Burden {
    regions: usize,
    /// Thousandths of what one worker should have.
    share: u64,
}

impl Issuer {
    /// Looks at every region once.
    pub(super) fn burdens(&self) -> Burdens {
        let mut burdens = Burdens::default();
        for (id, region) in &self.regions {
            for session in region.owner().into_iter().chain(region.next()) {
                self.note_burden(*id, region, session, &mut burdens);
            }
        }
        burdens
    }

    /// A worker gets a region besides.
    pub(super) fn add_burden(&self, region: RegionId, session: SessionId, burdens: &mut Burdens) {
        self.note_burden(region, self.region(region), session, burdens);
    }

    /// Whether a worker may get a region.
    pub(super) fn may_get(&self, session: SessionId, region: RegionId, burdens: &Burdens) -> bool {
        let Some(worker) = self.workers.get(&session).filter(|worker| worker.is_willing()) else {
            return false;
        };
        let state = self.region(region);
        let rule = self.layers.get(state.layer);
        let others = burdens.regions(session) - usize::from(state.concerns(session));
        let singles = burdens.single.get(&state.layer).map(Vec::as_slice).unwrap_or_default();
        if let Some(player) = &state.player {
            return rule.worker_type == worker.info.worker_type && **player == *worker.info.name;
        }
        rule.worker_type == worker.info.worker_type
            && self.fits(state, session)
            && self.promises.allow(region, &worker.info.name)
            && others < worker.info.regions_max as usize
            && singles.iter().find(|(id, _)| *id != region).is_none_or(|(_, sole)| *sole == session)
    }

    /// Whether a region is not pinned to a worker of another name.
    pub(super) fn fits(&self, region: &Region, session: SessionId) -> bool {
        let pinned_to = region.pin.as_ref().and_then(|pin| pin.worker.as_ref());
        pinned_to.is_none_or(|name| *name == self.workers[&session].info.name)
    }

    /// The worker that may get a region and has least to do; of a player's the session that came last.
    pub(super) fn choose(
        &self,
        region: RegionId,
        except: Option<SessionId>,
        burdens: &Burdens,
    ) -> Option<SessionId> {
        let others = self.workers.keys().copied().filter(|session| Some(*session) != except);
        let mut free = others.filter(|session| self.may_get(*session, region, burdens));
        if self.region(region).player.is_some() {
            // The player's last session.
            return free.next_back();
        }
        free.min_by_key(|&session| burdens.rank(session))
    }

    fn note_burden(&self, id: RegionId, region: &Region, session: SessionId, burdens: &mut Burdens) {
        let burden = burdens.of.entry(session).or_default();
        burden.regions += 1;
        burden.share += self.share_of(region);
        let is_single = self.layers.get(region.layer).strategy == Strategy::Single;
        let stays = |worker: &super::Worker| worker.is_willing() && self.fits(region, session);
        if is_single && self.workers.get(&session).is_some_and(stays) {
            burdens.single.entry(region.layer).or_default().push((id, session));
        }
    }
}

impl Burdens {
    /// How many regions a worker has.
    pub(super) fn regions(&self, session: SessionId) -> usize {
        self.of.get(&session).map_or(0, |burden| burden.regions)
    }

    /// Thousandths of what it should have.
    pub(super) fn share(&self, session: SessionId) -> u64 {
        self.of.get(&session).map_or(0, |burden| burden.share)
    }

    /// Who has less comes first.
    pub(super) fn rank(&self, session: SessionId) -> (u64, usize, SessionId) {
        (self.share(session), self.regions(session), session)
    }
}
