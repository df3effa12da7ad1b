//! Messages of the wire, made short to write.

use bytes::Bytes;
use spatialdb_proto::v1::{self, client_message::Body, constraint::Kind};

/// A column of values.
pub fn column(component: u32, rows: impl IntoIterator<Item = (u64, Bytes)>) -> v1::Column {
    let (entities, values) = rows.into_iter().unzip();
    v1::Column { component, entities, values, ..v1::Column::default() }
}

/// A column that replaces some fields.
pub fn partial(component: u32, fields: &[u32], rows: impl IntoIterator<Item = (u64, Bytes)>) -> v1::Column {
    v1::Column { fields: fields.to_vec(), ..column(component, rows) }
}

/// A column of positions in space 0: (entity, x, y), z is 0.
pub fn positions(rows: &[(u64, f64, f64)]) -> v1::PositionColumn {
    v1::PositionColumn {
        entities: rows.iter().map(|row| row.0).collect(),
        x: rows.iter().map(|row| row.1).collect(),
        y: rows.iter().map(|row| row.2).collect(),
        ..v1::PositionColumn::default()
    }
}

/// Positions for new entities in space 0, row by row.
pub fn position_rows(rows: &[(f64, f64)]) -> v1::PositionColumn {
    v1::PositionColumn {
        x: rows.iter().map(|row| row.0).collect(),
        y: rows.iter().map(|row| row.1).collect(),
        ..v1::PositionColumn::default()
    }
}

/// A column for new entities, row by row.
pub fn new_rows(component: u32, values: impl IntoIterator<Item = Bytes>) -> v1::Column {
    v1::Column { component, values: values.into_iter().collect(), ..v1::Column::default() }
}

/// An update.
pub fn update(positions: Vec<v1::PositionColumn>, columns: Vec<v1::Column>) -> Body {
    Body::Update(v1::Update { positions, columns, ..v1::Update::default() })
}

/// A column of events.
pub fn events(component: u32, event: u32, rows: impl IntoIterator<Item = (u64, Bytes)>) -> v1::EventColumn {
    let (entities, payloads) = rows.into_iter().unzip();
    v1::EventColumn { component, event, entities, payloads }
}

/// An update of events only.
pub fn happen(events: Vec<v1::EventColumn>) -> Body {
    Body::Update(v1::Update { events, ..v1::Update::default() })
}

/// A view of all components at every publish.
pub fn view(view_id: u64, constraint: v1::Constraint) -> v1::View {
    v1::View { view_id, constraint: Some(constraint), ..v1::View::default() }
}

/// Every entity.
pub fn all() -> v1::Constraint {
    constraint(Kind::All(v1::All {}))
}

/// Everything but the entities that stand for sessions.
pub fn all_made() -> v1::Constraint {
    not(has(crate::WORKER_SESSION))
}

/// Inside a box of space 0, of any height.
pub fn box_xy(x1: f64, y1: f64, x2: f64, y2: f64) -> v1::Constraint {
    let corner = |x, y| Some(v1::Point { x, y, z: None });
    constraint(Kind::Box(v1::Box { space: 0, min: corner(x1, y1), max: corner(x2, y2) }))
}

/// Inside a ball of space 0 around a point at z = 0.
pub fn sphere(x: f64, y: f64, radius_m: f64) -> v1::Constraint {
    let center = Some(v1::Point { x, y, z: None });
    constraint(Kind::Sphere(v1::Sphere { space: 0, center, radius_m }))
}

/// One of these.
pub fn entity_ids(entities: &[u64]) -> v1::Constraint {
    constraint(Kind::EntityIds(v1::EntityIds { entities: entities.to_vec() }))
}

/// Has the component.
pub fn has(component: u32) -> v1::Constraint {
    constraint(Kind::HasComponent(component))
}

/// A field of a component, by its name, compares so with a whole number.
pub fn field(component: u32, field: &str, comparison: v1::Comparison, value: i64) -> v1::Constraint {
    let value = v1::FieldValue { kind: Some(v1::field_value::Kind::Integer(value)) };
    constraint(Kind::Field(v1::FieldTest {
        component,
        field: field.to_owned(),
        comparison: comparison as i32,
        values: vec![value],
        ..v1::FieldTest::default()
    }))
}

/// At most so far from an entity.
pub fn near(entity: u64, radius_m: f64) -> v1::Constraint {
    constraint(Kind::Near(v1::Near { entity, radius_m }))
}

/// What the text says.
pub fn text(text: &str) -> v1::Constraint {
    constraint(Kind::Text(text.to_owned()))
}

/// All hold.
pub fn all_of(constraints: Vec<v1::Constraint>) -> v1::Constraint {
    constraint(Kind::And(v1::ConstraintList { constraints }))
}

/// One holds.
pub fn any_of(constraints: Vec<v1::Constraint>) -> v1::Constraint {
    constraint(Kind::Or(v1::ConstraintList { constraints }))
}

/// Does not hold.
pub fn not(inner: v1::Constraint) -> v1::Constraint {
    constraint(Kind::Not(Box::new(inner)))
}

fn constraint(kind: Kind) -> v1::Constraint {
    v1::Constraint { kind: Some(kind) }
}
