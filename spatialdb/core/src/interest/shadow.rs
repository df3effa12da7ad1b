//! The shadow checker: what a subscriber holds in view, compared by brute force with what its views match.
//!
//! It shares nothing with the ways in which rows are found and told but the constraints themselves. Rows that have changed
//! since the subscriber was told last are left out: of those it cannot know yet.

use std::ops::Range;

use spatialdb_types::{ComponentId, EntityId, SessionId, ViewId};

use super::lane::{Mask, bits};
use super::subscriber::Subscriber;
use crate::partition::{Row, RowId, Store};

/// What a session is shown is not what its views match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShadowMismatch {
    /// Whose views.
    pub session: SessionId,
    /// Which entity; 0: none in particular.
    pub entity: EntityId,
    /// What differs.
    pub detail: String,
}

impl Subscriber {
    /// Compares some rows, as far as all is told of them.
    pub(crate) fn shadow_check(&self, store: &Store, rows: Range<u32>) -> Option<ShadowMismatch> {
        if !self.is_at_rest() {
            return None;
        }
        let told = self.lanes.iter().map(|lane| lane.since).min();
        rows.map(RowId).find_map(|id| {
            let row = store.live_row(id)?;
            let is_told = told.is_none_or(|told| row.changed_at <= told);
            let detail = if is_told { self.compare(store, id, row) } else { None };
            detail.map(|detail| ShadowMismatch { session: self.session(), entity: row.entity, detail })
        })
    }

    /// Recounts squares: by rows, and by places of squares.
    pub(crate) fn shadow_count(
        &self,
        store: &Store,
        rows: Range<u32>,
        places: Range<usize>,
    ) -> Option<ShadowMismatch> {
        let census = store.census.as_ref()?;
        let of_row = census
            .check_rows(store, rows)
            .map(|(id, detail)| (store.live_row(id).map_or(EntityId(0), |row| row.entity), detail));
        let of_square = || Some((EntityId(0), census.check_squares(store, places)?));
        let (entity, detail) = of_row.or_else(of_square)?;
        Some(ShadowMismatch { session: self.session(), entity, detail })
    }

    /// Compares each view of densities with a count of all entities.
    pub(crate) fn shadow_count_all(&self, store: &Store) -> Option<ShadowMismatch> {
        let detail = self.counting.shadow_check(store)?;
        Some(ShadowMismatch { session: self.session(), entity: EntityId(0), detail })
    }

    fn compare(&self, store: &Store, id: RowId, row: &Row) -> Option<String> {
        let matching = self.matching(store, row);
        let views = || bits(matching).map(|bit| self.parts[bit].view.id).collect::<Vec<ViewId>>();
        match self.known_components(id) {
            // It moved here, and the answer is not given yet.
            Some(None) => None,
            Some(Some(_)) if matching == 0 => Some("is in view and no view matches it".to_owned()),
            None if matching != 0 => Some(format!("is matched by views {:?} and is not in view", views())),
            None => None,
            Some(Some(known)) => {
                let is_wanted =
                    |c: &&ComponentId| bits(matching).any(|bit| self.parts[bit].part().wants(**c));
                let wanted: Vec<ComponentId> =
                    store.components(row).iter().filter(is_wanted).copied().collect();
                let differs = wanted != known;
                differs.then(|| format!("shows {known:?}; views {:?} want {wanted:?}", views()))
            }
        }
    }

    fn matching(&self, store: &Store, row: &Row) -> Mask {
        store.with_subject(row, |subject| {
            let parts = self.parts.iter().enumerate();
            let matches = parts.map(|(bit, part)| u64::from(part.part().constraint.matches(subject)) << bit);
            matches.fold(0, |mask, bit| mask | bit)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use spatialdb_types::{Limits, PartitionId, Position, SpaceId};

    use super::*;
    use crate::world::PartitionMap;
    use crate::{Constraint, CreateRows, Outbox, Part, Partition, PlacedRows, View, ViewSet};

    const VIEWER: SessionId = SessionId(5);

    fn watched() -> Partition {
        let map = Arc::new(PartitionMap::new(1, 10.0, &[]));
        let mut partition = Partition::new(PartitionId(0), map, Limits::default());
        let positions = (0..20).map(|i| Position::new(SpaceId(0), f64::from(i), 0.0, 0.0)).collect();
        let positions = PlacedRows { index: (0..20).collect(), positions };
        let entities = (1..=20).map(EntityId).collect();
        let rows = CreateRows { rows: (0..20).collect(), entities, positions, columns: Vec::new() };
        partition.load(&rows).expect("new ids");
        let part = Part { constraint: Constraint::All, components: Arc::new([]), interval_us: 0 };
        let views = [Arc::new(View::new(ViewId(1), part))];
        partition.set_views(VIEWER, 1, &ViewSet { views: views.into(), ..ViewSet::default() });
        partition.publish(0, &mut Outbox::default());
        partition
    }

    #[test]
    fn what_is_missing_in_a_view_is_found() {
        let mut partition = watched();
        assert_eq!((partition.shadow_check_all(), partition.shadow_check()), (Ok(()), Ok(())));
        partition.lose_held(VIEWER, EntityId(7));
        let found = partition.shadow_check().expect_err("it is missing");
        assert_eq!((found.session, found.entity), (VIEWER, EntityId(7)));
        assert!(found.detail.contains("is not in view"), "{}", found.detail);
    }
}
