//! Stances: as what a subscriber knows an entity that it holds in view.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use spatialdb_types::ComponentId;

use super::lane::{Lane, Mask, bits};
use super::subscriber::ActivePart;
use crate::partition::{PublishSeq, SetId, Store};

/// The number of a stance of one subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StanceId(u32);

/// What is wanted of entities that have one set of components and match one set of parts.
#[derive(Debug)]
pub(super) struct Stance {
    /// The lanes of the parts that it matches.
    pub(super) lanes: Mask,
    /// Which components are wanted, by rising id.
    pub(super) wanted: Arc<[ComponentId]>,
    /// How each of them is told, parallel to `wanted`.
    pub(super) pairs: Box<[Pair]>,
    /// Whether a part wants a session's own updates.
    pub(super) wants_own: bool,
    /// The subscriber's views have changed since: lanes are other ones now.
    pub(super) is_old: bool,
}

/// How one component is told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    /// Its fastest lane.
    pub(super) lane: u8,
    /// Whether the session's own updates come back.
    pub(super) own: bool,
    /// Of an old stance: as of when it has been told.
    pub(super) told: PublishSeq,
}

/// What the parts of one mask want together.
#[derive(Debug)]
struct Plan {
    lanes: Mask,
    wants_own: bool,
    /// The fastest lane of a part that wants every component, and whether one of those wants own updates.
    whole: Option<(u8, bool)>,
    /// For components that a filter names.
    named: Vec<(ComponentId, u8, bool)>,
}

/// The stances of one subscriber.
#[derive(Debug, Default)]
pub(super) struct Stances {
    list: Vec<Option<Stance>>,
    free: Vec<u32>,
    ids: FxHashMap<(SetId, Mask), StanceId>,
    /// The one asked for last: mostly it is asked for again.
    last: Option<((SetId, Mask), StanceId)>,
    plans: FxHashMap<Mask, Plan>,
    /// For each part, the first one that wants the same.
    alike: Vec<u8>,
    has_old: bool,
}

impl StanceId {
    /// It moved here and the session is owed an answer.
    pub(super) const OWED: Self = Self(u32::MAX);
}

impl Stances {
    /// `None` for what is owed.
    pub(super) fn get(&self, id: StanceId) -> Option<&Stance> {
        self.list.get(id.0 as usize)?.as_ref()
    }

    /// These are the parts from now on.
    pub(super) fn set(&mut self, parts: &[ActivePart]) {
        let first =
            |part: &ActivePart| parts.iter().position(|other| other.wants_same(part)).unwrap_or(0) as u8;
        self.alike = parts.iter().map(first).collect();
    }

    /// Fewer parts that want the same.
    fn essence(&self, mask: Mask) -> Mask {
        bits(mask).fold(0, |essence, bit| essence | 1 << self.alike[bit])
    }

    /// The stance of entities with these components that match these parts.
    pub(super) fn intern(&mut self, store: &Store, parts: &[ActivePart], set: SetId, mask: Mask) -> StanceId {
        let mask = self.essence(mask);
        if let Some((last, id)) = self.last
            && last == (set, mask)
        {
            return id;
        }
        let id = self.find_or_add(store, parts, set, mask);
        self.last = Some(((set, mask), id));
        id
    }

    fn find_or_add(&mut self, store: &Store, parts: &[ActivePart], set: SetId, mask: Mask) -> StanceId {
        if let Some(&id) = self.ids.get(&(set, mask)) {
            return id;
        }
        let plan = self.plans.entry(mask).or_insert_with(|| Plan::of(parts, mask));
        let all = &store.tables.get(set).components;
        let told =
            |&c: &ComponentId| plan.pair(c).map(|(lane, own)| (c, Pair { lane, own, told: PublishSeq(0) }));
        let (wanted, pairs): (Vec<ComponentId>, Vec<Pair>) = all.iter().filter_map(told).unzip();
        let wanted = if wanted.len() == all.len() { all.clone() } else { wanted.into() };
        let stance = Stance {
            lanes: plan.lanes,
            wanted,
            pairs: pairs.into(),
            wants_own: plan.wants_own,
            is_old: false,
        };
        let id = self.free.pop().unwrap_or(self.list.len() as u32);
        match self.list.get_mut(id as usize) {
            Some(place) => *place = Some(stance),
            None => self.list.push(Some(stance)),
        }
        self.ids.insert((set, mask), StanceId(id));
        StanceId(id)
    }

