//! What a seed makes: a world, its limits, and how restless it is.
//!
//! Responsible for: choosing sizes, and random positions, entities, constraints and views.
//! Not responsible for: anything that happens later.

use std::sync::Arc;

use spatialdb_core::interest::{Comparison, Encoding, FieldTest, Scalar, Step};
use spatialdb_core::{Constraint, Densities, Part, PartitionMap, Tuning, View};
use spatialdb_types::{Box3, ComponentId, EntityId, Limits, Point3, Position, SpaceId, ViewId};

use crate::rng::Rng;

/// The first component that entities may have besides Position and Metadata; there are [`Plan::components`] of them.
pub(crate) const FIRST_COMPONENT: u32 = 1000;

/// The choices that hold for a whole run.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Where the partitions lie.
    pub(crate) map: Arc<PartitionMap>,
    /// Bounds; some seeds have tight ones.
    pub(crate) limits: Limits,
    /// So few events may wait that some are missed.
    pub(crate) has_tight_events: bool,
    /// Entities go to and fro over borders while things happen to them and what a partition says is late.
    pub(crate) is_eventful: bool,
    /// Which ways of doing things are taken.
    pub(crate) tuning: Tuning,
    /// How many spaces.
    pub(crate) spaces: u32,
    /// The side of the populated square of each space, metres.
    pub(crate) side_m: f64,
    /// The side of a cell, metres.
    pub(crate) cell_m: f64,
    /// How many component types besides those, at least 2.
    pub(crate) components: u32,
    /// How many of a hundred entities are made with an Interest, and how many with an owner.
    pub(crate) interests: u64,
    /// Of a hundred entities so many follow others from the start.
    pub(crate) follows: u64,
    /// How many entities are loaded before the start.
    pub(crate) loaded: u64,
    /// How many sessions there are at most at once.
    pub(crate) sessions: u64,
    /// How many times the world comes to rest and is judged.
    pub(crate) rounds: u64,
    /// Steps of each round.
    pub(crate) steps: u64,
    /// How likely each kind of step is.
    pub(crate) weights: Weights,
}

/// How likely each kind of step is, against the others.
#[derive(Clone, Debug)]
pub(crate) struct Weights {
    /// Delivery from the edge to a partition, between partitions, from a partition to a session, and back; from a
    /// partition to the book of interests, and from there to a session.
    pub(crate) links: [u64; 6],
    /// A client sends a message.
    pub(crate) write: u64,
    /// A partition publishes.
    pub(crate) publish: u64,
    /// Time goes on.
    pub(crate) time: u64,
    /// A client takes a frame.
    pub(crate) frame: u64,
    /// A partition is restarted.
    pub(crate) restart: u64,
    /// A client adds, changes or ends a view.
    pub(crate) view: u64,
    /// A client comes or goes.
    pub(crate) session: u64,
    /// A partition is asked a query over all partitions.
    pub(crate) query: u64,
}

impl Plan {
    /// The world of a seed.
    pub(crate) fn new(rng: &mut Rng) -> Self {
        let spaces = rng.between(1, 3) as u32;
        let side_m = rng.float(50.0, 2000.0);
        let cell_m = side_m / rng.float(1.5, 30.0);
        let partitions = rng.between(1, 6) as u16;
        let place = |rng: &mut Rng| random_position(rng, spaces, side_m, cell_m);
        let limits = limits(rng);
        let sample: Vec<Position> = (0..rng.between(0, 200)).map(|_| place(rng)).collect();
        Self {
            map: Arc::new(PartitionMap::new(partitions, cell_m, &sample)),
            has_tight_events: limits.session_events_max < Limits::default().session_events_max,
            limits,
            is_eventful: rng.one_in(6),
            tuning: tuning(rng),
            spaces,
            side_m,
            cell_m,
            components: rng.between(2, 5) as u32,
            interests: *rng.pick(&[0, 5, 20, 60]),
            loaded: if rng.one_in(5) { rng.between(100, 300) } else { rng.between(10, 80) },
            sessions: rng.between(2, 7),
            rounds: rng.between(1, 4),
            steps: rng.between(100, 500),
            weights: weights(rng),
            follows: *rng.pick(&[0, 0, 5, 30]),
        }
    }

