"""Positions as columns: numpy arrays where numpy is installed, `array('d')` otherwise.

Responsible for: one row for each entity, rows without holes, whole columns in and out.
Not responsible for: which entities are in view.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import Any

try:
    import numpy as numpy  # the one place that knows whether it is there
except ImportError:  # works without, only slower
    numpy = None  # type: ignore[assignment]

_ROWS_AT_FIRST = 1024


class Positions:
    """Where the entities in view are. Row i of each column is of `entities[i]`; the order of rows means nothing.

    Columns are views of the replica: valid until the next `await`. Copy what you keep. Metres.
    """

    def __init__(self) -> None:
        self._row: dict[int, int] = {}
        self._entities: list[int] = []
        self._space = array("I")
        self._spaces: set[int] = set()  # ever seen: with one of them nobody changes space
        self._x: Any = _doubles(_ROWS_AT_FIRST)
        self._y: Any = _doubles(_ROWS_AT_FIRST)
        self._z: Any = _doubles(_ROWS_AT_FIRST)

    def __len__(self) -> int:
        return len(self._entities)

    def __contains__(self, entity: int) -> bool:
        return entity in self._row

    @property
    def entities(self) -> Sequence[int]:
        """The entity of each row."""
        return self._entities

    @property
    def space(self) -> Sequence[int]:
        """The space of each row."""
        return self._space

    @property
    def x(self) -> Any:
        """East, of each row."""
        return self._column(self._x)

    @property
    def y(self) -> Any:
        """North, of each row."""
        return self._column(self._y)

    @property
    def z(self) -> Any:
        """Up, of each row."""
        return self._column(self._z)

    def get(self, entity: int) -> tuple[int, float, float, float] | None:
        """Space, x, y and z of one entity; None if it has no position here."""
        row = self._row.get(entity)
        if row is None:
            return None
        return self._space[row], float(self._x[row]), float(self._y[row]), float(self._z[row])

    def rows(self, entities: Iterable[int]) -> list[int]:
        """The rows of entities, to index the columns with. KeyError if one has no position here."""
        return list(map(self._row.__getitem__, entities))

    def put(self, space: int, entities: Sequence[int], x: list[float], y: list[float], z: list[float]) -> None:
        """Takes a column in; an empty z means 0."""
        try:
            rows = list(map(self._row.__getitem__, entities))
        except KeyError:
            rows = [self._row_of(entity, space) for entity in entities]
        if numpy is None:
            for row, *place in zip(rows, x, y, z or [0.0] * len(x)):
                self._x[row], self._y[row], self._z[row] = place
        else:
            at = numpy.array(rows, dtype=numpy.intp)
            self._x[at], self._y[at], self._z[at] = x, y, z or 0.0
        self._spaces.add(space)
        if len(self._spaces) > 1:
            for row in rows:
                self._space[row] = space

    def remove(self, entity: int) -> bool:
        """Takes one out: the last row moves into its place. Says whether it was there."""
        row = self._row.pop(entity, None)
        if row is None:
            return False
        last, space = self._entities.pop(), self._space.pop()
        if last != entity:
            at = len(self._entities)
            self._entities[row], self._space[row], self._row[last] = last, space, row
            self._x[row], self._y[row], self._z[row] = self._x[at], self._y[at], self._z[at]
        return True

    def _row_of(self, entity: int, space: int) -> int:
        row = self._row.get(entity)
        if row is not None:
            return row
        row = len(self._entities)
        if row == len(self._x):
            self._x, self._y, self._z = _doubled(self._x), _doubled(self._y), _doubled(self._z)
        self._entities.append(entity)
        self._space.append(space)
        self._row[entity] = row
        return row

    def _column(self, column: Any) -> Any:
        if numpy is None:
            return memoryview(column)[: len(self._entities)].toreadonly()
        view = column[: len(self._entities)]
        view.flags.writeable = False
        return view


def _doubles(count: int) -> Any:
    return array("d", bytes(8 * count)) if numpy is None else numpy.zeros(count)


def _doubled(column: Any) -> Any:
    if numpy is None:
        return column + column
    return numpy.concatenate([column, numpy.zeros(len(column))])
