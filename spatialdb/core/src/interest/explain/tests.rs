use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::interest::{Encoding, OwnedLayer, Step, Values};

const HP: ComponentId = ComponentId(1000);
const TAG: ComponentId = ComponentId(1001);

struct Plain;

impl Names for Plain {
    fn component(&self, component: ComponentId) -> String {
        format!("c.{component}")
    }

    fn field(&self, test: &FieldTest) -> String {
        format!("f{}", test.path[0].field)
    }

    fn value(&self, _: &FieldTest, value: &Scalar) -> String {
        match value {
            Scalar::Signed(v) => v.to_string(),
            other => format!("{other:?}"),
        }
    }
}

/// Its hit points.
struct Hp(Option<u8>, [u8; 2]);

impl Hp {
    fn new(hp: Option<u8>) -> Self {
        Self(hp, [0x08, hp.unwrap_or_default()])
    }

    fn components(&self) -> &'static [ComponentId] {
        if self.0.is_some() { &[ComponentId::POSITION, HP] } else { &[ComponentId::POSITION] }
    }
}

impl Values for Hp {
    fn value(&self, component: ComponentId) -> Option<&[u8]> {
        (component == HP && self.0.is_some()).then_some(&self.1)
    }
}

fn at_least(hp: i64) -> Constraint {
    Constraint::Field(FieldTest {
        component: HP,
        path: [Step { field: 1, rivals: Box::default() }].into(),
        encoding: Encoding::Varint,
        default: Scalar::Signed(0),
        comparison: Comparison::AtLeast,
        values: [Scalar::Signed(hp)].into(),
    })
}

fn sphere(x: f64, radius_m: f64) -> Constraint {
    Constraint::Sphere { space: SpaceId(0), center: Point3::new(x, 0.0, 0.0), radius_m }
}

fn told(asked: &Constraint, now: &Constraint, x: f64, hp: Option<u8>) -> (String, bool) {
    let (position, values) = (Some(Position::new(SpaceId(0), x, 0.0, 0.0)), Hp::new(hp));
    let subject = Subject { entity: EntityId(7), position, components: values.components(), values: &values };
    let check = asked.explain_as(now, &subject, &Plain);
    (format!("{}: {}", check.text, check.found), check.holds)
}

#[test]
fn words_have_the_numbers() {
    let bounds = Box3 { min: Point3::new(0.0, -1.0, f64::NEG_INFINITY), max: Point3::new(10.0, 1.0, 5.0) };
    let area = Constraint::Box { space: SpaceId(0), bounds };
    let other = Constraint::Box { space: SpaceId(3), bounds: Box3::EVERYWHERE };
    let ids: Arc<[EntityId]> = (1..=7).map(|id| EntityId(2 * id)).collect();
    let tower = Constraint::Cylinder {
        space: SpaceId(0),
        center: Point3::default(),
        radius_m: 2.0,
        min_z: 1.0,
        max_z: f64::INFINITY,
    };
    for (constraint, x, hp, says, holds) in [
        (sphere(0.0, 500.0), 731.2, None, "sphere of 500 m around (0, 0, 0): 731.2 m away", false),
        // Rounded it would be inside.
        (sphere(0.0, 500.0), 500.001, None, "sphere of 500 m around (0, 0, 0): 500.001 m away", false),
        (sphere(0.0, 500.0), 3.0, None, "sphere of 500 m around (0, 0, 0): 3.0 m away", true),
        (area.clone(), 3.0, None, "box from (0, -1) to (10, 1), z from ... to 5: it is at (3, 0, 0)", true),
        (area, 10.0, None, "box from (0, -1) to (10, 1), z from ... to 5: x = 10 is not below 10", false),
        (other, 1.0, None, "box from (..., ...) to (..., ...) in space 3: it is in space 0", false),
        (tower, 1.0, None, "cylinder of 2 m around (0, 0), z from 1 to ...: 1.0 m away, z is 0", false),
        (Constraint::Has(HP), 0.0, Some(1), "has component c.1000: it has", true),
        (Constraint::Has(TAG), 0.0, Some(1), "has component c.1001: it has not", false),
        (Constraint::Space(SpaceId(7)), 0.0, None, "in space 7: it is in space 0", false),
        (at_least(20), 0.0, Some(19), "c.1000.f1 >= 20: it is 19", false),
        (at_least(20), 0.0, None, "c.1000.f1 >= 20: it has no c.1000", false),
        (
            Constraint::Entities(ids),
            0.0,
            None,
            "id in (2, 4, 6, 8, 10 and 2 others): it is none of them",
            false,
        ),
        (Constraint::Or(Vec::new()), 0.0, None, "none: no entity meets it", false),
        (Constraint::And(Vec::new()), 0.0, None, "all: every entity meets it", true),
    ] {
        assert_eq!(told(&constraint, &constraint, x, hp), (says.to_owned(), holds));
    }
}

