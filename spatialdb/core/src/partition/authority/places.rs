//! Rows that come, go and move: what that means to regions, to load, and to those who own them.

use std::sync::Arc;

use spatialdb_types::{EntityId, LayerId, Point3, Position, RegionId, Revision};

use super::{Authority, Kind, Rules, Squares};
use crate::authority::leases::{Carried, Lease, LeaseTable};
use crate::message::Word;
use crate::partition::grid::NOWHERE;
use crate::partition::{CellKey, Row, RowId, SetId, Store};

/// What decides which regions a row belongs to.
#[derive(Clone, Copy, Debug)]
pub(in crate::partition) struct Standing {
    set: SetId,
    cell: u32,
    /// `None`: it has no position.
    square: Option<CellKey>,
    lay: Lay,
}

/// Where a row lay.
#[derive(Clone, Copy, Debug)]
enum Lay {
    /// All of its cell was of these regions.
    In(Kind),
    At(Point3),
}

impl Standing {
    /// Of a row as it is now, and of which kind its cell is, if that is known: then nobody has to look where in it the row is.
    #[inline]
    pub(in crate::partition) fn of(store: &Store, id: RowId, kind: Option<Kind>) -> Self {
        let row = store.row(id);
        let cell = row.cell();
        let lay = kind.map_or_else(|| Lay::At(store.in_cell(row).point), Lay::In);
        Self { set: row.set(), cell, square: store.grid.square(cell), lay }
    }

    /// The cell that it was in.
    pub(in crate::partition) const fn cell(&self) -> u32 {
        self.cell
    }

    /// The region that it lay in.
    fn region(&self, table: &LeaseTable, squares: &Squares, layer: LayerId) -> Option<RegionId> {
        let point = match self.lay {
            Lay::In(kind) => return squares.of_kind(kind).of(layer).map(|slot| table.region(slot)),
            Lay::At(point) => point,
        };
        let at = self.square.map(|square| Position { space: square.space, point });
        table.region_at(layer, at.into())
    }
}

impl Authority {
    /// An entity was made.
    pub(in crate::partition) fn created(&mut self, store: &Store, id: RowId) {
        let row = store.row(id);
        self.note_follows(store, row);
        self.enter_player(store, id);
        self.squares.enter(&self.table, &store.grid, row.cell());
        self.layers_of(store, row.set()).iter().for_each(|&layer| self.load.add(layer, row.cell()));
        for &layer in &*self.all_layers_of(store, row.set()) {
            if let Some(slot) = self.slot(store, id, layer) {
                let region = (self.table.region(slot), self.table.lease(slot));
                self.news.push(row.entity, layer, region, Word::Gained, store.clock());
            }
        }
    }

    /// An entity is about to be deleted, or to go to another partition. Returns what it takes along.
    pub(in crate::partition) fn leaves(&mut self, store: &Store, id: RowId, is_deleted: bool) -> Carried {
        let row = store.row(id);
        self.leave_player(row.entity);
        self.note_follows(store, row);
        let followed_in =
            if is_deleted { Vec::new() } else { self.follows.departs(row.entity, self.table.partition()) };
        self.layers_of(store, row.set()).iter().for_each(|&layer| self.load.remove(layer, row.cell()));
        let layers = self.all_layers_of(store, row.set());
        let home = self.players.home(store, id);
        let regions = self.table.regions_of(row.entity, layers.iter().copied(), home);
        let now = store.clock();
        if is_deleted {
            for &layer in &*layers {
                let region = regions.iter().find(|(of, _)| *of == layer).map(|(_, (region, _))| *region);
                self.tell_lost(row.entity, layer, region, now);
            }
        } else {
            regions.iter().for_each(|(layer, of)| self.news.push_gone_on(row.entity, *layer, *of, now));
        }
        let Self { table, news, told, .. } = self;
        let mut carried = table.take(row.entity, regions, |session| news.shown_to(session).unwrap_or(*told));
        carried.followed_in = followed_in;
        carried
    }

