//! What can be wrong with a mapping file.

use std::{io, path::PathBuf};

/// A mapping that cannot be used. Shown as it is: it names file, line, key and rule.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// The file cannot be read.
    #[error("{}: cannot be read: {source}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not TOML, or has a key that means nothing.
    #[error("{}:{line}: {reason}", file.display())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What the parser says.
        reason: String,
    },
    /// A key says what cannot be done.
    #[error("{}:{line}: {key}: {reason}", file.display())]
    Rule {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The key with its tables.
        key: String,
        /// Why not.
        reason: String,
    },
    /// A mapping is needed and there is none.
    #[error("a mapping of columns to components is needed: --map FILE")]
    Missing,
}
