//! What a session sees of an entity, and why not more.

use std::collections::BTreeMap;

use spatialdb_core::interest::{Check, FieldTest, Names, Scalar};
use spatialdb_core::{Explained, Micros, Sight, View, ViewSight};
use spatialdb_proto::v1;
use spatialdb_schema::{Component, ScalarValue, Schema};
use spatialdb_types::{ComponentId, Error, Reason, SessionId};

use super::component_name;
use super::origin::session_ref;
use crate::server::edge::Edge;

/// What a schema calls things.
pub(super) struct SchemaNames<'a>(pub(super) &'a Schema);

impl SchemaNames<'_> {
    fn path(test: &FieldTest) -> Vec<u32> {
        test.path.iter().map(|step| step.field).collect()
    }

    fn of(&self, test: &FieldTest) -> Option<&Component> {
        self.0.component(test.component)
    }
}

impl Names for SchemaNames<'_> {
    fn component(&self, component: ComponentId) -> String {
        self.0.component(component).map_or_else(|| component.to_string(), |found| found.name().to_owned())
    }

    fn field(&self, test: &FieldTest) -> String {
        self.of(test).map_or_else(String::new, |component| component.path_of(&Self::path(test)))
    }

    fn value(&self, test: &FieldTest, value: &Scalar) -> String {
        let value = match value {
            Scalar::Signed(v) => ScalarValue::Signed(*v),
            Scalar::Unsigned(v) => ScalarValue::Unsigned(*v),
            Scalar::Float(v) => ScalarValue::Float(*v),
            Scalar::Bytes(v) => ScalarValue::Bytes(v.to_vec()),
        };
        self.of(test).map_or_else(String::new, |component| component.value_text(&Self::path(test), &value))
    }
}

/// What a session sees of an entity: all of its views, or the one that is asked about.
///
/// # Errors
/// `VIEW_NOT_FOUND`.
pub(super) fn of_session(
    edge: &Edge,
    known: &Explained,
    session: SessionId,
    view_id: u64,
    sight: &Sight,
) -> Result<v1::SessionSight, Error> {
    let is_asked = |view: &&ViewSight| view_id == 0 || (view.asked.id.0 == view_id && !view.is_given);
    let views: Vec<_> = sight.views.iter().filter(is_asked).map(|view| of_view(edge, known, view)).collect();
    if view_id != 0 && views.is_empty() {
        let detail = format!("session {session} has no view {view_id}{}", theirs(sight));
        return Err(Error::new(Reason::ViewNotFound, detail));
    }
    let shown = sight.shown.as_deref().unwrap_or_default();
    Ok(v1::SessionSight {
        session: Some(session_ref(edge, session)),
        in_view: sight.shown.is_some(),
        components: shown.iter().map(|component| component_name(edge, *component)).collect(),
        views,
    })
}

/// The views that it has.
fn theirs(sight: &Sight) -> String {
    let ids = sight.views.iter().filter(|view| !view.is_given).map(|view| view.asked.id.to_string());
    let ids: Vec<String> = ids.collect();
    if ids.is_empty() { ": it has none".to_owned() } else { format!("; it has {}", ids.join(", ")) }
}

fn of_view(edge: &Edge, known: &Explained, view: &ViewSight) -> v1::ViewSight {
    let schema = edge.schema();
    let parts = view.asked.parts.first().zip(view.now.parts.first());
    let whole = parts.map(|(asked, now)| {
        asked.constraint.explain_as(&now.constraint, &known.subject(), &SchemaNames(&schema))
    });
    v1::ViewSight {
        view_id: if view.is_given { 0 } else { view.asked.id.0 },
        matches: whole.as_ref().is_some_and(|check| check.holds),
        told: told(edge, known, &view.now),
        constraint: whole.map(check),
        own_updates: view.asked.own_updates,
        densities: view.asked.densities.is_some(),
    }
}

/// Each component that the view tells of the entity, at the highest rate of the parts that match.
fn told(edge: &Edge, known: &Explained, view: &View) -> Vec<v1::ToldComponent> {
    let mut intervals: BTreeMap<ComponentId, Micros> = BTreeMap::new();
    let subject = known.subject();
    for part in view.parts.iter().filter(|part| part.constraint.matches(&subject)) {
        for &component in known.components.iter().filter(|component| part.wants(**component)) {
            let interval = intervals.entry(component).or_insert(part.interval_us);
            *interval = part.interval_us.min(*interval);
        }
    }
    let rate = |interval: Micros| if interval == 0 { 0.0 } else { 1e6 / interval as f64 };
    let told = |(component, interval)| v1::ToldComponent {
        name: component_name(edge, component),
        // An interval is whole microseconds: 3 Hz are not to be 3.000003.
        rate_hz: (rate(interval) * 1e3).round() / 1e3,
    };
    intervals.into_iter().map(told).collect()
}

/// A check on the wire.
pub(super) fn check(check: Check) -> v1::ConstraintCheck {
    let Check { text, found, holds, parts } = check;
    v1::ConstraintCheck { text, found, holds, parts: parts.into_iter().map(self::check).collect() }
}
