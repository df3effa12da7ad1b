//! Conditions on one entity, for views and questions.
//!
//! Responsible for: building and joining constraints without spelling out the wire types.
//! Not responsible for: evaluating them (the server does).

use std::ops::{BitAnd, BitOr, Not, Range};

use spatialdb_proto::v1::{self, Comparison, constraint::Kind, field_value};
use spatialdb_types::{Box3, ComponentId, EntityId, Point3, SpaceId};

use crate::Component;

/// In [`interest`](crate::interest) the entity that has the Interest, where another id would stand.
pub const ITSELF: EntityId = EntityId(0);

/// A condition on one entity. `&`, `|` and `!` join them:
///
/// ```
/// use spatialdb_sdk::{Component, Constraint, EntityId, v1::Metadata};
///
/// let boats = Constraint::field::<Metadata>("type").equals("boat");
/// let near = Constraint::near(EntityId(1001), 5_000.0);
/// let constraint = boats & near & !Constraint::entities([EntityId(1001)]);
/// // The same in the query language:
/// let constraint = Constraint::text(r#"Metadata.type = "boat" and near 1001 within 5km and not id = 1001"#);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Constraint(v1::Constraint);

impl Constraint {
    /// Every entity.
    pub fn all() -> Self {
        Self::of(Kind::All(v1::All {}))
    }

    /// Has the component `C`.
    pub fn has<C: Component>() -> Self {
        Self::of(Kind::HasComponent(C::ID.0))
    }

    /// Has the component with this full name, or short name if that is unique.
    pub fn has_named(component: impl Into<String>) -> Self {
        Self::of(Kind::HasComponentNamed(component.into()))
    }

    /// Begins a test of a scalar field of `C`. Dots lead into messages: `"engine.rpm"`.
    pub fn field<C: Component>(path: impl Into<String>) -> Field {
        Field(v1::FieldTest { component: C::ID.0, field: path.into(), ..Default::default() })
    }

    /// As [`Self::field`], of a component by its full name, or short name if that is unique.
    pub fn field_named(component: impl Into<String>, path: impl Into<String>) -> Field {
        let component_named = component.into();
        Field(v1::FieldTest { component_named, field: path.into(), ..Default::default() })
    }

    /// As [`Self::field`], of a component by its id.
    pub fn field_of(component: ComponentId, path: impl Into<String>) -> Field {
        Field(v1::FieldTest { component: component.0, field: path.into(), ..Default::default() })
    }

    /// Position inside the half-open box. Infinite coordinates leave a side open.
    ///
    /// # Units
    /// Metres.
    pub fn in_box(space: SpaceId, bounds: Box3) -> Self {
        let (min, max) = (Some(point(bounds.min)), Some(point(bounds.max)));
        Self::of(Kind::Box(v1::Box { space: space.0, min, max }))
    }

    /// Position at most `radius_m` metres from `center`.
    pub fn in_sphere(space: SpaceId, center: Point3, radius_m: f64) -> Self {
        Self::of(Kind::Sphere(v1::Sphere { space: space.0, center: Some(point(center)), radius_m }))
    }

    /// Position at most `radius_m` metres from `center` over x and y, and inside of the half-open height.
    ///
    /// # Units
    /// Metres. Infinite heights leave a side open.
    pub fn in_cylinder(space: SpaceId, center: Point3, radius_m: f64, height: Range<f64>) -> Self {
        Self::of(Kind::Cylinder(v1::Cylinder {
            space: space.0,
            center_x: center.x,
            center_y: center.y,
            radius_m,
            min_z: Some(height.start),
            max_z: Some(height.end),
        }))
    }

    /// Has a position in the space.
    pub fn in_space(space: SpaceId) -> Self {
        Self::of(Kind::Space(v1::Space { space: space.0 }))
    }

    /// Position at most `radius_m` metres from an entity, wherever that goes, itself included. For views only.
    pub fn near(entity: EntityId, radius_m: f64) -> Self {
        Self::of(Kind::Near(v1::Near { entity: entity.0, radius_m }))
    }

    /// In a region that this worker owns or may get soon, or at most `ghost_margin_m` of its layer outside of it. Views follow
    /// what it owns. In a world without layers every entity.
    pub fn owned() -> Self {
        Self::owned_in("")
    }

