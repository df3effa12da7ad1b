//! Applying frames equals a model, whatever the frames; broken frames are errors and never panics.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// One step of a server: what it does to the set this session sees.
#[derive(Clone, Debug)]
enum Step {
    Enter(u64),
    Leave(u64),
    Gone(u64, u32),
    Value(u64, u32, u8),
    /// Ends the frame.
    Cut,
    /// The worker looks at its changes.
    Look,
}

fn step() -> impl Strategy<Value = Step> {
    let (entity, component) = (1..8_u64, 1..4_u32);
    prop_oneof![
        entity.clone().prop_map(Step::Enter),
        entity.clone().prop_map(Step::Leave),
        (entity.clone(), component.clone()).prop_map(|(e, c)| Step::Gone(e, c)),
        (entity, component, any::<u8>()).prop_map(|(e, c, v)| Step::Value(e, c, v)),
        Just(Step::Cut),
        Just(Step::Look),
    ]
}

/// The values a session sees: per entity, per component, revision and value.
type Seen = BTreeMap<u64, BTreeMap<u32, (u64, u8)>>;

/// The model: the truth after each frame, and a server that only says what the protocol allows.
#[derive(Default)]
struct Model {
    seen: Seen,
    revision: u64,
    frame: v1::Frame,
    /// Entities that entered or left in the open frame: a frame has one form for each.
    touched: BTreeSet<u64>,
}

impl Model {
    fn step(&mut self, step: &Step) {
        match *step {
            Step::Enter(entity) if !self.seen.contains_key(&entity) && self.touched.insert(entity) => {
                self.seen.insert(entity, BTreeMap::new());
                self.frame.entered.push(entity);
            }
            Step::Leave(entity) if self.seen.contains_key(&entity) && self.touched.insert(entity) => {
                self.seen.remove(&entity);
                self.forget_values(entity);
                let reason = v1::LeaveReason::Deleted.into();
                self.frame.left.push(v1::Left { reason, entities: vec![entity] });
            }
            Step::Gone(entity, component) if !self.touched.contains(&entity) => {
                let Some(values) = self.seen.get_mut(&entity) else { return };
                if values.remove(&component).is_some() {
                    self.touched.insert(entity);
                    self.forget_values(entity);
                    self.frame.gone.push(v1::ComponentEntities { component, entities: vec![entity] });
                    // A frame carries whole current values of what it touched.
                    let rest: Vec<_> = self.seen[&entity].iter().map(|(c, v)| (*c, *v)).collect();
                    rest.into_iter().for_each(|(c, (r, v))| self.say(entity, c, r, v));
                }
            }
            Step::Value(entity, component, value) => {
                self.revision += 3;
                let revision = self.revision;
                let Some(values) = self.seen.get_mut(&entity) else { return };
                values.insert(component, (revision, value));
                self.say(entity, component, revision, value);
            }
            _ => {}
        }
    }

    fn say(&mut self, entity: u64, component: u32, revision: u64, value: u8) {
        if component == 1 {
            self.frame.positions.push(v1::PositionColumn {
                space: 0,
                entities: vec![entity],
                revisions: vec![revision],
                x: vec![f64::from(value)],
                y: vec![0.0],
                z: vec![],
            });
            return;
        }
        self.frame.columns.push(v1::Column {
            component,
            entities: vec![entity],
            revisions: vec![revision],
            values: vec![vec![value].into()],
            fields: vec![],
        });
    }

    fn forget_values(&mut self, entity: u64) {
        self.frame.positions.retain(|column| column.entities != [entity]);
        self.frame.columns.retain(|column| column.entities != [entity]);
    }

    fn cut(&mut self, number: u64) -> v1::Frame {
        self.touched.clear();
        v1::Frame { frame: number, ..std::mem::take(&mut self.frame) }
    }
}