    /// An entity came from another partition and is a row now.
    pub(in crate::partition) fn arrived(&mut self, store: &mut Store, id: RowId, carried: &Carried) {
        let now = store.tick();
        self.enter_player(store, id);
        let row = store.row(id);
        self.follows.arrives(row.entity, &carried.followed_in, self.table.partition());
        let (entity, home) = (row.entity, self.players.home(store, id));
        self.squares.enter(&self.table, &store.grid, row.cell());
        self.layers_of(store, row.set()).iter().for_each(|&layer| self.load.add(layer, row.cell()));
        let layers = self.all_layers_of(store, row.set());
        // Where it comes from nobody knew: whom it belonged to before cannot be told.
        let known = &carried.regions;
        let was_unknown = known.len() < layers.len();
        let crossings = self.table.arrive(entity, carried, home, now);
        for &layer in &*layers {
            let crossing = crossings.iter().find(|crossing| crossing.layer == layer).copied();
            let mut entered = || self.table.entered(entity, layer, home, now);
            if let Some(crossing) = crossing.or_else(|| if was_unknown { entered() } else { None }) {
                self.news.push_crossing(entity, &crossing, now);
            } else if let Some(region) = self.region_of(store, id, layer) {
                // The region may have changed its owner or its shape while the entity was on its way; and from now on it is
                // this partition that tells of it.
                let is_same = |(of, before): &(LayerId, (RegionId, Lease))| *of == layer && *before == region;
                let word = if known.iter().any(is_same) { Word::Moved } else { Word::Gained };
                self.news.push(entity, layer, region, word, now);
                self.news.rush(region.1.owner);
            } else if !self.table.is_known() {
                self.news.push_unknown(
                    entity,
                    layer,
                    now,
                    known.iter().filter_map(|(_, (_, lease))| lease.owner),
                );
            }
            // Who had it where it came from may have heard of nothing: the region was cut or changed hands meanwhile.
            let owner = self.region_of(store, id, layer).and_then(|(_, lease)| lease.owner);
            let before = known.iter().find(|(of, (_, lease))| *of == layer && lease.owner != owner);
            if let Some((_, region)) = before {
                self.news.push(entity, layer, *region, Word::Lost, now);
            }
        }
        store.set_apart(id, self.table.is_apart(entity));
        self.note_follows(store, store.row(id));
    }

    /// An entity that is no exception is in another cell than before, which was of that kind. Returns whether that is all:
    /// else [`Authority::changed`] finds out what it means.
    #[inline]
    pub(in crate::partition) fn walked(
        &mut self,
        store: &mut Store,
        id: RowId,
        from: u32,
        kind: Kind,
    ) -> bool {
        let row = store.row(id);
        let cell = row.cell();
        self.squares.enter(&self.table, &store.grid, cell);
        let is = self.squares.kind(&self.table, &store.grid, cell);
        if is != kind && !self.walked_on(store, id, kind, is) {
            return false;
        }
        let Self { rules, load, .. } = self;
        placed(rules, store.row(id).set()).iter().for_each(|&layer| load.shift(layer, from, cell));
        true
    }

    /// It is in a cell of other regions. Returns whether each belongs to whom the one before belongs to, and nothing needs to
    /// be remembered of that.
    fn walked_on(&mut self, store: &mut Store, id: RowId, was: Kind, is: Kind) -> bool {
        let (entity, now) = (store.row(id).entity, store.tick());
        let Self { rules, squares, table, news, follows, writer, .. } = self;
        let (was, is) = (squares.of_kind(was), squares.of_kind(is));
        let layers = placed(rules, store.row(id).set());
        let differ = || layers.iter().filter(|&&layer| was.of(layer) != is.of(layer));
        let is_walk = |&layer: &LayerId| {
            let ends = was.of(layer).zip(is.of(layer));
            ends.is_some_and(|ends| table.is_walk(writer.as_ref(), layer, ends))
        };
        if !differ().all(is_walk) {
            return false;
        }
        for &layer in differ() {
            if let Some(slot) = is.of(layer) {
                news.push(entity, layer, (table.region(slot), table.lease(slot)), Word::Moved, now);
            }
        }
        follows.touch(entity);
        true
    }

