//! Creating entities: ids first, then rows to the partitions they lie in.

use spatialdb_core::world::CreateAnswer;
use spatialdb_core::{CreateColumn, CreateRows, Op};
use spatialdb_proto::v1;
use spatialdb_types::{ComponentId, EntityId, Error, PartitionId, Point3, Position, Reason, Seq, SpaceId};

use super::{At, Intake, Parts, Split, whole_column};

/// What is known of the rows of a create before they have ids.
struct Draft {
    /// A row that anything is wrong with is not made.
    good: Vec<bool>,
    positions: Vec<Option<Position>>,
}

impl Intake {
    /// Creates what is in order. The answer has an id for each row, 0 for refused ones; it is told before anything is decided.
    pub(in super::super) fn create(&self, seq: Seq, create: &v1::Create, tell: impl FnOnce(v1::Created)) {
        let mut parts = self.parts(seq);
        let count = row_count(create);
        if let Err(error) = self.check_create(create, count) {
            parts.reject_all(&error);
            let rows = count.min(self.edge.limits.message_rows_max as usize);
            tell(v1::Created { seq: seq.0, entities: vec![0; rows] });
            return self.send(seq, parts);
        }
        let draft = self.draft(create, count, &mut parts);
        let answer = self.ids_for(create, &draft, &mut parts);
        // From here on without a pause: ids are given, so the rows go out.
        let gate = self.edge.routes.enter();
        self.place(create, &draft, &answer, &mut parts);
        tell(v1::Created { seq: seq.0, entities: answer.entities.iter().map(|e| e.0).collect() });
        self.send(seq, parts);
        drop(gate);
    }

    fn check_create(&self, create: &v1::Create, count: usize) -> Result<(), Error> {
        if !create.entities.is_empty() && create.count != 0 && create.count as usize != count {
            let detail = format!("count = {}, but {count} entities are chosen", create.count);
            return Err(Error::new(Reason::ColumnLengthsDiffer, detail));
        }
        let columns =
            create.positions.iter().map(|c| c.x.len()).chain(create.columns.iter().map(|c| c.values.len()));
        self.check_columns(create.positions.len() + create.columns.len())?;
        self.check_rows(count)?;
        self.check_rows(columns.sum())
    }

    /// Checks every column; a fault of a row takes the whole row, a fault of a column takes all its rows.
    fn draft(&self, create: &v1::Create, count: usize, parts: &mut Parts) -> Draft {
        let mut draft = Draft { good: vec![true; count], positions: vec![None; count] };
        for (i, wire) in create.positions.iter().enumerate() {
            self.draft_positions(i as u32, wire, &mut draft, parts);
        }
        for (i, wire) in create.columns.iter().enumerate() {
            self.draft_values((create.positions.len() + i) as u32, wire, &mut draft, parts);
        }
        draft
    }

    fn draft_positions(&self, column: u32, wire: &v1::PositionColumn, draft: &mut Draft, parts: &mut Parts) {
        let component = ComponentId::POSITION;
        let all = every_row(&wire.entities, wire.x.len());
        let named = v1::PositionColumn { entities: all, ..wire.clone() };
        if let Err(error) = self.check_position_column(&named) {
            parts.reject(whole_column(column, component), error.reason, error.detail);
            return draft.good.fill(false);
        }
        for (i, &row) in named.entities.iter().enumerate() {
            let at = At { column, row: i as u32, entity: EntityId(0), component };
            let Some(row) = row_in(row, draft, at, parts) else { continue };
            let point = Point3::new(wire.x[i], wire.y[i], wire.z.get(i).copied().unwrap_or(0.0));
            draft.good[row] &= self.is_point(point, at, parts);
            draft.positions[row] = Some(Position { space: SpaceId(wire.space), point });
        }
    }

    fn draft_values(&self, column: u32, wire: &v1::Column, draft: &mut Draft, parts: &mut Parts) {
        let id = ComponentId(wire.component);
        let rows = every_row(&wire.entities, wire.values.len());
        let component = match self.component_of(wire).and_then(|c| whole_values(wire, rows.len()).map(|()| c))
        {
            Ok(component) => component,
            Err(error) => {
                parts.reject(whole_column(column, id), error.reason, error.detail);
                return draft.good.fill(false);
            }
        };
        for (i, (&row, value)) in rows.iter().zip(&wire.values).enumerate() {
            let at = At { column, row: i as u32, entity: EntityId(0), component: id };
            let Some(row) = row_in(row, draft, at, parts) else { continue };
            draft.good[row] &= self.is_value(&component, None, value, at, parts);
        }
    }