    /// As [`Self::owned`], in one layer.
    pub fn owned_in(layer: impl Into<String>) -> Self {
        Self::of(Kind::Owned(v1::Owned { layer: layer.into() }))
    }

    /// One of these entities.
    pub fn entities(entities: impl IntoIterator<Item = EntityId>) -> Self {
        Self::of(Kind::EntityIds(v1::EntityIds { entities: entities.into_iter().map(|id| id.0).collect() }))
    }

    /// What the text says, in the query language: `docs/query-language.md`.
    pub fn text(text: impl Into<String>) -> Self {
        Self::of(Kind::Text(text.into()))
    }

    /// All of these hold.
    pub fn all_of(constraints: impl IntoIterator<Item = Self>) -> Self {
        Self::of(Kind::And(list(constraints)))
    }

    /// One of these holds.
    pub fn any_of(constraints: impl IntoIterator<Item = Self>) -> Self {
        Self::of(Kind::Or(list(constraints)))
    }

    fn of(kind: Kind) -> Self {
        Self(v1::Constraint { kind: Some(kind) })
    }

    pub(crate) fn into_wire(self) -> v1::Constraint {
        self.0
    }
}

/// Both hold. A chain of `&` is one list: it does not nest.
impl BitAnd for Constraint {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        match self.0.kind {
            Some(Kind::And(mut list)) => {
                list.constraints.push(other.0);
                Self::of(Kind::And(list))
            }
            _ => Self::all_of([self, other]),
        }
    }
}

/// One of them holds, or both. A chain of `|` is one list: it does not nest.
impl BitOr for Constraint {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        match self.0.kind {
            Some(Kind::Or(mut list)) => {
                list.constraints.push(other.0);
                Self::of(Kind::Or(list))
            }
            _ => Self::any_of([self, other]),
        }
    }
}

/// It does not hold.
impl Not for Constraint {
    type Output = Self;

    fn not(self) -> Self {
        Self::of(Kind::Not(Box::new(self.0)))
    }
}

/// A field to compare. An entity without the component never passes; a field that is not set has its default.
#[derive(Clone, Debug, PartialEq)]
pub struct Field(v1::FieldTest);

impl Field {
    /// The field is this.
    pub fn equals(self, value: impl Into<FieldValue>) -> Constraint {
        self.is(Comparison::Equal, [value])
    }

    /// The field is something else.
    pub fn not_equals(self, value: impl Into<FieldValue>) -> Constraint {
        self.is(Comparison::NotEqual, [value])
    }

    /// The field is below this. Order is for numbers, texts and bytes.
    pub fn less_than(self, value: impl Into<FieldValue>) -> Constraint {
        self.is(Comparison::Less, [value])
    }

    /// The field is this or below.
    pub fn at_most(self, value: impl Into<FieldValue>) -> Constraint {
        self.is(Comparison::AtMost, [value])
    }

    /// The field is above this.
    pub fn greater_than(self, value: impl Into<FieldValue>) -> Constraint {
        self.is(Comparison::Greater, [value])
    }

    /// The field is this or above.
    pub fn at_least(self, value: impl Into<FieldValue>) -> Constraint {
        self.is(Comparison::AtLeast, [value])
    }

    /// The field is one of these.
    pub fn is_in<V: Into<FieldValue>>(self, values: impl IntoIterator<Item = V>) -> Constraint {
        self.is(Comparison::In, values)
    }

    fn is<V: Into<FieldValue>>(self, how: Comparison, values: impl IntoIterator<Item = V>) -> Constraint {
        let values = values.into_iter().map(|value| value.into().0).collect();
        Constraint::of(Kind::Field(v1::FieldTest { comparison: how.into(), values, ..self.0 }))
    }
}

/// What a field is compared with: a number, a `bool`, a text (also the name of an enum's value), or bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldValue(v1::FieldValue);

impl From<f64> for FieldValue {
    fn from(value: f64) -> Self {
        // A whole number fits fields of any type of number: 1e6 too.
        let is_whole = value.fract() == 0.0 && value.abs() < spatialdb_types::ID_END as f64;
        let kind = if is_whole {
            field_value::Kind::Integer(value as i64)
        } else {
            field_value::Kind::Number(value)
        };
        Self(v1::FieldValue { kind: Some(kind) })
    }
}

