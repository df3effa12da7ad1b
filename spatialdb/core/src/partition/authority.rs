//! Authority in a partition: whether a row may be written, and telling owners which entities they have.
//!
//! An ordinary row costs no memory: its cell remembers the region that all of it lies in. Only what lies in a cell that a
//! border cuts, or is an exception, is looked up.
//!
//! Responsible for: finding the layer and region of a row, and noticing whatever changes them. Not responsible for: who
//! owns a region (`authority::leases`), or why.

mod follows;
mod holds;
mod news;
mod places;
mod players;
mod squares;
mod written;

use std::sync::Arc;

use rustc_hash::FxHashSet;
use spatialdb_types::{ComponentId, EntityId, LayerId, PartitionId, Position, RegionId, Revision, SessionId};

use self::follows::Follows;
pub(super) use self::follows::leader_of;
use self::news::News;
pub(super) use self::places::Standing;
use self::places::placed;
use self::players::Players;
pub(super) use self::players::player_of;
pub(super) use self::squares::Kind;
use self::squares::Squares;
use self::written::Written;
use super::apply::Source;
use super::{Partition, Row, RowId, SetId, Store};
use crate::authority::issuer::Loads;
use crate::authority::layers::Layers;
use crate::authority::leases::{Answer, Lease, LeaseTable, Order, Refusal, Slot, Writer};
use crate::authority::load::LoadMap;
use crate::columns::Role;
use crate::message::{Outbox, Word};

/// How many squares a partition counts load in; beyond that they become larger.
const LOAD_SQUARES_MAX: usize = 1 << 16;

/// What a partition of a world with layers knows of who may write what.
#[derive(Debug)]
pub(super) struct Authority {
    layers: Arc<Layers>,
    table: LeaseTable,
    /// By number of the set.
    rules: Vec<Option<Rules>>,
    squares: Squares,
    load: LoadMap,
    news: News,
    follows: Follows,
    players: Players,
    written: Written,
    /// The revision counter up to which owners were told what they gained.
    told: Revision,
    /// Whose batch is being applied, unless it came by way of another partition.
    writer: Option<Writer>,
    /// Whose batch is being applied, however it came.
    author: Option<Writer>,
    /// What the author owned until an earlier row of the batch brought it to somebody else: the rest of what the message says of it
    /// is accepted too.
    passed_on: FxHashSet<(EntityId, LayerId)>,
}

/// What layers mean to entities with one set of components.
#[derive(Debug, Default)]
struct Rules {
    /// The layers that have them and whose regions are places, by rising id.
    layers: Arc<[LayerId]>,
    /// Those whose regions are players'.
    of_players: Arc<[LayerId]>,
    /// The former, then the latter.
    all: Arc<[LayerId]>,
    /// Who writes what, by rising component.
    writes: Box<[(ComponentId, LayerId)]>,
    /// Who writes Position.
    mover: Option<LayerId>,
    /// They have Follows.
    follows: bool,
}

impl Authority {
    pub(super) fn new(partition: PartitionId, layers: &Arc<Layers>, cell_m: f64) -> Self {
        Self {
            layers: Arc::clone(layers),
            table: LeaseTable::new(partition, Arc::clone(layers)),
            rules: Vec::new(),
            squares: Squares::new(layers.all().count()),
            load: LoadMap::new(cell_m, layers.all().count(), LOAD_SQUARES_MAX),
            news: News::default(),
            follows: Follows::default(),
            players: Players::new(layers),
            written: Written::default(),
            told: Revision(0),
            writer: None,
            author: None,
            passed_on: FxHashSet::default(),
        }
    }

