//! What a session owns, for its views.

use spatialdb_core::authority::layers::{Layer, Layers};
use spatialdb_core::{Constraint, OwnedLayer};
use spatialdb_types::{Error, LayerId};

use super::query::invalid;

/// Whose view it is.
pub(super) struct Owner<'a> {
    pub(super) layers: &'a Layers,
    pub(super) worker_type: &'a str,
}

impl Owner<'_> {
    /// What a session owns in a layer, or in all that its type serves.
    ///
    /// # Errors
    /// `QUERY_INVALID`: no such layer, or another type serves it.
    pub(super) fn owned(&self, name: &str) -> Result<Constraint, Error> {
        let Self { layers, worker_type } = self;
        if layers.is_open() && name.is_empty() {
            return Ok(Constraint::All);
        }
        let meant = |layer: &Layer| {
            if name.is_empty() { layer.worker_type == *worker_type } else { layer.name == name }
        };
        let found: Vec<_> = layers.all().filter(|(_, layer)| meant(layer)).collect();
        if let Some((_, other)) = found.iter().find(|(_, layer)| layer.worker_type != *worker_type) {
            let detail =
                format!("owned: workers of type {} serve layer {name}, not {worker_type}", other.worker_type);
            return Err(invalid(&detail));
        }
        match (found.is_empty(), name) {
            (false, _) => {
                Ok(Constraint::Owned(found.into_iter().map(|(id, layer)| followed(id, layer)).collect()))
            }
            (true, "") => Err(invalid(&format!("owned: workers of type {worker_type} serve no layer"))),
            (true, name) => Err(invalid(&format!("owned: the world has no layer {name}"))),
        }
    }
}

/// As far as an owner is to see, and as far as what it owns may be outside.
fn followed(id: LayerId, layer: &Layer) -> OwnedLayer {
    // What is as far inside of the next region goes over: just that far it still is its own.
    let strays_m = layer.border_hysteresis_m * (1.0 + 1e-9);
    OwnedLayer { layer: id, margin_m: layer.ghost_margin_m.max(strays_m) }
}

#[cfg(test)]
mod tests {
    use spatialdb_types::{ComponentId, Limits, SpaceId};

    use super::*;

    #[test]
    fn what_a_session_owns_is_in_the_layers_of_its_type() {
        let limits = Limits::default();
        let layer = |name: &str, worker_type: &str, writes, ghost_margin_m, border_hysteresis_m| Layer {
            ghost_margin_m,
            border_hysteresis_m,
            ..Layer::new(name, worker_type, vec![ComponentId(writes)])
        };
        let layers = vec![layer("air", "flight", 1000, 5.0, 1.0), layer("sea", "ship", 1001, 5.0, 1.0)];
        let layers = Layers::new(layers, &[SpaceId(0)], &limits, |component| component.to_string());
        let (layers, open) = (layers.expect("layers"), Layers::default());
        let ask =
            |layers: &Layers, worker_type: &str, layer: &str| Owner { layers, worker_type }.owned(layer);
        let air = OwnedLayer { layer: LayerId(0), margin_m: 5.0 };
        assert_eq!(ask(&layers, "flight", ""), Ok(Constraint::Owned([air].into())));
        assert_eq!(ask(&layers, "flight", "air"), Ok(Constraint::Owned([air].into())));
        assert_eq!(ask(&open, "flight", ""), Ok(Constraint::All));
        let says = |result: Result<Constraint, Error>| result.expect_err("refused").detail;
        assert!(says(ask(&layers, "flight", "sea")).contains("type ship serve layer sea, not flight"));
        assert!(says(ask(&layers, "flight", "road")).contains("no layer road"));
        assert!(says(ask(&layers, "cli", "")).contains("type cli serve no layer"));
        let wide = followed(LayerId(1), &layer("wide", "flight", 1002, 1.0, 9.0));
        assert!(wide.margin_m > 9.0 && wide.margin_m < 9.001);
    }
}
