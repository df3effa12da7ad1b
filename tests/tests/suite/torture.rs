//! A world in a data directory that is killed at random moments, again and again, while it is written in every way.
//!
//! Each time a checker holds: what is DURABLE and was acknowledged is there, also what was made and deleted; of what is CHECKPOINTED no more
//! is lost than the interval and what the disk takes; an entity is as it was at one moment, and there once. `make torture` does it
//! hundreds of times.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use prost::Message;
use spatialdb_proto::{v1, v1::client_message::Body};
use spatialdb_tests::{
    Client, Launch, METADATA, POSITION, VITALS, Vitals, World, all_made, column, metadata, new_rows,
    position_rows, positions, update,
};
use tempfile::TempDir;

const KILLS_DEFAULT: u64 = 8;

/// Messages on the way.
const WINDOW: usize = 24;

const LIVES: usize = 8;

const SETTINGS: &str = "[durability]\ncheckpoint_interval = \"200ms\"\ncheckpoint_every = \"1s\"\n\
                        [durability.classes]\n\"probe.Vitals\" = \"durable\"\n";

/// The interval, and what the disk and a busy machine take.
const LOST_MAX: Duration = Duration::from_millis(200 + 1500);

/// What was said of an entity.
#[derive(Clone, Debug, Default)]
struct Life {
    /// The number that was sent last, and the one that was acknowledged last.
    sent: i32,
    acknowledged: i32,
    /// A deletion was sent, or acknowledged.
    deleting: bool,
    deleted: bool,
}

/// What is on its way.
enum Said {
    Number(u64, i32),
    Deletion(u64),
    /// Of what is CHECKPOINTED.
    Step(i32),
}

/// Numbers that look random, and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

fn kills() -> u64 {
    std::env::var("SPATIALDB_TORTURE_KILLS")
        .ok()
        .and_then(|kills| kills.parse().ok())
        .unwrap_or(KILLS_DEFAULT)
}

fn probe(data: &TempDir) -> Launch {
    Launch::probe().config(SETTINGS).arg("--data-dir").arg(data.path().to_str().expect("a path"))
}

/// Where an entity is when its number is that: it crosses a border of partitions each time.
fn place_of(number: i32) -> (f64, f64) {
    (if number % 2 == 0 { 300.0 } else { -300.0 }, f64::from(number % 1000))
}

async fn make(client: &mut Client) -> u64 {
    let columns = vec![new_rows(VITALS, [Vitals::hp(0).bytes()])];
    let create = v1::Create {
        count: 1,
        positions: vec![position_rows(&[place_of(0)])],
        columns,
        ..v1::Create::default()
    };
    client.create(create).await[0]
}

fn number(entity: u64, number: i32) -> Body {
    let (x, y) = place_of(number);
    update(vec![positions(&[(entity, x, y)])], vec![column(VITALS, [(entity, Vitals::hp(number).bytes())])])
}

