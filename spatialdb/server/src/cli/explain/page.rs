//! The answer as a page for people.

use std::io::{self, Write};

use spatialdb_proto::v1::{
    Belonging, ComponentOrigin, ConstraintCheck, EntityExplanation, LayerLack, LayerStanding, MayWrite,
    Origin, Place, RefusedWrite, Region, SessionRef, SessionSight, ViewSight, WorkerName,
};

use crate::cli::print;
use crate::cli::regions::{area, loss_name, phase, worker};

/// Writes the page.
///
/// # Errors
/// The output is gone.
pub(super) fn write(out: &mut impl Write, told: &EntityExplanation) -> io::Result<()> {
    let place = told.place.as_ref().map_or_else(|| "without a position".to_owned(), place);
    let arriving = if told.arriving { ", it just came there" } else { "" };
    writeln!(out, "entity {}: {place}, in partition {}{arriving}", told.entity, told.partition)?;
    if let Some(moved) = told.components.iter().find(|component| component.id == 1) {
        writeln!(out, "moved last: {}, revision {}", writer(moved), moved.revision)?;
    }
    if told.follows != 0 {
        writeln!(out, "follows entity {}", told.follows)?;
    }
    writeln!(out)?;
    let header = ["component", "revision", "written by", "may be written by"];
    print::table(&mut *out, &header, &told.components.iter().map(row).collect::<Vec<_>>())?;
    writeln!(out)?;
    if told.open {
        writeln!(out, "owner: the world is open: it has no layers, and anybody may write anything")?;
    }
    for layer in &told.layers {
        standing(out, layer, told.follows)?;
    }
    if !told.open && told.layers.is_empty() {
        writeln!(out, "owner: no layer has it, so only tools write it")?;
    }
    told.lacking.iter().try_for_each(|lack| writeln!(out, "{}", lacking(lack)))?;
    writeln!(out)?;
    match &told.refused {
        Some(write) => writeln!(out, "{}", refused(write, told.world_time_us))?,
        None => writeln!(out, "last refused write: none is remembered")?,
    }
    if let Some(constraint) = &told.constraint {
        let holds =
            if constraint.holds { "it meets the query" } else { "it does not meet the query, because:" };
        writeln!(out, "\n{holds}")?;
        check(out, constraint, 1)?;
    }
    told.sight.as_ref().map_or(Ok(()), |sight| seen(out, sight))
}

fn place(place: &Place) -> String {
    let point = place.point.unwrap_or_default();
    let [x, y, z] = [point.x, point.y, point.z.unwrap_or_default()];
    format!("at ({x:.1}, {y:.1}, {z:.1}) in space {}", place.space)
}

/// A session as people call it.
fn session(session: Option<&SessionRef>) -> String {
    match session {
        None => "nobody".to_owned(),
        Some(gone) if gone.name.is_empty() => format!("session {} (gone)", gone.session_id),
        Some(named) => format!("{} (session {})", named.name, named.session_id),
    }
}

fn writer(component: &ComponentOrigin) -> String {
    match component.origin() {
        Origin::Snapshot => "loaded from the snapshot".to_owned(),
        Origin::Server => "the server".to_owned(),
        Origin::Session | Origin::Unspecified => session(component.writer.as_ref()),
    }
}

fn row(component: &ComponentOrigin) -> Vec<String> {
    let may = match component.may_write() {
        MayWrite::Unspecified => String::new(),
        MayWrite::Anybody => "anybody".to_owned(),
        MayWrite::Owner => format!("its owner in layer {}", component.layer),
        MayWrite::Tools => "tools only".to_owned(),
        MayWrite::Server => "the server only".to_owned(),
    };
    let held = component.held_by.as_ref().map(|by| format!("{} only, who holds it", session(Some(by))));
    vec![component.name.clone(), component.revision.to_string(), writer(component), held.unwrap_or(may)]
}

fn standing(out: &mut impl Write, layer: &LayerStanding, leader: u64) -> io::Result<()> {
    let name = &layer.layer;
    let Some(region) = &layer.region else {
        let why = match layer.why() {
            Belonging::Unspecified => "its partition does not know the regions yet".to_owned(),
            Belonging::Player if layer.player.is_empty() => "its PlayerOwner names nobody".to_owned(),
            Belonging::Player => format!("player {}, to whom it belongs, is not attached", layer.player),
            _ => "its region is gone".to_owned(),
        };
        return writeln!(out, "layer {name}: nobody owns it: {why}");
    };
    let lease = region.lease.clone().unwrap_or_default();
    match &region.owner {
        Some(WorkerName { session_id, name: owner }) => {
            writeln!(out, "layer {name}: owner {owner} (session {session_id}), since epoch {}", lease.epoch)?;
        }
        None => writeln!(out, "layer {name}: nobody owns it")?,
    }
    writeln!(out, "  belongs to region {}, {}, {}", lease.region, area(&lease), phase(region))?;
    writeln!(out, "  why there: {}", reason(layer, leader))?;
    if let Some(lost) = lost(region) {
        writeln!(out, "  before: {lost}")?;
    }
    if layer.partition_epoch != 0 {
        let (epoch, owner) = (layer.partition_epoch, session(layer.partition_owner.as_ref()));
        writeln!(out, "  its partition knows of epoch {epoch}: {owner} may write it")?;
    }
    if layer.grant_unseen {
        writeln!(
            out,
            "  the owner has not yet said that it saw the grant: its writes are refused until then"
        )?;
    }
    if layer.gain_unseen {
        writeln!(
            out,
            "  the owner has not yet written since it was told of the entity: late writes are refused"
        )?;
    }
    Ok(())
}

