//! `spatialdb explain`: why an entity is as it is.

mod json;
mod page;
#[cfg(test)]
mod tests;

use std::io::Write;

use clap::Args;
use spatialdb_proto::v1::{Constraint, ExplainEntityRequest, constraint::Kind};

use super::CliError;
use super::client::{Client, ClientArgs};
use super::print;

const EXAMPLES: &str = "\
It tells where the entity is, who wrote each of its components last, who owns it in each layer
and why, and which write of it was refused last. Of a session it tells whether it sees the
entity, by which of its views, and why not.

Examples:
  Why do my writes of entity 4242 not count?
    spatialdb explain 4242
  Why does a viewer not see it? By name, or by the id that `spatialdb workers --json` shows:
    spatialdb explain 4242 --session viewer-1
    spatialdb explain 4242 --session 17 --view 2
  Why does a query not find it?
    spatialdb explain 4242 --where 'has earth.Aircraft and sphere(0, 0, 5km)'";

/// Explain who owns an entity and why, who wrote it, who sees it, and why a write was refused
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ExplainArgs {
    /// The id of the entity
    #[arg(value_name = "ENTITY")]
    entity: u64,

    /// What this session sees of it, and why not more
    #[arg(long, value_name = "NAME|ID")]
    session: Option<String>,

    /// Only this view of the session
    #[arg(long, value_name = "ID", requires = "session", conflicts_with = "constraint")]
    view: Option<u64>,

    /// Whether it meets this query, and why not
    #[arg(long = "where", value_name = "QUERY")]
    constraint: Option<String>,

    #[command(flatten)]
    client: ClientArgs,
}

/// Asks why, and prints the answer.
pub(super) async fn run(args: ExplainArgs) -> Result<(), CliError> {
    let request = args.request()?;
    let mut client = Client::connect(&args.client).await?;
    let answer = match client.admin.explain_entity(request).await {
        Ok(answer) => answer.into_inner(),
        Err(status) => {
            let error = client.failed(&status);
            // With the place in the text, if it is the text.
            return Err(match &args.constraint {
                Some(text) => error.with_place(Some(text), &client.schema().await?),
                None => error,
            });
        }
    };
    let mut out = print::stdout();
    if args.client.json {
        writeln!(out, "{}", json::explanation(&answer))?;
    } else {
        page::write(&mut out, &answer)?;
    }
    Ok(out.flush()?)
}

impl ExplainArgs {
    fn request(&self) -> Result<ExplainEntityRequest, CliError> {
        if self.view == Some(0) {
            return Err(CliError::Usage("--view 0: ids of views are chosen from 1 up".to_owned()));
        }
        let session = self.session.as_deref().unwrap_or_default();
        if self.session.is_some() && (session.is_empty() || session == "0") {
            return Err(CliError::Usage(format!(
                "--session {session:?}: a name is needed, or an id from 1 up"
            )));
        }
        let (session_id, session_name) = match session.parse() {
            Ok(id) => (id, String::new()),
            Err(_) => (0, session.to_owned()),
        };
        let text = self.constraint.clone().map(Kind::Text);
        Ok(ExplainEntityRequest {
            entity: self.entity,
            session_id,
            session_name,
            view_id: self.view.unwrap_or_default(),
            constraint: text.map(|kind| Constraint { kind: Some(kind) }),
        })
    }
}
