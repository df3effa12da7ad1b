//! From the wire's constraints to the core's.

use std::sync::Arc;

use arc_swap::Guard;
use spatialdb_core::Constraint;
use spatialdb_proto::v1::{self, constraint::Kind};
use spatialdb_schema::Schema;
use spatialdb_types::{Box3, ComponentId, EntityId, Error, Limits, Point3, Reason, SpaceId};

use super::field;
use super::owned::Owner;
use crate::server::edge::Edge;

/// What a constraint may name.
pub(super) struct Known<'a> {
    pub(super) schema: Arc<Schema>,
    pub(super) limits: &'a Limits,
    /// By id.
    spaces: &'a [(SpaceId, String)],
    near: Near,
    /// Whose regions are its own; nobody's who asks once, or in an Interest.
    owner: Option<Owner<'a>>,
}

/// What "near an entity" means where the constraint stands.
#[derive(Clone, Copy)]
pub(super) enum Near {
    /// Nothing: who asks once does not follow anything.
    Unknown,
    /// Any entity that is named.
    Named,
    /// In an Interest: any entity that is named, or with 0 the one that has it.
    Of(EntityId),
}

impl<'a> Known<'a> {
    pub(super) fn of(edge: &'a Edge, near: Near) -> Self {
        let schema = Guard::into_inner(edge.schema());
        Self::new(schema, &edge.limits, &edge.info.spaces, near)
    }

    pub(super) const fn new(
        schema: Arc<Schema>,
        limits: &'a Limits,
        spaces: &'a [(SpaceId, String)],
        near: Near,
    ) -> Self {
        Self { schema, limits, spaces, near, owner: None }
    }

    /// What a view of a session of that type may name.
    pub(super) fn of_session(edge: &'a Edge, worker_type: &'a str) -> Self {
        let owner = Some(Owner { layers: &edge.layers, worker_type });
        Self { owner, ..Self::of(edge, Near::Named) }
    }

    pub(super) fn constraint(&self, wire: Option<v1::Constraint>) -> Result<Constraint, Error> {
        let constraint = self.convert(wire, self.limits.constraint_depth_max)?;
        constraint.check(self.limits)?;
        Ok(constraint)
    }

    /// `depth` is how many levels are left: a hostile constraint must not exhaust the stack before it is checked.
    fn convert(&self, wire: Option<v1::Constraint>, depth: u64) -> Result<Constraint, Error> {
        let kind = wire
            .and_then(|c| c.kind)
            .ok_or_else(|| invalid("a constraint is empty: one kind must be set"))?;
        let max = self.limits.constraint_depth_max;
        let deeper = || {
            depth
                .checked_sub(1)
                .ok_or_else(|| invalid(&format!("the constraint passes constraint_depth_max = {max}")))
        };

        let list = |list: v1::ConstraintList| {
            let left = deeper()?;
            list.constraints
                .into_iter()
                .map(|c| self.convert(Some(c), left))
                .collect::<Result<Vec<_>, Error>>()
        };
        Ok(match kind {
            Kind::All(_) => Constraint::All,
            Kind::Box(b) => Constraint::Box { space: self.space(b.space)?, bounds: bounds_of(&b) },
            Kind::Sphere(sphere) => {
                let center = point_of(sphere.center.as_ref(), "the center of a sphere")?;
                Constraint::Sphere { space: self.space(sphere.space)?, center, radius_m: sphere.radius_m }
            }
            Kind::Cylinder(cylinder) => Constraint::Cylinder {
                space: self.space(cylinder.space)?,
                center: Point3::new(cylinder.center_x, cylinder.center_y, 0.0),
                radius_m: cylinder.radius_m,
                min_z: cylinder.min_z.unwrap_or(f64::NEG_INFINITY),
                max_z: cylinder.max_z.unwrap_or(f64::INFINITY),
            },
            Kind::Space(space) => Constraint::Space(self.space(space.space)?),
            Kind::EntityIds(ids) => {
                let mut entities: Vec<EntityId> = ids.entities.into_iter().map(EntityId).collect();
                if let Some(wrong) = entities.iter().find(|id| !id.is_valid()) {
                    let detail = format!("entity ids: {wrong}: ids are above 0 and below 2^53");
                    return Err(Error::new(Reason::EntityIdInvalid, detail));
                }
                entities.sort_unstable();
                entities.dedup();
                Constraint::Entities(entities.into())
            }
            Kind::HasComponent(id) => Constraint::Has(self.component(ComponentId(id))?),
            Kind::HasComponentNamed(name) => Constraint::Has(self.schema.component_named(&name)?.id()),
            Kind::And(all) => Constraint::And(list(all)?),
            Kind::Or(any) => Constraint::Or(list(any)?),
            Kind::Not(inner) => Constraint::Not(Box::new(self.convert(Some(*inner), deeper()?)?)),
            Kind::Field(test) => Constraint::Field(field::test_of(&self.schema, &test)?),
            Kind::Near(near) => self.near(&near)?,
            Kind::Owned(owned) => self.owned(&owned)?,
            Kind::Text(text) => {
                let has_space = |id| self.has_space(id);
                let known = spatialdb_query::Known {
                    schema: &self.schema,
                    limits: self.limits,
                    has_space: &has_space,
                };
                let parsed = spatialdb_query::parse_with(&text, known)?;
                // It stands in the place of the text: what is left of the depth is the same.
                return self.convert(Some(parsed), depth);
            }
        })
    }

    fn near(&self, near: &v1::Near) -> Result<Constraint, Error> {
        Ok(Constraint::Near { entity: self.followed(near.entity)?, radius_m: near.radius_m })
    }

