//! Checking and splitting columns of positions and values.

use std::sync::Arc;

use spatialdb_core::{Op, WriteMode};
use spatialdb_proto::v1;
use spatialdb_schema::{Component, FieldPlan};
use spatialdb_types::{ComponentId, EntityId, Error, Point3, Reason, SpaceId};

use super::{At, Intake, Parts, Split, whole_column};
use crate::server::tools::interest;

impl Intake {
    pub(super) fn positions(
        &self,
        column: u32,
        mode: WriteMode,
        wire: &v1::PositionColumn,
        parts: &mut Parts,
    ) {
        let component = ComponentId::POSITION;
        let space = SpaceId(wire.space);
        if let Err(error) = self.check_position_column(wire) {
            return parts.reject(whole_column(column, component), error.reason, error.detail);
        }
        let partitions = parts.partition_count();
        let expected_rows = wire.entities.len() / partitions + wire.entities.len() / 8 + 8;
        let new = (column, mode, space, expected_rows);
        let mut split = Split::new(partitions);
        for (i, &id) in wire.entities.iter().enumerate() {
            let entity = EntityId(id);
            let point = Point3::new(wire.x[i], wire.y[i], wire.z.get(i).copied().unwrap_or(0.0));
            let at = At { column, row: i as u32, entity, component };
            if self.is_entity(at, parts) && self.is_point(point, at, parts) {
                split.push_position(self.route(entity, parts), new, (i as u32, entity, point));
            }
        }
        parts.add(split, Op::Positions);
    }

    pub(super) fn check_position_column(&self, wire: &v1::PositionColumn) -> Result<(), Error> {
        let (n, x, y, z) = (wire.entities.len(), wire.x.len(), wire.y.len(), wire.z.len());
        if x != n || y != n || (z != n && z != 0) {
            let detail =
                format!("{n} entities, {x} x, {y} y, {z} z: as many of each are needed (z may be empty)");
            return Err(Error::new(Reason::ColumnLengthsDiffer, detail));
        }
        let space = SpaceId(wire.space);
        if !self.edge.has_space(space) {
            return Err(Error::new(Reason::SpaceUnknown, format!("the world has no space {space}")));
        }
        Ok(())
    }

    pub(super) fn values(&self, column: u32, mode: WriteMode, wire: &v1::Column, parts: &mut Parts) {
        let id = ComponentId(wire.component);
        let (component, plan) = match self.check_value_column(wire) {
            Ok(checked) => checked,
            Err(error) => return parts.reject(whole_column(column, id), error.reason, error.detail),
        };
        let cleared: Option<Arc<[u32]>> = plan.as_ref().map(|plan| plan.cleared.clone());
        let mut split = Split::new(parts.partition_count());
        for (i, (&entity, value)) in wire.entities.iter().zip(&wire.values).enumerate() {
            let entity = EntityId(entity);
            let at = At { column, row: i as u32, entity, component: id };
            if self.is_entity(at, parts) && self.is_value(&component, plan.as_ref(), value, at, parts) {
                split.push_value(
                    self.route(entity, parts),
                    (column, mode, id, &cleared),
                    (i as u32, entity, value),
                );
            }
        }
        parts.add(split, Op::Values);
    }

    /// What a column is about, and what its list of fields means.
    fn check_value_column(&self, wire: &v1::Column) -> Result<(Component, Option<FieldPlan>), Error> {
        let (n, values) = (wire.entities.len(), wire.values.len());
        if n != values {
            let detail = format!("{n} entities, {values} values: as many of each are needed");
            return Err(Error::new(Reason::ColumnLengthsDiffer, detail));
        }
        let component = self.component_of(wire)?;
        let (fields, max) = (wire.fields.len(), self.edge.limits.column_fields_max);
        if fields as u64 > max {
            return Err(Error::new(
                Reason::MessageTooLarge,
                format!("{fields} fields; column_fields_max = {max}"),
            ));
        }
        let plan = if wire.fields.is_empty() { None } else { Some(component.plan_fields(&wire.fields)?) };
        Ok((component, plan))
    }

    pub(super) fn component_of(&self, wire: &v1::Column) -> Result<Component, Error> {
        let id = ComponentId(wire.component);
        if id == ComponentId::POSITION {
            let detail = "spatialdb.v1.Position travels in a PositionColumn only";
            return Err(Error::new(Reason::PositionInColumn, detail));
        }
        self.known(id)
    }

    /// Whether an entity may give such views. Of an update of fields this is all there is: Interest has one field.
    fn is_interest(&self, value: &[u8], at: At, parts: &mut Parts) -> bool {
        // The id of one that is being made is not known yet, and any will do.
        let entity = EntityId(at.entity.0.max(1));
        let read = interest::views_of(&self.edge, entity, value);
        read.map_err(|error| parts.reject(at, error.reason, error.detail)).is_ok()
    }

    pub(super) fn is_value(
        &self,
        component: &Component,
        plan: Option<&FieldPlan>,
        value: &[u8],
        at: At,
        parts: &mut Parts,
    ) -> bool {
        let max = self.edge.limits.value_bytes_max;
        if value.len() as u64 > max {
            let detail =
                format!("component {}: {} bytes; value_bytes_max = {max}", component.name(), value.len());
            parts.reject(at, Reason::ValueTooLarge, detail);
            return false;
        }
        let checked = match plan {
            None => {
                component.check(value).map(|unknown| self.edge.warn_of_unknown_fields(component, unknown))
            }
            Some(plan) => component.check_fields(plan, value),
        };
        if let Err(error) = checked {
            parts.reject(at, error.reason, error.to_string());
            return false;
        }
        at.component != ComponentId::INTEREST || self.is_interest(value, at, parts)
    }
}
