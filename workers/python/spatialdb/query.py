"""What to look at: conditions on one entity, for views.

Coordinates are metres. Pass `math.inf` to leave a side of a box open; leave z out to leave the height open.
"""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.message import Message

from .components import component_id
from .v1.query_pb2 import All, Box, Constraint, ConstraintList, Cylinder, EntityIds, Point, Space, Sphere

__all__ = [
    "Constraint", "all_of", "any_of", "box", "cylinder", "entities", "everything", "has", "in_space", "not_", "sphere",
]  # fmt: skip


def everything() -> Constraint:
    """Every entity."""
    return Constraint(all=All())


def box(
    x_min: float, y_min: float, x_max: float, y_max: float,
    z_min: float | None = None, z_max: float | None = None, *, space: int = 0,
) -> Constraint:  # fmt: skip
    """Position inside a box, half-open: min <= p < max on each axis."""
    corners = {"min": Point(x=x_min, y=y_min, z=z_min), "max": Point(x=x_max, y=y_max, z=z_max)}
    return Constraint(box=Box(space=space, **corners))


def sphere(x: float, y: float, z: float = 0.0, *, radius_m: float, space: int = 0) -> Constraint:
    """Position at most `radius_m` from a point."""
    return Constraint(sphere=Sphere(space=space, center=Point(x=x, y=y, z=z), radius_m=radius_m))


def cylinder(
    x: float, y: float, *, radius_m: float, z_min: float | None = None, z_max: float | None = None, space: int = 0
) -> Constraint:
    """Position at most `radius_m` from a point over x and y; the height is z_min <= z < z_max."""
    return Constraint(
        cylinder=Cylinder(space=space, center_x=x, center_y=y, radius_m=radius_m, min_z=z_min, max_z=z_max)
    )


def in_space(space: int) -> Constraint:
    """Has a position in the space."""
    return Constraint(space=Space(space=space))


def entities(ids: Iterable[int]) -> Constraint:
    """One of these entities."""
    return Constraint(entity_ids=EntityIds(entities=ids))


def has(component: type[Message] | str | int) -> Constraint:
    """Has the component: a message class, a full name (or a short one that is unique), or an id."""
    if isinstance(component, str):
        return Constraint(has_component_named=component)
    return Constraint(has_component=component if isinstance(component, int) else component_id(component))


def all_of(*constraints: Constraint) -> Constraint:
    """All of these hold."""
    return Constraint(**{"and": ConstraintList(constraints=constraints)})  # type: ignore[arg-type]


def any_of(*constraints: Constraint) -> Constraint:
    """One of these holds."""
    return Constraint(**{"or": ConstraintList(constraints=constraints)})  # type: ignore[arg-type]


def not_(constraint: Constraint) -> Constraint:
    """Does not hold."""
    return Constraint(**{"not": constraint})  # type: ignore[arg-type]
