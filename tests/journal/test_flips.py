"""One bit flipped anywhere in the file, the log or the mark (D7): harmless, or told; never a wrong name, count or value.

The journal holds something in every table. After the start everything in it is compared with what was there: each thing is
what it was, or is gone or begun anew with a gap record that says so; of values the gap names the exact positions.
In CI the flips are a sample, another one at each SEED; JOURNAL_FLIPS=1 flips a bit in every byte (`make torture`).
"""

from __future__ import annotations

import asyncio
import os
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from adapters.base import Delivery
from collector.journal.base import SinkAccount, SourceAccount, StoredGap
from collector.journal.header import PAGE
from collector.journal.setaside import Wanted
from collector.journal.sqlite import SqliteJournal, open_journal
from pipelines import codec
from pipelines.batch import Kind, Point, batch_of
from pipelines.stage import Gap, Refusal
from tests.contracts.journal import START, append, numbers, refine, refusal
from tests.fakes import FakeClock
from tests.journal.platter import Image
from tests.journal.starting import started
from tests.journal.test_power import ram

__all__ = ["ram"]
FLIPS = int(os.environ.get("JOURNAL_FLIPS", "350"))
FOLLOWERS = ("archive", "sink", "sums")
RANGE = re.compile(r"positions? (\d+)(?: to (\d+))?")
ENTRIES = 12
IN_FILE = 6
"""Up to this position everything is in the file, and not only in the log."""


@dataclass
class State:
    """All that a journal says of itself. rows: per position, (machine, name, unit, tags, time, value)."""

    points: list[Point]
    rows: dict[int, list[tuple[object, ...]]]
    origins: dict[int, str]
    checkpoints: dict[str, bytes | None]
    identities: dict[str, bytes]
    sources: dict[str, SourceAccount]
    sinks: dict[str, SinkAccount]
    gaps: list[StoredGap]
    refusals: dict[int, Refusal]
    waiting: list[tuple[int, bytes]]
    memory: bytes | None


async def state(journal: SqliteJournal) -> State:
    rows: dict[int, list[tuple[object, ...]]] = {}
    origins: dict[int, str] = {}
    at = 0
    while at < journal.tail.position:
        chunk = await journal.read("archive", at, 5)
        for entry in chunk.entries:
            rows.setdefault(entry.position, []).extend(_cells(journal, entry.batch))
            origins[entry.position] = entry.source
        at = chunk.position
    waiting = await journal.quarantine.waiting("sink", 1000)
    ledger = await journal.ledger()
    assert ledger.unaccounted == 0
    return State(
        list(journal.registry.since(0)),
        rows,
        origins,
        {name: journal.checkpoint(name) for name in ("s0", "s1", "sums")},
        {name: journal.identity(name).snapshot() for name in ("s0", "s1")},
        dict(ledger.sources),
        dict(ledger.sinks),
        list(await journal.gaps()),
        {one.number: one.refusal for one in await journal.quarantine.select(Wanted())},
        [(one.number, one.batch) for one in waiting],
        (await journal.standing("sums")).snapshot,
    )


def _cells(journal: SqliteJournal, batch: object) -> Iterator[tuple[object, ...]]:
    for point_id, at, value in zip(batch.points, batch.at, batch.values, strict=True):  # type: ignore[attr-defined]
        point = journal.registry[int(point_id)]
        yield point.machine, point.name, point.unit, str(point.tags), int(at), float(value)


