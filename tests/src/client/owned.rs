//! What a client believes to own, from nothing but what it is told.

use std::collections::BTreeMap;

use spatialdb_proto::v1::{self, authority::Body, client_message};

use super::Client;

/// A worker's regions and their entities.
#[derive(Debug, Default)]
pub struct Owned {
    /// The last message.
    pub number: u64,
    /// Its regions.
    pub regions: BTreeMap<u64, v1::Lease>,
    /// Which region, of which grant, each entity of a layer belongs to.
    pub entities: BTreeMap<(String, u64), (u64, u64)>,
    /// What tools hold of it, by entity and component.
    pub holds: BTreeMap<(u64, u32), v1::ComponentHold>,
    /// What it lost, in order.
    pub lost: Vec<v1::RegionLost>,
    /// It gets nothing more.
    pub is_drained: bool,
    /// Regions that it was asked to get warm for.
    pub warm: Vec<u64>,
    /// What it has to say.
    due: v1::AuthorityReport,
}

impl Owned {
    /// Whether it owns an entity in a layer.
    pub fn owns(&self, layer: &str, entity: u64) -> bool {
        let of = self.entities.get(&(layer.to_owned(), entity));
        of.is_some_and(|(region, _)| self.regions.contains_key(region))
    }

    /// Whether it is about to lose something, and has not said yet that it has written what it had of that.
    pub fn is_losing(&self) -> bool {
        !self.due.flushed.is_empty()
    }

    pub(super) fn take(&mut self, message: &v1::Authority) {
        assert_eq!(message.number, self.number + 1, "authority messages have no gaps");
        self.number = message.number;
        match message.body.as_ref().expect("a body") {
            Body::Gained(lease) | Body::Shaped(lease) => {
                self.regions.insert(lease.region, lease.clone());
            }
            Body::Joined(joined) => {
                self.regions.remove(&joined.gone);
                let of_it = self.entities.values_mut().filter(|(region, _)| *region == joined.gone);
                of_it.for_each(|(region, _)| *region = joined.keep);
            }
            Body::Lost(lost) => {
                assert!(self.regions.remove(&lost.region).is_some(), "it had region {}", lost.region);
                self.entities.retain(|_, (region, epoch)| *region != lost.region || *epoch > lost.epoch);
                self.lost.push(*lost);
            }
            Body::LossImminent(loss) => {
                self.due.flushed.push(v1::RegionGrant { region: loss.region, epoch: loss.epoch });
            }
            Body::Warm(lease) => {
                self.warm.push(lease.region);
                self.due.warmed.push(lease.region);
            }
            Body::Entities(words) => {
                for change in &words.changes {
                    for &entity in &change.entities {
                        let key = (change.layer.clone(), entity);
                        if change.gained {
                            self.entities.insert(key, (change.region, change.epoch));
                        } else {
                            self.entities.remove(&key);
                        }
                    }
                }
            }
            Body::Holds(words) => {
                for hold in &words.holds {
                    let key = (hold.entity, hold.component);
                    if !hold.over {
                        let held = self.holds.entry(key).or_insert(*hold);
                        if hold.epoch > held.epoch {
                            *held = *hold;
                        }
                    } else if self.holds.get(&key).is_some_and(|held| held.epoch == hold.epoch) {
                        self.holds.remove(&key);
                    }
                }
            }
            Body::Drain(_) => self.is_drained = true,
            Body::Borders(_) | Body::Kept(_) | Body::Cool(_) => {}
        }
    }
}

impl Client {
    /// Says what it has seen, and that it has flushed and warmed what it was asked to.
    pub async fn report(&mut self) {
        let due = std::mem::take(&mut self.owned.due);
        let report = v1::AuthorityReport { authority_seen: self.owned.number, ..due };
        self.send(client_message::Body::AuthorityReport(report)).await;
    }
}
