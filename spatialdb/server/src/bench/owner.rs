//! A worker that writes what it owns: each of its entities goes a metre east again and again, from where it sees it.
//!
//! Responsible for: doing what an owner is asked, and counting what was accepted of its writes. It keeps nothing that frames
//! and the server's words did not tell it. Not responsible for: who owns what, and whether the counts are right.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use spatialdb_proto::v1::{
    Authority, AuthorityReport, Constraint, Frame, Owned, PositionColumn, RegionGrant, Subscribe, Update,
    View, authority::Body as Word, client_message::Body, constraint::Kind,
    server_message::Body as ServerBody,
};
use tokio::{sync::mpsc, time::interval};
use tokio_util::sync::CancellationToken;

use super::{
    error::BenchError,
    link::{Link, Receiver, Sender},
    server::ServerProcess,
    world::SPACE,
};

/// How often it writes, if all is decided that it wrote before.
const TICK: Duration = Duration::from_millis(10);

/// Something that an owner tells the scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It has written its last for now and said so.
    Flushed,
    /// It has heard of all entities that it is to have.
    Gained,
}

/// What it tells: which owner, what, and when.
pub(super) type Told = (usize, Stage, Instant);

/// A worker.
pub(super) struct Owner {
    index: usize,
    entities: usize,
    sender: Sender,
    receiver: Receiver,
    told: mpsc::UnboundedSender<Told>,
    number: u64,
    regions: BTreeSet<u64>,
    losing: BTreeSet<u64>,
    /// Of which region each is.
    owned: BTreeMap<u64, u64>,
    seen: BTreeMap<u64, (f64, f64)>,
    /// What it wrote and is not decided.
    sent: Option<(u64, PositionColumn)>,
    accepted: BTreeMap<u64, u64>,
}

impl Owner {
    /// Attaches as `owner-INDEX`, with a view of what it owns.
    ///
    /// # Errors
    /// The server does not welcome it.
    pub(super) async fn attach(
        server: &ServerProcess,
        index: usize,
        entities: usize,
        told: mpsc::UnboundedSender<Told>,
    ) -> Result<Self, BenchError> {
        let Link { mut sender, receiver } = Link::attach(server, &name(index)).await?;
        let owned = Constraint { kind: Some(Kind::Owned(Owned::default())) };
        let view = View { view_id: 1, constraint: Some(owned), ..View::default() };
        sender.send(Body::Subscribe(Subscribe { view: Some(view) }))?;
        Ok(Self {
            index,
            entities,
            sender,
            receiver,
            told,
            number: 0,
            regions: BTreeSet::new(),
            losing: BTreeSet::new(),
            owned: BTreeMap::new(),
            seen: BTreeMap::new(),
            sent: None,
            accepted: BTreeMap::new(),
        })
    }

    /// Works until it is told to stop and all is decided. Returns how often it moved each entity.
    ///
    /// # Errors
    /// The session ends.
    pub(super) async fn run(mut self, stop: CancellationToken) -> Result<BTreeMap<u64, u64>, BenchError> {
        let mut ticks = interval(TICK);
        while !(stop.is_cancelled() && self.sent.is_none()) {
            tokio::select! {
                body = self.receiver.body() => match body? {
                    ServerBody::Authority(word) => self.hear(&word)?,
                    ServerBody::Frame(frame) => self.see(&frame),
                    _ => {}
                },
                _ = ticks.tick() => if !stop.is_cancelled() {
                    self.write()?;
                },
            }
        }
        Ok(self.accepted)
    }

    fn hear(&mut self, word: &Authority) -> Result<(), BenchError> {
        self.number = word.number;
        let mut report = AuthorityReport { authority_seen: self.number, ..AuthorityReport::default() };
        match &word.body {
            Some(Word::Gained(lease)) => drop(self.regions.insert(lease.region)),
            Some(Word::Warm(lease)) => report.warmed.push(lease.region),
            Some(Word::LossImminent(loss)) => {
                self.losing.insert(loss.region);
                report.flushed.push(RegionGrant { region: loss.region, epoch: loss.epoch });
            }
            Some(Word::Kept(grant)) => drop(self.losing.remove(&grant.region)),
            Some(Word::Lost(lost)) => {
                self.regions.remove(&lost.region);
                self.losing.remove(&lost.region);
                self.owned.retain(|_, region| *region != lost.region);
            }
            Some(Word::Entities(words)) => {
                for change in &words.changes {
                    for entity in &change.entities {
                        if change.gained {
                            self.owned.insert(*entity, change.region);
                        } else {
                            self.owned.remove(entity);
                        }
                    }
                }
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
        if matches!(word.body, Some(Word::Entities(_) | Word::Gained(_)))
            && self.mine().count() == self.entities
        {
            self.tell(Stage::Gained);
        }
        Ok(())
    }

    fn see(&mut self, frame: &Frame) {
        for left in frame.left.iter().flat_map(|left| &left.entities) {
            self.seen.remove(left);
        }
        for column in &frame.positions {
            for (i, entity) in column.entities.iter().enumerate() {
                self.seen.insert(*entity, (column.x[i], column.y[i]));
            }
        }
        let Some((_, written)) = self.sent.take_if(|(seq, _)| *seq <= frame.applied_seq) else { return };
        let refused: BTreeSet<u64> = frame.rejections.iter().map(|rejection| rejection.entity).collect();
        for (entity, x) in written.entities.into_iter().zip(written.x) {
            if !refused.contains(&entity) {
                *self.accepted.entry(entity).or_default() += 1;
                // Its own writes do not come back, as a rule.
                self.seen.entry(entity).and_modify(|at| at.0 = x);
            }
        }
    }

    fn write(&mut self) -> Result<(), BenchError> {
        let entities: Vec<u64> = self.mine().collect();
        if self.sent.is_some() || entities.is_empty() {
            return Ok(());
        }
        let at = |entity: &u64| self.seen[entity];
        let positions = PositionColumn {
            space: SPACE.0,
            x: entities.iter().map(|entity| at(entity).0 + 1.0).collect(),
            y: entities.iter().map(|entity| at(entity).1).collect(),
            entities,
            ..PositionColumn::default()
        };
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
