//! Captures: what all partitions write of one moment is the world as it was then, while it goes on.
//!
//! Some begin everywhere at once, as the server sees to: then it is known what has to come. Others begin in one partition, and in the
//! rest when they hear of it: then everything that was there all along has to come once.

use std::collections::BTreeMap;

use spatialdb_core::log::images;
use spatialdb_core::{Outbox, Partition, PeerBody};
use spatialdb_types::EntityId;

use crate::bug::Bug;
use crate::driver::Sim;
use crate::judge::{Components, Failure};
use crate::log::{components_of, value_of};
use crate::rng::Rng;

/// How many turns of all partitions a capture may take at rest.
const TURNS_MAX: usize = 10_000;

/// The capture under way.
#[derive(Debug)]
pub(crate) struct Captures {
    rng: Rng,
    /// The last one; 0: there was none.
    number: u64,
    under_way: Option<UnderWay>,
}

#[derive(Debug)]
struct UnderWay {
    /// Whether it began everywhere at once.
    is_exact: bool,
    /// All there was.
    expected: BTreeMap<EntityId, Components>,
    found: BTreeMap<EntityId, Components>,
    /// Which partitions are done.
    over: Vec<bool>,
}

impl Captures {
    pub(crate) const fn new(seed: u64) -> Self {
        Self { rng: Rng::new(seed ^ 0xca9), number: 0, under_way: None }
    }

    /// The last one; 0: there was none.
    pub(crate) const fn number(&self) -> u64 {
        self.number
    }
}

impl Sim {
    /// A capture may begin, or go on in a partition.
    ///
    /// # Errors
    /// What it holds and should not, or does not and should.
    pub(crate) fn capture_step(&mut self) -> Result<(), Failure> {
        let Captures { rng, under_way, .. } = &mut self.captures;
        let begins = if under_way.is_some() { rng.one_in(400) } else { rng.one_in(60) };
        if begins {
            return self.begin_capture();
        }
        if under_way.is_some() && rng.one_in(6) {
            let p = rng.index(self.partitions.len());
            return self.go_capture(p);
        }
        Ok(())
    }

    /// The one that is under way goes on to its end: nothing is on its way any more.
    ///
    /// # Errors
    /// As above.
    pub(crate) fn finish_capture(&mut self) -> Result<(), Failure> {
        for _ in 0..TURNS_MAX {
            if self.captures.under_way.is_none() {
                return Ok(());
            }
            for p in 0..self.partitions.len() {
                self.go_capture(p)?;
            }
        }
        Err(failure("it does not end".to_owned()))
    }

    fn begin_capture(&mut self) -> Result<(), Failure> {
        let expected = self.all_there()?;
        let Captures { rng, number, under_way } = &mut self.captures;
        let (is_exact, first) = (rng.percent(70), rng.index(self.partitions.len()));
        *number += 1;
        let number = *number;
        let over = vec![false; self.partitions.len()];
        *under_way = Some(UnderWay { is_exact, expected, found: BTreeMap::new(), over });
        self.say(|| format!("capture {number} begins{}", if is_exact { "" } else { " in one partition" }));
        for p in 0..self.partitions.len() {
            if is_exact || p == first {
                let mut outbox = Outbox::default();
                self.partitions[p].begin_capture(number, &mut outbox);
                self.collect(p, outbox);
            }
        }
        Ok(())
    }

    fn go_capture(&mut self, p: usize) -> Result<(), Failure> {
        if self.partitions[p].capture() != self.captures.number || !self.partitions[p].is_capturing() {
            return Ok(());
        }
        let images_max = self.captures.rng.between(1, 8) as usize;
        let slice = self.partitions[p].go_capture(images_max);
        let part = slice.part.filter(|_| !self.bugs.hits(Bug::LosePart));
        let Some(under_way) = &mut self.captures.under_way else { return Ok(()) };
        if let Some(part) = &part {
            let record = images(part).map_err(|error| failure(error.to_string()))?;
            for image in record.images {
                let values = image.values.iter();
                let values = values.map(|v| (v.component, (v.revision, value_of(v.component, v.bytes))));
                if under_way.found.insert(image.entity, values.collect()).is_some() {
                    return Err(failure(format!("entity {} is there twice", image.entity)));
                }
            }
        }
        under_way.over[p] |= slice.is_over;
        if under_way.over.iter().all(|over| *over) { self.judge_capture() } else { Ok(()) }
    }

    fn judge_capture(&mut self) -> Result<(), Failure> {
        let Some(UnderWay { is_exact, expected, found, .. }) = self.captures.under_way.take() else {
            return Ok(());
        };
        self.say(|| format!("a capture of {} entities is over", found.len()));
        if is_exact {
            return match expected.iter().find(|(entity, components)| found.get(entity) != Some(components)) {
                Some((entity, components)) => {
                    let found = found.get(entity);
                    Err(failure(format!("entity {entity} was {components:?}, and {found:?} is captured")))
                }
                None => match found.keys().find(|entity| !expected.contains_key(entity)) {
                    Some(entity) => Err(failure(format!("entity {entity} is captured, and was not there"))),
                    None => Ok(()),
                },
            };
        }
        let still = self.all_there()?;
        let was_lost = |entity: &&EntityId| still.contains_key(entity) && !found.contains_key(entity);
        let lost = expected.keys().find(was_lost);
        lost.map_or(Ok(()), |entity| Err(failure(format!("entity {entity} was there, and is not captured"))))
    }

    /// All there is, here or on its way between partitions.
    ///
    /// # Errors
    /// An entity is there twice.
    pub(crate) fn all_there(&self) -> Result<BTreeMap<EntityId, Components>, Failure> {
        let truth = self.truth()?.into_iter();
        let mut all: BTreeMap<_, _> = truth.map(|(entity, fact)| (entity, fact.components)).collect();
        let waiting = self.partitions.iter().flat_map(Partition::waiting_messages);
        for message in self.peer_messages().chain(waiting) {
            if let PeerBody::Move(moved) = &message.body {
                all.extend(moved.iter().map(|moved| (moved.entity, components_of(moved))));
            }
        }
        Ok(all)
    }
}

fn failure(detail: String) -> Failure {
    Failure { judge: "capture", detail }
}
