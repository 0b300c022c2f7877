"""What the children of tests/journal/nursery.py were promised, kept outside of them, and compared with what is left."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from adapters.clock import SystemClock
from collector.journal.sqlite import SqliteJournal, open_journal
from pipelines.identity import Identity
from tests.contracts.journal import numbers, seen_by, take
from tests.journal import nursery
from tests.journal.child import SOURCES, STRIDE


@dataclass
class Oracle:
    """appended: per source, how far its values are safe. committed: per follower. taken, sealed: what they were given."""

    appended: dict[str, int] = field(default_factory=lambda: {s: n * STRIDE for n, s in enumerate(SOURCES)})
    committed: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    taken: set[int] = field(default_factory=set)
    archived: dict[int, int] = field(
        default_factory=dict
    )  # value -> first position of the range that it is in
    ranges: dict[int, tuple[int, int]] = field(default_factory=dict)  # first -> (last, how many values)

    said: int = 0  # bytes of the file that were heard
    ready: list[float] = field(default_factory=list)  # s from the start of opening to an open journal

    def listen(self, path: Path) -> None:
        """What the last child said. Its last line may be torn."""
        said = nursery.said(path).read_bytes()
        whole = said.rfind(b"\n") + 1
        for line in said[self.said : whole].decode().splitlines():
            self.hear(line)
        os.truncate(nursery.said(path), whole)
        self.said = whole

    def hear(self, line: str) -> None:
        match line.split():
            case ["o", taken]:
                self.ready.append(int(taken) / 1e9)
            case ["a", source, first, end]:
                assert int(first) == self.appended[source], "the checkpoint and the values came apart"
                self.appended[source] = int(end)
            case ["c", follower, position]:
                assert int(position) > self.committed[follower]
                self.committed[follower] = int(position)
            case ["s", _, *values]:
                self.taken.update(map(int, values))
            case ["r", _, first, last, *values]:
                self._sealed(int(first), int(last), list(map(int, values)))

    def _sealed(self, first: int, last: int, values: list[int]) -> None:
        if first in self.ranges:
            assert self.ranges[first] == (last, len(values)), "a range came again with other boundaries"
        self.ranges[first] = (last, len(values))
        for value in values:
            assert self.archived.setdefault(value, first) == first, "a value is in two ranges"


async def check(path: Path, oracle: Oracle) -> None:
    async with open_journal(path, followers=["sink", "archive"], clock=SystemClock(), window=0.0) as journal:
        assert await journal.gaps() == []
        ledger = await journal.ledger()
        assert ledger.unaccounted == 0
        for follower, account in ledger.sinks.items():
            assert oracle.committed[follower] <= account.cursor <= ledger.tail
        for source, books in ledger.sources.items():
            _caught_up(journal, oracle, source, books.journaled)
        if ledger.tail > ledger.sinks["sink"].cursor:
            pending = seen_by(await take(journal, "sink", ledger.tail))
            assert len(pending) == ledger.sinks["sink"].pending
            oracle.taken.update(map(int, pending))
        missing = oracle.taken - set(oracle.archived)
        if ledger.tail > ledger.sinks["archive"].cursor:
            missing -= set(map(int, seen_by(await take(journal, "archive", ledger.tail))))
        assert not missing, "neither archived nor still to be archived"
        for n, (source, end) in enumerate(oracle.appended.items()):
            mine = {v for v in oracle.taken if n * STRIDE <= v < (n + 1) * STRIDE}
            assert mine == set(range(n * STRIDE, end)), f"{source}: lost or invented"
        _same_as_the_fold(journal, oracle)


def _caught_up(journal: SqliteJournal, oracle: Oracle, source: str, journaled: int) -> None:
    """What was durable when the kill came and not yet said counts as safe from now on: it may be more, never less."""
    start = SOURCES.index(source) * STRIDE
    said = journal.checkpoint(source)
    assert said is not None
    assert int(said) == start + journaled
    assert int(said) >= oracle.appended[source]
    oracle.appended[source] = int(said)


def _same_as_the_fold(journal: SqliteJournal, oracle: Oracle) -> None:
    """The fold over everything that was ever appended, from the beginning and not from a snapshot."""
    for n, (source, end) in enumerate(oracle.appended.items()):
        if end == n * STRIDE:
            continue
        newest = journal.identity(source).snapshot()
        fold = Identity()
        fold.replay([numbers(journal, range(n * STRIDE, end), machine=source)])
        assert newest == fold.snapshot()
