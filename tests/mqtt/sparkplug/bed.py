"""A host without a broker: an edge in ten lines (the simulators' encoder, not ours) and the rows that come of what it says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from adapters.base import Bench
from adapters.mqtt.adopted import Adopted
from adapters.mqtt.channel import Message
from adapters.mqtt.routes import Routes
from adapters.mqtt.settings import MqttRead
from adapters.mqtt.sheet import Sheet
from adapters.mqtt.sparkplug.host import Host, Policy
from adapters.settings import Reading
from pipelines.batch import Flag
from pipelines.registry import Registry
from simulators.sparkplug.encode import Encoder
from simulators.sparkplug.habits import Habits
from simulators.sparkplug.model import DataType, Metric, Payload

SPEC = Encoder(Habits())
T0 = 1_700_000_000_000  # ms
HERE: Sequence[Mapping[str, Any]] = (
    {"sparkplug": "plant/cell", "adopt": True},
    {"sparkplug": "plant/cell/press", "adopt": True},
)


class Hands:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> int:
        return T0 * 1_000_000 + 500 + round(self.seconds * 1e9)

    def monotonic(self) -> float:
        return self.seconds


@dataclass(frozen=True)
class Row:
    """One row of a batch. signal: machine/name. value: None where there is none. at: ms."""

    signal: str
    value: Any
    at: int
    quality: int
    flags: int


@dataclass
class Bed:
    """say(): what the edge says. rows, refused: what came of it, all together; decoded: what the decoder counted."""

    reads: Sequence[Mapping[str, Any]] = HERE
    rebirth: bool = False
    strict: bool = True
    patience: float = 2.0
    registry: Registry = field(default_factory=Registry)
    clock: Hands = field(default_factory=Hands)
    rows: list[Row] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    decoded: int = 0
    asked: dict[tuple[str, str], float] = field(default_factory=dict)
    machine: str = "m"
    limit: int = 1000

    def __post_init__(self) -> None:
        self.adopted = Adopted(self.limit)
        self.routes = self.fresh()

    def fresh(self) -> Routes:
        readings = [
            Reading(
                machine=str(read.get("machine", self.machine)),
                tags={},
                read=MqttRead.model_validate(
                    {"source": "b", **{k: v for k, v in read.items() if k != "machine"}}
                ),
            )
            for read in self.reads
        ]
        policy = Policy("spBv1.0", self.patience, self.rebirth, self.asked, self.strict)
        return Routes(readings, Bench(self.registry, self.clock), self.adopted, policy=policy)  # type: ignore[arg-type]

    @property
    def host(self) -> Host:
        assert self.routes.host is not None
        return self.routes.host

    def restart(self, *, continued: bool = True) -> None:
        """A new connection that knows what the checkpoint says, and nothing else."""
        blob = self.host.dump()
        self.routes = self.fresh()
        self.host.restore(blob, self.clock.monotonic(), continued=continued)

    def hear(self, topic: str, payload: bytes, *, retain: bool = False) -> list[Row]:
        sheet = Sheet()
        message = Message(topic.encode(), payload, 0, 0, False, retain, self.clock.now(), len(payload))
        if not self.routes.read_quickly(message, sheet):
            self.routes.read(message, message.at, sheet)
        return self._taken(sheet)

    def wait(self, seconds: float) -> list[Row]:
        sheet = Sheet()
        self.clock.seconds += seconds
        self.host.due(self.clock.monotonic(), self.clock.now(), sheet)
        return self._taken(sheet)

    def _taken(self, sheet: Sheet) -> list[Row]:
        batches = sheet.batches(self.clock.now(), self.registry.version)
        kept = sum(len(batch) for batch in batches) + sum(each.values for each in sheet.refused)
        assert sheet.decoded == kept, "the books do not balance"
        rows = []
        for batch in batches:
            for at, point, value, quality, flags in zip(
                batch.at, batch.points, batch.values.tolist(), batch.quality, batch.flags, strict=True
            ):
                known = self.registry[int(point)]
                shown = None if flags & Flag.NO_VALUE else value
                rows.append(
                    Row(
                        f"{known.machine}/{known.name}", shown, int(at) // 1_000_000, int(quality), int(flags)
                    )
                )
        self.rows += rows
        self.refused += [each.reason for each in sheet.refused for _ in range(each.values)]
        self.decoded += sheet.decoded
        return rows

    def commands(self) -> list[str]:
        return [topic for topic, _ in self.host.commands(self.clock.monotonic(), self.clock.now())]


def number(name: str | None, value: float | None = 0.0, alias: int | None = None, **more: Any) -> Metric:
    return Metric(
        name, alias, more.pop("timestamp", None), more.pop("datatype", DataType.DOUBLE), value=value, **more
    )


@dataclass
class Edge:
    """An edge node with device `press`; each message one ms later than the one before."""

    bed: Bed
    seq: int = -1
    bd_seq: int = 0
    ms: int = T0
    encoder: Encoder = SPEC

    def make(self, kind: str, metrics: Sequence[Metric], device: str = "", **more: Any) -> tuple[str, bytes]:
        self.ms += 1
        if "seq" not in more and kind != "NDEATH":
            self.seq = (self.seq + 1) % 256
            more["seq"] = self.seq
        topic = f"spBv1.0/plant/{kind}/cell" + (f"/{device}" if device else "")
        fields = {"timestamp": self.ms, "seq": None, **more}
        return topic, self.encoder.payload(Payload(list(metrics), **fields))

    def say(self, kind: str, *metrics: Metric, device: str = "", **more: Any) -> list[Row]:
        return self.bed.hear(*self.make(kind, metrics, device, **more))

    def nbirth(self, *metrics: Metric, **more: Any) -> list[Row]:
        self.seq = more.pop("first", 0) - 1
        known = Metric("bdSeq", datatype=DataType.INT64, value=self.bd_seq)
        rebirth = Metric("Node Control/Rebirth", datatype=DataType.BOOLEAN, value=False)
        return self.say("NBIRTH", known, rebirth, *metrics, **more)

    def dbirth(self, *metrics: Metric, device: str = "press", **more: Any) -> list[Row]:
        return self.say("DBIRTH", *metrics, device=device, **more)

    def ndata(self, *metrics: Metric, **more: Any) -> list[Row]:
        return self.say("NDATA", *metrics, **more)

    def ddata(self, *metrics: Metric, device: str = "press", **more: Any) -> list[Row]:
        return self.say("DDATA", *metrics, device=device, **more)

    def ddeath(self, device: str = "press") -> list[Row]:
        return self.say("DDEATH", device=device)

    def ndeath(self, bd_seq: int | None = None) -> list[Row]:
        known = Metric("bdSeq", datatype=DataType.INT64, value=self.bd_seq if bd_seq is None else bd_seq)
        return self.say("NDEATH", known)


def living(bed: Bed, *more: Metric) -> Edge:
    """Born with node metric Load (alias 0) and device metrics Force (1) and Stroke (2)."""
    edge = Edge(bed)
    edge.nbirth(number("Load", 1.0, 0), *more)
    edge.dbirth(number("Force", 2.0, 1), number("Stroke", 3.0, 2))
    return edge
