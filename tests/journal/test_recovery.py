"""Damage found at the start (D6, D8): a log cut anywhere, a file gone or emptied by hand. Flipped bits: test_flips.py.

The start succeeds, what is read is what was written or is named in a gap with its exact positions, nothing is invented.
"""

from __future__ import annotations

import asyncio
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from collector.journal.header import PAGE
from collector.journal.sqlite import SqliteJournal, open_journal
from tests.contracts.journal import append
from tests.fakes import FakeClock
from tests.journal.platter import Image
from tests.journal.starting import started
from tests.journal.test_power import ram

__all__ = ["ram"]
ENTRIES = 14
IN_FILE = 6
"""Up to this position everything is in the file, and not only in the log."""

FRAME = 24 + PAGE
RANGE = re.compile(r"positions? (\d+)(?: to (\d+))?")


async def _filled(path: Path) -> Image:
    """A journal as a kill leaves it: position n holds 10 n, 10 n + 1, 10 n + 2."""
    async with open_journal(path, followers=["sink"], clock=FakeClock(), window=0.0) as journal:
        for n in range(1, ENTRIES + 1):
            await append(journal, [10 * n, 10 * n + 1, 10 * n + 2], source=f"s{n % 2}")
            if n == IN_FILE:
                journal._store.checkpoint()
        return {name: Path(f"{path}{name}").read_bytes() for name in ("", "-wal", ".mark")}


@pytest.fixture
def image(tmp_path: Path) -> Image:
    return asyncio.run(_filled(tmp_path / "journal.db"))


def starts(folder: Path, image: Image) -> tuple[set[int], set[int]]:
    """The positions that read back whole and those that gaps name, after as many starts as it takes: three at most."""
    return started(folder, image, _looked_through)


async def _looked_through(path: Path) -> tuple[set[int], set[int]]:
    async with open_journal(path, followers=["sink"], clock=FakeClock(), window=0.0) as journal:
        whole = await _whole(journal)
        told = [gap.gap.detail for gap in await journal.gaps() if gap.gap.reason == "journal_damaged"]
        named = {position for detail in told for position in _positions(detail)}
        tail = journal.tail.position
        assert await append(journal, [1.0]) == tail + 1
        assert tail >= max(whole | named, default=0)
        return whole, named


async def _whole(journal: SqliteJournal) -> set[int]:
    at, whole = 0, set[int]()
    while at < journal.tail.position:
        chunk = await journal.read("sink", at, 5)
        for entry in chunk.entries:
            expected = [10.0 * entry.position + i for i in range(3)]
            assert entry.batch.values.tolist() == expected, "a value was altered"
            whole.add(entry.position)
        at = chunk.position
    return whole


def _positions(detail: str) -> Iterator[int]:
    for first, last in RANGE.findall(detail)[-1:]:
        yield from range(int(first), int(last or first) + 1)


def told_exactly(whole: set[int], named: set[int], where: str) -> None:
    everything = set(range(1, ENTRIES + 1))
    assert whole <= everything, where
    assert named == everything - whole, f"{where}: lost {sorted(everything - whole)}, told {sorted(named)}"


def test_d6_the_log_cut_at_every_frame_and_inside(ram: Path, image: Image) -> None:
    """D6: the log ends anywhere: every append whose commit is in it is there, the others are named."""
    log = image["-wal"]
    for end in sorted({0, 16, 32, *range(32, len(log), FRAME), *range(32 + 700, len(log), FRAME)}):
        whole, named = starts(ram / "image", {**image, "-wal": log[:end]})
        told_exactly(whole, named, f"log of {end} bytes")
        assert whole >= set(range(1, IN_FILE + 1))
    assert whole == set(range(1, ENTRIES + 1)) - named


def _zeroed(content: bytes) -> bytes:
    return bytes(len(content))


def _halved(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _emptied(content: bytes) -> bytes:
    return b""


@pytest.mark.parametrize("name", ["", "-wal", ".mark"])
@pytest.mark.parametrize("spoiled", [None, _zeroed, _halved, _emptied])
def test_d8_a_file_gone_or_spoiled_by_hand(
    ram: Path, image: Image, name: str, spoiled: Callable[[bytes], bytes] | None
) -> None:
    """D8: the file, the log or the mark is deleted, zeroed, cut in half or emptied."""
    left = {end: content for end, content in image.items() if end != name}
    if spoiled is not None:
        left[name] = spoiled(image[name])
    told_exactly(*starts(ram / "image", left), name)


def test_d8_everything_but_the_mark_is_gone(ram: Path, image: Image) -> None:
    """D8: file and log deleted: a new journal goes on behind the mark."""
    whole, named = starts(ram / "image", {".mark": image[".mark"]})
    assert (whole, named) == (set(), set(range(1, ENTRIES + 1)))
    assert struct.unpack_from("<Q", image[".mark"], 4) == (ENTRIES,)
