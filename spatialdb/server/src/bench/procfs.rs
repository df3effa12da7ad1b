//! What the kernel says of a process.

use std::fs;

use super::error::{BenchError, cannot};

/// User and system time that a process has used, in seconds. Ticks of usually 10 ms.
///
/// # Errors
/// There is no such process.
pub(super) fn cpu_seconds(pid: u32) -> Result<f64, BenchError> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).map_err(cannot(&format!("read {path}")))?;
    let ticks = cpu_ticks(&text).ok_or_else(|| BenchError::unexpected(path, "utime and stime", text))?;
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// Memory of a process that is in RAM, in bytes: `VmRSS`, or `VmHWM` for the most there ever was.
///
/// # Errors
/// There is no such process or no such line.
pub(super) fn memory_bytes(pid: u32, line: &str) -> Result<u64, BenchError> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).map_err(cannot(&format!("read {path}")))?;
    let kib = status_kib(&text, line).ok_or_else(|| BenchError::unexpected(path, line, text))?;
    Ok(kib * 1024)
}

/// Bytes that a process had written to disk so far.
///
/// # Errors
/// There is no such process, or the kernel does not say.
pub(super) fn written_bytes(pid: u32) -> Result<u64, BenchError> {
    let path = format!("/proc/{pid}/io");
    let text = fs::read_to_string(&path).map_err(cannot(&format!("read {path}")))?;
    let bytes = text.lines().find_map(|line| line.strip_prefix("write_bytes: ")?.parse().ok());
    bytes.ok_or_else(|| BenchError::unexpected(path, "write_bytes", text))
}

// Fields 14 and 15; the name before them may hold spaces and brackets.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

fn status_kib(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_any_name() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 8 0 12345 1000 200";
        assert_eq!(cpu_ticks(stat), Some(300));
        assert_eq!(cpu_ticks("42 (a) S 1"), None);
    }

    #[test]
    fn a_line_of_status_is_found() {
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(status_kib(status, "VmRSS"), Some(1024));
        assert_eq!(status_kib(status, "VmHWM"), Some(2048));
        assert_eq!(status_kib(status, "Vm"), None);
    }

    #[test]
    fn this_process_has_memory() {
        let pid = std::process::id();
        // No more than that: the kernel adds up both only now and then, each in its own time.
        for field in ["VmHWM", "VmRSS"] {
            assert!(memory_bytes(pid, field).expect("own status") > 1 << 20);
        }
        assert!(cpu_seconds(pid).is_ok());
        assert!(cpu_seconds(u32::MAX).is_err());
    }
}
