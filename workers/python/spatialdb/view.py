"""A live subscription: which entities, which of their components, how often.

Responsible for: what a view asks for, whether it is filled, changes that overtake a fill.
Not responsible for: what it shows. That is in the replica, of all views together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from .components import ComponentLike
from .errors import SpatialdbError
from .query import Constraint, Densities, look_at
from .v1 import query_pb2

Send = Callable[["View", str], None]


class View:
    """Made by `Worker.subscribe`. It is subscribed again after a reconnect."""

    def __init__(self, wire: query_pb2.View, id_of: Callable[[ComponentLike], int], send: Send) -> None:
        self.id: int = wire.view_id
        #: How many entities matched when it was last filled.
        self.entity_count = 0
        self.is_ended = False
        self._id_of = id_of
        self._send = send
        self._wanted = wire
        # What the server was last asked for and has not filled; what it filled last.
        self._asked: query_pb2.View | None = None
        self._filled: query_pb2.View | None = None
        self._error: Exception | None = None
        self._settled = asyncio.Event()

    @property
    def wire(self) -> query_pb2.View:
        """What it asks for."""
        return self._wanted

    @property
    def is_filled(self) -> bool:
        """Whether the replica holds what the view matches, as far as it was asked for."""
        return self._filled is not None

    async def ready(self) -> int:
        """Waits until the replica holds what the view matches, and says how many entities that were. Refused if the
        server did not take the view, or its last change; then the view is as it was."""
        while True:
            if self._error is not None:
                error = self._error
                if not self.is_ended:
                    self._error = None
                raise error
            if self.is_ended:
                raise SpatialdbError(f"view {self.id} is ended")
            if self._filled is self._wanted:
                return self.entity_count
            await self._settled.wait()

    def change(
        self,
        what: Constraint | query_pb2.Constraint | Densities | None = None,
        *,
        components: Iterable[ComponentLike] | None = None,
        rate_hz: float | None = None,
        own_updates: bool | None = None,
        bands: query_pb2.Bands | None = None,
    ) -> None:
        """Asks for something else; what is not given stays; bands without a band take them away. Only the
        difference is sent; `ready` waits for it.

        A change during a fill is sent after it, and of several the last: a map may be panned at any speed. One while
        there is no session is subscribed with the next.
        """
        if self.is_ended:
            raise SpatialdbError(f"view {self.id} is ended")
        wire = query_pb2.View()
        wire.CopyFrom(self._wanted)
        if what is not None:
            look_at(wire, what)
        if components is not None:
            wire.components[:] = [self._id_of(component) for component in components]
        if rate_hz is not None:
            wire.rate_hz = rate_hz
        if own_updates is not None:
            wire.own_updates = own_updates
        if bands is not None:
            wire.ClearField("bands")
            if bands.bands:
                wire.bands.CopyFrom(bands)
        self._wanted = wire
        self._settled.clear()
        if self._asked is None and self._filled is not None:
            self._ask("change_view")

    def end(self) -> None:
        """Ends the view: what only it showed leaves."""
        if not self.is_ended:
            self._send(self, "end_view")
            self.fail(None)

    # What follows is called by the session.

    def begin(self) -> None:
        """A session begins: the view is subscribed in it."""
        self._ask("subscribe")

    def lose(self) -> None:
        """The session is lost."""
        self._asked = self._filled = None
        self._settled.clear()

    def fill(self, entity_count: int) -> None:
        """The server has filled what was asked for."""
        if self._asked is None:
            return
        self._filled, self._asked = self._asked, None
        if self._filled is self._wanted:
            self.entity_count = entity_count
            self._settled.set()
        else:
            self._ask("change_view")

    def refuse(self, error: Exception) -> None:
        """The server did not take what was asked for. Without a fill before there is no view."""
        if self._filled is None:
            self.fail(error)
            return
        if self._wanted is self._asked:
            self._wanted, self._asked, self._error = self._filled, None, error
            self._settled.set()
        else:
            self._asked = None
            self._ask("change_view")

    def fail(self, error: Exception | None) -> None:
        """It is over."""
        self._error, self.is_ended = error, True
        self._settled.set()

    def _ask(self, kind: str) -> None:
        self._asked = self._wanted
        self._settled.clear()
        self._send(self, kind)
