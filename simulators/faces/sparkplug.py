"""Machines as the devices of one Sparkplug B edge node `shopfloor/sim`: births with names and units, data by alias.

The edge itself, its encoder and its book-keeping are those of `simulators.sparkplug`; here the values come from the
machines' physics and their times from the simulated clock.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random
from typing import Any, ClassVar, Final

from simulators.clock import MILLISECOND
from simulators.faces.broker import Address
from simulators.faults.sensors import GOOD
from simulators.model import Model, Type, Value
from simulators.model import Signal as Sensor
from simulators.sparkplug.book import Book
from simulators.sparkplug.cell import Cell, Signal
from simulators.sparkplug.edge import Edge, Place
from simulators.sparkplug.habits import Habits
from simulators.sparkplug.model import DataType, Metric, Property
from simulators.sparkplug.run import again, confirm, end
from simulators.truth import Truth
from simulators.units import SYMBOLS

GROUP: Final = "shopfloor"
NODE: Final = "sim"
TYPES: Final[Mapping[Type, DataType]] = {
    Type.BOOLEAN: DataType.BOOLEAN,
    Type.BYTE: DataType.UINT8,
    Type.INT32: DataType.INT32,
    Type.UINT32: DataType.UINT32,
    Type.INT64: DataType.INT64,
    Type.FLOAT: DataType.FLOAT,
    Type.DOUBLE: DataType.DOUBLE,
    Type.STRING: DataType.STRING,
}


class MachineBook(Book):
    """Values of machines only, with what is not as it should be; the node's own control metrics are no measurement."""

    models: Mapping[str, Model]
    now_ns: int
    closed: bool = False
    away: set[str]

    def note(self, kind: str, **more: Any) -> None:
        """With the simulated time, so that two runs of a seed say the same; not about the end of the run itself."""
        if not self.closed:
            self.pending.append({"kind": kind, "t": self.now_ns, **more})

    def values(self, machine: str, metrics: Sequence[tuple[str, Metric]], payload_ms: int | None) -> None:
        model = self.models.get(machine)
        if model is None:
            return
        before = len(self.pending)
        super().values(machine, metrics, payload_ms)
        self.pending[before:] = [_row(model, row) for row in self.pending[before:]]


def _row(model: Model, row: Mapping[str, Any]) -> Mapping[str, Any]:
    """As the other faces write it: a waveform is a value like any other."""
    kept = {key: value for key, value in row.items() if key != "datatype"}
    return {**kept, "kind": "value", **model.unlike(str(row["signal"]))}


def metric(sensor: Sensor, alias: int, value: Value | None, at_ns: int) -> Signal:
    """The metric of a sensor as its birth declares it."""
    kind = DataType.FLOAT_ARRAY if sensor.length else TYPES[sensor.type]
    unit = {"engUnit": Property(DataType.STRING, SYMBOLS[sensor.unit])} if sensor.unit else None
    return Signal(sensor.name, alias, kind, _plain(value), at_ns // MILLISECOND, unit)


def _plain(value: Value | None) -> Any:
    return list(value) if isinstance(value, tuple) else value


class SparkplugFace:
    """One device of the edge."""

    disturbances: ClassVar[frozenset[str]] = frozenset(
        {"sequence_gap", "missing_birth", "restart", "duplicate", "reorder"}
    )

    def __init__(self, edge: Edge, book: MachineBook, model: Model) -> None:
        self._edge, self._book, self._model = edge, book, model
        self._signals = {signal.name: signal for signal in edge.cell.devices[model.machine]}
        self._disturbed: set[str] = set()

    async def begin(self, at_ns: int, values: Mapping[str, Value]) -> None:
        """The births of all devices say their first values, unless a reader has asked for them already."""
        if not self._edge.born and self._edge.connected:
            self._edge.birth()
            await confirm(self._edge)

    async def emit(self, at_ns: int, changed: Mapping[str, Value], values: Mapping[str, Value]) -> None:
        """One DDATA with what changed; it is in the truth when the broker has it. While the edge is away nobody is told."""
        self._book.now_ns = at_ns
        if not self._edge.connected and not self._book.away:
            await again(self._edge)
        for name, value in changed.items():
            self._signals[name].value = _plain(value) if self._model.quality_of(name) == GOOD else None
            self._signals[name].at_ms = at_ns // MILLISECOND
        if changed and not self._book.away:
            self._say([self._signals[name] for name in changed])
        await confirm(self._edge)

    def _say(self, signals: Sequence[Signal]) -> None:
        """In one message, or as it is disturbed: in two that change places, each of them twice."""
        edge, machine = self._edge, self._model.machine
        if not (self._disturbed and edge.born and edge.connected):
            edge.data(machine, signals)
            return
        parts = [signals[::2], signals[1::2]] if "reorder" in self._disturbed else [signals]
        named = [[(each.name, edge.metric(each, birth=False)) for each in part] for part in parts if part]
        for message in reversed([edge.make("DDATA", machine, metrics) for metrics in named]):
            for _ in range(2 if "duplicate" in self._disturbed else 1):
                edge.send(message)

    async def disturb(self, fault: str, *, on: bool, at_ns: int) -> None:
        """A gap is one number; without its birth a device cannot be understood until the fault ends and it is born.

        restart: the broker tells that the edge is gone; all its devices are, until the last of them is back.
        """
        edge, self._book.now_ns = self._edge, at_ns
        if fault in ("duplicate", "reorder"):
            (self._disturbed.add if on else self._disturbed.discard)(fault)
        elif fault == "restart":
            await self._restart(on=on)
        elif fault == "sequence_gap":
            if on:
                edge.next_seq()
        else:
            edge.habits = replace(edge.habits, births="node" if on else "all")
            await self._without_birth(on=on)
        await confirm(edge)

    async def _without_birth(self, *, on: bool) -> None:
        if self._book.away:
            return
        if on:
            self._edge.lose()
            await again(self._edge)
        else:
            self._edge.birth()

    async def _restart(self, *, on: bool) -> None:
        away, machine = self._book.away, self._model.machine
        if on and not away:
            self._edge.lose()
        (away.add if on else away.discard)(machine)
        if not on and not away:
            await again(self._edge)

    async def drain(self, seconds: float) -> None:
        """Wait until the broker has it."""
        await confirm(self._edge)


@asynccontextmanager
async def open_edge(
    address: Address, truth: Truth, models: Sequence[Model], at_ns: int
) -> AsyncIterator[dict[str, SparkplugFace]]:
    """Connect, to be born when the clock starts: a birth is not kept for readers who come later. The faces by machine. Dies in order at the end."""
    cell = Cell({"": []}, Random(0))
    book = MachineBook(truth)
    book.models, book.now_ns, book.away = {model.machine: model for model in models}, at_ns, set()
    for model in models:
        cell.devices[model.machine] = [
            metric(signal, next(cell.aliases), model.values[signal.name], at_ns) for signal in model.signals
        ]
    edge = Edge(Place(address, GROUP, NODE), cell, Habits(), book)
    await edge.connect(silent=True)
    try:
        yield {model.machine: SparkplugFace(edge, book, model) for model in models}
    finally:
        book.closed = True
        await end(edge)
