//! What people may ask for.

use spatialdb_types::{Error, Reason, RegionId, SessionId};

use super::balance::best_cut;
use super::{Issuer, IssuerOutbox, Loads, Pin};
use crate::Micros;
use crate::authority::layers::Strategy;
use crate::authority::tiling::{Cut, Half};

impl Issuer {
    /// Cuts a region in two. The high half is new, and goes to the worker with the least to do, if there is another one.
    ///
    /// # Errors
    /// [`Reason::RegionNotFound`], [`Reason::RegionShape`], [`Reason::RegionBusy`], [`Reason::LimitReached`].
    pub fn split(
        &mut self,
        region: RegionId,
        cut: Cut,
        now: Micros,
        outbox: &mut IssuerOutbox,
    ) -> Result<RegionId, Error> {
        self.clock(now);
        self.split_at(region, cut, outbox)
    }

    /// Cuts a region in two where that shares out its load best. The high half is new, as with [`Issuer::split`].
    ///
    /// # Errors
    /// As [`Issuer::split`]; [`Reason::RegionShape`] too if most of its load is in one place.
    pub fn split_by_load(
        &mut self,
        region: RegionId,
        loads: &Loads,
        now: Micros,
        outbox: &mut IssuerOutbox,
    ) -> Result<RegionId, Error> {
        self.clock(now);
        self.check_at_rest(region)?;
        self.check_has_shape(region)?;
        let shares = self.take_loads(loads);
        let squares = shares.get(&region).map(Vec::as_slice).unwrap_or_default();
        let Some((cut, low)) = best_cut(squares, loads.side_m, &self.area(region)) else {
            let load = self.region(region).load;
            let detail = format!(
                "region {region} has a load of {load}, and most of it in one place: say where to cut it"
            );
            return Err(Error::new(Reason::RegionShape, detail));
        };
        let new = self.split_at(region, cut, outbox)?;
        let high = self.region(region).load.saturating_sub(low);
        self.region_mut(region).load = low;
        self.region_mut(new).load = high;
        self.settle(outbox);
        Ok(new)
    }

    fn split_at(&mut self, region: RegionId, cut: Cut, outbox: &mut IssuerOutbox) -> Result<RegionId, Error> {
        let new = self.split_now(region, cut, Half::High, outbox)?;
        if let Some(owner) = self.settled_owner(new)
            && let Some(to) = self.choose(new, Some(owner), &self.burdens())
        {
            self.hand_over(new, to, outbox);
        }
        self.settle(outbox);
        Ok(new)
    }

    /// Makes two regions one: `gone` goes to the owner of `keep`, then they are joined.
    ///
    /// # Errors
    /// [`Reason::RegionNotFound`], [`Reason::RegionShape`], [`Reason::RegionBusy`]; [`Reason::LimitReached`] if the owner
    /// takes no more.
    pub fn merge(
        &mut self,
        gone: RegionId,
        keep: RegionId,
        now: Micros,
        outbox: &mut IssuerOutbox,
    ) -> Result<(), Error> {
        self.clock(now);
        self.check_at_rest(gone)?;
        self.check_at_rest(keep)?;
        if !self.can_join(gone, keep) {
            let detail =
                format!("regions {gone} and {keep} cannot be joined: they are not two halves of one cut");
            return Err(Error::new(Reason::RegionShape, detail));
        }
        match (self.settled_owner(gone), self.settled_owner(keep)) {
            (Some(from), Some(to)) if from != to => {
                if !self.may_get(to, gone, &self.burdens()) {
                    let detail = format!("session {to}, which owns region {keep}, takes no more regions");
                    return Err(Error::new(Reason::LimitReached, detail));
                }
                self.hand_over(gone, to, outbox);
            }
            (a, b) if a.is_some() != b.is_some() => {
                let detail = format!("one of regions {gone} and {keep} has no owner; try again");
                return Err(Error::new(Reason::RegionBusy, detail));
            }
            _ => {}
        }
        self.region_mut(gone).joins = Some(keep);
        self.settle(outbox);
        Ok(())
    }

    /// A region keeps its shape from now on; with a name, only the worker of that name may own it. In a layer that has one
    /// owner for all this goes for all its regions.
    ///
    /// # Errors
    /// [`Reason::RegionNotFound`]; [`Reason::RegionShape`] if it is a player's.
    pub fn pin(
        &mut self,
        region: RegionId,
        worker: Option<String>,
        now: Micros,
        outbox: &mut IssuerOutbox,
    ) -> Result<(), Error> {
        self.set_pin(region, Some(&Pin { worker }), now, outbox)
    }

    /// A region may change its shape again.
    ///
    /// # Errors
    /// As [`Issuer::pin`].
    pub fn unpin(&mut self, region: RegionId, now: Micros, outbox: &mut IssuerOutbox) -> Result<(), Error> {
        self.set_pin(region, None, now, outbox)
    }

    /// The session of the worker with a name.
    ///
    /// # Errors
    /// [`Reason::WorkerNotFound`].
    pub fn worker_named(&self, name: &str) -> Result<SessionId, Error> {
        let found = self.workers.iter().find(|(_, worker)| worker.info.name == name);
        let not_found = || Error::new(Reason::WorkerNotFound, format!("no worker is named {name}"));
        found.map(|(session, _)| *session).ok_or_else(not_found)
    }

    fn set_pin(
        &mut self,
        region: RegionId,
        pin: Option<&Pin>,
        now: Micros,
        outbox: &mut IssuerOutbox,
    ) -> Result<(), Error> {
        self.clock(now);
        let not_found = || Error::new(Reason::RegionNotFound, format!("no region {region}"));
        if let Some(player) = &self.regions.get(&region).ok_or_else(not_found)?.player {
            let detail =
                format!("region {region} is of player {player}: it has no shape, and nobody else may own it");
            return Err(Error::new(Reason::RegionShape, detail));
        }
        let layer = self.region(region).layer;
        let is_single = self.layers.get(layer).strategy == Strategy::Single;
        let all = self.regions.iter().filter(|(id, r)| **id == region || is_single && r.layer == layer);
        for region in all.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.region_mut(region).pin = pin.cloned();
            let promised = self.region(region).handover();
            if promised.is_some_and(|handover| !self.fits(self.region(region), handover.to)) {
                self.call_off(region, outbox);
            }
        }
        self.is_room = true;
        self.settle(outbox);
        Ok(())
    }
}
