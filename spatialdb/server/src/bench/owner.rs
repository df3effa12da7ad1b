//! A worker that writes what it owns: each of its entities goes a metre up again and again, from where it sees it, and so counts
//! its moves.
//!
//! Responsible for: doing what an owner is asked, and counting what was accepted of its writes. It keeps nothing that frames
//! and the server's words did not tell it. Not responsible for: who owns what, and whether the counts are right.

mod gait;
pub(super) mod process;
pub(super) mod tally;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use spatialdb_proto::v1::{
    Authority, AuthorityReport, Constraint, Frame, Heartbeat, Owned, PositionColumn, RegionGrant, Subscribe,
    Update, View, authority::Body as Word, client_message::Body, constraint::Kind,
    server_message::Body as ServerBody,
};
use spatialdb_types::Point3;
use tokio::{
    sync::{mpsc, watch},
    time::interval,
};
use tokio_util::sync::CancellationToken;

pub(super) use self::gait::{Gait, moves};
use self::tally::Tally;
use super::{
    error::BenchError,
    link::{Link, Receiver, Sender},
    world::SPACE,
};

/// The type of owners.
pub(super) const TYPE: &str = "owner";

/// How often it writes, if all is decided that it wrote before.
const TICK: Duration = Duration::from_millis(10);

/// How often one says that it is there that has nothing to write.
const HEARTBEAT: Duration = Duration::from_millis(500);

/// Something that an owner tells the scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It has written its last for now and said so.
    Flushed,
    /// It has heard of all entities that it is to have.
    Gained,
    /// The first write since it got a region is accepted.
    Accepted,
}

/// What it tells: which owner, what, and when.
pub(super) type Told = (usize, Stage, Instant);

/// A worker.
pub(super) struct Owner {
    index: usize,
    entities: usize,
    gait: watch::Receiver<Gait>,
    sender: Sender,
    receiver: Receiver,
    told: mpsc::UnboundedSender<Told>,
    number: u64,
    is_draining: bool,
    regions: BTreeSet<u64>,
    losing: BTreeSet<u64>,
    /// Of which region each is.
    owned: BTreeMap<u64, u64>,
    /// What frames show. Own writes do not come back.
    seen: BTreeMap<u64, Point3>,
    /// What it wrote since it got each. As long as it has one nobody else writes it: a frame that shows it elsewhere is older.
    wrote: BTreeMap<u64, Point3>,
    /// What it wrote and is not decided.
    sent: Option<(u64, PositionColumn)>,
    /// What was refused of that.
    refused: BTreeSet<u64>,
    /// What that replaced of `wrote`.
    replaced: BTreeMap<u64, Option<Point3>>,
    /// Whether something was accepted since it got a region.
    is_accepted: bool,
    /// Whether it may write all entities.
    has_all: bool,
    tally: Tally,
}

impl Owner {
    /// An owner of a session, which takes a view of what it owns. `tally` has nothing yet, and knows how many entities there
    /// are.
    ///
    /// # Errors
    /// The session is over.
    pub(super) fn new(
        link: Link,
        index: usize,
        tally: Tally,
        told: mpsc::UnboundedSender<Told>,
    ) -> Result<Self, BenchError> {
        let Link { mut sender, receiver } = link;
        let owned = Constraint { kind: Some(Kind::Owned(Owned::default())) };
        let view = View { view_id: 1, constraint: Some(owned), ..View::default() };
        sender.send(Body::Subscribe(Subscribe { view: Some(view) }))?;
        Ok(Self {
            index,
            entities: tally.entities(),
            gait: watch::channel(Gait::Stroll).1,
            sender,
            receiver,
            told,
            number: 0,
            is_draining: false,
            regions: BTreeSet::new(),
            losing: BTreeSet::new(),
            owned: BTreeMap::new(),
            seen: BTreeMap::new(),
            wrote: BTreeMap::new(),
            sent: None,
            refused: BTreeSet::new(),
            replaced: BTreeMap::new(),
            is_accepted: false,
            has_all: false,
            tally,
        })
    }

    /// The same, and entities go as they are told.
    pub(super) fn with_gait(self, gait: watch::Receiver<Gait>) -> Self {
        Self { gait, ..self }
    }

    /// Works until it is told to stop, or was drained, and all is decided. Returns how often it moved each entity.
    ///
    /// # Errors
    /// The session ends.
    pub(super) async fn run(mut self, stop: CancellationToken) -> Result<Tally, BenchError> {
        let (mut ticks, mut beats) = (interval(TICK), interval(HEARTBEAT));
        loop {
            let is_over = stop.is_cancelled() || (self.is_draining && self.regions.is_empty());
            if is_over && self.sent.is_none() {
                return Ok(self.tally);
            }
            tokio::select! {
                body = self.receiver.body() => match body? {
                    ServerBody::Authority(word) => self.hear(&word)?,
                    ServerBody::Frame(frame) => self.see(&frame)?,
                    _ => {}
                },
                _ = ticks.tick() => if !is_over {
                    self.write()?;
                },
                _ = beats.tick() => {
                    self.sender.send(Body::Heartbeat(Heartbeat::default()))?;
                }
            }
        }
    }

