//! What can be wrong with a schema, and with a payload.
//!
//! Responsible for: the two error types and how they read.
//! Not responsible for: finding the errors.

use std::{fmt, io, path::PathBuf};

use spatialdb_types::{ComponentId, Error, EventId, Reason};
use thiserror::Error as ThisError;

use crate::check::Fault;

/// Where in a schema something stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The path of the file, or its import path when the schema came as a descriptor set.
    pub file: String,
    /// From 1; `None` where the line is not known.
    pub line: Option<u32>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}", self.file),
            None => f.write_str(&self.file),
        }
    }
}

/// A schema that cannot be used. Every message names the file, the line where it is known, and what to do.
#[derive(Debug, ThisError)]
pub enum SchemaError {
    /// A schema directory is not there.
    #[error("{}: no such directory; name a directory with .proto files", path.display())]
    DirectoryMissing {
        /// The directory that was asked for.
        path: PathBuf,
    },
    /// A schema directory holds no `.proto` file at any depth.
    #[error("{}: no .proto file in it or below it; name the directory that holds the schema", path.display())]
    DirectoryEmpty {
        /// The directory that was asked for.
        path: PathBuf,
    },
    /// A directory or file cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Unreadable {
        /// The directory or file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A path is no UTF-8, so no `import` can name it.
    #[error("{}: the path is not valid UTF-8; rename it", path.display())]
    PathNotUtf8 {
        /// The path.
        path: PathBuf,
    },
    /// Directories nest too deep, most likely a link that points upwards.
    #[error("{}: more than {limit} directories deep; is there a link that points upwards?", path.display())]
    DirectoryTooDeep {
        /// The directory.
        path: PathBuf,
        /// The most levels that are followed.
        limit: usize,
    },
    /// A file stands where a built-in file is.
    #[error("{}: {name} is built in; remove the file, `import \"{name}\"` finds the built-in one", path.display())]
    ShadowsBuiltIn {
        /// The file.
        path: PathBuf,
        /// Its import path.
        name: String,
    },
    /// Two directories hold a file of the same import path.
    #[error("{name} is in two directories: {} and {}; rename or remove one", first.display(), second.display())]
    FileTwice {
        /// The import path.
        name: String,
        /// The file found first.
        first: PathBuf,
        /// The file found second.
        second: PathBuf,
    },
    /// A file is no valid protobuf.
    #[error("{place}: {detail}")]
    Invalid {
        /// Where.
        place: Place,
        /// What the compiler says.
        detail: String,
    },
    /// An imported file is not there.
    #[error(
        "{place}: {detail}; imports are relative to a schema directory, and spatialdb/v1/* and google/protobuf/* are built in"
    )]
    ImportMissing {
        /// The import.
        place: Place,
        /// What the compiler says, with the name of the import.
        detail: String,
    },
    /// Files import each other in a circle.
    #[error("{file}: is part of an import cycle; move what the files share into one of its own")]
    ImportCycle {
        /// One of the files.
        file: String,
    },
    /// A file is written in a protobuf edition.
    #[error("{place}: protobuf editions are not supported; write `syntax = \"proto3\";` instead")]
    Edition {
        /// Where.
        place: Place,
    },
    /// Two messages have the same component id.
    #[error(
        "component id {id} is used twice: {first} ({first_place}) and {second} ({second_place}); give one another id"
    )]
    IdDuplicate {
        /// The id.
        id: ComponentId,
        /// Full name of one message.
        first: Box<str>,
        /// Where it is.
        first_place: Place,
        /// Full name of the other message.
        second: Box<str>,
        /// Where it is.
        second_place: Place,
    },
    /// A component id is missing or 0.
    #[error("{place}: component {message} has id 0; give it an id from 1000")]
    IdZero {
        /// Where.
        place: Place,
        /// Full name of the message.
        message: String,
    },
    /// A component of a world has an id that belongs to spatialdb.
    #[error(
        "{place}: component {message} has id {id}, and 1..999 belong to spatialdb; give it an id from 1000"
    )]
    IdReserved {
        /// Where.
        place: Place,
        /// Full name of the message.
        message: String,
        /// The id.
        id: ComponentId,
    },
    /// A component id is above the last one.
    #[error("{place}: component {message} has id {id}, and the last id is {}", ComponentId::LAST)]
    IdTooLarge {
        /// Where.
        place: Place,
        /// Full name of the message.
        message: String,
        /// The id.
        id: ComponentId,
    },
    /// Two messages have the same event id of one component.
    #[error(
        "event id {id} of component {component} is used twice: {first} ({first_place}) and {second} ({second_place}); give one another id"
    )]
    EventIdDuplicate {
        /// The component.
        component: ComponentId,
        /// The id.
        id: EventId,
        /// Full name of one message.
        first: Box<str>,
        /// Where it is.
        first_place: Place,
        /// Full name of the other message.
        second: Box<str>,
        /// Where it is.
        second_place: Place,
    },
    /// An event has an id that is out of range or a component that is not there, or is a component itself.
    #[error("{place}: event {message} {detail}")]
    EventInvalid {
        /// Where.
        place: Place,
        /// Full name of the message.
        message: String,
        /// What is wrong, and what to do.
        detail: String,
    },
    /// An option of ours does not parse, or holds a durability that this version does not know.
    #[error("{place}: option ({option}) of {message}: {detail}")]
    OptionInvalid {
        /// Where.
        place: Place,
        /// Full name of the option.
        option: &'static str,
        /// Full name of the message.
        message: String,
        /// What is wrong.
        detail: String,
    },
    /// A message has something that components and events may not have.
    #[error("{place}: {thing}, used by {root} {component}, {advice}")]
    Unsupported {
        /// Where.
        place: Place,
        /// The message or field, and what it has.
        thing: String,
        /// "component" or "event".
        root: &'static str,
        /// Full name of the component or event.
        component: String,
        /// What to write instead.
        advice: &'static str,
    },
    /// The schema has too many components.
    #[error("the schema has {count} components, and schema_components_max is {limit}; remove some")]
    TooManyComponents {
        /// How many there are, built-ins included.
        count: usize,
        /// The limit.
        limit: u64,
    },
    /// The schema has too many events.
    #[error("the schema has {count} events, and schema_events_max is {limit}; remove some")]
    TooManyEvents {
        /// How many there are.
        count: usize,
        /// The limit.
        limit: u64,
    },
    /// A descriptor set is damaged or too large.
    #[error("schema descriptor set: {detail}")]
    DescriptorSet {
        /// What is wrong.
        detail: String,
    },
    /// A built-in component of a descriptor set is not what this version stores.
    #[error("schema descriptor set: the built-in components differ from this version's: {detail}")]
    BuiltInDiffers {
        /// The first difference.
        detail: String,
    },
}

