//! What can be wrong with a snapshot file: each error names the part of the file and what was expected there.

use std::{fmt, io, path::PathBuf};

use spatialdb_schema::PayloadError;
use spatialdb_types::Reason;

/// A part of a snapshot file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// From offset 0: magic, version, world, spaces, schema.
    Header,
    /// One block of entities.
    Block {
        /// Its number, from 0.
        index: usize,
        /// Where it starts, in bytes from the start of the file.
        offset: u64,
    },
    /// The totals and the index of the blocks.
    Footer,
    /// The last bytes of the file.
    Trailer,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header => f.write_str("header"),
            Self::Block { index, offset } => write!(f, "block {index} at offset {offset}"),
            Self::Footer => f.write_str("footer"),
            Self::Trailer => f.write_str("trailer"),
        }
    }
}

/// Why a snapshot could not be read, checked or written.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, e.g. "open".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The file does not start like a snapshot.
    #[error("header: not a snapshot: expected the bytes {expected:02x?} at offset 0, found {found:02x?}")]
    NotASnapshot {
        /// The magic bytes.
        expected: [u8; 8],
        /// What is there instead; shorter if the file is.
        found: Vec<u8>,
    },
    /// The file is of another version of the format.
    #[error("header: format version {found} is not supported: this build reads version {supported}")]
    VersionUnsupported {
        /// The version in the file.
        found: u32,
        /// The version of this build.
        supported: u32,
    },
    /// The file ends before the part does.
    #[error("{part}: the file is cut off: expected {expected} bytes, found {found}")]
    Truncated {
        /// Where.
        part: Part,
        /// Bytes the part needs.
        expected: u64,
        /// Bytes that are there.
        found: u64,
    },
    /// Bytes changed since they were written.
    #[error("{part}: damaged: expected CRC32C {expected:08x}, found {found:08x}")]
    Checksum {
        /// Where.
        part: Part,
        /// The checksum in the file.
        expected: u32,
        /// The checksum of the bytes in the file.
        found: u32,
    },
    /// The digest of the whole file does not match.
    #[error("trailer: damaged: expected SHA-256 {expected}, found {found}")]
    Digest {
        /// The digest in the file.
        expected: String,
        /// The digest of the bytes in the file.
        found: String,
    },
    /// A field has a value that the format does not allow.
    #[error("{part}: {field}: expected {expected}, found {found}")]
    Malformed {
        /// Where.
        part: Part,
        /// Which field.
        field: &'static str,
        /// What the format allows.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The schema that the file carries does not load.
    #[error("header: schema: {reason}")]
    Schema {
        /// Why.
        reason: String,
    },
    /// A value does not fit the schema that the file carries.
    #[error("{part}: entity {entity}: {component}: {reason}")]
    Payload {
        /// Where.
        part: Part,
        /// Which entity.
        entity: u64,
        /// Full name of the component, or its number if the schema has none of it.
        component: String,
        /// Which field, and why.
        reason: String,
    },
    /// Two entities have one id.
    #[error("{part}: entity {entity}: the id is in block {first_block} already")]
    DuplicateEntity {
        /// Where it was found the second time.
        part: Part,
        /// The id.
        entity: u64,
        /// Where it was found first.
        first_block: usize,
    },
    /// An entity, a header or a setting that is to be written breaks a rule of the format.
    #[error("cannot write {subject}: {reason}")]
    Unwritable {
        /// What was to be written, e.g. "entity 7".
        subject: String,
        /// The rule or limit, and what was found.
        reason: String,
    },
    /// An entity in a text or a foreign file is wrong.
    #[error("{unit} {number}: {field}: {reason}")]
    Row {
        /// What is counted: "line" or "message".
        unit: &'static str,
        /// Which one, from 1.
        number: u64,
        /// Which field or column, e.g. `components.earth.City.population`.
        field: String,
        /// Why.
        reason: String,
    },
    /// The file that says which column belongs to which field is wrong.
    #[error(transparent)]
    Map(#[from] crate::foreign::MapError),
}

impl SnapshotError {
    /// The exit code of a command that fails with this error: 65 for bad data, 66 for a file that is not there,
    /// 74 for other refusals of the operating system, 78 for a wrong mapping (`sysexits.h`).
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => 66,
            Self::Io { .. } => 74,
            Self::Map(_) => 78,
            _ => 65,
        }
    }

    /// The reason on the wire.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Io { .. } | Self::Unwritable { .. } | Self::Row { .. } | Self::Map(_) => {
                Reason::ConfigInvalid
            }
            Self::Schema { .. } | Self::Payload { .. } => Reason::SchemaInvalid,
            _ => Reason::SnapshotCorrupt,
        }
    }

    pub(crate) fn malformed(
        part: Part,
        field: &'static str,
        expected: impl Into<String>,
        found: impl fmt::Display,
    ) -> Self {
        Self::Malformed { part, field, expected: expected.into(), found: found.to_string() }
    }

    pub(crate) fn payload(part: Part, entity: u64, error: PayloadError) -> Self {
        let reason = match error.field.as_str() {
            "" => error.detail,
            field if field.starts_with("field ") => format!("{field}: {}", error.detail),
            field => format!("field {field}: {}", error.detail),
        };
        Self::Payload { part, entity, component: error.message, reason }
    }

    pub(crate) fn unwritable(subject: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Unwritable { subject: subject.into(), reason: reason.into() }
    }
}
