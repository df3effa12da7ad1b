//! `spatialdb regions`: who owns what.

use std::collections::BTreeMap;
use std::io::Write;

use clap::Args;
use serde_json::{Value, json};
use spatialdb_proto::v1::{
    AuthorityUpdate, Border, Lease, ListRegionsRequest, LossReason, Region, RegionPast, RegionPhase, Side,
    WatchAuthorityRequest, WorkerName,
};

use super::CliError;
use super::client::{Client, ClientArgs};
use super::print;

const EXAMPLES: &str = "\
Columns:
  space  - = entities without a position
  box    metres, from west-south to east-north; ... = no border there; in a layer of
         strategy client the player to whom the entities belong
  epoch  rises with each new owner in the world
  load   how many entities, give or take a tenth
  phase  unowned, granting, owned, handing-over, revoking
  pin    keeps its shape; with a name, only that worker may own it

Examples:
  Who owns what:
    spatialdb regions
  How it changes:
    spatialdb regions --layer flying --watch
  Regions that nobody owns:
    spatialdb regions --json | jq -r 'select(.owner == null) | .region'";

const HEADER: [&str; 9] = ["region", "layer", "space", "box", "owner", "epoch", "load", "phase", "pin"];

/// List the regions of a running world, and who owns them
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct RegionsArgs {
    /// Only regions of this layer
    #[arg(long, value_name = "LAYER", default_value = "", hide_default_value = true)]
    layer: String,

    /// With what lies beyond each border
    #[arg(long, conflicts_with = "watch")]
    borders: bool,

    /// Go on with each change, until ctrl-c
    #[arg(long)]
    watch: bool,

    #[command(flatten)]
    client: ClientArgs,
}

/// Asks for the regions and prints them.
pub(super) async fn run(args: RegionsArgs) -> Result<(), CliError> {
    let mut client = Client::connect(&args.client).await?;
    let request = ListRegionsRequest { layer: args.layer.clone(), borders: args.borders };
    let answer = client.admin.list_regions(request).await;
    let answer = answer.map_err(|status| client.failed(&status))?.into_inner();
    if answer.open {
        tell_open()?;
    }
    if args.watch {
        return follow(&args, client).await;
    }
    let mut out = print::stdout();
    if args.client.json {
        for region in &answer.regions {
            writeln!(out, "{}", region_json(region))?;
        }
    } else if !answer.open {
        print::table(&mut out, &HEADER, &answer.regions.iter().map(row).collect::<Vec<_>>())?;
        let id = |region: &Region| region.lease.as_ref().map_or(0, |lease| lease.region);
        // Regions lie beside others of their layer, which are all there.
        let owner_of = |other| answer.regions.iter().find(|r| id(r) == other).and_then(|r| r.owner.as_ref());
        for region in &answer.regions {
            for border in region.lease.iter().flat_map(|lease| &lease.borders) {
                writeln!(out, "{}", border_line(id(region), border, owner_of(border.region)))?;
            }
        }
    }
    Ok(out.flush()?)
}

/// That nothing is printed has a reason, which does not belong between the results.
pub(super) fn tell_open() -> Result<(), CliError> {
    let mut out = std::io::stderr().lock();
    Ok(writeln!(out, "the world is open: it has no layers, and anybody may write anything")?)
}

async fn follow(args: &RegionsArgs, mut client: Client) -> Result<(), CliError> {
    let stream = client.admin.watch_authority(WatchAuthorityRequest {}).await;
    let mut stream = stream.map_err(|status| client.failed(&status))?.into_inner();
    let mut out = print::stdout();
    // Which layer a region had that is gone.
    let mut layers = BTreeMap::new();
    while let Some(update) = stream.message().await.map_err(|status| client.failed(&status))? {
        let mut lines = Vec::new();
        for region in &update.regions {
            let Some(lease) = &region.lease else { continue };
            if args.layer.is_empty() || args.layer == lease.layer {
                layers.insert(lease.region, lease.layer.clone());
                lines.push(if args.client.json { change_json(&update, region) } else { line(region) });
            }
        }
        for gone in update.regions_gone.iter().filter(|gone| layers.contains_key(*gone)) {
            lines.push(match args.client.json {
                true => json!({ "update": update.number.to_string(), "gone": gone.to_string() }).to_string(),
                false => format!("region {gone} is gone"),
            });
        }
        layers.retain(|region, _| !update.regions_gone.contains(region));
        lines.iter().try_for_each(|line| writeln!(out, "{line}"))?;
        out.flush()?;
    }
    Ok(())
}

fn row(region: &Region) -> Vec<String> {
    let lease = region.lease.clone().unwrap_or_default();
    vec![
        lease.region.to_string(),
        lease.layer.clone(),
        lease.space.map_or_else(|| "-".to_owned(), |space| space.to_string()),
        area(&lease),
        worker(region.owner.as_ref()),
        lease.epoch.to_string(),
        region.load.to_string(),
        phase(region),
        region
            .pin
            .as_ref()
            .map_or("", |pin| if pin.worker.is_empty() { "yes" } else { &pin.worker })
            .to_owned(),
    ]
}

