"""What `Worker.ask` gives.

Responsible for: putting an answer together from its pages, typed reads.
Not responsible for: knowing whose answer comes (`session.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Sized
from typing import TypeVar, cast

from google.protobuf.message import Message

from .components import POSITION, component_id
from .errors import ProtocolError
from .v1 import worker_pb2
from .v1.components_pb2 import Position

M = TypeVar("M", bound=Message)
V = TypeVar("V")


class Found:
    """An entity of an answer."""

    def __init__(self, entity: int) -> None:
        self.entity = entity
        #: Where it is; None if it has no position, or that was not asked for.
        self.position: Position | None = None
        #: How far it is from where the question said, in metres; None without `nearest_to`.
        self.distance_m: float | None = None
        self._values: dict[int, bytes] = {}

    @property
    def components(self) -> list[int]:
        """The ids of the components that were told."""
        return sorted([*self._values, *([] if self.position is None else [POSITION])])

    def get(self, message_type: type[M]) -> M | None:
        """The entity's component; None if it has none, or that was not asked for."""
        component = component_id(message_type)
        if component == POSITION:
            return cast("M | None", self.position)
        value = self._values.get(component)
        return None if value is None else message_type.FromString(value)

    def raw(self, component: int) -> bytes | None:
        """The encoded value of a component other than Position."""
        return self._values.get(component)


class Answer:
    """The entities that match, as of one moment; the nearest first if the question had an order."""

    def __init__(self) -> None:
        self.entities: list[Found] = []
        #: How many entities match, not only those told.
        self.match_count = 0

    def __len__(self) -> int:
        return len(self.entities)

    def __iter__(self) -> Iterator[Found]:
        return iter(self.entities)

    def __getitem__(self, index: int) -> Found:
        return self.entities[index]

    def add(self, page: worker_pb2.Answer) -> None:
        """Takes a page in. ProtocolError if it does not fit together."""
        rows = {entity: Found(entity) for entity in page.entities}
        if page.distances_m:
            for found, distance_m in zip(rows.values(), _parallel(rows, page.distances_m)):
                found.distance_m = distance_m
        try:
            for place in page.positions:
                x, y = _parallel(place.entities, place.x), _parallel(place.entities, place.y)
                z = _parallel(place.entities, place.z) if place.z else [0.0] * len(x)
                for entity, *at in zip(place.entities, x, y, z):
                    rows[entity].position = Position(space=place.space, x=at[0], y=at[1], z=at[2])
            for column in page.columns:
                for entity, value in zip(column.entities, _parallel(column.entities, column.values)):
                    rows[entity]._values[column.component] = value
        except KeyError as error:
            raise ProtocolError(f"entity {error} is in a column of an answer only") from None
        self.entities += rows.values()
        self.match_count = page.match_count


def _parallel(rows: Sized, values: Sequence[V]) -> Sequence[V]:
    if len(rows) != len(values):
        raise ProtocolError("an answer has lists of different lengths")
    return values
