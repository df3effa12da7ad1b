//! The process that ends workers when the server could not: killed, out of memory, crashed.
//!
//! It reads `+GROUP` and `-GROUP` lines on stdin, the process groups that run. When stdin ends, it ends those
//! left: SIGTERM, a moment, SIGKILL.

use std::{
    collections::HashSet,
    io::{self, BufRead, Write},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

// How long workers of a dead server have to end by themselves.
const GRACE: Duration = Duration::from_secs(2);

const POLL: Duration = Duration::from_millis(20);

/// The guard as the server holds it.
pub(super) struct Guard {
    child: Child,
    pipe: Mutex<Option<ChildStdin>>,
}

impl Guard {
    /// Starts `program guard` in a group of its own, so that no signal for the server reaches it.
    pub(super) fn start(program: &Path) -> io::Result<Self> {
        let mut child = Command::new(program)
            .arg("guard")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let pipe = Mutex::new(child.stdin.take());
        Ok(Self { child, pipe })
    }

    /// A group has started.
    pub(super) fn add(&self, group: Pid) {
        self.tell(&format!("+{}\n", group.as_raw_nonzero()));
    }

    /// A group has ended.
    pub(super) fn remove(&self, group: Pid) {
        self.tell(&format!("-{}\n", group.as_raw_nonzero()));
    }

    fn tell(&self, line: &str) {
        let mut pipe = self.pipe.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(open) = pipe.as_mut() else { return };
        if let Err(error) = open.write_all(line.as_bytes()) {
            tracing::warn!(%error, "the guard is gone: workers may outlive a killed server");
            *pipe = None;
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.pipe.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Its pipe is closed: it ends once the groups left have.
        let _ = self.child.wait();
    }
}

/// The `guard` command: returns once every group it was told of has ended.
pub fn run(lines: impl BufRead) {
    let mut groups = HashSet::new();
    for line in lines.lines().map_while(Result::ok) {
        let Some((sign, group)) = line.split_at_checked(1) else { continue };
        let Some(group) = group.parse().ok().filter(|raw: &i32| *raw > 1).and_then(Pid::from_raw) else {
            continue;
        };
        match sign {
            "+" => groups.insert(group),
            "-" => groups.remove(&group),
            _ => continue,
        };
    }
    end_groups(&groups);
}

fn end_groups(groups: &HashSet<Pid>) {
    for group in groups {
        signal_group(*group, Signal::TERM);
    }
    let deadline = Instant::now() + GRACE;
    while groups.iter().any(|group| test_kill_process_group(*group).is_ok()) {
        if Instant::now() >= deadline {
            for group in groups {
                signal_group(*group, Signal::KILL);
            }
            return;
        }
        thread::sleep(POLL);
    }
}

/// Signals every process of a group. One that is gone already is what was wanted.
pub(super) fn signal_group(group: Pid, signal: Signal) {
    let _ = kill_process_group(group, signal);
}
