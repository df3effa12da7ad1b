//! Lets the sheep walk, ten times a second, and keeps them in the meadow.
//!
//! spatialdb starts it with the world and tells it by the environment where the world is; it may as well be started
//! by hand.

use std::{error::Error, time::Duration};

use spatialdb_sdk::{
    Batch, Constraint, Event, Position, Simulation, View, ViewId, Worker, WorkerOptions,
};

mod meadow {
    include!(concat!(env!("OUT_DIR"), "/meadow.rs"));
    // The id and the full name are those of schema/meadow.proto.
    spatialdb_sdk::component!(Sheep, 1000, "meadow.Sheep");
}
use meadow::Sheep;

// The number of the field in schema/meadow.proto.
const HEADING_DEG: u32 = 1;
const PERIOD: Duration = Duration::from_millis(100);
const EDGE_M: f64 = 100.0;
const TURN_DEG: f64 = 15.0;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = WorkerOptions::from_env_or("shepherd")?.expect::<Sheep>();
    let mut worker = Box::pin(Worker::connect(options)).await?;
    // With its own updates the replica is what the world has, and each step goes on from it.
    let view =
        View::new(ViewId(1), Constraint::has::<Sheep>()).positions().component::<Sheep>().own_updates();
    worker.subscribe(view).await?;
    worker.run(&mut Shepherd { wander: Wander(0x9e37_79b9_7f4a_7c15) }, PERIOD).await
}

/// Keeps nothing of the sheep: another shepherd may go on with them at any moment.
struct Shepherd {
    wander: Wander,
}

impl Simulation for Shepherd {
    type Error = Box<dyn Error>;

    /// One step of every sheep that this worker may write: all, as long as world.toml has no layers.
    async fn tick(&mut self, worker: &mut Worker, batch: &mut Batch) -> Result<(), Self::Error> {
        for found in worker.owned_with::<Sheep>() {
            let (entity, mut sheep) = found?;
            let Some(place) = worker.replica().position(entity) else { continue };
            let (mut x, mut y) = (place.point.x, place.point.y);
            sheep.heading_deg = (sheep.heading_deg + self.wander.turn()).rem_euclid(360.0);
            if x.abs().max(y.abs()) > EDGE_M {
                // Back towards the middle.
                sheep.heading_deg = (-x).atan2(-y).to_degrees().rem_euclid(360.0);
            }
            let way_m = sheep.speed_mps * PERIOD.as_secs_f64();
            x += way_m * sheep.heading_deg.to_radians().sin();
            y += way_m * sheep.heading_deg.to_radians().cos();
            batch.set_position(entity, Position::new(place.space, x, y, place.point.z));
            // Only the heading is replaced; the other fields stay as they are in the world.
            batch.update_fields(entity, &[HEADING_DEG], &sheep);
        }
        Ok(())
    }

    async fn hear(&mut self, worker: &mut Worker, event: Event) -> Result<(), Self::Error> {
        match event {
            Event::Rejected(rejected) => println!("refused: {rejected:?}"),
            Event::Frame(frame) if !frame.changes.entered.is_empty() => {
                println!("sheep in the meadow: {}", worker.replica().with::<Sheep>().count());
            }
            _ => {}
        }
        Ok(())
    }
}

/// Turns at random: a xorshift is enough for sheep.
struct Wander(u64);

impl Wander {
    fn turn(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 as f64 / u64::MAX as f64 * 2.0 - 1.0) * TURN_DEG
    }
}
