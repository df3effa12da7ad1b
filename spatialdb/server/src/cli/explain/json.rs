//! The answer as one JSON object: ids as strings, what is not there as null.

use serde_json::{Value, json};
use spatialdb_proto::v1::{
    Belonging, ComponentOrigin, ConstraintCheck, EntityExplanation, LayerLack, LayerStanding, MayWrite,
    Origin, Place, RefusedWrite, SessionRef, SessionSight, ViewSight,
};

use crate::cli::regions::region_json;

/// The whole answer.
pub(super) fn explanation(told: &EntityExplanation) -> Value {
    json!({
        "entity": told.entity.to_string(),
        "place": told.place.as_ref().map(place),
        "partition": told.partition,
        "arriving": told.arriving,
        "components": list(&told.components, component),
        "follows": id(told.follows),
        "open": told.open,
        "layers": list(&told.layers, standing),
        "lacking": list(&told.lacking, lack),
        "refused": told.refused.as_ref().map(refused),
        "session": told.sight.as_ref().map(sight),
        "where": told.constraint.as_ref().map(check),
        "world_time_us": told.world_time_us.to_string(),
    })
}

fn list<T>(all: &[T], one: impl Fn(&T) -> Value) -> Vec<Value> {
    all.iter().map(one).collect()
}

fn id(id: u64) -> Value {
    if id == 0 { Value::Null } else { id.to_string().into() }
}

fn place(place: &Place) -> Value {
    let point = place.point.unwrap_or_default();
    json!({ "space": place.space, "x": point.x, "y": point.y, "z": point.z })
}

fn session(session: &SessionRef) -> Value {
    let name = |name: &str| if name.is_empty() { Value::Null } else { name.into() };
    json!({
        "session_id": session.session_id.to_string(),
        "name": name(&session.name), "worker_type": name(&session.worker_type),
    })
}

fn component(component: &ComponentOrigin) -> Value {
    let origin = match component.origin() {
        Origin::Unspecified => "unknown",
        Origin::Session => "session",
        Origin::Snapshot => "snapshot",
        Origin::Server => "server",
    };
    let may_write = match component.may_write() {
        MayWrite::Unspecified => "unknown",
        MayWrite::Anybody => "anybody",
        MayWrite::Owner => "owner",
        MayWrite::Tools => "tools",
        MayWrite::Server => "server",
    };
    json!({
        "id": component.id, "name": component.name, "revision": component.revision.to_string(),
        "origin": origin, "writer": component.writer.as_ref().map(session),
        "may_write": may_write, "layer": component.layer,
        "held_by": component.held_by.as_ref().map(session),
    })
}

fn standing(layer: &LayerStanding) -> Value {
    let why = match layer.why() {
        Belonging::Unspecified => "unknown",
        Belonging::LiesIn => "lies-in",
        Belonging::Nowhere => "nowhere",
        Belonging::Kept => "kept",
        Belonging::Follows => "follows",
        Belonging::Player => "player",
    };
    let kept = layer.why() == Belonging::Kept;
    json!({
        "layer": layer.layer, "player": (!layer.player.is_empty()).then_some(&layer.player), "region": layer.region.as_ref().map(region_json), "why": why,
        "lies_in": id(layer.lies_in),
        "outside_m": kept.then_some(layer.outside_m), "hysteresis_m": kept.then_some(layer.hysteresis_m),
        "partition_epoch": id(layer.partition_epoch),
        "partition_owner": layer.partition_owner.as_ref().map(session),
        "grant_unseen": layer.grant_unseen, "gain_unseen": layer.gain_unseen,
    })
}

fn lack(lack: &LayerLack) -> Value {
    json!({ "layer": lack.layer, "missing": lack.missing, "unwanted": lack.unwanted })
}

fn refused(write: &RefusedWrite) -> Value {
    json!({
        "world_time_us": write.world_time_us.to_string(), "session": write.session.as_ref().map(session),
        "component": write.component, "component_name": write.component_name,
        "reason": write.reason, "detail": write.detail,
    })
}

fn sight(sight: &SessionSight) -> Value {
    json!({
        "session": sight.session.as_ref().map(session), "in_view": sight.in_view,
        "components": sight.components, "views": list(&sight.views, view),
    })
}

fn view(view: &ViewSight) -> Value {
    let told = view.told.iter().map(|told| json!({ "name": told.name, "rate_hz": told.rate_hz }));
    json!({
        "view": id(view.view_id), "matches": view.matches, "where": view.constraint.as_ref().map(check),
        "told": told.collect::<Vec<_>>(), "own_updates": view.own_updates, "densities": view.densities,
    })
}

fn check(told: &ConstraintCheck) -> Value {
    json!({ "text": told.text, "found": told.found, "holds": told.holds, "parts": list(&told.parts, check) })
}
