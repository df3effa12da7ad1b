//! The manifest: what a world is found again by.

use crate::error::Damage;
use crate::{CheckpointId, LogId, LogSeq};

/// As many logs as partitions can be, and the world's.
const LOGS_MAX: usize = 1 << 16;

/// Which checkpoint counts, and where each log goes on from there. Replaced in one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// One more than the last one's; the first is 1.
    pub version: u64,
    /// The checkpoint; `None`: the logs begin at the beginning.
    pub checkpoint: Option<CheckpointId>,
    /// Of each log, by rising id.
    pub logs: Vec<ManifestLog>,
    /// Whatever else is to be known before anything is read.
    pub about: Vec<u8>,
}

/// What the manifest says of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ManifestLog {
    /// Which.
    pub log: LogId,
    /// As many parts its checkpoint has.
    pub parts: u32,
    /// The first record that the checkpoint does not make superfluous.
    pub begins: LogSeq,
}

impl Manifest {
    /// The body of its blob: `u64` the checkpoint's id plus 1, or 0; `u32` how many logs; of each `u32` id, `u32` parts, `u64`
    /// begin; the rest is `about`.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(12 + 16 * self.logs.len() + self.about.len());
        bytes.extend(self.checkpoint.map_or(0, |id| id.0 + 1).to_le_bytes());
        bytes.extend((self.logs.len() as u32).to_le_bytes());
        for ManifestLog { log, parts, begins } in &self.logs {
            bytes.extend(log.0.to_le_bytes());
            bytes.extend(parts.to_le_bytes());
            bytes.extend(begins.0.to_le_bytes());
        }
        bytes.extend(&self.about);
        bytes
    }

    /// # Errors
    /// The body ends too soon, or its logs are not by rising id.
    pub(crate) fn decode(version: u64, body: &[u8]) -> Result<Self, Damage> {
        let short = || Damage::Body("the body of the manifest ends too soon".to_owned());
        let mut rest = body;
        let checkpoint = u64::from_le_bytes(take(&mut rest).ok_or_else(short)?);
        let checkpoint = checkpoint.checked_sub(1).map(CheckpointId);
        let count = u32::from_le_bytes(take(&mut rest).ok_or_else(short)?) as usize;
        if count > LOGS_MAX {
            return Err(Damage::Body(format!("the manifest has {count} logs; at most {LOGS_MAX} can be")));
        }
        let mut logs: Vec<ManifestLog> = Vec::new();
        for _ in 0..count {
            let log = LogId(u32::from_le_bytes(take(&mut rest).ok_or_else(short)?));
            let parts = u32::from_le_bytes(take(&mut rest).ok_or_else(short)?);
            let begins = LogSeq(u64::from_le_bytes(take(&mut rest).ok_or_else(short)?));
            if logs.last().is_some_and(|last| last.log >= log) {
                return Err(Damage::Body("the logs of the manifest are not by rising id".to_owned()));
            }
            logs.push(ManifestLog { log, parts, begins });
        }
        Ok(Self { version, checkpoint, logs, about: rest.to_vec() })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_back_or_says_what_is_wrong() {
        let log = |id, parts, begins| ManifestLog { log: LogId(id), parts, begins: LogSeq(begins) };
        let logs = vec![log(0, 1, 1), log(2, 7, 99)];
        let manifest =
            Manifest { version: 4, checkpoint: Some(CheckpointId(0)), logs, about: b"world".to_vec() };
        let body = manifest.encode();
        assert_eq!(Manifest::decode(4, &body), Ok(manifest.clone()));
        let none = Manifest { version: 4, checkpoint: None, logs: Vec::new(), about: Vec::new() };
        assert_eq!(Manifest::decode(4, &none.encode()), Ok(none));
        for length in 0..body.len() - manifest.about.len() {
            assert!(Manifest::decode(4, &body[..length]).is_err(), "{length}");
        }
        let twice = Manifest { logs: vec![log(2, 0, 1), log(2, 0, 1)], ..manifest };
        assert!(Manifest::decode(4, &twice.encode()).expect_err("twice").to_string().contains("rising"));
    }
}
