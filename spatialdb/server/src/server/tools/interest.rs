//! From the value of an Interest to the core's views.

use std::sync::Arc;

use prost::Message;
use spatialdb_core::{View, check_interest};
use spatialdb_proto::v1;
use spatialdb_types::{EntityId, Error, ViewId};

use super::query::{Known, Near, invalid};
use super::view;
use crate::server::edge::Edge;

/// The views that an entity gives with this value.
///
/// # Errors
/// As of a view that is asked for, naming which view it is about; `QUERY_INVALID` for what no session could ever have.
pub(in crate::server) fn views_of(edge: &Edge, entity: EntityId, value: &[u8]) -> Result<Arc<[View]>, Error> {
    views(&Known::of(edge, Near::Of(entity)), value)
}

fn views(known: &Known<'_>, value: &[u8]) -> Result<Arc<[View]>, Error> {
    let interest = v1::Interest::decode(value).map_err(|error| invalid(&format!("Interest: {error}")))?;
    let (count, max) = (interest.views.len(), known.limits.session_views_max);
    if count as u64 > max {
        return Err(invalid(&format!("Interest has {count} views; session_views_max = {max}")));
    }
    let numbered = interest.views.into_iter().enumerate();
    let named =
        |at: usize, error: Error| Error::new(error.reason, format!("Interest.views[{at}]: {}", error.detail));
    let views = numbered.map(|(at, wire)| given(known, wire).map_err(|error| named(at, error)));
    let views: Vec<View> = views.collect::<Result<_, _>>()?;
    check_interest(&views, known.limits)?;
    Ok(views.into())
}

fn given(known: &Known<'_>, wire: v1::View) -> Result<View, Error> {
    if wire.view_id != 0 {
        return Err(invalid("view_id must not be set: the server gives ids of its own"));
    }
    if wire.own_updates {
        return Err(invalid("own_updates must not be set"));
    }
    if wire.densities.is_some() {
        return Err(invalid("densities must not be set: they are told by view_id"));
    }
    Ok(View { id: ViewId(0), ..view::shown(known, wire)? })
}

#[cfg(test)]
mod tests {
    use spatialdb_core::Constraint;
    use spatialdb_proto::v1::{bands::From, constraint::Kind};
    use spatialdb_schema::Schema;
    use spatialdb_types::{Limits, Reason, SpaceId};

    use super::*;

    const CAR: EntityId = EntityId(7);

    fn near(entity: u64, radius_m: f64) -> Option<v1::Constraint> {
        Some(v1::Constraint { kind: Some(Kind::Near(v1::Near { entity, radius_m })) })
    }

    fn read(views_: Vec<v1::View>) -> Result<Arc<[View]>, Error> {
        let limits = Limits { session_views_max: 3, session_constraint_nodes_max: 8, ..Limits::default() };
        let spaces = [(SpaceId(0), "default".to_owned())];
        let known = Known::new(Arc::new(Schema::built_in()), &limits, &spaces, Near::Of(CAR));
        views(&known, &v1::Interest { views: views_ }.encode_to_vec())
    }

    fn refused(view: v1::View) -> Error {
        read(vec![v1::View { constraint: near(0, 1.0), ..v1::View::default() }, view]).expect_err("refused")
    }

    #[test]
    fn entity_0_is_the_one_that_has_it() {
        let band = v1::Band { radius_m: 5.0, rate_hz: 20.0, components: vec![] };
        let bands = Some(v1::Bands { from: Some(From::Entity(0)), bands: vec![band] });
        let own = v1::View { constraint: near(0, 9.0), rate_hz: 10.0, bands, ..v1::View::default() };
        let text = Some(v1::Constraint { kind: Some(Kind::Text("near 0 within 3".to_owned())) });
        let other = v1::View { constraint: near(8, 3.0), ..v1::View::default() };
        let read =
            read(vec![own, v1::View { constraint: text, ..v1::View::default() }, other]).expect("fine");
        let is_near = |entity, radius_m| Constraint::Near { entity, radius_m };
        assert_eq!(read[0].parts[0].constraint, is_near(CAR, 9.0));
        let band = Constraint::And(vec![is_near(CAR, 5.0), is_near(CAR, 9.0)]);
        assert_eq!((&read[0].parts[1].constraint, read[0].parts[1].interval_us), (&band, 50_000));
        assert_eq!(read[1].parts[0].constraint, is_near(CAR, 3.0));
        assert_eq!(read[2].parts[0].constraint, is_near(EntityId(8), 3.0));
    }

    #[test]
    fn what_cannot_be_meant_is_named() {
        let view = || v1::View { constraint: near(0, 1.0), ..v1::View::default() };
        let many = Some(v1::Constraint { kind: Some(Kind::Text("all or all or all or all or all".into())) });
        for (bad, part) in [
            (v1::View { view_id: 1, ..view() }, "views[1]: view_id"),
            (v1::View { own_updates: true, ..view() }, "own_updates"),
            (v1::View { densities: Some(v1::Densities::default()), ..view() }, "densities"),
            (v1::View { constraint: None, ..view() }, "empty"),
            (v1::View { constraint: near(0, f64::NAN), ..view() }, "radius_m"),
            (v1::View { constraint: near(1 << 60, 1.0), ..view() }, "2^53"),
            (v1::View { rate_hz: -1.0, ..view() }, "rate_hz"),
            (v1::View { constraint: many.clone(), bands: None, ..view() }, ""),
        ] {
            // The last one alone is fine.
            let error = if part.is_empty() {
                let wide = || v1::View { constraint: many.clone(), ..view() };
                read(vec![wide(), wide()]).expect_err("refused")
            } else {
                refused(bad)
            };
            assert_eq!(error.reason, Reason::QueryInvalid, "{error}");
            assert!(error.detail.contains(part), "{error} does not say {part}");
        }
        let unknown = v1::View { components: vec![4711], ..view() };
        assert_eq!(refused(unknown).reason, Reason::ComponentUnknown);
        let detail = read(vec![view(); 4]).expect_err("too many").detail;
        assert!(detail.contains("session_views_max = 3"), "{detail}");
        assert_eq!(read(Vec::new()).expect("nothing is fine").len(), 0);
    }
}
