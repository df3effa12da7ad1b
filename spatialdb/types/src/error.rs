//! The closed set of error codes, and the reasons under them.
//!
//! A reason names what went wrong in a word that programs can compare; its code says what a client should do.
//! `docs/errors.md` lists them all.

use std::fmt;

/// What a client should do about an error. Mapped to gRPC once, in `spatialdb-proto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorCode {
    /// The request is wrong: fix it, do not retry.
    Invalid,
    /// What it names is not there: take as an answer.
    NotFound,
    /// What it would make is there: take as an answer.
    AlreadyExists,
    /// Who asks is not known: stop.
    Unauthenticated,
    /// Who asks may not: stop.
    Forbidden,
    /// Somebody else owns it: drop, refresh.
    NotAuthoritative,
    /// It changed meanwhile: refresh, retry.
    Conflict,
    /// A limit is reached: back off.
    Overloaded,
    /// It took too long: retry if idempotent.
    Timeout,
    /// Not now: reconnect.
    Unavailable,
    /// Stored data is damaged: call a human.
    DataLoss,
    /// A bug of spatialdb: report.
    Internal,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $code:ident;)*) => {
        /// Why something was refused or failed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason { $($(#[$doc])* $variant,)* }

        impl Reason {
            /// Every reason, in the order of `docs/errors.md`.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The word on the wire, in logs and in docs.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What a client should do about it.
            pub const fn code(self) -> ErrorCode {
                match self { $(Self::$variant => ErrorCode::$code,)* }
            }
        }
    };
}