    /// An entity may have other components, or be somewhere else than before.
    pub(in crate::partition) fn changed(&mut self, store: &mut Store, id: RowId, before: Standing) {
        let row = store.row(id);
        let is_there = store.grid.square(row.cell()) == before.square;
        if !is_there {
            self.squares.enter(&self.table, &store.grid, row.cell());
        }
        if row.set() == before.set && !is_there {
            self.rules(store, before.set);
            let Self { rules, load, .. } = self;
            let layers = placed(rules, before.set).iter();
            layers.for_each(|&layer| load.shift(layer, before.cell, row.cell()));
        }
        let (entity, set, cell, at) = (row.entity, row.set(), row.cell(), store.position(row));
        let layers = self.layers_of(store, set);
        if set != before.set {
            let gone = self.layers_of(store, before.set);
            let now = store.tick();
            for &layer in gone.iter().filter(|layer| !layers.contains(layer)) {
                self.load.remove(layer, before.cell);
                let lay_in = before.region(&self.table, &self.squares, layer);
                let region = self.table.own_region(entity, layer).or(lay_in);
                self.tell_lost(entity, layer, region, now);
                self.table.left(entity, layer);
            }
            for &layer in layers.iter().filter(|layer| !gone.contains(layer)) {
                self.load.add(layer, cell);
                let crossing = self.table.entered(entity, layer, at, now);
                crossing.iter().for_each(|crossing| self.news.push_crossing(entity, crossing, now));
            }
            for &layer in layers.iter().filter(|layer| gone.contains(layer)) {
                if !is_there {
                    self.load.shift(layer, before.cell, cell);
                }
                self.moved(store, id, layer, before, at);
            }
        } else {
            layers.iter().for_each(|&layer| self.moved(store, id, layer, before, at));
        }
        store.set_apart(id, self.table.is_apart(entity));
        if set == before.set {
            self.follows.touch(entity);
        } else {
            if self.rules(store, before.set).follows {
                self.follows.note(entity);
            }
            self.note_follows(store, store.row(id));
            self.note_player(store, id);
        }
    }

    /// Something of an entity changed that may concern who follows it, and whom it follows.
    fn note_follows(&mut self, store: &Store, row: &Row) {
        self.follows.touch(row.entity);
        if self.rules(store, row.set()).follows {
            self.follows.note(row.entity);
        }
    }

    fn moved(
        &mut self,
        store: &mut Store,
        id: RowId,
        layer: LayerId,
        before: Standing,
        at: Option<Position>,
    ) {
        let row = store.row(id);
        let (entity, is_apart) = (row.entity, row.apart);
        let is_there = store.grid.square(row.cell()) == before.square;
        let whole = self.squares.slots(&self.table, &store.grid, row.cell()).of(layer);
        if !is_apart && whole.is_some() && is_there {
            return;
        }
        let lay_in = before.region(&self.table, &self.squares, layer);
        let whole = whole.map(|slot| self.table.region(slot));
        if !is_apart && whole.is_some() && whole == lay_in {
            return;
        }
        let now = store.tick();
        if !self.table.is_known() {
            self.news.push_unknown(entity, layer, now, []);
        }
        let is_authors = self.is_authors(store.row(id), layer, lay_in);
        let crossing = self.table.moved_by(self.writer.as_ref(), entity, layer, (lay_in, at), now);
        crossing.iter().for_each(|crossing| self.news.push_crossing(entity, crossing, now));
        if is_authors && crossing.is_some() {
            self.passed_on.insert((entity, layer));
        }
    }