fn reason(layer: &LayerStanding, leader: u64) -> String {
    let LayerStanding { lies_in, outside_m, hysteresis_m, .. } = layer;
    match layer.why() {
        Belonging::Unspecified => String::new(),
        Belonging::LiesIn | Belonging::Nowhere if leader != 0 => format!(
            "by itself: its leader, entity {leader}, is not there, is in another layer, or follows one itself"
        ),
        Belonging::LiesIn => "it lies there".to_owned(),
        Belonging::Nowhere => "it has no position, and all such entities do".to_owned(),
        Belonging::Kept => format!(
            "kept near the border: it is {outside_m:.1} m inside region {lies_in}, and goes over at {hysteresis_m} m"
        ),
        Belonging::Player => format!("its PlayerOwner names player {}", layer.player),
        Belonging::Follows if *lies_in != 0 => {
            format!("its leader, entity {leader}, belongs there; it lies in region {lies_in}")
        }
        Belonging::Follows => format!("its leader, entity {leader}, belongs there"),
    }
}

/// Who had the region before, and why no longer.
fn lost(region: &Region) -> Option<String> {
    let before = region.before.as_ref()?;
    let why = match loss_name(before) {
        "handed-over" => "it was handed over",
        "silent" => "its worker fell silent",
        "ended" => "its session ended",
        "stalled" => "its worker stood still",
        _ => "it lost it",
    };
    let who = worker(Some(&WorkerName { session_id: before.session_id, name: before.name.clone() }));
    Some(format!("{who}, until {why}"))
}

fn lacking(lack: &LayerLack) -> String {
    let missing = lack.missing.iter().map(|name| format!("has no {name}"));
    let unwanted = lack.unwanted.iter().map(|name| format!("has {name}"));
    let why: Vec<String> = missing.chain(unwanted).collect();
    format!("layer {}: does not have it: it {}", lack.layer, why.join(", and "))
}

fn refused(write: &RefusedWrite, now_us: i64) -> String {
    let ago_s = now_us.saturating_sub(write.world_time_us).max(0) as f64 / 1e6;
    let what = if write.component_name.is_empty() { "the entity" } else { &write.component_name };
    let (by, reason, detail) = (session(write.session.as_ref()), &write.reason, &write.detail);
    format!("last refused write: {ago_s:.1} s ago, of {what} by {by}\n  {reason}: {detail}")
}

fn seen(out: &mut impl Write, sight: &SessionSight) -> io::Result<()> {
    let who = session(sight.session.as_ref());
    let matches = sight.views.iter().any(|view| view.matches);
    let in_view = match (sight.in_view, matches) {
        (true, _) => "sees it",
        (false, true) => "does not see it yet: a view matches, and is about to show it",
        (false, false) if sight.views.is_empty() => "does not see it: it has no views",
        (false, false) => "does not see it",
    };
    writeln!(out, "\n{who} {in_view}")?;
    sight.views.iter().try_for_each(|view| view_lines(out, view))
}

fn view_lines(out: &mut impl Write, view: &ViewSight) -> io::Result<()> {
    let name =
        if view.view_id == 0 { "a view of an Interest".to_owned() } else { format!("view {}", view.view_id) };
    if view.densities {
        return writeln!(out, "  {name} counts entities and shows none");
    }
    if !view.matches {
        writeln!(out, "  {name} does not match, because:")?;
        return view.constraint.as_ref().map_or(Ok(()), |constraint| check(out, constraint, 2));
    }
    writeln!(out, "  {name} matches")?;
    if let Some(constraint) = &view.constraint {
        check(out, constraint, 2)?;
    }
    if view.told.is_empty() {
        writeln!(out, "    it tells none of the components that the entity has")?;
    }
    for told in &view.told {
        match told.rate_hz {
            0.0 => writeln!(out, "    told: {}, as fast as the server publishes", told.name)?,
            rate => writeln!(out, "    told: {}, at most {rate} times a second", told.name)?,
        }
    }
    if !view.own_updates {
        writeln!(out, "    not told: what the session writes itself")?;
    }
    Ok(())
}

/// A condition; of one that is made of others those that matter to the outcome.
fn check(out: &mut impl Write, told: &ConstraintCheck, depth: usize) -> io::Result<()> {
    let indent = "  ".repeat(depth);
    if told.parts.is_empty() {
        return writeln!(out, "{indent}{}: {}", told.text, told.found);
    }
    let heading = match (&*told.text, told.holds) {
        ("not", true) => "not this:",
        ("not", false) => "it should not, but does:",
        ("or", true) => "one of several:",
        ("or", false) => "none of these:",
        (_, true) => "all of these:",
        (_, false) => {
            // Of a list that must hold whole: what does not.
            let mut failed = told.parts.iter().filter(|part| !part.holds);
            return failed.try_for_each(|part| check(out, part, depth));
        }
    };
    writeln!(out, "{indent}{heading}")?;
    let matters = |part: &&ConstraintCheck| told.text == "not" || part.holds == told.holds;
    told.parts.iter().filter(matters).try_for_each(|part| check(out, part, depth + 1))
}
