//! Tools that keep a component of an entity to themselves for a while, and what its owner is told of that.

use spatialdb_types::{ComponentId, SessionId};

use super::Authority;
use crate::authority::leases::Refusal;
use crate::columns::HoldAct;
use crate::message::{AuthorityDelta, HoldWord};
use crate::partition::{RowId, Store};

impl Authority {
    /// A tool takes hold of a component, or lets go of it. The owner is told.
    ///
    /// # Errors
    /// No layer writes the component, so there is nobody to keep it from.
    pub(in crate::partition) fn hold(
        &mut self,
        store: &mut Store,
        id: RowId,
        component: ComponentId,
        act: HoldAct,
    ) -> Result<(), Refusal> {
        let row = store.row(id);
        let entity = row.entity;
        let layer = self.rules(store, row.set()).layer_of(component);
        let (hold, is_over) = match act {
            HoldAct::Take(hold) => {
                layer.ok_or(Refusal::NoLayer(entity, Some(component)))?;
                self.table.hold(entity, component, hold);
                (hold, false)
            }
            HoldAct::Release(epoch) => match self.table.release(entity, component, epoch) {
                Some(hold) => (hold, true),
                None => return Ok(()),
            },
        };
        store.set_apart(id, self.table.is_apart(entity));
        let region = layer.and_then(|layer| self.region_of(store, id, layer));
        let owner = region.and_then(|(_, lease)| lease.owner);
        if let Some(owner) = owner.filter(|owner| *owner != hold.by) {
            self.news.push_hold(owner, HoldWord { entity, component, hold, is_over });
        }
        Ok(())
    }

    /// Who is told that it has an entity is told of its holds.
    pub(super) fn add_holds(&self, session: SessionId, news: &mut AuthorityDelta) {
        if self.table.holds().next().is_none() {
            return;
        }
        for word in news.changes.iter().filter(|word| word.is_gain()) {
            let writes = &self.layers.get(word.layer).writes;
            let concerns = |component: ComponentId| writes.contains(&component);
            for (component, hold) in
                self.table.holds_of(word.entity).filter(|(component, _)| concerns(*component))
            {
                if hold.by != session {
                    let entity = word.entity;
                    news.holds.push(HoldWord { entity, component, hold, is_over: false });
                }
            }
        }
    }
}
