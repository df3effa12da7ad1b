//! Worlds from other formats: CSV, GeoJSON, and the snapshots of SpatialOS.
//!
//! Responsible for: reading those files as streams, and the mapping file that says what of them goes where
//! (`docs/formats/mapping.md`).
//! Not responsible for: which format a file is in; writing any of them.

mod cell;
mod csv;
mod geojson;
mod map;
mod map_error;
mod plan;
mod shape;
mod spatialos;
mod stream;

pub use csv::import_csv;
pub use geojson::import_geojson;
pub use map::MapFile;
pub use map_error::MapError;
pub use spatialos::{import_spatialos, import_spatialos_json};
