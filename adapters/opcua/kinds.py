"""What kind of values a node will bring, from what the server says of it and what the signal chooses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from adapters.opcua.decode import Found
from adapters.opcua.grids import NEEDS_HEX, Bodies, Body, Grid, Octets, Unsupported
from adapters.opcua.settings import OpcUaSignal
from adapters.opcua.shapes import Catalogue, Selection
from adapters.opcua.structures import unfold
from adapters.opcua.values import KINDS, Malformed
from pipelines.batch import Kind

_ABSTRACT: Final = {
    "i=26": Kind.NUMBER,  # Number: an integer now may be a fraction next time
    "i=27": Kind.INTEGER,
    "i=28": Kind.UNSIGNED,
    "i=29": Kind.INTEGER,  # Enumeration travels as Int32 (OPC 10000-6, 5.2.4)
    "i=288": Kind.INTEGER,  # IntegerId, Counter, Duration, UtcTime, LocaleId (OPC 10000-3, clause 8)
    "i=289": Kind.INTEGER,
    "i=290": Kind.NUMBER,
    "i=294": Kind.TEXT,
    "i=295": Kind.TEXT,
}
DATA_TYPES: Final[Mapping[str, Kind]] = {
    **{f"i={number}": kind for number, kind in KINDS.items()},
    **_ABSTRACT,
}
_BYTES: Final = ("i=15", "i=30", "i=311")  # ByteString, Image, ApplicationInstanceCertificate
NO_STRUCTURES: Final = "a structure, and the configuration says `structure: refuse`"
_SHOWN: Final = 3
_ANYTHING: Final = "i=24"  # BaseDataType


class NotReadable(Exception):
    """This node can be found but not stored yet; the message says why."""


def native_kind(
    data_type: str | None, rank: int | None, kind: Kind | None, value: Any, signal: OpcUaSignal | None = None
) -> Kind | None:
    """The kind that the wire will bring, from the node's DataType, ValueRank and present value; None if nobody knows yet.

    Raises NotReadable for what cannot be stored (without a signal: as its defaults have it). A concrete DataType wins over the value, because a type that allows
    fractions may hold a whole number now.
    """
    if isinstance(value, Octets) or data_type in _BYTES:
        if signal is None or signal.bytes == "refuse":
            raise NotReadable(NEEDS_HEX)
        return Kind.TEXT
    if isinstance(value, Unsupported):
        raise NotReadable(value.reason)
    if rank is not None and rank > 1:
        raise NotReadable("a matrix: write `array: elements` to have its elements as signals")
    declared = DATA_TYPES.get(data_type or "")
    if kind is Kind.WAVEFORM or (rank is not None and rank >= 0):
        return _wave(signal, declared, kind)
    if declared is None and data_type == _ANYTHING and kind in (Kind.INTEGER, Kind.UNSIGNED):
        return Kind.NUMBER
    return declared if declared is not None else kind


def _wave(signal: OpcUaSignal | None, declared: Kind | None, kind: Kind | None) -> Kind | None:
    if signal is not None and signal.array == "refuse":
        raise NotReadable("an array, and the configuration says `array: refuse`")
    if declared in (Kind.TEXT, Kind.FLAG):
        raise NotReadable(
            "an array of anything but numbers: write `array: elements` to have its elements as signals"
        )
    return Kind.WAVEFORM if declared is not None or kind is Kind.WAVEFORM else kind


def in_elements(signal: OpcUaSignal, rank: int | None, found: Found) -> bool:
    """Whether this is an array whose elements are signals. Raises NotReadable when it has too many."""
    if signal.array != "elements" or (
        isinstance(found.value, Unsupported) and not isinstance(found.value, Grid)
    ):
        return False
    cells = (
        found.value.cells
        if isinstance(found.value, Grid)
        else found.value
        if found.kind is Kind.WAVEFORM
        else ()
    )
    if isinstance(found.value, Grid) and found.value.octets and signal.bytes == "refuse":
        raise NotReadable(NEEDS_HEX)
    if len(cells) > signal.max_elements:
        raise NotReadable(too_many(len(cells), signal))
    return isinstance(found.value, Grid) or found.kind is Kind.WAVEFORM or (rank is not None and rank >= 0)


def structured(signal: OpcUaSignal, value: Any, catalogue: Catalogue | None) -> str:
    """The fields of a structure, or of an array of them, in words; empty for anything else. Raises NotReadable when it cannot be read."""
    if not isinstance(value, Body | Bodies):
        return ""
    if signal.structure == "refuse":
        raise NotReadable(NO_STRUCTURES)
    try:
        found = unfold(value, catalogue or Catalogue(), selection_of(signal))
    except Malformed as error:
        raise NotReadable(str(error)) from None
    if not found.leaves and found.troubles:
        raise NotReadable("; ".join(found.troubles[:_SHOWN]))
    shown = ", ".join(signal.name + leaf.path for leaf in found.leaves[:_SHOWN])
    return f"{len(found.leaves)}: {shown}" + (" …" if len(found.leaves) > _SHOWN else "")


def selection_of(signal: OpcUaSignal) -> Selection:
    return Selection(tuple(signal.fields), signal.max_elements, signal.bytes == "hex", signal.names)


def too_many(count: int, signal: OpcUaSignal) -> str:
    return f"an array of {count} elements, and max_elements is {signal.max_elements}"
