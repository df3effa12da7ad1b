"""The local replica: what the session's views show, as of the last frame.

Responsible for: applying frames whole, typed reads.
Not responsible for: what this session wrote itself. Own updates come back only to views with `own_updates`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar, cast

from google.protobuf.message import Message

from .components import POSITION, component_id
from .densities import DensityMap
from .errors import ProtocolError
from .events import Changed, DensitiesChanged, Entered, Event, Gone, Left, LeaveReason
from .positions import Positions
from .v1 import worker_pb2
from .v1.components_pb2 import Position

M = TypeVar("M", bound=Message)
_REASONS = {reason.value: reason for reason in LeaveReason}


class Replica:
    """Entities in view and their components. Values are kept as bytes and decoded when they are asked for."""

    def __init__(self) -> None:
        self._entities: set[int] = set()
        self._values: dict[int, dict[int, bytes]] = {}
        self._densities: dict[int, DensityMap] = {}
        #: Where they are, as columns.
        self.positions = Positions()
        #: The number of the last frame; 0 before the first.
        self.frame = 0
        #: Of the last frame: world time since its start, and Unix time.
        self.world_time_us = 0
        self.unix_time_us = 0

    def __len__(self) -> int:
        return len(self._entities)

    def __contains__(self, entity: int) -> bool:
        return entity in self._entities

    def __iter__(self) -> Iterator[int]:
        return iter(self._entities)

    def get(self, entity: int, message_type: type[M]) -> M | None:
        """The entity's component; None if it is not in view or has none. A new message on each call."""
        component = component_id(message_type)
        if component == POSITION:
            return cast("M | None", self._position(entity))
        value = self._values.get(component, {}).get(entity)
        return None if value is None else message_type.FromString(value)

    def all(self, message_type: type[M]) -> Iterator[tuple[int, M]]:
        """Every entity with the component, and its value, in no particular order."""
        component = component_id(message_type)
        if component == POSITION:
            for entity in self.positions.entities:
                yield entity, cast(M, self._position(entity))
            return
        for entity, value in self._values.get(component, {}).items():
            yield entity, message_type.FromString(value)

    def has(self, entity: int, component: type[Message] | int) -> bool:
        """Whether the entity shows the component, which is given by its message type or id."""
        number = component if isinstance(component, int) else component_id(component)
        return entity in self.positions if number == POSITION else entity in self._values.get(number, ())

    def raw(self, component: int) -> dict[int, bytes]:
        """Every encoded value of a component other than Position, by entity. Not to be changed."""
        return self._values.get(component, {})

    def components_of(self, entity: int) -> list[int]:
        """The ids of the components that the entity shows."""
        shown = [component for component, values in self._values.items() if entity in values]
        return sorted([POSITION, *shown] if entity in self.positions else shown)

    def densities(self, view_id: int) -> DensityMap:
        """How many entities there are where, of a view of densities; empty before its first square."""
        return self._densities.get(view_id, DensityMap())

    def end_view(self, view_id: int) -> None:
        """Forgets the densities of a view that has ended."""
        self._densities.pop(view_id, None)

    def clear(self) -> None:
        """Empties it for a new session."""
        self.__init__()  # type: ignore[misc]

    def apply(self, frame: worker_pb2.Frame, densities: Iterable[worker_pb2.DensityColumn] = ()) -> list[Event]:
        """Takes one frame in, with those of its densities that are to be shown, and says what changed. ProtocolError if
        it does not fit what is held."""
        if self.frame and frame.frame != self.frame + 1:
            raise ProtocolError(f"frame {frame.frame} came where frame {self.frame + 1} was due")
        self.frame, self.world_time_us, self.unix_time_us = frame.frame, frame.world_time_us, frame.unix_time_us
        events: list[Event] = []
        if frame.entered:
            entered = list(frame.entered)
            if not self._entities.isdisjoint(entered):
                raise ProtocolError("an entity entered twice")
            self._entities.update(entered)
            events.append(Entered(entered))
        events += [self._leave(left) for left in frame.left]
        events += [self._lose(gone) for gone in frame.gone]
        for place in frame.positions:
            events.append(self._move(place))
        for column in frame.columns:
            events.append(self._put(column))
        for squares in densities:
            counts = self._densities.setdefault(squares.view_id, DensityMap())
            events.append(DensitiesChanged(squares.view_id, counts.apply(squares)))
        return events

    def _leave(self, left: worker_pb2.Left) -> Left:
        entities = list(left.entities)
        self._check_in_view(entities, "left")
        self._entities.difference_update(entities)
        for entity in entities:
            self.positions.remove(entity)
        for values in self._values.values():
            if values:
                for entity in entities:
                    values.pop(entity, None)
        return Left(entities, _REASONS.get(left.reason, LeaveReason.UNKNOWN))

    def _lose(self, gone: worker_pb2.ComponentEntities) -> Gone:
        # A component that was added and removed between two frames was never here.
        if gone.component == POSITION:
            return Gone(POSITION, [entity for entity in gone.entities if self.positions.remove(entity)])
        values = self._values.get(gone.component, {})
        return Gone(gone.component, [entity for entity in gone.entities if values.pop(entity, None) is not None])

    def _move(self, column: worker_pb2.PositionColumn) -> Changed:
        entities, x, y, z = column.entities[:], column.x[:], column.y[:], column.z[:]
        if not len(entities) == len(x) == len(y) or (z and len(z) != len(x)):
            raise ProtocolError("a column of positions has arrays of different lengths")
        self._check_in_view(entities, "has a position")
        self.positions.put(column.space, entities, x, y, z)
        return Changed(POSITION, entities)

    def _put(self, column: worker_pb2.Column) -> Changed:
        entities: list[int] = column.entities[:]
        values: list[bytes] = column.values[:]
        if len(entities) != len(values):
            raise ProtocolError(f"a column of component {column.component} has arrays of different lengths")
        self._check_in_view(entities, "has a value")
        self._values.setdefault(column.component, {}).update(zip(entities, values))
        return Changed(column.component, entities)

    def _check_in_view(self, entities: list[int], what: str) -> None:
        if not self._entities.issuperset(entities):
            stranger: Any = next(entity for entity in entities if entity not in self._entities)
            raise ProtocolError(f"entity {stranger} is not in view but {what}")

    def _position(self, entity: int) -> Position | None:
        place = self.positions.get(entity)
        return None if place is None else Position(space=place[0], x=place[1], y=place[2], z=place[3])
