//! Logs: partitions write what changed, in small pieces at any time; disks are slow, and lose what is not on them.
//!
//! A world may crash at any moment: whatever of each log the disk has by then, or has written beyond that, is merged, in an order of
//! its own, as a restart reads the log of one partition after the other's. At rest all records together are the world.

mod judge;

use std::sync::Arc;

use spatialdb_core::log::Classes;
use spatialdb_core::{Outbox, RoundEnd};
use spatialdb_types::ComponentId;

use crate::bug::Bug;
use crate::driver::Sim;
use crate::judge::Failure;
use crate::rng::Rng;
use crate::world::FIRST_COMPONENT;

pub(crate) use self::judge::{components_of, value_of};

/// What partitions have written.
#[derive(Debug)]
pub(crate) struct Log {
    rng: Rng,
    /// Which promise holds for which component.
    pub(crate) classes: Arc<Classes>,
    /// Of each partition.
    disks: Vec<Disk>,
    /// The round under way; 0: there was none.
    round: u64,
}

/// The log of a partition.
#[derive(Debug, Default)]
struct Disk {
    /// In order; the first has number 1.
    records: Vec<Vec<u8>>,
    /// So many of them are there whatever happens, and the partition knows.
    stored: usize,
    /// The checkpoint that counts, and how many records before it are superfluous.
    checkpoint: Vec<Vec<u8>>,
    begins: usize,
    /// Parts of the next one.
    draft: Vec<Vec<u8>>,
    /// Where the round leaves the log.
    end: Option<RoundEnd>,
}

impl Log {
    /// Nothing. Which promise holds for what is up to the seed.
    pub(crate) fn new(seed: u64, partitions: usize) -> Self {
        let mut rng = Rng::new(seed ^ 0x106);
        let volatile = (!seed.is_multiple_of(2)).then_some(ComponentId(FIRST_COMPONENT));
        let is_durable = !seed.is_multiple_of(3);
        let own = (FIRST_COMPONENT..FIRST_COMPONENT + 5).map(|component| (ComponentId(component), 30));
        let built_in =
            [ComponentId::METADATA, ComponentId::POSITION, ComponentId::PLAYER_OWNER, ComponentId::FOLLOWS];
        let all = own.chain(built_in.map(|component| (component, 15)));
        let durable: Vec<ComponentId> = all
            .filter(|(component, share)| is_durable && Some(*component) != volatile && rng.percent(*share))
            .map(|(component, _)| component)
            .collect();
        let classes = Arc::new(Classes::new(volatile, durable));
        Self { rng, classes, disks: (0..partitions).map(|_| Disk::default()).collect(), round: 0 }
    }
}

impl Sim {
    /// A partition may write some of what changed, a disk may get on, and all may end.
    ///
    /// # Errors
    /// What a crash would lose that it must not.
    pub(crate) fn log_step(&mut self) -> Result<(), Failure> {
        let p = self.log.rng.index(self.partitions.len());
        match self.log.rng.below(24) {
            0..=1 => {
                let images_max = self.log.rng.between(1, 6) as usize;
                self.partitions[p].sweep(images_max);
            }
            2..=5 => self.take_record(p),
            6..=9 => {
                let Disk { records, stored, .. } = &self.log.disks[p];
                let (from, to) = (*stored as u64, records.len() as u64);
                let stored = self.log.rng.between(from, to);
                self.store(p, stored as usize)?;
            }
            10 if self.log.rng.one_in(4) => self.judge_crash()?,
            11..=13 => self.round_step(p),
            _ => {}
        }
        Ok(())
    }

    /// A round may begin, or go on in a partition; if it is over everywhere, the checkpoint counts.
    fn round_step(&mut self, p: usize) {
        let Log { round, disks, rng, .. } = &mut self.log;
        let is_over =
            |disk: &Disk| disk.end.is_some_and(|end| end.round == *round && end.ends <= disk.stored as u64);
        if *round == 0 || disks.iter().all(is_over) {
            for disk in disks.iter_mut().filter(|_| *round > 0) {
                disk.checkpoint = std::mem::take(&mut disk.draft);
                disk.begins = disk.end.map_or(0, |end| end.begins as usize - 1);
                if self.bugs.hits(Bug::BeginsLate) {
                    disk.begins = disk.end.map_or(0, |end| end.ends as usize);
                }
            }
            *round += 1;
        }
        let (round, images_max) = (*round, rng.between(1, 12) as usize);
        let mut outbox = Outbox::default();
        self.partitions[p].begin_round(round);
        let slice = self.partitions[p].go_round(images_max, &mut outbox);
        let disk = &mut self.log.disks[p];
        disk.draft.extend(slice.part);
        disk.end = slice.end.or(disk.end);
        self.collect(p, outbox);
    }

    /// All that is to be written is, and is on disk. Returns whether that was anything.
    ///
    /// # Errors
    /// What a judge found.
    pub(crate) fn settle_log(&mut self) -> Result<bool, Failure> {
        let mut any = false;
        for p in 0..self.partitions.len() {
            self.take_record(p);
            let written = self.log.disks[p].records.len();
            any |= self.log.disks[p].stored < written;
            self.store(p, written)?;
        }
        Ok(any)
    }

    /// All that has changed is written, and is on disk.
    ///
    /// # Errors
    /// What a judge found.
    pub(crate) fn write_all(&mut self) -> Result<(), Failure> {
        for p in 0..self.partitions.len() {
            // What goes on may have begun before the last change.
            while !self.partitions[p].sweep(7) {}
            while !self.partitions[p].sweep(7) {}
        }
        self.settle_log().map(drop)
    }

    fn take_record(&mut self, p: usize) {
        let Some((number, mut record)) = self.partitions[p].take_log_record() else { return };
        if self.bugs.hits(Bug::LoseRecord) {
            record.clear();
        }
        let records = &mut self.log.disks[p].records;
        records.push(record);
        assert_eq!(records.len() as u64, number, "records are numbered without gaps");
        if self.bugs.hits(Bug::StoredEarly) {
            let mut outbox = Outbox::default();
            self.partitions[p].stored(number, &mut outbox);
            self.collect(p, outbox);
        }
    }

    /// The disk has so many records.
    fn store(&mut self, p: usize, records: usize) -> Result<(), Failure> {
        let disk = &mut self.log.disks[p];
        if disk.stored == records {
            return Ok(());
        }
        disk.stored = records;
        self.say(|| format!("partition {p}: {records} records are on disk"));
        let mut outbox = Outbox::default();
        self.partitions[p].stored(records as u64, &mut outbox);
        self.collect(p, outbox);
        self.watch_entities(p, None)
    }
}
