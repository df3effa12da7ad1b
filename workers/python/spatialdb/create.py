"""New entities, row by row, as the columns of a create.

Responsible for: turning rows into columns, and cutting what passes the server's limits into several messages.
Not responsible for: sending, retries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from google.protobuf.message import Message

from .v1 import worker_pb2
from .v1.components_pb2 import Position

#: The components of one new entity: (id, message).
Row = Sequence[tuple[int, Message]]

_ROW_BYTES = 40


def split(rows: Sequence[Row], limits: Mapping[str, int]) -> list[tuple[int, Sequence[Row]]]:
    """Cuts rows into parts that one message each can hold: (index of the first row, rows)."""
    rows_max, bytes_max = limits["message_rows_max"], limits["message_bytes_max"] * 9 // 10
    parts, first, count, size = [], 0, 0, 0
    for index, row in enumerate(rows):
        row_count = max(len(row), 1)
        row_size = sum(_ROW_BYTES + message.ByteSize() for _, message in row)
        if index > first and (count + row_count > rows_max or size + row_size > bytes_max):
            parts.append((first, rows[first:index]))
            first, count, size = index, 0, 0
        count += row_count
        size += row_size
    if len(rows) > first:
        parts.append((first, rows[first:]))
    return parts


def columns_of(rows: Sequence[Row], ids: Sequence[int]) -> worker_pb2.Create:
    """The create of these rows. In its columns entities are row numbers."""
    create = worker_pb2.Create(entities=ids, count=0 if ids else len(rows))
    places: dict[int, worker_pb2.PositionColumn] = {}
    columns: dict[int, worker_pb2.Column] = {}
    for number, row in enumerate(rows):
        for component, message in row:
            if isinstance(message, Position):
                if message.space not in places:
                    places[message.space] = create.positions.add(space=message.space)
                place = places[message.space]
                place.entities.append(number)
                place.x.append(message.x)
                place.y.append(message.y)
                place.z.append(message.z)
            else:
                if component not in columns:
                    columns[component] = create.columns.add(component=component)
                columns[component].entities.append(number)
                columns[component].values.append(message.SerializeToString())
    return create
