"""Components and their events: generated message classes, and what the world calls them.

Responsible for: the ids of a message class, checking it against the world, cutting a message down to named fields.
Not responsible for: storing values.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Union

from google.protobuf.message import Message

from .errors import Refused
from .v1 import schema_pb2, worker_pb2

#: `spatialdb.v1.Position`.
POSITION = 1

#: A message class of a component, its full name, or its id.
ComponentLike = Union[type[Message], str, int]

_ids: dict[type[Message], int] = {}
_event_ids: dict[type[Message], tuple[int, int]] = {}


def component_id(message_type: type[Message]) -> int:
    """The id that the schema gives this message. TypeError if it is no component."""
    known = _ids.get(message_type)
    if known is None:
        try:
            descriptor = message_type.DESCRIPTOR
        except AttributeError:
            raise TypeError(f"{message_type!r} is not a generated message class") from None
        known = int(descriptor.GetOptions().Extensions[schema_pb2.component].id)  # type: ignore[index, unused-ignore]
        if known == 0:
            raise TypeError(f"{descriptor.full_name} is no component: it has no (spatialdb.v1.component) option")
        _ids[message_type] = known
    return known


def event_ids(message_type: type[Message]) -> tuple[int, int]:
    """The id of the component that this event belongs to, and its own. TypeError if the message is no event."""
    known = _event_ids.get(message_type)
    if known is None:
        try:
            descriptor = message_type.DESCRIPTOR
        except AttributeError:
            raise TypeError(f"{message_type!r} is not a generated message class") from None
        options = descriptor.GetOptions().Extensions[schema_pb2.event]  # type: ignore[index, unused-ignore]
        known = (int(options.component), int(options.id))
        if 0 in known:
            raise TypeError(f"{descriptor.full_name} is no event: it has no (spatialdb.v1.event) option")
        _event_ids[message_type] = known
    return known


class ComponentTable:
    """The components of the world: ids and full names."""

    def __init__(self, components: Iterable[worker_pb2.ComponentInfo] = ()) -> None:
        self.names: dict[int, str] = {component.id: component.name for component in components}
        self._ids = {name: id for id, name in self.names.items()}
        self._checked: dict[type[Message], int] = {}

    def id_of(self, component: ComponentLike) -> int:
        """The id, if the world has the component. A class whose name the world knows under another id is refused."""
        if isinstance(component, type):
            known = self._checked.get(component)
            return self._check(component) if known is None else known
        if isinstance(component, str):
            found = self._ids.get(component)
            if found is None:
                raise Refused("COMPONENT_UNKNOWN", f"the world has no component {component}")
            return found
        if component not in self.names:
            raise Refused("COMPONENT_UNKNOWN", f"the world has no component with id {component}")
        return component

    def knows(self, name: str) -> bool:
        """Whether the world has a component of that full name."""
        return name in self._ids

    def _check(self, message_type: type[Message]) -> int:
        ours, name = component_id(message_type), message_type.DESCRIPTOR.full_name
        theirs = self._ids.get(name)
        if theirs is None and ours not in self.names:  # known under another name: it was renamed, which is allowed
            raise Refused("COMPONENT_UNKNOWN", f"the world has no component {name} (id {ours})")
        if theirs is not None and theirs != ours:
            raise Refused("COMPONENT_UNKNOWN", f"{name} has id {ours} in this worker and id {theirs} in the world")
        self._checked[message_type] = ours
        return ours


def field_numbers(message_type: type[Message], fields: Iterable[str | int]) -> tuple[int, ...]:
    """The numbers of fields given by name or number, in order and once each."""
    by_name = message_type.DESCRIPTOR.fields_by_name
    numbers = set()
    for field in fields:
        if isinstance(field, str):
            if field not in by_name:
                raise Refused("FIELD_UNKNOWN", f"{message_type.DESCRIPTOR.full_name} has no field {field}")
            field = by_name[field].number
        numbers.add(field)
    return tuple(sorted(numbers))


def encode_only(message: Message, numbers: tuple[int, ...]) -> bytes:
    """The message with only those fields: the server refuses a payload field that is not listed."""
    cut = type(message)()
    cut.CopyFrom(message)
    cut.DiscardUnknownFields()  # type: ignore[attr-defined, unused-ignore]
    for field, _ in cut.ListFields():
        if field.number not in numbers:
            cut.ClearField(field.name)
    return cut.SerializeToString()
