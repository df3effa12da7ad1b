"""What a session owns, by messages as a server tells them, and what it says of it."""

import unittest

from spatialdb.authority import (
    Authority, Drained, Draining, Gained, Kept, LossImminent, LossReason, Lost, RegionChanged, RegionGained, RegionLost,
)  # fmt: skip
from spatialdb.errors import ProtocolError
from spatialdb.v1 import authority_pb2 as wire
from spatialdb.v1 import worker_pb2
from spatialdb.v1.components_pb2 import Metadata, Position
from spatialdb.v1.worker_pb2 import LayerInfo

from test_session import attached, hear, sent, welcome

LAYERS = [LayerInfo(name="bodies", worker_type="test", writes=[1, 1000]), LayerInfo(name="tags", writes=[2])]


def lease(region, epoch):
    return wire.Lease(region=region, epoch=epoch, layer="bodies", space=0, min_x=-5, max_x=5)


def words(region, epoch, gained, entities):
    changes = wire.EntityChanges(layer="bodies", region=region, epoch=epoch, gained=gained, entities=entities)
    return {"entities": wire.EntityAuthority(changes=[changes])}


def lost(region, epoch):
    return {"lost": wire.RegionLost(region=region, epoch=epoch, reason=wire.LOSS_REASON_HANDED_OVER)}


def imminent(region, epoch):
    return {"loss_imminent": wire.LossImminent(region=region, epoch=epoch, until_us=9)}


class Told:
    """Tells it one thing after the other."""

    def __init__(self):
        self.authority = Authority(LAYERS)

    def tell(self, **body):
        return self.authority.accept(wire.Authority(number=self.authority.seen + 1, **body))

    def hears(self, **body):
        """What it hears of entities: + for a gain."""
        told = [event for event in self.tell(**body) if isinstance(event, (Gained, Lost))]
        return [("+" if isinstance(event, Gained) else "-", event.entities) for event in told]

    def owned(self):
        return sorted(self.authority.owned("bodies"))


class AuthorityTest(unittest.TestCase):
    def test_entities_are_owned_from_when_they_and_their_region_came(self):
        told = Told()
        self.assertEqual(told.hears(**words(1, 3, True, [7, 8])), [])
        self.assertFalse(told.authority.owns(7, "bodies"))
        events = told.tell(gained=lease(1, 3))
        self.assertEqual(list(map(type, events)), [RegionGained, Gained])
        self.assertEqual(told.owned(), [7, 8])
        self.assertEqual(told.hears(**words(1, 3, True, [8, 9])), [("+", [9])])
        self.assertEqual(told.hears(**words(1, 3, False, [7, 40])), [("-", [7])])
        self.assertEqual([told.authority.owns(8, of) for of in (1, 1000, 2, "tags", "no")], [True, True, False, False, False])
        region = told.authority.regions[1]
        self.assertEqual((region.layer, region.space, region.x_min, region.epoch), ("bodies", 0, -5, 3))

    def test_a_lost_region_takes_with_it_what_came_up_to_its_grant(self):
        told = Told()
        told.tell(gained=lease(1, 3))
        told.tell(**words(1, 3, True, [7, 8]))
        told.tell(**words(1, 5, True, [8]))
        events = told.tell(**lost(1, 3))
        self.assertEqual(events[0], Lost("bodies", [7, 8]))
        self.assertEqual((type(events[1]), events[1].reason), (RegionLost, LossReason.HANDED_OVER))
        self.assertEqual(told.hears(gained=lease(1, 5)), [("+", [8])])

    def test_joined_regions_keep_what_both_had(self):
        told = Told()
        for region, epoch in ((1, 3), (2, 4)):
            told.tell(gained=lease(region, epoch))
            told.tell(**words(region, epoch, True, [region * 10]))
        self.assertEqual(told.tell(joined=wire.RegionJoined(gone=2, keep=1)), [])
        self.assertEqual(list(map(type, told.tell(shaped=lease(1, 4)))), [RegionChanged])
        self.assertEqual((told.owned(), list(told.authority.regions)), ([10, 20], [1]))
        self.assertEqual(told.hears(**lost(1, 4)), [("-", [10, 20])])

    def test_a_worker_lets_go_once_it_has_flushed_and_until_it_keeps_the_region(self):
        told = Told()
        told.tell(gained=lease(1, 3))
        told.tell(**words(1, 3, True, [7]))
        (event,) = told.tell(**imminent(1, 3))
        self.assertEqual((type(event), event.until_us), (LossImminent, 9))
        self.assertTrue(told.authority.owns(7, "bodies"))
        told.authority.flush(event.region)
        self.assertEqual(told.owned(), [])
        self.assertEqual(list(told.authority.take_report().flushed), [wire.RegionGrant(region=1, epoch=3)])
        self.assertFalse(told.authority.is_urgent or told.authority.is_unseen)
        (event,) = told.tell(kept=wire.RegionGrant(region=1, epoch=3))
        self.assertEqual((type(event), told.owned()), (Kept, [7]))

    def test_who_drains_is_done_when_nothing_is_left(self):
        told = Told()
        told.tell(gained=lease(1, 3))
        self.assertEqual(told.tell(drain=wire.WorkerDrain()), [Draining()])
        self.assertEqual(told.tell(**lost(1, 3))[-1], Drained())
        self.assertEqual(told.tell(**words(1, 3, False, [7])), [])

    def test_a_gap_is_noticed(self):
        with self.assertRaisesRegex(ProtocolError, "message 2 came where 1 was due"):
            Authority().accept(wire.Authority(number=2))


