"""Writes that wait to be sent, gathered into columns.

Responsible for: one message for many rows, the order of writes to an entity, the server's limits on a message.
Not responsible for: sequence numbers and sending (`session.py`, `worker.py`).
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import Any

from .positions import numpy
from .v1 import worker_pb2

# What a row costs beside its value: an id of 53 bits takes up to 8 bytes, the length of a value up to 4.
_ROW_BYTES = 12
_POSITION_BYTES = 32


def entity_ids(entities: Any) -> array[int]:
    """Ids as an array, from any numbers; the server judges which it knows. ValueError for what is no id at all."""
    if numpy is not None and isinstance(entities, numpy.ndarray):
        if entities.dtype.kind not in "iu" or (entities.size and entities.min() < 0):
            raise ValueError(f"not entity ids: an array of {entities.dtype} or with negative numbers")
        return array("Q", entities.astype("=u8").tobytes())
    try:
        return array("Q", entities)
    except (TypeError, OverflowError) as error:
        raise ValueError(f"not entity ids: {error}") from None


def metres(values: Any) -> array[float]:
    """Coordinates as an array, from any numbers. ValueError for what is no number."""
    if numpy is not None and isinstance(values, numpy.ndarray):
        return array("d", values.astype("=f8").tobytes())
    try:
        return array("d", values)
    except TypeError as error:
        raise ValueError(f"not coordinates: {error}") from None


class Body:
    """One message to be."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.rows = 0
        self.bytes = 0
        self.is_sealed = False
        #: How much the worker knew of what it may write: the number of the last Authority message.
        self.authority_seen = 0

    def has_room(self, rows: int, size: int, limits: Mapping[str, int]) -> bool:
        """Whether so much more still makes a message that the server takes."""
        return (
            not self.is_sealed
            and self.rows + rows <= limits["message_rows_max"]
            and self.bytes + size <= limits["message_bytes_max"] * 9 // 10
            and self.column_count < limits["message_columns_max"]
        )

    @property
    def column_count(self) -> int:
        """How many columns it has."""
        return 0

    def fill(self, message: worker_pb2.ClientMessage) -> None:
        """Puts the body into a message."""
        raise NotImplementedError


class Ready(Body):
    """A body that is a protobuf message already."""

    def __init__(self, kind: str, body: Any) -> None:
        super().__init__(kind)
        self.body = body
        self.is_sealed = True

    def fill(self, message: worker_pb2.ClientMessage) -> None:
        getattr(message, self.kind).CopyFrom(self.body)


class Values(Body):
    """Rows of `update`, with events behind them, or of `add_components`."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self._positions: dict[int, tuple[array[int], array[float], array[float], array[float]]] = {}
        self._columns: list[tuple[int, tuple[int, ...], array[int], list[bytes]]] = []
        self._last: dict[int, tuple[int, tuple[int, ...], array[int], list[bytes]]] = {}
        self._events: list[tuple[tuple[int, int], array[int], list[bytes]]] = []

    def put(self, component: int, fields: tuple[int, ...], entity: array[int], value: bytes) -> None:
        """Adds a value of one entity. Only the last column of a component grows, so that the order of writes holds."""
        column = self._last.get(component)
        if column is None or column[1] != fields:
            column = (component, fields, array("Q"), [])
            self._columns.append(column)
            self._last[component] = column
        column[2].extend(entity)
        column[3].append(value)
        self.rows += 1
        self.bytes += len(value) + _ROW_BYTES

    def place(
        self, space: int, entities: array[int], x: array[float], y: array[float], z: array[float]
    ) -> None:
        """Adds positions of a space that `takes_space`; copies them. An empty z means 0."""
        held = self._positions.setdefault(space, (array("Q"), array("d"), array("d"), array("d")))
        if z and not held[3]:
            held[3].frombytes(bytes(8 * len(held[0])))
        elif held[3] and not z:
            z = array("d", bytes(8 * len(x)))
        held[0].extend(entities)
        held[1].extend(x)
        held[2].extend(y)
        held[3].extend(z)
        self.rows += len(entities)
        self.bytes += len(entities) * _POSITION_BYTES

    def emit(self, ids: tuple[int, int], entity: array[int], payload: bytes) -> None:
        """Adds an event, by the ids of its component and its own. Only the last column grows: events keep their order."""
        if not self._events or self._events[-1][0] != ids:
            self._events.append((ids, array("Q"), []))
        self._events[-1][1].extend(entity)
        self._events[-1][2].append(payload)
        self.rows += 1
        self.bytes += len(payload) + _ROW_BYTES

    def takes_space(self, space: int) -> bool:
        """Whether positions of this space may join: those of two spaces would lose their order."""
        return not self._positions or space in self._positions

    @property
    def column_count(self) -> int:
        return len(self._positions) + len(self._columns) + len(self._events)

    def fill(self, message: worker_pb2.ClientMessage) -> None:
        body = getattr(message, self.kind)
        for space, (entities, x, y, z) in self._positions.items():
            body.positions.add(space=space, entities=entities, x=x, y=y, z=z)
        for component, fields, entities, values in self._columns:
            body.columns.add(component=component, fields=fields, entities=entities, values=values)
        for (component, event), entities, payloads in self._events:
            body.events.add(component=component, event=event, entities=entities, payloads=payloads)


class Removals(Body):
    """Rows of `remove_components`."""

    def __init__(self) -> None:
        super().__init__("remove_components")
        self._columns: dict[int, array[int]] = {}

    def put(self, component: int, entities: array[int]) -> None:
        """Adds entities that are to lose a component."""
        self._columns.setdefault(component, array("Q")).extend(entities)
        self.rows += len(entities)
        self.bytes += len(entities) * _ROW_BYTES

    def fill(self, message: worker_pb2.ClientMessage) -> None:
        for component, entities in self._columns.items():
            message.remove_components.columns.add(component=component, entities=entities)


class Deletes(Body):
    """Rows of `delete`."""

    def __init__(self) -> None:
        super().__init__("delete")
        self._entities = array("Q")

    def put(self, entities: array[int]) -> None:
        """Adds entities that are to go."""
        self._entities.extend(entities)
        self.rows += len(entities)
        self.bytes += len(entities) * _ROW_BYTES

    def fill(self, message: worker_pb2.ClientMessage) -> None:
        message.delete.entities.extend(self._entities)
