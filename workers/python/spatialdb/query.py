"""What to look at: conditions on one entity, and what else a view or a question says.

    boats = query.has(Boat) & (query.field(Boat, "speed") > 3) & ~query.entities([7])
    boats = query.text("has Boat and Boat.speed > 3 and not id = 7")      # the same, in the query language

Coordinates are metres. Pass `math.inf` to leave a side of a box open; leave z out to leave the height open.
"""

from __future__ import annotations

import numbers
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Union

from google.protobuf.message import Message

from .components import component_id
from .v1 import query_pb2
from .v1.components_pb2 import Interest, Position
from .v1.query_pb2 import (
    All,
    Box,
    ConstraintList,
    Cylinder,
    Densities,
    EntityIds,
    FieldTest,
    FieldValue,
    Near,
    Owned,
    Place,
    Point,
    Space,
    Sphere,
)

__all__ = [
    "ITSELF", "Constraint", "Field", "all_of", "any_of", "band", "bands", "box", "cylinder", "densities", "entities",
    "everything", "field", "has", "in_space", "interest", "near", "not_", "owned", "place", "sphere", "text", "view",
]  # fmt: skip

#: In `interest`: the entity that has the Interest, where another id would stand.
ITSELF = 0

Value = Union[bool, int, float, str, bytes]


@dataclass(frozen=True)
class Constraint:
    """A condition on one entity. `a & b`, `a | b` and `~a` join them."""

    #: What is sent.
    wire: query_pb2.Constraint

    def __and__(self, other: Constraint) -> Constraint:
        return _joined("and", self, other)

    def __or__(self, other: Constraint) -> Constraint:
        return _joined("or", self, other)

    def __invert__(self) -> Constraint:
        return not_(self)

    def __bool__(self) -> bool:
        raise TypeError("a constraint is neither true nor false here: join constraints by &, | and ~, in parentheses")


def everything() -> Constraint:
    """Every entity."""
    return _of(all=All())


def box(
    x_min: float, y_min: float, x_max: float, y_max: float,
    z_min: float | None = None, z_max: float | None = None, *, space: int = 0,
) -> Constraint:  # fmt: skip
    """Position inside a box, half-open: min <= p < max on each axis."""
    corners = {"min": Point(x=x_min, y=y_min, z=z_min), "max": Point(x=x_max, y=y_max, z=z_max)}
    return _of(box=Box(space=space, **corners))


def sphere(x: float, y: float, z: float = 0.0, *, radius_m: float, space: int = 0) -> Constraint:
    """Position at most `radius_m` from a point."""
    return _of(sphere=Sphere(space=space, center=Point(x=x, y=y, z=z), radius_m=radius_m))


def cylinder(
    x: float, y: float, *, radius_m: float, z_min: float | None = None, z_max: float | None = None, space: int = 0
) -> Constraint:
    """Position at most `radius_m` from a point over x and y; the height is z_min <= z < z_max."""
    return _of(cylinder=Cylinder(space=space, center_x=x, center_y=y, radius_m=radius_m, min_z=z_min, max_z=z_max))


def in_space(space: int) -> Constraint:
    """Has a position in the space."""
    return _of(space=Space(space=space))


def near(entity: int, radius_m: float) -> Constraint:
    """Position at most `radius_m` from an entity, wherever that goes, itself included. For views, not for questions."""
    return _of(near=Near(entity=entity, radius_m=radius_m))


def owned(layer: str = "") -> Constraint:
    """In a region that this worker owns or may get soon, of a layer or of all, or at most `ghost_margin_m` of the layer outside
    of it. Views follow what it owns. In a world without layers every entity."""
    return _of(owned=Owned(layer=layer))


def entities(ids: Iterable[int]) -> Constraint:
    """One of these entities."""
    return _of(entity_ids=EntityIds(entities=ids))


def has(component: type[Message] | str | int) -> Constraint:
    """Has the component: a message class, a full name (or a short one that is unique), or an id."""
    if isinstance(component, str):
        return _of(has_component_named=component)
    return _of(has_component=_number(component))


def field(component: type[Message] | str | int, path: str) -> Field:
    """A scalar field of a component, to compare: `query.field(Boat, "speed") > 3`. Dots lead into messages: "engine.rpm"."""
    if isinstance(component, str):
        return Field(FieldTest(component_named=component, field=path))
    return Field(FieldTest(component=_number(component), field=path))


def text(text: str) -> Constraint:
    """What the text says, in the query language: docs/query-language.md."""
    return _of(text=text)


def all_of(*constraints: Constraint) -> Constraint:
    """All of these hold."""
    return _of(**{"and": _list(constraints)})


def any_of(*constraints: Constraint) -> Constraint:
    """One of these holds."""
    return _of(**{"or": _list(constraints)})


def not_(constraint: Constraint) -> Constraint:
    """Does not hold."""
    return _of(**{"not": constraint.wire})


