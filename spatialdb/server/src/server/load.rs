//! Bringing a world up: from its snapshot, or from its data directory ([`restore`]).
//!
//! Responsible for: choosing the schema, the cells and the partition map, and loading all entities, or nothing.
//! Not responsible for: the file format (`spatialdb-snapshots`), settings (`config`).

mod bulk;
mod restore;
mod sample;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use spatialdb_core::authority::layers::Layers;
use spatialdb_core::log::Classes;
use spatialdb_core::{Partition, PartitionMap, World};
use spatialdb_schema::{Schema, incompatibilities};
use spatialdb_snapshots::{Reader, SnapshotError};
use spatialdb_types::{EntityId, Limits, SpaceId};

use super::durable::{self, About, Durable, Given};
use super::edge::WorldInfo;
use super::flags::TypeFlags;
use super::partition::Pace;
use super::routes::Routes;
use super::{LaunchError, LaunchOptions};
use crate::config::{AuthorityConfig, WorldConfig};
use crate::progress::Progress;
use crate::random;

/// A world that is ready to run.
pub(super) struct Loaded {
    pub(super) info: WorldInfo,
    pub(super) schema: Schema,
    pub(super) flags: BTreeMap<String, TypeFlags>,
    pub(super) limits: Limits,
    pub(super) routes: Routes,
    pub(super) world: World,
    pub(super) partitions: Vec<Partition>,
    pub(super) pace: Pace,
    pub(super) layers: Arc<Layers>,
    pub(super) authority: AuthorityConfig,
    /// If it is kept in a data directory.
    pub(super) durable: Option<Durable>,
}

/// What is known of a world before its entities are read.
pub(crate) struct Outline {
    pub(crate) schema: Schema,
    /// By id.
    pub(crate) spaces: Vec<(SpaceId, String)>,
}

/// The outline of the world that would start from this snapshot.
///
/// # Errors
/// What is wrong with the snapshot's header or the schema.
pub(crate) fn outline(snapshot: Option<&Path>, config: &WorldConfig) -> Result<Outline, LaunchError> {
    let source = snapshot.map(|path| Source::open(path.to_owned())).transpose()?;
    let carried = source.as_ref().map(Source::schema).transpose()?;
    let schema = choose_schema(carried, &config.schema_dirs, &config.limits)?;
    Ok(Outline { schema, spaces: spaces_of(source.as_ref()) })
}

/// Loads the world that the options name.
pub(super) fn load(options: LaunchOptions) -> Result<Loaded, LaunchError> {
    if options.data.as_ref().is_some_and(|data| data.found().is_some()) {
        return restore::restore(options);
    }
    let LaunchOptions { snapshot, config, data, config_file, seed_progress, .. } = options;
    let source = match snapshot {
        Some(path) => Some(Source::open(path)?),
        None => None,
    };
    let carried = source.as_ref().map(Source::schema).transpose()?;
    let schema = choose_schema(carried, &config.schema_dirs, &config.limits)?;
    let spaces = spaces_of(source.as_ref());
    let layers = Arc::new(config.layers.resolve(&schema, &spaces, &config.limits)?);
    let sample = match &source {
        Some(source) => source.within(sample::sample)?,
        None => Vec::new(),
    };
    let entity_count = source.as_ref().map_or(0, |source| source.reader.totals().entity_count);
    let cell_m = config.cell_m.unwrap_or_else(|| sample::cell_m(&sample, entity_count));
    let partitions = config.partitions_for(entity_count);
    tracing::debug!(partitions, entity_count, "partitions cut");
    let sample = if sample.is_empty() { sample::around_origin(cell_m) } else { sample };
    let map = Arc::new(PartitionMap::new(partitions as u16, cell_m, &sample));
    let classes = data.is_some().then(|| config.durability.classes(&schema)).transpose()?.map(Arc::new);
    let mut machines = machines(&map, &config.limits, &layers, classes.as_ref());
    let routes = Routes::new();
    let mut next = EntityId(1);
    if let Some(source) = &source {
        let progress = Progress::new("loading", entity_count, seed_progress);
        source.within(|reader| bulk::load(reader, &schema, &map, &mut machines, &routes, &progress))?;
        let (entity_count, elapsed) = progress.so_far();
        drop(progress);
        tracing::info!(entity_count, elapsed_ms = elapsed.as_millis() as u64, "snapshot loaded");
        next = EntityId(source.reader.totals().next_entity_id);
    }
    let pace = Pace::of(&config);
    let info = describe(source.as_ref(), config.name, spaces);
    let durable = match data {
        None => None,
        Some(data) => {
            let config_file = config_file.map(|file| std::path::absolute(&file).unwrap_or(file));
            let about = About {
                name: info.name.clone(),
                world_id: info.id.clone(),
                created_unix_us: durable::unix_us(),
                config: config_file.map(|file| file.display().to_string()).unwrap_or_default(),
                ..About::default()
            };
            let about = about.with(&schema, &info.spaces);
            let progress = Progress::new("writing", entity_count, seed_progress);
            let about = durable::create(&data, about, &mut machines, &progress)?;
            let (_, elapsed) = progress.so_far();
            drop(progress);
            let directory = data.path().display().to_string();
            tracing::info!(directory, elapsed_ms = elapsed.as_millis() as u64, "world written");
            let given = Given { entity_ids: next.0, ..Given::default() };
            Some(Durable::begin(data, &config.durability, map.ids(), given, None, 0, about)?)
        }
    };
    let world = World::new(map, next, &config.limits);
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
        durable,
    })
}