fn seen_by(replica: &Replica) -> Seen {
    let mut seen: Seen = replica.entities().map(|entity| (entity.0, BTreeMap::new())).collect();
    for (entity, (revision, position)) in &replica.positions {
        let values = seen.get_mut(&entity.0).expect("a position of an entity in view");
        values.insert(1, (revision.0, position.point.x as u8));
    }
    for (component, column) in &replica.components {
        for (entity, stored) in column {
            let values = seen.get_mut(&entity.0).expect("a value of an entity in view");
            values.insert(component.0, (stored.revision.0, stored.value[0]));
        }
    }
    seen
}

/// Follows a replica by its changes alone, as a worker would.
fn follow(followed: &mut Seen, changes: &Changes, now: &Seen) {
    for (entity, _) in &changes.left {
        assert!(followed.remove(&entity.0).is_some(), "{entity} left and was not there");
    }
    for entity in &changes.entered {
        assert!(followed.insert(entity.0, BTreeMap::new()).is_none(), "{entity} entered twice");
    }
    for (entity, component) in &changes.gone {
        followed.get_mut(&entity.0).expect("in view").remove(&component.0);
    }
    for (entity, component) in &changes.updated {
        let value = now[&entity.0][&component.0];
        let before = followed.get_mut(&entity.0).expect("in view").insert(component.0, value);
        assert!(before.is_none_or(|before| before.0 <= value.0), "a revision went back");
    }
}

#[test]
fn what_came_and_went_between_two_looks_was_never_there() {
    let (mut model, mut replica) = (Model::default(), Replica::new());
    for steps in [&[Step::Enter(2), Step::Value(2, 2, 0)][..], &[Step::Gone(2, 2)], &[Step::Leave(2)]] {
        steps.iter().for_each(|step| model.step(step));
        let frame = model.cut(replica.frame() + 1);
        assert_eq!(replica.apply(&frame), Ok(()));
    }
    assert_eq!(replica.take_changes(), Changes::default());
}

proptest! {
    #[test]
    fn applying_frames_equals_the_model(steps in proptest::collection::vec(step(), 0..200)) {
        let (mut model, mut replica) = (Model::default(), Replica::new());
        let mut followed = Seen::new();
        for step in steps.iter().chain([&Step::Cut, &Step::Look]) {
            match step {
                Step::Cut => {
                    let frame = model.cut(replica.frame() + 1);
                    prop_assert_eq!(replica.apply(&frame), Ok(()));
                    prop_assert_eq!(seen_by(&replica), model.seen.clone());
                }
                Step::Look => {
                    let now = seen_by(&replica);
                    follow(&mut followed, &replica.take_changes(), &now);
                    prop_assert_eq!(&followed, &now);
                }
                other => model.step(other),
            }
        }
    }

    #[test]
    fn any_frame_is_applied_or_refused(
        entered in proptest::collection::vec(0..5_u64, 0..4),
        left in proptest::collection::vec(0..5_u64, 0..4),
        gone in proptest::collection::vec(0..5_u64, 0..4),
        entities in proptest::collection::vec(0..5_u64, 0..4),
        revisions in proptest::collection::vec(0..5_u64, 0..4),
        x in proptest::collection::vec(any::<f64>(), 0..4),
        z in proptest::collection::vec(any::<f64>(), 0..4),
    ) {
        let position = v1::PositionColumn {
            space: 0, entities: entities.clone(), revisions: revisions.clone(), x: x.clone(), y: x, z,
        };
        let values = vec![bytes::Bytes::new(); revisions.len()];
        let column = v1::Column { component: 2, entities, revisions, values, fields: vec![] };
        let frame = v1::Frame {
            frame: 1,
            entered,
            left: vec![v1::Left { reason: 99, entities: left }],
            gone: vec![v1::ComponentEntities { component: 2, entities: gone }],
            positions: vec![position],
            columns: vec![column],
            ..Default::default()
        };
        let mut replica = Replica::new();
        let _ = replica.apply(&frame);
        replica.take_changes();
    }
}