reasons! {
    /// The first message of a session is not Hello, or a later one is, or a message has no body.
    MessageUnexpected = "MESSAGE_UNEXPECTED", Invalid;
    /// Bytes are not a message of the protocol, or a number in it is not finite.
    MessageMalformed = "MESSAGE_MALFORMED", Invalid;
    /// The ranges of protocol versions do not meet.
    ProtocolUnsupported = "PROTOCOL_UNSUPPORTED", Invalid;
    /// A seq is not one more than the one before.
    SequenceGap = "SEQUENCE_GAP", Invalid;
    /// A worker type or name is empty, too long or has other characters than allowed.
    NameInvalid = "NAME_INVALID", Invalid;
    /// The arrays of a column have different lengths.
    ColumnLengthsDiffer = "COLUMN_LENGTHS_DIFFER", Invalid;
    /// An entity id is 0 or not below 2^53, or a row number is past the end.
    EntityIdInvalid = "ENTITY_ID_INVALID", Invalid;
    /// No component of the schema has that id or name.
    ComponentUnknown = "COMPONENT_UNKNOWN", Invalid;
    /// The component has no event of that id.
    EventUnknown = "EVENT_UNKNOWN", Invalid;
    /// A payload does not parse against its descriptor.
    PayloadInvalid = "PAYLOAD_INVALID", Invalid;
    /// A payload has a field that the list of fields does not name.
    FieldNotListed = "FIELD_NOT_LISTED", Invalid;
    /// A listed field is not in the schema.
    FieldUnknown = "FIELD_UNKNOWN", Invalid;
    /// A value is larger than `value_bytes_max`.
    ValueTooLarge = "VALUE_TOO_LARGE", Invalid;
    /// A coordinate is NaN, infinite or too far out.
    PositionInvalid = "POSITION_INVALID", Invalid;
    /// Position came in a Column: it travels only as PositionColumn.
    PositionInColumn = "POSITION_IN_COLUMN", Invalid;
    /// No space of the world has that id.
    SpaceUnknown = "SPACE_UNKNOWN", Invalid;
    /// A constraint, rate or view is malformed.
    QueryInvalid = "QUERY_INVALID", Invalid;
    /// A message is larger than a limit of rows or bytes allows.
    MessageTooLarge = "MESSAGE_TOO_LARGE", Invalid;
    /// A file or setting is wrong.
    ConfigInvalid = "CONFIG_INVALID", Invalid;
    /// A schema does not compile, or data does not fit it.
    SchemaInvalid = "SCHEMA_INVALID", Invalid;
    /// Regions cannot be cut or joined like that.
    RegionShape = "REGION_SHAPE", Invalid;
    /// A message says that its worker has processed more than it was told.
    AuthoritySeenInvalid = "AUTHORITY_SEEN_INVALID", Invalid;
    /// No such entity, or no longer.
    EntityNotFound = "ENTITY_NOT_FOUND", NotFound;
    /// The entity does not have the component.
    ComponentNotFound = "COMPONENT_NOT_FOUND", NotFound;
    /// The session has no view of that id.
    ViewNotFound = "VIEW_NOT_FOUND", NotFound;
    /// No session has that key, or it is over.
    SessionNotFound = "SESSION_NOT_FOUND", NotFound;
    /// No region has that id, or no longer.
    RegionNotFound = "REGION_NOT_FOUND", NotFound;
    /// No worker with that name or session is attached.
    WorkerNotFound = "WORKER_NOT_FOUND", NotFound;
    /// That much of the past is not kept.
    HistoryMissing = "HISTORY_MISSING", NotFound;
    /// The session has a view of that id already.
    ViewExists = "VIEW_EXISTS", AlreadyExists;
    /// An entity of that id exists already.
    EntityExists = "ENTITY_EXISTS", AlreadyExists;
    /// A chosen id is not in a block that this worker reserved.
    IdNotReserved = "ID_NOT_RESERVED", Forbidden;
    /// This server wants a token, and none came.
    TokenMissing = "TOKEN_MISSING", Unauthenticated;
    /// The token is not one of this server's, or was revoked.
    TokenInvalid = "TOKEN_INVALID", Unauthenticated;
    /// The token is past its time.
    TokenExpired = "TOKEN_EXPIRED", Unauthenticated;
    /// Workers must show a certificate here, and none came.
    CertificateMissing = "CERTIFICATE_MISSING", Unauthenticated;
    /// Who asks is known and may not do this.
    NotPermitted = "NOT_PERMITTED", Forbidden;
    /// `Host` or `Origin` is not one of this server's.
    HostRefused = "HOST_REFUSED", Forbidden;
    /// Only the server writes this component, or deletes this entity.
    ComponentReserved = "COMPONENT_RESERVED", Forbidden;
    /// The component is in no layer that has the entity: only tools write it.
    ComponentInNoLayer = "COMPONENT_IN_NO_LAYER", Forbidden;
    /// Another session owns the entity in the component's layer, or nobody does.
    NotOwner = "NOT_OWNER", NotAuthoritative;
    /// The writer owns it, but wrote before it knew.
    OwnershipNotSeen = "OWNERSHIP_NOT_SEEN", NotAuthoritative;
    /// A tool holds the component of the entity for a while.
    ComponentHeld = "COMPONENT_HELD", NotAuthoritative;
    /// The region is changing its owner or shape.
    RegionBusy = "REGION_BUSY", Conflict;
    /// The same request_id came with another number of rows.
    RequestIdReused = "REQUEST_ID_REUSED", Conflict;
    /// A named limit is reached.
    LimitReached = "LIMIT_REACHED", Overloaded;
    /// A newer session of the same worker type and name took over.
    SessionReplaced = "SESSION_REPLACED", Unavailable;
    /// The server is stopping.
    Draining = "DRAINING", Unavailable;
    /// The disk takes nothing more: what has to be on it is refused.
    StorageFailed = "STORAGE_FAILED", Unavailable;
    /// A checksum does not match, or a file ends too early.
    SnapshotCorrupt = "SNAPSHOT_CORRUPT", DataLoss;
    /// A bug of spatialdb.
    Internal = "INTERNAL", Internal;
}

impl Reason {
    /// The reason of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.name() == name)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A reason, and the thing and the limit it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Why.
    pub reason: Reason,
    /// Which thing, which limit: for people.
    pub detail: String,
}

impl Error {
    /// An error of that reason about that thing.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.detail)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found_again() {
        for reason in Reason::ALL {
            assert_eq!(Reason::from_name(reason.name()), Some(*reason));
        }
        assert_eq!(Reason::from_name("NO_SUCH_REASON"), None);
    }
}
