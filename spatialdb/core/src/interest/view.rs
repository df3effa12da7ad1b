//! A view: what a session wants to see, of what, and how often.

use std::collections::BTreeSet;
use std::sync::Arc;

use spatialdb_types::{ComponentId, EntityId, Error, Limits, Reason, ViewId};

use super::{Constraint, Densities, Followed};
use crate::Micros;

/// A live subscription.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// Unique in its session.
    pub id: ViewId,
    /// What it shows at which rate: first all that it matches, then bands, from the nearest outwards. Each is a part of
    /// the first. None if it shows densities.
    pub parts: Vec<Part>,
    /// How many there are where, instead of which.
    pub densities: Option<Densities>,
    /// Whether the session's own updates come back to it.
    pub own_updates: bool,
    /// Which version of the session's views brought it: tells a view from an equal one that it replaces.
    pub version: u64,
}

/// What a view shows at one rate.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// Which entities.
    pub constraint: Constraint,
    /// Which of their components, sorted; empty means all.
    pub components: Arc<[ComponentId]>,
    /// The least time between two deltas; 0 means as often as the partition publishes.
    pub interval_us: Micros,
}

/// All that a session looks at, as a partition is told.
#[derive(Clone, Debug, Default)]
pub struct ViewSet {
    /// Its views, each as of now.
    pub views: Arc<[Arc<View>]>,
    /// The entities that views follow: the session is told where they are.
    pub followed: Arc<[EntityId]>,
    /// Rises when it is to be told again of all of them.
    pub followed_epoch: u64,
}

impl View {
    /// A view without bands.
    pub fn new(id: ViewId, part: Part) -> Self {
        Self { id, parts: vec![part], densities: None, own_updates: false, version: 0 }
    }

    /// A view of densities.
    pub const fn of_densities(id: ViewId, densities: Densities) -> Self {
        Self { id, parts: Vec::new(), densities: Some(densities), own_updates: false, version: 0 }
    }

    /// The interval of a rate.
    ///
    /// # Errors
    /// `QUERY_INVALID` if the rate is negative, NaN, above `view_rate_hz_max`, or slower than `view_interval_s_max`.
    pub fn interval_of(rate_hz: f64, limits: &Limits) -> Result<Micros, Error> {
        if rate_hz == 0.0 {
            return Ok(0);
        }
        let max = limits.view_rate_hz_max;
        if !(rate_hz > 0.0 && rate_hz <= max as f64) {
            let detail = format!(
                "rate_hz = {rate_hz}; 0 < rate_hz <= view_rate_hz_max = {max}, or 0 for every publish"
            );
            return Err(Error::new(Reason::QueryInvalid, detail));
        }
        let slowest = limits.view_interval_s_max;
        if rate_hz * (slowest as f64) < 1.0 {
            let detail =
                format!("rate_hz = {rate_hz} is less than once in view_interval_s_max = {slowest} s");
            return Err(Error::new(Reason::QueryInvalid, detail));
        }
        Ok((1e6 / rate_hz) as Micros)
    }

    /// Adds the entities that it follows.
    pub(crate) fn followed(&self, entities: &mut BTreeSet<EntityId>) {
        self.parts.iter().for_each(|part| part.constraint.followed(entities));
    }

    /// Whether it follows the session's own regions.
    pub(crate) fn follows_regions(&self) -> bool {
        self.parts.iter().any(|part| part.constraint.follows_regions())
    }

    /// The view as of now: a sphere around each entity that it follows, boxes where the session's regions are.
    pub(crate) fn resolved(&self, followed: &impl Followed) -> Self {
        let part = |part: &Part| Part { constraint: part.constraint.resolved(followed), ..part.clone() };
        Self { parts: self.parts.iter().map(part).collect(), ..self.clone() }
    }

    /// Whether it shows the same in the same way, whatever its id and version.
    pub(crate) fn shows_same(&self, other: &Self) -> bool {
        let same_kind = self.parts == other.parts && self.densities == other.densities;
        same_kind && self.own_updates == other.own_updates
    }

    /// How many conditions there are to look at.
    pub fn nodes(&self) -> u64 {
        self.parts.iter().map(|part| part.constraint.nodes()).sum()
    }

    /// Refuses what cannot be meant or would cost too much.
    ///
    /// # Errors
    /// `QUERY_INVALID` naming the part, or the limit that it passes.
    pub fn check(&self, limits: &Limits) -> Result<(), Error> {
        self.parts.iter().try_for_each(|part| part.constraint.check(limits))
    }
}

impl Part {
    /// Whether the part asks for the component.
    pub fn wants(&self, component: ComponentId) -> bool {
        self.components.is_empty() || self.components.binary_search(&component).is_ok()
    }
}
