//! `spatialdb workers`: who is attached, and how they do.

use std::io::Write;

use clap::Args;
use serde_json::{Value, json};
use spatialdb_proto::v1::{ListSessionsRequest, SessionInfo};

use super::{
    CliError,
    client::{Client, ClientArgs},
    print,
};

const EXAMPLES: &str = "\
Columns:
  load       what the worker last said: 0 = idle, 1 = full
  tick       how long its last tick took
  heartbeat  how long ago that was
  staleness  from an accepted write to the frame that this worker took with it
  in view    entities that it sees
  received   updates that came from it
  in flight  rows received from it and not yet decided

Examples:
  Who is attached:
    spatialdb workers
  Workers that are further than 100 ms behind:
    spatialdb workers --json | jq -r 'select(.staleness_us > 100000) | .name'";

const HEADER: [&str; 11] = [
    "type",
    "name",
    "load",
    "tick",
    "heartbeat",
    "staleness",
    "views",
    "in view",
    "frames",
    "received",
    "in flight",
];

/// List the workers attached to a running world
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct WorkersArgs {
    #[command(flatten)]
    client: ClientArgs,
}

/// Asks for the sessions and prints them.
pub(super) async fn run(args: WorkersArgs) -> Result<(), CliError> {
    let mut client = Client::connect(&args.client).await?;
    let answer = client.world.list_sessions(ListSessionsRequest {}).await;
    let mut sessions = answer.map_err(|status| client.failed(&status))?.into_inner().sessions;
    sessions.sort_by(|a, b| (&a.worker_type, &a.name).cmp(&(&b.worker_type, &b.name)));
    let mut out = print::stdout();
    if args.client.json {
        for session in &sessions {
            writeln!(out, "{}", session_json(session))?;
        }
    } else {
        print::table(&mut out, &HEADER, &sessions.iter().map(row).collect::<Vec<_>>())?;
    }
    Ok(out.flush()?)
}

fn row(session: &SessionInfo) -> Vec<String> {
    vec![
        session.worker_type.clone(),
        session.name.clone(),
        format!("{:.2}", session.load),
        format!("{:.1} ms", session.tick_ms),
        format_us(session.heartbeat_age_us),
        format_us(session.staleness_us),
        session.view_count.to_string(),
        session.entities_in_view.to_string(),
        session.frames_sent.to_string(),
        session.updates_received.to_string(),
        session.rows_in_flight.to_string(),
    ]
}

fn session_json(session: &SessionInfo) -> Value {
    json!({
        "session_id": session.session_id.to_string(),
        "type": session.worker_type,
        "name": session.name,
        "instance": session.instance,
        "connected_unix_time_us": session.connected_unix_time_us,
        "load": session.load,
        "tick_ms": session.tick_ms,
        "heartbeat_age_us": session.heartbeat_age_us,
        "staleness_us": session.staleness_us,
        "views": session.view_count,
        "entities_in_view": session.entities_in_view,
        "frames_sent": session.frames_sent,
        "updates_received": session.updates_received,
        "rows_in_flight": session.rows_in_flight,
        "applied_seq": session.applied_seq,
    })
}

fn format_us(us: i64) -> String {
    let us = us as f64;
    if us < 1e6 { format!("{:.1} ms", us / 1e3) } else { format!("{:.1} s", us / 1e6) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_as_long_as_its_header() {
        assert_eq!(row(&SessionInfo::default()).len(), HEADER.len());
        assert_eq!(format_us(1500), "1.5 ms");
        assert_eq!(format_us(61_000_000), "61.0 s");
    }
}
