//! What a worker may write.

use spatialdb_types::EntityId;

use super::Worker;
use crate::{Component, ReadError, Region, Scope};

impl Worker {
    /// Whether this worker may write that component of the entity, or what the layer writes. In a world without layers it
    /// may write anything.
    ///
    /// ```no_run
    /// use spatialdb_sdk::{Component, ComponentId, EntityId, Worker, v1::Metadata};
    ///
    /// # fn example(worker: &Worker, entity: EntityId) -> bool {
    /// worker.owns(entity, Metadata::ID) && worker.owns(entity, ComponentId::POSITION) && worker.owns(entity, "boats")
    /// # }
    /// ```
    pub fn owns<'a>(&self, entity: EntityId, scope: impl Into<Scope<'a>>) -> bool {
        self.session.authority.owns(entity, scope.into())
    }

    /// The entities of which this worker may write that component, or what the layer writes, in no particular order. In a
    /// world without layers those in view; for a component those that have it.
    pub fn owned<'a>(&'a self, scope: impl Into<Scope<'a>>) -> impl Iterator<Item = EntityId> + 'a {
        let scope = scope.into();
        let authority = &self.session.authority;
        let shown = authority.is_open().then(|| self.replica().entities()).into_iter().flatten();
        let shown = shown.filter(move |entity| match scope {
            Scope::Component(component) => self.replica().has(*entity, component),
            Scope::Layer(_) => true,
        });
        shown.chain(authority.owned(scope))
    }

    /// Every entity in view with a `C` that this worker may write, in no particular order.
    ///
    /// # Errors
    /// An item is an error when its value does not decode as `C`.
    pub fn owned_with<C: Component>(&self) -> impl Iterator<Item = Result<(EntityId, C), ReadError>> + '_ {
        self.replica().with_where::<C>(|entity| self.owns(entity, C::ID))
    }

    /// The regions that this worker owns, by id. None in a world without layers.
    pub fn regions(&self) -> impl Iterator<Item = &Region> {
        self.session.authority.regions()
    }

    /// Whether the world has no layers, so that any worker may write anything.
    pub fn is_world_open(&self) -> bool {
        self.session.authority.is_open()
    }

    /// Whether this worker gets nothing more, and what it has goes to others.
    pub fn is_draining(&self) -> bool {
        self.session.authority.is_draining()
    }
}