/// Empty partitions.
fn machines(
    map: &Arc<PartitionMap>,
    limits: &Limits,
    layers: &Arc<Layers>,
    classes: Option<&Arc<Classes>>,
) -> Vec<Partition> {
    let machine = |id| {
        let machine = Partition::new(id, map.clone(), limits.clone()).with_layers(layers);
        match classes {
            Some(classes) => machine.with_log(classes),
            None => machine,
        }
    };
    map.ids().map(machine).collect()
}

/// An open snapshot and its path, for errors.
struct Source {
    path: PathBuf,
    reader: Reader,
}

impl Source {
    fn open(path: PathBuf) -> Result<Self, LaunchError> {
        match Reader::open(&path) {
            Ok(reader) => Ok(Self { path, reader }),
            Err(source) => Err(LaunchError::Snapshot { path, source }),
        }
    }

    /// What the file carries, and the file.
    fn schema(&self) -> Result<(Schema, &Path), LaunchError> {
        Ok((self.within(Reader::schema)?, &self.path))
    }

    fn within<T>(&self, read: impl FnOnce(&Reader) -> Result<T, SnapshotError>) -> Result<T, LaunchError> {
        read(&self.reader).map_err(|source| LaunchError::Snapshot { path: self.path.clone(), source })
    }
}

/// The folders' schema if there are any and it fits that of what is loaded, else that.
fn choose_schema(
    carried: Option<(Schema, &Path)>,
    dirs: &[PathBuf],
    limits: &Limits,
) -> Result<Schema, LaunchError> {
    let schema = match (carried, dirs) {
        (Some((carried, _)), []) => carried,
        (None, []) => Schema::built_in(),
        (carried, dirs) => {
            let compiled = Schema::compile(dirs)?;
            if let Some((carried, path)) = carried {
                fits(&carried, &compiled, path)?;
            }
            compiled
        }
    };
    let (count, max) = (schema.components().len() as u64, limits.schema_components_max);
    if count > max {
        let message = format!("the schema has {count} components; schema_components_max = {max}");
        return Err(LaunchError::Limit(message));
    }
    let (count, max) = (schema.events().len() as u64, limits.schema_events_max);
    if count > max {
        let message = format!("the schema has {count} events; schema_events_max = {max}");
        return Err(LaunchError::Limit(message));
    }
    Ok(schema)
}

fn fits(carried: &Schema, compiled: &Schema, path: &Path) -> Result<(), LaunchError> {
    let list = incompatibilities(carried, compiled);
    if list.is_empty() { Ok(()) } else { Err(LaunchError::Incompatible { path: path.to_owned(), list }) }
}

/// Those that the snapshot names, or one.
fn spaces_of(source: Option<&Source>) -> Vec<(SpaceId, String)> {
    let header = source.map(|source| source.reader.header());
    let mut spaces: Vec<(SpaceId, String)> =
        header.map_or_else(Vec::new, |h| h.spaces.iter().map(|s| (SpaceId(s.id), s.name.clone())).collect());
    if spaces.is_empty() {
        spaces.push((SpaceId(0), "default".to_owned()));
    }
    spaces.sort();
    spaces
}

fn describe(source: Option<&Source>, name: Option<String>, spaces: Vec<(SpaceId, String)>) -> WorldInfo {
    let name = name.or_else(|| source.map(|source| source.reader.header().world.clone()));
    let name = name.unwrap_or_else(|| "world".to_owned());
    WorldInfo { id: random::key(), name, incarnation: durable::unix_us() as u64 / 1000, spaces }
}