    fn hear(&mut self, word: &Authority) -> Result<(), BenchError> {
        self.number = word.number;
        let mut report = AuthorityReport { authority_seen: self.number, ..AuthorityReport::default() };
        match &word.body {
            Some(Word::Gained(lease)) => {
                self.is_accepted &= !self.regions.is_empty();
                self.regions.insert(lease.region);
            }
            Some(Word::Warm(lease)) => report.warmed.push(lease.region),
            Some(Word::LossImminent(loss)) => {
                self.losing.insert(loss.region);
                report.flushed.push(RegionGrant { region: loss.region, epoch: loss.epoch });
            }
            Some(Word::Kept(grant)) => drop(self.losing.remove(&grant.region)),
            Some(Word::Lost(lost)) => {
                self.regions.remove(&lost.region);
                self.losing.remove(&lost.region);
                let lost = self.owned.extract_if(.., |_, region| *region == lost.region);
                let lost: Vec<u64> = lost.map(|(entity, _)| entity).collect();
                lost.into_iter().for_each(|entity| self.lose(entity));
            }
            Some(Word::Joined(joined)) => self.join(joined.gone, joined.keep),
            Some(Word::Drain(_)) => self.is_draining = true,
            Some(Word::Entities(words)) => {
                for change in &words.changes {
                    for entity in &change.entities {
                        if change.gained {
                            self.owned.insert(*entity, change.region);
                        } else {
                            self.lose(*entity);
                        }
                    }
                }
                // At once: they wait for it.
                self.write()?;
            }
            _ => {}
        }
        let is_flushed = !report.flushed.is_empty();
        if is_flushed || !report.warmed.is_empty() || matches!(word.body, Some(Word::Gained(_))) {
            self.sender.send(Body::AuthorityReport(report))?;
        }
        if is_flushed {
            self.tell(Stage::Flushed);
        }
        self.note_all();
        Ok(())
    }

    /// It may have got the last of all entities, or its first sight of it.
    fn note_all(&mut self) {
        let has_all = self.owned.len() == self.entities && self.mine().count() == self.entities;
        if has_all && !self.has_all {
            self.tell(Stage::Gained);
        }
        self.has_all = has_all;
    }

    /// From now on others may write it: what is still to be decided of it says nothing of where it is.
    fn lose(&mut self, entity: u64) {
        self.owned.remove(&entity);
        self.wrote.remove(&entity);
        self.replaced.remove(&entity);
    }

    fn join(&mut self, gone: u64, keep: u64) {
        self.regions.remove(&gone);
        self.losing.remove(&gone);
        self.owned.values_mut().filter(|region| **region == gone).for_each(|region| *region = keep);
    }

    fn see(&mut self, frame: &Frame) -> Result<(), BenchError> {
        if let Some(collapsed) = frame.rejections_collapsed.first() {
            let what = format!("{} more rows of {}", collapsed.count, collapsed.reason);
            return Err(BenchError::unexpected("an owner", "each refusal", what));
        }
        // Some may come before all of a message is decided.
        self.refused.extend(frame.rejections.iter().map(|rejection| rejection.entity));
        for left in frame.left.iter().flat_map(|left| &left.entities) {
            self.seen.remove(left);
        }
        for column in &frame.positions {
            for (i, entity) in column.entities.iter().enumerate() {
                self.seen.insert(*entity, Point3::new(column.x[i], column.y[i], column.z[i]));
            }
        }
        if !self.has_all {
            self.note_all();
        }
        match self.sent.take_if(|(seq, _)| *seq <= frame.applied_seq) {
            Some((_, written)) => self.decided(&written),
            None => Ok(()),
        }
    }

    fn decided(&mut self, written: &PositionColumn) -> Result<(), BenchError> {
        let (refused, replaced) = (std::mem::take(&mut self.refused), std::mem::take(&mut self.replaced));
        self.tally.decided(written.entities.iter().map(|entity| (*entity, refused.contains(entity))))?;
        if refused.len() < written.entities.len() && !std::mem::replace(&mut self.is_accepted, true) {
            self.tell(Stage::Accepted);
        }
        for (entity, before) in replaced.into_iter().filter(|(entity, _)| refused.contains(entity)) {
            match before {
                Some(before) => drop(self.wrote.insert(entity, before)),
                None => drop(self.wrote.remove(&entity)),
            }
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), BenchError> {
        let entities: Vec<u64> = self.mine().collect();
        if self.sent.is_some() || entities.is_empty() {
            return Ok(());
        }
        let gait = *self.gait.borrow();
        let mut positions = PositionColumn { space: SPACE.0, ..PositionColumn::default() };
        for entity in &entities {
            let at = self.wrote.get(entity).unwrap_or(&self.seen[entity]);
            let to = gait.next(*entity, *at);
            self.replaced.insert(*entity, self.wrote.insert(*entity, to));
            positions.x.push(to.x);
            positions.y.push(to.y);
            positions.z.push(to.z);
        }
        self.tally.sends(&entities)?;
        positions.entities = entities;
        let (authority_seen, columns) = (self.number, vec![positions.clone()]);
        let update = Update { authority_seen, positions: columns, ..Update::default() };
        self.sent = Some((self.sender.send(Body::Update(update))?, positions));
        Ok(())
    }

    /// What it may write now, and sees.
    fn mine(&self) -> impl Iterator<Item = u64> {
        let is_mine = |region: &u64| self.regions.contains(region) && !self.losing.contains(region);
        let mine = self.owned.iter().filter(move |(_, region)| is_mine(region)).map(|(entity, _)| *entity);
        mine.filter(|entity| self.seen.contains_key(entity))
    }

    fn tell(&self, stage: Stage) {
        // Nobody listens any longer: the scenario has failed, and says why.
        let _ = self.told.send((self.index, stage, Instant::now()));
    }
}

/// Of an owner.
pub(super) fn name(index: usize) -> String {
    format!("owner-{index}")
}
