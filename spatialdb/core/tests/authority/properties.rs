//! What must hold in every state, and what must be reached at all.

use std::sync::Arc;

use spatialdb_core::authority::issuer::{Change, Phase};
use spatialdb_core::authority::leases::{LeaseTable, Refusal, Seen, Writer};
use spatialdb_types::Epoch;
use stateright::Property;

use crate::model::{Bug, Limits, Protocol};
use crate::world::{World, Write, lease_at, slot_at};

pub(crate) fn all(limits: &Limits) -> Vec<Property<Protocol>> {
    let mut all = vec![
        Property::always("one owner", |_, world| one_owner(world)),
        Property::always("nothing late is accepted", nothing_late),
        Property::always("an owner is accepted", |_, world| owner_accepted(world)),
        Property::always("a planned hand-over loses nothing", nothing_lost),
        Property::always("nothing is stuck", |_, world| nothing_stuck(world)),
    ];
    if limits.silences > 1 {
        all.push(Property::sometimes("an old write of an owner is refused", |_, world| {
            old_write_refused(world)
        }));
    }
    if limits.crashes + limits.silences + limits.drains > 0 {
        all.push(Property::sometimes("the second worker takes over", |_, world| second_has_all(world)));
    }
    if limits.splits > 0 {
        all.push(Property::sometimes("both workers own a half", |_, world| both_have_one(world)));
    }
    if limits.merges > 0 {
        all.push(Property::sometimes("the halves are joined", |_, world| joined(world)));
    }
    all
}

/// No two sessions whose writes of one place are accepted, in any partition, whatever they have seen.
fn one_owner(world: &World) -> bool {
    (0..2).all(|place| {
        let owners = world.tables.iter().filter_map(|table| table.lease(slot_at(table, place)?).owner);
        let owners: Vec<_> = owners.collect();
        owners.windows(2).all(|pair| pair[0] == pair[1])
    })
}

/// A write from an earlier ownership is accepted nowhere, whoever owns the place now, however often it comes.
fn nothing_late(protocol: &Protocol, world: &World) -> bool {
    world.writes.keys().all(|write| {
        world.tables.iter().all(|table| {
            let Some(slot) = slot_at(table, write.place) else { return true };
            let seen = if protocol.bug == Some(Bug::IgnoresSeen) { Epoch(u64::MAX) } else { write.seen };
            let is_accepted = check(table, Write { seen, ..*write }).is_ok();
            !is_accepted || world.tenure(write.place, table.lease(slot).epoch) == Some(write.tenure)
        })
    })
}

/// Who was told that it owns a place, and still does, is refused by no partition that is up.
fn owner_accepted(world: &World) -> bool {
    let table = world.issuer.table();
    let open = world.writes.iter().filter(|(_, is_decided)| !**is_decided).map(|(write, _)| *write);
    open.into_iter().all(|write| {
        let lease = lease_at(&table, write.place);
        let is_owner = lease.owner == Some(write.session)
            && world.tenure(write.place, lease.epoch) == Some(write.tenure);
        !is_owner || accepted_everywhere(world, write)
    })
}

/// As long as nobody failed or was late, no write is refused.
fn nothing_lost(protocol: &Protocol, world: &World) -> bool {
    let failures = |left: &Limits| (left.crashes, left.silences, left.delays, left.restarts);
    let is_planned = failures(&world.left) == failures(&protocol.limits);
    let mut open = world.writes.iter().filter(|(_, is_decided)| !**is_decided);
    !is_planned || open.all(|(write, _)| accepted_everywhere(world, *write))
}

/// When nothing is on its way, partitions know what the issuer knows, and it waits for none of them.
fn nothing_stuck(world: &World) -> bool {
    let is_at_rest = world.orders.iter().all(|orders| orders.is_empty())
        && world.answers.iter().all(|answers| answers.is_empty());
    let is_settled = |change: &Change| match change {
        Change::Region(state) => !matches!(state.phase, Phase::Granting | Phase::Revoking),
        _ => true,
    };
    let leases = world.issuer.table().leases;
    !is_at_rest
        || world.issuer.keyframe().iter().all(is_settled)
            && world.tables.iter().all(|table| table.leases() == leases)
}

fn old_write_refused(world: &World) -> bool {
    let is_old =
        |table: &LeaseTable, write: &Write| matches!(check(table, *write), Err(Refusal::RegionNotSeen(..)));
    world.writes.keys().any(|write| world.tables.iter().all(|table| is_old(table, write)))
}

fn second_has_all(world: &World) -> bool {
    world.workers[1].is_up
        && world.workers[1].held.iter().all(Option::is_some)
        && world.workers[0].held == [None, None]
}

fn both_have_one(world: &World) -> bool {
    world.workers[0].held[0].is_some()
        && world.workers[0].held[1].is_none()
        && world.workers[1].held[1].is_some()
        && world.workers[1].held[0].is_none()
}

fn joined(world: &World) -> bool {
    let lease = lease_at(&world.issuer.table(), 1);
    world.left.merges == 0
        && world.tables.iter().all(|table| table.leases().len() == 1)
        && lease.epoch > Epoch(1)
}

fn accepted_everywhere(world: &World, write: Write) -> bool {
    let is_up = |table: &&LeaseTable| !table.leases().is_empty();
    world.tables.iter().filter(is_up).all(|table| check(table, write).is_ok())
}

fn check(table: &LeaseTable, write: Write) -> Result<(), Refusal> {
    let slot = slot_at(table, write.place).ok_or(Refusal::Unknown)?;
    let seen = Seen { epoch: write.seen, gains: Arc::default() };
    table.check(slot, &Writer { session: write.session, seen })
}