    /// Whether a session may write a component of a row, which it may have yet to get.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn check(
        &mut self,
        store: &Store,
        id: RowId,
        component: ComponentId,
        writer: &Writer,
        role: Role,
    ) -> Result<(), Refusal> {
        let row = store.row(id);
        match self.rules(store, row.set()).layer_of(component) {
            _ if role == Role::Server => Ok(()),
            Some(layer) => self.check_layer(store, id, layer, component, writer),
            None if role == Role::Tool => Ok(()),
            None => Err(Refusal::NoLayer(row.entity, Some(component))),
        }
    }

    /// Brings what is known of the cells of rows into the processor's cache.
    pub(super) fn fetch(&self, store: &Store, rows: impl Iterator<Item = RowId>) {
        let known = rows.map(|id| self.squares.peek(store.row(id).cell()));
        std::hint::black_box(known.fold(0, u32::wrapping_add));
    }

    /// Whether a session may move an entity. Returns of which kind its cell is, if it is no exception and no border cuts the
    /// cell: then a move to a cell of that kind changes nothing that its owners should know.
    ///
    /// # Errors
    /// Why not.
    #[inline]
    pub(super) fn check_move(
        &mut self,
        store: &Store,
        id: RowId,
        writer: &Writer,
        role: Role,
    ) -> Result<Option<Kind>, Refusal> {
        let row = store.row(id);
        self.rules(store, row.set());
        let Self { rules, squares, table, written, .. } = self;
        let kind = squares.kind(table, &store.grid, row.cell());
        let slots = squares.of_kind(kind);
        let is_plain = !row.apart && !slots.is_cut(placed(rules, row.set()));
        let mover = rules[row.set().0 as usize].as_ref().and_then(|rules| rules.mover);
        let slot = mover.filter(|_| is_plain && role != Role::Server).and_then(|mover| slots.of(mover));
        if let Some(slot) = slot {
            if let Err(why) = table.check(slot, writer) {
                self.check_passed_on(id, store, mover, why)?;
            } else {
                written.note(table, slot);
            }
        } else {
            self.check(store, id, ComponentId::POSITION, writer, role)?;
        }
        Ok(is_plain.then_some(kind))
    }

    /// Whether a session may delete an entity: who moves it may, or, if no layer does, who writes anything else of it.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn check_delete(
        &mut self,
        store: &Store,
        id: RowId,
        writer: &Writer,
        role: Role,
    ) -> Result<(), Refusal> {
        if role != Role::Worker {
            return Ok(());
        }
        let row = store.row(id);
        if let Some(layer) = self.rules(store, row.set()).layer_of(ComponentId::POSITION) {
            return self.check_layer(store, id, layer, ComponentId::POSITION, writer);
        }
        let mut refusal = Refusal::NoLayer(row.entity, None);
        for &layer in &*self.all_layers_of(store, row.set()) {
            match self.check_layer(store, id, layer, ComponentId(0), writer) {
                Ok(()) => return Ok(()),
                Err(why) => refusal = why,
            }
        }
        Err(refusal)
    }

    /// A session's batch is applied next.
    pub(super) fn begin_batch(&mut self, store: &Store, writer: Writer, source: Source) {
        if source == Source::Edge {
            let is_settled = |entity| store.find(entity).is_none_or(|id| !store.row(id).arriving);
            self.table.seen(writer.session, &writer.seen, is_settled);
            self.writer = Some(writer.clone());
        }
        self.author = Some(writer);
    }

    /// A batch is applied.
    pub(super) fn end_batch(&mut self) {
        (self.writer, self.author) = (None, None);
        self.passed_on.clear();
    }

    /// A session is over.
    pub(super) fn end_session(&mut self, session: SessionId) {
        self.table.end_session(session);
        self.news.forget(session);
    }

    /// All that is known of owners is forgotten, until the whole table comes.
    pub(super) fn restart(&mut self) {
        self.table.forget();
        self.news.restart();
    }

    /// Which grants were used for the first time.
    pub(super) fn first_writes(&mut self) -> impl Iterator<Item = Answer> {
        self.written.take_firsts().map(|(region, epoch)| Answer::Written(region, epoch))
    }

    /// The rules.
    pub(super) fn layers(&self) -> &Layers {
        &self.layers
    }

    /// What is known of who owns what.
    pub(super) const fn table(&self) -> &LeaseTable {
        &self.table
    }

    fn check_layer(
        &mut self,
        store: &Store,
        id: RowId,
        layer: LayerId,
        component: ComponentId,
        writer: &Writer,
    ) -> Result<(), Refusal> {
        let row = store.row(id);
        let place = self.slot(store, id, layer);
        let checked = if row.apart {
            self.table.check_apart(row.entity, layer, component, place, writer)
        } else {
            let slot = place.ok_or_else(|| self.why_unknown(store, id, Refusal::Unknown))?;
            let checked = self.table.check(slot, writer);
            if checked.is_ok() {
                self.written.note(&self.table, slot);
            }
            checked
        };
        let Err(why) = checked else { return Ok(()) };
        self.check_passed_on(id, store, Some(layer), why).map_err(|why| self.why_unknown(store, id, why))
    }

    /// Whether a row that would be refused is accepted because an earlier one of the same message is why.
    ///
    /// # Errors
    /// Why not.
    #[cold]
    fn check_passed_on(
        &self,
        id: RowId,
        store: &Store,
        layer: Option<LayerId>,
        why: Refusal,
    ) -> Result<(), Refusal> {
        let passed_on = |layer| self.passed_on.contains(&(store.row(id).entity, layer));
        let is_passed_on = !matches!(why, Refusal::Held(..)) && layer.is_some_and(passed_on);
        if is_passed_on { Ok(()) } else { Err(why) }
    }

    /// Whether whoever wrote the batch that is being applied may write of a row in a layer, which lay in that region.
    fn is_authors(&self, row: &Row, layer: LayerId, lay_in: Option<RegionId>) -> bool {
        let Some(author) = &self.author else { return false };
        let place = lay_in.and_then(|region| self.table.slot(region));
        let nothing_held = ComponentId(0);
        let checked = self.table.check_apart(row.entity, layer, nothing_held, place, author);
        checked.is_ok() || self.passed_on.contains(&(row.entity, layer))
    }

    /// The region that a row lies in.
    fn slot(&mut self, store: &Store, id: RowId, layer: LayerId) -> Option<Slot> {
        let whole = self.squares.slots(&self.table, &store.grid, store.row(id).cell()).of(layer);
        whole.or_else(|| self.table.slot_at(layer, self.players.home(store, id)))
    }

    /// The region that a row belongs to, and what is known of its owner.
    fn region_of(&self, store: &Store, id: RowId, layer: LayerId) -> Option<(RegionId, Lease)> {
        self.table.known(self.table.region_of(store.row(id).entity, layer, self.players.home(store, id))?)
    }

    /// Where a row has no region although regions are known, it is a player's who is not there.
    fn why_unknown(&self, store: &Store, id: RowId, why: Refusal) -> Refusal {
        if why != Refusal::Unknown || !self.table.is_known() {
            return why;
        }
        Refusal::PlayerAway(store.row(id).entity, self.players.home(store, id).player.map(Arc::from))
    }

    #[inline]
    fn rules(&mut self, store: &Store, set: SetId) -> &Rules {
        let at = set.0 as usize;
        if self.rules.get(at).is_none_or(Option::is_none) {
            self.make_rules(store, set);
        }
        self.rules[at].as_ref().expect("just made")
    }

    #[cold]
    fn make_rules(&mut self, store: &Store, set: SetId) {
        let at = set.0 as usize;
        self.rules.resize_with(self.rules.len().max(at + 1), || None);
        self.rules[at] = Some(Rules::new(&self.layers, &store.tables.get(set).components));
    }
}

