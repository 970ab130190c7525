"""Reads a timeline as Perfetto does: with the descriptors of its own package, by groups and arguments.

Perfetto's trace processor, which answers in SQL, is in no package registry; what it makes its tables of
is: the descriptors of every message, in the package `perfetto` of PyPI. A field with a number or a type
that they do not know would be left out by the trace processor without a word, and is a complaint here.
"""

import importlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .failure import Failure

PACKAGE = ("perfetto", "0.59.1")

# The type of the value, by the field that it is in.
TYPES = {
    "bool_value": "bool", "uint_value": "uint", "int_value": "int", "string_value": "string",
    "pointer_value": "pointer", "double_value": "real",
}  # fmt: skip


@dataclass
class Drawn:
    """What lasted, or an instant: on which track, and its arguments, of the beginning and of the end."""

    name: str
    track: int
    begin: int
    end: int | None = None
    arguments: dict[str, object] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)


class PerfettoTimeline:
    """A trace file, with the tables that SQL would be asked about."""

    def __init__(self, data: bytes, folder: Path):
        """`folder` has the package."""
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
        self.messages = importlib.import_module("perfetto.protos.perfetto.trace.perfetto_trace_pb2")
        self.unknown_of = importlib.import_module("google.protobuf.unknown_fields").UnknownFieldSet
        self.event = self.messages.TrackEvent
        trace = self.messages.Trace()
        try:
            trace.ParseFromString(data)
        except importlib.import_module("google.protobuf.message").DecodeError as error:
            raise Failure(f"Perfetto's descriptors cannot read it: {error}") from error
        self.tracks = {}
        self.slices: list[Drawn] = []
        self.instants: list[Drawn] = []
        self.complaints = sorted(set(self.unknown(trace)))
        self.read(trace)

    def unknown(self, message) -> Iterator[str]:
        """Fields that the descriptors do not have, at any depth."""
        name = message.DESCRIPTOR.name
        for found in self.unknown_of(message):
            yield f"{name} has no field {found.field_number} of this type"
        for descriptor, value in message.ListFields():
            if descriptor.message_type is not None:
                # One message or several.
                for inner in [value] if hasattr(value, "ListFields") else value:
                    yield from self.unknown(inner)

    def read(self, trace) -> None:
        """Tracks, and what is on them."""
        open_on: dict[int, list[Drawn]] = {}
        for packet in trace.packet:
            if packet.HasField("track_descriptor"):
                self.tracks[packet.track_descriptor.uuid] = packet.track_descriptor
            if not packet.HasField("track_event"):
                continue
            event = packet.track_event
            if event.track_uuid not in self.tracks:
                self.complaints.append(f"{event.name} is on no track that is declared")
                continue
            slices = open_on.setdefault(event.track_uuid, [])
            if event.type == self.event.TYPE_SLICE_END:
                if not slices:
                    self.complaints.append(f"{event.name} ends and did not begin")
                    continue
                drawn = slices.pop()
                drawn.end = packet.timestamp
            else:
                drawn = Drawn(event.name, event.track_uuid, packet.timestamp)
            if event.type == self.event.TYPE_SLICE_BEGIN:
                slices.append(drawn)
                self.slices.append(drawn)
            elif event.type == self.event.TYPE_INSTANT:
                self.instants.append(drawn)
            for annotation in event.debug_annotations:
                drawn.types[annotation.name], drawn.arguments[annotation.name] = value_of(annotation)
        self.complaints += [f"{drawn.name} does not end" for left in open_on.values() for drawn in left]

    def name(self, track: int) -> str:
        """What a track is called."""
        return self.tracks[track].name

    def group(self, track: int) -> str | None:
        """What the group of a track is called, if it is in one."""
        parent = self.tracks[track].parent_uuid
        return self.tracks[parent].name if parent else None

    def groups(self) -> dict[str, set[str]]:
        """The names of the tracks in each group."""
        groups: dict[str, set[str]] = {}
        for uuid in self.tracks:
            if (group := self.group(uuid)) is not None:
                groups.setdefault(group, set()).add(self.name(uuid))
        return groups

    def where(self, name: str, on: str, **arguments: object) -> list[Drawn]:
        """What is called so on the track `on` and has these arguments, as `WHERE track.name = ... AND name = ... AND
        debug.refs = ...` would find it."""
        return [
            drawn
            for drawn in self.slices + self.instants
            if drawn.name == name
            and self.name(drawn.track) == on
            and all(drawn.arguments.get(key) == value for key, value in arguments.items())
        ]


def value_of(annotation) -> tuple[str, object]:
    """The type and the value of an argument."""
    if annotation.array_values:
        return "array", [value_of(inner)[1] for inner in annotation.array_values]
    which = annotation.WhichOneof("value")
    return (TYPES.get(which, which), getattr(annotation, which)) if which else ("array", [])
