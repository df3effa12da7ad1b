//! How the regions of a layer come about.
//!
//! Responsible for: the strategy, its grid or its boxes, and refusing those of another. Not responsible for: whether the
//! world has the spaces, and whether shapes fit each other (`resolve`).

use spatialdb_core::authority::layers::{GridShape, Strategy};
use toml::Value;

use crate::config::{ConfigError, section::Section, worker::parse_name};

const SIDE_COUNT_MAX: usize = u16::MAX as usize;

const CORNER_RULE: &str = "must be [x, y] in metres";

/// A pinned box of the file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PinConfig {
    /// A number or a name.
    pub(super) space: Value,
    pub(super) min: [f64; 2],
    pub(super) max: [f64; 2],
    pub(super) worker: Option<String>,
}

/// The strategy of a layer; a pinned one has its boxes beside it.
pub(super) fn read(section: &mut Section) -> Result<(Strategy, Vec<PinConfig>), ConfigError> {
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
        if !matches!(space, Value::Integer(_) | Value::String(_)) {
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
