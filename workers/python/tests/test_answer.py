"""Questions, events of entities and densities, with messages as a server sends them."""

import asyncio
import unittest

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from spatialdb import DensitiesChanged, EntityEvents, EventsMissed, Overflowed, Square, query
from spatialdb.errors import NotConnected, ProtocolError, Refused
from spatialdb.v1 import schema_pb2
from spatialdb.v1 import worker_pb2 as wire
from spatialdb.v1.components_pb2 import Metadata, Position
from test_session import COMPONENTS, attached, hear, sent

VITALS = 1000


def hit_class():
    """The class of a message that is event 1 of component 1000, made here in place of generated code."""
    file = descriptor_pb2.FileDescriptorProto(name="test_hit.proto", package="test", syntax="proto3")
    message = file.message_type.add(name="Hit")
    message.field.add(name="power", number=1, type=5, label=1)
    message.options.Extensions[schema_pb2.event].CopyFrom(schema_pb2.EventOptions(id=1, component=VITALS))
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("test.Hit"))


Hit = hit_class()


def answer(worker, seq, entities, **page):
    worker._session.accept(wire.ServerMessage(answer=wire.Answer(seq=seq, entities=entities, **page)))


def heard(worker):
    """The events that wait."""
    events = list(worker._session.inbox._events)
    worker._session.inbox._events.clear()
    return events


def world_with_vitals(**options):
    """A worker in a world that has the component of `Hit`."""
    worker = attached(**options)
    components = [*COMPONENTS, wire.ComponentInfo(id=VITALS, name="test.Vitals")]
    worker._session.accept(wire.ServerMessage(schema_changed=wire.SchemaChanged(components=components)))
    heard(worker)
    return worker


class AskTest(unittest.IsolatedAsyncioTestCase):
    async def asking(self, worker, *asks):
        tasks = [asyncio.create_task(worker.ask(*ask[0], **ask[1])) for ask in asks]
        await asyncio.sleep(0)
        return tasks, sent(worker)

    async def test_answers_come_page_by_page_each_to_its_call(self):
        worker = attached()
        place = Position(x=1, y=2)
        first = ([query.has(Metadata)], {"components": [Position, Metadata], "limit": 3, "nearest_to": place})
        (one, two), messages = await self.asking(worker, first, ([query.everything()], {"count_only": True}))
        asks = [message.ask for message in messages]
        self.assertEqual((list(asks[0].components), asks[0].limit, asks[0].nearest_to.point.y), ([1, 2], 3, 2))
        self.assertEqual((asks[1].count_only, asks[1].HasField("nearest_to")), (True, False))
        positions = [wire.PositionColumn(space=3, entities=[8], revisions=[1], x=[5], y=[6])]
        named = Metadata(name="seven").SerializeToString()
        columns = [wire.Column(component=2, entities=[7], revisions=[1], values=[named])]
        answer(worker, 2, [7, 8], distances_m=[1.5, 2.5], positions=positions, columns=columns)
        answer(worker, 3, [], match_count=40, last=True)
        self.assertEqual((await two).match_count, 40)
        self.assertFalse(one.done())
        answer(worker, 2, [9], distances_m=[3.5], match_count=3, last=True)
        hear(worker, applied_seq=3)
        found = await one
        self.assertEqual((len(found), found.match_count, [one.entity for one in found]), (3, 3, [7, 8, 9]))
        self.assertEqual((found[0].get(Metadata).name, found[0].position, found[0].distance_m), ("seven", None, 1.5))
        self.assertEqual(found[1].get(Position), Position(space=3, x=5, y=6))
        self.assertEqual((found[0].components, found[1].components, found[2].components), ([2], [1], []))
        self.assertEqual((found[0].raw(2), found[2].get(Metadata), await worker.decided()), (named, None, []))

    async def test_a_refused_question_is_an_error_of_its_call_alone(self):
        worker = attached()
        (refused, counted, good), _ = await self.asking(worker, *[([query.everything()], {})] * 3)
        collapsed = [wire.RejectionCount(reason="QUERY_INVALID", count=1)]
        answer(worker, 4, [], last=True)
        hear(worker, applied_seq=4, rejections_collapsed=collapsed,
             rejections=[wire.Rejection(seq=2, reason="QUERY_INVALID", detail="no")])  # fmt: skip
        with self.assertRaisesRegex(Refused, "QUERY_INVALID: no"):
            await refused
        with self.assertRaisesRegex(Refused, "only counts"):
            await counted
        self.assertEqual(len(await good), 0)
        self.assertEqual([one.count for one in await worker.decided()], [1], "but for what was only counted")

    async def test_a_question_is_lost_with_its_connection_and_not_asked_again(self):
        worker = attached(in_flight_messages_max=2)
        (answered, waiting, unsent), messages = await self.asking(worker, *[([query.everything()], {})] * 3)
        self.assertEqual(len(messages), 2)
        answer(worker, 2, [7], last=True)
        self.assertEqual(worker._session.lose(), 0, "the calls tell of it")
        self.assertEqual(len(await answered), 1)
        for call in (waiting, unsent):
            with self.assertRaisesRegex(NotConnected, "before the answer"):
                await call

    async def test_a_page_that_does_not_fit_breaks_the_protocol(self):
        for page in ({"distances_m": [1]}, {"positions": [wire.PositionColumn(entities=[8], x=[1], y=[1])]},
                     {"columns": [wire.Column(component=2, entities=[7])]}):  # fmt: skip
            worker = attached()
            (call,), _ = await self.asking(worker, ([query.everything()], {}))
            with self.assertRaises(ProtocolError):
                answer(worker, 2, [7, 9], **page)
            call.cancel()


