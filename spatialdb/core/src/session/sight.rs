//! What a session sees of one entity, for whoever asks why.

use std::sync::Arc;

use spatialdb_types::{ComponentId, EntityId};

use super::Session;
use super::interests::is_given;
use crate::interest::View;

/// What a session sees of an entity.
#[derive(Clone, Debug)]
pub struct Sight {
    /// The components of it that are in view; `None`: it is not in view.
    pub shown: Option<Arc<[ComponentId]>>,
    /// The session's views.
    pub views: Vec<ViewSight>,
}

/// A view of a session.
#[derive(Clone, Debug)]
pub struct ViewSight {
    /// As it was asked for.
    pub asked: View,
    /// As partitions are told: with places where it follows something.
    pub now: Arc<View>,
    /// An entity gives it: its id means nothing to the worker.
    pub is_given: bool,
}

impl Session {
    /// Whether an entity is in view, and all views.
    pub fn sight(&self, entity: EntityId) -> Sight {
        let views = self.views.values().map(|state| ViewSight {
            asked: state.asked.clone(),
            now: Arc::clone(&state.view),
            is_given: is_given(state.asked.id),
        });
        Sight { shown: self.held.get(&entity).map(|held| held.components.clone()), views: views.collect() }
    }
}
