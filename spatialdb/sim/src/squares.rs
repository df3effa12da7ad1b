//! What a client knows of squares, and the judge of that.

use std::collections::BTreeMap;

use spatialdb_core::{Densities, DensityColumn, View};
use spatialdb_types::{ComponentId, ViewId};

use crate::actor::Actor;
use crate::client::Value;
use crate::driver::Sim;
use crate::judge::{Failure, Truth};
use crate::values;

/// What types without a number of their own are counted as.
const OTHER: &str = "*";

/// How many entities a client was told to be in squares.
#[derive(Debug, Default)]
pub(crate) struct Squares {
    /// By view, side of the square, type and number.
    counts: BTreeMap<Key, u64>,
}

type Key = (ViewId, u64, String, i32, i32);

/// By number and type.
type Counts = BTreeMap<(i32, i32, String), u64>;

impl Squares {
    /// Applies a column.
    ///
    /// # Errors
    /// A row tells nothing new.
    pub(crate) fn apply(&mut self, column: &DensityColumn) -> Result<(), Failure> {
        let DensityColumn { view, square_m, kind, x, y, counts } = column;
        if x.len() != counts.len() || y.len() != counts.len() {
            let detail = format!("{} and {} numbers, {} counts", x.len(), y.len(), counts.len());
            return Err(Failure { judge: "squares", detail });
        }
        for ((&x, &y), &count) in x.iter().zip(y).zip(counts) {
            let key = (*view, square_m.to_bits(), kind.to_string(), x, y);
            let before = if count == 0 { self.counts.remove(&key) } else { self.counts.insert(key, count) };
            if before.unwrap_or(0) == count {
                let detail = format!("view {view}, square ({x}, {y}), {kind:?}: {count} was known");
                return Err(Failure { judge: "squares", detail });
            }
        }
        Ok(())
    }

    /// The client has ended the view.
    pub(crate) fn end(&mut self, view: ViewId) {
        self.counts.retain(|key, _| key.0 != view);
    }

    /// How many entities are in all squares of a view.
    pub(crate) fn sum(&self, view: ViewId) -> u64 {
        self.of(view).map(|(_, count)| count).sum()
    }

    fn of(&self, view: ViewId) -> impl Iterator<Item = (&Key, u64)> {
        self.counts.iter().filter(move |(key, _)| key.0 == view).map(|(key, &count)| (key, count))
    }
}

impl Sim {
    /// At rest, squares count what is in them.
    ///
    /// # Errors
    /// The first one that does not.
    pub(crate) fn judge_densities(&self, actor: &Actor, truth: &Truth) -> Result<(), Failure> {
        let squares = &actor.replica.squares;
        let mut may_grow = false;
        for view in actor.views.values() {
            let Some(asked) = &view.densities else { continue };
            let shown = self.shown_as(view, asked, squares)?;
            may_grow |= squares.of(view.id).next().is_some() && shown.coarser(1).is_some();
            let told = squares.of(view.id).map(|((.., kind, x, y), n)| ((*x, *y, kind.clone()), n)).collect();
            self.judge_counts(&shown, truth, &told).map_err(|detail| Failure {
                judge: "squares",
                detail: format!("view {}, {shown:?}: {detail}", view.id),
            })?;
        }
        let max = self.plan.limits.session_density_squares_max;
        if squares.counts.len() as u64 > max && may_grow {
            let detail = format!("{} squares, session_density_squares_max = {max}", squares.counts.len());
            return Err(Failure { judge: "squares", detail });
        }
        Ok(())
    }

    /// The squares that the client was told of: larger ones than it asked for if there would be too many.
    fn shown_as(&self, view: &View, asked: &Densities, squares: &Squares) -> Result<Densities, Failure> {
        let mut sides: Vec<f64> = squares.of(view.id).map(|(key, _)| f64::from_bits(key.1)).collect();
        sides.dedup();
        let side = sides.first().copied().unwrap_or(asked.square_m());
        let is_tight = self.plan.limits.session_density_squares_max < 1000;
        let fits = (0..32).find(|&n| asked.coarser(n).is_some_and(|c| c.square_m() == side));
        match fits.and_then(|doublings| asked.coarser(doublings)) {
            Some(shown) if sides.len() <= 1 && (is_tight || shown == *asked) => Ok(shown),
            _ => {
                let detail = format!("view {} has squares of {sides:?} m, asked was {asked:?}", view.id);
                Err(Failure { judge: "squares", detail })
            }
        }
    }

    fn judge_counts(&self, shown: &Densities, truth: &Truth, told: &Counts) -> Result<(), String> {
        let mut counts = Counts::new();
        for fact in truth.values() {
            let Some((x, y)) = fact.position.and_then(|at| shown.square_of(at)) else { continue };
            let kind = match fact.components.get(&ComponentId::METADATA) {
                Some((_, Value::Bytes(value))) if shown.per_type => values::type_of(value),
                _ => String::new(),
            };
            *counts.entry((x, y, kind)).or_default() += 1;
        }
        let is_tight = self.plan.limits.density_types_max < 100;
        if !shown.per_type || !is_tight {
            return if counts == *told { Ok(()) } else { Err(format!("told {told:?}, not {counts:?}")) };
        }
        // Which types have a number of their own depends on which came first.
        let of_square = |counts: &Counts| {
            let mut sums: BTreeMap<(i32, i32), u64> = BTreeMap::new();
            counts.iter().for_each(|((x, y, _), count)| *sums.entry((*x, *y)).or_default() += count);
            sums
        };
        let too_many = |(key, count): (&(i32, i32, String), &u64)| {
            key.2 != OTHER && counts.get(key).is_none_or(|is| is < count)
        };
        let is_right = of_square(told) == of_square(&counts) && !told.iter().any(too_many);
        if is_right { Ok(()) } else { Err(format!("told {told:?}, not {counts:?}")) }
    }
}