def owner():
    """A worker whose session has begun in a world with layers."""
    worker = attached()
    began = welcome()
    began.layers.extend(LAYERS)
    worker._session.begin(began)
    return worker


def tell(worker, **body):
    authority = wire.Authority(number=worker._session.authority.seen + 1, **body)
    worker._session.accept(worker_pb2.ServerMessage(authority=authority))


class OwnerTest(unittest.IsolatedAsyncioTestCase):
    async def test_writes_say_what_the_worker_knew_when_it_made_them(self):
        worker = owner()
        worker.move(0, [1], [1], [1])
        tell(worker, gained=lease(1, 3))
        worker.move(0, [1], [2], [2])
        worker.add(1, Metadata())
        seen = [getattr(one, one.WhichOneof("body")).authority_seen for one in sent(worker)]
        self.assertEqual(seen, [0, 1, 1])

    async def test_what_is_seen_is_said_once_and_what_is_warm_at_once(self):
        worker = owner()
        tell(worker, gained=lease(1, 3))
        tell(worker, gained=lease(2, 4))
        self.assertEqual(sent(worker), [])
        worker._session.report()
        (message,) = sent(worker)
        self.assertEqual(message.authority_report, wire.AuthorityReport(authority_seen=2))
        worker._session.report()
        self.assertEqual(sent(worker), [])
        tell(worker, warm=lease(9, 5))
        (message,) = sent(worker)
        self.assertEqual(message.authority_report, wire.AuthorityReport(authority_seen=3, warmed=[9]))

    async def test_flushed_goes_behind_what_the_reader_of_the_event_wrote(self):
        worker = owner()
        events = worker.events()
        tell(worker, gained=lease(1, 3))
        self.assertIsInstance(await anext(events), RegionGained)
        tell(worker, **words(1, 3, True, [7]))
        tell(worker, **imminent(1, 3))
        self.assertIsInstance(await anext(events), Gained)
        self.assertIsInstance(await anext(events), LossImminent)
        self.assertEqual((worker.owned("bodies"), worker.owns(7, Position), worker.owns(7, Metadata)), ([7], True, False))
        worker.move(0, [7], [1], [1])
        hear(worker, entered=[7])
        await anext(events)
        kinds = [message.WhichOneof("body") for message in sent(worker)]
        self.assertEqual((kinds, worker.owned("bodies")), (["update", "authority_report"], []))

    async def test_where_nobody_reads_events_it_lets_go_at_once(self):
        worker = owner()
        tell(worker, gained=lease(1, 3))
        tell(worker, **imminent(1, 3))
        (message,) = sent(worker)
        self.assertEqual(list(message.authority_report.flushed), [wire.RegionGrant(region=1, epoch=3)])

    async def test_nothing_is_owned_without_a_session(self):
        worker = owner()
        tell(worker, gained=lease(1, 3))
        tell(worker, **words(1, 3, True, [7]))
        worker._session.lose()
        self.assertEqual((worker.owned("bodies"), dict(worker.regions)), ([], {}))

    async def test_in_an_open_world_anything_in_view_is_owned(self):
        worker = attached()
        place = worker_pb2.PositionColumn(entities=[7], revisions=[1], x=[1], y=[2])
        hear(worker, entered=[7, 8], positions=[place])
        self.assertTrue(worker.owns(99, "anything") and worker.owns(99, Position))
        self.assertEqual((sorted(worker.owned("any")), worker.owned(Position)), ([7, 8], [7]))
        self.assertEqual([(entity, at.x) for entity, at in worker.owned_with(Position)], [(7, 1.0)])