    /// The lane of a component of entities that match these parts, and whether own updates come back; `None`: it is not
    /// wanted.
    pub(super) fn pair(
        &mut self,
        parts: &[ActivePart],
        mask: Mask,
        component: ComponentId,
    ) -> Option<(u8, bool)> {
        self.plans.entry(mask).or_insert_with(|| Plan::of(parts, mask)).pair(component)
    }

    /// The lanes of these parts.
    pub(super) fn lanes(&mut self, parts: &[ActivePart], mask: Mask) -> Mask {
        self.plans.entry(mask).or_insert_with(|| Plan::of(parts, mask)).lanes
    }

    /// The views change: what is known so far is known as of when its lane was told.
    pub(super) fn grow_old(&mut self, lanes: &[Lane]) {
        self.ids.clear();
        self.last = None;
        self.plans.clear();
        for stance in self.list.iter_mut().flatten().filter(|stance| !stance.is_old) {
            stance.is_old = true;
            stance.pairs.iter_mut().for_each(|pair| pair.told = lanes[usize::from(pair.lane)].since);
            self.has_old = true;
        }
    }

    /// No held entity has an old stance any longer.
    pub(super) fn forget_old(&mut self) {
        if !std::mem::take(&mut self.has_old) {
            return;
        }
        for (id, place) in self.list.iter_mut().enumerate() {
            if place.take_if(|stance| stance.is_old).is_some() {
                self.free.push(id as u32);
            }
        }
    }
}

impl Stance {
    /// As of when a component has been told; `None`: it has not. What is due was told at `told_now` too.
    pub(super) fn told(
        &self,
        component: ComponentId,
        lanes: &[Lane],
        due: Mask,
        told_now: PublishSeq,
    ) -> Option<PublishSeq> {
        let pair = self.pairs[self.wanted.binary_search(&component).ok()?];
        if self.is_old {
            return Some(pair.told);
        }
        let since = lanes[usize::from(pair.lane)].since;
        Some(if due & (1 << pair.lane) == 0 { since } else { since.max(told_now) })
    }
}

impl Plan {
    fn of(parts: &[ActivePart], mask: Mask) -> Self {
        let mut plan = Self { lanes: 0, wants_own: false, whole: None, named: Vec::new() };
        for part in bits(mask).map(|bit| &parts[bit]) {
            let (lane, own) = (part.lane, part.view.own_updates);
            plan.lanes |= 1 << lane;
            plan.wants_own |= own;
            if part.part().components.is_empty() {
                plan.whole = Some(faster(plan.whole, lane, own));
            }
            for &component in part.part().components.iter() {
                match plan.named.iter_mut().find(|(c, ..)| *c == component) {
                    Some(named) => (named.1, named.2) = faster(Some((named.1, named.2)), lane, own),
                    None => plan.named.push((component, lane, own)),
                }
            }
        }
        plan
    }

    fn pair(&self, component: ComponentId) -> Option<(u8, bool)> {
        let named = self.named.iter().find(|(c, ..)| *c == component);
        match named {
            Some(&(_, lane, own)) => Some(faster(self.whole, lane, own)),
            None => self.whole,
        }
    }
}

/// Lanes are in order, the fastest first.
fn faster(other: Option<(u8, bool)>, lane: u8, own: bool) -> (u8, bool) {
    other.map_or((lane, own), |(l, o)| (l.min(lane), o || own))
}