    /// The whole table came: owners are told anew what they have, and entities of regions that are gone are placed.
    pub(super) fn begin_anew(&mut self, store: &mut Store) {
        let strays: Vec<_> = self.table.strays().collect();
        for (entity, layer) in strays {
            let Some(id) = store.find(entity) else { continue };
            let at = store.position(store.row(id));
            self.table.moved(entity, layer, at, at, store.tick());
            store.set_apart(id, self.table.is_apart(entity));
        }
        for (entity, layer) in self.news.unknown() {
            let Some(id) = store.find(entity) else { continue };
            if self.all_layers_of(store, store.row(id).set()).contains(&layer) {
                // Nobody knows whose it was meanwhile: its owner is to know that it is, before it writes it.
                let now = store.tick();
                self.table.entered(entity, layer, self.players.home(store, id), now);
                store.set_apart(id, self.table.is_apart(entity));
            }
        }
        self.tell_all(store);
    }

    /// A region has another owner: that one is told what belongs to it, once it has seen how that stands.
    pub(super) fn tell_new_owner(&mut self, store: &mut Store, region: RegionId) {
        let owner = self.table.slot(region).and_then(|slot| self.table.lease(slot).owner);
        self.news.rush(owner);
        self.tell_region(store, region, Word::Gained);
    }

    /// The owner of a region is told what belongs to it.
    pub(super) fn tell_region(&mut self, store: &mut Store, region: RegionId, word: Word) {
        let (Some(slot), Some(layer)) = (self.table.slot(region), self.table.layer_of(region)) else {
            return;
        };
        let lease = self.table.lease(slot);
        if lease.owner.is_none() || self.tell_player(store, region, word) {
            return;
        }
        let now = store.tick();
        let area = self.table.area_of(region).map(|(space, area)| store.grid.range(space, &area));
        for cell in 0..store.grid.slot_count() {
            // Only its cells are looked up.
            let is_near = area.as_ref().map_or(cell == NOWHERE, |area| store.grid.is_in(area, cell));
            if !is_near {
                continue;
            }
            self.squares.enter(&self.table, &store.grid, cell);
            let place = self.squares.slots(&self.table, &store.grid, cell).of(layer);
            if place.is_some_and(|place| place != slot) {
                continue;
            }
            for within in store.grid.rows(cell) {
                if !self.rules(store, within.set).layers.contains(&layer) {
                    continue;
                }
                let row = store.row(within.id);
                let is_stray = row.apart && self.table.own_region(within.entity, layer).is_some();
                let here = place.or_else(|| self.table.slot_at(layer, store.position(row)));
                if !is_stray && here == Some(slot) {
                    self.news.push(within.entity, layer, (region, lease), word, now);
                }
            }
        }
        for (entity, layer) in self.table.strays_of(region) {
            self.news.push(entity, layer, (region, lease), word, now);
        }
    }

    fn tell_all(&mut self, store: &mut Store) {
        let leases = self.table.leases().to_vec();
        self.news.begin_anew(leases.iter().filter_map(|(_, lease)| lease.owner));
        leases.iter().for_each(|(region, _)| self.tell_new_owner(store, *region));
    }

    /// Who owned an entity that was of that region is to know that it has it no longer.
    pub(super) fn tell_lost(
        &mut self,
        entity: EntityId,
        layer: LayerId,
        region: Option<RegionId>,
        now: Revision,
    ) {
        match region.and_then(|region| self.table.known(region)) {
            Some(region) => self.news.push(entity, layer, region, Word::Lost, now),
            // Its player was not there, so nobody had it.
            None if self.table.is_known() && self.layers.get(layer).is_client() => {}
            None => self.news.push_unknown(entity, layer, now, []),
        }
    }

    /// All layers that have such entities, those of players too.
    pub(super) fn all_layers_of(&mut self, store: &Store, set: SetId) -> Arc<[LayerId]> {
        Arc::clone(&self.rules(store, set).all)
    }

    /// The layers that have such entities and whose regions are places.
    pub(super) fn layers_of(&mut self, store: &Store, set: SetId) -> Arc<[LayerId]> {
        Arc::clone(&self.rules(store, set).layers)
    }
}

/// The layers of a set whose rules are known.
#[inline]
pub(super) fn placed(rules: &[Option<Rules>], set: SetId) -> &[LayerId] {
    rules[set.0 as usize].as_ref().map_or(&[], |rules| &rules.layers)
}