    /// A place in one of the spaces; some lie exactly on borders of cells.
    pub(crate) fn position(&self, rng: &mut Rng) -> Position {
        random_position(rng, self.spaces, self.side_m, self.cell_m)
    }

    /// A place near another: mostly in the same cell or one beside it.
    pub(crate) fn near(&self, rng: &mut Rng, at: Position) -> Position {
        let reach = self.cell_m * if rng.percent(50) { 0.3 } else { 1.2 };
        let x = at.point.x + rng.float(-reach, reach);
        let y = at.point.y + rng.float(-reach, reach);
        Position::new(at.space, x, y, at.point.z)
    }

    /// A component other than Position.
    pub(crate) fn component(&self, rng: &mut Rng) -> ComponentId {
        if rng.one_in(5) { ComponentId::METADATA } else { self.own_component(rng) }
    }

    fn own_component(&self, rng: &mut Rng) -> ComponentId {
        ComponentId(FIRST_COMPONENT + rng.below(u64::from(self.components)) as u32)
    }

    /// A view of entities with ids up to `last`, or of densities.
    pub(crate) fn view(&self, rng: &mut Rng, id: ViewId, last: EntityId) -> View {
        if rng.one_in(4) { self.density_view(rng, id) } else { self.entity_view(rng, id, last) }
    }

    /// A view that may replace another.
    pub(crate) fn view_like(&self, rng: &mut Rng, view: &View, last: EntityId) -> View {
        match &view.densities {
            Some(_) => self.density_view(rng, view.id),
            None => self.entity_view(rng, view.id, last),
        }
    }

    /// A constraint over entities with ids up to `last`.
    pub(crate) fn any_constraint(&self, rng: &mut Rng, last: EntityId) -> Constraint {
        self.constraint(rng, last, 0)
    }

    /// The densities of some part of a space, in squares of any size.
    pub(crate) fn densities(&self, rng: &mut Rng) -> Densities {
        let Box3 { min, max } = self.bounds(rng);
        let square_m = if rng.one_in(8) { self.cell_m * 1e9 } else { rng.float(0.0, self.cell_m * 6.0) };
        let corners = ((min.x, min.y), (max.x, max.y));
        let densities = Densities::new(self.space(rng), corners.0, corners.1, square_m, self.cell_m);
        let mut densities = densities.expect("a box and a size");
        densities.per_type = rng.percent(50);
        densities.interval_us = interval(rng);
        densities
    }

    fn density_view(&self, rng: &mut Rng, id: ViewId) -> View {
        View::of_densities(id, self.densities(rng))
    }

    /// A view of entities with ids up to `last`.
    pub(crate) fn entity_view(&self, rng: &mut Rng, id: ViewId, last: EntityId) -> View {
        let constraint = self.constraint(rng, last, 0);
        let interval_us = interval(rng);
        let part = Part { constraint, components: self.filter(rng), interval_us };
        let mut view = View { own_updates: rng.percent(30), ..View::new(id, part) };
        if rng.one_in(4) {
            let (space, center) = (self.space(rng), self.position(rng).point);
            let followed = rng.percent(50).then(|| EntityId(rng.between(1, last.0)));
            let mut radius_m = 0.0;
            for band in 1..=rng.between(1, 3) {
                radius_m += rng.float(0.0, self.side_m / 2.0);
                let near = match followed {
                    Some(entity) => Constraint::Near { entity, radius_m },
                    None => Constraint::Sphere { space, center, radius_m },
                };
                let all = view.parts[0].clone();
                view.parts.push(Part {
                    constraint: Constraint::And(vec![all.constraint, near]),
                    components: if rng.percent(50) { self.filter(rng) } else { all.components },
                    interval_us: all.interval_us / (8 >> band),
                });
            }
        }
        view
    }

    /// Which components a part of a view asks for; empty: all.
    fn filter(&self, rng: &mut Rng) -> Arc<[ComponentId]> {
        if rng.percent(50) {
            return Arc::new([]);
        }
        let own = (FIRST_COMPONENT..FIRST_COMPONENT + self.components).map(ComponentId);
        [ComponentId::POSITION, ComponentId::METADATA]
            .into_iter()
            .chain(own)
            .filter(|_| rng.percent(50))
            .collect()
    }

