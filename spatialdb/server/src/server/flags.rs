//! Settings of worker types, which their sessions are told at first and when they change.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use spatialdb_types::{Error, Limits, Reason};

/// Name and value of each setting of a worker type.
pub(crate) type TypeFlags = BTreeMap<String, String>;

/// The settings of every worker type.
pub(super) struct Flags {
    by_type: Mutex<BTreeMap<String, TypeFlags>>,
}

impl Flags {
    pub(super) const fn new(by_type: BTreeMap<String, TypeFlags>) -> Self {
        Self { by_type: Mutex::new(by_type) }
    }

    /// Those of a worker type, in the wire's shape.
    pub(super) fn of(&self, worker_type: &str) -> HashMap<String, String> {
        let by_type = self.lock();
        by_type.get(worker_type).into_iter().flatten().map(|(n, v)| (n.clone(), v.clone())).collect()
    }

    /// Sets some and removes some. All of them, or none.
    ///
    /// # Errors
    /// `LIMIT_REACHED` naming the limit, or `NAME_INVALID`.
    pub(super) fn change(
        &self,
        worker_type: &str,
        set: HashMap<String, String>,
        removed: &[String],
        limits: &Limits,
    ) -> Result<(), Error> {
        let mut by_type = self.lock();
        let mut flags = by_type.get(worker_type).cloned().unwrap_or_default();
        for (name, value) in set {
            check(&name, &value, limits)?;
            flags.insert(name, value);
        }
        removed.iter().for_each(|name| {
            flags.remove(name);
        });
        let (count, max) = (flags.len() as u64, limits.worker_flags_max);
        if count > max {
            let detail = format!("{worker_type} would have {count} flags; worker_flags_max = {max}");
            return Err(Error::new(Reason::LimitReached, detail));
        }
        let (types, types_max) = (by_type.len() as u64, limits.sessions_max);
        if types >= types_max && !by_type.contains_key(worker_type) {
            let detail = format!("{types} worker types have flags; sessions_max = {types_max}");
            return Err(Error::new(Reason::LimitReached, detail));
        }
        by_type.insert(worker_type.to_owned(), flags);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, TypeFlags>> {
        self.by_type.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn check(name: &str, value: &str, limits: &Limits) -> Result<(), Error> {
    let max = limits.worker_flag_bytes_max;
    if name.is_empty() {
        return Err(Error::new(Reason::NameInvalid, "a flag has an empty name"));
    }
    if (name.len() + value.len()) as u64 > max {
        let bytes = name.len() + value.len();
        let detail = format!("flag {name:.64}: {bytes} bytes; worker_flag_bytes_max = {max}");
        return Err(Error::new(Reason::LimitReached, detail));
    }
    Ok(())
}
