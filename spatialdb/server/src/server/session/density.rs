//! Densities on the wire.

use spatialdb_core::DensityColumn;
use spatialdb_proto::v1;

pub(super) fn column(column: DensityColumn) -> v1::DensityColumn {
    v1::DensityColumn {
        view_id: column.view.0,
        square_m: column.square_m,
        r#type: column.kind.to_string(),
        x: column.x,
        y: column.y,
        counts: column.counts,
    }
}

/// The same in columns of so many squares at most.
pub(super) fn pieces_of(column: &v1::DensityColumn, squares_max: usize) -> Vec<v1::DensityColumn> {
    let squares_max = squares_max.max(1);
    let rows = column.x.chunks(squares_max).zip(column.y.chunks(squares_max));
    rows.zip(column.counts.chunks(squares_max))
        .map(|((x, y), counts)| v1::DensityColumn {
            view_id: column.view_id,
            square_m: column.square_m,
            r#type: column.r#type.clone(),
            x: x.to_vec(),
            y: y.to_vec(),
            counts: counts.to_vec(),
        })
        .collect()
}