impl From<f32> for FieldValue {
    fn from(value: f32) -> Self {
        f64::from(value).into()
    }
}

macro_rules! field_value {
    ($($from:ty => $kind:ident($value:ident => $wire:expr)),* $(,)?) => {
        $(impl From<$from> for FieldValue {
            fn from($value: $from) -> Self {
                Self(v1::FieldValue { kind: Some(field_value::Kind::$kind($wire)) })
            }
        })*
    };
}

field_value! {
    i32 => Integer(value => value.into()),
    i64 => Integer(value => value),
    u32 => Integer(value => value.into()),
    u64 => Unsigned(value => value),
    bool => Boolean(value => value),
    &str => Text(value => value.to_owned()),
    String => Text(value => value),
    &[u8] => Data(value => value.to_vec().into()),
    Vec<u8> => Data(value => value.into()),
}

pub(crate) fn point(point: Point3) -> v1::Point {
    v1::Point { x: point.x, y: point.y, z: Some(point.z) }
}

fn list(constraints: impl IntoIterator<Item = Constraint>) -> v1::ConstraintList {
    v1::ConstraintList { constraints: constraints.into_iter().map(|constraint| constraint.0).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::Metadata;

    fn test_of(constraint: Constraint) -> v1::FieldTest {
        let Some(Kind::Field(test)) = constraint.into_wire().kind else { panic!("a field test") };
        test
    }

    #[test]
    fn operators_make_flat_lists() {
        let [a, b, c] = [1, 2, 3].map(|id| Constraint::entities([EntityId(id)]));
        assert_eq!(a.clone() & b.clone() & c.clone(), Constraint::all_of([a.clone(), b.clone(), c.clone()]));
        let either = a.clone() | b.clone() | !c.clone();
        assert_eq!(either, Constraint::any_of([a.clone(), b.clone(), !c.clone()]));
        // What stands right of a sign is one condition.
        assert_eq!(a.clone() & (b.clone() | c.clone()), Constraint::all_of([a, Constraint::any_of([b, c])]));
    }

    #[test]
    fn fields_are_compared_with_values_of_every_type() {
        use field_value::Kind::{Boolean, Data, Integer, Number, Text, Unsigned};
        let value = |value: FieldValue| value.0.kind.expect("a kind");
        assert_eq!(value((-3).into()), Integer(-3));
        assert_eq!(value(3_u32.into()), Integer(3));
        assert_eq!(value(u64::MAX.into()), Unsigned(u64::MAX));
        assert_eq!(value(0.5_f32.into()), Number(0.5));
        assert_eq!((value(1e6.into()), value((-2.0).into())), (Integer(1_000_000), Integer(-2)));
        assert_eq!(
            (value(1e300.into()), value(f64::INFINITY.into())),
            (Number(1e300), Number(f64::INFINITY))
        );
        assert_eq!(value(true.into()), Boolean(true));
        assert_eq!(value("post".into()), Text("post".into()));
        assert_eq!(value(vec![1_u8, 255].into()), Data(vec![1, 255].into()));
    }

    #[test]
    fn a_test_names_component_field_comparison_and_values() {
        let typed = test_of(Constraint::field::<Metadata>("type").is_in(["post", "city"]));
        assert_eq!((typed.component, typed.component_named.as_str(), typed.field.as_str()), (2, "", "type"));
        assert_eq!((typed.comparison(), typed.values.len()), (Comparison::In, 2));
        let named = test_of(Constraint::field_named("Ship", "engine.rpm").at_least(100.0));
        assert_eq!((named.component, named.component_named.as_str()), (0, "Ship"));
        assert_eq!((named.field.as_str(), named.comparison()), ("engine.rpm", Comparison::AtLeast));
        let by_id = || Constraint::field_of(ComponentId(1000), "hp");
        let comparisons = [
            by_id().equals(1),
            by_id().not_equals(1),
            by_id().less_than(1),
            by_id().at_most(1),
            by_id().greater_than(1),
        ]
        .map(|constraint| test_of(constraint).comparison());
        use Comparison::{AtMost, Equal, Greater, Less, NotEqual};
        assert_eq!(comparisons, [Equal, NotEqual, Less, AtMost, Greater]);
    }
}
