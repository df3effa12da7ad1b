//! What differs between two snapshots, by entity, component and field of JSON.

use serde_json::Value;
use spatialdb_schema::Schema;
use spatialdb_types::ComponentId;

use crate::{
    block::{Block, EntityRow},
    error::{Part, SnapshotError},
    json::position_value,
    reader::Reader,
    verify::unknown_component,
};

/// One difference.
#[derive(Clone, Debug, PartialEq)]
pub enum Difference {
    /// The entity is in the first snapshot only.
    OnlyInFirst(u64),
    /// The entity is in the second snapshot only.
    OnlyInSecond(u64),
    /// A field of a component differs. A whole component that one side lacks has an empty path and no value there.
    Changed {
        /// Which entity.
        entity: u64,
        /// Full name of the component.
        component: String,
        /// Names and indexes joined by dots, e.g. `goods.2.price`.
        path: String,
        /// The value in the first.
        first: Option<Value>,
        /// The value in the second.
        second: Option<Value>,
    },
}

/// How many differences there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiffCounts {
    /// Entities in the first only.
    pub only_in_first: u64,
    /// Entities in the second only.
    pub only_in_second: u64,
    /// Entities in both with some difference.
    pub changed: u64,
    /// Entities in both without any.
    pub equal: u64,
}

impl DiffCounts {
    /// Whether no entity differs.
    pub fn is_same(&self) -> bool {
        self.only_in_first + self.only_in_second + self.changed == 0
    }
}

/// Compares two snapshots entity by entity, by rising id, and tells `found` each difference. Holds both in memory.
///
/// # Errors
/// As reading either file; `Payload` if a value that differs does not fit its schema.
pub fn diff(
    first: &Reader,
    second: &Reader,
    mut found: impl FnMut(Difference),
) -> Result<DiffCounts, SnapshotError> {
    let (first, second) = (Side::load(first)?, Side::load(second)?);
    let (mut a, mut b) = (first.rows().peekable(), second.rows().peekable());
    let mut counts = DiffCounts::default();
    loop {
        let (id_a, id_b) = (a.peek().map(|row| row.id()), b.peek().map(|row| row.id()));
        match (id_a, id_b) {
            (None, None) => return Ok(counts),
            (Some(x), y) if y.is_none_or(|y| x < y) => {
                counts.only_in_first += 1;
                found(Difference::OnlyInFirst(x));
                a.next();
            }
            (x, Some(y)) if x.is_none_or(|x| y < x) => {
                counts.only_in_second += 1;
                found(Difference::OnlyInSecond(y));
                b.next();
            }
            _ => {
                if let (Some(x), Some(y)) = (a.next(), b.next()) {
                    let same = compare(&x, &y, &mut found)?;
                    *(if same { &mut counts.equal } else { &mut counts.changed }) += 1;
                }
            }
        }
    }
}

/// A file in memory, and where each id is.
struct Side {
    schema: Schema,
    blocks: Vec<(Part, Block)>,
    /// (id, block, row), by rising id.
    order: Vec<(u64, u32, u32)>,
}

struct SideRow<'a> {
    schema: &'a Schema,
    part: Part,
    row: EntityRow<'a>,
}

impl Side {
    fn load(reader: &Reader) -> Result<Self, SnapshotError> {
        let (mut blocks, mut order) = (Vec::new(), Vec::new());
        for index in 0..reader.blocks().len() {
            let block = reader.read_block(index)?;
            order.extend((0_u32..).zip(&block.entities).map(|(row, id)| (*id, index as u32, row)));
            blocks.push((reader.part(index), block));
        }
        order.sort_unstable();
        if let Some(pair) = order.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(SnapshotError::DuplicateEntity {
                part: reader.part(pair[1].1 as usize),
                entity: pair[0].0,
                first_block: pair[0].1 as usize,
            });
        }
        Ok(Self { schema: reader.schema()?, blocks, order })
    }

    fn rows(&self) -> impl Iterator<Item = SideRow<'_>> {
        self.order.iter().map(|&(_, block, row)| {
            let (part, block) = &self.blocks[block as usize];
            SideRow { schema: &self.schema, part: *part, row: block.row(row) }
        })
    }
}

impl SideRow<'_> {
    fn id(&self) -> u64 {
        self.row.id.0
    }

    fn bytes(&self, component: ComponentId) -> Option<&[u8]> {
        self.row.values.iter().find(|(id, _)| *id == component).map(|(_, bytes)| *bytes)
    }

    fn json(&self, component: ComponentId) -> Result<Option<Value>, SnapshotError> {
        let Some(bytes) = self.bytes(component) else { return Ok(None) };
        let unknown = || unknown_component(self.part, self.id(), component);
        let found = self.schema.component(component).ok_or_else(unknown)?;
        found.to_json(bytes).map(Some).map_err(|error| SnapshotError::payload(self.part, self.id(), error))
    }

    fn name(&self, component: ComponentId) -> Option<String> {
        self.schema.component(component).map(|component| component.name().to_owned())
    }
}

/// Whether two rows of one id are equal.
fn compare(
    a: &SideRow<'_>,
    b: &SideRow<'_>,
    found: &mut impl FnMut(Difference),
) -> Result<bool, SnapshotError> {
    let mut same = true;
    let mut report = |component: ComponentId, first: Option<Value>, second: Option<Value>| {
        let name = a.name(component).or_else(|| b.name(component)).unwrap_or_else(|| component.to_string());
        let mut changes = Vec::new();
        changed_fields("", first.as_ref(), second.as_ref(), &mut changes);
        if changes.is_empty() {
            // The same to every reader of the schema, so what differs is unknown fields or their encoding.
            changes.push(("(encoding)".to_owned(), None, None));
        }
        for (path, first, second) in changes {
            let component = name.clone();
            found(Difference::Changed { entity: a.id(), component, path, first, second });
        }
    };
    if a.row.position != b.row.position {
        same = false;
        report(ComponentId::POSITION, a.row.position.map(position_value), b.row.position.map(position_value));
    }
    let mut components: Vec<ComponentId> =
        a.row.values.iter().chain(&b.row.values).map(|(component, _)| *component).collect();
    components.sort_unstable();
    components.dedup();
    for component in components {
        if a.bytes(component) != b.bytes(component) {
            same = false;
            report(component, a.json(component)?, b.json(component)?);
        }
    }
    Ok(same)
}

type Change = (String, Option<Value>, Option<Value>);

/// Walks two values side by side and collects the paths where they part.
fn changed_fields(path: &str, a: Option<&Value>, b: Option<&Value>, changes: &mut Vec<Change>) {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match (a, b) {
        (Some(Value::Object(x)), Some(Value::Object(y))) => {
            let mut keys: Vec<&String> = x.keys().chain(y.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                changed_fields(&below(key), x.get(key), y.get(key), changes);
            }
        }
        (Some(Value::Array(x)), Some(Value::Array(y))) => {
            for index in 0..x.len().max(y.len()) {
                changed_fields(&below(&index.to_string()), x.get(index), y.get(index), changes);
            }
        }
        _ if a != b => changes.push((path.to_owned(), a.cloned(), b.cloned())),
        _ => {}
    }
}
