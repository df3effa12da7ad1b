//! What a partition's log says: images of entities, each with its revisions.
//!
//! Images that several partitions wrote of one entity are merged in any order: see [`Merge`]. `docs/formats/log.md` describes the
//! bytes.
//!
//! Responsible for: images as bytes, and what many of them mean together. Not responsible for: when they are written, or where
//! they lie (`spatialdb-durability`).

mod merge;
mod read;
mod write;

use std::fmt;

use spatialdb_types::{ComponentId, EntityId, Epoch, Revision, SessionId};

pub use self::merge::{Merge, Merged};
pub use self::read::{LogRecord, images};
pub use self::write::LogWriter;

/// The only version so far.
const VERSION: u8 = 1;

/// What is written of an entity at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Image<'a> {
    /// Which entity.
    pub entity: EntityId,
    /// What it says of it.
    pub form: Form,
    /// Values, by rising component; none if it is absent or gone.
    pub values: Vec<StoredValue<'a>>,
}

/// What an image says of its entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Form {
    /// These are all its stored components, as of a revision.
    Whole(Revision),
    /// These components have these values; others are as before.
    Part,
    /// It has no stored component, as of a revision.
    Absent(Revision),
    /// It was deleted. Its id is never given again.
    Gone,
}

/// The value of a component, and how it came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredValue<'a> {
    /// Which component.
    pub component: ComponentId,
    /// Its revision.
    pub revision: Revision,
    /// Who wrote it.
    pub writer: SessionId,
    /// Under which grant; 0: nobody's.
    pub epoch: Epoch,
    /// The whole value. Of Position: `u32` space, three `f64`, little-endian.
    pub bytes: &'a [u8],
}

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogError {
    /// They end in the middle of something.
    Short {
        /// Where what is cut off begins.
        at: usize,
    },
    /// A later version wrote them.
    Version {
        /// What they say.
        found: u8,
    },
    /// A form that is not known.
    Form {
        /// What it says.
        found: u8,
        /// Where.
        at: usize,
    },
    /// Components are not by rising id.
    Order {
        /// Of which entity.
        entity: EntityId,
    },
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short { at } => write!(f, "the record ends within what begins at byte {at}"),
            Self::Version { found } => {
                write!(f, "the record has version {found}; this version reads {VERSION}")
            }
            Self::Form { found, at } => {
                write!(f, "the image at byte {at} is of form {found}, which is not known")
            }
            Self::Order { entity } => write!(f, "the components of entity {entity} are not by rising id"),
        }
    }
}

impl std::error::Error for LogError {}
