"""What a worker hears from its session.

An event tells of many entities at once. When it is read the replica has taken the change in, and may be newer still:
an entity that entered may have left again.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar, Union

from google.protobuf.message import Message

from .authority import (
    Drained,
    Draining,
    Gained,
    Kept,
    LossImminent,
    Lost,
    RegionChanged,
    RegionGained,
    RegionLost,
)
from .components import component_id, event_ids
from .densities import Square

M = TypeVar("M", bound=Message)


class LeaveReason(enum.Enum):
    """Why entities are no longer in view."""

    #: The server gave a reason that this package does not know.
    UNKNOWN = 0
    #: No view matches them any longer.
    OUT_OF_VIEW = 1
    DELETED = 2
    #: They may no longer be shown to this session.
    FILTERED = 3


@dataclass(frozen=True)
class Entered:
    """Entities came into view."""

    entities: list[int]


@dataclass(frozen=True)
class Left:
    """Entities are no longer in view."""

    entities: list[int]
    reason: LeaveReason


@dataclass(frozen=True)
class Changed:
    """Values of a component are new; those of entities that entered too."""

    component: int
    entities: list[int]

    def of(self, message_type: type[Message]) -> bool:
        """Whether it is that component."""
        return self.component == component_id(message_type)


@dataclass(frozen=True)
class Gone:
    """Entities in view no longer have, or show, a component."""

    component: int
    entities: list[int]

    def of(self, message_type: type[Message]) -> bool:
        """Whether it is that component."""
        return self.component == component_id(message_type)


@dataclass(frozen=True)
class DensitiesChanged:
    """Squares of a view of densities have another count: `worker.replica.densities(view_id)` has it."""

    view_id: int
    squares: list[Square]


@dataclass(frozen=True)
class EntityEvents:
    """An event happened to entities. It comes behind the changes of its frame, and is told once.

    An entity that has left in the same frame had the event before it left. One entity may be in it several times.
    """

    component: int
    #: The id of the event in its component.
    event: int
    entities: list[int]
    #: The encoded messages, parallel to `entities`.
    payloads: list[bytes]

    def of(self, message_type: type[Message]) -> bool:
        """Whether it is that event."""
        return (self.component, self.event) == event_ids(message_type)

    def messages(self, message_type: type[M]) -> Iterator[tuple[int, M]]:
        """Each entity and its event, decoded, if it is that event; nothing if it is another."""
        if self.of(message_type):
            for entity, payload in zip(self.entities, self.payloads):
                yield entity, message_type.FromString(payload)


@dataclass(frozen=True)
class EventsMissed:
    """Events of a kind were not told one by one, because nobody read them in time."""

    component: int
    event: int
    count: int


@dataclass(frozen=True)
class ViewReady:
    """A view is filled: what it matches is in the replica."""

    view_id: int
    entity_count: int


@dataclass(frozen=True)
class Rejected:
    """The server refused a row or a whole message. The session goes on."""

    #: A reason of docs/errors.md.
    reason: str
    #: For people.
    detail: str
    #: spatialdb.v1.ErrorCode: what to do about it.
    code: int = 0
    #: 0 if none is meant.
    entity: int = 0
    component: int = 0
    #: The full name of the component; empty if none is meant.
    component_name: str = ""
    #: Which column of the message, and which row of it.
    column: int = 0
    row: int = 0
    #: Past a bound the server only counts: how many refusals this stands for.
    count: int = 1


@dataclass(frozen=True)
class Reset:
    """The replica is empty, and nothing is owned. The views fill it again, each ended by `ViewReady`."""


@dataclass(frozen=True)
class FlagsChanged:
    """The settings of this worker type are these now; `worker.flags` has them too."""

    flags: Mapping[str, str]


@dataclass(frozen=True)
class SchemaChanged:
    """The schema has more components or fields; `worker.components` knows them."""

    schema_digest: str


@dataclass(frozen=True)
class Disconnected:
    """The session is lost and will be opened again. The replica stays readable, and gets stale. Nothing is owned."""

    error: str
    #: Messages that may or may not have been applied, or were never sent. Creates and requests for ids are not
    #: among them: those are repeated.
    lost_messages: int
    #: When the next attempt is due.
    retry_in_s: float


@dataclass(frozen=True)
class Reconnected:
    """A new session is open; its views are subscribed again and unanswered creates repeated."""

    session_id: int


@dataclass(frozen=True)
class Overflowed:
    """Nobody read events for so long that changes were dropped: look at the whole replica, and at all that is owned."""

    rows: int


Event = Union[
    Entered, Left, Changed, Gone, DensitiesChanged, EntityEvents, EventsMissed, ViewReady, Rejected, Reset, FlagsChanged,
    SchemaChanged, Disconnected, Reconnected, Overflowed, RegionGained, RegionChanged, RegionLost, Gained, Lost,
    LossImminent, Kept, Draining, Drained,
]  # fmt: skip
