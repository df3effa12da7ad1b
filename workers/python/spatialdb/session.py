"""The state of a worker's session, without I/O.

Responsible for: what waits to be sent and what is undecided, what must be said again after a reconnect, turning
messages of the server into replica, answers and events.
Not responsible for: the connection (`connection.py`), waiting and time (`worker.py`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from .answer import Answer
from .authority import Authority, LossImminent, Region
from .batch import Body, Ready
from .components import ComponentTable
from .errors import Full, NotConnected, ProtocolError, Refused, Replaced, SpatialdbError
from .events import EntityEvents, Event, EventsMissed, FlagsChanged, Rejected, Reset, SchemaChanged, ViewReady
from .inbox import Inbox
from .options import Options
from .replica import Replica
from .v1 import authority_pb2, worker_pb2
from .view import View

B = TypeVar("B", bound=Body)
# Messages with an answer of their own, which are repeated until it comes.
_ANSWERED = ("create", "reserve_ids")
_REJECTIONS_KEPT = 4096
# Messages that say how much of what it may write their worker knew.
_WRITES = ("update", "create", "delete", "add_components", "remove_components")


class Question(Ready):
    """A create or a request for ids, and who waits for the answer."""

    def __init__(self, kind: str, body: Any) -> None:
        super().__init__(kind, body)
        self.answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()


class Asking(Ready):
    """A question about the world, and who waits for the answer. It is not repeated."""

    def __init__(self, body: worker_pb2.Ask) -> None:
        super().__init__("ask", body)
        self.pages = Answer()
        self.answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def fail(self, error: Exception) -> None:
        """There is no answer."""
        if not self.answer.done():
            self.answer.set_exception(error)
            self.answer.exception()  # retrieved: who waited may have given up


class Session:
    """One session after the other, of one worker."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.welcome = worker_pb2.Welcome()
        self.flags: dict[str, str] = {}
        self.schema_digest = ""
        self.components = ComponentTable()
        self.replica = Replica()
        self.inbox = Inbox(options.unread_rows_max)
        self.authority = Authority()
        self.views: dict[int, View] = {}
        self.is_open = False
        #: Set whenever the sender may have something to do.
        self.stirred = asyncio.Event()
        #: Whether the session has had a frame: it works.
        self.is_proven = False
        self.goodbye: worker_pb2.Goodbye | None = None
        #: What was refused since it was last asked for.
        self.rejections: deque[Rejected] = deque(maxlen=_REJECTIONS_KEPT)
        self._last_seq = 0
        self._last_ticket = 0
        self._outbox: deque[tuple[int, Body, View | None]] = deque()
        self._pending_rows = 0
        self._heartbeat: worker_pb2.Heartbeat | None = None
        self._is_reporting = False  # what is due of what it may write is to be said now
        self._in_flight: deque[tuple[int, int]] = deque()  # seq, ticket
        self._questions: dict[int, Question] = {}  # by seq
        self._asked: dict[int, Asking] = {}  # by seq, until decided
        self._asking: dict[int, View] = {}  # by the seq of its subscribe or change
        self._held_back: list[Event] = []  # events of a set of changes that goes on
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []  # until that ticket is decided
        self._drains: list[asyncio.Future[None]] = []  # until nothing waits to be sent

    # ---- sending

    def open_body(self, kind: str, rows: int, size: int, make: Callable[[], B]) -> B:
        """The message that more rows of this kind go into."""
        self.check_room(rows)
        self._pending_rows += rows
        last = self._outbox[-1][1] if self._outbox else None
        if last is not None and last.kind == kind and last.has_room(rows, size, self.welcome.limits):
            return last  # type: ignore[return-value]
        body = make()
        self.queue(body)
        return body

    def seal(self) -> int:
        """What is written from now on goes into other messages. Gives the ticket of the last before."""
        if self._outbox:
            self._outbox[-1][1].is_sealed = True
        return self._last_ticket

    def queue(self, body: Body, view: View | None = None) -> None:
        """Puts a message behind the others."""
        self.check_open()
        body.authority_seen = self.authority.seen
        self._last_ticket += 1
        self._outbox.append((self._last_ticket, body, view))
        self.stirred.set()

    def send_view(self, view: View, kind: str) -> None:
        """Sends what a view asks for."""
        if kind == "end_view":
            self.views.pop(view.id, None)
            self.replica.end_view(view.id)
            if self.is_open:
                self.queue(Ready(kind, worker_pb2.EndView(view_id=view.id)))
        elif kind == "subscribe":
            self.queue(Ready(kind, worker_pb2.Subscribe(view=view.wire)), view)
        else:
            self.queue(Ready(kind, worker_pb2.ChangeView(view=view.wire)), view)

    def beat(self, load: float, tick_ms: float) -> None:
        """Has a heartbeat sent before all that waits; an older one that still waits is dropped."""
        if self.is_open:
            self._heartbeat = worker_pb2.Heartbeat(load=load, tick_ms=tick_ms, seen_frame=self.replica.frame)
            self.stirred.set()

    def report(self) -> None:
        """Has what is due of what the worker may write said before all that waits."""
        if self.is_open and (self.authority.is_unseen or self.authority.is_urgent):
            self._is_reporting = True
            self.stirred.set()

    def flush(self, region: Region) -> None:
        """The worker has written what it had of a region that it is about to lose: says so behind that."""
        self.authority.flush(region)
        if self.is_open and self.authority.is_urgent:
            self.queue(Ready("authority_report", self.authority.take_report()))

    def say_goodbye(self) -> None:
        """The last message: the server decides all before it, then ends the session."""
        self.queue(Ready("goodbye", worker_pb2.Goodbye()))

    def next_message(self) -> worker_pb2.ClientMessage | None:
        """The next message to send, if there is one and the server is not too far behind."""
        message = worker_pb2.ClientMessage()
        if self._heartbeat is not None:
            message.heartbeat.CopyFrom(self._heartbeat)
            self._heartbeat = None
            message.seq = self._next_seq()
            return message
        if self._is_reporting:
            self._is_reporting = False
            message.authority_report.CopyFrom(self.authority.take_report())
            message.seq = self._next_seq()
            return message
        if not self._outbox or len(self._in_flight) >= self.options.in_flight_messages_max:
            return None
        ticket, body, view = self._outbox.popleft()
        body.fill(message)
        if body.kind in _WRITES:
            getattr(message, body.kind).authority_seen = body.authority_seen
        message.seq = self._next_seq()
        self._pending_rows -= body.rows
        if body.kind == "authority_report":
            self._wake_waiters()
        else:
            self._in_flight.append((message.seq, ticket))
        if isinstance(body, Question):
            self._questions[message.seq] = body
        if isinstance(body, Asking):
            self._asked[message.seq] = body
        if view is not None:
            self._asking[message.seq] = view
        if not self._outbox:
            for drain in self._drains:
                if not drain.done():
                    drain.set_result(None)
            self._drains = []
        return message

    @property
    def undecided(self) -> int:
        """Messages that are not decided, sent or not."""
        return len(self._in_flight) + len(self._outbox)

    def check_room(self, rows: int) -> None:
        """NotConnected if there is no session, Full if so many rows more would wait."""
        self.check_open()
        limit = self.options.pending_rows_max
        if rows > limit:
            raise Full(f"{rows} rows in one call, pending_rows_max = {limit}: write them in parts")
        if self._pending_rows + rows > limit:
            waiting = self._pending_rows
            raise Full(f"{waiting} rows wait to be sent, pending_rows_max = {limit}: await worker.drain() first")

    def check_open(self) -> None:
        """NotConnected if there is no session."""
        if not self.is_open:
            raise NotConnected("there is no session now: the connection is down")

    # ---- the life of a session

    def begin(self, welcome: worker_pb2.Welcome) -> None:
        """A session begins; Hello was its message 1. Unanswered questions go first, then the views, so that the first
        fill shows what those did."""
        self.welcome, self._last_seq, self.is_open = welcome, 1, True
        self.is_proven, self.goodbye = False, None
        self.flags = dict(welcome.flags)
        self.authority = Authority(welcome.layers)
        self._know(welcome.schema_digest, welcome.components)
        questions = list(self._questions.values())
        self._questions.clear()
        for question in questions:
            if not question.answer.done():
                self.queue(question)
        for view in list(self.views.values()):
            view.begin()

    def lose(self, error: Exception | None = None) -> int:
        """The connection is gone, for good if there is an error. Gives the number of messages whose fate is unknown, or
        that were never sent."""
        self.is_open = False
        self.authority.clear()
        asked = [body for _, body, _ in self._outbox if isinstance(body, Question)]
        asking = [*self._asked.values(), *(body for _, body, _ in self._outbox if isinstance(body, Asking))]
        for question in asking:
            question.fail(error or NotConnected("the connection was lost before the answer came"))
        lost = len(self._in_flight) - len(self._questions) + len(self._outbox) - len(asked) - len(asking)
        lost -= len(self._asking) + sum(view is not None for _, _, view in self._outbox)
        lost -= sum(body.kind == "authority_report" for _, body, _ in self._outbox)
        # Those answered or still unsent; keys only keep the order from now on.
        self._questions = dict(enumerate([*self._questions.values(), *asked]))
        self._outbox.clear()
        self._in_flight.clear()
        self._asked.clear()
        self._asking.clear()
        self._held_back.clear()
        self._pending_rows, self._heartbeat, self._is_reporting = 0, None, False
        for view in self.views.values():
            view.lose()
        self._fail_waiters(NotConnected("the connection was lost before all was decided"))
        self.stirred.set()
        return max(lost, 0)

    def stop(self, error: Exception | None) -> None:
        """It is over for good."""
        reason = error or NotConnected("the worker is closed")
        if self.is_open:
            self.lose(reason)
        for question in self._questions.values():
            if not question.answer.done():
                question.answer.set_exception(reason)
                question.answer.exception()  # retrieved: nobody may be waiting
        for view in self.views.values():
            view.fail(reason)
        self._fail_waiters(reason)
        self.inbox.end(error)
        self.stirred.set()

    def until_decided(self, ticket: int) -> asyncio.Future[None]:
        """Done once every message up to that ticket is decided."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append((ticket, future))
        self._wake_waiters()
        return future

    def until_sent(self) -> asyncio.Future[None]:
        """Done once nothing waits to be sent."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._outbox:
            self._drains.append(future)
        else:
            future.set_result(None)
        return future

    # ---- hearing

    def accept(self, message: worker_pb2.ServerMessage) -> None:
        """Takes a message of the server in."""
        kind = message.WhichOneof("body")
        if kind == "frame":
            self._accept_frame(message.frame)
        elif kind == "created":
            self._answer(message.created.seq, [entity or None for entity in message.created.entities])
        elif kind == "answer":
            self._accept_answer(message.answer)
        elif kind == "ids_reserved":
            block = message.ids_reserved
            self._answer(block.seq, range(block.first, block.first + block.count))
        elif kind == "reset":
            self.replica.clear()
            self.authority.clear()
            self.inbox.push(Reset())
        elif kind == "authority":
            self._accept_authority(message.authority)
        elif kind == "flags_changed":
            self.flags = dict(message.flags_changed.flags)
            self.inbox.push(FlagsChanged(dict(self.flags)))
        elif kind == "schema_changed":
            self._know(message.schema_changed.schema_digest, message.schema_changed.components)
            self.inbox.push(SchemaChanged(self.schema_digest))
        elif kind == "goodbye":
            self.goodbye = message.goodbye
            if message.goodbye.reason == "SESSION_REPLACED":
                raise Replaced(message.goodbye.detail)
        elif kind == "welcome":
            raise ProtocolError("a second Welcome in one session")
        # Resumed keeps the replica; a message that this package does not know is of a later version.

    def _accept_frame(self, frame: worker_pb2.Frame) -> None:
        self.is_proven = True
        # Squares of a view that was ended meanwhile may still have been on their way.
        shown = [column for column in frame.densities if column.view_id in self.views]
        self._held_back += self.replica.apply(frame, shown)
        self.authority.now_us = frame.world_time_us
        self._held_back += self._events_of(frame)
        for rejection in self._rejections_of(frame):
            self.rejections.append(rejection)
            self.inbox.push(rejection)
        if not frame.more:
            for event in self._held_back:
                self.inbox.push(event)
            self._held_back = []
        for ready in frame.view_ready:
            self.inbox.push(ViewReady(ready.view_id, ready.entity_count))
            view = self.views.get(ready.view_id)
            if view is not None:
                view.fill(ready.entity_count)
        while self._in_flight and self._in_flight[0][0] <= frame.applied_seq:
            seq, _ = self._in_flight.popleft()
            self._asking.pop(seq, None)
            if seq in self._asked:  # without an answer by now its refusal is among those that are only counted
                self._asked.pop(seq).fail(Refused("", "refused; the server only counts its refusals"))
            self.stirred.set()
        self._wake_waiters()

    def _accept_authority(self, message: authority_pb2.Authority) -> None:
        self.seal()  # what was written before knew less
        for event in self.authority.accept(message):
            self.inbox.push(event)
            if isinstance(event, LossImminent) and not self.inbox.is_read:
                self.flush(event.region)
        if self.authority.is_urgent:
            self.report()

    def _events_of(self, frame: worker_pb2.Frame) -> Iterator[Event]:
        for column in frame.events:
            entities, payloads = list(column.entities), list(column.payloads)
            if len(entities) != len(payloads):
                kind = f"event {column.event} of component {column.component}"
                raise ProtocolError(f"a column of {kind} has arrays of different lengths")
            yield EntityEvents(column.component, column.event, entities, payloads)
        for missed in frame.events_missed:
            yield EventsMissed(missed.component, missed.event, missed.count)

    def _accept_answer(self, page: worker_pb2.Answer) -> None:
        question = self._asked.get(page.seq)
        if question is None or question.answer.done():  # who waited may have given up
            return
        question.pages.add(page)
        if page.last:
            question.answer.set_result(question.pages)

    def _rejections_of(self, frame: worker_pb2.Frame) -> Iterator[Rejected]:
        for one in frame.rejections:
            error = Refused(one.reason, one.detail)
            asked = self._asked.get(one.seq)
            if asked is not None:  # an error of that call alone
                asked.fail(error)
                continue
            question, view = self._questions.get(one.seq), self._asking.get(one.seq)
            if question is not None and question.kind == "reserve_ids":  # a create is answered all the same
                self._answer(one.seq, error)
            if view is not None:
                view.refuse(error)
                if view.is_ended:
                    self.views.pop(view.id, None)
            yield Rejected(
                reason=one.reason, detail=one.detail, code=one.code, entity=one.entity, component=one.component,
                component_name=self.components.names.get(one.component, ""), column=one.column, row=one.row,
            )  # fmt: skip
        for many in frame.rejections_collapsed:
            yield Rejected(many.reason, f"{many.count} more that are not named one by one", count=many.count)

    def _answer(self, seq: int, answer: Any) -> None:
        question = self._questions.pop(seq, None)
        if question is None or question.answer.done():
            return
        if isinstance(answer, SpatialdbError):
            question.answer.set_exception(answer)
        else:
            question.answer.set_result(answer)

    def _know(self, digest: str, components: Any) -> None:
        self.schema_digest, self.components = digest, ComponentTable(components)

    def _next_seq(self) -> int:
        self._last_seq += 1
        return self._last_seq

    def _wake_waiters(self) -> None:
        undecided = self._in_flight[0][1] if self._in_flight else None
        if undecided is None and self._outbox:
            undecided = self._outbox[0][0]
        waiting = []
        for ticket, future in self._waiters:
            if future.done():
                continue
            if undecided is None or undecided > ticket:
                future.set_result(None)
            else:
                waiting.append((ticket, future))
        self._waiters = waiting

    def _fail_waiters(self, error: Exception) -> None:
        for future in [*self._drains, *(future for _, future in self._waiters)]:
            if not future.done():
                future.set_exception(error)
                future.exception()  # retrieved: who waited may have given up
        self._waiters, self._drains = [], []