impl Rules {
    fn new(layers: &Layers, components: &[ComponentId]) -> Self {
        let write = |layer: LayerId| layers.get(layer).writes.iter().map(move |&c| (c, layer));
        let mut writes: Vec<_> = layers.layers_of(components).flat_map(write).collect();
        writes.sort_unstable();
        let is_of_players = |layer: &LayerId| layers.get(*layer).is_client();
        let (of_players, of): (Vec<_>, Vec<_>) = layers.layers_of(components).partition(is_of_players);
        let follows = components.binary_search(&ComponentId::FOLLOWS).is_ok();
        let mover = layers.layer_of(ComponentId::POSITION, components);
        let all = of.iter().chain(&of_players).copied().collect();
        let (layers, of_players, writes) = (of.into(), of_players.into(), writes.into());
        Self { layers, of_players, all, writes, mover, follows }
    }

    fn layer_of(&self, component: ComponentId) -> Option<LayerId> {
        let at = self.writes.binary_search_by_key(&component, |(c, _)| *c).ok()?;
        Some(self.writes[at].1)
    }
}

impl Partition {
    /// An empty partition of a world with layers: see [`Partition::order`].
    #[must_use]
    pub fn with_layers(mut self, layers: &Arc<Layers>) -> Self {
        let cell_m = self.store.grid.cell_m();
        self.authority = (!layers.is_open()).then(|| Box::new(Authority::new(self.id, layers, cell_m)));
        self
    }

