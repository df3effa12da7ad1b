//! Which session holds a worker's name: a newer one of the same type and name replaces the older.

use std::collections::BTreeMap;

use spatialdb_types::{Error, Reason, SessionId};

use super::Owner;

/// The sessions of a world.
#[derive(Debug)]
pub struct Names {
    sessions: BTreeMap<SessionId, Owner>,
    by_owner: BTreeMap<Owner, SessionId>,
    last: SessionId,
    sessions_max: u64,
}

/// A new session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// Its id.
    pub session: SessionId,
    /// Its worker: with the name that was given if none was asked for.
    pub owner: Owner,
    /// The session that it replaces.
    pub replaced: Option<SessionId>,
}

impl Names {
    pub(super) const fn new(sessions_max: u64) -> Self {
        Self { sessions: BTreeMap::new(), by_owner: BTreeMap::new(), last: SessionId(0), sessions_max }
    }

    /// Sessions from now on have higher ids than that.
    pub fn begin_after(&mut self, last: SessionId) {
        self.last = self.last.max(last);
    }

    /// The last session that was opened.
    pub const fn last(&self) -> SessionId {
        self.last
    }

    /// Opens a session. An empty name gets one: the type and the number of the session.
    ///
    /// # Errors
    /// `LIMIT_REACHED` naming `sessions_max`; `NAME_INVALID` naming the type or name.
    pub fn attach(&mut self, worker_type: &str, name: &str) -> Result<Attached, Error> {
        check_name("worker_type", worker_type)?;
        let session = SessionId(self.last.0 + 1);
        let name = if name.is_empty() { format!("{worker_type}-{session}") } else { name.to_owned() };
        check_name("name", &name)?;
        let owner = Owner { worker_type: worker_type.to_owned(), name };
        let replaced = self.by_owner.get(&owner).copied();
        if replaced.is_none() && self.sessions.len() as u64 >= self.sessions_max {
            return Err(Error::new(Reason::LimitReached, format!("sessions_max = {}", self.sessions_max)));
        }
        if let Some(old) = replaced {
            self.sessions.remove(&old);
        }
        self.last = session;
        self.sessions.insert(session, owner.clone());
        self.by_owner.insert(owner.clone(), session);
        Ok(Attached { session, owner, replaced })
    }

    /// The session that holds a name.
    pub fn holder(&self, worker_type: &str, name: &str) -> Option<SessionId> {
        let owner = Owner { worker_type: worker_type.to_owned(), name: name.to_owned() };
        self.by_owner.get(&owner).copied()
    }

    /// Ends a session. One that was replaced has ended already.
    pub fn detach(&mut self, session: SessionId) {
        if let Some(owner) = self.sessions.remove(&session) {
            self.by_owner.remove(&owner);
        }
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there is no session.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }
}

/// A worker type, or the name of a worker.
///
/// # Errors
/// `NAME_INVALID` with the rule.
pub fn check_name(what: &str, name: &str) -> Result<(), Error> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-.".contains(&b);
    if (1..=64).contains(&name.len()) && name.bytes().all(allowed) {
        return Ok(());
    }
    let shown: String = name.chars().take(80).collect();
    let detail = format!("{what} {shown:?}: 1 to 64 of a-z, 0-9, '_', '-', '.' are needed");
    Err(Error::new(Reason::NameInvalid, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_session_replaces_the_older_even_when_full() {
        let mut names = Names::new(1);
        let first = names.attach("flight", "flight-1").expect("attached");
        assert_eq!(names.attach("flight", "").expect_err("full").reason, Reason::LimitReached);
        let second = names.attach("flight", "flight-1").expect("attached");
        assert_eq!(second.replaced, Some(first.session));
        names.detach(first.session);
        assert_eq!(names.len(), 1);
        names.detach(second.session);
        assert!(names.is_empty());
    }

    #[test]
    fn names_have_rules() {
        let mut names = Names::new(9);
        for bad in ["", "Flight", "a b", &"x".repeat(65)] {
            assert_eq!(names.attach(bad, "n").expect_err("refused").reason, Reason::NameInvalid);
        }
        assert_eq!(names.attach("a", "").expect("attached").owner.name, "a-1");
    }
}
