"""What a session may write, from what the server tells of it.

Responsible for: layers, regions, the entities of each layer, what the worker has to say of them.
Not responsible for: when that is said (`session.py`, `link.py`), who gets what (the server).
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from .errors import ProtocolError
from .v1 import authority_pb2, worker_pb2

#: A region and its grant.
_Grant = tuple[int, int]


class LossReason(enum.Enum):
    """Why a region was lost."""

    #: The server gave a reason that this package does not know.
    UNKNOWN = 0
    HANDED_OVER = 1
    #: The worker said nothing for too long.
    SILENT = 2
    #: Its session is over.
    ENDED = 3
    #: The worker sent heartbeats, and stood still for too long.
    STALLED = 4

    @classmethod
    def _missing_(cls, value: object) -> LossReason:
        return cls.UNKNOWN


class Side(enum.Enum):
    """A side of a region."""

    WEST = 1
    EAST = 2
    SOUTH = 3
    NORTH = 4


@dataclass(frozen=True)
class Layer:
    """Which workers write which components of which entities. The layers of a world do not change while it runs."""

    name: str
    #: The type of the workers that serve it.
    worker_type: str
    #: Ids of components: it has the entities with all of these,
    with_: tuple[int, ...]
    #: and none of these.
    without: tuple[int, ...]
    #: What the owner of such an entity writes.
    writes: tuple[int, ...]


@dataclass(frozen=True)
class Border:
    """A stretch of a border, and who owns the other side. Metres."""

    side: Side
    #: x of a west or east side, y of the others.
    at: float
    #: Where the stretch begins on the other axis, and where it ends.
    start: float
    end: float
    #: The region on the other side.
    region: int
    #: The session that owns it; 0: nobody.
    session_id: int
    #: Of its last grant.
    epoch: int


@dataclass(frozen=True)
class Region:
    """What this worker owns in a layer: it writes the entities there."""

    id: int
    #: The name of its layer.
    layer: str
    #: None: the region of all entities without a position, or of a player.
    space: int | None
    #: Metres; infinite where it has no border. Open in z.
    x_min: float
    y_min: float
    x_max: float
    y_max: float
    #: Which grant: rises with each one in the world.
    epoch: int
    borders: tuple[Border, ...] = ()
    #: In a layer of strategy client the region is all that belongs to this player; empty in others.
    player: str = ""


@dataclass(frozen=True)
class RegionGained:
    """This worker owns a region now."""

    region: Region


@dataclass(frozen=True)
class RegionChanged:
    """A region of this worker has another shape, or other neighbours."""

    region: Region


@dataclass(frozen=True)
class RegionLost:
    """This worker does not own the region any more; what it lost with it was told before."""

    #: As it was last.
    region: Region
    reason: LossReason


@dataclass(frozen=True)
class Gained:
    """Entities that this worker writes from now on: they came to a region of its own, or their region came to it."""

    layer: str
    entities: list[int]


@dataclass(frozen=True)
class Lost:
    """Entities that this worker does not write any more."""

    layer: str
    entities: list[int]


@dataclass(frozen=True)
class LossImminent:
    """Another worker is about to get the region: write what is not in the world yet.

    The worker has let go of the region when it asks for the next event, and does not own it any longer, unless `Kept`
    comes. Where nobody reads events, it lets go at once.
    """

    region: Region
    #: World time at which the region is taken at last, microseconds.
    until_us: int


@dataclass(frozen=True)
class Kept:
    """This worker keeps a region that it was about to lose."""

    region: Region


@dataclass(frozen=True)
class Draining:
    """This worker gets nothing more, and what it has goes to others."""


@dataclass(frozen=True)
class Drained:
    """This worker was draining and owns nothing any more: it can close."""


class _Members:
    """The entities of one layer, as far as the session has heard of them."""

    def __init__(self, layer: Layer) -> None:
        self.layer = layer
        #: The region that each came to last, and under which grant. Of regions that are still to come too.
        self.regions: dict[int, _Grant] = {}
        #: Entities and components that tools keep to themselves: the epoch of each hold, and until when in world time.
        self.holds: dict[tuple[int, int], tuple[int, int]] = {}

    def is_held(self, entity: int, scope: str | int, now_us: int) -> bool:
        """Whether a tool keeps that component to itself. A layer is not held."""
        if not self.holds or isinstance(scope, str):
            return False
        return (entity, scope) in self.holds and self.holds[entity, scope][1] > now_us


class Authority:
    """What the session may write. Empty at the begin of each session."""

    def __init__(self, layers: Iterable[worker_pb2.LayerInfo] = ()) -> None:
        self.layers: dict[str, Layer] = {one.name: _layer_of(one) for one in layers}
        #: The number of the last message.
        self.seen = 0
        #: World time, as the last frame has it.
        self.now_us = 0
        self.regions: dict[int, Region] = {}
        self.is_draining = False
        #: Whether regions came or went, and no report has said that the worker knows.
        self.is_unseen = False
        self._is_drained = False
        self._members = {name: _Members(layer) for name, layer in self.layers.items()}
        #: Regions that the worker has let go of, and neither lost nor kept yet.
        self._flushed: set[int] = set()
        self._to_flush: list[_Grant] = []
        self._warmed: list[int] = []

    @property
    def is_open(self) -> bool:
        """Whether the world has no layers: any worker may write anything."""
        return not self.layers

    @property
    def is_urgent(self) -> bool:
        """Whether somebody waits for what the worker has to say."""
        return bool(self._to_flush or self._warmed)

    def clear(self) -> None:
        """The session is over, or starts from nothing."""
        self.regions.clear()
        self._flushed.clear()
        for members in self._members.values():
            members.regions.clear()
            members.holds.clear()
        self._to_flush, self._warmed, self.is_unseen = [], [], False

    def owns(self, entity: int, scope: str | int) -> bool:
        """Whether the session may write that of the entity: a layer by its name, a component by its id."""
        if self.is_open:
            return True
        return any(
            (grant := members.regions.get(entity)) is not None
            and self._may_write(grant[0])
            and not members.is_held(entity, scope, self.now_us)
            for members in self._members_of(scope)
        )

    def owned(self, scope: str | int) -> Iterator[int]:
        """Every entity of which the session may write that."""
        for members in self._members_of(scope):
            for entity, (region, _) in members.regions.items():
                if self._may_write(region) and not members.is_held(entity, scope, self.now_us):
                    yield entity

    def flush(self, region: Region) -> None:
        """The worker has written what it had of the region."""
        held = self.regions.get(region.id)
        if held is not None and held.epoch == region.epoch:
            self._flushed.add(region.id)
            self._to_flush.append((region.id, region.epoch))

    def take_report(self) -> authority_pb2.AuthorityReport:
        """What is to be said; nothing is due afterwards."""
        flushed = [authority_pb2.RegionGrant(region=region, epoch=epoch) for region, epoch in self._to_flush]
        report = authority_pb2.AuthorityReport(authority_seen=self.seen, flushed=flushed, warmed=self._warmed)
        self._to_flush, self._warmed, self.is_unseen = [], [], False
        return report

    def accept(self, message: authority_pb2.Authority) -> list[Any]:
        """Takes a message in. Gives the events that come of it."""
        if message.number != self.seen + 1:
            raise ProtocolError(f"authority message {message.number} came where {self.seen + 1} was due")
        self.seen = message.number
        kind = message.WhichOneof("body")
        take = getattr(self, f"_accept_{kind}", None)  # what this package does not know is of a later version
        events: list[Any] = [] if take is None else list(take(getattr(message, kind)))
        if self.is_draining and not self.regions and not self._is_drained:
            self._is_drained = True
            events.append(Drained())
        return events

    def _accept_gained(self, lease: authority_pb2.Lease) -> Iterator[Any]:
        is_new = lease.region not in self.regions
        region = self.regions[lease.region] = _region_of(lease)
        self._flushed.discard(lease.region)
        self.is_unseen = True
        yield RegionGained(region)
        if is_new:
            for layer, entities in self._members_in(lease.region):
                yield Gained(layer, entities)

    def _accept_shaped(self, lease: authority_pb2.Lease) -> Iterator[Any]:
        region = self.regions[lease.region] = _region_of(lease)
        yield RegionChanged(region)

    def _accept_joined(self, joined: authority_pb2.RegionJoined) -> Iterator[Any]:
        self.regions.pop(joined.gone, None)
        self._flushed.discard(joined.gone)
        for members in self._members.values():
            for entity, (region, epoch) in members.regions.items():
                if region == joined.gone:
                    members.regions[entity] = joined.keep, epoch
        return iter(())

    def _accept_borders(self, told: authority_pb2.RegionBorders) -> Iterator[Any]:
        if told.region in self.regions:
            region = self.regions[told.region] = replace(self.regions[told.region], borders=_borders_of(told.borders))
            yield RegionChanged(region)

    def _accept_loss_imminent(self, loss: authority_pb2.LossImminent) -> Iterator[Any]:
        if loss.region in self.regions:
            yield LossImminent(self.regions[loss.region], loss.until_us)

    def _accept_kept(self, kept: authority_pb2.RegionGrant) -> Iterator[Any]:
        self._keep(kept.region)
        if kept.region in self.regions:
            yield Kept(self.regions[kept.region])

    def _accept_lost(self, lost: authority_pb2.RegionLost) -> Iterator[Any]:
        self._keep(lost.region)
        self.is_unseen = True
        region = self.regions.pop(lost.region, None)
        if region is not None:
            for layer, entities in self._members_in(lost.region):
                yield Lost(layer, entities)
            yield RegionLost(region, LossReason(lost.reason))
        # What came to it under a later grant stays: that grant is still to come.
        for members in self._members.values():
            members.regions = {
                entity: grant for entity, grant in members.regions.items()
                if grant[0] != lost.region or grant[1] > lost.epoch
            }  # fmt: skip
            members.holds = {key: hold for key, hold in members.holds.items() if key[0] in members.regions}

    def _accept_holds(self, told: authority_pb2.ComponentHolds) -> Iterator[Any]:
        for hold in told.holds:
            key = (hold.entity, hold.component)
            for members in self._members.values():
                epoch = members.holds.get(key, (0, 0))[0]
                # Words of different partitions may come in any order: of two holds the later one counts.
                if hold.component in members.layer.writes and not hold.over and hold.epoch > epoch:
                    members.holds[key] = hold.epoch, hold.until_us
                elif hold.over and epoch == hold.epoch:
                    members.holds.pop(key, None)
        return iter(())

    def _accept_warm(self, lease: authority_pb2.Lease) -> Iterator[Any]:
        # The server has filled the views around it.
        self._warmed.append(lease.region)
        return iter(())

    def _accept_drain(self, _: authority_pb2.WorkerDrain) -> Iterator[Any]:
        self.is_draining = True
        yield Draining()

    def _accept_entities(self, told: authority_pb2.EntityAuthority) -> Iterator[Any]:
        for changes in told.changes:
            members = self._members.get(changes.layer)
            if members is None:  # a layer that Welcome did not name writes nothing
                continue
            if members.holds and not changes.gained:
                gone = set(changes.entities)
                members.holds = {key: hold for key, hold in members.holds.items() if key[0] not in gone}
            for is_gain, run in groupby(self._changed(members.regions, changes), lambda one: one[1]):
                entities = [entity for entity, _ in run]
                yield Gained(changes.layer, entities) if is_gain else Lost(changes.layer, entities)

    def _changed(
        self, held: dict[int, _Grant], changes: authority_pb2.EntityChanges
    ) -> Iterator[tuple[int, bool]]:
        """The entities for which the words make a difference, and whether they are owned now."""
        grant = (changes.region, changes.epoch)
        is_ours = changes.gained and changes.region in self.regions
        for entity in changes.entities:
            before = held.pop(entity, None)
            if changes.gained:
                held[entity] = grant
            was_ours = before is not None and before[0] in self.regions
            if was_ours != is_ours:
                yield entity, is_ours

    def _keep(self, region: int) -> None:
        """Nothing is to be flushed any more."""
        self._flushed.discard(region)
        self._to_flush = [grant for grant in self._to_flush if grant[0] != region]

    def _may_write(self, region: int) -> bool:
        return region in self.regions and region not in self._flushed

    def _members_of(self, scope: str | int) -> Iterator[_Members]:
        for name, members in self._members.items():
            if scope == name or scope in members.layer.writes:
                yield members

    def _members_in(self, region: int) -> Iterator[tuple[str, list[int]]]:
        for name, members in self._members.items():
            entities = sorted(entity for entity, grant in members.regions.items() if grant[0] == region)
            if entities:
                yield name, entities


def _layer_of(info: worker_pb2.LayerInfo) -> Layer:
    having = getattr(info, "with")  # a Python keyword
    return Layer(info.name, info.worker_type, tuple(having), tuple(info.without), tuple(info.writes))


def _region_of(lease: authority_pb2.Lease) -> Region:
    return Region(
        id=lease.region, layer=lease.layer, space=lease.space if lease.HasField("space") else None,
        x_min=lease.min_x, y_min=lease.min_y, x_max=lease.max_x, y_max=lease.max_y,
        epoch=lease.epoch, borders=_borders_of(lease.borders), player=lease.player,
    )  # fmt: skip


def _borders_of(wire: Iterable[authority_pb2.Border]) -> tuple[Border, ...]:
    known = {side.value for side in Side}
    return tuple(
        Border(Side(one.side), one.at, getattr(one, "from"), one.to, one.region, one.session_id, one.epoch)
        for one in wire if one.side in known
    )  # fmt: skip
