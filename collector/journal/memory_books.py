"""What a MemoryJournal keeps of each source and follower: counted value by value, apart from the SQLite journal's books."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from adapters.base import Entry, Position
from collector.journal.base import NumberedGap, SinkAccount, SourceAccount, StoredGap
from collector.journal.queries import First
from pipelines.batch import Batch
from pipelines.identity import Identity
from pipelines.registry import Registry
from pipelines.stage import Gap, Reason, Remark


@dataclass(slots=True)
class Row:
    position: Position
    appended: int
    batches: tuple[Batch, ...]
    source: str

    def __len__(self) -> int:
        return sum(len(batch) for batch in self.batches)


@dataclass(slots=True)
class Books:
    counts: Counter[str] = field(default_factory=Counter)
    filtered: Counter[str] = field(default_factory=Counter)
    remarks: Counter[str] = field(default_factory=Counter)
    checkpoint: bytes | None = None
    identity: Identity = field(default_factory=Identity)

    def account(self) -> SourceAccount:
        return SourceAccount(
            decoded=self.counts["decoded"],
            journaled=self.counts["journaled"],
            refused=self.counts["refused"],
            filtered={Reason(reason): count for reason, count in self.filtered.items()},
            remarks={Remark(remark): count for remark, count in self.remarks.items()},
            gaps=self.counts["gaps"],
        )


@dataclass(slots=True)
class Cursor:
    position: Position = 0
    journaled: int = 0
    stored: int = 0
    quarantined: int = 0
    dropped: int = 0
    planned: tuple[Position, Position] | None = None
    covered: Position = 0
    snapshot: bytes | None = None

    @property
    def hold(self) -> Position:
        """Up to here it needs nothing any more."""
        return self.position if self.snapshot is None else self.covered

    def pass_over(self, rows: Sequence[Row]) -> None:
        """These are gone, read or not."""
        self.dropped += sum(len(row) for row in rows if row.position > self.position)
        self.position, self.planned = max(self.position, rows[-1].position), None

    def account(self, rows: Iterable[Row], waits: int) -> SinkAccount:
        """rows: all that are held. waits: values that are to be written to it again."""
        pending = waits + sum(len(row) for row in rows if row.position > self.position)
        return SinkAccount(
            self.journaled, self.stored, self.quarantined, pending, self.position, self.dropped
        )


@dataclass(slots=True)
class Loss:
    """What one source loses when rows are dropped."""

    source: str
    batches: list[Batch] = field(default_factory=list)

    def gap(self, registry: Registry, detail: str) -> Gap:
        times = [int(at) for batch in self.batches for at in batch.at]
        machines = {registry[int(point)].machine for batch in self.batches for point in batch.points}
        return Gap(min(times), max(times), "buffer_full", detail, tuple(sorted(machines)), len(times))


def losses(doomed: Iterable[Row], behind: Sequence[Cursor]) -> list[Loss]:
    """Of the rows that go, what somebody has not read, by source."""
    found: dict[str, Loss] = {}
    for row in doomed:
        if any(cursor.position < row.position for cursor in behind):
            found.setdefault(row.source, Loss(row.source)).batches += row.batches
    return [found[source] for source in sorted(found)]


def entries_of(rows: Iterable[Row], after: Position, values: int, last: Position | None) -> list[Entry]:
    """Of the rows behind `after`, until they hold so many values."""
    entries: list[Entry] = []
    for row in rows:
        if row.position > after and (last is None or row.position <= last):
            entries += [Entry(row.position, batch, row.source) for batch in row.batches]
            if sum(len(entry.batch) for entry in entries) >= values:
                break
    return entries


def first(rows: Iterable[Row], after: Position, values: int) -> First | None:
    """Where the range that begins behind `after` begins, and where it is full; None if nothing is there."""
    behind = [row for row in rows if row.position > after]
    held = 0
    for row in behind:
        held += len(row)
        if held >= values:
            return First(behind[0].position, behind[0].appended, row.position, held)
    return First(behind[0].position, behind[0].appended, None, held) if behind else None


def numbered(kept: Iterable[StoredGap], told: int, after: int) -> list[NumberedGap]:
    """Those of the kept gaps behind number `after`. told: how many there ever were, the last of them is the last kept."""
    listed = list(kept)
    ranks = Counter[tuple[str, int]]()
    found: list[NumberedGap] = []
    for number, (source, _, gap) in enumerate(listed, told - len(listed) + 1):
        if number > after:
            found.append(NumberedGap(number, source, gap, ranks[source, gap.begins]))
        ranks[source, gap.begins] += 1
    return found