fn line(region: &Region) -> String {
    let cells = row(region).into_iter().zip(HEADER).filter(|(cell, _)| !cell.is_empty());
    cells.map(|(cell, name)| format!("{name} {cell}")).collect::<Vec<_>>().join("  ")
}

pub(super) fn area(lease: &Lease) -> String {
    if !lease.player.is_empty() {
        return format!("player {}", lease.player);
    }
    if lease.space.is_none() {
        return "-".to_owned();
    }
    print::area([lease.min_x, lease.min_y], [lease.max_x, lease.max_y])
}

pub(super) fn worker(name: Option<&WorkerName>) -> String {
    match name {
        None => "nobody".to_owned(),
        Some(worker) if worker.name.is_empty() => format!("session {}", worker.session_id),
        Some(worker) => worker.name.clone(),
    }
}

pub(super) fn phase(region: &Region) -> String {
    let next = region.next.as_ref().map(|next| format!(" to {}", worker(Some(next)))).unwrap_or_default();
    format!("{}{next}", phase_name(region))
}

fn phase_name(region: &Region) -> &'static str {
    match region.phase() {
        RegionPhase::Unspecified => "unknown",
        RegionPhase::Unowned => "unowned",
        RegionPhase::Granting => "granting",
        RegionPhase::Owned => "owned",
        RegionPhase::HandingOver => "handing-over",
        RegionPhase::Revoking => "revoking",
    }
}

fn side_name(border: &Border) -> &'static str {
    match border.side() {
        Side::Unspecified => "",
        Side::West => "west",
        Side::East => "east",
        Side::South => "south",
        Side::North => "north",
    }
}

fn border_line(region: u64, border: &Border, owner: Option<&WorkerName>) -> String {
    let owner = worker(owner);
    let (side, at, from, to, other) = (side_name(border), border.at, border.from, border.to, border.region);
    format!("region {region}: {side} at {at} m, from {from} to {to} m: region {other} of {owner}")
}

fn change_json(update: &AuthorityUpdate, region: &Region) -> String {
    let mut json = region_json(region);
    json["update"] = update.number.to_string().into();
    json.to_string()
}

/// A coordinate; `null` where there is no border.
fn metres(at: f64) -> Value {
    if at.is_finite() { json!(at) } else { Value::Null }
}

pub(super) fn worker_json(name: Option<&WorkerName>) -> Value {
    name.map_or(
        Value::Null,
        |worker| json!({ "session_id": worker.session_id.to_string(), "name": worker.name }),
    )
}

/// Why somebody lost a region.
pub(super) fn loss_name(before: &RegionPast) -> &'static str {
    match before.reason() {
        LossReason::Unspecified => "unknown",
        LossReason::HandedOver => "handed-over",
        LossReason::Silent => "silent",
        LossReason::Ended => "ended",
        LossReason::Stalled => "stalled",
    }
}

pub(super) fn region_json(region: &Region) -> Value {
    let lease = region.lease.clone().unwrap_or_default();
    let borders = lease.borders.iter().map(|border| {
        json!({
            "side": side_name(border), "at": metres(border.at), "from": metres(border.from), "to": metres(border.to),
            "region": border.region.to_string(), "session_id": border.session_id.to_string(),
            "epoch": border.epoch.to_string(),
        })
    });
    let before = region.before.as_ref().map(|before| {
        json!({
            "session_id": before.session_id.to_string(),
            "name": before.name,
            "reason": loss_name(before),
        })
    });
    json!({
        "region": lease.region.to_string(),
        "layer": lease.layer,
        "space": lease.space,
        "player": if lease.player.is_empty() { Value::Null } else { lease.player.clone().into() },
        "min": [metres(lease.min_x), metres(lease.min_y)],
        "max": [metres(lease.max_x), metres(lease.max_y)],
        "epoch": lease.epoch.to_string(),
        "owner": worker_json(region.owner.as_ref()),
        "phase": phase_name(region),
        "next": worker_json(region.next.as_ref()),
        "before": before,
        "pinned": region.pin.is_some(),
        "pinned_to": region.pin.as_ref().map(|pin| pin.worker.clone()).filter(|worker| !worker.is_empty()),
        "load": region.load,
        "borders": borders.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_as_long_as_its_header_and_says_where_there_is_no_border() {
        assert_eq!(row(&Region::default()).len(), HEADER.len());
        let lease = Lease {
            space: Some(0),
            min_x: f64::NEG_INFINITY,
            max_x: 2.5,
            max_y: f64::INFINITY,
            ..Lease::default()
        };
        assert_eq!(area(&lease), "(..., 0)-(2.5, ...)");
        let json = region_json(&Region { lease: Some(lease), ..Region::default() });
        assert_eq!(
            (&json["min"], &json["max"], &json["owner"]),
            (&json!([null, 0.0]), &json!([2.5, null]), &Value::Null)
        );
    }
}
