//! The components of a world, ready for use.
//!
//! Responsible for: building a schema from directories or a descriptor set, and finding components.
//! Not responsible for: how either step works.

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use prost_reflect::DescriptorPool;
use rustc_hash::FxHashMap;
use sha2::{Digest, Sha256};
use spatialdb_types::{ComponentId, Error, EventId};

use crate::{
    canonical::{self, Files},
    compat, compile,
    component::Component,
    error::SchemaError,
    event::EventType,
    named, options,
    places::Places,
    shape::Builder,
    sources,
};

/// The components of a world. Cheap to clone.
#[derive(Clone)]
pub struct Schema(Arc<Inner>);

struct Inner {
    components: Vec<Component>,
    by_id: FxHashMap<ComponentId, u32>,
    events: Vec<EventType>,
    descriptor_set: Vec<u8>,
    digest: String,
}

impl Schema {
    /// The schema of a world without components of its own.
    pub fn built_in() -> Self {
        static BUILT_IN: OnceLock<Schema> = OnceLock::new();
        // The files are part of this binary, and a test compiles them.
        BUILT_IN.get_or_init(|| Self::compile(&[]).expect("the built-in files compile")).clone()
    }

    /// Compiles every `.proto` file below the directories, in sorted order; no directory gives the built-in schema.
    ///
    /// Files of `spatialdb/v1` and `google/protobuf` are built in and may be imported.
    ///
    /// # Errors
    /// The first thing that is wrong, with file, line and advice.
    pub fn compile(directories: &[PathBuf]) -> Result<Self, SchemaError> {
        let (pool, places) = compile::compile(sources::find(directories)?)?;
        // Once with lines, for errors, and once in the form that others will see.
        read(&pool, &places)?;
        Self::from_files(&canonical::files_of_pool(&pool)?)
    }

    /// Reads a serialised `FileDescriptorSet`, from a snapshot or a peer. Its bytes need not be trusted.
    ///
    /// # Errors
    /// The set is damaged, breaks a rule for components, or its built-in components are not those of this version.
    pub fn from_descriptor_set(bytes: &[u8]) -> Result<Self, SchemaError> {
        let mut files = canonical::files_of_set(bytes)?;
        let built_in = canonical::files_of_set(Self::built_in().descriptor_set())?;
        for (name, file) in &built_in {
            files.entry(name.clone()).or_insert_with(|| file.clone());
        }
        let carried = Self::from_files(&files)?;
        compat::refuse_other_built_ins(&Self::built_in(), &carried)?;
        if built_in.iter().all(|(name, file)| files[name] == *file) {
            return Ok(carried);
        }
        // It was made by another version, whose built-in files ours can stand for.
        files.extend(built_in);
        Self::from_files(&files)
    }

    /// The serialised `FileDescriptorSet`: every file with all imports, in a fixed order, without comments.
    pub fn descriptor_set(&self) -> &[u8] {
        &self.0.descriptor_set
    }

    /// SHA-256 of the descriptor set, hexadecimal. Comments and the directories' paths do not matter to it.
    pub fn digest(&self) -> &str {
        &self.0.digest
    }

    /// Every component, built-ins included, by id.
    pub fn components(&self) -> &[Component] {
        &self.0.components
    }

    /// The component of that id.
    #[inline]
    pub fn component(&self, id: ComponentId) -> Option<&Component> {
        self.0.by_id.get(&id).map(|index| &self.0.components[*index as usize])
    }

    /// Every event, by component and id.
    pub fn events(&self) -> &[EventType] {
        &self.0.events
    }

    /// The event of that id of the component.
    pub fn event(&self, component: ComponentId, id: EventId) -> Option<&EventType> {
        let events = &self.0.events;
        let at =
            events.binary_search_by_key(&(component, id), |event| (event.component(), event.id())).ok()?;
        Some(&events[at])
    }

    /// The component of that full name, short name if only one has it, or decimal id.
    ///
    /// # Errors
    /// `COMPONENT_UNKNOWN`, naming components that were perhaps meant.
    pub fn component_named(&self, name: &str) -> Result<&Component, Error> {
        named::find(self.components(), name)
    }

    fn from_files(files: &Files) -> Result<Self, SchemaError> {
        let (pool, descriptor_set) = canonical::build(files)?;
        let (components, events) = read(&pool, &Places::default())?;
        let by_id = components.iter().zip(0..).map(|(component, index)| (component.id(), index)).collect();
        let digest = hex(&Sha256::digest(&descriptor_set));
        Ok(Self(Arc::new(Inner { components, by_id, events, descriptor_set, digest })))
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schema")
            .field("digest", &self.0.digest)
            .field("components", &self.0.components)
            .field("events", &self.0.events)
            .finish_non_exhaustive()
    }
}

fn read(pool: &DescriptorPool, places: &Places) -> Result<(Vec<Component>, Vec<EventType>), SchemaError> {
    canonical::refuse_bad_map_entries(pool)?;
    let declared = options::components(pool, places)?;
    let declared_events = options::events(pool, &declared, places)?;
    let mut builder = Builder::new(places);
    let roots = declared.values().map(|declared| builder.add("component", &declared.message));
    let roots = roots.collect::<Result<Vec<_>, _>>()?;
    let event_roots = declared_events.values().map(|message| builder.add("event", message));
    let event_roots = event_roots.collect::<Result<Vec<_>, _>>()?;
    let shapes = Arc::new(builder.finish());
    let component = |((id, declared), root): ((ComponentId, options::Declared), u32)| Component {
        id,
        durability: declared.durability,
        root,
        shapes: Arc::clone(&shapes),
        descriptor: declared.message,
    };
    let event = |(((component, id), descriptor), root)| EventType {
        component,
        id,
        root,
        shapes: Arc::clone(&shapes),
        descriptor,
    };
    let events = declared_events.into_iter().zip(event_roots).map(event).collect();
    Ok((declared.into_iter().zip(roots).map(component).collect(), events))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
