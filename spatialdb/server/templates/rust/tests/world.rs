//! Launches this world on a free port with the worker beside it, and sees that the sheep walk.

use std::{
    collections::BTreeMap,
    error::Error,
    process::{Child, Command},
    time::Duration,
};

use spatialdb_sdk::{
    Constraint, EntityId, Point3, View, ViewId, Worker, WorkerOptions, testing::EphemeralWorld, v1::Metadata,
};
use tokio::time::timeout;

/// The worker; killed when the test ends, however it does.
struct Shepherd(Child);

impl Drop for Shepherd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn the_sheep_walk() -> Result<(), Box<dyn Error>> {
    // Without [[workers]]: the one that cargo has built for this test is started here.
    let world = EphemeralWorld::launch(["--without-workers"])?;
    let mut shepherd = Command::new(env!("CARGO_BIN_EXE_shepherd"));
    let _shepherd = Shepherd(shepherd.env("SPATIALDB_ADDRESS", world.address()).spawn()?);

    let mut viewer = Worker::connect(WorkerOptions::new(world.address(), "test")).await?;
    let view = View::new(ViewId(1), Constraint::has::<Metadata>()).positions().component::<Metadata>();
    viewer.subscribe(view).await?;
    let mut before: BTreeMap<EntityId, Point3> = BTreeMap::new();
    let all_have_moved = async {
        loop {
            viewer.next_event().await?;
            let replica = viewer.replica();
            for found in replica.with::<Metadata>() {
                let (entity, metadata) = found?;
                let place = replica.position(entity).filter(|_| metadata.r#type == "sheep");
                if let Some(place) = place {
                    before.entry(entity).or_insert(place.point);
                }
            }
            let has_moved = |entity: EntityId, point: Point3| {
                replica.position(entity).is_some_and(|place| place.point != point)
            };
            if before.iter().filter(|(entity, point)| has_moved(**entity, **point)).count() == 30 {
                return Ok::<_, Box<dyn Error>>(());
            }
        }
    };
    timeout(Duration::from_secs(30), all_have_moved).await?
}
