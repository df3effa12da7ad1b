//! Who a token stands for, and what that one may do.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use spatialdb_types::{Error, Reason};

/// Worker types that any tool may attach as.
const TOOL_TYPES: [&str; 3] = ["tool", "viewer", "watch"];

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Simulation programs: they attach as their worker types.
    Worker,
    /// People and their tools: they look and administrate.
    Tool,
}

/// Something that a principal may do or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Right {
    /// Make entities, and reserve ids for them.
    Create,
    /// Delete entities.
    Delete,
    /// Look: views, queries, the schema, metrics.
    Query,
    /// Change the schema, flags and who owns what; of tools: entities too.
    Edit,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Principal {
    /// The id of the token; empty where none is needed.
    pub(crate) token: String,
    /// For people, in logs and limits.
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// A worker that the server started itself.
    pub(crate) is_own: bool,
    /// `None`: any.
    pub(crate) worker_types: Option<BTreeSet<String>>,
    /// Changes nothing, whatever its rights.
    pub(crate) is_read_only: bool,
    pub(crate) rights: BTreeSet<Right>,
}

impl Right {
    pub(crate) const ALL: [Self; 4] = [Self::Create, Self::Delete, Self::Query, Self::Edit];

    /// The word in the token file and on the command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Delete => "delete",
            Self::Query => "query",
            Self::Edit => "edit",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|right| right.name() == name)
    }
}

impl Principal {
    /// Everybody, on a server without tokens.
    pub(crate) fn anybody() -> Arc<Self> {
        static ANYBODY: OnceLock<Arc<Principal>> = OnceLock::new();
        let make = || {
            Arc::new(Self {
                token: String::new(),
                name: "anybody".to_owned(),
                kind: Kind::Tool,
                is_own: false,
                worker_types: None,
                is_read_only: false,
                rights: Right::ALL.into_iter().collect(),
            })
        };
        ANYBODY.get_or_init(make).clone()
    }

    /// A worker that the server starts itself.
    pub(super) fn own_worker(token: &str, worker_type: &str) -> Self {
        Self {
            token: token.to_owned(),
            name: format!("workers.{worker_type}"),
            kind: Kind::Worker,
            is_own: true,
            worker_types: Some(BTreeSet::from([worker_type.to_owned()])),
            is_read_only: false,
            rights: BTreeSet::from([Right::Create, Right::Delete, Right::Query]),
        }
    }

    /// # Errors
    /// `NOT_PERMITTED` naming the right.
    pub(crate) fn check(&self, right: Right) -> Result<(), Error> {
        if self.is_read_only && right != Right::Query {
            return Err(self.read_only());
        }
        if self.rights.contains(&right) {
            return Ok(());
        }
        Err(self.refused(&format!("{} is not granted to it", right.name())))
    }

    /// Whether it may change entities that are there: what workers are for, and of tools those that edit.
    ///
    /// # Errors
    /// `NOT_PERMITTED`.
    pub(crate) fn check_write(&self) -> Result<(), Error> {
        match self.kind {
            Kind::Tool => self.check(Right::Edit),
            Kind::Worker if self.is_read_only => Err(self.read_only()),
            Kind::Worker => Ok(()),
        }
    }

    /// Whether it may attach as a worker of that type.
    ///
    /// # Errors
    /// `NOT_PERMITTED` naming the type.
    pub(crate) fn check_type(&self, worker_type: &str) -> Result<(), Error> {
        let is_tool = self.kind == Kind::Tool && TOOL_TYPES.contains(&worker_type);
        match &self.worker_types {
            Some(types) if !is_tool && !types.contains(worker_type) => {
                let shown: String = worker_type.chars().take(64).collect();
                Err(self.refused(&format!("it may not attach as {shown:?}")))
            }
            _ => Ok(()),
        }
    }

    fn read_only(&self) -> Error {
        self.refused("it is read-only")
    }

    fn refused(&self, why: &str) -> Error {
        Error::new(Reason::NotPermitted, format!("token {} ({}): {why}", self.token, self.name))
    }
}
