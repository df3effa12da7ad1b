//! Snapshots of the running world.
//!
//! Data flows one way: [`captures`] has all partitions begin at one moment, and collects what they write of it; [`file`] puts that in
//! order and on disk; [`service`] sends it to whoever asked, and [`periodic`] keeps it in a folder.
//!
//! Responsible for: the moment, the file, who gets it. Not responsible for: what a partition writes while the world goes on
//! (`spatialdb_core::Partition::begin_capture`), or the format (`spatialdb-snapshots`).

mod captures;
mod file;
mod periodic;
mod service;
mod wire;

pub(super) use self::captures::Captures;
pub(crate) use self::file::write_past;
pub(super) use self::periodic::keep;
pub(super) use self::service::Snapshots;
pub(crate) use self::wire::entity_log;
