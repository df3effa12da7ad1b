//! What a partition's log says: images of entities, each with its revisions.
//!
//! Images that several partitions wrote of one entity are merged in any order: see [`Merge`]. `docs/formats/log.md` describes the
//! bytes.
//!
//! Responsible for: images as bytes, and what many of them mean together. Not responsible for: when they are written, or where
//! they lie (`spatialdb-durability`).

mod classes;
mod merge;
mod read;
mod write;

use std::fmt;

use spatialdb_types::{ComponentId, EntityId, Epoch, Point3, Position, Revision, SessionId, SpaceId};

pub use self::classes::Classes;
pub use self::merge::{Merge, Merged, MergedValue};
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

/// What is written in one slice has no more bytes than that, and an entity.
pub const SLICE_BYTES: usize = 8 << 20;

/// Bytes of a stored Position.
const POSITION_BYTES: usize = 28;

/// A Position as it is stored.
pub(crate) fn encode_position(at: Position) -> [u8; POSITION_BYTES] {
    let mut bytes = [0; POSITION_BYTES];
    bytes[..4].copy_from_slice(&at.space.0.to_le_bytes());
    let coordinates = [at.point.x, at.point.y, at.point.z];
    for (place, metres) in bytes[4..].chunks_exact_mut(8).zip(coordinates) {
        place.copy_from_slice(&metres.to_le_bytes());
    }
    bytes
}

/// A Position that was stored; `None`: it is none.
pub fn decode_position(bytes: &[u8]) -> Option<Position> {
    let bytes: &[u8; POSITION_BYTES] = bytes.try_into().ok()?;
    let metres = |at: usize| bytes[at..].first_chunk().map(|metres| f64::from_le_bytes(*metres));
    let space = SpaceId(u32::from_le_bytes(*bytes.first_chunk()?));
    Some(Position { space, point: Point3::new(metres(4)?, metres(12)?, metres(20)?) })
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