#[test]
fn what_follows_something_says_what_it_follows_and_where_that_is() {
    let near = Constraint::Near { entity: EntityId(9), radius_m: 5.0 };
    let found = told(&near, &sphere(100.0, 5.0), 90.0, None);
    assert_eq!(found, ("near entity 9, within 5 m: it is at (100, 0, 0): 10.0 m away".to_owned(), false));
    let (says, holds) = told(&near, &Constraint::Or(Vec::new()), 90.0, None);
    assert!(says.contains("does not exist, or has no position") && !holds, "{says}");
    let owned = Constraint::Owned([OwnedLayer { layer: spatialdb_types::LayerId(0), margin_m: 1.0 }].into());
    let region = |min: f64, max: f64| {
        let bounds = Box3 { min: Point3::new(min, -1.0, 0.0), max: Point3::new(max, 1.0, 1.0) };
        Constraint::Box { space: SpaceId(0), bounds }
    };
    let regions = Constraint::Or(vec![region(0.0, 10.0), region(50.0, 60.0)]);
    let (says, holds) = told(&owned, &regions, 48.0, None);
    assert!(says.ends_with("it is 2.0 m outside of the nearest of its 2 regions") && !holds, "{says}");
    let (says, holds) = told(&owned, &regions, 5.0, None);
    assert!(says.ends_with("it is, in 1 of 2 regions") && holds, "{says}");
    let (says, _) = told(&owned, &Constraint::Or(Vec::new()), 5.0, None);
    assert!(says.ends_with("it owns no region"), "{says}");
}

fn any_constraint() -> impl Strategy<Value = Constraint> {
    let bounds = |min: i8, size: u8| {
        let (min, max) = (f64::from(min), f64::from(min) + f64::from(size % 40));
        Box3 { min: Point3::new(min, -1.0, -1.0), max: Point3::new(max, 1.0, 1.0) }
    };
    let space = |odd: bool| SpaceId(u32::from(odd));
    let leaf = prop_oneof![
        Just(Constraint::All),
        (any::<bool>(), any::<i8>(), any::<u8>()).prop_map(move |(odd, min, size)| Constraint::Box {
            space: space(odd),
            bounds: bounds(min, size)
        }),
        (any::<i8>(), 0u8..60).prop_map(|(x, radius)| sphere(f64::from(x), f64::from(radius))),
        any::<bool>().prop_map(move |odd| Constraint::Space(space(odd))),
        any::<bool>().prop_map(|odd| Constraint::Has(if odd { HP } else { TAG })),
        (0i64..30).prop_map(at_least),
        (1u64..12).prop_map(|id| Constraint::Entities([EntityId(id)].into())),
        Just(Constraint::Near { entity: EntityId(3), radius_m: 1e9 }),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let list = proptest::collection::vec(inner.clone(), 0..4);
        prop_oneof![
            list.clone().prop_map(Constraint::And),
            list.prop_map(Constraint::Or),
            inner.prop_map(|inner| Constraint::Not(Box::new(inner))),
        ]
    })
}

/// What decides that a check turned out as it did: there is always something.
fn has_cause(check: &Check) -> bool {
    let decides = |part: &&Check| check.text == "not" || part.holds == check.holds;
    match check.parts.len() {
        0 => !check.text.is_empty() && !check.found.is_empty(),
        _ => check.parts.iter().any(|part| decides(&part)) && check.parts.iter().all(has_cause),
    }
}

proptest! {
    #[test]
    fn the_verdict_is_that_of_the_view(
        constraint in any_constraint(), x in -60i8..60, hp in proptest::option::of(0u8..30), placed in any::<bool>(),
    ) {
        let values = Hp::new(hp);
        let position = placed.then(|| Position::new(SpaceId(0), f64::from(x), 0.0, 0.0));
        let skipped = usize::from(!placed);
        let components = &values.components()[skipped..];
        let subject = Subject { entity: EntityId(7), position, components, values: &values };
        let check = constraint.explain(&subject, &Plain);
        prop_assert_eq!(check.holds, constraint.matches(&subject));
        prop_assert!(has_cause(&check), "{:?}", check);
    }
}
