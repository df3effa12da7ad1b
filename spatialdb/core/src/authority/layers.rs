//! Layers: rules of which worker type writes which components of which entities.
//!
//! Responsible for: what a layer is, and that no two of them write one component of one entity. Not responsible for:
//! regions, and who serves a layer at the moment.

pub(super) mod shapes;

use std::hash::{Hash, Hasher};

use spatialdb_types::{Box3, ComponentId, Error, LayerId, Limits, Reason, SpaceId};

use crate::Micros;

/// How the regions of a layer come about.
#[derive(Clone, Debug, PartialEq)]
pub enum Strategy {
    /// Split, shifted and joined as load asks.
    Balanced,
    /// A fixed grid; its outermost regions reach on without end.
    Grid(GridShape),
    /// One region for each space, all of one owner.
    Single,
    /// These boxes are regions that keep their shape; what remains is cut around them.
    Pinned(Vec<PinnedBox>),
    /// Regions are no boxes: one for each player, with the entities whose PlayerOwner names that player.
    Client,
}

/// The regions of a fixed grid.
///
/// # Units
/// Metres.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GridShape {
    /// West border of the second column: x of the first cut.
    pub x: f64,
    /// South border of the second row: y of the first cut.
    pub y: f64,
    /// The side of a region.
    pub side_m: f64,
    /// From west to east, at least 1.
    pub columns: u32,
    /// From south to north, at least 1.
    pub rows: u32,
}

/// A region that keeps its shape.
#[derive(Clone, Debug, PartialEq)]
pub struct PinnedBox {
    /// In which space.
    pub space: SpaceId,
    /// Where; open in z.
    pub area: Box3,
    /// Only the worker of this name may own it.
    pub worker: Option<String>,
}

/// Who may write which components of which entities.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// Its name in the configuration.
    pub name: String,
    /// The worker type that serves it.
    pub worker_type: String,
    /// It has the entities with all of these components,
    pub with: Vec<ComponentId>,
    /// and none of these.
    pub without: Vec<ComponentId>,
    /// The components that the owner of such an entity writes.
    pub writes: Vec<ComponentId>,
    /// How its regions come about.
    pub strategy: Strategy,
    /// How far beyond its region an owner sees, metres.
    pub ghost_margin_m: f64,
    /// An entity keeps its owner until it is so far inside the next region, metres.
    pub border_hysteresis_m: f64,
    /// How long a new owner may take to get warm, and then the old one to flush.
    pub handover_timeout: Micros,
    /// Regions of the layer in all spaces, at most.
    pub regions_max: u32,
    /// A region with more load than this is split.
    pub load_max: u64,
    /// Regions are joined if they have so much less together: thousandths of `load_max`.
    pub split_hysteresis: u16,
}

/// The layers of a world. They do not change while it runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layers {
    layers: Vec<Layer>,
}

impl Strategy {
    /// Its name in the configuration.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Balanced => "balanced",
            Self::Grid(_) => "grid",
            Self::Single => "single",
            Self::Pinned(_) => "pinned",
            Self::Client => "client",
        }
    }
}

impl Layer {
    /// A balanced layer with what is usual.
    pub fn new(name: &str, worker_type: &str, writes: Vec<ComponentId>) -> Self {
        Self {
            name: name.to_owned(),
            worker_type: worker_type.to_owned(),
            with: Vec::new(),
            without: Vec::new(),
            writes,
            strategy: Strategy::Balanced,
            ghost_margin_m: 0.0,
            border_hysteresis_m: 0.0,
            handover_timeout: 1_000_000,
            regions_max: 64,
            load_max: 10_000,
            split_hysteresis: 500,
        }
    }

    /// Whether it has the entities with these components, given by rising id.
    pub fn has(&self, components: &[ComponentId]) -> bool {
        let is_there = |component: &ComponentId| components.binary_search(component).is_ok();
        self.with.iter().all(is_there) && !self.without.iter().any(is_there)
    }

    /// Whether its regions are ever split, joined or shifted by load.
    pub fn is_balanced(&self) -> bool {
        self.strategy == Strategy::Balanced
    }

