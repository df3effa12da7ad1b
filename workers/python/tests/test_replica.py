"""The replica against a simple model, and what it says of frames that do not fit."""

import random
import unittest

from spatialdb.errors import ProtocolError
from spatialdb.events import Changed, Entered, Gone, Left, LeaveReason
from spatialdb.replica import Replica
from spatialdb.v1 import worker_pb2 as wire
from spatialdb.v1.components_pb2 import Metadata, Position

METADATA = 2


def named(name):
    return Metadata(name=name).SerializeToString()


class ReplicaTest(unittest.TestCase):
    def test_it_holds_what_a_model_holds(self):
        """Frames of random changes: after each the replica is what a dict of dicts says."""
        chance = random.Random(7)
        replica, model = Replica(), {}
        for number in range(1, 150):
            frame = wire.Frame(frame=number)
            for entity in chance.sample(range(1, 3000), 40):
                if entity not in model:
                    model[entity] = {}
                    frame.entered.append(entity)
                elif chance.random() < 0.3:
                    del model[entity]
                    frame.left.add(reason=2, entities=[entity])
            for entity in chance.sample(sorted(model), min(30, len(model))):
                if entity in frame.entered:
                    continue
                component = chance.choice([1, METADATA])
                if model[entity].pop(component, None) is not None:
                    frame.gone.add(component=component, entities=[entity])
            places = {space: frame.positions.add(space=space) for space in (0, 3)}
            names = frame.columns.add(component=METADATA)
            for entity in chance.sample(sorted(model), min(50, len(model))):
                place = chance.choice([0, 3]), chance.random(), chance.random(), chance.random()
                model[entity][1] = place
                column = places[place[0]]
                column.entities.append(entity)
                for axis, value in zip((column.x, column.y, column.z), place[1:]):
                    axis.append(value)
                model[entity][METADATA] = str(number)
                names.entities.append(entity)
                names.values.append(named(str(number)))
            replica.apply(frame)
            seen = {entity: {} for entity in replica}
            for entity, at in replica.all(Position):
                seen[entity][1] = (at.space, at.x, at.y, at.z)
            for entity, metadata in replica.all(Metadata):
                seen[entity][METADATA] = metadata.name
            self.assertEqual(seen, model)
        self.assertGreater(len(model), 500)
        positions = replica.positions
        rows = positions.rows([entity for entity in model if 1 in model[entity]])
        self.assertEqual(sorted(rows), list(range(len(positions))))
        entity = positions.entities[5]
        self.assertEqual((positions.space[5], positions.x[5], positions.y[5], positions.z[5]), model[entity][1])

    def test_events_say_what_changed_in_columns(self):
        replica = Replica()
        column = wire.Column(component=METADATA, entities=[1, 2], values=[named("a"), named("b")])
        place = wire.PositionColumn(entities=[2], x=[1.0], y=[2.0])
        events = replica.apply(wire.Frame(frame=1, entered=[1, 2], positions=[place], columns=[column]))
        self.assertEqual(events, [Entered([1, 2]), Changed(1, [2]), Changed(METADATA, [1, 2])])
        self.assertTrue(events[2].of(Metadata))
        self.assertEqual(replica.get(2, Position), Position(x=1, y=2))
        self.assertEqual(replica.components_of(2), [1, METADATA])
        self.assertIsNone(replica.get(1, Position))
        gone = wire.ComponentEntities(component=METADATA, entities=[2])
        events = replica.apply(wire.Frame(frame=2, left=[wire.Left(reason=1, entities=[1])], gone=[gone]))
        self.assertEqual(events, [Left([1], LeaveReason.OUT_OF_VIEW), Gone(METADATA, [2])])
        self.assertEqual((list(replica), replica.components_of(2)), ([2], [1]))

    def test_columns_cannot_be_written(self):
        replica = Replica()
        replica.apply(wire.Frame(frame=1, entered=[1], positions=[wire.PositionColumn(entities=[1], x=[1], y=[2])]))
        self.assertEqual(list(replica.positions.y), [2.0])
        with self.assertRaises((TypeError, ValueError)):
            replica.positions.y[0] = 5.0

    def test_frames_that_do_not_fit_are_refused(self):
        place = wire.PositionColumn(entities=[9], x=[1], y=[1])
        cases = [
            (wire.Frame(frame=3), "frame 3 came where frame 2 was due"),
            (wire.Frame(frame=2, entered=[1]), "entered twice"),
            (wire.Frame(frame=2, left=[wire.Left(entities=[9])]), "entity 9 is not in view but left"),
            (wire.Frame(frame=2, positions=[place]), "entity 9 is not in view but has a position"),
            (wire.Frame(frame=2, positions=[wire.PositionColumn(entities=[1], x=[1])]), "different lengths"),
            (wire.Frame(frame=2, columns=[wire.Column(component=2, entities=[1])]), "component 2 has arrays"),
        ]
        for frame, part in cases:
            replica = Replica()
            replica.apply(wire.Frame(frame=1, entered=[1]))
            with self.assertRaisesRegex(ProtocolError, part):
                replica.apply(frame)


if __name__ == "__main__":
    unittest.main()
