"""`encode`: values to line protocol, beside the client library's `Point`, in one process and one after the other.

No network and no disk: bytes are made and counted. Two shapes of a write of 1,000 values: ten signals of a machine share
a time and a line, or every value has a line of its own.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from adapters.influxdb.encode import Encoder
from adapters.influxdb.names import Names
from benchmarks.row import Row, Wish
from pipelines.batch import Batch, Kind, Point, batch_of
from pipelines.registry import Registry

ROWS = 1000
TAGS = {"enterprise": "demo", "site": "plant 1", "area": "lab", "type": "mill"}
_START = 1_767_225_600_000_000_000


class Shape(NamedTuple):
    name: str
    signals: int  # of a machine, which share a line


def encode(wish: Wish) -> Iterator[Row]:
    """Ours, then `Point`, for each shape. --seconds, --hz and --variables say how many values, at least 20,000."""
    writes = max(20, round(wish.seconds * wish.hz * wish.variables / ROWS))
    for shape in (Shape("encode-10-per-line", 10), Shape("encode-1-per-line", 1)):
        registry = _registry(shape)
        batches = _batches(registry, writes, wish.seed)
        yield _measured(shape.name, batches, _ours(registry), baseline=False)
        if wish.baseline:
            yield _measured(f"{shape.name} Point", batches, _points(registry, shape), baseline=True)


def _registry(shape: Shape) -> Registry:
    names = [(f"mill-{m}", f"s{s}") for m in range(ROWS // shape.signals) for s in range(shape.signals)]
    return Registry(Point(machine, name, Kind.NUMBER, "", TAGS) for machine, name in names)


def _batches(registry: Registry, writes: int, seed: int) -> list[Batch]:
    chance = np.random.default_rng(seed)
    ids = np.arange(registry.version)
    return [
        batch_of(
            Kind.NUMBER, ids, _START + i * 10**8, chance.normal(100.0, 30.0, ROWS).round(3), received=_START
        )
        for i in range(writes)
    ]


def _measured(name: str, batches: Sequence[Batch], work: Callable[[Batch], bytes], *, baseline: bool) -> Row:
    work(batches[0])
    begin, cpu = time.monotonic(), time.process_time()
    bodies = [work(batch) for batch in batches]
    cpu, seconds = time.process_time() - cpu, time.monotonic() - begin
    values = ROWS * len(batches)
    return Row(
        name=name,
        values_per_s=round(values / seconds, 1),
        cpu_us_per_value=round(cpu / values * 1e6, 3),
        rss_mb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        lost=values - sum(body.count(b"=") for body in map(_fields, bodies)),
        baseline=baseline,
        emitted=values,
    )


def _fields(body: bytes) -> bytes:
    """Only what follows the tags of each line: as many `=` as there are values."""
    return b"\n".join(line.replace(b"\\ ", b"_").split(b" ")[1] for line in body.split(b"\n"))


def _ours(registry: Registry) -> Callable[[Batch], bytes]:
    encoder = Encoder(Names(registry))

    def work(batch: Batch) -> bytes:
        encoded = encoder.encode([batch])
        encoder.settle(encoded)
        return "\n".join(encoded.texts[: len(encoded.begins)]).encode()

    return work


def _points(registry: Registry, shape: Shape) -> Callable[[Batch], bytes]:
    """A `Point` per machine and time, a field per signal: what the library's documentation shows."""
    from influxdb_client.client.write.point import Point as LibraryPoint
    from influxdb_client.domain.write_precision import WritePrecision

    def line(ids: Sequence[int], at: int, values: Sequence[float]) -> str:
        first = registry[ids[0]]
        point = LibraryPoint("machine").tag("machine", first.machine)  # type: ignore[no-untyped-call]
        for name, value in first.tags.items():
            point.tag(name, value)
        for number, cell in zip(ids, values, strict=True):
            point.field(registry[number].name, cell)
        return str(point.time(at, WritePrecision.NS).to_line_protocol())

    def work(batch: Batch) -> bytes:
        ids, at, values = batch.points.tolist(), batch.at.tolist(), batch.values.tolist()
        n = shape.signals
        return "\n".join(
            line(ids[i : i + n], at[i], values[i : i + n]) for i in range(0, len(ids), n)
        ).encode()

    return work