class EventTest(unittest.IsolatedAsyncioTestCase):
    async def test_events_travel_behind_values_in_order(self):
        worker = world_with_vitals()
        worker.emit(1, Hit(power=3))
        worker.emit(2, Hit(power=4))
        worker.update(1, Metadata(name="a"))
        (message,) = sent(worker)
        (column,) = message.update.events
        self.assertEqual((column.component, column.event, list(column.entities)), (VITALS, 1, [1, 2]))
        self.assertEqual([Hit.FromString(payload).power for payload in column.payloads], [3, 4])
        self.assertEqual(len(message.update.columns), 1)

    async def test_what_is_no_event_of_the_world_is_refused(self):
        with self.assertRaisesRegex(TypeError, "Metadata is no event"):
            attached().emit(1, Metadata())
        with self.assertRaisesRegex(Refused, "COMPONENT_UNKNOWN.*1000"):
            attached().emit(1, Hit())

    async def test_events_come_behind_the_changes_of_their_frame(self):
        worker = world_with_vitals()
        payloads = [Hit(power=5).SerializeToString(), b""]
        column = wire.EventColumn(component=VITALS, event=1, entities=[7, 8], payloads=payloads)
        other = wire.EventColumn(component=VITALS, event=2, entities=[7], payloads=[b"?"])
        missed = wire.EventsMissed(component=VITALS, event=1, count=9)
        hear(worker, entered=[7, 8], events=[column, other], events_missed=[missed], more=True)
        self.assertEqual(heard(worker), [])
        hear(worker, left=[wire.Left(entities=[8])])
        entered, hits, others, lost, left = heard(worker)
        self.assertEqual((entered.entities, left.entities), ([7, 8], [8]))
        self.assertTrue(hits.of(Hit) and not others.of(Hit))
        self.assertEqual([(entity, hit.power) for entity, hit in hits.messages(Hit)], [(7, 5), (8, 0)])
        self.assertEqual((list(others.messages(Hit)), others.payloads), ([], [b"?"]))
        self.assertEqual(lost, EventsMissed(VITALS, 1, 9))
        with self.assertRaisesRegex(ProtocolError, "event 1 of component 1000 has arrays"):
            hear(worker, events=[wire.EventColumn(component=VITALS, event=1, entities=[7])])

    async def test_events_that_nobody_reads_become_a_count(self):
        worker = world_with_vitals(unread_rows_max=5)
        column = wire.EventColumn(component=VITALS, event=1, entities=[7] * 3, payloads=[b""] * 3)
        hear(worker, entered=[7], events=[column])
        hear(worker, events=[column])
        self.assertEqual(heard(worker), [Overflowed(7), EventsMissed(VITALS, 1, 6)])


class DensityTest(unittest.IsolatedAsyncioTestCase):
    async def test_squares_are_kept_per_view_until_it_ends(self):
        worker = attached()
        view = await worker.subscribe(query.densities(100))
        (message,) = sent(worker)
        self.assertEqual(message.subscribe.view.densities.square_m, 100)

        def count(squares, square_m=100, type=""):
            x, y, counts = zip(*squares)
            column = wire.DensityColumn(view_id=view.id, square_m=square_m, type=type, x=x, y=y, counts=counts)
            hear(worker, densities=[column])

        count([(0, 0, 3), (-1, 2, 1)])
        count([(0, 0, 2)], type="boat")
        count([(-1, 2, 0)])
        shown = worker.replica.densities(view.id)
        self.assertEqual(dict(shown), {Square(0, 0): 3, Square(0, 0, "boat"): 2})
        self.assertEqual((shown.square_m, shown.total, shown.get(Square(-1, 2), 0)), (100, 5, 0))
        changes = [DensitiesChanged(view.id, [Square(0, 0, "boat")]), DensitiesChanged(view.id, [Square(-1, 2)])]
        self.assertEqual(heard(worker)[1:], changes)
        count([(5, 5, 1)], square_m=200)
        self.assertEqual((dict(shown), shown.square_m), ({Square(5, 5): 1}, 200))
        with self.assertRaisesRegex(ProtocolError, "densities of view 1"):
            hear(worker, densities=[wire.DensityColumn(view_id=view.id, x=[1])])
        view.end()
        worker._session.replica.frame += 1
        count([(1, 1, 1)])
        self.assertEqual(dict(worker.replica.densities(view.id)), {}, "what was on its way is not shown")


if __name__ == "__main__":
    unittest.main()
