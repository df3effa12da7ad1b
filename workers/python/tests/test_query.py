"""What constraints, views and questions say on the wire."""

import unittest

from spatialdb import query
from spatialdb.v1 import query_pb2 as wire
from spatialdb.v1.components_pb2 import Metadata, Position


class ConstraintTest(unittest.TestCase):
    def test_operators_make_flat_lists(self):
        a, b, c = (query.entities([entity]) for entity in (1, 2, 3))
        self.assertEqual(a & b & c, query.all_of(a, b, c))
        self.assertEqual(a | b | ~c, query.any_of(a, b, query.not_(c)))
        self.assertEqual(a & (b | c), query.all_of(a, query.any_of(b, c)))
        self.assertEqual(a, query.entities([1]), "what was joined is as it was")

    def test_python_words_in_place_of_operators_are_refused(self):
        a, b = query.entities([1]), query.entities([2])
        for join in (lambda: a and b, lambda: a or b, lambda: not a, lambda: 1 < query.field(2, "x") < 3):
            with self.assertRaisesRegex(TypeError, "join constraints by &"):
                join()

    def test_fields_are_compared(self):
        field = query.field(Metadata, "type")
        compared = [field == "a", field != "a", field < "a", field <= "a", field > "a", field >= "a", field.is_in("ab")]
        tests = [constraint.wire.field for constraint in compared]
        self.assertEqual([test.comparison for test in tests], [1, 2, 3, 4, 5, 6, 7])
        self.assertEqual({(test.component, test.field) for test in tests}, {(2, "type")})
        self.assertEqual([value.text for value in tests[-1].values], ["a", "b"])
        named = (query.field("Ship", "engine.rpm") > 5).wire.field
        self.assertEqual((named.component, named.component_named, named.field), (0, "Ship", "engine.rpm"))
        self.assertEqual((query.field(1000, "hp") == 1).wire.field.component, 1000)

    def test_values_are_of_the_type_that_they_have(self):
        def value(value):
            (sent,) = (query.field(2, "x") == value).wire.field.values
            kind = sent.WhichOneof("kind")
            return kind, getattr(sent, kind)

        cases = {
            -3: "integer", 2**63 - 1: "integer", 2**63: "unsigned", 0.5: "number", "post": "text", b"\xff": "data",
        }  # fmt: skip
        for given, kind in cases.items():
            self.assertEqual(value(given), (kind, given))
        self.assertEqual(value(True), ("boolean", True))
        self.assertEqual(value(1e6), ("integer", 1_000_000), "a whole number fits fields of any type of number")
        self.assertEqual([value(1e300)[0], value(float("inf"))[0], value(float("nan"))[0]], ["number"] * 3)
        with self.assertRaisesRegex(TypeError, "not with None"):
            value(None)

    def test_places_follow_or_stay(self):
        self.assertEqual(query.owned().wire.owned, wire.Owned())
        self.assertEqual(query.owned("boats").wire.owned, wire.Owned(layer="boats"))
        self.assertEqual(query.near(7, 50).wire.near, wire.Near(entity=7, radius_m=50))
        self.assertEqual(query.text("has City").wire.text, "has City")


class ViewTest(unittest.TestCase):
    def test_rates_go_by_distance(self):
        bands = query.bands(7, query.band(50, components=[Position]), query.band(100, 5, [Metadata, 1000]))
        self.assertEqual((bands.WhichOneof("from"), bands.entity), ("entity", 7))
        told = [(band.radius_m, band.rate_hz, list(band.components)) for band in bands.bands]
        self.assertEqual(told, [(50, 0, [1]), (100, 5, [2, 1000])])
        for center in (query.place(1, 2, 3, space=4), Position(space=4, x=1, y=2, z=3)):
            place = query.bands(center).place
            self.assertEqual((place.space, place.point.x, place.point.y, place.point.z), (4, 1, 2, 3))

    def test_an_interest_is_made_of_views(self):
        near = query.view(
            query.near(query.ITSELF, 500), components=[Position], rate_hz=5,
            bands=query.bands(query.ITSELF, query.band(50, 20)),
        )  # fmt: skip
        (view,) = query.interest(near).views
        self.assertEqual((view.view_id, view.constraint.near.radius_m, list(view.components)), (0, 500, [1]))
        self.assertEqual((view.bands.WhichOneof("from"), view.bands.entity, view.rate_hz), ("entity", 0, 5))

    def test_densities_stand_in_place_of_a_constraint(self):
        view = query.view(query.densities(100, box=(0, -1, 2, 3), per_type=True))
        self.assertFalse(view.HasField("constraint"))
        self.assertEqual((view.densities.square_m, view.densities.per_type), (100, True))
        self.assertEqual((view.densities.min.y, view.densities.max.y), (-1, 3))


if __name__ == "__main__":
    unittest.main()
