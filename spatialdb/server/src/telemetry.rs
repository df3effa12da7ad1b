//! Logs, to stderr; stdout carries results alone.
//!
//! Responsible for: format and level of logs.
//! Not responsible for: metrics, what is logged.

use std::io::{self, IsTerminal};

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

// Libraries are told to speak up only when something is wrong.
const LEVEL_DEFAULT: &str = "warn,spatialdb=info";

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people: coloured on a terminal.
    #[default]
    Human,
    /// For machines: one JSON object a line.
    Json,
}

/// Starts logging, once in a process.
///
/// `level` is a level (`debug`) or a filter (`info,h2=off`). Without it `RUST_LOG` counts.
///
/// # Errors
/// The rule that `level` breaks.
pub fn start(format: LogFormat, level: Option<&str>) -> Result<(), String> {
    let filter = filter(level, std::env::var("RUST_LOG").ok().as_deref())?;
    let registry = tracing_subscriber::registry().with(filter);
    let started = match format {
        LogFormat::Human => {
            let colour = io::stderr().is_terminal();
            let layer = fmt::layer().with_writer(io::stderr).with_ansi(colour).with_target(false);
            registry.with(layer).try_init()
        }
        LogFormat::Json => {
            let layer = fmt::layer().with_writer(io::stderr).json().flatten_event(true);
            registry.with(layer).try_init()
        }
    };
    started.map_err(|error| error.to_string())
}

fn filter(level: Option<&str>, variable: Option<&str>) -> Result<EnvFilter, String> {
    let text = level.or(variable.filter(|text| !text.is_empty())).unwrap_or(LEVEL_DEFAULT);
    // A plain word that is no level would pass as the name of a module, and silence everything.
    let is_word = text.chars().all(|c| c.is_ascii_alphanumeric());
    if is_word && text.parse::<tracing::level_filters::LevelFilter>().is_err() {
        return Err(format!(
            "{text:?} must be off, error, warn, info, debug, trace or a filter like info,h2=off"
        ));
    }
    EnvFilter::try_new(text).map_err(|error| format!("{text:?} is no filter: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(level: Option<&str>, variable: Option<&str>) -> Result<String, String> {
        filter(level, variable).map(|filter| filter.to_string())
    }

    #[test]
    fn the_flag_wins_over_the_variable() {
        assert_eq!(shown(Some("debug"), Some("trace")), Ok("debug".to_owned()));
        assert_eq!(shown(None, Some("trace")), Ok("trace".to_owned()));
        assert_eq!(shown(None, Some("")), shown(None, None));
        assert!(shown(None, None).is_ok_and(|text| text.contains("spatialdb=info")));
    }

    #[test]
    fn a_wrong_level_is_refused() {
        assert!(shown(Some("loud"), None).is_err_and(|error| error.contains("\"loud\"")));
        assert!(shown(Some("info,h2=loud"), None).is_err());
    }
}
