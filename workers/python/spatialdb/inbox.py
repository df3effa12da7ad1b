"""Events that wait for the worker to read them.

Responsible for: their order and their bound. Past it changes are dropped, and one `Overflowed` says so; events of
entities become `EventsMissed`.
Not responsible for: the replica, which has every change whether or not its event is read.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque

from .events import (
    Changed,
    DensitiesChanged,
    Entered,
    EntityEvents,
    Event,
    EventsMissed,
    Gained,
    Gone,
    Left,
    Lost,
    Overflowed,
    Rejected,
)

_OF_ENTITIES = (Entered, Left, Changed, Gone, EntityEvents, Gained, Lost)
_OTHERS_MAX = 4096


class Inbox:
    """A bounded queue with one reader."""

    def __init__(self, rows_max: int) -> None:
        self._rows_max = rows_max
        self._events: deque[Event] = deque()
        self._rows = 0
        self._others = 0
        self._grown = asyncio.Event()
        #: Whether somebody reads.
        self.is_read = False
        self._is_ended = False
        self._error: Exception | None = None

    def push(self, event: Event) -> None:
        """Adds an event."""
        rows = _rows_of(event)
        if rows == 0:
            return
        self._count(rows, 1)
        self._events.append(event)
        if self._rows > self._rows_max:
            self._drop_changes()
        if self._others > _OTHERS_MAX:
            self._drop_rejections()
        self._grown.set()

    def end(self, error: Exception | None) -> None:
        """There will be no more events."""
        self._is_ended, self._error = True, error
        self._grown.set()

    async def next(self) -> Event | None:
        """The next event; None after the last. Raises what ended the session, after the last."""
        while not self._events:
            if self._is_ended:
                if self._error is not None:
                    raise self._error
                return None
            self._grown.clear()
            await self._grown.wait()
        event = self._events.popleft()
        self._count(_rows_of(event), -1)
        return event

    def _count(self, rows: int | None, sign: int) -> None:
        if rows is None:
            self._others += sign
        else:
            self._rows += sign * rows

    def _drop_changes(self) -> None:
        dropped = self._rows + sum(event.rows for event in self._events if isinstance(event, Overflowed))
        missed: Counter[tuple[int, int]] = Counter()
        rest: list[Event] = []
        for event in self._events:
            if isinstance(event, EntityEvents):
                missed[event.component, event.event] += len(event.entities)
            elif isinstance(event, EventsMissed):
                missed[event.component, event.event] += event.count
            elif _rows_of(event) is None and not isinstance(event, Overflowed):
                rest.append(event)
        lost = [EventsMissed(component, event, count) for (component, event), count in missed.items()]
        self._events = deque([Overflowed(dropped), *lost, *rest])
        self._rows, self._others = len(lost), len(rest) + 1

    def _drop_rejections(self) -> None:
        """Keeps the newest half of what are not changes; views and connections say little, so these are refusals."""
        refused = [event for event in self._events if isinstance(event, Rejected)]
        surplus = set(map(id, refused[: len(refused) - _OTHERS_MAX // 2]))
        self._events = deque(event for event in self._events if id(event) not in surplus)
        self._others = sum(_rows_of(event) is None for event in self._events)


def _rows_of(event: Event) -> int | None:
    """How many rows an event counts for; None if it is not of the rows of frames."""
    if isinstance(event, _OF_ENTITIES):
        return len(event.entities)
    if isinstance(event, EventsMissed):
        return 1
    return len(event.squares) if isinstance(event, DensitiesChanged) else None
