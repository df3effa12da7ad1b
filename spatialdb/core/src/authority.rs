//! Authority: who may write what.
//!
//! Responsible for: the shapes of regions, who owns them, and checking writes against that. Not responsible for: the
//! values written, the wire, threads, or starting workers. `docs/decisions/2026-11-22-authority.md` says how it works.

pub mod issuer;
pub mod layers;
pub mod leases;
pub mod load;
pub mod tiling;
