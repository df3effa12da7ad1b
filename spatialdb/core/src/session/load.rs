//! What views cost, against the limits of a session.

use spatialdb_types::{Error, Limits, Reason};

use crate::interest::View;

/// The cost of some views.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    views: u64,
    parts: u64,
    nodes: u64,
}

impl Load {
    /// The cost of these.
    pub(super) fn of<'a>(views: impl IntoIterator<Item = &'a View>) -> Self {
        let mut load = Self::default();
        views.into_iter().for_each(|view| load.add(view));
        load
    }

    /// The cost with one view more.
    pub(super) fn add(&mut self, view: &View) {
        self.views += 1;
        // One of densities has no parts, and counts as one.
        self.parts += (view.parts.len() as u64).max(1);
        self.nodes += view.nodes();
    }

    /// Whether a session may have that.
    ///
    /// # Errors
    /// `LIMIT_REACHED` naming `session_views_max`, `session_view_parts_max` or `session_constraint_nodes_max`.
    pub(super) fn check(self, limits: &Limits) -> Result<(), Error> {
        // What a row matches is kept in masks of 64 bits.
        let Self { views, parts, nodes } = self;
        let max = limits.session_views_max.min(64);
        if views > max {
            return reached(format!("session_views_max = {max}"));
        }
        let max = limits.session_constraint_nodes_max;
        if nodes > max {
            return reached(format!(
                "the session's constraints would have {nodes} nodes; session_constraint_nodes_max = {max}"
            ));
        }
        let max = limits.session_view_parts_max.min(64);
        if parts > max {
            return reached(format!(
                "the session would have {parts} views and bands; session_view_parts_max = {max}"
            ));
        }
        Ok(())
    }
}

fn reached(detail: String) -> Result<(), Error> {
    Err(Error::new(Reason::LimitReached, detail))
}
