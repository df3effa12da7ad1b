//! `spatialdb drain`: a worker hands over what it has, and ends.

use std::collections::BTreeMap;
use std::io::Write;

use clap::Args;
use serde_json::json;
use spatialdb_proto::v1::{AuthorityUpdate, DrainWorkerRequest, WatchAuthorityRequest};

use super::CliError;
use super::client::{Client, ClientArgs};
use super::print;

const EXAMPLES: &str = "\
The worker gets nothing more, and what it has goes to others, as far as there are others. It is told to end its session when
it has nothing; one that does not know of that goes on without. Waits until its session is over, and says how it goes. A worker
of [[workers]] is ended after its drain_timeout, whatever it has, and started again if it is wanted; any other keeps what nobody
else can take until it ends.

Examples:
  Let flight-2 go:
    spatialdb drain flight-2
  And do not wait until it has gone:
    spatialdb drain flight-2 --no-wait";

/// Take everything from a worker, so that it can end
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct DrainArgs {
    /// The name of the worker; `spatialdb workers` lists them
    #[arg(value_name = "WORKER")]
    worker: String,

    /// Its type, where workers of two types have the name
    #[arg(long = "type", value_name = "TYPE", default_value = "", hide_default_value = true)]
    worker_type: String,

    /// Return at once
    #[arg(long)]
    no_wait: bool,

    #[command(flatten)]
    client: ClientArgs,
}

/// Drains it, and waits until it has gone.
pub(super) async fn run(args: DrainArgs) -> Result<(), CliError> {
    let mut client = Client::connect(&args.client).await?;
    // From before it is asked: whatever follows is seen.
    let stream = client.admin.watch_authority(WatchAuthorityRequest {}).await;
    let mut stream = stream.map_err(|status| client.failed(&status))?.into_inner();
    let request = DrainWorkerRequest { name: args.worker.clone(), worker_type: args.worker_type.clone() };
    let answer = client.admin.drain_worker(request).await;
    let session = answer.map_err(|status| client.failed(&status))?.into_inner().session_id;
    let mut seen = Seen { session, ..Seen::default() };
    let mut told = None;
    loop {
        let update = stream.message().await.map_err(|status| client.failed(&status))?;
        let Some(update) = update else { return Err(lost(&client)) };
        seen.take(&update);
        if update.complete && told != Some(seen.progress()) {
            told = Some(seen.progress());
            tell(&args, seen.progress())?;
        }
        if update.complete && (args.no_wait || seen.progress().is_over) {
            return Ok(());
        }
    }
}

fn lost(client: &Client) -> CliError {
    CliError::Lost { address: client.address().to_owned(), cause: "the world told nothing more".to_owned() }
}

fn tell(args: &DrainArgs, progress: Progress) -> Result<(), CliError> {
    let Progress { regions, is_over } = progress;
    let worker = &args.worker;
    let mut out = print::stdout();
    if args.client.json {
        writeln!(out, "{}", json!({ "worker": worker, "regions": regions, "over": is_over }))?;
    } else if is_over {
        writeln!(out, "{worker} has gone")?;
    } else if regions == 0 {
        writeln!(out, "{worker} has no region left, its session goes on")?;
    } else {
        let plural = if regions == 1 { "" } else { "s" };
        writeln!(out, "{worker} has {regions} region{plural}")?;
    }
    Ok(out.flush()?)
}

/// How far the drain of a worker is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Progress {
    regions: usize,
    is_over: bool,
}

/// What the stream has told of the worker.
#[derive(Debug, Default)]
struct Seen {
    session: u64,
    /// Of each region whether it is the worker's.
    regions: BTreeMap<u64, bool>,
    is_there: bool,
}

impl Seen {
    fn take(&mut self, update: &AuthorityUpdate) {
        for region in &update.regions {
            let owner = region.owner.as_ref().map(|owner| owner.session_id);
            let id = region.lease.as_ref().map_or(0, |lease| lease.region);
            self.regions.insert(id, owner == Some(self.session));
        }
        self.regions.retain(|region, _| !update.regions_gone.contains(region));
        self.is_there |= update.workers.iter().any(|worker| worker.session_id == self.session);
        self.is_there &= !update.workers_gone.contains(&self.session);
    }

    fn progress(&self) -> Progress {
        Progress { regions: self.regions.values().filter(|is_its| **is_its).count(), is_over: !self.is_there }
    }
}