    fn owned(&self, owned: &v1::Owned) -> Result<Constraint, Error> {
        let owner = self.owner.as_ref();
        let owner = owner.ok_or_else(|| invalid("owned: only views of a session follow its regions"))?;
        owner.owned(&owned.layer)
    }

    /// The entity that something follows.
    pub(super) fn followed(&self, entity: u64) -> Result<EntityId, Error> {
        match self.near {
            Near::Unknown => Err(invalid("only views follow an entity: ask where it is, then use a sphere")),
            Near::Of(own) if entity == 0 => Ok(own),
            Near::Named | Near::Of(_) if EntityId(entity).is_valid() => Ok(EntityId(entity)),
            Near::Named | Near::Of(_) => {
                Err(invalid(&format!("near entity {entity}: ids are above 0 and below 2^53")))
            }
        }
    }

    pub(super) fn component(&self, component: ComponentId) -> Result<ComponentId, Error> {
        match self.schema.component(component) {
            Some(_) => Ok(component),
            None => {
                Err(Error::new(Reason::ComponentUnknown, format!("the schema has no component {component}")))
            }
        }
    }

    pub(super) fn space(&self, id: u32) -> Result<SpaceId, Error> {
        if self.has_space(id) {
            return Ok(SpaceId(id));
        }
        Err(Error::new(Reason::SpaceUnknown, format!("the world has no space {id}")))
    }

    fn has_space(&self, id: u32) -> bool {
        self.spaces.binary_search_by_key(&SpaceId(id), |(space, _)| *space).is_ok()
    }
}

/// A point on the ground unless it says otherwise.
///
/// # Errors
/// `QUERY_INVALID`: it is missing.
pub(super) fn point_of(wire: Option<&v1::Point>, what: &str) -> Result<Point3, Error> {
    let point = wire.ok_or_else(|| invalid(&format!("{what} is missing")))?;
    Ok(Point3::new(point.x, point.y, point.z.unwrap_or(0.0)))
}

fn bounds_of(wire: &v1::Box) -> Box3 {
    let corner = |point: Option<&v1::Point>, open: f64| {
        point.map_or(Point3::new(open, open, open), |p| Point3::new(p.x, p.y, p.z.unwrap_or(open)))
    };
    Box3 { min: corner(wire.min.as_ref(), f64::NEG_INFINITY), max: corner(wire.max.as_ref(), f64::INFINITY) }
}

pub(super) fn invalid(detail: &str) -> Error {
    Error::new(Reason::QueryInvalid, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(kind: Kind) -> Option<v1::Constraint> {
        Some(v1::Constraint { kind: Some(kind) })
    }

    fn refused(wire: Option<v1::Constraint>) -> Error {
        let (schema, limits) = (Schema::built_in(), Limits::default());
        let spaces = [(SpaceId(0), "default".to_owned())];
        Known::new(Arc::new(schema), &limits, &spaces, Near::Named).constraint(wire).expect_err("refused")
    }

    #[test]
    fn what_is_missing_is_named() {
        assert!(refused(None).detail.contains("empty"));
        assert!(refused(wire(Kind::Sphere(v1::Sphere::default()))).detail.contains("center"));
        assert_eq!(refused(wire(Kind::HasComponent(4711))).reason, Reason::ComponentUnknown);
        assert_eq!(
            refused(wire(Kind::Box(v1::Box { space: 9, ..v1::Box::default() }))).reason,
            Reason::SpaceUnknown
        );
        assert_eq!(refused(wire(Kind::HasComponentNamed("Nope".into()))).reason, Reason::ComponentUnknown);
    }

    #[test]
    fn a_text_is_what_it_says_or_points_at_its_fault() {
        let text = |text: &str| wire(Kind::Text(text.to_owned()));
        let (schema, limits) = (Schema::built_in(), Limits::default());
        let spaces = [(SpaceId(0), "default".to_owned())];
        let known = Known::new(Arc::new(schema), &limits, &spaces, Near::Named);
        let has = Constraint::Not(Box::new(Constraint::Has(ComponentId::METADATA)));
        assert_eq!(known.constraint(text("not has Metadata")), Ok(has));
        assert!(refused(text("all and none or")).detail.starts_with("at 15: "));
        assert_eq!(refused(text("has Metadat")).reason, Reason::ComponentUnknown);
        assert_eq!(refused(text("in space 9")).reason, Reason::SpaceUnknown);
        // Its depth counts where it stands.
        let mut tower = text(&format!("{}all", "not ".repeat(10)));
        for _ in 0..10 {
            tower = wire(Kind::Not(Box::new(tower.expect("a constraint"))));
        }
        assert!(refused(tower).detail.contains("constraint_depth_max"));
    }

    #[test]
    fn a_tower_of_nots_is_refused() {
        let mut tower = v1::Constraint { kind: Some(Kind::All(v1::All {})) };
        for _ in 0..90 {
            tower = v1::Constraint { kind: Some(Kind::Not(Box::new(tower))) };
        }
        assert!(refused(Some(tower)).detail.contains("constraint_depth_max"));
    }

    #[test]
    fn a_box_without_z_is_open_in_height() {
        let point = |x| Some(v1::Point { x, y: x, z: None });
        let flat = v1::Box { space: 0, min: point(0.0), max: point(1.0) };
        let bounds = bounds_of(&flat);
        assert!(bounds.contains(Point3::new(0.5, 0.5, 1e9)));
        assert!(!bounds.contains(Point3::new(1.0, 0.5, 0.0)));
    }
}
