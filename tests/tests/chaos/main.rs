//! A minute in which every second a worker is killed, stands still, or is cut off, while all of them write.
//!
//! Each write lifts an entity by a metre from where its owner saw it, and owners note in files what they wrote. So an entity
//! must be as high as it was lifted: a write that was lost, or one of somebody who was no longer its owner, shows.
//!
//! Responsible for: who is disturbed when, and judging in the end. Not responsible for: what is seen meanwhile (`heights`,
//! `owners`), what disturbs (`worker`, `line`).
//!
//! `CHAOS_SEED=0x1234` lets other things happen to other workers; a failure prints its seed.

mod course;
mod heights;
mod line;
mod owners;
mod worker;

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::Path,
    time::{Duration, Instant},
};

use prost::Message;
use spatialdb_proto::v1;
use spatialdb_tests::{Client, Launch, POSITION, World, eventually, has, position_rows};
use tokio::time::sleep;

use course::{Course, Event};
use heights::Viewer;
use owners::Watcher;
use worker::{Disturbance, Worker};

const WORKERS: usize = 4;
const DISTURBANCES: u32 = 60;
const EVERY: Duration = Duration::from_secs(1);

/// A disturbance ends so soon after it should.
const TICK: Duration = Duration::from_millis(50);

const SEED: u64 = 0x2545_F491_4F6C_DD1D;

/// Besides the posts of the probe.
const ENTITIES: usize = 600;

/// Who is killed or silent has nothing so much later: `lease_ttl`, and some time for busy machines.
const LOST_MAX: Duration = Duration::from_millis(1750);

/// And no region waits longer for its next owner.
const UNOWNED_MAX: Duration = Duration::from_secs(1);

/// Of a worker that is silent for `lease_ttl` another one takes over, which may be disturbed next.
const STILL_MAX: Duration = Duration::from_secs(8);

/// At least so many moves are done.
const WRITES_MIN: u64 = 100_000;

const CONFIG: &str = "[limits]\nrejections_per_frame_max = 10000\n[authority]\nlease_ttl = \"1s\"\n\
    [[layers]]\nname = \"all\"\nworker_type = \"owner\"\nwith = [\"Position\"]\nwrites = [\"Position\"]\nload_max = 100\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_write_is_lost_or_doubled_while_workers_die_and_come_back() {
    let random = Random::of_env();
    // What is printed shows if the test fails.
    eprintln!("CHAOS_SEED={:#x}", random.0);
    let world = World::launch(Launch::probe().config(CONFIG));
    let entities = populate(&world).await;
    let tallies = world.folder().join("tallies");
    fs::create_dir(&tallies).expect("a folder");
    let largest = *entities.last().expect("some") as usize;
    let onlookers = Onlookers { viewer: Viewer::start(&world).await, watcher: Watcher::start(&world).await };
    let mut workers = Vec::new();
    for number in 1..=WORKERS {
        workers.push(Worker::start(&world, format!("owner-{number}"), largest, &tallies).await);
    }
    let names: Vec<String> = workers.iter().map(|worker| worker.name.clone()).collect();
    let names: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    let all_move = |since| onlookers.see_all_move(&entities, &names, since).then_some(());
    eventually("all move", async || all_move(Instant::now() - EVERY)).await;
    let mut course = go_through(&world, &mut workers, random, &tallies, &onlookers).await;
    let over = Instant::now();
    eventually("all move again, and who was lost has nothing", async || all_move(over)).await;
    eprintln!("all move again after {:?}", over.elapsed());
    course.count(&world);
    workers.into_iter().for_each(Worker::end);
    let ((mut seen, still_max), owners) = (onlookers.viewer.stop().await, onlookers.watcher.stop().await);
    world.agrees(&mut seen, has(POSITION)).await;
    eprintln!("{:?}", course.events);
    eprintln!("{} grants, {:?}", owners.grants(), owners.losses);
    let (lost_max, unowned_max) = (owners.lost_max, owners.unowned_max);
    eprintln!("still: {still_max:?}, of the lost: {lost_max:?}, unowned: {unowned_max:?}");
    let writes = judge(&world, &entities, &tallies).await;

    assert!(writes > WRITES_MIN, "{writes}");
    for kind in [Disturbance::Zombie, Disturbance::Cut] {
        assert!(course.refused_after(Event::Ends(kind)) > 0, "nobody wrote too late after {kind:?}");
    }
    assert!(still_max.0 < STILL_MAX, "{still_max:?}");
    assert!(lost_max < LOST_MAX && unowned_max.0 < UNOWNED_MAX, "{lost_max:?}, {unowned_max:?}");
}

