//! What the issuer tells partitions, and what they answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use spatialdb_types::{Epoch, LayerId, RegionId, SessionId, SpaceId};

use super::players::Players;
use super::{Lease, LeaseTable, PlayerRegion};
use crate::authority::tiling::Tiling;

/// From the issuer to a partition, in order. To be heard before writes that are queued.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// Everything, after a start or restart. Answered with [`Answer::Complete`] and the same number.
    Reset(u64, Arc<Table>),
    /// Regions have other shapes. Who owns a point stays the same, so it needs no answer.
    Reshape(Arc<NewShape>),
    /// A player has a region. Nobody owns it yet, so it needs no answer.
    Begin(RegionId, PlayerRegion),
    /// A player has no region any more. All have said that nobody owns it, so it needs no answer.
    End(RegionId),
    /// Accept nothing more under this grant.
    Revoke(RegionId, Epoch),
    /// Accept the session's writes from now on.
    Grant(RegionId, Epoch, SessionId),
}

/// From a partition to the issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Answer {
    /// The partition has taken the whole table.
    Complete(u64),
    /// No write under this grant, or an older one, is accepted here from now on.
    Revoked(RegionId, Epoch),
    /// Writes under this grant are accepted here from now on.
    Granted(RegionId, Epoch),
    /// Nothing was asked: something was written here under this grant, perhaps for the first time.
    Written(RegionId, Epoch),
}

/// All that a partition needs to know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Table {
    /// Where regions lie.
    pub tilings: BTreeMap<(LayerId, SpaceId), Arc<Tiling>>,
    /// The regions of entities without a position.
    pub nowhere: BTreeMap<LayerId, RegionId>,
    /// The regions of players.
    pub players: BTreeMap<RegionId, PlayerRegion>,
    /// Who owns them, by rising region.
    pub leases: Vec<(RegionId, Lease)>,
}

/// The regions of one layer in one space have other shapes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NewShape {
    /// Which layer.
    pub layer: LayerId,
    /// In which space.
    pub space: SpaceId,
    /// From now on.
    pub tiling: Arc<Tiling>,
    /// A region that was made out of another one, or that took one in.
    pub region: RegionId,
    /// What is known of it now.
    pub lease: Lease,
    /// The region that it took in.
    pub gone: Option<RegionId>,
}

impl LeaseTable {
    /// Takes an order of the issuer. Returns the answer, if it wants one.
    pub fn obey(&mut self, order: &Order) -> Option<Answer> {
        let answer = self.follow_order(order);
        if !self.ended.is_empty() {
            self.forget_ended();
        }
        answer
    }

    fn follow_order(&mut self, order: &Order) -> Option<Answer> {
        match order {
            Order::Reset(number, table) => {
                self.reset(table);
                Some(Answer::Complete(*number))
            }
            Order::Reshape(shape) => {
                self.reshape(shape);
                None
            }
            Order::Begin(region, of) => {
                self.begin_player(*region, of);
                None
            }
            Order::End(region) => {
                self.end_player(*region);
                None
            }
            // Of a region that is not known, nothing is accepted anyway.
            &Order::Revoke(region, epoch) => {
                self.learn(region, Lease::revoked(epoch));
                Some(Answer::Revoked(region, epoch))
            }
            // Not known after a restart: the table that comes will have it.
            &Order::Grant(region, epoch, owner) => {
                self.learn(region, Lease::granted(epoch, owner)).then_some(Answer::Granted(region, epoch))
            }
        }
    }

    /// Forgets everything but what entities carry: after a restart, until the whole table comes.
    pub fn forget(&mut self) {
        self.version += 1;
        self.is_known = false;
        self.tilings.clear();
        self.nowhere.clear();
        self.players = Players::default();
        self.leases.clear();
    }

    fn reset(&mut self, table: &Table) {
        let known = std::mem::take(&mut self.leases);
        self.version += 1;
        self.is_known = true;
        self.tilings.clone_from(&table.tilings);
        self.nowhere.clone_from(&table.nowhere);
        self.players = Players::new(&table.players);
        self.leases.clone_from(&table.leases);
        self.learn_all(known);
    }

    fn reshape(&mut self, shape: &NewShape) {
        let Some(tiling) = self.tilings.get_mut(&(shape.layer, shape.space)) else { return };
        *tiling = Arc::clone(&shape.tiling);
        self.version += 1;
        if let Err(at) = self.leases.binary_search_by_key(&shape.region, |(id, _)| *id) {
            self.leases.insert(at, (shape.region, shape.lease));
        }
        self.learn(shape.region, shape.lease);
        if let Some(gone) = shape.gone {
            self.leases.retain(|(id, _)| *id != gone);
            self.apart.rename_region(gone, shape.region);
        }
    }
}