impl From<SchemaError> for Error {
    fn from(error: SchemaError) -> Self {
        Self::new(Reason::SchemaInvalid, error.to_string())
    }
}

/// A payload that is no value of its component, or no event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadError {
    /// `PayloadInvalid`, or for partial updates `FieldNotListed` or `FieldUnknown`.
    pub reason: Reason,
    /// "component" or "event".
    pub what: &'static str,
    /// Full name of the component or event.
    pub message: String,
    /// Path like `route.legs[3].name` or `field 7`; empty when the error is about the whole payload.
    pub field: String,
    /// What is wrong.
    pub detail: String,
}

impl PayloadError {
    #[cold]
    pub(crate) fn new(what: &'static str, message: &str, fault: &Fault) -> Self {
        let (field, detail) = (fault.field(), fault.detail.clone());
        Self { reason: fault.reason, what, message: message.to_owned(), field, detail }
    }
}

impl fmt::Display for PayloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.what, self.message)?;
        match self.field.as_str() {
            "" => {}
            // An unknown field at the top has no name but its number.
            field if field.starts_with("field ") => write!(f, ", {field}")?,
            field => write!(f, ", field {field}")?,
        }
        write!(f, ": {}", self.detail)
    }
}

impl std::error::Error for PayloadError {}

impl From<PayloadError> for Error {
    fn from(error: PayloadError) -> Self {
        Self::new(error.reason, error.to_string())
    }
}
