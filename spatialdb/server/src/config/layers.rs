//! `[[layers]]`: who may write which components of which entities.
//!
//! Responsible for: reading them, and refusing what could mean nothing in any world. Not responsible for: whether the
//! world has their components and spaces, and whether two layers meet (`resolve`); who serves a layer.

mod resolve;
mod shown;
#[cfg(test)]
mod tests;

use std::{ops::RangeInclusive, path::PathBuf, time::Duration};

use spatialdb_core::authority::layers::{GridShape, Layer, Strategy};
use toml::Value;

pub(super) use self::shown::settings;
use super::{
    ConfigError,
    authority::micros,
    places::Places,
    section::{Section, is_number_or_text},
    worker::parse_name,
};

const HANDOVER_TIMEOUT_RANGE: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(600);

// Load counts entities, and travels in numbers that must survive a double.
const LOAD_MAX_LARGEST: usize = (spatialdb_types::ID_END - 1) as usize;

const SIDE_COUNT_MAX: usize = u16::MAX as usize;

/// What only a layer with regions has.
const REGION_KEYS: [&str; 6] = [
    "ghost_margin_m",
    "border_hysteresis_m",
    "handover_timeout",
    "regions_max",
    "load_max",
    "split_hysteresis",
];

const CORNER_RULE: &str = "must be [x, y] in metres";

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

/// A pinned box of the file.
#[derive(Clone, Debug, PartialEq)]
struct PinConfig {
    /// A number or a name.
    space: Value,
    min: [f64; 2],
    max: [f64; 2],
    worker: Option<String>,
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
    (layer.strategy, pins) = read_strategy(section)?;
    if layer.strategy == Strategy::Client {
        section.refuse(&REGION_KEYS, "a layer of strategy \"client\" has no regions: leave it out")?;
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

fn read_strategy(section: &mut Section) -> Result<(Strategy, Vec<PinConfig>), ConfigError> {
    let name = section.text("strategy")?.unwrap_or_else(|| Strategy::Balanced.name().to_owned());
    let elsewhere = |key: &str, of: &str| {
        format!("{key} belongs to strategy \"{of}\", and this layer has strategy \"{name}\"")
    };
    if name != "grid" {
        section.refuse(&["grid"], &elsewhere("grid", "grid"))?;
    }
    if name != "pinned" {
        section.refuse(&["pins"], &elsewhere("pins", "pinned"))?;
    }
    let mut pins = Vec::new();
    let strategy = match name.as_str() {
        "balanced" => Strategy::Balanced,
        "single" => Strategy::Single,
        "client" => Strategy::Client,
        "grid" => Strategy::Grid(read_grid(section)?),
        "pinned" => {
            pins = read_pins(section)?;
            Strategy::Pinned(Vec::new())
        }
        _ => {
            let rule = "must be \"balanced\", \"grid\", \"single\", \"pinned\" or \"client\"";
            return Err(section.wrong("strategy", Value::from(name), rule));
        }
    };
    Ok((strategy, pins))
}

fn read_grid(section: &mut Section) -> Result<GridShape, ConfigError> {
    let rule = "strategy \"grid\" needs grid = { x = 0, y = 0, side_m = 1000, columns = 2, rows = 2 }";
    let mut grid = section.section_if_any("grid")?.ok_or_else(|| section.missing("grid", rule))?;
    let first = |grid: &mut Section, key| match grid.number(key)? {
        Some(at) if at.is_finite() => Ok(at),
        Some(at) => Err(grid.wrong(key, at, "must be a number of metres: where the first cut is")),
        None => Err(grid.missing(key, "where the first cut is, in metres")),
    };
    let count = |grid: &mut Section, key| {
        let count = grid.count(key, 1..=SIDE_COUNT_MAX)?;
        count
            .map(|count| count as u32)
            .ok_or_else(|| grid.missing(key, "how many regions side by side, from 1"))
    };
    let (x, y) = (first(&mut grid, "x")?, first(&mut grid, "y")?);
    let side_rule = "the side of a region in metres, above 0";
    let side_m = grid.number("side_m")?.ok_or_else(|| grid.missing("side_m", side_rule))?;
    if !(side_m.is_finite() && side_m > 0.0) {
        return Err(grid.wrong("side_m", side_m, format!("must be {side_rule}")));
    }
    let shape =
        GridShape { x, y, side_m, columns: count(&mut grid, "columns")?, rows: count(&mut grid, "rows")? };
    grid.finish()?;
    Ok(shape)
}

fn read_pins(section: &mut Section) -> Result<Vec<PinConfig>, ConfigError> {
    let mut pins = Vec::new();
    for mut pin in section.sections("pins")? {
        let space = pin.take("space").unwrap_or(Value::Integer(0));
        if !is_number_or_text(&space) {
            return Err(pin.wrong("space", space, "must be the number or the name of a space"));
        }
        let (min, max) = (corner(&mut pin, "min")?, corner(&mut pin, "max")?);
        if let Some(axis) = (0..2).find(|&axis| min[axis] >= max[axis]) {
            let (name, from) = (["x", "y"][axis], min[axis]);
            return Err(pin.wrong(
                "max",
                format!("{max:?}"),
                format!("must have {name} above {from}, that of min"),
            ));
        }
        let worker = pin.parsed("worker", parse_name)?;
        pin.finish()?;
        pins.push(PinConfig { space, min, max, worker });
    }
    if pins.is_empty() {
        let rule = "strategy \"pinned\" needs boxes: pins = [{ min = [0, 0], max = [1000, 1000] }]";
        return Err(section.missing("pins", rule));
    }
    Ok(pins)
}

/// Sides may be open: `inf`.
fn corner(pin: &mut Section, key: &str) -> Result<[f64; 2], ConfigError> {
    let value = pin.take(key).ok_or_else(|| pin.missing(key, CORNER_RULE))?;
    let number = |value: &Value| value.as_float().or_else(|| value.as_integer().map(|number| number as f64));
    let numbers: Option<Vec<f64>> = value.as_array().and_then(|all| all.iter().map(number).collect());
    numbers
        .and_then(|all| <[f64; 2]>::try_from(all).ok())
        .filter(|corner| corner.iter().all(|at| !at.is_nan()))
        .ok_or_else(|| pin.wrong(key, &value, CORNER_RULE))
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
