"""The session without a network: what it sends, in which order, and what it says again."""

import asyncio
import unittest

from spatialdb.errors import Full, NotConnected, Refused
from spatialdb.events import Overflowed, Rejected, Reset
from spatialdb.options import Options
from spatialdb.query import everything
from spatialdb.v1 import worker_pb2 as wire
from spatialdb.v1.components_pb2 import Metadata, Position
from spatialdb.worker import Worker

LIMITS = {
    "message_rows_max": 100, "message_bytes_max": 10_000, "message_columns_max": 8, "value_bytes_max": 1000,
}  # fmt: skip
COMPONENTS = [
    wire.ComponentInfo(id=1, name="spatialdb.v1.Position"),
    wire.ComponentInfo(id=2, name="spatialdb.v1.Metadata"),
]


def welcome():
    return wire.Welcome(name="n", session_id=7, limits=LIMITS, components=COMPONENTS, flags={"a": "b"})


def attached(**options):
    """A worker whose session has begun, and no connection."""
    worker = Worker(Options(worker_type="test", **options))
    worker._session.begin(welcome())
    return worker


def sent(worker):
    """Takes what it wants sent."""
    messages = []
    while (message := worker._session.next_message()) is not None:
        messages.append(message)
    return messages


def hear(worker, **frame):
    number = worker.replica.frame + 1
    worker._session.accept(wire.ServerMessage(frame=wire.Frame(frame=number, **frame)))