async def _filled(path: Path) -> tuple[Image, State]:
    """As a kill leaves it."""
    async with open_journal(path, followers=FOLLOWERS, clock=FakeClock(), window=0.0) as journal:
        for n in range(1, ENTRIES):
            source = f"s{n % 2}"
            ids = [journal.registry.intern(Point(source, f"p{n % 3}", Kind.NUMBER, "mm", {"line": "7"}))] * 3
            at = [START + 10 * n + i for i in range(3)]
            version = journal.registry.version
            batch = batch_of(
                Kind.NUMBER, ids, at, [n, 2 * n, 3 * n], received=START, registry_version=version
            )
            told = [Gap(START, START + n, "connection_lost", f"cable {n}", ("m",), n)] if n % 4 == 0 else []
            refused = [refusal(2, b"raw %d" % n)] if n % 3 == 0 else []
            delivery = Delivery([batch], 3 + sum(r.values for r in refused), refused, told, b"after %d" % n)
            await journal.append(source, delivery, refine([batch], journal.identity(source)))
            if n == IN_FILE - 1:
                await _more(journal)
                journal._store.checkpoint()
        await append(journal, refused=[refusal(1, b"last")], source="s0", checkpoint=b"the end")
        files = {end: Path(f"{path}{end}").read_bytes() for end in ("", "-wal", ".mark")}
        return files, await state(journal)


async def _more(journal: SqliteJournal) -> None:
    """Position 6, and something in the tables that appends do not fill."""
    whole = codec.encode([numbers(journal, [7.0, 8.0])])
    await journal.commit(
        "sink", 2, [replace(refusal(2), batch=whole), replace(refusal(2, b"!"), batch=whole)]
    )
    numbers_ = [one.number for one in await journal.quarantined() if one.origin == "sink"]
    assert await journal.quarantine.write_again("sink", numbers_[:1]) == 2
    await journal.quarantine.purge([1])
    made = [numbers(journal, [1.5], machine="sums")]
    await journal.append_derived(
        "sums", 5, Delivery(made, 1), refine(made, journal.identity("sums")), b"memory"
    )
    journal._store.group([_snapshot])


def _snapshot(store: object) -> None:
    from collector.journal import housekeeping

    kept = {name: store.identities[name].snapshot() for name in list(store.standing.unsaved)}  # type: ignore[attr-defined]
    housekeeping._snapshot(store, kept)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Image, State]:
    return asyncio.run(_filled(tmp_path_factory.mktemp("flips") / "journal.db"))


async def _looked_through(path: Path) -> State:
    async with open_journal(path, followers=FOLLOWERS, clock=FakeClock(), window=0.0) as journal:
        await state(journal)  # whoever reads over damage tells it
        found = await state(journal)
        assert (
            await append(journal, [1.0], source="new") == journal.tail.position > max(found.rows, default=0)
        )
    return found


def compare(found: State, was: State) -> None:
    news = [one.gap for one in found.gaps if one not in was.gaps]
    assert all(gap.reason == "journal_damaged" for gap in news)
    _values(found, was, {position for gap in news for position in _positions(gap.detail)})
    different = _differences(found, was)
    assert not different or news, f"different and not told: {different}"


def _values(found: State, was: State, named: set[int]) -> None:
    """Nothing is altered, and what is lost is named, position by position."""
    lost = set(was.rows) - set(found.rows)
    assert set(found.rows) <= set(was.rows)
    for position, rows in found.rows.items():
        assert found.origins[position] == was.origins[position]
        for now, before in zip(rows, was.rows[position], strict=True):
            assert now[4:] == before[4:]
            if now[0] == "unknown":
                lost.add(position)
            else:
                assert now == before
    assert lost <= named, f"lost {sorted(lost)}, told {sorted(named)}"
    assert named <= lost or not found.rows or named - lost <= _between(lost), f"told {named}, lost {lost}"
    for point, before_ in zip(found.points, was.points, strict=False):
        assert point == before_ or point.machine == "unknown"


def _between(lost: set[int]) -> set[int]:
    """A point that has lost its name is told from the first to the last position with values of it."""
    return set(range(min(lost, default=0), max(lost, default=0) + 1))


def _positions(detail: str) -> Iterator[int]:
    for first, last in RANGE.findall(detail)[-1:]:
        yield from range(int(first), int(last or first) + 1)


