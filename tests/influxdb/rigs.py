"""Rigs of the sink suite: a real InfluxDB 1.x over API v1, and the scripted server over API v2."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from adapters.base import Bench, Sink
from adapters.clock import SystemClock
from adapters.influxdb.settings import InfluxDbSink
from pipelines.batch import Kind, Point, batch_of
from pipelines.registry import Registry
from tests.contracts.sink import START, Place, Poisoned, SinkRig, batches_of, contents
from tests.influxdb.fake import Answer, Fake, refusal
from tests.influxdb.lines import Read
from tests.influxdb.peers import Server, free_port, influxd, query


def bench(registry: Registry) -> Bench:
    return Bench(registry, SystemClock())


def typed(kind: Kind, value: Any) -> Any:
    """A value as the database tells it, as the value that was written."""
    if kind is Kind.NUMBER:
        return float(value)
    if kind in (Kind.INTEGER, Kind.UNSIGNED):
        return int(value)
    return np.array(json.loads(value)) if kind is Kind.WAVEFORM else value


class InfluxV1Rig(SinkRig):
    """InfluxDB 1.x, really running: everything exact, read back with InfluxQL."""

    def __init__(self, folder: Path, server: Server | None = None, database: str = "machines") -> None:
        self.registry = Registry()
        self._server = server if server is not None else influxd(folder)
        self._database = database

    async def start(self) -> InfluxV1Rig:
        await self._server.start()
        return self

    async def stop(self) -> None:
        await self._server.stop()

    def sharing(self, registry: Registry, database: str) -> InfluxV1Rig:
        """Another rig on the same server."""
        rig = InfluxV1Rig(Path(), self._server, database)
        rig.registry = registry
        return rig

    def settings(self, **changes: Any) -> InfluxDbSink:
        wanted = {"url": self._server.url, "api": "v1", "database": self._database, "create": True}
        return InfluxDbSink(type="influxdb", **{**wanted, **changes})

    def sink(self) -> Sink:
        return self.settings().build(bench(self.registry))

    def unreachable(self) -> Sink:
        return self.settings(url=f"http://127.0.0.1:{free_port()}").build(bench(self.registry))

    def query(self, text: str) -> list[Mapping[str, Any]]:
        return query(self._server.url, self._database, text)

    async def stored(self) -> Mapping[Place, Any]:
        if not self._exists():
            return {}
        return dict(self._values())

    def _exists(self) -> bool:
        return [self._database] in self.query("SHOW DATABASES")[0].get("values", [])

    def _values(self) -> Iterator[tuple[Place, Any]]:
        for series in self.query("SELECT * FROM machine GROUP BY *"):
            machine = series["tags"]["machine"]
            for at, *cells in series["values"]:
                for signal, cell in zip(series["columns"][1:], cells, strict=True):
                    kind = self.registry.kind_of(machine, signal)
                    if cell is not None and kind is not None:
                        yield Place(machine, signal, int(at)), typed(kind, cell)

    async def down(self) -> bool:
        await self._server.stop()
        return True

    async def up(self) -> None:
        await self._server.start()

    async def poison(self) -> Poisoned:
        """Values of a field that the database knows with another type, one in a line of its own and others in company."""
        number = self.registry.intern(Point("mill-0", "disputed", Kind.TEXT, "", _TAGS))
        earlier = Registry([Point("mill-0", "disputed", Kind.NUMBER, "", _TAGS)])
        sink = self.settings().build(bench(earlier))
        async with sink.session() as write:
            await write([batch_of(Kind.NUMBER, [0], START - 1, [1.0], received=START)])
        batches = batches_of(self)
        good = contents(self.registry, batches)
        at = [START, START + 1, START + 5000]
        bad = batch_of(Kind.TEXT, [number] * 3, at, ["a", "b", "c"], received=START)
        return Poisoned([*batches, bad], {**good, Place("mill-0", "disputed", START - 1): Decimal(1)}, 3)


_TAGS = {"enterprise": "demo", "site": "plant 1", "area": "lab"}


class FakeV2Rig(SinkRig):
    """API v2 against the scripted server: what no real one does on command."""

    def __init__(self) -> None:
        self.registry = Registry()
        self.server = Fake()

    async def start(self) -> FakeV2Rig:
        await self.server.start()
        return self

    async def stop(self) -> None:
        await self.server.stop()

    def settings(self, **changes: Any) -> InfluxDbSink:
        wanted = {"url": self.server.url, "org": "lab", "bucket": self.server.place, "token": "secret-token"}
        return InfluxDbSink(type="influxdb", **{**wanted, **changes})

    def sink(self) -> Sink:
        return self.settings().build(bench(self.registry))

    def unreachable(self) -> Sink:
        return self.settings(url=f"http://127.0.0.1:{free_port()}").build(bench(self.registry))

    async def stored(self) -> Mapping[Place, Any]:
        found = {}
        for (measurement, tags, at), fields in self.server.points.items():
            machine = dict(tags).get("machine", "")
            for signal, value in fields.items() if measurement == "machine" else ():
                kind = self.registry.kind_of(machine, signal)
                assert kind is not None
                found[Place(machine, signal, at)] = typed(kind, value)
        return found

    async def down(self) -> bool:
        await self.server.pause()
        return True

    async def up(self) -> None:
        await self.server.start()

    async def lose_answer(self) -> bool:
        self.server.script.append(Answer(stores=True, drops=True))
        return True

    async def throttle(self) -> bool:
        self.server.script.append(Answer(429, headers={"Retry-After": "7"}))
        return True

    async def poison(self) -> Poisoned:
        """The server names the first bad line and stores nothing of the request, as InfluxDB 2 documents it."""

        def rule(lines: list[Read], _body: bytes) -> Answer | None:
            bad = [line for line in lines if any(name.startswith("text_") for name in line.fields)]
            return (
                refusal(422, f"failure writing points: {bad[0].measurement}: schema conflict")
                if bad
                else None
            )

        self.server.rule = rule
        batches = batches_of(self)
        everything = contents(self.registry, batches)
        good = {place: value for place, value in everything.items() if not place.signal.startswith("text_")}
        return Poisoned(batches, good, len(everything) - len(good))


def some_numbers(registry: Registry, n: int, machine: str = "mill-9") -> Sequence[Any]:
    """n numbers of one point, one per time."""
    point = registry.intern(Point(machine, "load", Kind.NUMBER))
    return [
        batch_of(
            Kind.NUMBER, [point] * n, [START + i for i in range(n)], [i / 7 for i in range(n)], received=START
        )
    ]