fn entered(frame: u64, entities: &[u64]) -> v1::Frame {
    v1::Frame { frame, entered: entities.to_vec(), ..Default::default() }
}

fn metadata(frame: u64, entity: u64, revision: u64, name: &str) -> v1::Frame {
    let value = v1::Metadata { name: name.into(), ..Default::default() };
    let column = v1::Column {
        component: 2,
        entities: vec![entity],
        revisions: vec![revision],
        values: vec![prost::Message::encode_to_vec(&value).into()],
        fields: vec![],
    };
    v1::Frame { frame, columns: vec![column], ..Default::default() }
}

#[test]
fn entering_twice_is_refused() {
    let mut replica = Replica::new();
    assert_eq!(replica.apply(&entered(1, &[7])), Ok(()));
    assert_eq!(replica.apply(&entered(2, &[7])), Err(ReplicaError::EnteredTwice(EntityId(7))));
}

#[test]
fn leaving_twice_is_refused() {
    let mut replica = Replica::new();
    let reason = v1::LeaveReason::OutOfView.into();
    let left =
        v1::Frame { frame: 1, left: vec![v1::Left { reason, entities: vec![7] }], ..Default::default() };
    let expected = ReplicaError::NotInView { entity: EntityId(7), what: "left" };
    assert_eq!(replica.apply(&left), Err(expected));
}

#[test]
fn a_value_of_an_entity_out_of_view_is_refused() {
    let expected = ReplicaError::NotInView { entity: EntityId(7), what: "has a value" };
    assert_eq!(Replica::new().apply(&metadata(1, 7, 1, "x")), Err(expected));
}

#[test]
fn a_falling_revision_is_refused_and_an_equal_one_is_not() {
    let mut replica = Replica::new();
    assert_eq!(replica.apply(&entered(1, &[7])), Ok(()));
    assert_eq!(replica.apply(&metadata(2, 7, 5, "x")), Ok(()));
    assert_eq!(replica.apply(&metadata(3, 7, 5, "x")), Ok(()));
    let expected = ReplicaError::RevisionFell {
        entity: EntityId(7),
        component: ComponentId::METADATA,
        before: Revision(5),
        after: Revision(4),
    };
    assert_eq!(replica.apply(&metadata(4, 7, 4, "x")), Err(expected));
}

#[test]
fn a_missing_frame_is_noticed() {
    let mut replica = Replica::new();
    assert_eq!(replica.apply(&entered(5, &[])), Ok(()));
    let expected = ReplicaError::FrameGap { expected: 6, got: 7 };
    assert_eq!(replica.apply(&entered(7, &[])), Err(expected));
}

#[test]
fn typed_reads_find_what_frames_brought() {
    let mut replica = Replica::new();
    replica.apply(&entered(1, &[7, 8])).expect("applies");
    replica.apply(&metadata(2, 7, 1, "seven")).expect("applies");
    let name = |entity| replica.get::<v1::Metadata>(EntityId(entity)).expect("decodes").map(|m| m.name);
    assert_eq!((name(7).as_deref(), name(8)), (Some("seven"), None));
    let all: Vec<_> = replica.with::<v1::Metadata>().map(|row| row.expect("decodes").0).collect();
    assert_eq!(all, [EntityId(7)]);
}

#[test]
fn a_value_of_another_schema_is_an_error_that_names_it() {
    let mut replica = Replica::new();
    replica.apply(&entered(1, &[7])).expect("applies");
    let mut frame = metadata(2, 7, 1, "x");
    frame.columns[0].values[0] = vec![0xFF].into();
    replica.apply(&frame).expect("applies");
    let error = replica.get::<v1::Metadata>(EntityId(7)).expect_err("no Metadata");
    assert!(error.to_string().starts_with("entity 7: spatialdb.v1.Metadata does not decode"), "{error}");
}