/// Who looks on.
struct Onlookers {
    viewer: Viewer,
    watcher: Watcher,
}

impl Onlookers {
    /// Whether one of them has seen what must not be: it says what when it is stopped.
    fn have_failed(&self) -> bool {
        self.viewer.has_failed() || self.watcher.has_failed()
    }

    /// Whether each entity was moved since, and each worker owns something; or one of them has failed.
    fn see_all_move(&self, entities: &[u64], workers: &BTreeSet<&str>, since: Instant) -> bool {
        let all_move = || self.viewer.heights().have_risen(entities.len(), since);
        self.have_failed() || (all_move() && self.watcher.owners().are(workers))
    }
}

/// Disturbs one worker after the other, until it is enough.
async fn go_through(
    world: &World,
    workers: &mut [Worker],
    mut random: Random,
    tallies: &Path,
    onlookers: &Onlookers,
) -> Course {
    let mut course = Course::new(world);
    for number in 1..=DISTURBANCES {
        while course.elapsed() < EVERY * number {
            sleep(TICK).await;
            recover(world, workers, &mut course);
        }
        if onlookers.have_failed() {
            break;
        }
        let kind = Disturbance::ALL[random.below(Disturbance::ALL.len())];
        let mut free: Vec<&mut Worker> = workers.iter_mut().filter(|worker| !worker.is_disturbed()).collect();
        let at = random.below(free.len());
        course.next(world, Event::Begins(kind), &free[at].name);
        if kind != Disturbance::Pause {
            onlookers.watcher.owners().lose(&free[at].name);
        }
        free[at].disturb(kind, tallies);
    }
    while workers.iter().any(Worker::is_disturbed) {
        sleep(TICK).await;
        recover(world, workers, &mut course);
    }
    course
}

/// Ends what is to end by now.
fn recover(world: &World, workers: &mut [Worker], course: &mut Course) {
    for worker in workers {
        if let Some(kind) = worker.due() {
            course.next(world, Event::Ends(kind), &worker.name);
            worker.recover();
        }
        worker.check();
    }
}

/// Gives all that has a position, by rising id.
async fn populate(world: &World) -> Vec<u64> {
    let mut maker = Client::attach(world, "maker", "").await;
    let at = |n: usize| ((n % 30) as f64 * 40.0 - 600.0, (n / 30) as f64 * 40.0 - 400.0);
    let places: Vec<(f64, f64)> = (0..ENTITIES).map(at).collect();
    let count = ENTITIES as u32;
    let create = v1::Create { count, positions: vec![position_rows(&places)], ..v1::Create::default() };
    maker.create(create).await;
    world.query(has(POSITION)).await.into_keys().collect()
}

/// Compares how high entities are with how often their owners lifted them. Gives the writes that were decided.
async fn judge(world: &World, entities: &[u64], tallies: &Path) -> u64 {
    let (mut done, mut possible) = (BTreeMap::<u64, u64>::new(), BTreeMap::<u64, u64>::new());
    for entry in fs::read_dir(tallies).expect("tallies") {
        let bytes = fs::read(entry.expect("a file").path()).expect("read");
        let numbers: Vec<u64> = bytes.as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
        for (entity, [is_done, is_possible]) in (1..).zip(numbers.as_chunks().0) {
            *done.entry(entity).or_default() += is_done;
            *possible.entry(entity).or_default() += is_possible;
        }
    }
    let mut wrong = Vec::new();
    for (entity, components) in world.query(has(POSITION)).await {
        let at = v1::Position::decode(components[&POSITION].bytes.clone()).expect("a position");
        let moves = at.z.round() as u64;
        if moves < done[&entity] || moves > possible[&entity] {
            wrong.push((entity, done[&entity], moves, possible[&entity]));
        }
    }
    assert!(wrong.is_empty(), "entity, moves decided, height, moves possible: {wrong:?}");
    let sum = |of: &BTreeMap<u64, u64>| entities.iter().map(|entity| of[entity]).sum::<u64>();
    eprintln!("{} writes, {} more were possible", sum(&done), sum(&possible) - sum(&done));
    sum(&done)
}

/// Numbers that are the same each time.
struct Random(u64);

impl Random {
    fn of_env() -> Self {
        let Ok(seed) = env::var("CHAOS_SEED") else { return Self(SEED) };
        let seed = u64::from_str_radix(seed.trim_start_matches("0x"), 16);
        Self(seed.expect("CHAOS_SEED is hexadecimal").max(1))
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % bound
    }
}
