//! A view: what a session wants to see, of what, and how often.

use spatialdb_types::{ComponentId, Error, Limits, Reason, ViewId};

use super::Constraint;
use crate::Micros;

/// A live subscription.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// Unique in its session.
    pub id: ViewId,
    /// Which entities.
    pub constraint: Constraint,
    /// Which of their components, sorted; empty means all.
    pub components: Vec<ComponentId>,
    /// The least time between two deltas; 0 means as often as the partition publishes.
    pub interval_us: Micros,
    /// Whether the session's own updates come back to it.
    pub own_updates: bool,
    /// Which version of the session's views brought it: tells a view from an equal one that it replaces.
    pub version: u64,
}

impl View {
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

    /// Whether the view asks for the component.
    pub fn wants(&self, component: ComponentId) -> bool {
        self.components.is_empty() || self.components.binary_search(&component).is_ok()
    }
}
