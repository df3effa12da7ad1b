//! What the worker may write, and what it hears of that.

use serde_json::{Value, json};
use spatialdb_sdk::{Batch, Event, LossReason, Scope};

use super::{Done, Driver, Failed, id, text, unknown};

impl Driver {
    pub(super) async fn owned(&mut self, operation: &Value) -> Done {
        self.hear_what_came().await?;
        let scope = self.scope(&operation["scope"])?;
        let worker = self.worker()?;
        let entities: Vec<_> = worker.owned(scope).map(|entity| entity.0.to_string()).collect();
        let regions: Vec<_> = worker.regions().map(|region| region.id.0.to_string()).collect();
        Ok(json!({"entities": entities, "regions": regions}))
    }

    pub(super) async fn owns(&mut self, operation: &Value) -> Done {
        self.hear_what_came().await?;
        let scope = self.scope(&operation["scope"])?;
        Ok(json!({"owns": self.worker()?.owns(id(&operation["entity"]), scope)}))
    }

    /// Notes the event, and writes what is to be written before a loss.
    pub(super) async fn hear_of_authority(&mut self, event: &Event) -> Result<(), Failed> {
        let told = match event {
            Event::RegionGained(_) => "region_gained",
            Event::RegionLost { reason: LossReason::HandedOver, .. } => "region_lost handed_over",
            Event::RegionLost { reason: LossReason::Silent, .. } => "region_lost silent",
            Event::RegionLost { .. } => "region_lost ended",
            Event::Gained { .. } => "gained",
            Event::Lost { .. } => "lost",
            Event::LossImminent { .. } => "loss_imminent",
            Event::Kept(_) => "kept",
            Event::Draining => "draining",
            Event::Drained => "drained",
            _ => return Ok(()),
        };
        self.told.push(told.to_owned());
        if matches!(event, Event::LossImminent { .. }) {
            let mut batch = Batch::new();
            for write in &self.before_loss {
                self.put("update", write, &mut batch)?;
            }
            self.worker()?.send(&mut batch).await?;
        }
        Ok(())
    }

    /// A component by its full name, else a layer.
    fn scope<'a>(&self, scope: &'a Value) -> Result<Scope<'a>, Failed> {
        let name = text(scope);
        if !name.contains('.') {
            return Ok(Scope::Layer(name));
        }
        let component = self.schema.component_named(name).map_err(|_| unknown(name))?;
        Ok(component.id().into())
    }
}
