//! Runs: a seed from the first step to the last verdict, and many seeds on several threads.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use spatialdb_core::CreateRows;
use spatialdb_types::SessionId;

use crate::bug::Bug;
use crate::driver::{Sim, Slow};
use crate::edge;
use crate::judge::Failure;
use crate::model::Writers;
use crate::writer::Writer;

/// Rounds of delivery and publishing after which a world must be at rest.
const ROUNDS_TO_REST_MAX: u64 = 20_000;
/// Virtual time after which every rate is due.
const LONG_US: u64 = 10_000_000;

/// A seed that failed.
#[derive(Clone, Debug)]
pub struct Failed {
    /// Which seed.
    pub seed: u64,
    /// What was found.
    pub failure: Failure,
}

/// Runs one seed.
///
/// # Errors
/// What the first judge to object found; a panic of a machine counts as a judge.
pub fn run_seed(seed: u64, bug: Option<Bug>, trace: bool) -> Result<(), Failure> {
    let run = || Sim::new(seed, bug, trace).run();
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let detail = text.or_else(|| panic.downcast_ref::<&str>().map(|&s| s.to_owned())).unwrap_or_default();
        Err(Failure { judge: "panic", detail })
    })
}

/// Runs seeds on that many threads until one fails. Returns the smallest seed that was found to fail.
pub fn run_seeds(seeds: std::ops::Range<u64>, threads: usize, bug: Option<Bug>) -> Option<Failed> {
    let next = AtomicU64::new(seeds.start);
    let stop = AtomicBool::new(false);
    let found: Mutex<Option<Failed>> = Mutex::new(None);
    let work = || {
        while !stop.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            if let Err(failure) = run_seed(seed, bug, false) {
                stop.store(true, Ordering::Relaxed);
                let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                if found.as_ref().is_none_or(|f| f.seed > seed) {
                    *found = Some(Failed { seed, failure });
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    found.into_inner().unwrap_or_else(PoisonError::into_inner)
}

impl Sim {
    fn run(mut self) -> Result<(), Failure> {
        self.start_authority();
        self.populate();
        self.write_all()?;
        for _ in 0..self.plan.rounds {
            for _ in 0..self.plan.steps {
                self.step()?;
            }
            self.rest()?;
            self.finish_capture()?;
            self.judge()?;
            self.probe()?;
            self.probe_authority()?;
            self.adopt();
        }
        Ok(())
    }

    /// Clients come, and entities are loaded.
    fn populate(&mut self) {
        let sessions = self.rng.between(1, self.plan.sessions);
        let owner = spatialdb_core::world::Owner { worker_type: "sim".to_owned(), name: "loader".to_owned() };
        let ids = self.world.ids.create(&owner, "", self.plan.loaded).expect("ids are left").entities;
        let mut loads: Vec<CreateRows> = self.partitions.iter().map(|_| CreateRows::default()).collect();
        for (i, id) in ids.into_iter().enumerate() {
            let session = SessionId(self.rng.between(1, sessions) as u32);
            let writers = match self.rng.below(10) {
                0..=3 => Writers::Shared,
                4..=7 => Writers::One(session),
                _ => Writers::Twin(session),
            };
            let Self { plan, model, rng, stamps, eventful, .. } = self;
            let new =
                Writer { plan, model, rng, stamps, eventful, session: SessionId(0) }.new_entity(id, writers);
            let home = self.plan.map.home(id, new.position);
            edge::push_new(&mut loads[usize::from(home.0)], i as u32, &new);
            self.edge.set(id, home);
            self.learn(&new, writers);
        }
        for (partition, rows) in self.partitions.iter_mut().zip(&loads) {
            partition.load(rows).expect("every id is loaded once");
        }
        (0..sessions).for_each(|_| self.attach());
    }

    /// One thing happens.
    fn step(&mut self) -> Result<(), Failure> {
        if self.authority.is_some() {
            self.authority_step()?;
        }
        self.log_step()?;
        self.capture_step()?;
        let w = &self.plan.weights;
        let busy = |kind: usize| if self.busy()[kind].is_empty() { 0 } else { w.links[kind] };
        let weights = [
            busy(0),
            busy(1),
            busy(2),
            busy(3),
            w.write,
            w.publish,
            w.time,
            w.frame,
            w.restart,
            w.view,
            w.session,
            w.query,
            busy(4),
            busy(5),
        ];
        let live = self.live_actors();
        let partition = self.rng.index(self.partitions.len());
        let actor = if live.is_empty() { None } else { Some(*self.rng.pick(&live)) };
        if self.rng.one_in(80) {
            self.slow = match self.rng.below(4) {
                0..=2 if self.plan.is_eventful => Some(Slow::Deltas(partition)),
                0..=1 => None,
                2 => Some(Slow::All(partition)),
                _ => Some(Slow::Deltas(partition)),
            };
        }
        let Some(step) = self.rng.weighted(&weights) else { return Ok(()) };
        match (step, actor) {
            (0..=3 | 12..=13, _) => {
                let step = if step > 3 { step - 8 } else { step };
                let at = self.rng.index(self.busy()[step].len());
                let link = self.busy()[step][at];
                let is_slow = self.slow.is_some_and(|slow| link.is_slow(slow));
                if !is_slow || self.rng.one_in(20) {
                    self.deliver(link)?;
                }
            }
            (4, Some(a)) => self.write(a),
            (5, _) => {
                self.publish(partition);
            }
            (6, _) => self.now += self.rng.between(1, 100_000),
            (7, Some(a)) if self.rng.one_in(self.actors[a].slowness) => {
                self.take_frame(a)?;
            }
            (8, _) => self.restart(partition),
            (9, Some(a)) => self.change_views(a),
            (10, Some(a)) if self.rng.percent(50) => self.detach(a),
            (10, _) if (live.len() as u64) < self.plan.sessions => self.attach(),
            (11, _) => self.ask()?,
            _ => {}
        }
        Ok(())
    }

    /// Nobody writes any longer; everything is delivered, published and taken until nothing more comes.
    pub(crate) fn rest(&mut self) -> Result<(), Failure> {
        self.say(|| "coming to rest".to_owned());
        for _ in 0..ROUNDS_TO_REST_MAX {
            if self.settle()? {
                continue;
            }
            // As a real driver does, sleep until something is due.
            let due = self.partitions.iter().filter_map(spatialdb_core::Partition::next_due);
            match due.chain(self.authority_due()).min() {
                Some(due) => self.now = self.now.max(due),
                None => return self.is_still(),
            }
        }
        Err(Failure { judge: "rest", detail: format!("no rest within {ROUNDS_TO_REST_MAX} rounds") })
    }

    /// One round of everything. Returns whether anything happened.
    fn settle(&mut self) -> Result<bool, Failure> {
        let mut any = self.finish_asking()?;
        any |= self.settle_log()?;
        loop {
            let lengths = self.busy().each_ref().map(|links| links.len() as u64);
            let Some(kind) = self.rng.weighted(&lengths) else { break };
            any = true;
            let at = self.rng.index(self.busy()[kind].len());
            self.deliver(self.busy()[kind][at])?;
        }
        any |= self.settle_authority()?;
        for a in self.live_actors() {
            any |= self.try_send(a);
            while self.actors[a].session.has_frame() {
                any |= self.take_frame(a)?;
            }
        }
        for p in 0..self.partitions.len() {
            let due = self.partitions[p].next_due().is_some_and(|due| due <= self.now);
            if due || self.partitions[p].has_unpublished() {
                self.publish(p);
                any = true;
            }
        }
        self.finish_asking()?;
        Ok(any)
    }

    /// Nobody was left asleep with something to say.
    fn is_still(&mut self) -> Result<(), Failure> {
        self.now += LONG_US;
        for p in 0..self.partitions.len() {
            if self.publish(p) {
                let detail = format!("partition {p} asked for no publish and had something to say");
                return Err(Failure { judge: "asleep", detail });
            }
        }
        Ok(())
    }

    /// At rest, a new view is told exactly how many entities it matches.
    fn probe(&mut self) -> Result<(), Failure> {
        let live = self.live_actors();
        if live.is_empty() {
            return Ok(());
        }
        let a = *self.rng.pick(&live);
        if self.actors[a].views.len() >= 60 {
            return Ok(());
        }
        let Some(id) = self.subscribe(a) else { return Ok(()) };
        if self.rng.percent(50) {
            // Replaced before it is filled everywhere: what was counted for the old one is not for the new one.
            for _ in 0..self.rng.between(0, 40) {
                self.stir(a)?;
            }
            self.change_view(a, id);
        }
        self.rest()?;
        let (view, asks) = (&self.actors[a].views[&id], self.actors[a].replica.views[&id]);
        let matches = self.matches(a, view)?;
        if asks.answered == 0 || asks.count != matches {
            let detail = format!("session {}: {asks:?}, {view:?} matches {matches}", self.actors[a].id);
            return Err(Failure { judge: "view count", detail });
        }
        self.judge_session(a)
    }

    /// Something goes on, but nobody writes.
    fn stir(&mut self, a: usize) -> Result<(), Failure> {
        let lengths = self.busy().each_ref().map(|links| links.len() as u64);
        match self.rng.weighted(&lengths) {
            Some(kind) if self.rng.percent(70) => {
                let at = self.rng.index(self.busy()[kind].len());
                self.deliver(self.busy()[kind][at])?;
            }
            _ if self.rng.percent(50) => {
                let partition = self.rng.index(self.partitions.len());
                self.publish(partition);
            }
            _ => {
                self.take_frame(a)?;
            }
        }
        Ok(())
    }

    /// Entities whose only writer is gone get another one.
    fn adopt(&mut self) {
        let live: Vec<SessionId> = self.live_actors().into_iter().map(|a| self.actors[a].id).collect();
        if live.is_empty() {
            return;
        }
        for known in self.model.entities.values_mut() {
            match &mut known.writers {
                Writers::One(session) | Writers::Twin(session) if !live.contains(session) => {
                    *session = *self.rng.pick(&live);
                }
                _ => {}
            }
        }
    }
}
