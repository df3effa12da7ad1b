//! Snapshots that the world takes of itself, and how many of them are kept.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};
use std::{fs, io};

use tokio::time::MissedTickBehavior;

use super::captures::{capture, next_turn};
use super::file::{aside, write};
use crate::config::SnapshotsConfig;
use crate::server::edge::Edge;

const ENDING: &str = ".snapshot";

/// Takes them as long as the world runs.
pub(in crate::server) async fn keep(edge: Arc<Edge>, config: SnapshotsConfig) {
    let Some((folder, every)) = config.plan() else { return };
    let mut interval = tokio::time::interval(every);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Not at once.
    interval.tick().await;
    loop {
        interval.tick().await;
        match take(&edge, folder, config.keep).await {
            Ok(path) => {
                edge.captures.taken.fetch_add(1, Ordering::Relaxed);
                tracing::info!(file = %path.display(), "snapshot taken");
            }
            Err(error) => {
                edge.captures.failed.fetch_add(1, Ordering::Relaxed);
                tracing::error!("no snapshot in {}: {error}", folder.display());
            }
        }
    }
}

async fn take(edge: &Arc<Edge>, folder: &Path, keep: usize) -> Result<PathBuf, String> {
    let turn = next_turn(edge).await;
    let captured = capture(edge, false, |_| ()).await.map_err(|error| error.to_string())?;
    let (edge, folder) = (edge.clone(), folder.to_owned());
    let put = move || {
        // Until the file is there.
        let _turn = turn;
        fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        let moment = SystemTime::UNIX_EPOCH + Duration::from_micros(captured.unix_us.max(0) as u64);
        let path = folder.join(format!("{}{}{ENDING}", prefix(&edge.info.name), stamp(moment)));
        write(&path, &edge.info, &edge.schema(), &captured, || ()).map_err(|error| error.to_string())?;
        drop_older(&folder, &edge.info.name, &path, keep).map_err(|error| error.to_string())?;
        Ok(path)
    };
    aside(put).await.map_err(|error| error.to_string())?
}

/// What the files of a world begin with. Its name may have any characters.
fn prefix(world: &str) -> String {
    let plain = |c: char| if c.is_alphanumeric() || c == '_' || c == '.' { c } else { '-' };
    let name: String = world.chars().map(plain).collect();
    format!("{}-", name.trim_start_matches('.'))
}

/// A moment as `20261123T074500Z`: by name is by time.
fn stamp(moment: SystemTime) -> String {
    let text = humantime::format_rfc3339_seconds(moment).to_string();
    text.chars().filter(|c| !matches!(c, '-' | ':')).collect()
}

fn is_stamp(text: &str) -> bool {
    let form = "00000000T000000Z".chars();
    text.len() == 16
        && text.chars().zip(form).all(|(c, f)| if f == '0' { c.is_ascii_digit() } else { c == f })
}

/// All but the newest go, and never the last one, whatever the clock says. Files of other names are nobody's business.
fn drop_older(folder: &Path, world: &str, last: &Path, keep: usize) -> io::Result<()> {
    let prefix = prefix(world);
    let is_ours = |name: &OsStr| {
        let name = name.to_str().and_then(|name| name.strip_prefix(&prefix)?.strip_suffix(ENDING));
        name.is_some_and(is_stamp)
    };
    let mut ours = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        if is_ours(&name) && last.file_name() != Some(&name) {
            ours.push(name);
        }
    }
    ours.sort_unstable();
    let older = (ours.len() + 1).saturating_sub(keep);
    ours[..older].iter().try_for_each(|name| fs::remove_file(folder.join(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept_and_nothing_else_is_touched() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |seconds| stamp(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(1_795_420_801), "20261123T080001Z");
        let of = |world, seconds| format!("{}{}{ENDING}", prefix(world), at(seconds));
        let ours: Vec<String> = (1..=5).map(|day| of("my world", day * 86_400)).collect();
        let others = [of("other", 0), "my-world-notes.snapshot".to_owned(), "my-world-".to_owned() + &at(0)];
        for name in ours.iter().chain(&others) {
            fs::write(folder.path().join(name), "").expect("written");
        }
        let last = folder.path().join(&ours[4]);
        drop_older(folder.path(), "my world", &last, 2).expect("dropped");
        let is_there = |name: &&String| folder.path().join(name).exists();
        assert_eq!(ours.iter().filter(is_there).collect::<Vec<_>>(), [&ours[3], &ours[4]]);
        assert_eq!(others.iter().filter(is_there).count(), 3);
        // The clock was ahead once.
        fs::write(folder.path().join(of("my world", 3600)), "").expect("written");
        let last = folder.path().join(of("my world", 3600));
        drop_older(folder.path(), "my world", &last, 1).expect("dropped");
        assert!(last.exists() && ours.iter().filter(is_there).count() == 0);
        assert_eq!(prefix("../a/b"), "-a-b-");
    }
}
