"""The loop of a worker that goes by ticks.

Responsible for: ticks, heartbeats, letting go of regions, the end of the program: by a signal, or because the worker was
drained. Not responsible for: what is simulated.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, Union

from .authority import Drained, LossImminent, Region
from .errors import NotConnected
from .events import Event

if TYPE_CHECKING:
    from .worker import Worker

#: What is called each tick, of an event, before regions are lost, and at the end. They may be coroutine functions.
Tick = Callable[["Worker"], Union[Awaitable[None], None]]
OnEvent = Callable[["Worker", Event], Union[Awaitable[None], None]]
BeforeLoss = Callable[["Worker", "list[Region]"], Union[Awaitable[None], None]]
BeforeEnd = Callable[["Worker"], Union[Awaitable[None], None]]

#: Well below the shortest `lease_ttl` that a world may have (750 ms).
_HEARTBEAT_S = 0.25


class Loop:
    """One run of a worker."""

    def __init__(
        self,
        worker: Worker,
        tick: Tick,
        period_s: float,
        on_event: OnEvent | None,
        before_loss: BeforeLoss | None,
        before_end: BeforeEnd | None = None,
    ) -> None:
        self._worker = worker
        self._tick = tick
        self._period_s = period_s
        self._on_event = on_event
        self._before_loss = before_loss
        self._before_end = before_end
        self._stop = asyncio.Event()
        # What the worker does it does one after the other.
        self._turn = asyncio.Lock()

    async def run(self) -> None:
        """Until it is told to stop, or drained."""
        with _told_to_stop(self._stop):
            tasks = [asyncio.create_task(part) for part in (self._hear(), self._beat(), self._stop.wait())]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in tasks:
                    if task.done():
                        task.result()  # raises what went wrong
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
            async with self._turn:
                await self._call(self._before_loss, list(self._worker.regions.values()))
                await self._call(self._before_end)
            await self._worker.close()

    async def _hear(self) -> None:
        async for event in self._worker.events():
            if isinstance(event, Drained):
                return
            async with self._turn:
                if isinstance(event, LossImminent):
                    await self._call(self._before_loss, [event.region])
                else:
                    await self._call(self._on_event, event)

    async def _beat(self) -> None:
        worker, now = self._worker, time.monotonic()
        tick_at, beat_at, busy_s = now, now, 0.0
        while True:
            await asyncio.sleep(max(0.0, min(tick_at, beat_at) - time.monotonic()))
            started = time.monotonic()
            if started >= tick_at:
                if worker.is_ready:
                    async with self._turn:
                        await self._call(self._tick)
                    with contextlib.suppress(NotConnected):
                        await worker.drain()
                    busy_s = time.monotonic() - started
                tick_at = time.monotonic() + max(0.0, self._period_s - (time.monotonic() - started))
            if time.monotonic() >= beat_at:
                worker.heartbeat(min(1.0, busy_s / self._period_s), busy_s * 1000)
                beat_at = time.monotonic() + _HEARTBEAT_S

    async def _call(self, hook: Callable[..., Any] | None, *arguments: Any) -> None:
        """Without a session nobody can write: what the world has counts, and the next tick goes on from there."""
        if hook is None:
            return
        with contextlib.suppress(NotConnected):
            result = hook(self._worker, *arguments)
            if inspect.isawaitable(result):
                await result


@contextlib.contextmanager
def _told_to_stop(stop: asyncio.Event) -> Iterator[None]:
    """Sets the event at SIGTERM and SIGINT, where this thread may listen for them."""
    loop, heard = asyncio.get_running_loop(), []
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(number, stop.set)
            heard.append(number)
    try:
        yield
    finally:
        for number in heard:
            loop.remove_signal_handler(number)
