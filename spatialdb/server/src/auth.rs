//! Who may do what: tokens, and the principals that they stand for.
//!
//! Responsible for: the token file, checking a token, what a principal may do. Not responsible for: where it is asked
//! (`server/http/doors.rs` for calls, `server/session/reader.rs` for messages of a session).

mod file;
mod principal;
mod token;

pub(crate) use file::{Entry, TokenFile, TokenFileError};
pub(crate) use principal::{Kind, Principal, Right};
pub(crate) use token::Token;

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::SystemTime;

use spatialdb_types::{Error, Reason};

/// Says who has a token.
pub(crate) trait Verifier: Send + Sync {
    /// # Errors
    /// `TOKEN_INVALID`, or `TOKEN_EXPIRED`. Neither says what was nearly right.
    fn verify(&self, token: &str) -> Result<Arc<Principal>, Error>;

    /// Whether what it once said still holds.
    fn is_valid(&self, principal: &Principal) -> bool;
}

/// Tokens of a file, and those that the server makes for its own workers.
pub(crate) struct Tokens {
    path: PathBuf,
    entries: RwLock<Loaded>,
    own: Mutex<HashMap<String, (Token, Arc<Principal>)>>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("path", &self.path).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Loaded {
    by_id: HashMap<String, (Entry, Arc<Principal>)>,
    changed: Option<SystemTime>,
}

impl Tokens {
    /// Reads the file.
    ///
    /// # Errors
    /// It cannot be read, or something in it is wrong: file, token and rule.
    pub(crate) fn open(path: &Path) -> Result<Self, TokenFileError> {
        let tokens = Self {
            path: path.to_owned(),
            entries: RwLock::new(Loaded::default()),
            own: Mutex::new(HashMap::new()),
        };
        tokens.reload()?;
        Ok(tokens)
    }

    /// Reads the file again if it has changed. Returns whether it had. What is wrong leaves everything as it was.
    ///
    /// # Errors
    /// As [`Tokens::open`].
    pub(crate) fn reload(&self) -> Result<bool, TokenFileError> {
        let changed = std::fs::metadata(&self.path).and_then(|file| file.modified()).ok();
        if changed.is_some() && changed == self.read().changed {
            return Ok(false);
        }
        let file = TokenFile::read(&self.path)?;
        let by_id =
            file.entries().map(|entry| (entry.id.clone(), (entry.clone(), Arc::new(entry.principal()))));
        let loaded = Loaded { by_id: by_id.collect(), changed };
        *self.entries.write().unwrap_or_else(PoisonError::into_inner) = loaded;
        Ok(true)
    }

    /// A token for a worker that the server starts itself; it lives as long as the server.
    pub(crate) fn make_own(&self, worker_type: &str) -> String {
        let token = Token::random();
        let principal = Arc::new(Principal::own_worker(token.id(), worker_type));
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        own.insert(token.id().to_owned(), (token.clone(), principal));
        token.text()
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Loaded> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Verifier for Tokens {
    fn verify(&self, token: &str) -> Result<Arc<Principal>, Error> {
        let invalid = || Error::new(Reason::TokenInvalid, "the token is not one of this server's");
        let token = Token::parse(token).ok_or_else(invalid)?;
        if let Some((own, principal)) =
            self.own.lock().unwrap_or_else(PoisonError::into_inner).get(token.id())
        {
            return if own.hash() == token.hash() { Ok(principal.clone()) } else { Err(invalid()) };
        }
        let entries = self.read();
        let (entry, principal) = entries.by_id.get(token.id()).ok_or_else(invalid)?;
        if entry.hash != token.hash() {
            return Err(invalid());
        }
        if entry.is_expired(SystemTime::now()) {
            return Err(Error::new(Reason::TokenExpired, format!("token {} has expired", entry.id)));
        }
        Ok(principal.clone())
    }

    fn is_valid(&self, principal: &Principal) -> bool {
        let own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if own.contains_key(&principal.token) {
            return true;
        }
        let entries = self.read();
        let found = entries.by_id.get(&principal.token);
        found.is_some_and(|(entry, now)| !entry.is_expired(SystemTime::now()) && **now == *principal)
    }
}
