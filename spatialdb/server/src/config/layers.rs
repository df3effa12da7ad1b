//! `[[layers]]`: who may write which components of which entities.
//!
//! Responsible for: reading them, and refusing what could mean nothing in any world. Not responsible for: whether the
//! world has their components and spaces, and whether two layers meet (`resolve`); how regions come about (`strategy`).

mod resolve;
mod shown;
mod strategy;
#[cfg(test)]
mod tests;

use std::{ops::RangeInclusive, path::PathBuf, time::Duration};

use spatialdb_core::authority::layers::{Layer, Strategy};

pub(super) use self::shown::settings;
use self::strategy::PinConfig;
use super::{ConfigError, authority::micros, places::Places, section::Section, worker::parse_name};

const HANDOVER_TIMEOUT_RANGE: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(600);

// Load counts entities, and travels in numbers that must survive a double.
const LOAD_MAX_LARGEST: usize = (spatialdb_types::ID_END - 1) as usize;

/// What only a layer with regions has.
const REGION_KEYS: [&str; 6] = [
    "ghost_margin_m",
    "border_hysteresis_m",
    "handover_timeout",
    "regions_max",
    "load_max",
    "split_hysteresis",
];

/// The layers as the file has them: by names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LayersConfig {
    layers: Vec<LayerConfig>,
    // Where they stand, for what is found to be wrong later.
    file: PathBuf,
    places: Places,
}

/// One layer of the file.
#[derive(Clone, Debug, PartialEq)]
struct LayerConfig {
    /// All but its components and boxes.
    layer: Layer,
    with: Vec<String>,
    without: Vec<String>,
    writes: Vec<String>,
    pins: Vec<PinConfig>,
}

impl LayersConfig {
    /// No layer: any worker may write anything.
    pub fn is_open(&self) -> bool {
        self.layers.is_empty()
    }

    /// Remembers where they stand.
    pub(super) fn stand_in(&mut self, file: PathBuf, places: Places) {
        if !self.is_open() {
            (self.file, self.places) = (file, places);
        }
    }
}

/// Reads every `[[layers]]` table.
pub(super) fn read_all(sections: Vec<Section>) -> Result<LayersConfig, ConfigError> {
    let mut layers = Vec::with_capacity(sections.len());
    for mut section in sections {
        layers.push(read(&mut section)?);
        section.finish()?;
    }
    Ok(LayersConfig { layers, ..LayersConfig::default() })
}

fn read(section: &mut Section) -> Result<LayerConfig, ConfigError> {
    let name = section
        .parsed("name", parse_name)?
        .ok_or_else(|| section.missing("name", "a layer needs a name, like \"traffic\""))?;
    let worker_type = section.parsed("worker_type", parse_name)?.ok_or_else(|| {
        section.missing("worker_type", "a layer needs the type of its workers, like \"flight\"")
    })?;
    let mut layer = Layer::new(&name, &worker_type, Vec::new());
    let rule = "a layer needs the components that its workers write, like [\"Position\"]";
    let writes = components(section, "writes")?.ok_or_else(|| section.missing("writes", rule))?;
    if writes.is_empty() {
        return Err(section.wrong("writes", "[]", rule));
    }
    let with = components(section, "with")?.unwrap_or_default();
    let without = components(section, "without")?.unwrap_or_default();
    let pins;
    (layer.strategy, pins) = strategy::read(section)?;
    if layer.strategy == Strategy::Client {
        section.refuse(
            &REGION_KEYS,
            "the regions of a layer of strategy \"client\" are players: leave it out",
        )?;
    } else {
        read_regions(section, &mut layer)?;
    }
    Ok(LayerConfig { layer, with, without, writes, pins })
}

/// Names of components, each once.
fn components(section: &mut Section, key: &str) -> Result<Option<Vec<String>>, ConfigError> {
    let names = section.texts(key)?;
    for (index, name) in names.iter().flatten().enumerate() {
        if names.iter().flatten().take(index).any(|other| other == name) {
            return Err(section.wrong(key, format!("{name:?}"), "is there twice"));
        }
    }
    Ok(names)
}

fn read_regions(section: &mut Section, layer: &mut Layer) -> Result<(), ConfigError> {
    if let Some(margin_m) = section.metres("ghost_margin_m")? {
        layer.ghost_margin_m = margin_m;
    }
    if let Some(hysteresis_m) = section.metres("border_hysteresis_m")? {
        layer.border_hysteresis_m = hysteresis_m;
    }
    if let Some(timeout) = section.duration("handover_timeout", HANDOVER_TIMEOUT_RANGE)? {
        layer.handover_timeout = micros(timeout);
    }
    if let Some(count) = section.count("regions_max", 1..=u32::MAX as usize)? {
        layer.regions_max = count as u32;
    }
    if let Some(load) = section.count("load_max", 1..=LOAD_MAX_LARGEST)? {
        layer.load_max = load as u64;
    }
    if let Some(share) = section.number("split_hysteresis")? {
        let thousandths = (share * 1000.0).round();
        if !(share >= 0.0 && thousandths < 1000.0) {
            let rule = "must be a share of load_max, from 0 to 0.999";
            return Err(section.wrong("split_hysteresis", share, rule));
        }
        layer.split_hysteresis = thousandths as u16;
    }
    Ok(())
}
