//! From the wire's views to the core's.

use std::sync::Arc;

use spatialdb_core::{Constraint, Densities, Part, View};
use spatialdb_proto::v1::{self, bands::From};
use spatialdb_types::{ComponentId, Error, Reason, ViewId};

use super::query::{Known, invalid, point_of};
use crate::server::edge::Edge;

/// The view of a session of that type, its constraint converted; the session machine checks the rest.
///
/// # Errors
/// `QUERY_INVALID`, `COMPONENT_UNKNOWN`, `FIELD_UNKNOWN` or `SPACE_UNKNOWN` naming the part.
pub(in crate::server) fn view_of(
    edge: &Edge,
    worker_type: &str,
    wire: Option<v1::View>,
) -> Result<View, Error> {
    let known = Known::of_session(edge, worker_type);
    let wire = wire.ok_or_else(|| invalid("the message has no view"))?;
    if wire.view_id == 0 {
        return Err(invalid("view_id is 0; ids of views are chosen from 1 up"));
    }
    if wire.densities.is_some() {
        return Ok(View::of_densities(ViewId(wire.view_id), densities_of(&known, edge.map.cell_m(), &wire)?));
    }
    shown(&known, wire)
}

/// What a view of entities shows, with its id as it is.
///
/// # Errors
/// As [`view_of`].
pub(super) fn shown(known: &Known<'_>, wire: v1::View) -> Result<View, Error> {
    let part = Part {
        constraint: known.constraint(wire.constraint)?,
        components: components(known, wire.components)?,
        interval_us: View::interval_of(wire.rate_hz, known.limits)?,
    };
    let mut view = View { own_updates: wire.own_updates, ..View::new(ViewId(wire.view_id), part) };
    if let Some(bands) = wire.bands {
        add_bands(known, bands, &mut view)?;
    }
    Ok(view)
}

/// # Errors
/// `QUERY_INVALID` or `SPACE_UNKNOWN`.
fn densities_of(known: &Known<'_>, cell_m: f64, wire: &v1::View) -> Result<Densities, Error> {
    let others = [
        (wire.constraint.is_some(), "constraint"),
        (!wire.components.is_empty(), "components"),
        (wire.bands.is_some(), "bands"),
    ];
    if let Some((_, name)) = others.iter().find(|(is_set, _)| *is_set) {
        return Err(invalid(&format!("a view of densities counts all entities: it takes no {name}")));
    }
    let asked = wire.densities.unwrap_or_default();
    let corner = |point: Option<v1::Point>, open: f64| point.map_or((open, open), |p| (p.x, p.y));
    let (min, max) = (corner(asked.min, f64::NEG_INFINITY), corner(asked.max, f64::INFINITY));
    let mut densities = Densities::new(known.space(asked.space)?, min, max, asked.square_m, cell_m)?;
    densities.per_type = asked.per_type;
    densities.interval_us = View::interval_of(wire.rate_hz, known.limits)?;
    Ok(densities)
}

fn components(known: &Known<'_>, ids: Vec<u32>) -> Result<Arc<[ComponentId]>, Error> {
    let mut components: Vec<ComponentId> = ids.into_iter().map(ComponentId).collect();
    components.sort_unstable();
    components.dedup();
    for &component in &components {
        known.component(component)?;
    }
    Ok(components.into())
}

fn add_bands(known: &Known<'_>, bands: v1::Bands, view: &mut View) -> Result<(), Error> {
    let max = known.limits.view_bands_max;
    if bands.bands.len() as u64 > max {
        let detail = format!("{} bands; view_bands_max = {max}", bands.bands.len());
        return Err(Error::new(Reason::QueryInvalid, detail));
    }
    if bands.bands.is_empty() {
        return Err(invalid("bands are empty: leave them out"));
    }
    let from = bands.from.ok_or_else(|| invalid("bands have no place or entity that they go out from"))?;
    let mut inner: Option<(f64, u64)> = None;
    for band in bands.bands {
        let interval_us = View::interval_of(band.rate_hz, known.limits)?;
        let all = &view.parts[0];
        if !(band.radius_m >= 0.0 && band.radius_m.is_finite()) {
            let detail = format!("bands: radius_m = {}; a finite number from 0 up is needed", band.radius_m);
            return Err(invalid(&detail));
        }
        if inner.is_some_and(|(radius_m, _)| radius_m >= band.radius_m) {
            return Err(invalid("bands: each one's radius_m is larger than that of the one before"));
        }
        let is_slower =
            interval_us > all.interval_us || inner.is_some_and(|(_, interval)| interval > interval_us);
        if is_slower {
            return Err(invalid(
                "bands: rates fall outwards, down to the rate_hz of the view; 0 is the highest",
            ));
        }
        inner = Some((band.radius_m, interval_us));
        let near = match &from {
            From::Place(place) => {
                let center = point_of(place.point.as_ref(), "the point of the bands' place")?;
                Constraint::Sphere { space: known.space(place.space)?, center, radius_m: band.radius_m }
            }
            From::Entity(entity) => {
                Constraint::Near { entity: known.followed(*entity)?, radius_m: band.radius_m }
            }
        };
        let part = Part {
            constraint: Constraint::And(vec![near, all.constraint.clone()]),
            components: if band.components.is_empty() {
                all.components.clone()
            } else {
                components(known, band.components)?
            },
            interval_us,
        };
        view.parts.push(part);
    }
    Ok(())
}
