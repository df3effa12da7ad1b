//! Which format a file is in.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use clap::ValueEnum;

// As far as a file is looked at.
const SNIFF_BYTES: u64 = 64 << 10;

/// A format that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum InputFormat {
    /// A snapshot of spatialdb
    Snapshot,
    /// Lines of JSON, an entity each
    Jsonl,
    /// A table, with --map
    Csv,
    /// Features, with --map
    Geojson,
    /// A snapshot of SpatialOS, perhaps with --map
    Spatialos,
    /// The same as JSON
    SpatialosJson,
}

impl InputFormat {
    /// By the end of the name, and where two formats share it by the first bytes. `None` if nothing tells.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn of(path: &Path) -> io::Result<Option<Self>> {
        let end = path.extension().and_then(|end| end.to_str()).unwrap_or_default().to_ascii_lowercase();
        Ok(match end.as_str() {
            "jsonl" => Some(Self::Jsonl),
            "csv" | "tsv" => Some(Self::Csv),
            "geojson" | "geojsonl" => Some(Self::Geojson),
            // SpatialOS uses the name too; its files are gzip.
            "snapshot" if first_bytes(path)?.starts_with(&[0x1f, 0x8b]) => Some(Self::Spatialos),
            "snapshot" => Some(Self::Snapshot),
            "json" => {
                let text = first_bytes(path)?;
                let has = |part: &[u8]| text.windows(part.len()).any(|window| window == part);
                Some(if has(b"\"__entity_id\"") { Self::SpatialosJson } else { Self::Geojson })
            }
            _ => None,
        })
    }
}

fn first_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(SNIFF_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}
