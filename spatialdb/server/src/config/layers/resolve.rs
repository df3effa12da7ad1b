//! From names to a world's own components and spaces.
//!
//! Responsible for: the layers as the core takes them, and the line of what does not fit the world. Not responsible for:
//! the rules of layers themselves (`spatialdb_core::authority::layers`).

use spatialdb_core::authority::layers::{Layer, Layers, PinnedBox, Strategy};
use spatialdb_schema::Schema;
use spatialdb_types::{Box3, ComponentId, Limits, Point3, SpaceId};
use toml::Value;

use super::{LayerConfig, LayersConfig, strategy::PinConfig};
use crate::config::ConfigError;

// So many spaces are named to somebody who names another.
const SPACES_NAMED_MAX: usize = 5;

impl LayersConfig {
    /// The layers of a world with this schema and these spaces.
    ///
    /// # Errors
    /// What the world does not have; two layers that could both write a component of one entity; all with file and line.
    pub fn resolve(
        &self,
        schema: &Schema,
        spaces: &[(SpaceId, String)],
        limits: &Limits,
    ) -> Result<Layers, ConfigError> {
        let mut layers = Vec::with_capacity(self.layers.len());
        for (index, config) in self.layers.iter().enumerate() {
            layers.push(self.layer(index, config, schema, spaces)?);
        }
        let ids: Vec<SpaceId> = spaces.iter().map(|(id, _)| *id).collect();
        let name_of = |id| name_of(schema, id);
        let build = |layers: &[Layer]| Layers::new(layers.to_vec(), &ids, limits, name_of);
        build(&layers).map_err(|error| {
            // With the first one that is too much.
            let at =
                (1..layers.len()).find(|&count| build(&layers[..count]).is_err()).unwrap_or(layers.len());
            let origin = self.origin(&format!("layers[{}]", at - 1));
            ConfigError::Together { origin, detail: error.detail }
        })
    }

    fn layer(
        &self,
        index: usize,
        config: &LayerConfig,
        schema: &Schema,
        spaces: &[(SpaceId, String)],
    ) -> Result<Layer, ConfigError> {
        let components = |key: &str, names: &[String]| -> Result<Vec<ComponentId>, ConfigError> {
            let key = format!("layers[{index}].{key}");
            let mut ids = Vec::with_capacity(names.len());
            for name in names {
                let found = schema.component_named(name);
                let id = found.map_err(|error| self.wrong(&key, format!("{name:?}"), error.detail))?.id();
                if ids.contains(&id) {
                    let rule = format!("{} is there twice", name_of(schema, id));
                    return Err(self.wrong(&key, format!("{name:?}"), rule));
                }
                ids.push(id);
            }
            Ok(ids)
        };
        let mut layer = Layer {
            with: components("with", &config.with)?,
            without: components("without", &config.without)?,
            writes: components("writes", &config.writes)?,
            ..config.layer.clone()
        };
        if layer.strategy == Strategy::Client && layer.without.contains(&ComponentId::PLAYER_OWNER) {
            let name = name_of(schema, ComponentId::PLAYER_OWNER);
            let rule = "strategy \"client\" takes the owner from it: no entity could have one";
            return Err(self.wrong(
                &format!("layers[{index}].without"),
                format!("{name:?}"),
                rule.to_owned(),
            ));
        }
        if layer.strategy == Strategy::Client && !layer.with.contains(&ComponentId::PLAYER_OWNER) {
            // Without it an entity is nobody's.
            layer.with.push(ComponentId::PLAYER_OWNER);
        }
        if let Strategy::Pinned(boxes) = &mut layer.strategy {
            for (number, pin) in config.pins.iter().enumerate() {
                boxes.push(self.pin(&format!("layers[{index}].pins[{number}]"), pin, spaces)?);
            }
        }
        Ok(layer)
    }

    fn pin(
        &self,
        key: &str,
        pin: &PinConfig,
        spaces: &[(SpaceId, String)],
    ) -> Result<PinnedBox, ConfigError> {
        let is_meant = |(id, name): &&(SpaceId, String)| match &pin.space {
            Value::Integer(number) => i64::from(id.0) == *number,
            value => value.as_str() == Some(name),
        };
        let Some(&(space, _)) = spaces.iter().find(is_meant) else {
            let named = spaces.iter().take(SPACES_NAMED_MAX).map(|(id, name)| format!("{id} {name:?}"));
            let more = if spaces.len() > SPACES_NAMED_MAX { ", ..." } else { "" };
            let rule = format!("the world has {}{more}", named.collect::<Vec<_>>().join(", "));
            return Err(self.wrong(&format!("{key}.space"), pin.space.to_string(), rule));
        };
        let ([west, south], [east, north]) = (pin.min, pin.max);
        let area = Box3 {
            min: Point3::new(west, south, f64::NEG_INFINITY),
            max: Point3::new(east, north, f64::INFINITY),
        };
        Ok(PinnedBox { space, area, worker: pin.worker.clone() })
    }

    fn wrong(&self, key: &str, value: String, rule: String) -> ConfigError {
        ConfigError::Value { origin: self.origin(key), key: key.to_owned(), value, rule }
    }

    fn origin(&self, key: &str) -> String {
        let file = self.file.display();
        self.places.line(key).map_or_else(|| file.to_string(), |line| format!("{file}:{line}"))
    }
}

fn name_of(schema: &Schema, id: ComponentId) -> String {
    schema.component(id).map_or_else(|| id.to_string(), |component| component.name().to_owned())
}
