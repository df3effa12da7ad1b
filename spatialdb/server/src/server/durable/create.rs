//! Putting a world that was just loaded into an empty data directory.

use prost::Message;
use spatialdb_core::{Outbox, Partition};
use spatialdb_durability::{CheckpointId, LogId, LogSeq, Manifest, ManifestLog, Term};

use super::about::Kept;
use super::{About, DataDir, DataError, unix_us};
use crate::progress::Progress;

/// Images in a part of a checkpoint, about.
pub(super) const IMAGES_A_PART: usize = 16_384;

/// The first checkpoint.
const FIRST: CheckpointId = CheckpointId(1);

/// Writes all that partitions have. Once this returns, the directory has the world. Returns what the manifest says about it.
///
/// # Errors
/// It cannot be written; the directory has no world then.
pub(in crate::server) fn create(
    data: &DataDir,
    mut about: About,
    machines: &mut [Partition],
    progress: &Progress,
) -> Result<About, DataError> {
    let storage = data.storage();
    // What an attempt left that was cut off.
    for id in storage.checkpoints()? {
        storage.drop_checkpoint(id)?;
    }
    let world = data.take(LogId::WORLD, Term(1))?;
    let mut logs = vec![ManifestLog { log: LogId::WORLD, parts: 0, begins: world.next }];
    // All begin before any goes on: what they send to each other is of that round.
    for machine in machines.iter_mut() {
        machine.forget_changes();
        machine.begin_round(1);
    }
    let mut bytes = 0;
    let mut outboxes: Vec<Outbox> = machines.iter().map(|_| Outbox::default()).collect();
    for (machine, outbox) in machines.iter_mut().zip(&mut outboxes) {
        let log = LogId::of_partition(machine.id().0);
        let mut parts = 0;
        while machine.is_in_round() {
            let before = machine.entity_count();
            if let Some(part) = machine.go_round(IMAGES_A_PART, outbox).part {
                storage.put_checkpoint(FIRST, log, parts, unix_us(), &part)?;
                parts += 1;
                bytes += part.len() as u64;
                progress.add(before.min(IMAGES_A_PART) as u64);
            }
        }
        logs.push(ManifestLog { log, parts, begins: LogSeq::FIRST });
    }
    // They hear that the others have walked; there is nothing else to say yet.
    for (from, outbox) in outboxes.into_iter().enumerate() {
        let from = machines[from].id();
        for (to, message) in outbox.peers {
            machines[usize::from(to.0)].peer(from, message, &mut Outbox::default());
        }
    }
    for machine in machines {
        while machine.is_in_round() {
            machine.go_round(IMAGES_A_PART, &mut Outbox::default());
        }
    }
    let mut manifest = Manifest { version: 1, checkpoint: Some(FIRST), logs, about: Vec::new() };
    let now = unix_us();
    about.kept.extend(Kept::of(&manifest, now, bytes));
    manifest.about = about.encode_to_vec();
    storage.commit_manifest(world.term, now, &manifest)?;
    Ok(about)
}
