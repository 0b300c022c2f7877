"""History and the journal's tail as one answer: what a reader sees is everything that was acknowledged, sealed or not.

The tail is read before the files: a range that is sealed in between is then seen twice and the doubles (same machine,
signal, time) are dropped; the other way round it could be missed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from collector.assembly import HISTORY

if TYPE_CHECKING:
    import pyarrow as pa


def stored_values(
    journal: Path,
    history: Path | None,
    *,
    machine: str = "*",
    signal: str = "*",
    begins: int | None = None,
    ends: int | None = None,
) -> pa.Table:
    """Rows of adapters.history's schema, unique by machine, signal and time, ordered by them.

    machine, signal: globs. begins, ends: ns, inclusive and exclusive. Raises NoJournal when there is nothing at all.
    """
    from adapters.history.query import HistoryFiles, to_table
    from collector.journal.reader import JournalReader

    with JournalReader(journal) as reader:
        after = reader.cursor(HISTORY) or 0
        entries = list(reader.entries(after))
        tail = to_table(reader.registry_of(entry.batch for entry in entries), entries)
    files = HistoryFiles(history)
    return files.select(machine, signal, begins, ends, extra=tail)
