"""The imaginary robot cell behind an edge node: metrics of every datatype that change reproducibly from a seed.

Extremes come often on purpose: a signed integer that is read as unsigned, or a text that is cut, shows at once.
"""

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final
from uuid import UUID

from simulators.sparkplug.model import (
    DataSet,
    DataType,
    MetaData,
    Metric,
    Parameter,
    Properties,
    Property,
    Template,
)

VERSION: Final = "Properties/Version"
DEFINITION: Final = "_types_/Motor"
PLAIN: Final = (
    DataType.DOUBLE,
    DataType.INT16,
    DataType.FLOAT,
    DataType.BOOLEAN,
    DataType.INT32,
    DataType.STRING,
    DataType.INT64,
    DataType.UINT32,
    DataType.INT8,
    DataType.UINT8,
    DataType.UINT16,
    DataType.DATETIME,
    DataType.TEXT,
    DataType.UUID,
    DataType.UINT64,
)
"""What one column of a database can hold."""
STRUCTURED: Final = (
    DataType.DATASET,
    DataType.BYTES,
    DataType.FILE,
    DataType.TEMPLATE,
    *(kind for kind in DataType if kind >= DataType.INT8_ARRAY),
)
_BITS: Final = {
    DataType.INT8: 8,
    DataType.INT16: 16,
    DataType.INT32: 32,
    DataType.INT64: 64,
    DataType.UINT8: 8,
    DataType.UINT16: 16,
    DataType.UINT32: 32,
    DataType.UINT64: 64,
}
_TEXTS: Final = ("läuft", "Störung 4711 – Tür offen", "", "加工中", 'a "quote", a = and a \\', "x" * 300)


@dataclass(slots=True)
class Signal:
    """A metric with its present value (None: it has none) and the time of it, ms since 1970 UTC."""

    name: str
    alias: int
    datatype: DataType
    value: Any
    at_ms: int
    properties: Properties | None = None
    metadata: MetaData | None = None
    transient: bool | None = None


@dataclass(slots=True)
class Cell:
    """`devices`: their metrics; the node's own are under the empty name."""

    devices: dict[str, list[Signal]]
    random: Random
    aliases: Iterator[int] = field(default_factory=lambda: iter(range(1 << 62)))

    def step(self, at_ms: int, share: float) -> Mapping[str, Sequence[Signal]]:
        """Let about this share of the metrics change, at least one of a device; who changed, by device."""
        changed = {}
        for device, signals in self.devices.items():
            chosen = [each for each in signals if self.random.random() < share and each.name != VERSION]
            if device and not chosen:
                chosen = [self.random.choice(signals)]
            for signal in chosen:
                signal.value, signal.at_ms = self._next(signal), at_ms
            if chosen:
                changed[device] = chosen
        return changed

    def _next(self, signal: Signal) -> Any:
        """Another value than before; None once in a while."""
        if signal.value is not None and self.random.random() < 0.02:
            return None
        while (made := made_of(signal.datatype, self.random)) == signal.value:
            continue
        return made


def open_cell(seed: int, devices: int, metrics: int, types: Sequence[DataType], at_ms: int) -> Cell:
    """`devices` devices with `metrics` metrics each, the datatypes in turn; aliases from 0 (which is one)."""
    random = Random(seed)
    cell = Cell({}, random)
    cell.devices[""] = [Signal(VERSION, next(cell.aliases), DataType.STRING, "3.0", at_ms)]
    cell.devices[""].append(Signal("Node/Load", next(cell.aliases), DataType.DOUBLE, 0.25, at_ms))
    for number in range(1, devices + 1):
        kinds = [types[place % len(types)] for place in range(metrics)]
        cell.devices[f"robot-{number}"] = [
            _signal(cell, place, kind, at_ms) for place, kind in enumerate(kinds, 1)
        ]
    return cell


def _signal(cell: Cell, place: int, kind: DataType, at_ms: int) -> Signal:
    title = "".join(part.capitalize() for part in kind.name.split("_"))
    made = Signal(f"Axis {place}/{title}", next(cell.aliases), kind, made_of(kind, cell.random), at_ms)
    if kind == DataType.DOUBLE:
        made.properties = {
            "Quality": Property(DataType.INT32, 192),
            "engUnit": Property(DataType.STRING, "mm"),
            "limits": Property(DataType.PROPERTY_SET, {"high": Property(DataType.DOUBLE, 99.5)}),
        }
    if kind == DataType.FILE:
        made.metadata = MetaData(False, "application/octet-stream", 4, 0, "part.nc", "nc", None, "programme")
    made.transient = True if kind == DataType.BOOLEAN and place > len(PLAIN) else None
    return made


def definition() -> Metric:
    """The template that instances refer to; NBIRTH only (6.4.14)."""
    inner = (Metric("speed", datatype=DataType.DOUBLE), Metric("running", datatype=DataType.BOOLEAN))
    parameters = (Parameter("maker", DataType.STRING, "ACME"),)
    template = Template(inner, version="1", parameters=parameters, is_definition=True)
    return Metric(DEFINITION, datatype=DataType.TEMPLATE, value=template)


def made_of(kind: DataType, random: Random) -> Any:
    """A random value of this type."""
    if kind in _BITS:
        return _integer(_BITS[kind], kind <= DataType.INT64, random)
    if DataType.INT8_ARRAY <= kind <= DataType.DATETIME_ARRAY:
        element = _ELEMENTS[kind - DataType.INT8_ARRAY]
        return [made_of(element, random) for _ in range(random.choice((0, 1, 3, 9)))]
    return _OTHERS[kind](random)


def _integer(bits: int, signed: bool, random: Random) -> int:
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    return random.choice((low, high, low + 1, random.randint(low, high), random.randint(0, 100)))


def _single(random: Random) -> float:
    read: tuple[float] = struct.unpack("<f", struct.pack("<f", random.uniform(-1000, 1000)))
    return read[0]


def _table(random: Random) -> DataSet:
    rows = [
        [random.choice(_TEXTS), random.uniform(-1, 1), random.randint(-5, 5)]
        for _ in range(random.randint(0, 3))
    ]
    return DataSet(["tool", "wear", "offset"], [DataType.STRING, DataType.DOUBLE, DataType.INT32], rows)


def _motor(random: Random) -> Template:
    inner = (
        Metric("speed", datatype=DataType.DOUBLE, value=random.uniform(0, 3000)),
        Metric("running", datatype=DataType.BOOLEAN, value=random.random() < 0.5),
    )
    return Template(inner, ref=DEFINITION.removeprefix("_types_/"), version="1")


_OTHERS: Final[Mapping[DataType, Callable[[Random], Any]]] = {
    DataType.FLOAT: _single,
    DataType.DOUBLE: lambda random: random.uniform(-1e6, 1e6),
    DataType.BOOLEAN: lambda random: random.random() < 0.5,
    DataType.STRING: lambda random: random.choice(_TEXTS),
    DataType.TEXT: lambda random: random.choice(_TEXTS) + " …",
    DataType.UUID: lambda random: str(UUID(int=random.getrandbits(128), version=4)),
    DataType.DATETIME: lambda random: random.randint(0, 2_000_000_000_000),
    DataType.BYTES: lambda random: random.randbytes(random.randint(0, 20)),
    DataType.FILE: lambda random: random.randbytes(4),
    DataType.DATASET: _table,
    DataType.TEMPLATE: _motor,
}
_ELEMENTS: Final = (
    *(kind for kind in DataType if DataType.INT8 <= kind <= DataType.BOOLEAN),
    DataType.STRING,
    DataType.DATETIME,
)
