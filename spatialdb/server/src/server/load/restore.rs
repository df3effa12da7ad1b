//! Bringing a world up from its data directory.

use std::sync::Arc;

use spatialdb_core::{PartitionMap, World};
use spatialdb_schema::Schema;
use spatialdb_types::{EntityId, Position, SessionId};

use super::{LaunchError, LaunchOptions, Loaded, choose_schema, machines, sample};
use crate::progress::Progress;
use crate::server::durable::{self, About, DataError, Durable};
use crate::server::edge::WorldInfo;
use crate::server::partition::Pace;
use crate::server::routes::Routes;

/// Positions to cut the world by, about.
const SAMPLED: usize = 100_000;

/// Finds the world again that the options name.
pub(super) fn restore(options: LaunchOptions) -> Result<Loaded, LaunchError> {
    let LaunchOptions { config, data, config_file, seed_progress, .. } = options;
    let missing = || LaunchError::Limit("there is no world in the data directory".to_owned());
    let data = data.ok_or_else(missing)?;
    let found = data.found().cloned().ok_or_else(missing)?;
    let stored = Schema::from_descriptor_set(&found.about.descriptor_set)?;
    let schema = choose_schema(Some((stored, data.path())), &config.schema_dirs, &config.limits)?;
    let spaces = found.about.spaces();
    let layers = Arc::new(config.layers.resolve(&schema, &spaces, &config.limits)?);
    let classes = Arc::new(config.durability.classes(&schema)?);

    let bytes = data.storage().usage().map_err(DataError::from)?.bytes;
    let progress = Progress::new("restoring", bytes, seed_progress);
    let recovered = durable::recover(&data, &found, &progress)?;
    let (entity_count, records) = (recovered.entities.len() as u64, recovered.records);
    let step = (recovered.entities.len() / SAMPLED).max(1);
    let positions = recovered.entities.iter().step_by(step).filter_map(|entity| entity.position());
    let positions: Vec<Position> = positions.collect();
    let cell_m = config.cell_m.unwrap_or_else(|| sample::cell_m(&positions, entity_count));
    let positions = if positions.is_empty() { sample::around_origin(cell_m) } else { positions };
    let map = Arc::new(PartitionMap::new(config.partitions_for(entity_count) as u16, cell_m, &positions));
    let mut machines = machines(&map, &config.limits, &layers, Some(&classes));
    let routes = Routes::new();
    let (regions, found_bytes) = (recovered.regions.clone(), recovered.log_bytes);
    let given = recovered.into_machines(&map, &mut machines, &routes)?;
    let (_, elapsed) = progress.so_far();
    drop(progress);
    let directory = data.path().display().to_string();
    let elapsed_ms = elapsed.as_millis() as u64;
    tracing::info!(directory, entity_count, records, elapsed_ms, "world restored");

    let name = config.name.clone().unwrap_or_else(|| found.about.name.clone());
    let config_file = config_file.map(|file| std::path::absolute(&file).unwrap_or(file));
    let about = About {
        name: name.clone(),
        config: config_file.map_or_else(|| found.about.config.clone(), |file| file.display().to_string()),
        ..found.about
    };
    let about = about.with(&schema, &spaces);
    let id = about.world_id.clone();
    let durable = Durable::begin(data, &config.durability, map.ids(), given, regions, found_bytes, about)?;
    let mut world = World::new(map, EntityId(given.entity_ids), &config.limits);
    world.names.begin_after(SessionId(given.sessions));
    let pace = Pace::of(&config);
    let info = WorldInfo { id, name, incarnation: durable::unix_us() as u64 / 1000, spaces };
    Ok(Loaded {
        info,
        schema,
        flags: config.flags,
        limits: config.limits,
        routes,
        world,
        partitions: machines,
        pace,
        layers,
        authority: config.authority,
        durable: Some(durable),
    })
}
