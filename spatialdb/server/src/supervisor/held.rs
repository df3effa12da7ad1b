//! Names of workers that sessions hold, and how those do.
//!
//! Responsible for: saying which. Not responsible for: finding out (the server knows its sessions), what follows
//! (`occupied`).

use std::collections::{BTreeMap, BTreeSet};

/// Whose session holds a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// Perhaps of the process that the supervisor has started, perhaps of another one.
    Somebody,
    /// For certain not of a process that the supervisor has started.
    Stranger,
}

/// Which names sessions hold, of the worker types that have `[[workers]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    types: BTreeSet<String>,
    holders: BTreeMap<(String, String), (u64, Holder)>,
    /// How often whoever had a name was told by somebody to hand over all and end.
    drains: BTreeMap<(String, String), u64>,
    /// Whose sessions are there and do nothing.
    hanging: BTreeSet<(String, String)>,
}

impl Held {
    /// Nobody holds a name of these types.
    pub(super) fn of<'a>(types: impl IntoIterator<Item = &'a str>) -> Self {
        Self { types: types.into_iter().map(str::to_owned).collect(), ..Self::default() }
    }

    /// A session holds the name from now on, instead of any other. Returns whether that matters.
    pub fn insert(&mut self, worker_type: &str, name: &str, session: u64, holder: Holder) -> bool {
        let is_ours = self.types.contains(worker_type);
        if is_ours {
            self.holders.insert(key(worker_type, name), (session, holder));
        }
        is_ours
    }

    /// The session is over. Returns whether it held the name until now.
    pub fn remove(&mut self, worker_type: &str, name: &str, session: u64) -> bool {
        let key = key(worker_type, name);
        let has_it = self.holders.get(&key).is_some_and(|(holder, _)| *holder == session);
        has_it && self.holders.remove(&key).is_some()
    }

    /// Whoever has the name was told by somebody to hand over all and end. Returns whether that matters.
    pub fn drain(&mut self, worker_type: &str, name: &str) -> bool {
        let is_ours = self.types.contains(worker_type);
        if is_ours {
            *self.drains.entry(key(worker_type, name)).or_default() += 1;
        }
        is_ours
    }

    /// How often that was so.
    pub fn drains(&self, worker_type: &str, name: &str) -> u64 {
        self.drains.get(&key(worker_type, name)).copied().unwrap_or_default()
    }

    /// The sessions of these workers, by type and name, are there and do nothing; those of all others do something. Returns
    /// whether that is new.
    pub fn set_hanging<'a>(&mut self, hanging: impl IntoIterator<Item = (&'a str, &'a str)>) -> bool {
        let ours = hanging.into_iter().filter(|(worker_type, _)| self.types.contains(*worker_type));
        let hanging = ours.map(|(worker_type, name)| key(worker_type, name)).collect();
        std::mem::replace(&mut self.hanging, hanging) != self.hanging
    }

    /// Whether the session of that name is there and does nothing.
    pub fn is_hanging(&self, worker_type: &str, name: &str) -> bool {
        self.hanging.contains(&key(worker_type, name))
    }

    /// Whose session holds the name.
    pub fn holder(&self, worker_type: &str, name: &str) -> Option<Holder> {
        self.holders.get(&key(worker_type, name)).map(|(_, holder)| *holder)
    }
}

fn key(worker_type: &str, name: &str) -> (String, String) {
    (worker_type.to_owned(), name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_held_within_its_type_by_the_latest_session() {
        let mut held = Held::of(["a"]);
        assert!(
            held.insert("a", "x-1", 1, Holder::Somebody) && !held.insert("b", "x-1", 2, Holder::Stranger)
        );
        assert_eq!((held.holder("a", "x-1"), held.holder("b", "x-1")), (Some(Holder::Somebody), None));
        assert!(held.insert("a", "x-1", 3, Holder::Stranger));
        assert!(!held.remove("a", "x-1", 1), "it was replaced before");
        assert_eq!(held.holder("a", "x-1"), Some(Holder::Stranger));
        assert!(held.remove("a", "x-1", 3));
        assert_eq!(held, Held::of(["a"]));
        assert!(held.drain("a", "x-1") && !held.drain("b", "x-1"));
        assert_eq!((held.drains("a", "x-1"), held.drains("b", "x-1")), (1, 0));
        assert!(held.set_hanging([("a", "x-1"), ("b", "x-1")]) && !held.set_hanging([("a", "x-1")]));
        assert!(held.is_hanging("a", "x-1") && !held.is_hanging("b", "x-1"));
        assert!(held.set_hanging([]) && !held.is_hanging("a", "x-1"));
    }
}
