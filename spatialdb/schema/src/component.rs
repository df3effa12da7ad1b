//! One component type of a schema.
//!
//! Responsible for: its id, name and durability, and checking whole values.
//! Not responsible for: partial updates (`fields`), JSON (`json`).

use std::{fmt, sync::Arc};

use prost_reflect::MessageDescriptor;
use spatialdb_types::ComponentId;

use crate::{
    check::{self, Fault},
    error::PayloadError,
    shape::Shapes,
};

/// What a crash may take of a component's value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Durability {
    /// Lives in memory only.
    Volatile,
    /// The latest value is written out about once a second. What a component has that says nothing.
    #[default]
    Checkpointed,
    /// Acknowledged and visible only once on disk.
    Durable,
}

impl Durability {
    /// Its word in settings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Volatile => "volatile",
            Self::Checkpointed => "checkpointed",
            Self::Durable => "durable",
        }
    }

    /// The one of that word.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Volatile, Self::Checkpointed, Self::Durable].into_iter().find(|class| class.name() == name)
    }
}

/// One component type.
#[derive(Clone)]
pub struct Component {
    pub(crate) id: ComponentId,
    pub(crate) durability: Durability,
    pub(crate) root: u32,
    pub(crate) shapes: Arc<Shapes>,
    pub(crate) descriptor: MessageDescriptor,
}

impl Component {
    /// Its identity; the name may change, this does not.
    pub fn id(&self) -> ComponentId {
        self.id
    }

    /// Full name of the message, e.g. `earth.Aircraft`.
    pub fn name(&self) -> &str {
        self.descriptor.full_name()
    }

    /// What a crash may take of its value.
    pub fn durability(&self) -> Durability {
        self.durability
    }

    /// Checks a whole value. Gives the number of unknown fields, which are kept, those of nested messages included.
    ///
    /// # Errors
    /// `PAYLOAD_INVALID` when the bytes do not parse as this message.
    #[inline]
    pub fn check(&self, payload: &[u8]) -> Result<u32, PayloadError> {
        check::check(&self.shapes, self.root, payload).map_err(|fault| self.payload_error(&fault))
    }

    #[cold]
    pub(crate) fn payload_error(&self, fault: &Fault) -> PayloadError {
        PayloadError::new("component", self.name(), fault)
    }
}

impl fmt::Debug for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Component")
            .field("id", &self.id)
            .field("name", &self.name())
            .field("durability", &self.durability)
            .finish_non_exhaustive()
    }
}
