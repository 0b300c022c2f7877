"""Servers that mean harm or have lost their mind, and many of them at once: nobody else notices, and memory stays bounded."""

from __future__ import annotations

import asyncio
import logging
import random
import struct
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from adapters.clock import SystemClock
from collector.health import Health
from collector.journal.sqlite import SqliteJournal, open_journal
from collector.line import intake
from collector.supervisor import Job, Supervisor
from pipelines.refinery import refinery
from pipelines.stage import Treatments
from tests.contracts.rig import LEAVING, PATIENCE, Alive, eventually
from tests.opcua import encoder as enc
from tests.opcua.encoder import DataValue, Scalar
from tests.opcua.rows.bed import LONG, START, Bed, value
from tests.opcua.scripted import STRING, Connection, Mangle, Script, Variable

MIB = 2**20


def resident() -> int:
    """Bytes that this process has in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def at(offset: int, number: int) -> Callable[[bytes], bytes]:
    """Puts a UInt32 over these bytes of a chunk."""
    return lambda chunk: chunk[:offset] + struct.pack("<I", number) + chunk[offset + 4 :]


class Endless(Script):
    """The first answer with a value in it never ends: chunk after chunk says that another one follows."""

    def __init__(self) -> None:
        self.begun = False

    def chunk(self, connection: Connection, chunk: bytes) -> bytes:
        if enc.node(0, 811) not in chunk or self.begun:
            return chunk
        self.begun = True
        channel, token, sequence, request = struct.unpack_from("<IIII", chunk, 8)
        connection.pour(
            struct.pack("<4sIIIII", b"MSGC", 65_000, channel, token, sequence + number, request)
            + bytes(64_976)
            for number in range(1200)
        )
        return b""


def nested(depth: int) -> bytes:
    """A DataChange with one Variant in a Variant in a Variant …, each an array of one."""
    return (
        struct.pack("<iI", 1, 0)
        + b"\1"
        + (b"\x98" + struct.pack("<i", 1)) * depth
        + b"\0"
        + struct.pack("<i", -1)
    )


def change(body: bytes) -> bytes:
    """A DataChange with this Variant for the item with handle 0."""
    return struct.pack("<iI", 1, 0) + b"\1" + body + struct.pack("<i", -1)


def notified(body: bytes, type_id: int = 811) -> Callable[[Bed], None]:
    return lambda bed: bed.server.notify(type_id, body)


def scripted(*scripts: Callable[[], Script]) -> Callable[[Bed], None]:
    def put(bed: Bed) -> None:
        bed.server.scripts.extend(script() for script in scripts)
        bed.emit()

    return put


HOSTILE: dict[str, Callable[[Bed], None]] = {
    "a chunk of 4 GiB": scripted(lambda: Mangle(at(4, 0xFFFFFFFF))),
    "a chunk of 2 bytes": scripted(lambda: Mangle(at(4, 2))),
    "a chunk shorter than it says": scripted(lambda: Mangle(lambda chunk: chunk[:40])),
    "endless chunks": scripted(Endless),
    "another channel": scripted(lambda: Mangle(at(8, 4711))),
    "another token": scripted(lambda: Mangle(at(12, 4711))),
    "another sequence number": scripted(lambda: Mangle(at(16, 4711))),
    "an answer to nothing": scripted(lambda: Mangle(at(20, 4711))),
    "another kind of message": scripted(lambda: Mangle(lambda chunk: b"XYZF" + chunk[4:])),
    "an answer of unknown type": scripted(lambda: Mangle(at(24, 0x0FFF0001))),
    "noise": scripted(lambda: Mangle(lambda chunk: chunk[:24] + random.Random(7).randbytes(len(chunk) - 24))),
    "an abort": scripted(lambda: Mangle(lambda chunk: b"MSGA" + chunk[4:])),
    "an error message": scripted(
        lambda: Mangle(lambda _: struct.pack("<4sIIi", b"ERRF", 16, 0x80800000, -1))
    ),
    "an error message without end": scripted(
        lambda: Mangle(lambda _: struct.pack("<4sIIi", b"ERRF", 16, 0x80800000, 2**31 - 1))
    ),
    "2^31 nulls in 5 bytes": notified(change(b"\x80" + struct.pack("<i", 2**31 - 1))),
    "2^31 doubles in 5 bytes": notified(change(b"\x8b" + struct.pack("<i", 2**31 - 1))),
    "2^31 values": notified(struct.pack("<i", 2**31 - 1)),
    "fewer than no values": notified(struct.pack("<i", -(2**31))),
    "a text of 2 GiB": notified(change(b"\x0c" + struct.pack("<i", 2**31 - 1))),
    "a text of less than nothing": notified(change(b"\x0c" + struct.pack("<i", -7))),
    "variants in variants": notified(nested(10_000)),
    "a matrix of 2^62": notified(change(b"\xcb" + struct.pack("<iiii", 0, 2, 2**31 - 1, 2**31 - 1))),
    "a mask of ones": notified(struct.pack("<iI", 1, 0) + b"\xff" * 40),
    "a status change of one byte": notified(b"\x80", 820),
    "a handle that nobody gave": notified(enc.data_change([(4_000_000_000, value(1))])),
    "an unknown notification": notified(bytes(1000), 65_000),
}


class Pair:
    """Two servers read by one process; the second one behaves."""

    def __init__(self, bad: Bed, good: Bed, journal: SqliteJournal) -> None:
        self.bad, self.good, self.journal, self.health = bad, good, journal, Health()

    def jobs(self) -> list[Job]:
        made = []
        for name, bed in (("bad", self.bad), ("good", self.good)):
            source = bed.source(self.journal.registry, name=name, machine=name)
            made.append(Job(name, "source", _run(source, self.journal), source.machines))
        return made


def _run(source: Any, journal: SqliteJournal) -> Any:
    async def run(connected: Any) -> None:
        await intake(source, refinery(journal.registry, Treatments()), journal, connected)

    return run


@asynccontextmanager
async def at_work(journal: SqliteJournal, health: Health, jobs: list[Job]) -> AsyncIterator[None]:
    supervisor = Supervisor(health, SystemClock(), random.Random(7))
    tasks = [asyncio.get_running_loop().create_task(supervisor.keep(job)) for job in jobs]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def stored(journal: SqliteJournal, source: str) -> int:
    account = (await journal.ledger()).sources.get(source)
    return 0 if account is None else account.journaled


async def reached(journal: SqliteJournal, source: str, count: int, patience: float = PATIENCE) -> None:
    deadline = time.monotonic() + patience
    while await stored(journal, source) < count:
        now = await stored(journal, source)
        assert time.monotonic() < deadline, f"{source}: {now} of {count}"
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("harm", HOSTILE)
async def test_u22_harm_stays_with_its_source(
    tmp_path: Path, harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    """U22: the source is isolated and comes back, memory grows by no more than 64 MiB, the other source loses nothing."""
    alive, beds = Alive(), [Bed(tmp_path), Bed(tmp_path)]
    for bed in beds:
        bed.variable("a", Variable(value=value(0)))
        await bed.server.start()
    async with open_journal(
        tmp_path / "j.sqlite", followers=["oracle"], clock=SystemClock(), window=0.0
    ) as journal:
        pair = Pair(beds[0], beds[1], journal)
        async with at_work(journal, pair.health, pair.jobs()):
            await reached(journal, "bad", 1)
            await reached(journal, "good", 1)
            most = before = resident()
            HOSTILE[harm](pair.bad)
            for number in range(2, 12):
                pair.good.emit()
                await reached(journal, "good", number)
                most = max(most, resident())
            pair.bad.server.scripts.clear()
            had = await stored(journal, "bad")
            pair.bad.emit(count=3)
            await reached(journal, "bad", had + 1)
            most = max(most, resident())
        assert most - before <= 64 * MIB
        assert not [
            record
            for record in caplog.records
            if record.name == "collector" and record.levelno >= logging.ERROR
        ], "nobody foresaw it"
        ledger = await journal.ledger()
        assert ledger.unaccounted == 0
        assert ledger.sources["good"].journaled == 11
        assert pair.good.server.record.opened == 1
    for bed in beds:
        await eventually(lambda now=bed: not now.server.connections, "every socket of ours is closed")  # type: ignore[misc]
        await bed.server.stop()
    await alive.nothing_left(LEAVING)


async def test_u22_a_text_that_is_no_text_is_kept_and_marked(bed: Bed) -> None:
    """U22: invalid UTF-8 is stored with U+FFFD in its place, as uncertain."""
    bed.variable("t", Variable(STRING, DataValue(Scalar(12, "on"), source=enc.ticks(START))))
    async with bed.line() as line:
        await line.until(lambda: line.values("t") == ["on"], "the first value")
        bed.server.emit("t", DataValue(Scalar(12, b"o\xffn\xc3"), source=enc.ticks(START + 100)))
        await line.until(lambda: len(line.rows) == 2, "it is stored")
        await line.stop()
    assert line.rows[1].value == "o\ufffdn\ufffd"
    assert line.rows[1].quality == 0x40000000


async def test_u23_many_servers_of_which_some_flap(tmp_path: Path) -> None:
    """U23: 100 servers, 20 of them away every 3 s for a minute (here 30, 6, 0.3 s, 2 s): the others miss nothing, and nobody is stormed."""
    count, flapping, every, lasts = (100, 20, 3.0, 60.0) if LONG else (30, 6, 0.3, 2.0)
    alive, beds = Alive(), [Bed(tmp_path) for _ in range(count)]
    for bed in beds:
        bed.variable("a", Variable(value=value(0)))
        await bed.server.start()
    async with open_journal(
        tmp_path / "j.sqlite", followers=["oracle"], clock=SystemClock(), window=0.05
    ) as journal:
        sources = [bed.source(journal.registry, name=f"s{n}", machine=f"m{n}") for n, bed in enumerate(beds)]
        jobs = [Job(source.name, "source", _run(source, journal), source.machines) for source in sources]
        async with at_work(journal, Health(), jobs):
            for source in sources:
                await reached(journal, source.name, 1)
            ends, emitted, step = asyncio.get_running_loop().time() + lasts, 1, 0
            while asyncio.get_running_loop().time() < ends:
                for bed in beds:
                    bed.emit()
                emitted += 1
                step += 1
                for bed in beds[:flapping]:
                    await (bed.server.leave() if step % 2 else bed.server.start())
                await asyncio.sleep(every)
            for bed in beds[:flapping]:
                await bed.server.start() if step % 2 else None
            for source in sources[flapping:]:
                await reached(journal, source.name, emitted)
            for bed, source in zip(beds[:flapping], sources, strict=False):
                had = await stored(journal, source.name)
                bed.emit()
                await reached(journal, source.name, had + 1)
        assert [bed.server.record.opened for bed in beds[flapping:]] == [1] * (count - flapping)
        most = max(bed.server.record.opened for bed in beds[:flapping])
        assert 2 <= most <= 4 + lasts / 0.25, "waits between attempts grow"
        assert (await journal.ledger()).unaccounted == 0
    for bed in beds:
        await eventually(lambda now=bed: not now.server.connections, "every socket of ours is closed")  # type: ignore[misc]
        await bed.server.stop()
    await alive.nothing_left(LEAVING)
