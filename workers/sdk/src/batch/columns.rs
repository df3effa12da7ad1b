//! Rows grouped into wire columns.
//!
//! Responsible for: choosing the column of a row so that, for each (entity, component), the rows are applied in
//! the order they were written. The server applies positions first, then columns in order.
//! Not responsible for: what kind of message the columns go into.

use bytes::Bytes;
use rustc_hash::FxHashSet;
use spatialdb_types::{ComponentId, Position};

use crate::v1;

/// The longest varint of an id below 2^53.
pub(super) const ID_BYTES_MAX: usize = 8;
// Around each value: tag, length, id. Around each position: three doubles and an id.
const VALUE_OVERHEAD_BYTES: usize = 5 + ID_BYTES_MAX;
const POSITION_BYTES: usize = 24 + ID_BYTES_MAX;

/// What rows must share to be in one column.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Position { space: u32 },
    Value { component: ComponentId, fields: Vec<u32> },
    Event { component: ComponentId, event: u32 },
}

impl Kind {
    /// Rows of an entity keep their order among columns of which this is the same: those of a component, and all events.
    fn order(&self) -> Option<ComponentId> {
        match self {
            Self::Position { .. } => Some(ComponentId::POSITION),
            Self::Value { component, .. } => Some(*component),
            Self::Event { .. } => None,
        }
    }
}

#[derive(Clone, Debug)]
struct Open {
    kind: Kind,
    entities: Vec<u64>,
    /// The entities once more, made when first asked for: only components with several columns need it.
    members: Option<FxHashSet<u64>>,
    points: [Vec<f64>; 3],
    values: Vec<Bytes>,
}

/// The columns of one message.
#[derive(Clone, Debug, Default)]
pub(crate) struct Columns {
    open: Vec<Open>,
    rows: usize,
    bytes: usize,
}

impl Columns {
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// An upper bound of the encoded size.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes + 64 * self.open.len()
    }

    pub(crate) fn position(&mut self, entity: u64, position: Position) {
        let column = self.column_for(entity, Kind::Position { space: position.space.0 });
        let point = position.point;
        for (values, value) in column.points.iter_mut().zip([point.x, point.y, point.z]) {
            values.push(value);
        }
        self.rows += 1;
        self.bytes += POSITION_BYTES;
    }

    pub(crate) fn value(&mut self, entity: u64, component: ComponentId, fields: &[u32], value: Bytes) {
        let mut fields = fields.to_vec();
        fields.sort_unstable();
        fields.dedup();
        self.rows += 1;
        self.bytes += VALUE_OVERHEAD_BYTES + value.len();
        self.column_for(entity, Kind::Value { component, fields }).values.push(value);
    }

    pub(crate) fn event(&mut self, entity: u64, component: ComponentId, event: u32, payload: Bytes) {
        self.rows += 1;
        self.bytes += VALUE_OVERHEAD_BYTES + payload.len();
        self.column_for(entity, Kind::Event { component, event }).values.push(payload);
    }

    /// The column to write the row to, with the entity already in it.
    fn column_for(&mut self, entity: u64, kind: Kind) -> &mut Open {
        let same_kind = self.open.iter().rposition(|open| open.kind == kind);
        let index = match same_kind {
            Some(index) if !self.written_after(index, entity) => index,
            _ => {
                if let Kind::Value { fields, .. } = &kind {
                    self.bytes += 6 * fields.len();
                }
                let [x, y, z] = Default::default();
                self.open.push(Open {
                    kind,
                    entities: Vec::new(),
                    members: None,
                    points: [x, y, z],
                    values: Vec::new(),
                });
                self.open.len() - 1
            }
        };
        let column = &mut self.open[index];
        column.entities.push(entity);
        if let Some(members) = &mut column.members {
            members.insert(entity);
        }
        column
    }

    /// Whether a later column of the same order names the entity: a row put into column `index` would be
    /// applied before that one.
    fn written_after(&mut self, index: usize, entity: u64) -> bool {
        let order = self.open[index].kind.order();
        self.open[index + 1..].iter_mut().filter(|open| open.kind.order() == order).any(|open| {
            let entities = &open.entities;
            open.members.get_or_insert_with(|| entities.iter().copied().collect()).contains(&entity)
        })
    }

    /// Columns of positions, of values, of events.
    pub(crate) fn into_wire(self) -> (Vec<v1::PositionColumn>, Vec<v1::Column>, Vec<v1::EventColumn>) {
        let (mut positions, mut columns, mut events) = (Vec::new(), Vec::new(), Vec::new());
        for open in self.open {
            let (entities, revisions) = (open.entities, Vec::new());
            match open.kind {
                Kind::Position { space } => {
                    let [x, y, z] = open.points;
                    let z = if z.iter().all(|z| *z == 0.0) { Vec::new() } else { z };
                    positions.push(v1::PositionColumn { space, entities, revisions, x, y, z });
                }
                Kind::Value { component, fields } => columns.push(v1::Column {
                    component: component.0,
                    entities,
                    revisions,
                    values: open.values,
                    fields,
                }),
                Kind::Event { component, event } => events.push(v1::EventColumn {
                    component: component.0,
                    event,
                    entities,
                    payloads: open.values,
                }),
            }
        }
        (positions, columns, events)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use prost::Message;
    use spatialdb_types::SpaceId;

    use super::*;

    /// (entity, component, fields, value); component 1 is Position and its fields stand for the space.
    type Write = (u64, u32, u32, u8);

    fn write_all(writes: &[Write]) -> Columns {
        let mut columns = Columns::default();
        for (entity, component, fields, value) in writes {
            if *component == 1 {
                columns.position(*entity, Position::new(SpaceId(*fields), f64::from(*value), 0.0, 0.0));
            } else {
                let listed: &[u32] = [&[][..], &[1], &[1, 2]][*fields as usize];
                columns.value(*entity, ComponentId(*component), listed, vec![*value].into());
            }
        }
        columns
    }

    proptest! {
        #[test]
        fn each_entity_and_component_keeps_its_order(
            writes in proptest::collection::vec((1..4_u64, 1..4_u32, 0..3_u32, any::<u8>()), 0..60),
        ) {
            let mut expected: BTreeMap<(u64, u32), Vec<(u32, u8)>> = BTreeMap::new();
            for (entity, component, fields, value) in &writes {
                expected.entry((*entity, *component)).or_default().push((*fields, *value));
            }
            let columns = write_all(&writes);
            let bound = columns.bytes();
            prop_assert_eq!(columns.rows(), writes.len());
            let (positions, columns, _) = columns.into_wire();
            let size = v1::Update { positions: positions.clone(), columns: columns.clone(), ..v1::Update::default() }
                .encoded_len();
            prop_assert!(size <= bound, "{size} > {bound}");
            let mut got: BTreeMap<(u64, u32), Vec<(u32, u8)>> = BTreeMap::new();
            for column in positions {
                for (entity, x) in column.entities.iter().zip(&column.x) {
                    got.entry((*entity, 1)).or_default().push((column.space, *x as u8));
                }
            }
            for column in columns {
                for (entity, value) in column.entities.iter().zip(&column.values) {
                    let row = (column.fields.len() as u32, value[0]);
                    got.entry((*entity, column.component)).or_default().push(row);
                }
            }
            prop_assert_eq!(got, expected);
        }
    }

    #[test]
    fn alternating_kinds_on_different_entities_stay_two_columns() {
        let writes: Vec<Write> = (1..100).flat_map(|e| [(e, 2, 0, 1), (e, 2, 1, 2)]).collect();
        assert_eq!(write_all(&writes).into_wire().1.len(), 2);
    }
}
