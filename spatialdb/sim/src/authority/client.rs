//! A worker: what it believes to own, from nothing but what it is told.

use std::collections::{BTreeMap, VecDeque};

use spatialdb_core::authority::issuer::{Notice, Said};
use spatialdb_core::authority::layers::Layers;
use spatialdb_core::authority::leases::Hold;
use spatialdb_core::{AuthorityBody, AuthorityMessage, EntityAuthority, HoldWord, SeenTable};
use spatialdb_types::{ComponentId, EntityId, Epoch, LayerId, RegionId, Revision, Seq};

use crate::judge::Failure;

/// A worker.
#[derive(Debug, Default)]
pub(super) struct Worker {
    /// The last message that it has processed.
    pub(super) number: u64,
    /// What that means; kept where its session is.
    pub(super) table: SeenTable,
    /// Its regions.
    pub(super) regions: BTreeMap<RegionId, (LayerId, Epoch)>,
    /// Which region entities belong to, and since when.
    pub(super) entities: BTreeMap<(EntityId, LayerId), (RegionId, Epoch)>,
    /// What tools hold of it.
    pub(super) held: BTreeMap<(EntityId, ComponentId), Hold>,
    /// The highest epoch that it was told, and the latest clock of each gain: never forgotten.
    pub(super) told_epoch: Epoch,
    pub(super) told_gains: BTreeMap<(EntityId, LayerId), Revision>,
    /// What it has to say to the issuer, once its messages up to that one are decided.
    pub(super) said: VecDeque<(Seq, Said)>,
}

impl Worker {
    /// Processes a message; `seq` is the last message that it sent.
    ///
    /// # Errors
    /// What may not be said.
    pub(super) fn take(&mut self, message: &AuthorityMessage, seq: Seq) -> Result<(), Failure> {
        if message.number != self.number + 1 {
            return broken(format!("authority message {} came after {}", message.number, self.number));
        }
        self.number = message.number;
        self.table.note(message);
        match &message.body {
            AuthorityBody::Notice(notice) => self.take_notice(notice, seq),
            AuthorityBody::Holds(words) => {
                for HoldWord { entity, component, hold, is_over } in words {
                    let key = (*entity, *component);
                    if !is_over {
                        let held = self.held.entry(key).or_insert(*hold);
                        if hold.epoch > held.epoch {
                            *held = *hold;
                        }
                    } else if self.held.get(&key) == Some(hold) {
                        self.held.remove(&key);
                    }
                }
                Ok(())
            }
            AuthorityBody::Entities(words) => {
                words.iter().for_each(|word| self.take_entity(word));
                Ok(())
            }
        }
    }

    /// Those words that give it what it does not think it has.
    pub(super) fn fresh(&self, words: &[EntityAuthority]) -> Vec<EntityAuthority> {
        let is_fresh = |word: &&EntityAuthority| {
            word.is_gain() && !self.entities.contains_key(&(word.entity, word.layer))
        };
        words.iter().filter(is_fresh).copied().collect()
    }

    /// Whether it believes to own an entity.
    pub(super) fn owns(&self, entity: EntityId, layer: LayerId) -> bool {
        self.entities.get(&(entity, layer)).is_some_and(|(region, _)| self.regions.contains_key(region))
    }

    /// All that it believes it may write.
    pub(super) fn own(&self, layers: &Layers) -> Vec<(EntityId, ComponentId)> {
        let owned = self.entities.keys().filter(|(entity, layer)| self.owns(*entity, *layer));
        let writes = |layer: LayerId| layers.get(layer).writes.clone();
        owned.flat_map(|&(entity, layer)| writes(layer).into_iter().map(move |c| (entity, c))).collect()
    }

    fn take_entity(&mut self, word: &EntityAuthority) {
        let EntityAuthority { entity, layer, region, epoch, word, clock } = *word;
        if word.is_gain() {
            self.entities.insert((entity, layer), (region, epoch));
            let told = self.told_gains.entry((entity, layer)).or_default();
            *told = clock.max(*told);
        } else {
            self.entities.remove(&(entity, layer));
        }
    }

    fn take_notice(&mut self, notice: &Notice, seq: Seq) -> Result<(), Failure> {
        match notice {
            Notice::Gained(lease) => {
                if lease.epoch <= self.told_epoch {
                    return broken(format!("epoch {} is told after {}", lease.epoch, self.told_epoch));
                }
                self.told_epoch = lease.epoch;
                self.regions.insert(lease.region, (lease.layer, lease.epoch));
                self.said.push_back((seq, Said::Seen(lease.epoch)));
            }
            Notice::Shaped(lease) => {
                self.regions.insert(lease.region, (lease.layer, lease.epoch));
            }
            Notice::Joined(gone, keep) => {
                self.regions.remove(gone);
                for (region, _) in self.entities.values_mut().filter(|(region, _)| region == gone) {
                    *region = *keep;
                }
            }
            Notice::Lost(region, epoch, _) => {
                if self.regions.remove(region).is_none() {
                    return broken(format!("region {region} is lost and was not there"));
                }
                self.entities.retain(|_, (of, since)| of != region || *since > *epoch);
            }
            Notice::LossImminent(region, epoch, _) => {
                self.said.push_back((seq, Said::Flushed(*region, *epoch)));
            }
            Notice::Warm(lease) => self.said.push_back((seq, Said::Warmed(lease.region))),
            Notice::Borders(..) | Notice::Kept(..) | Notice::Cool(_) | Notice::Drain => {}
        }
        Ok(())
    }
}

fn broken<T>(detail: String) -> Result<T, Failure> {
    Err(Failure { judge: "authority", detail })
}
