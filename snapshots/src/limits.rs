//! Every bound of the format, by name. A reader allocates nothing larger, whatever a file says.

/// The encoded header, schema included.
pub const HEADER_BYTES_MAX: u32 = 20 << 20;
/// The schema (a `FileDescriptorSet`), uncompressed.
pub const SCHEMA_BYTES_MAX: u32 = 16 << 20;
/// A world's or a space's name, in bytes of UTF-8.
pub const NAME_BYTES_MAX: u16 = 255;
/// Spaces of a world.
pub const SPACES_MAX: u32 = 4096;
/// One block, uncompressed.
pub const BLOCK_RAW_BYTES_MAX: u32 = 16 << 20;
/// One entity with all its values. A writer ends a block at 1 MiB, so one such entity still fits on top.
pub const ENTITY_BYTES_MAX: u32 = 15 << 20;
/// Entities of one block.
pub const BLOCK_ENTITIES_MAX: u32 = 65_536;
/// Component types of one file, and columns of one block.
pub const COMPONENTS_MAX: u32 = 4096;
/// One component value.
pub const VALUE_BYTES_MAX: u32 = 256 << 10;
/// The index at the end of a file.
pub const FOOTER_BYTES_MAX: u32 = 1 << 30;
/// Distance of a position from the origin of its space, on each axis, in metres.
pub const POSITION_ABS_M_MAX: f64 = (1_u64 << 40) as f64;
/// One line of JSON.
pub const JSON_LINE_BYTES_MAX: u64 = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use spatialdb_types::Limits;

    #[test]
    fn what_the_server_takes_fits_in_a_file() {
        let limits = Limits::default();
        assert_eq!(limits.value_bytes_max, u64::from(VALUE_BYTES_MAX));
        assert_eq!(limits.position_abs_m_max as f64, POSITION_ABS_M_MAX);
        assert_eq!(limits.schema_components_max, u64::from(COMPONENTS_MAX));
    }
}
