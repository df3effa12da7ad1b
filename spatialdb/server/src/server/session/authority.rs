//! What a session tells its worker of what it may write, on the wire.

use spatialdb_core::authority::issuer::{Border, LeaseInfo, LossReason, Notice};
use spatialdb_core::authority::layers::Layers;
use spatialdb_core::authority::tiling::Side;
use spatialdb_core::{AuthorityBody, AuthorityMessage, EntityAuthority, HoldWord};
use spatialdb_proto::v1::{self, authority::Body};
use spatialdb_types::{Epoch, RegionId};

/// The message for the worker.
pub(super) fn message(layers: &Layers, message: AuthorityMessage) -> v1::Authority {
    let body = match message.body {
        AuthorityBody::Notice(notice) => of_notice(layers, notice),
        AuthorityBody::Entities(words) => Body::Entities(of_entities(layers, &words)),
        AuthorityBody::Holds(words) => {
            Body::Holds(v1::ComponentHolds { holds: words.into_iter().map(hold).collect() })
        }
    };
    v1::Authority { number: message.number, body: Some(body) }
}

fn of_notice(layers: &Layers, notice: Notice) -> Body {
    match notice {
        Notice::Gained(info) => Body::Gained(lease(layers, info)),
        Notice::Shaped(info) => Body::Shaped(lease(layers, info)),
        Notice::Joined(gone, keep) => Body::Joined(v1::RegionJoined { gone: gone.0, keep: keep.0 }),
        Notice::Borders(region, borders) => {
            let borders = borders.into_iter().map(border).collect();
            Body::Borders(v1::RegionBorders { region: region.0, borders })
        }
        Notice::LossImminent(region, epoch, until) => {
            let until_us = until as i64;
            Body::LossImminent(v1::LossImminent { region: region.0, epoch: epoch.0, until_us })
        }
        Notice::Kept(region, epoch) => Body::Kept(grant(region, epoch)),
        Notice::Lost(region, epoch, reason) => {
            let reason = loss_reason(reason).into();
            Body::Lost(v1::RegionLost { region: region.0, epoch: epoch.0, reason })
        }
        Notice::Warm(info) => Body::Warm(lease(layers, info)),
        Notice::Cool(region) => Body::Cool(grant(region, Epoch(0))),
        Notice::Drain => Body::Drain(v1::WorkerDrain {}),
    }
}

fn hold(HoldWord { entity, component, hold, is_over }: HoldWord) -> v1::ComponentHold {
    v1::ComponentHold {
        entity: entity.0,
        component: component.0,
        session_id: u64::from(hold.by.0),
        epoch: hold.epoch.0,
        until_us: hold.until as i64,
        over: is_over,
    }
}

pub(in crate::server) fn lease(layers: &Layers, info: LeaseInfo) -> v1::Lease {
    let LeaseInfo { region, layer, space, player, area, epoch, borders } = info;
    v1::Lease {
        region: region.0,
        layer: layers.get(layer).name.clone(),
        space: space.map(|space| space.0),
        min_x: area.min.x,
        min_y: area.min.y,
        max_x: area.max.x,
        max_y: area.max.y,
        epoch: epoch.0,
        borders: borders.into_iter().map(border).collect(),
        player: player.map(|player| player.to_string()).unwrap_or_default(),
    }
}

fn border(Border { edge, lease }: Border) -> v1::Border {
    let side = match edge.side {
        Side::West => v1::Side::West,
        Side::East => v1::Side::East,
        Side::South => v1::Side::South,
        Side::North => v1::Side::North,
    };
    v1::Border {
        side: side.into(),
        at: edge.at,
        from: edge.from,
        to: edge.to,
        region: edge.other.0,
        session_id: lease.owner.map_or(0, |owner| u64::from(owner.0)),
        epoch: lease.epoch.0,
    }
}

const fn grant(region: RegionId, epoch: Epoch) -> v1::RegionGrant {
    v1::RegionGrant { region: region.0, epoch: epoch.0 }
}

pub(in crate::server) const fn loss_reason(reason: LossReason) -> v1::LossReason {
    match reason {
        LossReason::HandedOver => v1::LossReason::HandedOver,
        LossReason::Silent => v1::LossReason::Silent,
        LossReason::Ended => v1::LossReason::Ended,
        LossReason::Stalled => v1::LossReason::Stalled,
    }
}

/// What follows each other and is of one kind goes together.
fn of_entities(layers: &Layers, words: &[EntityAuthority]) -> v1::EntityAuthority {
    let kind = |word: &EntityAuthority| (word.layer, word.region, word.epoch, word.is_gain());
    let changes = words.chunk_by(|a, b| kind(a) == kind(b)).map(|words| v1::EntityChanges {
        layer: layers.get(words[0].layer).name.clone(),
        region: words[0].region.0,
        epoch: words[0].epoch.0,
        gained: words[0].is_gain(),
        entities: words.iter().map(|word| word.entity.0).collect(),
    });
    v1::EntityAuthority { changes: changes.collect() }
}
