"""A server that is not ours as the bed of a fault row: a proxy before it, the whole line behind, and what it was told held here.

The oracle is conservation: what the server was told is stored as it was told, or a gap record covers it; nothing twice,
nothing else. Whether a server can give back what was lost is its own affair and decides only how much a gap explains.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from adapters.base import Bench
from adapters.clock import Clock, SystemClock
from adapters.opcua.settings import OpcUaRead, OpcUaSource
from adapters.opcua.source import OpcUaReader
from adapters.settings import Reading
from collector.journal.sqlite import open_journal
from pipelines.batch import Flag
from pipelines.registry import Registry
from simulators.proxy.server import Proxy
from tests.contracts.rig import eventually
from tests.fakes import FakeClock
from tests.opcua.rows.bed import Hurried, Line
from tests.peers.opcua import START_MS, URI, Server

REQUESTS: Final = {
    "CreateSession": 461,
    "CreateSubscription": 787,
    "CreateMonitoredItems": 751,
    "Publish": 826,
    "Republish": 832,
    "PublishResponse": 829,
}
"""NodeIds.csv: the encodings by which a message is known on the wire, as long as nobody encrypts it."""


class Told(NamedTuple):
    """A value as the server was told it. at: ns. value: None for a row without."""

    at: int
    value: Any
    status: int


class Wire:
    """Counts messages as they pass the proxy."""

    def __init__(self) -> None:
        self.up, self.down = bytearray(), bytearray()
        self._answers = defaultdict[int, bytearray](bytearray)  # by connection

    def __call__(self, direction: str, connection: int, content: bytes) -> None:
        (self.up if direction == "up" else self.down).extend(content)
        if direction == "down":
            self._answers[connection].extend(content)

    def count(self, name: str) -> int:
        """A message begins with kind, "F", length, channel, token, numbers; then comes the type, a four-byte NodeId."""
        mark = b"\x01\x00" + REQUESTS[name].to_bytes(2, "little")
        way = self.down if name.endswith("Response") else self.up
        return sum(way[at - 24 : at - 20] == b"MSGF" for at in _places(way, mark))

    @property
    def waiting(self) -> int:
        """PublishRequests that the server has not answered."""
        return self.count("Publish") - self.count("PublishResponse")

    @property
    def granted(self) -> int:
        """Answers to OpenSecureChannel, renewals included; only where a chunk begins: what is encrypted may hold any bytes."""
        return sum(kind == b"OPN" for said in self._answers.values() for kind in _chunks(said))


def _chunks(said: bytearray) -> Iterable[bytes]:
    """The kind of each: it stands before "F" and the length (OPC 10000-6, 7.1.2.2)."""
    at = 0
    while at + 8 <= len(said):
        yield bytes(said[at : at + 3])
        at += max(8, int.from_bytes(said[at + 4 : at + 8], "little"))


def _places(where: bytearray, mark: bytes) -> Iterable[int]:
    at = where.find(mark)
    while at >= 0:
        yield at
        at = where.find(mark, at + 1)


class PeerBed:
    """How one running server is read in one test; its values outlive the test."""

    REQUEST_TIMEOUT: Final = 60.0

    def __init__(self, server: Server, proxy: Proxy, wire: Wire, folder: Path) -> None:
        self.server, self.proxy, self.wire, self.folder = server, proxy, wire, folder
        self.clock: Clock = SystemClock()
        self.settings: dict[str, Any] = {"security": "none"}
        self.signals: dict[str, dict[str, Any]] = {}
        self._told: dict[str, list[Told]] = {}

    def stand_still(self) -> FakeClock:
        """Time passes for the collector when the test lets it: how slow this server is today decides nothing."""
        self.clock = clock = FakeClock(SystemClock().now())
        return clock

    def read(self, *names: str, **signal: Any) -> None:
        """Have these signals read."""
        for name in names:
            self.signals[name] = {
                "name": name,
                "node": f"nsu={URI};s={name}",
                "every": "0s",
                "queue": 1000,
            } | signal
            self._told[name] = [Told(*self.server.present.get(name, (START_MS * 1_000_000, 0.0, 0)))]

    async def tell(self, *rows: tuple[str, Any, Mapping[str, Any]]) -> None:
        """The server gets these values: (signal, value, what differs); each has a time of its own."""
        lines = []
        for name, value, more in rows:
            self.server.count += 1
            ms = START_MS + self.server.count
            lines.append([name, value, ms, 0, dict(more)])
            status = more.get("status", 0 if value is not None else 0x808C0000)
            told = Told(ms * 1_000_000, value, status)
            self._told[name].append(told)
            self.server.present[name] = tuple(told)
        await asyncio.to_thread(self.server.write, lines)

    async def emit(self, *names: str, count: int = 1) -> None:
        """So many values of each, one after the other."""
        first, every = self.server.count, list(names) * count
        await self.tell(*((name, float(first + n), {}) for n, name in enumerate(every, 1)))

    def share(self, other: PeerBed, names: Iterable[str]) -> None:
        """What another bed of the same server has just told it, one value of each."""
        for name in names:
            self._told[name].append(other._told[name][-1])

    def emitted(self) -> dict[tuple[str, int], tuple[Any, int]]:
        """(value, status) by signal and time, as far as there was a value to store."""
        return {
            (name, told.at): (told.value, told.status)
            for name, every in self._told.items()
            for told in every
            if told.value is not None
        }

    def latest(self, name: str) -> Any:
        return self._told[name][-1].value

    def restarted(self) -> None:
        """The server was begun anew: its signals have their first values again."""
        self.server.present.clear()

    def source(self, registry: Registry, address: str = "") -> OpcUaReader:
        read = OpcUaRead.model_validate({"source": "plc", "signals": list(self.signals.values())})
        wishes = {
            "publishing_interval": "50ms",
            "keep_alive": "10s",
            "request_timeout": f"{self.REQUEST_TIMEOUT:g}s",
            "unacknowledged": 10,
        }
        settings = {
            "type": "opcua",
            "url": f"opc.tcp://{address or self.proxy.address}/",
            **wishes,
            **self.settings,
        }
        reading = Reading(machine="m", tags={}, read=read)
        bench = Bench(registry, self.clock, str(self.folder))
        return OpcUaReader("plc", OpcUaSource.model_validate(settings), (reading,), bench)

    async def heard(self, more: int) -> None:
        """The server has sent so many bytes from now on, as far as the proxy."""
        seen = self.proxy.down.counts.received
        await eventually(lambda: self.proxy.down.counts.received >= seen + more, "the server speaks")

    @asynccontextmanager
    async def line(self) -> AsyncIterator[PeerLine]:
        """The whole line at work, with every signal's first value stored."""
        path = self.folder / "journal.sqlite"
        async with open_journal(path, followers=["oracle"], clock=SystemClock(), window=0.0) as journal:
            line = PeerLine(self, journal, Hurried())
            line.start()
            try:
                yield line
            finally:
                await line.stop()

    async def lost_and_found(self, before: int) -> None:
        """The connection that was `before` is gone, and the line as it was is there again for the next one."""
        await eventually(
            lambda: not self.proxy.open_connections or self.proxy.connections > before, "it is gone"
        )
        self.proxy.clear()


class PeerLine(Line):
    """A line, with words for what every row wants to know."""

    bed: PeerBed

    async def runs(self, *names: str) -> None:
        """The newest value of these signals (of all, if none is named) is stored."""
        bed, wanted = self.bed, names or tuple(self.bed.signals)
        await self.until(
            lambda: all(self.values(n)[-1:] == [bed.latest(n)] for n in wanted), "present values"
        )

    async def conserved(self) -> None:
        """Stop, and hold what is stored against what the server was told."""
        await self.stop()
        verdict = await self.verdict()
        assert verdict.clean, verdict
        keys = [(row.signal, row.at) for row in self.rows if not row.flags & Flag.NO_VALUE]
        assert len(keys) == len(set(keys)), "nothing is stored twice"

    @property
    def reasons(self) -> set[str]:
        """Of the gap records."""
        return {gap.reason for gap in self.gaps}