    /// Whether its regions are those of players.
    pub fn is_client(&self) -> bool {
        self.strategy == Strategy::Client
    }

    /// Whether some entity could be in both.
    fn can_share_entities(&self, other: &Self) -> bool {
        let excludes = |c: &ComponentId| self.without.contains(c) || other.without.contains(c);
        !self.with.iter().chain(&other.with).any(excludes)
    }

    fn check(
        &self,
        spaces: &[SpaceId],
        limits: &Limits,
        name_of: impl Fn(ComponentId) -> String,
    ) -> Result<(), String> {
        if self.writes.is_empty() {
            return Err("writes names no component".to_owned());
        }
        if let Some(&component) = self.with.iter().find(|c| self.without.contains(c)) {
            return Err(format!("{} is in with and in without: no entity could match", name_of(component)));
        }
        if self.writes.contains(&ComponentId::WORKER_SESSION) {
            let name = name_of(ComponentId::WORKER_SESSION);
            return Err(format!("writes names {name}, which only the server writes"));
        }
        let named =
            [("ghost_margin_m", self.ghost_margin_m), ("border_hysteresis_m", self.border_hysteresis_m)];
        if let Some((key, value)) = named.iter().find(|(_, v)| !(v.is_finite() && *v >= 0.0)) {
            return Err(format!("{key} = {value} is not a number of metres from 0 on"));
        }
        if self.load_max == 0 || self.split_hysteresis >= 1000 {
            return Err("load_max must be over 0, and split_hysteresis under 1000 thousandths".to_owned());
        }
        if u64::from(self.regions_max) > limits.layer_regions_max {
            let max = limits.layer_regions_max;
            return Err(format!("regions_max = {} is over layer_regions_max = {max}", self.regions_max));
        }
        self.strategy.check(spaces, self.regions_max, limits.position_abs_m_max as f64)
    }
}

impl Layers {
    /// Checks the layers of a world with these spaces. `name_of` names a component for people.
    ///
    /// # Errors
    /// [`Reason::ConfigInvalid`]: which layer and why; or which two could both write which component of one entity.
    pub fn new(
        layers: Vec<Layer>,
        spaces: &[SpaceId],
        limits: &Limits,
        name_of: impl Fn(ComponentId) -> String,
    ) -> Result<Self, Error> {
        let invalid = |detail: String| Error::new(Reason::ConfigInvalid, detail);
        if layers.len() as u64 > limits.layers_max {
            return Err(invalid(format!(
                "{} layers are over layers_max = {}",
                layers.len(),
                limits.layers_max
            )));
        }
        for (i, layer) in layers.iter().enumerate() {
            let name = &layer.name;
            layer.check(spaces, limits, &name_of).map_err(|why| invalid(format!("layer {name}: {why}")))?;
            for other in &layers[..i] {
                if other.name == *name {
                    return Err(invalid(format!("two layers are named {name}")));
                }
                let both = layer.writes.iter().find(|c| other.writes.contains(c));
                if let Some(&component) = both.filter(|_| layer.can_share_entities(other)) {
                    return Err(invalid(format!(
                        "layers {} and {name} could both write {} of one entity: with and without must keep them apart",
                        other.name,
                        name_of(component)
                    )));
                }
            }
        }
        Ok(Self { layers })
    }

    /// No layer: any worker may write anything.
    pub const fn is_open(&self) -> bool {
        self.layers.is_empty()
    }

    /// All layers, in order.
    pub fn all(&self) -> impl Iterator<Item = (LayerId, &Layer)> {
        self.layers.iter().enumerate().map(|(i, layer)| (LayerId(i as u16), layer))
    }

    /// A layer by its number.
    ///
    /// # Panics
    /// If there is none: numbers come from here.
    pub fn get(&self, layer: LayerId) -> &Layer {
        &self.layers[usize::from(layer.0)]
    }

    /// A layer by its name.
    pub fn named(&self, name: &str) -> Option<LayerId> {
        self.all().find(|(_, layer)| layer.name == name).map(|(id, _)| id)
    }

