//! Telling a session how many entities are in the squares of its views of densities.
//!
//! A view is told all that is in its area once, then what has changed since; if that is not known any longer, all again.
//! Counts are told as they are when they are told: who takes deltas seldom gets the latest ones.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::lane::{Lane, NEVER};
use super::{DeltaBuilder, Densities, View};
use crate::Micros;
use crate::message::{DensityDelta, DensityRows};
use crate::partition::{Census, KindId, PublishSeq, Square, Store, UNTYPED};

/// The views of densities of one session in one partition.
#[derive(Debug, Default)]
pub(super) struct Counting {
    views: Vec<Counted>,
}

/// One of them.
#[derive(Debug)]
struct Counted {
    view: Arc<View>,
    densities: Densities,
    lane: Lane,
    is_filled: bool,
    run: Option<Run>,
}

/// Telling what is new, in pieces that fit a frame.
#[derive(Debug)]
struct Run {
    /// Squares that changed at or before this are known; `NEVER`: what was told before counts no longer.
    since: PublishSeq,
    stamp: PublishSeq,
    cursor: u64,
    has_begun: bool,
}

impl Run {
    const fn new(since: PublishSeq, stamp: PublishSeq) -> Self {
        Self { since, stamp, cursor: 0, has_begun: false }
    }

    fn is_anew(&self) -> bool {
        self.since == NEVER
    }
}

impl Counting {
    /// Replaces the views; those that were there before go on.
    pub(super) fn set(&mut self, views: &[Arc<View>], store: &mut Store) {
        let mut old = std::mem::take(&mut self.views);
        let (all, typed) = census_needs(&old);
        for view in views {
            let Some(densities) = &view.densities else { continue };
            let same = |counted: &Counted| (counted.view.id, counted.view.version) == (view.id, view.version);
            self.views.push(match old.iter().position(same) {
                Some(at) => old.swap_remove(at),
                None => Counted {
                    view: view.clone(),
                    densities: densities.clone(),
                    lane: Lane::new(densities.interval_us),
                    is_filled: false,
                    run: None,
                },
            });
        }
        let (all_now, typed_now) = census_needs(&self.views);
        store.watch_squares(all_now, typed_now);
        store.unwatch_squares(all, typed);
    }

    /// The session is over.
    pub(super) fn end(&self, store: &mut Store) {
        let (all, typed) = census_needs(&self.views);
        store.unwatch_squares(all, typed);
    }

    /// Whether something is to be told that waits for nothing but the next publish.
    pub(super) fn is_owed(&self) -> bool {
        self.views.iter().any(|counted| counted.run.is_some() || !counted.is_filled)
    }

    /// Whether something has been told in part.
    pub(super) fn is_running(&self) -> bool {
        self.views.iter().any(|counted| counted.run.is_some())
    }

    /// When the next view is due that has something new to look at.
    pub(super) fn next_due(&self, last_change: PublishSeq) -> Option<Micros> {
        self.views.iter().filter(|counted| counted.lane.since < last_change).map(|c| c.lane.due).min()
    }

    /// Tells what the views lack, as far as half of the delta goes: the rest is for entities.
    pub(super) fn tell(&mut self, store: &Store, now: Micros, builder: &mut DeltaBuilder) {
        let Some(census) = &store.census else { return };
        for counted in &mut self.views {
            if builder.is_half_full() {
                break;
            }
            counted.start(census, store.publish(), now);
            counted.go_on(census, now, builder);
        }
    }

    /// Compares what the views would be told with a count of all entities.
    pub(super) fn shadow_check(&self, store: &Store) -> Option<String> {
        let census = store.census.as_ref().filter(|census| !census.is_pending())?;
        let ready = self.views.iter().filter(|counted| census.is_ready(counted.densities.per_type));
        ready.clone().find_map(|counted| counted.compare(census, store))
    }
}

/// How many views there are, and how many count types apart.
fn census_needs(views: &[Counted]) -> (usize, usize) {
    (views.len(), views.iter().filter(|counted| counted.densities.per_type).count())
}

impl Counted {
    fn start(&mut self, census: &Census, publish: PublishSeq, now: Micros) {
        let Lane { since, due, .. } = self.lane;
        // What was there when it began may be forgotten by now.
        self.run.take_if(|run| !run.is_anew() && !census.remembers(run.since));
        if self.run.is_some() || !census.is_ready(self.densities.per_type) {
            return;
        }
        self.run = match self.is_filled {
            false => Some(Run::new(NEVER, publish)),
            true if !census.remembers(since) => Some(Run::new(NEVER, publish)),
            true => (since < census.last_change() && due <= now).then(|| Run::new(since, publish)),
        };
    }

    fn go_on(&mut self, census: &Census, now: Micros, builder: &mut DeltaBuilder) {
        let Some(mut run) = self.run.take() else { return };
        let mut rows: BTreeMap<KindId, DensityRows> = BTreeMap::new();
        let is_over = census.walk(&self.densities.area(), run.since, &mut run.cursor, &mut |square| {
            if builder.is_half_full() {
                return false;
            }
            builder.spend(1);
            self.each_count(square, run.since, |kind, count| {
                let rows = rows.entry(kind).or_insert_with(|| DensityRows {
                    kind: if kind == UNTYPED { "".into() } else { census.kind_name(kind).clone() },
                    ..DensityRows::default()
                });
                rows.push(square.x, square.y, count);
                builder.count_square();
            });
            true
        });
        let begins_anew = run.is_anew() && !std::mem::replace(&mut run.has_begun, true);
        let is_filled = is_over && run.is_anew();
        if begins_anew || is_filled || !rows.is_empty() {
            let View { id: view, version, .. } = *self.view;
            let rows = rows.into_values().collect();
            builder.delta.densities.push(DensityDelta { view, version, begins_anew, rows, is_filled });
        }
        if is_over {
            self.is_filled = true;
            self.lane.ran(run.stamp, now);
        } else {
            self.run = Some(run);
        }
    }

    /// What is to be told of a square: the counts that changed after `since`; none that is 0 where nothing is known.
    fn each_count(&self, square: &Square, since: PublishSeq, mut each: impl FnMut(KindId, u32)) {
        if square.level != self.densities.area().level {
            return;
        }
        let all = [(UNTYPED, square.all)];
        let counts = if self.densities.per_type { &square.kinds[..] } else { &all };
        for &(kind, tally) in counts {
            if tally.changed_at > since && (tally.count > 0 || since != NEVER) {
                each(kind, tally.count);
            }
        }
    }

    fn compare(&self, census: &Census, store: &Store) -> Option<String> {
        let mut counts: BTreeMap<(i32, i32), i64> = BTreeMap::new();
        census.walk(&self.densities.area(), NEVER, &mut 0, &mut |square| {
            self.each_count(square, NEVER, |_, count| {
                *counts.entry((square.x, square.y)).or_default() += i64::from(count);
            });
            true
        });
        for id in (0..store.row_count() as u32).map(crate::partition::RowId) {
            let position = store.live_row(id).and_then(|row| store.position(row));
            if let Some(square) = position.and_then(|at| self.densities.square_of(at)) {
                *counts.entry(square).or_default() -= 1;
            }
        }
        let (square, difference) = counts.iter().find(|(_, difference)| **difference != 0)?;
        Some(format!("view {} counts {difference} too many in square {square:?}", self.view.id))
    }
}
