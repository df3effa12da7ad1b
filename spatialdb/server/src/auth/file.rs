//! The token file: what the server keeps of each token.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::principal::{Kind, Principal, Right};
use crate::random;

const HEADING: &str = "# Made by `spatialdb token`. Secrets are not in here, only their SHA-256.\n\n";

/// The tokens of a file, in order.
#[derive(Debug, Default)]
pub(crate) struct TokenFile {
    entries: Vec<Entry>,
}

/// One token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) hash: [u8; 32],
    pub(crate) kind: Kind,
    /// Empty: any.
    pub(crate) worker_types: BTreeSet<String>,
    pub(crate) read_only: bool,
    pub(crate) rights: BTreeSet<Right>,
    /// `None`: never.
    pub(crate) expires: Option<SystemTime>,
}

/// What is wrong with a token file.
#[derive(Debug, Error)]
pub(crate) enum TokenFileError {
    #[error("cannot read the token file {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("cannot write the token file {path}: {source}")]
    Write { path: PathBuf, source: std::io::Error },
    #[error("token file {path}: {message}")]
    Syntax { path: PathBuf, message: String },
    #[error("token file {path}: token {id}: {rule}")]
    Entry { path: PathBuf, id: String, rule: String },
}

/// As it stands in the file.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(default)]
    tokens: Vec<RawEntry>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct RawEntry {
    id: String,
    name: String,
    hash: String,
    kind: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    worker_types: Vec<String>,
    #[serde(default)]
    read_only: bool,
    #[serde(default)]
    may: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
}

impl TokenFile {
    /// Reads a file.
    ///
    /// # Errors
    /// File, token and rule.
    pub(crate) fn read(path: &Path) -> Result<Self, TokenFileError> {
        let read = |source| TokenFileError::Read { path: path.to_owned(), source };
        let text = std::fs::read_to_string(path).map_err(read)?;
        let raw: Raw = toml::from_str(&text).map_err(|error| TokenFileError::Syntax {
            path: path.to_owned(),
            message: error.message().to_owned(),
        })?;
        let mut seen = BTreeSet::new();
        let mut entries = Vec::with_capacity(raw.tokens.len());
        for raw in raw.tokens {
            let id = raw.id.clone();
            let wrong = |rule| TokenFileError::Entry { path: path.to_owned(), id: id.clone(), rule };
            if !seen.insert(raw.id.clone()) {
                return Err(wrong("it is there twice".to_owned()));
            }
            entries.push(raw.check().map_err(wrong)?);
        }
        Ok(Self { entries })
    }

    /// Reads a file, or begins one.
    ///
    /// # Errors
    /// As [`TokenFile::read`].
    pub(crate) fn read_or_new(path: &Path) -> Result<Self, TokenFileError> {
        if path.exists() { Self::read(path) } else { Ok(Self::default()) }
    }

    /// Keeps others from changing the file until what this gives is dropped.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn lock(path: &Path) -> Result<File, TokenFileError> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".lock");
        // Beside it: the file itself is replaced whole.
        let path = path.with_file_name(name);
        let lock = || -> std::io::Result<File> {
            let file = File::options().create(true).truncate(false).write(true).open(&path)?;
            file.lock()?;
            Ok(file)
        };
        lock().map_err(|source| TokenFileError::Write { path: path.clone(), source })
    }

    /// Writes the file whole, readable for its owner only; whoever reads it meanwhile has the old one.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn write(&self, path: &Path) -> Result<(), TokenFileError> {
        let raw = Raw { tokens: self.entries.iter().map(RawEntry::of).collect() };
        let text = toml::to_string(&raw)
            .map_err(|error| TokenFileError::Syntax { path: path.to_owned(), message: error.to_string() })?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let write = || -> std::io::Result<()> {
            // Made readable for its owner only.
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            file.write_all(HEADING.as_bytes())?;
            file.write_all(text.as_bytes())?;
            file.as_file().sync_all()?;
            file.persist(path)?;
            Ok(())
        };
        write().map_err(|source| TokenFileError::Write { path: path.to_owned(), source })
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    pub(crate) fn push(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    /// Takes a token out by its id, or by its name if only one has it. Returns it.
    pub(crate) fn remove(&mut self, id_or_name: &str) -> Option<Entry> {
        let by_id = self.entries.iter().position(|entry| entry.id == id_or_name);
        let mut named = (0..self.entries.len()).filter(|&i| self.entries[i].name == id_or_name);
        let by_name = named.next().filter(|_| named.next().is_none());
        by_id.or(by_name).map(|at| self.entries.remove(at))
    }
}

impl Entry {
    /// Whom it stands for.
    pub(crate) fn principal(&self) -> Principal {
        Principal {
            token: self.id.clone(),
            name: self.name.clone(),
            kind: self.kind,
            is_own: false,
            worker_types: (!self.worker_types.is_empty() || self.kind == Kind::Tool)
                .then(|| self.worker_types.clone()),
            is_read_only: self.read_only,
            rights: self.rights.clone(),
        }
    }

    pub(crate) fn is_expired(&self, now: SystemTime) -> bool {
        self.expires.is_some_and(|expires| now >= expires)
    }
}

impl RawEntry {
    fn of(entry: &Entry) -> Self {
        Self {
            id: entry.id.clone(),
            name: entry.name.clone(),
            hash: random::hex(&entry.hash),
            kind: match entry.kind {
                Kind::Worker => "worker".to_owned(),
                Kind::Tool => "tool".to_owned(),
            },
            worker_types: entry.worker_types.iter().cloned().collect(),
            read_only: entry.read_only,
            may: entry.rights.iter().map(|right| right.name().to_owned()).collect(),
            expires: entry.expires.map(|time| humantime::format_rfc3339_seconds(time).to_string()),
        }
    }

    /// # Errors
    /// The rule that it breaks.
    fn check(self) -> Result<Entry, String> {
        let byte =
            |i: usize| self.hash.get(2 * i..2 * i + 2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        let mut hash = [0; 32];
        for (i, slot) in hash.iter_mut().enumerate() {
            *slot = byte(i).ok_or("hash must be 64 hexadecimal digits")?;
        }
        if self.hash.len() != 64 {
            return Err("hash must be 64 hexadecimal digits".to_owned());
        }
        let kind = match self.kind.as_str() {
            "worker" => Kind::Worker,
            "tool" => Kind::Tool,
            other => return Err(format!("kind = {other:?}: must be \"worker\" or \"tool\"")),
        };
        let right = |name: &String| {
            Right::from_name(name)
                .ok_or_else(|| format!("may = {name:?}: must be of create, delete, query, edit"))
        };
        let rights = self.may.iter().map(right).collect::<Result<_, String>>()?;
        let expires = self
            .expires
            .map(|text| {
                humantime::parse_rfc3339_weak(&text)
                    .map_err(|error| format!("expires = {text:?}: {error}; as 2030-01-31T00:00:00Z"))
            })
            .transpose()?;
        let worker_types = self.worker_types.into_iter().collect();
        Ok(Entry {
            id: self.id,
            name: self.name,
            hash,
            kind,
            worker_types,
            read_only: self.read_only,
            rights,
            expires,
        })
    }
}
