//! `spatialdb log`: who wrote what of an entity, when, under which epoch.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};
use spatialdb_proto::v1::{EntityWrite, GetEntityLogRequest, GetEntityLogResponse};
use spatialdb_schema::Schema;
use spatialdb_types::{ComponentId, EntityId};

use super::client::{Client, ClientArgs};
use super::past::open;
use super::{CliError, print};
use crate::server::{LaunchError, entity_log, moment};

const EXAMPLES: &str = "\
Of a running world, or with --data-dir of one that is not; as far back as history reaches (durability.history). What was there before
stands first, at the time from which on all is known. A write to a DURABLE component is there in any case, of others those that
were there when changes were written to disk (durability.checkpoint_interval).

Columns:
  time       when it came to the disk
  revision   later ones are higher
  writer     the worker's name, if it is known, and its session; `-` is nobody: it was loaded
  epoch      under which grant, in worlds with layers

Examples:
  What became of an entity:
    spatialdb log --entity 4242
  Who wrote its position, the last five times:
    spatialdb log --entity 4242 --json | jq -r 'select(.component == \"spatialdb.v1.Position\") | .worker' | tail -5";

const HEADER: [&str; 6] = ["time", "revision", "writer", "epoch", "component", "value"];

/// Show who wrote what of an entity, and when
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct LogArgs {
    /// The id of the entity
    #[arg(long, value_name = "ENTITY")]
    entity: u64,

    /// The last so many writes
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    last: u32,

    /// Where the world is, if it is not running
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    #[command(flatten)]
    client: ClientArgs,
}

/// Asks and prints.
pub(super) async fn run(args: LogArgs) -> Result<(), CliError> {
    let (log, schema) = match &args.data_dir {
        None => {
            let mut client = Client::connect(&args.client).await?;
            let schema = client.schema().await?;
            let request = GetEntityLogRequest { entity: args.entity, last: args.last };
            let answer = client.snapshots().get_entity_log(request).await;
            (answer.map_err(|status| client.failed(&status))?.into_inner(), schema)
        }
        Some(directory) => {
            let data = open(directory)?;
            let log = data.entity_log(EntityId(args.entity)).map_err(LaunchError::from)?;
            (entity_log(&log, args.last), data.schema().map_err(LaunchError::from)?)
        }
    };
    print(&log, &schema, &args)
}

fn print(log: &GetEntityLogResponse, schema: &Schema, args: &LogArgs) -> Result<(), CliError> {
    let mut out = print::stdout();
    if args.client.json {
        for write in &log.writes {
            writeln!(out, "{}", write_json(write, schema))?;
        }
        return Ok(out.flush()?);
    }
    if log.writes.is_empty() {
        let begins = moment(log.begins_unix_time_us);
        writeln!(out, "nothing was written of entity {} since {begins}, where history begins", args.entity)?;
        return Ok(out.flush()?);
    }
    if log.left_out > 0 {
        writeln!(out, "{} earlier writes are left out: --last shows more", log.left_out)?;
    }
    print::table(&mut out, &HEADER, &log.writes.iter().map(|write| row(write, schema)).collect::<Vec<_>>())?;
    Ok(out.flush()?)
}

fn component_name(write: &EntityWrite, schema: &Schema) -> String {
    let known = schema.component(ComponentId(write.component));
    known.map_or_else(|| format!("component {}", write.component), |component| component.name().to_owned())
}

fn row(write: &EntityWrite, schema: &Schema) -> Vec<String> {
    let of = |number: u64| if number == 0 { "-".to_owned() } else { number.to_string() };
    let writer = match (write.session_id, write.worker_name.as_str()) {
        (0, _) => "-".to_owned(),
        (session, "") => format!("session {session}"),
        (session, name) => format!("{name} ({session})"),
    };
    let (component, value) = match (write.component, write.removed) {
        (0, _) => ("-".to_owned(), "deleted".to_owned()),
        (_, true) => (component_name(write, schema), "removed".to_owned()),
        (id, false) => {
            let value = print::value_json(ComponentId(id), &write.value, schema);
            (component_name(write, schema), value.to_string())
        }
    };
    vec![moment(write.unix_time_us), of(write.revision), writer, of(write.epoch), component, value]
}

fn write_json(write: &EntityWrite, schema: &Schema) -> Value {
    if write.component == 0 {
        return json!({ "unix_time_us": write.unix_time_us.to_string(), "deleted": true });
    }
    let component = component_name(write, schema);
    if write.removed {
        return json!({
            "unix_time_us": write.unix_time_us.to_string(), "component": component, "removed": true,
        });
    }
    json!({
        "unix_time_us": write.unix_time_us.to_string(),
        "component": component,
        "revision": write.revision.to_string(),
        "session_id": write.session_id,
        "worker_type": write.worker_type,
        "worker": write.worker_name,
        "epoch": write.epoch.to_string(),
        "value": print::value_json(ComponentId(write.component), &write.value, schema),
    })
}
