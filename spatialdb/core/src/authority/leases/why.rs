//! Why an entity belongs to the region that it belongs to: for people who ask.

use spatialdb_types::{EntityId, LayerId, Point3, Position, RegionId};

use super::{Home, Lease, LeaseTable};

/// The region of an entity in a layer, and why.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Belonging {
    /// Which one.
    pub region: RegionId,
    /// What is known of who owns it; nothing, if the region is gone.
    pub lease: Lease,
    /// Why that one.
    pub why: Why,
    /// Its owner has not shown that it has heard that it gained the entity, and may not write it before.
    pub is_unseen: bool,
}

/// Why an entity belongs to a region.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Why {
    /// It lies in it.
    LiesIn,
    /// It has no position.
    Nowhere,
    /// It belongs to the player of that region.
    Player,
    /// It lies in another one, near the border.
    Kept {
        /// That one.
        lies_in: RegionId,
        /// So far outside of its own region, metres.
        outside_m: f64,
        /// It goes over when it is so far outside.
        hysteresis_m: f64,
    },
    /// Its leader belongs to it. It lies in that one, if it lies anywhere.
    Follows(Option<RegionId>),
}

impl LeaseTable {
    /// Where an entity with that home belongs, and why. `None`: nothing is known of regions there, or its player has none.
    pub fn belonging<'a>(
        &self,
        entity: EntityId,
        layer: LayerId,
        home: impl Into<Home<'a>>,
    ) -> Option<Belonging> {
        let home = home.into();
        let entry = self.apart.entry(entity, layer).unwrap_or_default();
        let here = self.region_at(layer, home);
        let region = entry.region.or(here)?;
        let lease = self.slot(region).map(|slot| self.lease(slot)).unwrap_or_default();
        let why = match (entry.region, here, home.at) {
            _ if self.layers.get(layer).is_client() => Why::Player,
            (Some(_), _, _) if entry.follows => Why::Follows(here),
            (Some(own), Some(lies_in), Some(at)) if own != lies_in => Why::Kept {
                lies_in,
                outside_m: self.outside_m(layer, own, at),
                hysteresis_m: self.layers.get(layer).border_hysteresis_m,
            },
            (_, _, Some(_)) => Why::LiesIn,
            (_, _, None) => Why::Nowhere,
        };
        let is_unseen = entry.gained.is_some_and(|gained| Some(gained.owner) == lease.owner);
        Some(Belonging { region, lease, why, is_unseen })
    }

    /// How far outside of a region a place is, as it matters to `border_hysteresis_m`: on the axis where it is furthest.
    fn outside_m(&self, layer: LayerId, region: RegionId, at: Position) -> f64 {
        let bounds = self.tilings.get(&(layer, at.space)).and_then(|tiling| tiling.bounds(region));
        let Point3 { x, y, .. } = at.point;
        bounds.map_or(0.0, |area| {
            [area.min.x - x, x - area.max.x, area.min.y - y, y - area.max.y].into_iter().fold(0.0, f64::max)
        })
    }
}

#[cfg(test)]
mod tests {
    use spatialdb_types::{Revision, SpaceId};

    use super::super::tests::{EAST, LAYER, NOWHERE, WEST, table};
    use super::*;

    const E: EntityId = EntityId(9);

    fn at(x: f64) -> Option<Position> {
        Some(Position::new(SpaceId(0), x, 3.0, 0.0))
    }

    #[test]
    fn it_lies_there_or_is_kept_near_the_border_or_follows() {
        let mut table = table();
        let told = |table: &LeaseTable, at| table.belonging(E, LAYER, at).expect("regions are known");
        assert_eq!((told(&table, at(-5.0)).region, told(&table, at(-5.0)).why), (WEST, Why::LiesIn));
        assert_eq!((told(&table, None).region, told(&table, None).why), (NOWHERE, Why::Nowhere));
        table.moved(E, LAYER, at(-5.0), at(4.0), Revision(1));
        let kept = Why::Kept { lies_in: EAST, outside_m: 4.0, hysteresis_m: 10.0 };
        assert_eq!((told(&table, at(4.0)).region, told(&table, at(4.0)).why), (WEST, kept));
        table.moved(E, LAYER, at(4.0), at(12.0), Revision(2));
        let gone_over = told(&table, at(12.0));
        assert_eq!((gone_over.region, gone_over.why, gone_over.is_unseen), (EAST, Why::LiesIn, true));
        table.follow(E, LAYER, Some(WEST), at(12.0), Revision(3));
        assert_eq!(told(&table, at(12.0)).why, Why::Follows(Some(EAST)));
        table.forget();
        assert_eq!(table.belonging(EntityId(10), LAYER, None), None, "nothing is known");
    }

    #[test]
    fn on_any_way_the_region_is_the_one_that_writes_are_checked_against() {
        let (mut table, mut random, mut x) = (table(), 1u32, -40.0);
        for step in 0..5000 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let to = (f64::from(random >> 16) / 1000.0) - 32.0;
            table.moved(E, LAYER, at(x), at(to), Revision(step));
            x = to;
            let told = table.belonging(E, LAYER, at(x)).expect("regions are known");
            assert_eq!(Some(told.region), table.region_of(E, LAYER, at(x)));
            match told.why {
                Why::LiesIn => assert_eq!(told.region, if x < 0.0 { WEST } else { EAST }),
                Why::Kept { outside_m, hysteresis_m, .. } => {
                    assert!(outside_m == x.abs() && outside_m <= hysteresis_m, "{x}: {outside_m}");
                }
                why => panic!("{why:?}"),
            }
        }
    }
}
