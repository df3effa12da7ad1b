//! `spatialdb snapshot inspect`: what a file says of itself.

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use serde_json::{Value, json};
use spatialdb_schema::Schema;
use spatialdb_snapshots::{BlockInfo, Reader, SpaceBounds, Totals};

use super::{Failure, Format, Outcome, open};

pub(super) fn run(path: &Path, format: Format) -> Outcome {
    let reader = open(path)?;
    let schema = reader.schema().map_err(|error| Failure::of_file(path, &error))?;
    let mut out = io::stdout().lock();
    if format == Format::Json {
        writeln!(out, "{}", inspect_json(&reader, &schema))?;
        return Ok(ExitCode::SUCCESS);
    }
    let (header, totals) = (reader.header(), reader.totals());
    let (packed, raw) = block_bytes(&reader);
    writeln!(out, "world            {}", header.world)?;
    writeln!(out, "format version   {}", spatialdb_snapshots::FORMAT_VERSION)?;
    writeln!(out, "digest           {}", reader.digest())?;
    writeln!(out, "schema digest    {}", header.schema_digest)?;
    writeln!(out, "entities         {}", totals.entity_count)?;
    writeln!(out, "next entity id   {}", totals.next_entity_id)?;
    writeln!(out, "file             {} bytes", reader.file_bytes())?;
    let ratio = ratio(raw, packed);
    writeln!(out, "blocks           {}, {packed} bytes of {raw} ({ratio:.1} to 1)", reader.blocks().len())?;
    for space in &header.spaces {
        let at = bounds(reader.blocks(), space.id).map_or("empty".to_owned(), |bounds| {
            let (min, max) = (bounds.min, bounds.max);
            format!("x {} .. {}  y {} .. {}  z {} .. {} m", min.x, max.x, min.y, max.y, min.z, max.z)
        });
        writeln!(out, "space            {} {}: {at}", space.id, space.name)?;
    }
    for total in &totals.components {
        let name = schema.component(total.component).map_or("(not in the schema)", |found| found.name());
        writeln!(out, "component        {} {name}: {}, {} bytes", total.component, total.count, total.bytes)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn inspect_json(reader: &Reader, schema: &Schema) -> Value {
    let (header, totals) = (reader.header(), reader.totals());
    let (packed, raw) = block_bytes(reader);
    let spaces = header.spaces.iter().map(|space| {
        let at = bounds(reader.blocks(), space.id).map(|bounds| {
            let (min, max) = (bounds.min, bounds.max);
            json!({"min": [min.x, min.y, min.z], "max": [max.x, max.y, max.z]})
        });
        json!({"id": space.id, "name": space.name, "bounds_m": at})
    });
    let spaces: Vec<Value> = spaces.collect();
    json!({
        "world": header.world,
        "format_version": spatialdb_snapshots::FORMAT_VERSION,
        "digest": reader.digest(),
        "schema_digest": header.schema_digest,
        "entities": totals.entity_count,
        "next_entity_id": totals.next_entity_id.to_string(),
        "file_bytes": reader.file_bytes(),
        "blocks": reader.blocks().len(),
        "blocks_compressed_bytes": packed,
        "blocks_raw_bytes": raw,
        "compression_ratio": ratio(raw, packed),
        "spaces": spaces,
        "components": component_counts(totals, schema),
    })
}

pub(super) fn component_counts(totals: &Totals, schema: &Schema) -> Vec<Value> {
    let one = |total: &spatialdb_snapshots::ComponentTotal| {
        let name = schema.component(total.component).map(|found| found.name());
        json!({"id": total.component.0, "name": name, "count": total.count, "bytes": total.bytes})
    };
    totals.components.iter().map(one).collect()
}

pub(super) fn block_bytes(reader: &Reader) -> (u64, u64) {
    reader.blocks().iter().fold((0, 0), |(packed, raw), info| {
        (packed + u64::from(info.packed_bytes), raw + u64::from(info.raw_bytes))
    })
}

fn ratio(raw: u64, packed: u64) -> f64 {
    if packed == 0 { 1.0 } else { raw as f64 / packed as f64 }
}

fn bounds(blocks: &[BlockInfo], space: u32) -> Option<SpaceBounds> {
    let in_space = blocks.iter().flat_map(|info| &info.spaces).filter(|bounds| bounds.space == space);
    in_space.copied().reduce(SpaceBounds::joined)
}