    fn constraint(&self, rng: &mut Rng, last: EntityId, depth: u64) -> Constraint {
        let nested =
            |rng: &mut Rng| (0..rng.between(0, 3)).map(|_| self.constraint(rng, last, depth + 1)).collect();
        match rng.below(if depth < 2 { 20 } else { 15 }) {
            0 => Constraint::All,
            1..=3 => Constraint::Box { space: self.space(rng), bounds: self.bounds(rng) },
            4..=5 => Constraint::Sphere {
                space: self.space(rng),
                center: self.position(rng).point,
                radius_m: rng.float(0.0, self.side_m),
            },
            6 => {
                let share = rng.between(1, 60);
                Constraint::Entities((1..=last.0).filter(|_| rng.percent(share)).map(EntityId).collect())
            }
            7 => Constraint::Has(ComponentId::POSITION),
            8 => Constraint::Has(self.component(rng)),
            9 => Constraint::Space(self.space(rng)),
            10 => {
                let Box3 { min, max } = self.bounds(rng);
                Constraint::Cylinder {
                    space: self.space(rng),
                    center: self.position(rng).point,
                    radius_m: rng.float(0.0, self.side_m),
                    min_z: min.z,
                    max_z: max.z,
                }
            }
            11..=12 => Constraint::Field(self.field_test(rng)),
            13..=14 => self.near_one(rng, last),
            15..=16 => Constraint::And(nested(rng)),
            17..=18 => Constraint::Or(nested(rng)),
            _ => Constraint::Not(Box::new(self.constraint(rng, last, depth + 1))),
        }
    }

    fn near_one(&self, rng: &mut Rng, last: EntityId) -> Constraint {
        Constraint::Near {
            entity: EntityId(rng.between(1, last.0)),
            radius_m: rng.float(0.0, self.side_m / 2.0),
        }
    }

    /// A test of a number in a value, or of a coordinate.
    fn field_test(&self, rng: &mut Rng) -> FieldTest {
        let comparisons = [
            Comparison::Equal,
            Comparison::NotEqual,
            Comparison::Less,
            Comparison::AtMost,
            Comparison::Greater,
            Comparison::AtLeast,
            Comparison::In,
        ];
        let comparison = comparisons[rng.below(7) as usize];
        let count = if comparison == Comparison::In { rng.between(0, 3) } else { 1 };
        let step = |field| Arc::new([Step { field, rivals: Box::default() }]);
        if rng.one_in(3) {
            let values = (0..count).map(|_| Scalar::Float(self.position(rng).point.x)).collect();
            let (component, path) = (ComponentId::POSITION, step(rng.between(2, 3) as u32));
            let (encoding, default) = (Encoding::Double, Scalar::Float(0.0));
            return FieldTest { component, path, encoding, default, comparison, values };
        }
        // Half of them are about whether it is set at all.
        let number = |rng: &mut Rng| if rng.percent(50) { 0 } else { rng.below(1 << 20) };
        FieldTest {
            component: self.own_component(rng),
            path: step([1, 2, 4][rng.below(3) as usize]),
            encoding: Encoding::UnsignedVarint,
            default: Scalar::Unsigned(0),
            comparison,
            values: (0..count).map(|_| Scalar::Unsigned(number(rng))).collect(),
        }
    }

    fn space(&self, rng: &mut Rng) -> SpaceId {
        SpaceId(rng.below(u64::from(self.spaces)) as u32)
    }

    fn bounds(&self, rng: &mut Rng) -> Box3 {
        let (a, b) = (self.position(rng).point, self.position(rng).point);
        let open = |rng: &mut Rng, v: f64, end: f64| if rng.one_in(12) { end } else { v };
        let (low, high) = (f64::NEG_INFINITY, f64::INFINITY);
        let flat = rng.one_in(4);
        Box3 {
            min: Point3::new(
                open(rng, a.x.min(b.x), low),
                open(rng, a.y.min(b.y), low),
                if flat { rng.float(0.0, 30.0) } else { low },
            ),
            max: Point3::new(
                open(rng, a.x.max(b.x), high),
                open(rng, a.y.max(b.y), high),
                if flat { rng.float(30.0, 64.0) } else { high },
            ),
        }
    }
}

