//! The worker as a program, in a world of its own.

use std::{
    collections::BTreeMap,
    error::Error,
    path::Path,
    process::{Child, Command},
    time::Duration,
};

use spatialdb_sdk::{
    Constraint, EntityId, Event, Point3, View, ViewId, Worker, WorkerOptions, testing::EphemeralWorld,
    v1::Metadata,
};
use tokio::time::timeout;

const FLIGHT: &str = env!("CARGO_BIN_EXE_spatialdb-flight");
const SNAPSHOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../snapshots/earth.snapshot");
const PATIENCE: Duration = Duration::from_secs(30);

/// Killed when the test ends, however it does.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn aircraft_take_off_and_move() -> Result<(), Box<dyn Error>> {
    // Built with this program, and lies beside it.
    let server = Path::new(FLIGHT).with_file_name("spatialdb");
    assert!(server.exists(), "{} is missing: cargo build --release -p spatialdb", server.display());
    let mut command = Command::new(server);
    command.args(["launch", SNAPSHOT]);
    let world = EphemeralWorld::start(command)?;
    let _flight = Program(
        Command::new(FLIGHT).args(["--aircraft", "7"]).env("SPATIALDB_ADDRESS", world.address()).spawn()?,
    );

    let mut viewer = Worker::connect(WorkerOptions::new(world.address(), "test")).await?;
    let view = View::new(ViewId(1), Constraint::has::<Metadata>()).positions().component::<Metadata>();
    viewer.subscribe(view).await?;
    let mut first: BTreeMap<EntityId, Point3> = BTreeMap::new();
    let all_moved = async {
        loop {
            if !matches!(viewer.next_event().await?, Event::Frame(_)) {
                continue;
            }
            for found in viewer.replica().with::<Metadata>() {
                let (entity, metadata) = found?;
                if let Some(place) =
                    viewer.replica().position(entity).filter(|_| metadata.r#type == "aircraft")
                {
                    first.entry(entity).or_insert(place.point);
                }
            }
            let moved = first.iter().filter(|(entity, before)| {
                viewer.replica().position(**entity).is_some_and(|now| now.point != **before)
            });
            if moved.count() == 7 {
                return Ok::<_, Box<dyn Error>>(());
            }
        }
    };
    timeout(PATIENCE, all_moved).await??;
    assert_eq!(first.len(), 7);
    Ok(())
}