    /// An id for each good row; 0 for the others.
    fn ids_for(&self, create: &v1::Create, draft: &Draft, parts: &mut Parts) -> CreateAnswer {
        let count = draft.good.len();
        let mut answer = CreateAnswer { entities: vec![EntityId(0); count], fresh: vec![false; count] };
        let good = (0..count).filter(|&row| draft.good[row]);
        let mut world = self.edge.world();
        if create.entities.is_empty() {
            match world.ids.create(&self.owner, &create.request_id, good.clone().count() as u64) {
                Ok(given) => {
                    for (row, (entity, fresh)) in good.zip(given.entities.into_iter().zip(given.fresh)) {
                        (answer.entities[row], answer.fresh[row]) = (entity, fresh);
                    }
                }
                Err(error) => parts.reject_all(&error),
            }
            return answer;
        }
        for row in good {
            let entity = EntityId(create.entities[row]);
            let at = At { column: 0, row: row as u32, entity, component: ComponentId(0) };
            match world.ids.choose(&self.owner, entity) {
                Ok(fresh) => (answer.entities[row], answer.fresh[row]) = (entity, fresh),
                Err(error) => parts.reject(at, error.reason, error.detail),
            }
        }
        answer
    }

    /// Sends the fresh rows to the partitions they lie in.
    fn place(&self, create: &v1::Create, draft: &Draft, answer: &CreateAnswer, parts: &mut Parts) {
        let mut split: Split<CreateRows> = Split::new(parts.partition_count());
        let mut places: Vec<Option<(PartitionId, u32)>> = vec![None; draft.good.len()];
        for (row, &entity) in answer.entities.iter().enumerate() {
            if !answer.fresh[row] {
                continue;
            }
            let to = self.edge.map.home(entity, draft.positions[row]);
            let rows = split.of(to, CreateRows::default);
            let index = rows.entities.len() as u32;
            places[row] = Some((to, index));
            rows.rows.push(row as u32);
            rows.entities.push(entity);
            if let Some(position) = draft.positions[row] {
                rows.positions.index.push(index);
                rows.positions.positions.push(position);
            }
            self.edge.routes.set(entity, to);
        }
        for wire in &create.columns {
            let mut columns: Split<CreateColumn> = Split::new(parts.partition_count());
            for (row, value) in every_row(&wire.entities, wire.values.len()).into_iter().zip(&wire.values) {
                let Some((to, index)) = places.get(row as usize).copied().flatten() else { continue };
                columns.of(to, || CreateColumn::new(ComponentId(wire.component))).push(index, value);
            }
            split.merge(columns, |rows, column| rows.columns.push(column));
        }
        parts.add(split, Op::Create);
    }
}

/// How many entities are to be made.
pub(in super::super) fn row_count(create: &v1::Create) -> usize {
    if create.entities.is_empty() { create.count as usize } else { create.entities.len() }
}

/// Which rows a column of a create is about: all in order if it names none.
fn every_row(named: &[u64], values: usize) -> Vec<u64> {
    if named.is_empty() { (0..values as u64).collect() } else { named.to_vec() }
}

fn whole_values(wire: &v1::Column, rows: usize) -> Result<(), Error> {
    if rows != wire.values.len() {
        let detail = format!("{rows} rows, {} values: as many of each are needed", wire.values.len());
        return Err(Error::new(Reason::ColumnLengthsDiffer, detail));
    }
    if !wire.fields.is_empty() {
        return Err(Error::new(
            Reason::FieldNotListed,
            "a new entity gets whole values: `fields` must be empty",
        ));
    }
    Ok(())
}

fn row_in(row: u64, draft: &Draft, at: At, parts: &mut Parts) -> Option<usize> {
    let count = draft.good.len();
    if row < count as u64 {
        return Some(row as usize);
    }
    let detail = format!("row {row} of a create of {count} rows: rows are numbered from 0");
    parts.reject(at, Reason::EntityIdInvalid, detail);
    None
}
