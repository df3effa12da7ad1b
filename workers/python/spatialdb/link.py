"""A worker's connection, kept up: the one place where session, connection and time meet.

Responsible for: attaching, speaking and listening, coming back after a loss, saying goodbye.
Not responsible for: protocol state (`session.py`), transport (`connection.py`).
"""

from __future__ import annotations

import asyncio
import logging
import random
import time

from .connection import Connection, attach
from .errors import NotConnected, Refused, SpatialdbError
from .events import Disconnected, Reconnected
from .options import Options
from .session import Session

_log = logging.getLogger("spatialdb")
# How long what was written, and a goodbye, may take to be heard.
_GOODBYE_S = 5.0
# Of regions that come or go within so long a report says all at once that the worker knows.
_REPORT_S = 0.02


class Link:
    """Keeps one session after the other open, until it is closed or refused for good."""

    def __init__(self, options: Options, session: Session) -> None:
        #: What ended it for good.
        self.error: Exception | None = None
        self._options = options
        self._session = session
        self._task: asyncio.Task[None] | None = None
        self._is_closing = False

    async def open(self) -> None:
        """Connects, for as long as the options have patience."""
        delay, is_warned = self._options.backoff_min_s, False
        deadline = time.monotonic() + self._options.patience_s
        while True:
            try:
                connection = await attach(self._options)
                break
            except SpatialdbError as error:
                if error.is_final or time.monotonic() + delay > deadline:
                    raise
                if not is_warned:
                    _log.warning("cannot connect yet, trying again: %s", error)
                    is_warned = True
            await asyncio.sleep(delay)
            delay = self._longer(delay)
        self._begin(connection)
        self._task = asyncio.create_task(self._run(connection), name="spatialdb worker")

    async def close(self) -> None:
        """Ends the session politely."""
        if self._is_closing:
            return
        self._is_closing = True
        try:
            if self._session.is_open:
                await asyncio.wait_for(self._say_goodbye(), _GOODBYE_S)
        except (asyncio.TimeoutError, SpatialdbError):
            pass  # it is over all the same
        finally:
            if self._task is not None:
                self._task.cancel()
                await asyncio.wait({self._task})
            self._session.stop(self.error)

    def _begin(self, connection: Connection) -> None:
        # From here on the worker keeps the name it has, also when the server gave it.
        self._options.name = connection.welcome.name
        self._session.begin(connection.welcome)

    async def _run(self, connection: Connection) -> None:
        """Serves one connection after the other."""
        delay = self._options.backoff_min_s
        try:
            while True:
                error = await self._serve(connection)
                if error.is_final or self._is_closing:
                    raise error
                if self._session.is_proven:
                    delay = self._options.backoff_min_s
                said = self._session.goodbye
                wait_s = max(delay * random.uniform(0.5, 1.0), said.retry_after_ms / 1000 if said else 0.0)
                lost = self._session.lose()
                self._session.inbox.push(Disconnected(str(error), lost, wait_s))
                delay = self._longer(delay)
                connection, delay = await self._come_back(wait_s, delay)
                self._begin(connection)
                self._session.inbox.push(Reconnected(connection.welcome.session_id))
        except asyncio.CancelledError:
            raise
        except Exception as error:  # also a bug of ours: whoever waits must hear of it
            self.error = None if self._is_closing else error
            if not isinstance(error, SpatialdbError):
                _log.exception("the worker has failed")
            self._session.stop(self.error)

    async def _come_back(self, wait_s: float, delay: float) -> tuple[Connection, float]:
        while True:
            await asyncio.sleep(wait_s)
            try:
                return await attach(self._options), delay
            except SpatialdbError as error:
                if error.is_final:
                    raise
                _log.debug("still disconnected: %s", error)
            wait_s = delay * random.uniform(0.5, 1.0)
            delay = self._longer(delay)

    async def _serve(self, connection: Connection) -> SpatialdbError:
        """Speaks and listens until the connection ends, and says why it did."""
        speaking = asyncio.create_task(self._speak(connection), name="spatialdb speaking")
        hearing = asyncio.create_task(self._hear(connection), name="spatialdb hearing")
        try:
            await asyncio.wait({speaking, hearing}, return_when=asyncio.FIRST_COMPLETED)
            if speaking.done():
                speaking.result()  # raises a bug of ours, which must not look like silence
            await hearing
        except SpatialdbError as error:
            said = self._session.goodbye
            if said is not None and not error.is_final:
                return Refused(said.reason or "GOODBYE", said.detail or "the server ended the session")
            return error
        finally:
            speaking.cancel()
            hearing.cancel()
            await asyncio.wait({speaking, hearing})
            await connection.close()
        raise AssertionError("hearing ends with an error")

    async def _hear(self, connection: Connection) -> None:
        session, loop, report_at = self._session, asyncio.get_running_loop(), 0.0
        while True:
            session.accept(await connection.read())
            if session.authority.is_unseen and report_at <= loop.time():
                report_at = loop.time() + _REPORT_S
                loop.call_at(report_at, session.report)

    async def _speak(self, connection: Connection) -> None:
        session = self._session
        try:
            while True:
                session.stirred.clear()
                while (message := session.next_message()) is not None:
                    await connection.write(message)
                await session.stirred.wait()
        except NotConnected:
            pass  # reading tells why

    async def _say_goodbye(self) -> None:
        session = self._session
        await session.until_sent()
        # The task ends when the server has decided everything and closes the stream.
        session.say_goodbye()
        if self._task is not None:
            await asyncio.wait({self._task})

    def _longer(self, delay: float) -> float:
        return min(delay * 2, self._options.backoff_max_s)
