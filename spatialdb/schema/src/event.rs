//! One event type of a schema.
//!
//! Responsible for: its ids and name, and checking payloads.
//! Not responsible for: who is told of an event.

use std::{fmt, sync::Arc};

use prost_reflect::MessageDescriptor;
use spatialdb_types::{ComponentId, EventId};

use crate::{check, error::PayloadError, shape::Shapes};

/// One event type.
#[derive(Clone)]
pub struct EventType {
    pub(crate) component: ComponentId,
    pub(crate) id: EventId,
    pub(crate) root: u32,
    pub(crate) shapes: Arc<Shapes>,
    pub(crate) descriptor: MessageDescriptor,
}

impl EventType {
    /// The component that it is an event of.
    pub fn component(&self) -> ComponentId {
        self.component
    }

    /// Its identity among the events of the component; the name may change, this does not.
    pub fn id(&self) -> EventId {
        self.id
    }

    /// Full name of the message, e.g. `earth.Landed`.
    pub fn name(&self) -> &str {
        self.descriptor.full_name()
    }

    /// Checks a payload. Gives the number of unknown fields, which are kept, those of nested messages included.
    ///
    /// # Errors
    /// `PAYLOAD_INVALID` when the bytes do not parse as this message.
    pub fn check(&self, payload: &[u8]) -> Result<u32, PayloadError> {
        check::check(&self.shapes, self.root, payload)
            .map_err(|fault| PayloadError::new("event", self.name(), &fault))
    }
}

impl fmt::Debug for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventType")
            .field("component", &self.component)
            .field("id", &self.id)
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}