/// Of an entity of the snapshot, which has no DURABLE component.
fn step(entity: u64, step: i32) -> Body {
    let name = metadata("step", &step.to_string());
    update(vec![positions(&[(entity, f64::from(step), 0.0)])], vec![column(METADATA, [(entity, name)])])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn nothing_that_was_promised_is_lost_kill_after_kill() {
    const STEPPING: u64 = 1;
    let data = tempfile::tempdir().expect("a folder");
    let mut dice = Dice(2026);
    let mut lives: BTreeMap<u64, Life> = BTreeMap::new();
    let mut steps_before = 0;
    let mut world = World::launch(probe(&data));
    for round in 0..kills() {
        let mut client = world.attach("probe").await;
        while lives.values().filter(|life| !life.deleting).count() < LIVES {
            lives.insert(make(&mut client).await, Life::default());
        }
        let mut on_the_way: VecDeque<(u64, Said)> = VecDeque::new();
        // When each step was acknowledged.
        let mut steps: Vec<(i32, Instant)> = Vec::new();
        let mut last_step = steps_before;
        let ends =
            Instant::now() + Duration::from_millis(50 + dice.below(if round % 4 == 0 { 2500 } else { 500 }));
        let mut killed = None;
        loop {
            while on_the_way.len() < WINDOW && killed.is_none() {
                let alive: Vec<u64> =
                    lives.iter().filter(|(_, life)| !life.deleting).map(|(id, _)| *id).collect();
                let entity = alive[dice.below(alive.len() as u64) as usize];
                let life = lives.get_mut(&entity).expect("it is known");
                let (body, said) = match dice.below(40) {
                    0 if alive.len() > 2 => {
                        life.deleting = true;
                        (
                            Body::Delete(v1::Delete { entities: vec![entity], ..v1::Delete::default() }),
                            Said::Deletion(entity),
                        )
                    }
                    1..=6 => {
                        last_step += 1;
                        (step(STEPPING, last_step), Said::Step(last_step))
                    }
                    _ => {
                        life.sent += 1;
                        (number(entity, life.sent), Said::Number(entity, life.sent))
                    }
                };
                on_the_way.push_back((client.send(body).await, said));
            }
            if killed.is_none() && Instant::now() >= ends {
                world.kill_soon();
                killed = Some(Instant::now());
            }
            let has_ended = client.message_if_any().await.is_none();
            while on_the_way.front().is_some_and(|(seq, _)| *seq <= client.applied_seq()) {
                match on_the_way.pop_front() {
                    Some((_, Said::Number(entity, number))) => {
                        lives.entry(entity).or_default().acknowledged = number;
                    }
                    Some((_, Said::Deletion(entity))) => lives.entry(entity).or_default().deleted = true,
                    Some((_, Said::Step(step))) => steps.push((step, Instant::now())),
                    None => {}
                }
            }
            if has_ended {
                break;
            }
        }
        assert!(client.rejections.is_empty(), "round {round}: {:?}", client.rejections);
        let killed = killed.expect("it was killed");
        world.kill();
        world = World::launch(probe(&data).again());
        let found = world.query(all_made()).await;
        check(round, &lives, &found);
        let name = |bytes: &Bytes| v1::Metadata::decode(&**bytes).expect("a Metadata").name;
        let stepped = found[&STEPPING].get(&METADATA).map(|value| name(&value.bytes));
        let stepped: i32 = stepped.and_then(|name| name.parse().ok()).unwrap_or_default();
        let kept =
            steps.iter().filter(|(_, at)| killed.duration_since(*at) > LOST_MAX).map(|(step, _)| *step);
        let kept = kept.max().unwrap_or(steps_before);
        assert!(
            (kept..=last_step).contains(&stepped),
            "round {round}: step {kept} is old enough, {stepped} is there"
        );
        let at = v1::Position::decode(&*found[&STEPPING][&POSITION].bytes).expect("a Position");
        assert!(stepped == 0 || at.x == f64::from(stepped), "round {round}: step {stepped} at {at:?}");
        steps_before = stepped;
        // What was on its way may be there or not; from here on it counts as sent and seen.
        lives.retain(|entity, life| {
            let Some(there) = found.get(entity) else { return false };
            let hp = Vitals::decode(&*there[&VITALS].bytes).expect("a Vitals").hp;
            *life = Life { sent: hp, acknowledged: hp, ..Life::default() };
            true
        });
    }
    assert_eq!(world.stop(), Some(0));
}

fn check(
    round: u64,
    lives: &BTreeMap<u64, Life>,
    found: &BTreeMap<u64, BTreeMap<u32, spatialdb_tests::Value>>,
) {
    for (entity, life) in lives {
        let Some(there) = found.get(entity) else {
            assert!(life.deleting, "round {round}: entity {entity} is lost: {life:?}");
            continue;
        };
        assert!(!life.deleted, "round {round}: entity {entity} was deleted, and is there");
        let hp = Vitals::decode(&*there[&VITALS].bytes).expect("a Vitals").hp;
        assert!(
            (life.acknowledged..=life.sent).contains(&hp),
            "round {round}: {entity}: {life:?}, {hp} is there"
        );
        let at = v1::Position::decode(&*there[&POSITION].bytes).expect("a Position");
        assert_eq!((at.x, at.y), place_of(hp), "round {round}: what one message says is there, or is not");
    }
    let of_lives = found.iter().filter(|(_, components)| components.contains_key(&VITALS));
    let strangers: Vec<_> =
        of_lives.filter(|(id, _)| **id > 64 && !lives.contains_key(id)).map(|(id, _)| id).collect();
    assert!(strangers.is_empty(), "round {round}: nobody made {strangers:?}");
}
