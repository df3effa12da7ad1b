//! The snapshot file format of spatialdb.
//!
//! Responsible for: writing and reading one world as one file (`docs/formats/snapshot.md`), checking a file whole,
//! comparing two, the way to JSON lines and back, and from CSV, GeoJSON and SpatialOS.
//! Not responsible for: taking a snapshot of a running world, loading one into partitions, the command line.
//!
//! [`Reader::open`] reads the header and the index only; [`Reader::read_block`] takes `&self` and reads at a
//! position, so that several threads decode blocks side by side. [`Writer`] streams blocks in the order of its
//! caller; [`SortedWriter`] buffers a world and writes it in spatial order.

pub mod block;
mod codec;
pub mod diff;
mod error;
mod footer;
pub mod foreign;
mod gather;
mod header;
pub mod json;
pub mod limits;
mod reader;
mod sorted;
mod source;
mod trailer;
pub mod verify;
mod writer;

pub use block::{Block, BlockColumn, BlockPositions, EntityRow};
pub use error::{Part, SnapshotError};
pub use footer::{BlockInfo, ComponentTotal, SpaceBounds, Totals};
pub use gather::{ImportOptions, ImportStep, Imported, LeftOut};
pub use header::{Header, SpaceEntry};
pub use reader::Reader;
pub use sorted::{Entity, SortedWriter};
pub use writer::{Summary, Writer, WriterOptions};

/// The version of the format that this crate writes, and the only one it reads.
pub const FORMAT_VERSION: u32 = 1;
