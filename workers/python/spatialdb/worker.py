"""A worker's connection to a world.

Responsible for: what a worker calls.
Not responsible for: protocol state (`session.py`), connecting and reconnecting (`link.py`).
"""

from __future__ import annotations

import asyncio
import uuid
from array import array
from collections.abc import AsyncIterator, Generator, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, TypeVar

from google.protobuf.message import Message

from .answer import Answer
from .authority import Layer, LossImminent, Region
from .batch import Deletes, Removals, Values, entity_ids, metres
from .components import ComponentLike, encode_only, event_ids, field_numbers
from .create import columns_of, split
from .errors import Refused
from .events import Event, Rejected
from .link import Link
from .options import Options
from .query import Constraint, Densities, Place, look_at, place_of, wire_of
from .replica import Replica
from .run import BeforeEnd, BeforeLoss, Loop, OnEvent, Tick
from .session import Asking, Question, Session
from .v1 import query_pb2, worker_pb2
from .v1.components_pb2 import Position
from .view import View

M = TypeVar("M", bound=Message)

_ROW_BYTES = 12


class Worker:
    """A worker's session with a world, across reconnects. Made by `connect`; all of it belongs to one event loop."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self._session = Session(options)
        self._link = Link(options, self._session)
        self._next_view = 1

    # ---- what it knows

    @property
    def replica(self) -> Replica:
        """What the views show, as of the last frame."""
        return self._session.replica

    @property
    def name(self) -> str:
        """Its name: what it asked for, or what the server gave."""
        return self._session.welcome.name

    @property
    def session_id(self) -> int:
        """Of the session now, or the last."""
        return self._session.welcome.session_id

    @property
    def world_id(self) -> str:
        """Which world."""
        return self._session.welcome.world_id

    @property
    def is_connected(self) -> bool:
        """Whether there is a session now. Without one writes raise NotConnected."""
        return self._session.is_open

    @property
    def is_ready(self) -> bool:
        """Whether the replica shows all that the views match: there is a session, and each view is filled."""
        return self.is_connected and all(view.is_filled for view in self._session.views.values())

    @property
    def flags(self) -> Mapping[str, str]:
        """The settings for this worker type as they are now."""
        return self._session.flags

    @property
    def schema_digest(self) -> str:
        """SHA-256 of the schema as it is now, hexadecimal."""
        return self._session.schema_digest

    @property
    def components(self) -> Mapping[int, str]:
        """The components of the world: full names by id."""
        return self._session.components.names

    @property
    def spaces(self) -> Mapping[str, int]:
        """The spaces of the world: ids by name."""
        return {space.name: space.id for space in self._session.welcome.spaces}

    @property
    def limits(self) -> Mapping[str, int]:
        """The limits of the server by name, in the unit that the name ends with."""
        return self._session.welcome.limits

    @property
    def undecided_messages(self) -> int:
        """Messages that the server has not decided, sent or not."""
        return self._session.undecided

    # ---- what it may write

    @property
    def layers(self) -> Mapping[str, Layer]:
        """Every layer of the world by its name; none: the world is open, any worker may write anything."""
        return self._session.authority.layers

    @property
    def regions(self) -> Mapping[int, Region]:
        """The regions that this worker owns, by id. None in a world without layers."""
        return self._session.authority.regions

    @property
    def is_draining(self) -> bool:
        """Whether this worker gets nothing more, and what it has goes to others."""
        return self._session.authority.is_draining

    def owns(self, entity: int, scope: ComponentLike) -> bool:
        """Whether this worker may write that of the entity: a component, or what a layer writes, by its name. In a world
        without layers it may write anything."""
        return self._session.authority.owns(entity, self._scope(scope))

    def owned(self, scope: ComponentLike) -> list[int]:
        """The entities of which this worker may write that: a component, or what a layer writes, by its name. In a world
        without layers those in view; for a component those that have it."""
        authority, scope, replica = self._session.authority, self._scope(scope), self.replica
        if not authority.is_open:
            return list(authority.owned(scope))
        return [entity for entity in replica if isinstance(scope, str) or replica.has(entity, scope)]

    def owned_with(self, component: type[M]) -> Iterator[tuple[int, M]]:
        """Every entity in view with that component that this worker may write, and its value."""
        for entity in self.owned(component):
            value = self.replica.get(entity, component)
            if value is not None:
                yield entity, value

    def _scope(self, scope: ComponentLike) -> str | int:
        components = self._session.components
        if isinstance(scope, str) and (scope in self.layers or not components.knows(scope)):
            return scope
        return components.id_of(scope)

    # ---- looking

    async def subscribe(
        self,
        what: Constraint | query_pb2.Constraint | Densities,
        *,
        components: Iterable[ComponentLike] = (),
        rate_hz: float = 0.0,
        own_updates: bool = False,
        bands: query_pb2.Bands | None = None,
    ) -> View:
        """Starts a view; `await view.ready()` waits until it is filled.

        what: a constraint, or `query.densities` to count instead: then see `replica.densities(view.id)`. components:
        message classes (or full names, or ids) of what to send; empty: all. rate_hz: at most so many frames a second; 0:
        as fast as the server publishes. own_updates: also what this session itself wrote. bands: `query.bands`, other
        rates nearby.
        """
        session = self._session
        self._check_open()
        wire = query_pb2.View(
            view_id=self._next_view, rate_hz=rate_hz, own_updates=own_updates, bands=bands,
            components=[session.components.id_of(component) for component in components],
        )  # fmt: skip
        look_at(wire, what)
        view = View(wire, lambda component: self._session.components.id_of(component), session.send_view)
        self._next_view += 1
        session.views[view.id] = view
        view.begin()
        return view

    async def ask(
        self,
        constraint: Constraint | query_pb2.Constraint,
        *,
        components: Iterable[ComponentLike] = (),
        limit: int = 0,
        count_only: bool = False,
        nearest_to: Place | Position | None = None,
    ) -> Answer:
        """Asks once, of the world as it is at one moment, and waits for the whole answer. Several calls may be under way.

        components: what to tell; empty: all. limit: at most so many entities; 0: all. count_only: only `match_count`.
        nearest_to: `query.place` or a Position; the nearest first, each with its distance. `query.near` is for views:
        ask for a sphere. Refused if the server does not take the question; NotConnected if the connection is lost.
        """
        self._check_open()
        numbers = [self._session.components.id_of(component) for component in components]
        place = None if nearest_to is None else place_of(nearest_to)
        question = Asking(worker_pb2.Ask(
            constraint=wire_of(constraint), components=numbers, limit=limit, count_only=count_only, nearest_to=place,
        ))  # fmt: skip
        self._session.queue(question)
        return await question.answer

    async def events(self) -> AsyncIterator[Event]:
        """What happens, as it happens; for one reader at a time. Ends when the worker is closed, and raises when the
        session has ended for good, e.g. Replaced."""
        session = self._session
        session.inbox.is_read = True
        try:
            while (event := await session.inbox.next()) is not None:
                try:
                    yield event
                finally:
                    # Who asks for the next event has done what it wanted to do about this one.
                    if isinstance(event, LossImminent):
                        session.flush(event.region)
        finally:
            session.inbox.is_read = False

    # ---- writing

    async def create(
        self,
        rows: Iterable[Iterable[Message]],
        *,
        ids: Sequence[int] | None = None,
        request_id: str = "",
    ) -> list[int | None]:
        """Creates entities, each of the messages in its row. Gives their ids in order, None for a row that was refused.

        ids: chosen ones, from `reserve_ids`. request_id: makes the same call after a restart of the worker harmless;
        within this worker creates are repeated by themselves after a reconnect, and happen once.
        """
        self._check_open()
        session = self._session
        kinds = [[self._pair(message) for message in row] for row in rows]
        chosen_ids = entity_ids(() if ids is None else ids)
        if ids is not None and len(chosen_ids) != len(kinds):
            raise ValueError(f"{len(chosen_ids)} ids for {len(kinds)} rows")
        parts = split(kinds, session.welcome.limits)
        if request_id and len(parts) > 1:
            limits = {name: session.welcome.limits[name] for name in ("message_rows_max", "message_bytes_max")}
            raise Refused("MESSAGE_TOO_LARGE", f"{len(kinds)} rows under one request_id pass one of {limits}")
        answers = []
        for first, part in parts:
            chosen = chosen_ids[first : first + len(part)]
            body = columns_of(part, chosen)
            body.request_id = "" if chosen else request_id or uuid.uuid4().hex
            question = Question("create", body)
            session.queue(question)
            answers.append(question.answer)
        created = await asyncio.gather(*answers)
        return [entity for part in created for entity in part]

    async def reserve_ids(self, count: int) -> range:
        """A block of entity ids that only this worker (type and name) may choose from."""
        self._check_open()
        question = Question("reserve_ids", worker_pb2.ReserveIds(count=count))
        self._session.queue(question)
        block: range = await question.answer
        return block

    def update(self, entity: int, message: Message, fields: Iterable[str | int] | None = None) -> None:
        """Replaces a component's value; with `fields`, names or numbers, only those, also by 0, "" or nothing.

        Writes of one turn of the event loop travel together. Those to one entity are applied in order.
        """
        self._value("update", entity, message, fields)

    def add(self, entity: int, *messages: Message) -> None:
        """Gives components to an entity; one that it already has gets the new value."""
        for message in messages:
            self._value("add_components", entity, message, None)

    def emit(self, entity: int, event: Message) -> None:
        """Tells an event of the entity to whoever has it and the event's component in view; it is not stored.

        It travels behind the values that are written in the same turn of the event loop: who sees the event sees those
        before or with it. Events of an entity come in order.
        """
        self._check_open()
        ids, payload = event_ids(type(event)), event.SerializeToString()
        self._session.components.id_of(ids[0])
        self._check_size(f"entity {entity}: a {event.DESCRIPTOR.full_name}", payload)
        whose = entity_ids([entity])
        body: Values = self._session.open_body("update", 1, len(payload) + _ROW_BYTES, lambda: Values("update"))
        body.emit(ids, whose, payload)

    def remove(self, entity: int, *components: ComponentLike) -> None:
        """Takes components from an entity."""
        whose = entity_ids([entity])
        for component in components:
            number = self._session.components.id_of(component)
            self._session.open_body("remove_components", 1, _ROW_BYTES, Removals).put(number, whose)

    def delete(self, *entities: int) -> None:
        """Deletes entities."""
        for chunk in self._chunks(entity_ids(entities)):
            self._session.open_body("delete", len(chunk), len(chunk) * _ROW_BYTES, Deletes).put(chunk)

    def move(self, space: int, entities: Any, x: Any, y: Any, z: Any = None) -> None:
        """Writes many positions of one space: parallel lists or numpy arrays, copied; z not given means 0. Metres."""
        entities, x, y, z = entity_ids(entities), metres(x), metres(y), metres(() if z is None else z)
        if not len(entities) == len(x) == len(y) or (z and len(z) != len(x)):
            sizes = f"{len(entities)} entities, {len(x)} x, {len(y)} y, {len(z)} z"
            raise ValueError(f"columns of different lengths: {sizes}")
        first = 0
        for chunk in self._chunks(entities):
            here = slice(first, first + len(chunk))
            first += len(chunk)
            self._places("update", len(chunk), space).place(space, chunk, x[here], y[here], z[here])

    async def drain(self) -> None:
        """Waits until all that was written is sent. That is the back-pressure: the server has then decided all but at
        most `in_flight_messages_max` messages. A loop that writes calls it once a tick."""
        self._check_open()
        await self._session.until_sent()

    async def decided(self) -> list[Rejected]:
        """Waits until the server has decided all that was written. Gives what it refused since this was last called (of
        many the last 4,096); `events` tells of the same."""
        self._check_open()
        await self._session.until_decided(self._session.seal())
        rejections = list(self._session.rejections)
        self._session.rejections.clear()
        return rejections

    def heartbeat(self, load: float = 0.0, tick_ms: float = 0.0) -> None:
        """Says that the worker's own loop runs: its load (0 idle, 1 full) and how long the last tick took. Call it about
        once a second from that loop. Does nothing while there is no session."""
        self._session.beat(load, tick_ms)

    # ---- its life

    async def run(
        self,
        tick: Tick,
        *,
        period_s: float = 0.1,
        on_event: OnEvent | None = None,
        before_loss: BeforeLoss | None = None,
        before_end: BeforeEnd | None = None,
    ) -> None:
        """Ticks until SIGTERM or SIGINT, or until the worker was drained, and then closes. Sends heartbeats.

        tick(worker): one step: reads the replica, and writes what `owned` gives. Called only while `is_ready`. It keeps
        nothing that is not in the world as well: another worker may have what it owns at any moment. period_s: from tick
        to tick; one that takes longer puts the next ones off. on_event(worker, event): something happened; `run` reads
        `events`. before_loss(worker, regions): others are about to get these: writes what is not in the world yet; when it
        is done the worker has let go of them. Also called, with all regions, before the worker ends. before_end(worker): the
        worker ends, and may still write what it owns: the last call of all.
        Each may be a coroutine function. What they raise ends the worker, but for NotConnected.
        """
        if not period_s > 0:
            raise ValueError(f"period_s = {period_s}: more than 0 is needed")
        await Loop(self, tick, period_s, on_event, before_loss, before_end).run()

    async def close(self) -> None:
        """Ends the session politely: what was written before is still applied, if the server takes it within 5 s."""
        await self._link.close()

    async def __aenter__(self) -> Worker:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:  # fmt: skip
        await self.close()

    # ---- helpers of writing

    def _check_open(self) -> None:
        if self._link.error is not None:
            raise self._link.error
        self._session.check_open()

    def _pair(self, message: Message) -> tuple[int, Message]:
        return self._session.components.id_of(type(message)), message

    def _value(self, kind: str, entity: int, message: Message, fields: Iterable[str | int] | None) -> None:
        self._check_open()
        component, message = self._pair(message)
        whose = entity_ids([entity])
        if isinstance(message, Position):
            if fields is not None:
                raise ValueError("a Position is written whole: fields cannot be named")
            z = metres([message.z] if message.z else ())
            places = self._places(kind, 1, message.space)
            places.place(message.space, whose, metres([message.x]), metres([message.y]), z)
            return
        if fields is None:
            numbers: tuple[int, ...] = ()
            value = message.SerializeToString()
        else:
            numbers = field_numbers(type(message), fields)
            if not numbers:
                raise ValueError("fields is empty: leave it out to write the whole value")
            value = encode_only(message, numbers)
        self._check_size(f"entity {entity}: a {self.components[component]}", value)
        size = len(value) + _ROW_BYTES
        body: Values = self._session.open_body(kind, 1, size, lambda: Values(kind))
        body.put(component, numbers, whose, value)

    def _check_size(self, what: str, value: bytes) -> None:
        limit = self.limits["value_bytes_max"]
        if len(value) > limit:
            raise Refused("VALUE_TOO_LARGE", f"{what} of {len(value)} bytes, value_bytes_max = {limit}")

    def _places(self, kind: str, rows: int, space: int) -> Values:
        size = rows * 32
        body: Values = self._session.open_body(kind, rows, size, lambda: Values(kind))
        if not body.takes_space(space):
            self._session.seal()
            body = self._session.open_body(kind, rows, size, lambda: Values(kind))
        return body

    def _chunks(self, entities: array[int]) -> Iterable[array[int]]:
        """Cut to what one message takes; all of them have room."""
        self._check_open()
        self._session.check_room(len(entities))
        rows_max = min(self.limits["message_rows_max"], self.limits["message_bytes_max"] // 40)
        return (entities[first : first + rows_max] for first in range(0, len(entities), rows_max))


class _Connecting:
    """What `connect` gives: `await` it, or use it in `async with`."""

    def __init__(self, options: Options) -> None:
        self._worker = Worker(options)

    def __await__(self) -> Generator[Any, None, Worker]:
        return self._connected().__await__()

    async def __aenter__(self) -> Worker:
        return await self._connected()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:  # fmt: skip
        await self._worker.close()

    async def _connected(self) -> Worker:
        await self._worker._link.open()
        return self._worker


def connect(address: str = "", worker_type: str = "", name: str = "", **options: Any) -> _Connecting:
    """Attaches a worker to a world: `async with spatialdb.connect(...) as worker`, or `worker = await connect(...)`.

    What is not given comes from SPATIALDB_ADDRESS (else 127.0.0.1:7400), SPATIALDB_WORKER_TYPE, SPATIALDB_WORKER_NAME
    and SPATIALDB_TOKEN, as `spatialdb launch` sets them for the workers it starts. `options` are those of `Options`.
    """
    return _Connecting(Options(address=address, worker_type=worker_type, name=name, **options))

