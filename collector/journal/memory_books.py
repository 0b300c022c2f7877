"""What a MemoryJournal keeps of each source and follower: counted value by value, apart from the SQLite journal's books."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from adapters.base import Position
from collector.journal.base import SinkAccount, SourceAccount
from pipelines.batch import Batch
from pipelines.identity import Identity
from pipelines.stage import Reason, Remark


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

    def account(self, rows: Iterable[Row], waits: int) -> SinkAccount:
        """rows: all that are held. waits: values that are to be written to it again."""
        pending = waits + sum(len(row) for row in rows if row.position > self.position)
        return SinkAccount(
            self.journaled, self.stored, self.quarantined, pending, self.position, self.dropped
        )
