"""The order of hand-overs in the three short functions of the line: what is promised to whom, and only after what."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from adapters.base import Delivery, Entry
from adapters.errors import NotConnected, Rejected
from collector.journal.base import JournalFailed, Range, Slice
from collector.journal.waiting import Turns
from collector.line import archival, intake, outflow
from pipelines.batch import Batch, Kind, batch_of
from pipelines.identity import Learned
from pipelines.stage import Refined, Refusal

Log = list[str]


def batch() -> Batch:
    return batch_of(Kind.NUMBER, [0], [1_700_000_000_000_000_000], [1.0], received=1_700_000_000_000_000_000)


class Nothing:
    """A quarantine in which nothing waits to be written again."""

    def may_wait(self, _sink: str) -> bool:
        return False


class Peer:
    """Source, sink, archive and journal at once: everything that is called is written down, in order."""

    name = "peer"
    quarantine = Nothing()
    machines: tuple[str, ...] = ()
    seal_values, seal_seconds = 10, 1.0

    def __init__(self, fails: str = "", refused: Sequence[Refusal] = ()) -> None:
        self.log: Log = []
        self.turn = Turns()
        self.fails = fails
        self.refuses = refused

    def note(self, what: str, error: Exception) -> None:
        if what.startswith(self.fails or "\0"):
            raise error
        self.log.append(what)

    @asynccontextmanager
    async def session(self, *_: Any) -> AsyncIterator[Any]:
        yield self._write if not hasattr(self, "deliveries") else self._deliveries()

    async def _deliveries(self) -> AsyncIterator[Delivery]:
        for number in range(2):

            async def ack(number: int = number) -> None:
                self.log.append(f"ack {number}")

            yield Delivery([batch()], 1, ack=ack)

    async def _write(self, _batches: Sequence[Batch]) -> None:
        self.note("write", NotConnected("gone"))
        if self.refuses:
            raise Rejected("never", self.refuses)

    def checkpoint(self, _source: str) -> None:
        return None

    def identity(self, _source: str) -> None:
        return None

    async def append(self, _source: str, _delivery: Delivery, _refined: Refined) -> int:
        self.note("append", JournalFailed("disk"))
        return 1

    async def follow(self, _follower: str) -> AsyncIterator[Slice]:
        for position in (1, 2):
            yield Slice(position, [batch()])

    async def ranges(self, _follower: str, **_: Any) -> AsyncIterator[Range]:
        yield Range(1, 4, [Entry(1, batch())])

    async def commit(self, _follower: str, position: int, refused: Sequence[Refusal] = ()) -> None:
        self.log.append(f"commit {position}" + (f" {len(refused)} refused" if refused else ""))

    async def seal(self, first: int, last: int, _entries: Sequence[Entry]) -> None:
        self.note(f"seal {first} {last}", NotConnected("disk"))

    async def tidy(self) -> None:
        return None


class Talking(Peer):
    deliveries = True


def refine(batches: Sequence[Batch], identity: Any) -> Refined:
    return Refined(batches, (), {}, {}, Learned())


async def test_acknowledged_after_it_is_durable() -> None:
    peer: Any = Talking()
    await intake(peer, refine, peer, lambda _: None)
    assert peer.log == ["append", "ack 0", "append", "ack 1"]


async def test_never_acknowledged_when_the_append_failed() -> None:
    peer: Any = Talking(fails="append")
    with pytest.raises(JournalFailed):
        await intake(peer, refine, peer, lambda _: None)
    assert peer.log == []


async def test_the_cursor_moves_after_the_database_has_it() -> None:
    peer: Any = Peer()
    await outflow(peer, peer, lambda _: None)
    assert peer.log == ["write", "commit 1", "write", "commit 2"]


async def test_the_cursor_stays_when_nothing_is_known() -> None:
    peer: Any = Peer(fails="write")
    with pytest.raises(NotConnected):
        await outflow(peer, peer, lambda _: None)
    assert peer.log == []


async def test_what_was_refused_is_booked_with_the_cursor() -> None:
    refused = [Refusal("m/s", "never", b"", 1)]
    peer: Any = Peer(refused=refused)
    await outflow(peer, peer, lambda _: None)
    assert peer.log == ["write", "commit 1 1 refused", "write", "commit 2 1 refused"]


@pytest.mark.parametrize(("fails", "log"), [("", ["seal 1 4", "commit 4"]), ("seal", [])])
async def test_a_range_is_sealed_before_it_is_let_go(fails: str, log: Log) -> None:
    peer: Any = Peer(fails=fails)
    if fails:
        with pytest.raises(NotConnected):
            await archival(peer, peer)
    else:
        await archival(peer, peer)
    assert peer.log == log
