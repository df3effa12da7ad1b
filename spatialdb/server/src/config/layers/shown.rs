//! Layers as settings: keys and values, as the file would say them.

use std::time::Duration;

use serde_json::{Value, json};
use spatialdb_core::authority::layers::{Layer, Strategy};

use super::{LayersConfig, strategy::PinConfig};
use crate::config::units::duration_text;

/// Every setting of every layer.
pub(in crate::config) fn settings(config: &LayersConfig) -> Vec<(String, Value)> {
    let mut settings = Vec::new();
    for (index, shown) in config.layers.iter().enumerate() {
        let layer = &shown.layer;
        let mut values = vec![
            ("name".to_owned(), json!(layer.name)),
            ("worker_type".to_owned(), json!(layer.worker_type)),
            ("with".to_owned(), json!(shown.with)),
            ("without".to_owned(), json!(shown.without)),
            ("writes".to_owned(), json!(shown.writes)),
            ("strategy".to_owned(), json!(layer.strategy.name())),
        ];
        if let Strategy::Grid(grid) = &layer.strategy {
            let number = |key: &str, value: Value| (format!("grid.{key}"), value);
            values.extend([
                number("x", json!(grid.x)),
                number("y", json!(grid.y)),
                number("side_m", json!(grid.side_m)),
                number("columns", json!(grid.columns)),
                number("rows", json!(grid.rows)),
            ]);
        }
        values.extend(shown.pins.iter().enumerate().flat_map(|(number, pin)| pin_settings(number, pin)));
        if layer.strategy != Strategy::Client {
            values.extend(region_settings(layer).map(|(key, value)| (key.to_owned(), value)));
        }
        settings.extend(values.into_iter().map(|(key, value)| (format!("layers[{index}].{key}"), value)));
    }
    settings
}

fn pin_settings(number: usize, pin: &PinConfig) -> [(String, Value); 4] {
    let key = |key: &str| format!("pins[{number}].{key}");
    // JSON has no infinite numbers.
    let corner = |corner: [f64; 2]| {
        let side = |at: f64| if at.is_finite() { json!(at) } else { json!(at.to_string()) };
        json!(corner.map(side))
    };
    let space = pin.space.as_integer().map_or_else(|| json!(pin.space.as_str()), |number| json!(number));
    [
        (key("space"), space),
        (key("min"), corner(pin.min)),
        (key("max"), corner(pin.max)),
        (key("worker"), json!(pin.worker)),
    ]
}

fn region_settings(layer: &Layer) -> [(&'static str, Value); 6] {
    [
        ("ghost_margin_m", json!(layer.ghost_margin_m)),
        ("border_hysteresis_m", json!(layer.border_hysteresis_m)),
        ("handover_timeout", json!(duration_text(Duration::from_micros(layer.handover_timeout)))),
        ("regions_max", json!(layer.regions_max)),
        ("load_max", json!(layer.load_max)),
        ("split_hysteresis", json!(f64::from(layer.split_hysteresis) / 1000.0)),
    ]
}