fn interval(rng: &mut Rng) -> u64 {
    if rng.percent(60) { 0 } else { rng.between(1_000, 500_000) }
}

/// The same view somewhere else, as when a camera pans; any other constraint stays as it is.
pub(crate) fn panned(view: &View, by: Point3) -> View {
    let mut view = view.clone();
    for part in &mut view.parts {
        shift(&mut part.constraint, by);
    }
    view
}

fn shift(constraint: &mut Constraint, by: Point3) {
    let moved = |p: Point3| Point3::new(p.x + by.x, p.y + by.y, p.z);
    match constraint {
        Constraint::Box { bounds, .. } => *bounds = Box3 { min: moved(bounds.min), max: moved(bounds.max) },
        Constraint::Sphere { center, .. } | Constraint::Cylinder { center, .. } => *center = moved(*center),
        // A band stays a part of its view.
        Constraint::And(list) => list.iter_mut().for_each(|constraint| shift(constraint, by)),
        _ => {}
    }
}

/// In so small a world the larger of the ways would never be taken.
fn tuning(rng: &mut Rng) -> Tuning {
    Tuning {
        share_from: rng.below(5) as usize,
        departures_kept: rng.below(4) as usize,
        looked_through: [0, 3, 64][rng.below(3) as usize],
        rows_per_listed: [0, 2, 8][rng.below(3) as usize],
        sweep_cells_max: [0, 1, usize::MAX][rng.below(3) as usize],
        part_cells_max: [0, 4, 1024][rng.below(3) as usize],
        answer_bytes_at_once: if rng.one_in(2) { 1 << 20 } else { 2000 },
        counted_at_once: [1, 10, 1000][rng.below(3) as usize],
        emptied_kept: [0, 4, 1000][rng.below(3) as usize],
        tombstones_many: [1, 8, 256][rng.below(3) as usize],
    }
}

fn random_position(rng: &mut Rng, spaces: u32, side_m: f64, cell_m: f64) -> Position {
    let space = SpaceId(rng.below(u64::from(spaces)) as u32);
    let coordinate = |rng: &mut Rng| {
        let v = rng.float(-side_m / 2.0, side_m / 2.0);
        if rng.one_in(8) { (v / cell_m).round() * cell_m } else { v }
    };
    let (x, y) = (coordinate(rng), coordinate(rng));
    Position::new(space, x, y, rng.below(64) as f64)
}

fn limits(rng: &mut Rng) -> Limits {
    let mut limits = Limits::default();
    if rng.percent(40) {
        limits.frame_bytes_max = *rng.pick(&[64, 200, 500, 1000, 4000]);
    }
    if rng.percent(10) {
        limits.rejections_per_frame_max = 2;
    }
    if rng.percent(20) {
        limits.session_events_max = rng.between(1, 8);
        limits.session_event_bytes_max = rng.between(100, 800);
    }
    if rng.percent(20) {
        limits.partition_moves_in_flight_max = rng.between(1, 4);
    }
    if rng.percent(25) {
        limits.session_density_squares_max = rng.between(1, 20);
    }
    if rng.percent(25) {
        limits.density_types_max = rng.between(0, 4);
        limits.density_type_bytes_max = rng.between(1, 3);
    }
    if rng.percent(20) {
        limits.partition_writes_parked_max = rng.between(1, 6);
    }
    if rng.percent(20) {
        limits.session_interests_max = rng.below(4);
    }
    if rng.percent(20) {
        limits.session_views_max = rng.between(3, 12);
    }
    if rng.percent(20) {
        limits.session_view_parts_max = rng.between(3, 20);
    }
    if rng.percent(20) {
        limits.session_constraint_nodes_max = rng.between(5, 60);
    }
    limits
}

fn weights(rng: &mut Rng) -> Weights {
    let mut link = || *rng.pick(&[1, 4, 16, 60]);
    let links = [link(), link(), link(), link(), link(), link()];
    Weights {
        links,
        write: rng.between(5, 40),
        publish: rng.between(2, 20),
        time: rng.between(1, 6),
        frame: rng.between(1, 20),
        restart: if rng.percent(50) { 0 } else { 1 },
        view: rng.between(0, 4),
        session: rng.between(0, 2),
        query: rng.between(0, 8),
    }
}
