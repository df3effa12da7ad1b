//! Who writes what, by the settings.
//!
//! Responsible for: layers and components as tables and JSON. Not responsible for: reading layers (`crate::config`).

use std::io::{self, Write};

use serde_json::{Value, json};
use spatialdb_core::authority::layers::{Layer, Layers, PinnedBox, Strategy};
use spatialdb_schema::{Component, Schema};
use spatialdb_types::ComponentId;

use crate::cli::print;

/// The layers of a world, and its components.
pub(super) struct Writers {
    pub(super) layers: Layers,
    pub(super) schema: Schema,
}

impl Writers {
    /// Tables for people.
    ///
    /// # Errors
    /// stdout is gone.
    pub(super) fn print(&self, out: &mut impl Write) -> io::Result<()> {
        if self.layers.is_open() {
            writeln!(out, "no layers: the world is open, any worker may write anything")?;
        } else {
            let rows: Vec<_> = self.layers.all().flat_map(|(_, layer)| self.rows(layer)).collect();
            writeln!(out)?;
            print::table(&mut *out, &["layer", "worker type", "strategy", "entities", "writes"], &rows)?;
            let pins: Vec<_> = self.layers.all().flat_map(|(_, layer)| pin_rows(layer)).collect();
            if !pins.is_empty() {
                writeln!(out)?;
                print::table(&mut *out, &["layer", "space", "pinned box", "worker"], &pins)?;
            }
        }
        let rest = self.schema.components().iter().filter(|component| !self.is_written(component.id()));
        let rows: Vec<_> =
            rest.map(|component| vec![component.name().to_owned(), self.by(component).to_owned()]).collect();
        writeln!(out)?;
        print::table(&mut *out, &["component", "written by"], &rows)?;
        if !self.layers.is_open() {
            writeln!(out, "\nof entities that no layer has: tools and creation only")?;
        }
        Ok(())
    }

    /// The same for scripts.
    pub(super) fn json(&self) -> Value {
        let layers = self.layers.all().map(|(_, layer)| {
            json!({
                "name": layer.name,
                "worker_type": layer.worker_type,
                "strategy": layer.strategy.name(),
                "grid": grid_json(&layer.strategy),
                "pins": pins(layer).map(pin_json).collect::<Vec<_>>(),
                "with": self.names(&layer.with),
                "without": self.names(&layer.without),
                "writes": self.names(&layer.writes),
            })
        });
        let written = |component: &Component| {
            let of = self.layers.all().filter(|(_, layer)| layer.writes.contains(&component.id()));
            json!({
                "name": component.name(),
                "layers": of.map(|(_, layer)| &layer.name).collect::<Vec<_>>(),
                "otherwise": self.by(component),
            })
        };
        json!({
            "open": self.layers.is_open(),
            "layers": layers.collect::<Vec<_>>(),
            "components": self.schema.components().iter().map(written).collect::<Vec<_>>(),
        })
    }

    /// One cell holds one component; what is the same for all of them stands once.
    fn rows(&self, layer: &Layer) -> Vec<Vec<String>> {
        let mut entities: Vec<String> =
            self.names(&layer.with).iter().map(|name| format!("with {name}")).collect();
        entities.extend(self.names(&layer.without).iter().map(|name| format!("without {name}")));
        if entities.is_empty() {
            entities.push("all".to_owned());
        }
        let writes = self.names(&layer.writes);
        let mut once = vec![layer.name.clone(), layer.worker_type.clone(), strategy(&layer.strategy)];
        let count = entities.len().max(writes.len());
        let row = |i: usize| {
            let mut row = std::mem::replace(&mut once, vec![String::new(); 3]);
            row.push(entities.get(i).cloned().unwrap_or_default());
            row.push(writes.get(i).map(|name| (*name).to_owned()).unwrap_or_default());
            row
        };
        (0..count).map(row).collect()
    }

    fn names(&self, ids: &[ComponentId]) -> Vec<&str> {
        ids.iter().filter_map(|id| self.schema.component(*id)).map(Component::name).collect()
    }

    fn is_written(&self, component: ComponentId) -> bool {
        self.layers.all().any(|(_, layer)| layer.writes.contains(&component))
    }

    /// Who writes a component of entities where no layer says so.
    fn by(&self, component: &Component) -> &'static str {
        match component.id() {
            ComponentId::WORKER_SESSION => "the server",
            _ if self.layers.is_open() => "any worker",
            _ => "tools and creation only",
        }
    }
}

fn pins(layer: &Layer) -> impl Iterator<Item = &PinnedBox> {
    let pins = if let Strategy::Pinned(pins) = &layer.strategy { pins.as_slice() } else { &[] };
    pins.iter()
}

fn corners(pin: &PinnedBox) -> [[f64; 2]; 2] {
    [pin.area.min, pin.area.max].map(|corner| [corner.x, corner.y])
}

fn pin_rows(layer: &Layer) -> impl Iterator<Item = Vec<String>> {
    pins(layer).map(|pin| {
        let [min, max] = corners(pin);
        let worker = pin.worker.clone().unwrap_or_else(|| format!("any of type {}", layer.worker_type));
        vec![layer.name.clone(), pin.space.to_string(), print::area(min, max), worker]
    })
}

fn pin_json(pin: &PinnedBox) -> Value {
    // JSON has no infinite numbers: there the box has no border.
    let [min, max] = corners(pin).map(|corner| corner.map(|at| at.is_finite().then_some(at)));
    json!({ "space": pin.space.0, "min": min, "max": max, "worker": pin.worker })
}

fn grid_json(strategy: &Strategy) -> Value {
    let Strategy::Grid(grid) = strategy else { return Value::Null };
    json!({ "x": grid.x, "y": grid.y, "side_m": grid.side_m, "columns": grid.columns, "rows": grid.rows })
}

fn strategy(strategy: &Strategy) -> String {
    let name = strategy.name();
    match strategy {
        Strategy::Balanced | Strategy::Single => name.to_owned(),
        Strategy::Grid(grid) => format!(
            "{name}, {} x {} of {} m, first cuts at ({}, {})",
            grid.columns, grid.rows, grid.side_m, grid.x, grid.y
        ),
        Strategy::Pinned(boxes) => format!("{name}, boxes: {}", boxes.len()),
        Strategy::Client => format!("{name}, the player in PlayerOwner"),
    }
}
