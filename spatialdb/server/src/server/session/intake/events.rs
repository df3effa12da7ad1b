//! Checking and splitting columns of events.

use spatialdb_core::{EventKind, EventWrites, Op};
use spatialdb_proto::v1;
use spatialdb_schema::EventType;
use spatialdb_types::{ComponentId, EntityId, Error, EventId, Reason};

use super::{At, Intake, Parts, Split, whole_column};

impl Intake {
    pub(super) fn events(&self, column: u32, wire: &v1::EventColumn, parts: &mut Parts) {
        let component = ComponentId(wire.component);
        let event = match self.check_event_column(wire) {
            Ok(event) => event,
            Err(error) => return parts.reject(whole_column(column, component), error.reason, error.detail),
        };
        let kind = EventKind { component, event: event.id() };
        let mut split = Split::new(parts.partition_count());
        for (i, (&entity, payload)) in wire.entities.iter().zip(&wire.payloads).enumerate() {
            let (row, entity) = (i as u32, EntityId(entity));
            let at = At { column, row, entity, component };
            if self.is_entity(at, parts) && self.is_payload(&event, payload, at, parts) {
                let to = self.route(entity, parts);
                split.of(to, || EventWrites::new(column, kind)).push(row, entity, payload);
            }
        }
        parts.add(split, Op::Events);
    }

    /// What a column is about.
    fn check_event_column(&self, wire: &v1::EventColumn) -> Result<EventType, Error> {
        let (n, payloads) = (wire.entities.len(), wire.payloads.len());
        if n != payloads {
            let detail = format!("{n} entities, {payloads} payloads: as many of each are needed");
            return Err(Error::new(Reason::ColumnLengthsDiffer, detail));
        }
        let component = self.known(ComponentId(wire.component))?;
        let event = self.edge.schema().event(component.id(), EventId(wire.event)).cloned();
        event.ok_or_else(|| {
            let detail = format!("component {} has no event {}", component.name(), wire.event);
            Error::new(Reason::EventUnknown, detail)
        })
    }

    fn is_payload(&self, event: &EventType, payload: &[u8], at: At, parts: &mut Parts) -> bool {
        let max = self.edge.limits.value_bytes_max;
        if payload.len() as u64 > max {
            let detail = format!("event {}: {} bytes; value_bytes_max = {max}", event.name(), payload.len());
            parts.reject(at, Reason::ValueTooLarge, detail);
            return false;
        }
        if let Err(error) = event.check(payload) {
            parts.reject(at, error.reason, error.to_string());
            return false;
        }
        true
    }
}