class SessionTest(unittest.IsolatedAsyncioTestCase):
    async def test_writes_of_one_kind_are_one_message(self):
        worker = attached()
        for entity in range(1, 11):
            worker.update(entity, Metadata(name="x"))
            worker.move(0, [entity], [1.0], [2.0])
        (message,) = sent(worker)
        self.assertEqual((message.seq, message.WhichOneof("body")), (2, "update"))
        self.assertEqual([len(column.entities) for column in message.update.columns], [10])
        self.assertEqual([len(column.x) for column in message.update.positions], [10])

    async def test_the_order_of_writes_to_an_entity_holds(self):
        worker = attached()
        worker.add(1, Metadata(name="a"))
        worker.update(1, Metadata(name="b"), fields=["name"])
        worker.update(1, Metadata(name="c", type="t"))
        worker.update(1, Metadata(name="d"), fields=[2])
        worker.remove(1, Metadata)
        worker.add(1, Metadata())
        worker.delete(1)
        messages = sent(worker)
        kinds = ["add_components", "update", "remove_components", "add_components", "delete"]
        self.assertEqual([message.WhichOneof("body") for message in messages], kinds)
        columns = messages[1].update.columns
        self.assertEqual([list(column.fields) for column in columns], [[2], [], [2]])
        self.assertEqual([message.seq for message in messages], [2, 3, 4, 5, 6])

    async def test_a_move_between_spaces_keeps_its_order(self):
        worker = attached()
        worker.move(0, [1], [1], [1])
        worker.move(3, [1], [2], [2], [5])
        worker.move(0, [1], [3], [3])
        spaces = [[column.space for column in message.update.positions] for message in sent(worker)]
        self.assertEqual(spaces, [[0], [3], [0]])

    async def test_rows_come_from_anything_with_numbers(self):
        import array

        columns = [[1, 2], (1, 2), array.array("i", [1, 2]), range(1, 3)]
        try:
            import numpy

            columns += [numpy.array([1, 2]), numpy.array([1, 2], dtype=">i4")]
        except ImportError:
            pass
        for column in columns:
            worker = attached()
            worker.move(0, column, column, column, column)
            (message,) = sent(worker)
            place = message.update.positions[0]
            self.assertEqual([list(place.entities), list(place.x), list(place.z)], [[1, 2]] * 3, column)

    async def test_heights_join_rows_without(self):
        worker = attached()
        worker.move(0, [1], [1], [1])
        worker.update(2, Position(x=2, z=9))
        worker.move(0, [3], [3], [3])
        (message,) = sent(worker)
        self.assertEqual(list(message.update.positions[0].z), [0, 9, 0])

    async def test_large_writes_are_cut_to_the_limits_of_the_server(self):
        worker = attached()
        worker.move(0, list(range(1, 251)), [0.0] * 250, [0.0] * 250)
        rows = [len(message.update.positions[0].entities) for message in sent(worker)]
        self.assertEqual(rows, [100, 100, 50])
        for entity in range(1, 21):
            worker.update(entity, Metadata(name="x" * 900))
        self.assertEqual([len(message.update.columns[0].values) for message in sent(worker)], [9, 9, 2])
        with self.assertRaisesRegex(Refused, "VALUE_TOO_LARGE.*value_bytes_max = 1000"):
            worker.update(1, Metadata(name="x" * 1000))

    async def test_what_cannot_be_is_refused_before_it_is_sent(self):
        worker = attached()
        with self.assertRaisesRegex(ValueError, "2 entities, 1 x, 2 y, 0 z"):
            worker.move(0, [1, 2], [1.0], [1.0, 2.0])
        with self.assertRaisesRegex(Refused, "FIELD_UNKNOWN.*no field hp"):
            worker.update(1, Metadata(), fields=["hp"])
        with self.assertRaisesRegex(Refused, "COMPONENT_UNKNOWN.*WorkerSession"):
            from spatialdb.v1.components_pb2 import WorkerSession

            worker.update(1, WorkerSession())
        with self.assertRaisesRegex(TypeError, "no component"):
            worker.update(1, wire.Hello())
        with self.assertRaisesRegex(ValueError, "written whole"):
            worker.update(1, Position(), fields=["x"])
        for wrong in ("5", -1, 2**64, 1.5, None):
            with self.assertRaisesRegex(ValueError, "not entity ids"):
                worker.update(wrong, Metadata())
            with self.assertRaisesRegex(ValueError, "not entity ids"):
                worker.move(0, [wrong], [1], [1])
            with self.assertRaisesRegex(ValueError, "not entity ids"):
                worker.remove(wrong, Metadata)
        with self.assertRaisesRegex(ValueError, "not coordinates"):
            worker.move(0, [1], ["east"], [1])
        with self.assertRaisesRegex(ValueError, "1 ids for 2 rows"):
            await worker.create([[], []], ids=[5])
        self.assertEqual(sent(worker), [])

    async def test_unsent_rows_are_bounded(self):
        worker = attached(pending_rows_max=150, in_flight_messages_max=1)
        worker.move(0, list(range(1, 101)), [0.0] * 100, [0.0] * 100)
        with self.assertRaisesRegex(Full, "pending_rows_max = 150: await"):
            worker.move(0, list(range(1, 101)), [0.0] * 100, [0.0] * 100)
        with self.assertRaisesRegex(Full, "in parts"):
            worker.delete(*range(1, 200))
        self.assertEqual(len(sent(worker)), 1)
        worker.delete(5)
        self.assertEqual(sent(worker), [], "the first message is not decided")
        worker.heartbeat(0.5, 1.0)
        self.assertEqual([message.WhichOneof("body") for message in sent(worker)], ["heartbeat"])
        hear(worker, applied_seq=2)
        self.assertEqual([message.WhichOneof("body") for message in sent(worker)], ["delete"])

    async def test_decided_waits_for_what_was_written_before(self):
        worker = attached()
        worker.delete(5)
        waiting = asyncio.create_task(worker.decided())
        await asyncio.sleep(0)
        worker.delete(6)
        self.assertEqual(len(sent(worker)), 2)
        hear(worker, rejections=[wire.Rejection(seq=2, reason="ENTITY_NOT_FOUND", entity=5)])
        await asyncio.sleep(0)
        self.assertFalse(waiting.done())
        hear(worker, applied_seq=2)
        (refused,) = await waiting
        self.assertEqual((refused.reason, refused.entity), ("ENTITY_NOT_FOUND", 5))
        hear(worker, applied_seq=3, rejections_collapsed=[wire.RejectionCount(reason="X", count=9)])
        self.assertEqual([one.count for one in await worker.decided()], [9])
        self.assertEqual(await worker.decided(), [])

    async def test_a_new_session_says_again_what_was_not_answered(self):
        worker = attached()
        view = await worker.subscribe(everything())
        first = asyncio.create_task(worker.create([[Metadata(name="a")], []]))
        await asyncio.sleep(0)
        worker.delete(9)
        before = sent(worker)
        unsent = asyncio.create_task(worker.reserve_ids(5))
        deciding = asyncio.create_task(worker.decided())
        await asyncio.sleep(0)
        session = worker._session
        self.assertEqual(session.lose(), 1, "the delete; the others are said again")
        with self.assertRaises(NotConnected):
            await deciding
        with self.assertRaises(NotConnected):
            worker.delete(1)
        view.change(rate_hz=5)
        session.begin(welcome())
        again = sent(worker)
        self.assertEqual([m.WhichOneof("body") for m in again], ["create", "reserve_ids", "subscribe"])
        self.assertEqual([m.seq for m in again], [2, 3, 4])
        self.assertEqual(again[0].create, before[1].create)
        self.assertTrue(again[0].create.request_id)
        self.assertEqual(again[2].subscribe.view.rate_hz, 5)
        session.accept(wire.ServerMessage(reset=wire.Reset()))
        session.accept(wire.ServerMessage(created=wire.Created(seq=2, entities=[50, 0])))
        session.accept(wire.ServerMessage(ids_reserved=wire.IdsReserved(seq=3, first=60, count=5)))
        self.assertEqual(await first, [50, None])
        self.assertEqual(await unsent, range(60, 65))
        hear(worker, applied_seq=4, view_ready=[wire.ViewReady(view_id=view.id, entity_count=3)])
        self.assertEqual(await view.ready(), 3)
        self.assertEqual(await worker.decided(), [])

    async def test_changes_of_a_view_during_a_fill_become_one(self):
        worker = attached()
        view = await worker.subscribe(everything())
        view.change(rate_hz=1)
        view.change(rate_hz=2)
        self.assertEqual([m.WhichOneof("body") for m in sent(worker)], ["subscribe"])
        waiting = asyncio.create_task(view.ready())
        hear(worker, applied_seq=2, view_ready=[wire.ViewReady(view_id=view.id, entity_count=3)])
        await asyncio.sleep(0)
        self.assertFalse(waiting.done())
        (change,) = sent(worker)
        self.assertEqual(change.change_view.view.rate_hz, 2)
        hear(worker, applied_seq=3, view_ready=[wire.ViewReady(view_id=view.id, entity_count=4)])
        self.assertEqual(await waiting, 4)
        view.change(rate_hz=-1)
        (change,) = sent(worker)
        hear(worker, applied_seq=4, rejections=[wire.Rejection(seq=4, reason="QUERY_INVALID", detail="rate")])
        with self.assertRaisesRegex(Refused, "QUERY_INVALID: rate"):
            await view.ready()
        self.assertEqual(await view.ready(), 4, "it is as it was")
        self.assertEqual(view.wire.rate_hz, 2)

    async def test_unread_changes_are_bounded(self):
        worker = attached(unread_rows_max=10)
        worker._session.accept(wire.ServerMessage(reset=wire.Reset()))
        hear(worker, entered=range(1, 9))
        hear(worker, entered=range(11, 14))
        hear(worker, rejections=[wire.Rejection(reason="X")])
        worker._session.stop(None)
        events = [event async for event in worker.events()]
        self.assertEqual(events[:2], [Overflowed(11), Reset()])
        self.assertIsInstance(events[2], Rejected)
        self.assertEqual(len(events), 3)

    async def test_events_of_a_set_come_when_it_is_whole(self):
        worker = attached()
        hear(worker, entered=[1], more=True)
        self.assertEqual(len(worker._session.inbox._events), 0)
        hear(worker, columns=[wire.Column(component=2, entities=[1], values=[b""])])
        self.assertEqual(len(worker._session.inbox._events), 2)

    async def test_once_it_is_over_everybody_hears_why(self):
        worker = attached()
        view = await worker.subscribe(everything())
        creating = asyncio.create_task(worker.create([[]]))
        await asyncio.sleep(0)
        worker._session.stop(Refused("FORBIDDEN", "no"))
        for waiting in (creating, view.ready(), worker.events().__anext__()):
            with self.assertRaisesRegex(Refused, "FORBIDDEN: no"):
                await waiting


if __name__ == "__main__":
    unittest.main()