    /// Takes an order of the issuer. To be given before batches that are queued.
    pub fn order(&mut self, order: &Order, outbox: &mut Outbox) {
        if !self.waits_for_commits(order) {
            self.obey(order, outbox);
        }
    }

    pub(super) fn obey(&mut self, order: &Order, outbox: &mut Outbox) {
        let Some(authority) = &mut self.authority else { return };
        let answer = authority.table.obey(order);
        outbox.authority.extend(answer);
        match order {
            Order::Reset(..) => authority.begin_anew(&mut self.store),
            Order::Reshape(shape) => authority.tell_region(&mut self.store, shape.region, Word::Moved),
            Order::Grant(region, ..) => authority.tell_new_owner(&mut self.store, *region),
            Order::Revoke(..) | Order::Begin(..) | Order::End(_) => {}
        }
        self.lead_after(order, outbox);
    }

    /// Adds how many entities of each layer are where to what other partitions have. Returns whether there are more squares
    /// than there should be: see [`Partition::coarsen_load`].
    ///
    /// # Panics
    /// If those count in squares of another size: see [`Partition::load_doublings`].
    pub fn add_load_to(&mut self, loads: &mut Loads) -> bool {
        let Self { authority, store, .. } = self;
        let square = |cell| store.grid.square(cell).map(|key| (key.space, key.x, key.y));
        authority.as_mut().is_some_and(|authority| authority.load.add_to(loads, square))
    }

    /// How often the squares in which it counts were doubled.
    pub fn load_doublings(&self) -> u32 {
        self.authority.as_ref().map_or(0, |authority| authority.load.doublings())
    }

    /// Makes the squares in which it counts as large as that.
    pub fn coarsen_load(&mut self, doublings: u32) {
        if let Some(authority) = &mut self.authority {
            authority.load.coarsen(doublings);
        }
    }

    /// What it knows of who owns what; `None`: the world is open.
    pub fn lease_table(&self) -> Option<&LeaseTable> {
        Some(self.authority.as_ref()?.table())
    }

    /// Which region an entity belongs to in a layer that has it, and what is known of the owner.
    pub fn region_of(&self, entity: EntityId, layer: LayerId) -> Option<(RegionId, Lease)> {
        self.authority.as_ref()?.region_of(&self.store, self.store.find(entity)?, layer)
    }

    /// Where an entity is and which layers have it, if it is here.
    pub fn authority_of(&self, entity: EntityId) -> Option<(Option<Position>, Vec<LayerId>)> {
        let authority = self.authority.as_ref()?;
        let row = self.store.row(self.store.find(entity)?);
        let layers = authority.layers.layers_of(self.store.components(row)).collect();
        Some((self.store.position(row), layers))
    }
}
