"""How many entities there are where, as a view of densities shows it.

Responsible for: taking columns of squares in, reading them.
Not responsible for: which views there are (`session.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from .errors import ProtocolError
from .v1 import worker_pb2


class Square(NamedTuple):
    """A square of a view: from (x, y) times `square_m` to (x + 1, y + 1) times `square_m`."""

    x: int
    y: int
    #: The Metadata.type that is counted if the view counts each apart; empty otherwise, and for entities without.
    type: str = ""


class DensityMap(Mapping[Square, int]):
    """The counts of one view by square; those without entities are not in it: `densities.get(Square(0, 0), 0)`."""

    def __init__(self) -> None:
        #: The side of a square in metres.
        self.square_m = 0.0
        self._counts: dict[Square, int] = {}

    def __getitem__(self, square: Square) -> int:
        return self._counts[square]

    def __iter__(self) -> Iterator[Square]:
        return iter(self._counts)

    def __len__(self) -> int:
        return len(self._counts)

    @property
    def total(self) -> int:
        """How many entities there are in all squares."""
        return sum(self._counts.values())

    def apply(self, column: worker_pb2.DensityColumn) -> list[Square]:
        """Takes a column in and gives its squares. Squares of another size replace all."""
        if not len(column.x) == len(column.y) == len(column.counts):
            raise ProtocolError(f"a column of densities of view {column.view_id} has arrays of different lengths")
        if column.square_m != self.square_m:
            self.square_m = column.square_m
            self._counts.clear()
        squares = [Square(x, y, column.type) for x, y in zip(column.x, column.y)]
        for square, count in zip(squares, column.counts):
            if count:
                self._counts[square] = count
            else:
                self._counts.pop(square, None)
        return squares