    /// The layer whose owner writes a component of an entity that has these components, by rising id. There is at most one.
    pub fn layer_of(&self, component: ComponentId, components: &[ComponentId]) -> Option<LayerId> {
        self.all()
            .find(|(_, layer)| layer.writes.contains(&component) && layer.has(components))
            .map(|(id, _)| id)
    }

    /// The layers that have an entity with these components, by rising id.
    pub fn layers_of(&self, components: &[ComponentId]) -> impl Iterator<Item = LayerId> {
        self.all().filter(|(_, layer)| layer.has(components)).map(|(id, _)| id)
    }
}

impl Eq for Layers {}

/// Equal layers have equal names.
impl Hash for Layers {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.layers.iter().for_each(|layer| layer.name.hash(state));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIND: ComponentId = ComponentId(1001);
    const CAR: ComponentId = ComponentId(1002);
    const PARKED: ComponentId = ComponentId(1003);
    const SPACE: SpaceId = SpaceId(0);

    fn layer(name: &str, with: &[ComponentId], without: &[ComponentId], writes: &[ComponentId]) -> Layer {
        Layer { with: with.to_vec(), without: without.to_vec(), ..Layer::new(name, "sim", writes.to_vec()) }
    }

    fn build(layers: Vec<Layer>) -> Result<Layers, Error> {
        Layers::new(layers, &[SPACE], &Limits::default(), |component| format!("c{component}"))
    }

    #[test]
    fn two_layers_that_could_both_write_a_component_are_refused_by_name() {
        let a = layer("physics", &[CAR], &[], &[ComponentId::POSITION]);
        let b = layer("wind", &[WIND], &[], &[ComponentId::POSITION]);
        let error = build(vec![a.clone(), b]).expect_err("an entity with both");
        assert_eq!(error.reason, Reason::ConfigInvalid);
        for part in ["physics", "wind", "c1"] {
            assert!(error.detail.contains(part), "{error}");
        }
        let apart = layer("wind", &[WIND], &[CAR], &[ComponentId::POSITION]);
        build(vec![a.clone(), apart]).expect("no entity is in both");
        build(vec![a, layer("wind", &[], &[], &[WIND])]).expect("no component is in both");
    }

    #[test]
    fn an_entity_has_one_layer_for_each_component() {
        let driving = layer("driving", &[CAR], &[PARKED], &[ComponentId::POSITION, PARKED]);
        let parking = layer("parking", &[CAR, PARKED], &[], &[ComponentId::POSITION]);
        let layers = build(vec![driving, parking]).expect("apart");
        let of = |component, set: &[ComponentId]| layers.layer_of(component, set).map(|id| id.0);
        assert_eq!(of(ComponentId::POSITION, &[ComponentId::POSITION, CAR]), Some(0));
        assert_eq!(of(ComponentId::POSITION, &[ComponentId::POSITION, CAR, PARKED]), Some(1));
        assert_eq!(of(PARKED, &[CAR]), Some(0), "it may add what ends its turn");
        assert_eq!(of(WIND, &[CAR]), None);
        assert_eq!(of(ComponentId::POSITION, &[ComponentId::POSITION]), None);
    }

    #[test]
    fn what_no_entity_or_number_could_meet_is_refused() {
        let bad = |layer: Layer, part: &str| {
            let error = build(vec![layer]).expect_err(part);
            assert!(error.detail.contains("layer l") && error.detail.contains(part), "{error}");
        };
        let good = || layer("l", &[CAR], &[], &[WIND]);
        bad(layer("l", &[CAR], &[CAR], &[WIND]), "no entity could match");
        bad(layer("l", &[CAR], &[], &[]), "writes names no component");
        bad(layer("l", &[], &[], &[ComponentId::WORKER_SESSION]), "only the server");
        bad(Layer { ghost_margin_m: f64::NAN, ..good() }, "ghost_margin_m");
        bad(Layer { border_hysteresis_m: -1.0, ..good() }, "border_hysteresis_m");
        bad(Layer { regions_max: 1 << 20, ..good() }, "layer_regions_max");
        bad(Layer { load_max: 0, ..good() }, "load_max");
        assert!(build(vec![good(), good()]).expect_err("twice").detail.contains("named l"));
        assert!(build(Vec::new()).expect("open").is_open());
    }
}