class Field:
    """Compared by `==`, `!=`, `<`, `<=`, `>`, `>=` and `is_in`, it makes a `Constraint`.

    Values are numbers, `bool`, texts (also the names of an enum's values) or bytes, as the field is. An entity without
    the component never passes; a field that is not set has its default.
    """

    def __init__(self, test: FieldTest) -> None:
        self._test = test

    def __eq__(self, value: Value) -> Constraint:  # type: ignore[override]
        return self._is("EQUAL", value)

    def __ne__(self, value: Value) -> Constraint:  # type: ignore[override]
        return self._is("NOT_EQUAL", value)

    def __lt__(self, value: Value) -> Constraint:
        return self._is("LESS", value)

    def __le__(self, value: Value) -> Constraint:
        return self._is("AT_MOST", value)

    def __gt__(self, value: Value) -> Constraint:
        return self._is("GREATER", value)

    def __ge__(self, value: Value) -> Constraint:
        return self._is("AT_LEAST", value)

    def is_in(self, values: Iterable[Value]) -> Constraint:
        """The field is one of these."""
        return self._is("IN", *values)

    __hash__ = None  # type: ignore[assignment]

    def _is(self, comparison: str, *values: Value) -> Constraint:
        test = FieldTest(comparison=f"COMPARISON_{comparison}", values=map(_value, values))  # type: ignore[arg-type]
        test.MergeFrom(self._test)
        return _of(field=test)


def place(x: float, y: float, z: float = 0.0, *, space: int = 0) -> Place:
    """A place, for `bands` and for the `nearest_to` of `Worker.ask`."""
    return Place(space=space, point=Point(x=x, y=y, z=z))


def band(radius_m: float, rate_hz: float = 0.0, components: Iterable[type[Message] | int] = ()) -> query_pb2.Band:
    """Of what a view matches, the entities at most `radius_m` away, at most `rate_hz` times a second; 0: as fast as the
    server publishes. components: what to send at this rate; empty: all that the view sends."""
    return query_pb2.Band(radius_m=radius_m, rate_hz=rate_hz, components=map(_number, components))


def bands(center: int | Place | Position, *bands: query_pb2.Band) -> query_pb2.Bands:
    """Rates by distance from an entity, wherever it goes, or from a place. From band to band the radius rises, and the
    rate falls down to that of the view, which is for all beyond."""
    if isinstance(center, int):
        return query_pb2.Bands(entity=center, bands=bands)
    return query_pb2.Bands(place=place_of(center), bands=bands)


def densities(
    square_m: float, *, box: tuple[float, float, float, float] | None = None, space: int = 0, per_type: bool = False
) -> Densities:
    """How many entities there are in each square, for `Worker.subscribe` in place of a constraint. The server rounds
    `square_m` up to the side of a cell times a power of two.

    box: x_min, y_min, x_max, y_max; only squares that touch it. per_type: counts each Metadata.type apart.
    """
    counted = Densities(space=space, square_m=square_m, per_type=per_type)
    if box is not None:
        counted.min.CopyFrom(Point(x=box[0], y=box[1]))
        counted.max.CopyFrom(Point(x=box[2], y=box[3]))
    return counted


def view(
    what: Constraint | query_pb2.Constraint | Densities, *, components: Iterable[type[Message] | int] = (),
    rate_hz: float = 0.0, bands: query_pb2.Bands | None = None,
) -> query_pb2.View:  # fmt: skip
    """What a view asks for, for `interest`; the arguments are those of `Worker.subscribe`."""
    wire = query_pb2.View(rate_hz=rate_hz, bands=bands, components=map(_number, components))
    look_at(wire, what)
    return wire


def interest(*views: query_pb2.View) -> Interest:
    """The component that gives the owner of an entity these views, for as long as it also has a PlayerOwner:

        player = [Position(x=1, y=2), PlayerOwner(name="anna"),
                  query.interest(query.view(query.near(query.ITSELF, 500), rate_hz=20))]
    """
    return Interest(views=views)


def look_at(wire: query_pb2.View, what: Constraint | query_pb2.Constraint | Densities) -> None:
    """Has the view show that."""
    if isinstance(what, Densities):
        wire.ClearField("constraint")
        wire.densities.CopyFrom(what)
    else:
        wire.ClearField("densities")
        wire.constraint.CopyFrom(wire_of(what))


def wire_of(constraint: Constraint | query_pb2.Constraint) -> query_pb2.Constraint:
    """A constraint as it is sent."""
    return constraint.wire if isinstance(constraint, Constraint) else constraint


def place_of(where: Place | Position) -> Place:
    """A place, also of a Position."""
    if isinstance(where, Position):
        return place(where.x, where.y, where.z, space=where.space)
    return where


def _of(**kind: Any) -> Constraint:
    return Constraint(query_pb2.Constraint(**kind))


def _list(constraints: Iterable[Constraint]) -> ConstraintList:
    return ConstraintList(constraints=map(wire_of, constraints))


def _joined(kind: str, left: Constraint, right: Constraint) -> Constraint:
    """A chain of one sign is one list: it does not nest."""
    if left.wire.WhichOneof("kind") != kind:
        return _of(**{kind: _list([left, right])})
    joined = query_pb2.Constraint()
    joined.CopyFrom(left.wire)
    getattr(joined, kind).constraints.append(wire_of(right))
    return Constraint(joined)


def _number(component: type[Message] | int) -> int:
    return component if isinstance(component, int) else component_id(component)


def _value(value: Value) -> FieldValue:
    if isinstance(value, bool):
        return FieldValue(boolean=value)
    if isinstance(value, numbers.Integral):
        return FieldValue(integer=int(value)) if value < 1 << 63 else FieldValue(unsigned=int(value))
    if isinstance(value, numbers.Real):
        number = float(value)
        # A whole number fits fields of any type of number: 1e6 too.
        is_whole = number.is_integer() and abs(number) < 1 << 53
        return FieldValue(integer=int(number)) if is_whole else FieldValue(number=number)
    if isinstance(value, str):
        return FieldValue(text=value)
    if isinstance(value, bytes):
        return FieldValue(data=value)
    raise TypeError(f"a field is compared with a number, bool, text or bytes, not with {value!r}")
