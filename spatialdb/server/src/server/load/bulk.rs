//! Loading all blocks: threads decode and check them side by side, one thread per partition takes the rows in.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Mutex, PoisonError};

use spatialdb_core::{CreateColumn, CreateRows, Partition, PartitionMap};
use spatialdb_schema::Schema;
use spatialdb_snapshots::verify::{check_values, verify};
use spatialdb_snapshots::{Block, Part, Reader, SnapshotError};
use spatialdb_types::{EntityId, PartitionId};

use crate::progress::Progress;
use crate::server::routes::Routes;

/// Blocks that wait for one partition: more would only take memory.
const QUEUE: usize = 4;

/// Loads every entity of the snapshot.
///
/// # Errors
/// The first thing that is wrong. The partitions hold part of the world then and must be dropped.
pub(super) fn load(
    reader: &Reader,
    schema: &Schema,
    map: &PartitionMap,
    machines: &mut [Partition],
    routes: &Routes,
    progress: &Progress,
) -> Result<(), SnapshotError> {
    let expected = reader.totals().entity_count as usize / machines.len();
    let next_block = AtomicUsize::new(0);
    let failure: Mutex<Option<SnapshotError>> = Mutex::new(None);
    let fail = |error| {
        failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        // Nobody takes another block.
        next_block.store(usize::MAX / 2, Ordering::Relaxed);
    };
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        let mut senders = Vec::new();
        for machine in machines.iter_mut() {
            let (sender, rows) = mpsc::sync_channel(QUEUE);
            senders.push(sender);
            machine.reserve(expected);
            scope.spawn(|| take_in(machine, rows, routes, progress, || fail(doubled(reader))));
        }
        for _ in 0..threads {
            let senders = senders.clone();
            scope.spawn(|| {
                let senders = senders;
                loop {
                    let index = next_block.fetch_add(1, Ordering::Relaxed);
                    if index >= reader.blocks().len() {
                        return;
                    }
                    if let Err(error) = send_block(reader, index, schema, map, &senders) {
                        return fail(error);
                    }
                }
            });
        }
        // The partitions' threads end when the last sender is gone.
        drop(senders);
    });
    match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

fn take_in(
    machine: &mut Partition,
    rows: Receiver<CreateRows>,
    routes: &Routes,
    progress: &Progress,
    doubled: impl Fn(),
) {
    let home = machine.id();
    for rows in rows {
        let taken = rows.entities.iter().filter(|&&entity| !routes.claim(entity, home)).count();
        if taken > 0 || machine.load(&rows).is_err() {
            return doubled();
        }
        progress.add(rows.entities.len() as u64);
    }
}

/// Some entity is there twice: a full check finds it and says where.
fn doubled(reader: &Reader) -> SnapshotError {
    match verify(reader, |_| {}) {
        Err(error) => error,
        Ok(_) => SnapshotError::Malformed {
            part: Part::Footer,
            field: "entity ids",
            expected: "each once".to_owned(),
            found: "one twice".to_owned(),
        },
    }
}

fn send_block(
    reader: &Reader,
    index: usize,
    schema: &Schema,
    map: &PartitionMap,
    senders: &[SyncSender<CreateRows>],
) -> Result<(), SnapshotError> {
    let block = reader.read_block(index)?;
    check_values(&block, schema, reader.part(index))?;
    for (partition, rows) in split(&block, map).into_iter().enumerate() {
        if !rows.entities.is_empty() {
            // A partition that has met a fault takes no more; the fault is told.
            let _ = senders[partition].send(rows);
        }
    }
    Ok(())
}

/// The rows of a block by partition.
fn split(block: &Block, map: &PartitionMap) -> Vec<CreateRows> {
    let mut parts: Vec<CreateRows> = map.ids().map(|_| CreateRows::default()).collect();
    let mut positions = vec![None; block.entities.len()];
    for (i, &row) in block.positions.rows.iter().enumerate() {
        positions[row as usize] = Some(block.positions.get(i));
    }
    let mut places: Vec<(PartitionId, u32)> = Vec::with_capacity(block.entities.len());
    for (&id, &position) in block.entities.iter().zip(&positions) {
        let entity = EntityId(id);
        let home = map.home(entity, position);
        let part = &mut parts[usize::from(home.0)];
        let index = part.entities.len() as u32;
        part.entities.push(entity);
        if let Some(position) = position {
            part.positions.index.push(index);
            part.positions.positions.push(position);
        }
        places.push((home, index));
    }
    for column in &block.columns {
        let mut columns: Vec<CreateColumn> = map.ids().map(|_| CreateColumn::new(column.component)).collect();
        for (i, &row) in column.rows.iter().enumerate() {
            let (home, index) = places[row as usize];
            columns[usize::from(home.0)].push(index, column.value(i));
        }
        for (part, column) in parts.iter_mut().zip(columns) {
            if !column.index.is_empty() {
                part.columns.push(column);
            }
        }
    }
    parts
}
