//! Which promise holds for which component.

use spatialdb_types::ComponentId;

/// The durability classes of a world. What is in neither list is CHECKPOINTED.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Classes {
    volatile: Box<[ComponentId]>,
    durable: Box<[ComponentId]>,
}

impl Classes {
    /// With components that are never written, and those that are acknowledged and visible only once on disk.
    pub fn new(
        volatile: impl IntoIterator<Item = ComponentId>,
        durable: impl IntoIterator<Item = ComponentId>,
    ) -> Self {
        Self { volatile: sorted(volatile), durable: sorted(durable) }
    }

    /// Whether a component is never written.
    pub fn is_volatile(&self, component: ComponentId) -> bool {
        self.volatile.binary_search(&component).is_ok()
    }

    /// Whether a component must be on disk before anybody may see it.
    pub fn is_durable(&self, component: ComponentId) -> bool {
        self.durable.binary_search(&component).is_ok()
    }

    /// Whether any must.
    pub fn has_durable(&self) -> bool {
        !self.durable.is_empty()
    }
}

fn sorted(components: impl IntoIterator<Item = ComponentId>) -> Box<[ComponentId]> {
    let mut components: Vec<ComponentId> = components.into_iter().collect();
    components.sort_unstable();
    components.into()
}
