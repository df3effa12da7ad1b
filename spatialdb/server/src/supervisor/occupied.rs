//! Names of workers that others hold.
//!
//! Responsible for: saying which. Not responsible for: finding out (the server knows its sessions), what follows (`scale`).

use std::collections::{BTreeMap, BTreeSet};

/// Names that sessions of workers hold which the supervisor has not started: as long as one is in here, the process of
/// that name stays stopped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Occupied {
    by_type: BTreeMap<String, BTreeSet<String>>,
}

impl Occupied {
    /// The name is held by somebody else from now on. Returns whether it was not before.
    pub fn insert(&mut self, worker_type: &str, name: &str) -> bool {
        self.by_type.entry(worker_type.to_owned()).or_default().insert(name.to_owned())
    }

    /// The name is free. Returns whether it was held.
    pub fn remove(&mut self, worker_type: &str, name: &str) -> bool {
        let Some(names) = self.by_type.get_mut(worker_type) else { return false };
        let was_held = names.remove(name);
        if names.is_empty() {
            self.by_type.remove(worker_type);
        }
        was_held
    }

    /// Whether somebody else holds the name.
    pub fn contains(&self, worker_type: &str, name: &str) -> bool {
        self.by_type.get(worker_type).is_some_and(|names| names.contains(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_held_within_its_type() {
        let mut occupied = Occupied::default();
        assert!(occupied.insert("a", "x-1") && !occupied.insert("a", "x-1"));
        assert!(occupied.contains("a", "x-1"));
        assert!(!occupied.contains("b", "x-1") && !occupied.contains("a", "x-2"));
        assert!(!occupied.remove("b", "x-1") && occupied.remove("a", "x-1"));
        assert_eq!(occupied, Occupied::default());
    }
}