def _differences(found: State, was: State) -> list[str]:
    """Each thing is what it was, or gone, or begun anew: anything else is a lie, told or not."""
    different = [str(gap) for gap in was.gaps if gap not in found.gaps]
    for name, mark in was.checkpoints.items():
        assert found.checkpoints[name] in (mark, None) or _older(name, found.checkpoints[name])
        different += [f"checkpoint of {name}"] * (found.checkpoints[name] != mark)
    for name, account in was.sources.items():
        different += [f"books of {name}"] * (found.sources.get(name) != account)
    for sink, books in was.sinks.items():
        assert found.sinks[sink].cursor <= max(books.cursor, ENTRIES if not found.rows else 0)
        different += [f"books of {sink}"] * (found.sinks[sink] != books)
    for number, one in found.refusals.items():
        moved = one.reason == "was to be written again" or "did not read back" in one.reason
        before = was.refusals.get(number)
        bare = before and replace(before, batch=None)  # its values may be gone by themselves
        assert moved or one in (before, bare), f"refusal {number} is {one}"
    different += [
        f"refusal {number}" for number in was.refusals if found.refusals.get(number) != was.refusals[number]
    ]
    different += ["what waits"] * (found.waiting != was.waiting)
    assert found.memory in (was.memory, None)
    different += ["memory"] * (found.memory != was.memory)
    return different + [
        f"identity of {n}" for n, kept in was.identities.items() if found.identities[n] != kept
    ]


def _older(name: str, checkpoint: bytes | None) -> bool:
    return checkpoint is not None and re.fullmatch(rb"after \d+", checkpoint) is not None


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", ["", "-wal", ".mark"])
def test_d7_one_bit_flipped(ram: Path, filled: tuple[Image, State], name: str) -> None:
    """D7: one bit flipped, in the file, the log or the mark: all that is there is unaltered, the rest is named."""
    image, _ = filled
    dice = random.Random(os.environ.get("SEED", name))
    every = min(FLIPS, 8) if name == ".mark" else FLIPS
    for at in range(dice.randrange(every), len(image[name]), every):
        check(ram, filled, name, at, 1 << dice.randrange(8))


def check(folder: Path, filled: tuple[Image, State], name: str, at: int, bit: int) -> None:
    image, was = filled
    flipped = bytearray(image[name])
    flipped[at] ^= bit
    try:
        compare(started(folder / "image", {**image, name: bytes(flipped)}, _looked_through), was)
    except Exception as error:
        page = f"page {at // PAGE + 1} + {at % PAGE}" if name == "" else ""
        error.add_note(f"byte {at} of journal.db{name} {page}: {image[name][at]:#x} is {flipped[at]:#x}")
        raise


def test_d7_every_bit_of_the_head(ram: Path, filled: tuple[Image, State]) -> None:
    """D7: a flip in the first hundred bytes never says that the file is somebody else's."""
    dice = random.Random(os.environ.get("SEED", "head"))
    for at in range(100):
        check(ram, filled, "", at, 1 << dice.randrange(8))


def test_d7_every_letter_of_the_table_that_says_the_format(ram: Path, filled: tuple[Image, State]) -> None:
    """D7: a flip that makes another column of it looks like an earlier format, and must not keep a start from succeeding."""
    image, _ = filled
    dice = random.Random(os.environ.get("SEED", "meta"))
    at = image[""].rindex(b"CREATE TABLE meta")  # an older page may still hold a copy
    end = image[""].index(b"ROWID", at) + len(b"ROWID")
    for place in range(at, end):
        for bit in {0x40, 1 << dice.randrange(8)}:
            check(ram, filled, "", place, bit)


def test_d7_every_bit_of_the_places_of_the_tables(ram: Path, filled: tuple[Image, State]) -> None:
    """D7: a table that seems to lie on the page of another one is damage; it must not be made anew there, for that destroys the other."""
    image, _ = filled
    for text in re.finditer(rb"CREATE TABLE", image[""]):  # before it stands the number of the root page
        for bit in range(8):
            check(ram, filled, "", text.start() - 1, 1 << bit)
